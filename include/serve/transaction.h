/* serve/transaction.h - one message from MAIL to the answer to its dot.
 *
 * Owned by its session until store_submit(), then by the store.  Small
 * bodies wait in blocks; beyond DRAFT_MEMORY, or when blocks are short, the
 * body moves to a segment of its own (spool_large).  So memory is bounded and
 * bodies of other sessions are never mixed into one file. */
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

enum { DRAFT_MEMORY = 256 * 1024 };

struct serve_session;
struct box_copy;

/* What went wrong with the body; the answer waits for the dot (RFC 5321
 * 3.3), the rest of the data is read and dropped. */
enum draft_fault {
    DRAFT_FINE,
    DRAFT_TOO_BIG,
    DRAFT_NO_ROOM,
    DRAFT_BARE_NEWLINE,
    DRAFT_NUL_DOT,
    DRAFT_LOOPS
};

/* A copy for a mailbox of ours. */
struct draft_local {
    struct list link;
    struct box_copy *copy; /* while the store works on it */
    bool failed;
    size_t address_n;
    char name[]; /* mailbox NUL address NUL */
};

struct draft {
    struct list link;              /* in the store's turn */
    struct serve_session *session; /* NULL: it hung up while we store */
    char sid[SESSION_ID_TEXT];
    struct pool *blocks;
    struct spool_writer *writer;
    struct msg_id id;
    uint64_t arrival, max_size, size; /* size: of the body as received */
    struct chain envelope, body;
    struct spool_large *large; /* NULL: the body is in memory */
    struct body kept;          /* fd >= 0: a large message in the queue */
    char only_rcpt[SMTP_ADDRESS_MAX]; /* the last one accepted */
    struct list locals;
    unsigned nremote, nlocal, nrcpt; /* nrcpt: accepted RCPT commands */
    unsigned flags;                  /* SPOOL_8BIT ... */
    enum draft_fault fault;
    bool in_store; /* the store owns it */
    struct smtp_dot_decoder dot;
    struct header_scan header;
    size_t reserve;  /* blocks that bodies must leave to connections */
    unsigned *count; /* of the drafts there are */
};

/* *count goes up, and down again in draft_free(). */
struct draft *draft_new(struct pool *blocks, struct spool_writer *w,
                        struct span reverse_path, unsigned *count);
void draft_free(struct draft **d); /* accepts NULL; a large segment goes */

/* One more field of the envelope, one more recipient.  -1: memory is short;
 * nothing was added. */
int draft_add_field(struct draft *d, enum spool_field type, struct span s);
int draft_add_remote(struct draft *d, struct span address);
int draft_add_local(struct draft *d, const char *mailbox, struct span address);

/* Begin the body with our trace field. */
void draft_begin(struct draft *d, struct span trace);

/* Take decoded bytes.  Never fails: sets fault and drops the rest. */
void draft_take(struct draft *d, const char *p, size_t n);
int draft_keep_body(struct draft *d); /* -1 with errno */
struct body draft_body(const struct draft *d);
const char *draft_local_address(const struct draft_local *l);
#endif
