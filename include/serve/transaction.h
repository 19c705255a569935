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
#include "mail/header_scan.h"
#include "recipient/resolve.h"
#include "smtp/address.h"
#include "smtp/dot.h"
#include "spool/large.h"

enum { BODY_MEMORY = 256 * 1024 };

struct serve_session;
struct mailbox_copy;

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

/* The outcome of a recipient. */
enum serve_outcome {
    RECIPIENT_ACCEPTED, /* RCPT got 250 */
    RECIPIENT_QUEUED,
    RECIPIENT_DELIVERED,
    RECIPIENT_UNSTORED
};

/* A recipient as in its RCPT command. */
struct serve_recipient {
    struct list link;
    unsigned char outcome; /* enum serve_outcome */
    char address[];
};

/* A copy for a local mailbox. */
struct serve_local {
    struct list link;
    struct mailbox_copy *copy; /* during the commit */
    bool failed;
    size_t address_n;
    char name[]; /* mailbox NUL address NUL */
};

struct serve_transaction {
    struct list link;              /* in the turn of the commit */
    struct serve_session *session; /* NULL: the client hung up meanwhile */
    char sid[SESSION_ID_TEXT];
    struct pool *blocks; /* of the envelope */
    struct pool *bodies; /* of the text; set by the owner before it arrives */
    struct spool_writer *writer;
    struct msg_id id;
    uint64_t arrival, max_size, size; /* size: of the body as received */
    struct chain envelope, body;
    uint32_t body_crc;         /* of the body in memory */
    struct spool_large *large; /* NULL: the body is in memory */
    struct body kept;          /* fd >= 0: a large message in the queue */
    struct list recipients;    /* accepted, in the order of their commands */
    struct list locals;
    unsigned nremote, nlocal, nrcpt; /* nrcpt: of the recipients */
    unsigned flags;                  /* SPOOL_8BIT ... */
    enum body_fault fault;
    bool in_commit; /* the commit owns it */
    struct smtp_dot_decoder dot;
    struct header_scan header;
    uint64_t began;                   /* ms, monotonic: when 354 was sent */
    char undecided[HEADER_FIRST_MAX]; /* until header.first is known */
    size_t nundecided;
    bool begun;      /* header.first is known */
    unsigned *count; /* open transactions */
    void *first[(sizeof(struct serve_recipient) + SMTP_ADDRESS_MAX) /
                    sizeof(void *) +
                1]; /* room of the first recipient: most have one */
};

/* Increments *count, which serve_transaction_free() decrements; that accepts
 * NULL and removes a large segment. */
struct serve_transaction *serve_transaction_new(struct pool *blocks,
                                                struct spool_writer *w,
                                                struct span reverse_path,
                                                unsigned *count);
void serve_transaction_free(struct serve_transaction **t);

/* Add a field of the envelope, a recipient.  -1: no memory; nothing was
 * added. */
int serve_transaction_add_field(struct serve_transaction *t,
                                enum spool_field type, struct span s);
int serve_transaction_add_remote(struct serve_transaction *t,
                                 struct span address);
int serve_transaction_add_local(struct serve_transaction *t,
                                const char *mailbox, struct span address);

/* Add the next recipient; -1: no memory.  The last one may be removed again. */
int serve_transaction_add_recipient(struct serve_transaction *t,
                                    struct span address);
void serve_transaction_drop_recipient(struct serve_transaction *t);
void serve_transaction_settle(struct serve_transaction *t,
                              enum serve_outcome outcome);

/* Begin the body with the trace field. */
void serve_transaction_begin(struct serve_transaction *t, struct span trace);

/* Append decoded bytes.  Never fails: sets fault and drops the rest.  A text
 * that does not begin with a header field gets an empty line in front, so that
 * its first line cannot become a part of the trace field. */
void serve_transaction_take(struct serve_transaction *t, const char *p,
                            size_t n);

/* For the mailbox half of the commit; -1 with errno. */
int serve_transaction_keep_body(struct serve_transaction *t);
struct body serve_transaction_body(const struct serve_transaction *t);
const char *serve_transaction_local_address(const struct serve_local *l);
#endif
