/* serve/transaction.h - one mail transaction, from MAIL to the reply to the
 * dot.
 *
 * Owned by its session until serve_commit_submit(), then by the commit.  Small
 * bodies are kept in blocks; beyond BODY_MEMORY, or when blocks are short, the
 * body moves to a segment of its own (spool_large).  So memory is bounded, and
 * bodies that arrive side by side are never mixed into one file. */
#ifndef MTA_SERVE_TRANSACTION_H
#define MTA_SERVE_TRANSACTION_H

#include "base/body.h"
#include "base/chain.h"
#include "base/list.h"
#include "base/msg_id.h"
#include "mail/dkim_body.h"
#include "mail/header_scan.h"
#include "serve/rewrite.h"
#include "smtp/address.h"
#include "smtp/dot.h"
#include "spool/large.h"

enum { BODY_MEMORY = 256 * 1024 };

struct serve_session;

/* A fault of the body.  The reply is sent at the dot (RFC 5321 3.3); the rest
 * of the data is read and dropped. */
enum body_fault {
    BODY_FINE,
    BODY_TOO_BIG,
    BODY_NO_ROOM,
    BODY_BARE_NEWLINE,
    BODY_NUL_DOT,
    BODY_LOOPS
};

/* Where a recipient is. */
enum serve_place {
    PLACE_REMOTE,
    PLACE_LOCAL,
    PLACE_HERE /* local, by an address literal of this host */
};

struct serve_transaction {
    struct list link;              /* in the turn of the commit */
    struct serve_session *session; /* NULL: the client hung up meanwhile */
    char sid[SESSION_ID_TEXT];
    const char *tls_version, *tls_cipher; /* of its session; NULL: in clear */
    struct pool *blocks;                  /* of the envelope */
    /* Set by the owner before the text arrives: */
    struct pool *bodies;         /* of the text */
    struct spool_writer *writer; /* of the queue that the message is for */
    struct msg_id id;
    uint64_t arrival, max_size, size; /* size: of the body as received */
    struct chain envelope, body;      /* envelope: recipients in their order */
    uint32_t body_crc;                /* of the body in memory */
    struct spool_large *large;        /* NULL: the body is in memory */
    unsigned nlocal, nremote;         /* recipients */
    size_t first_at; /* address of the first, in the envelope */
    size_t first_n;
    unsigned flags; /* SPOOL_8BIT ... */
    enum body_fault fault;
    bool in_commit; /* the commit owns it */
    struct smtp_dot_decoder dot;
    struct header_scan header;
    uint64_t began;                   /* ms, monotonic: when 354 was sent */
    char undecided[HEADER_FIRST_MAX]; /* until header.first is known */
    size_t nundecided;
    bool begun;                    /* header.first is known */
    struct dkim_body *body_hash;   /* NULL: it is not taken here */
    struct serve_rewrite *rewrite; /* NULL: nothing is rewritten */
    struct spool_late late;
    unsigned *count; /* open transactions */
};

/* Increments *count, which serve_transaction_free() decrements; that accepts
 * NULL and removes a large segment. */
struct serve_transaction *serve_transaction_new(struct pool *blocks,
                                                struct span reverse_path,
                                                unsigned *count);
void serve_transaction_free(struct serve_transaction **t);

/* Add a field of the envelope; the next recipient.  -1: no memory; no recipient
 * was added. */
int serve_transaction_add_field(struct serve_transaction *t,
                                enum spool_field type, struct span s);
int serve_transaction_add_recipient(struct serve_transaction *t,
                                    struct span address,
                                    enum serve_place place);
unsigned serve_transaction_nrcpt(const struct serve_transaction *t);

/* The address of the only recipient; NULL: there are more. */
const char *serve_transaction_only_rcpt(const struct serve_transaction *t,
                                        char room[SMTP_ADDRESS_MAX]);

/* With any local recipient the whole message is for local/. */
enum spool_name serve_transaction_queue(const struct serve_transaction *t);
struct spool_submission
serve_transaction_submission(const struct serve_transaction *t);

/* Take the body hash of DKIM from now on, if there is memory.  The sender takes
 * it where it is missing. */
void serve_transaction_hash(struct serve_transaction *t);

/* The text that comes now has a header to be rewritten, where the transaction
 * rewrites; complete: as in struct rewrite_job.  False: no memory. */
bool serve_transaction_rewrite_header(struct serve_transaction *t,
                                      const struct conf *c, bool complete);

/* All of the text is there; may set fault. */
void serve_transaction_text_over(struct serve_transaction *t);
/* ... and it is accepted: add what is known only now. */
void serve_transaction_end(struct serve_transaction *t);

/* Begin the body with the trace field. */
void serve_transaction_begin(struct serve_transaction *t, struct span trace);

/* Append decoded bytes.  Never fails: sets fault and drops the rest.  A text
 * that does not begin with a header field gets an empty line in front, so that
 * its first line cannot become a part of the trace field. */
void serve_transaction_take(struct serve_transaction *t, const char *p,
                            size_t n);
#endif
