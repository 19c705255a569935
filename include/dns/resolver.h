/* dns/resolver.h - ask the DNS without waiting.
 *
 * A stub resolver on the loop: messages are made and parsed by libresolv
 * (res_nmkquery, ns_initparse, ns_parserr, dn_expand), sent and matched here.
 * Several servers, tries in turn, a random port and id for each query to each
 * server, 0x20 is not used; the answer to a try that has timed out still counts
 * while the query lasts; TCP when an answer is truncated; answers that do not
 * fit the question (server, port, id, question section) are ignored, not
 * errors.
 * CNAME chains are followed (at most 8).  Positive and negative answers are
 * cached by TTL (RFC 2308: SOA minimum), both bounded.
 *
 * The callback comes from the loop, never from inside dns_ask(); the answer
 * lives only during the callback, and the request is gone when it runs.  It may
 * ask and cancel, but not dns_close(). */
#ifndef MTA_DNS_RESOLVER_H
#define MTA_DNS_RESOLVER_H

#include "base/addr.h"
#include "base/err.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where dns_open() finds servers if there are none in the settings. */
#define DNS_RESOLV_CONF "/etc/resolv.conf"

enum {
    DNS_NAME_MAX = 256,
    DNS_RR_MAX = 64,
    DNS_SERVERS_MAX = 8,
    DNS_PORT = 53
};

enum dns_type {
    DNS_A = 1,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};

enum dns_status {
    DNS_OK,       /* at least one record; of MX perhaps none with a name
                   * that a host can have, and then n is 0 */
    DNS_NODATA,   /* the name exists, records of this type do not */
    DNS_NXDOMAIN, /* the name does not exist */
    DNS_FAILED,   /* for now: SERVFAIL, REFUSED, time-out, loop of CNAMEs */
    DNS_BADNAME   /* the question is invalid (name too long ...) */
};

/* One record of the asked type; records of other types are left out. */
struct dns_rr {
    uint32_t ttl;
    uint16_t preference;     /* MX */
    struct addr addr;        /* A, AAAA (port 0) */
    char name[DNS_NAME_MAX]; /* MX exchange, PTR target; no dot at the end,
                                "" for the root (null MX) */
    const char *text; /* TXT, its strings joined; NUL is "?"; else NULL */
};

struct dns_answer {
    enum dns_status status;
    bool unusable;    /* with DNS_FAILED: not silence or SERVFAIL, but REFUSED,
                       * nonsense or a loop, which waiting may not mend */
    const char *why;  /* text: question, server and error; "" with DNS_OK */
    const char *from; /* the server, as text; "the cache"; "" if it failed */
    uint32_t ttl;     /* seconds to cache it; of negative answers too */
    size_t n;
    const struct dns_rr *rr;
};

struct conf;
struct dns;
struct dns_request;
typedef void dns_fn(void *ctx, const struct dns_answer *answer);

struct dns_options {
    const struct addr *servers; /* none: those of resolv.conf */
    size_t nservers;
    unsigned timeout_ms; /* of one try; 0: 5000 */
    unsigned tries;      /* in all, over the servers in turn; 0: 3 */
    size_t cache_max;    /* answers kept; 0: 4096 */
    size_t queries_max;  /* at once; more wait in line; 0: 256 */
};

int dns_open(struct dns **d, struct loop *l, const struct dns_options *o,
             struct err *e);
/* With the servers and the timeout of the settings. */
int dns_open_conf(struct dns **d, struct loop *l, const struct conf *c,
                  struct err *e);
/* Read the servers again, from settings or resolv.conf; open queries use them
 * from their next try on.  -1 with *e changes nothing. */
int dns_renew(struct dns *d, const struct conf *c, struct err *e);
/* What does not exist by the answers kept is asked again. */
void dns_forget_negative(struct dns *d);
void dns_close(struct dns **d); /* open requests end without a callback */

/* NULL only when memory is out (*e).  The name need not end in a dot and is
 * always taken as fully qualified: no search list. */
struct dns_request *dns_ask(struct dns *d, const char *name, enum dns_type type,
                            dns_fn *fn, void *ctx, struct err *e);
void dns_cancel(struct dns_request *r); /* no callback any more; accepts NULL */
#endif
