/* mail/rewrite.h - rewrite addresses where a message enters a queue.
 *
 * Settings: rewrite.from, rewrite.rules (rewrite.root is an alias, see
 * recipient/).  The envelope at MAIL and RCPT, the header while the text
 * streams in; nothing is rewritten later.  Of a message the rules that fired
 * are noted, a line each, for the queue and the log.  Pure but for memory. */
#ifndef MTA_MAIL_REWRITE_H
#define MTA_MAIL_REWRITE_H

#include "base/err.h"
#include "base/msg_id.h"
#include "base/span.h"
#include "config/conf.h"
#include "smtp/address.h"

#include <stdint.h>

/* Is any of the settings set? */
bool rewrite_wanted(const struct conf *c);

/* What was done to one message; all zero at first. */
enum { REWRITE_NOTES_MAX = 1024 };
struct rewrite_notes {
    size_t n;
    char text[REWRITE_NOTES_MAX]; /* lines apart by "\n"; the last ones may be
                                     missing */
};

/* Rewrite an address of the envelope, "user@domain" or a bare "user", which
 * gets @hostname; the null reverse-path stays.  False: it stays as it was.
 * notes may be NULL. */
bool rewrite_envelope(const struct conf *c, enum conf_rewrite_of of,
                      struct span address, char out[SMTP_ADDRESS_MAX],
                      struct rewrite_notes *notes);

/* --- the header ------------------------------------------------------- */

struct rewrite_header;

/* 0; another value ends the call, which returns it. */
typedef int rewrite_put_fn(void *ctx, const char *p, size_t n);

struct rewrite_job {
    const struct conf *conf;
    bool complete; /* add Date, Message-ID and From where they are missing */
    struct span sender;  /* reverse-path as it is in the envelope, for From */
    const char *name;    /* of the sender, for From; NULL: none */
    struct msg_id id;    /* for Message-ID */
    uint64_t when;       /* for Date; wall clock, us */
    rewrite_put_fn *put; /* gets the text as it is to be kept */
    void *ctx;
    struct rewrite_notes *notes;
};

/* The job's pointers must stay.  Text in wire form, in any pieces; a field may
 * have any length, and is held for one address at a time.  Bare names get
 * @hostname.  Text that is no header ends it. */
int rewrite_header_new(struct rewrite_header **h, const struct rewrite_job *job,
                       struct err *e);
void rewrite_header_free(struct rewrite_header **h); /* accepts NULL */
int rewrite_header_feed(struct rewrite_header *h, const char *p, size_t n);
/* The text is over; needed, because a header may be all of it. */
int rewrite_header_end(struct rewrite_header *h);
#endif
