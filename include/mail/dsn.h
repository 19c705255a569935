/* mail/dsn.h - delivery status notifications (RFC 3464, 6522, 6533, 3834).
 *
 * Writes a whole message in wire form through a callback, so it needs no memory
 * of its own.  Values from the network are sanitised first. */
#ifndef MTA_MAIL_DSN_H
#define MTA_MAIL_DSN_H

#include "base/addr.h"
#include "base/body.h"
#include "base/err.h"
#include "base/msg_id.h"
#include "smtp/status.h"

#include <stdbool.h>
#include <stdint.h>

enum dsn_action {
    DSN_FAILED,
    DSN_DELAYED,
    DSN_DELIVERED,
    DSN_RELAYED,
    DSN_EXPANDED
};

struct dsn_rcpt {
    const char *address;
    const char *orcpt;         /* ORCPT as received, "rfc822;..." in xtext, or
                                  NULL */
    struct smtp_status status; /* code 0: not from SMTP; class 0: x.0.0 */
    const char *host;          /* of the last try; NULL or "": none was asked */
    struct addr peer;          /* its address; family 0: none */
    const char *reply;         /* its reply, lines apart by "\n", or with code
                                  0 our own reason */
    bool expired;              /* failed because its time was over */
    bool waits;                /* delayed until a fault of ours is repaired */
    unsigned attempts;         /* offered to a host */
    unsigned rounds;           /* no host could be asked */
    uint64_t first_attempt, last_attempt; /* wall clock, us; 0: unknown */
};

struct dsn {
    const char *hostname;  /* this system */
    const char *to;        /* the reverse-path of the original */
    struct msg_id id;      /* of the original */
    struct msg_id own_id;  /* of this notice */
    const char *envid;     /* in xtext; NULL: none */
    uint64_t arrival, now; /* wall clock, us */
    uint64_t expires;      /* for DSN_DELAYED: when the message expires */
    uint32_t lifetime;     /* of a message in the queue, seconds; 0: unknown */
    enum dsn_action action;
    const struct dsn_rcpt *rcpt;
    size_t nrcpt;
    const struct body *original; /* its header is returned; whole when
                                    return_full */
    bool return_full;
    bool utf8_header; /* of the original: fields in UTF-8 (RFC 6532) */
};

typedef bool dsn_sink(void *ctx, const char *p, size_t n);

/* 0; -1 when the callback failed or the original could not be read. */
int dsn_write(const struct dsn *d, dsn_sink *put, void *ctx, struct err *e);
#endif
