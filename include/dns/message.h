/* dns/message.h - build and parse DNS messages (RFC 1035, RFC 6891).
 *
 * For the resolver alone.  Pure: no sockets, no clock.  A message may come from
 * any host, so every function accepts any bytes. */
#ifndef MTA_DNS_MESSAGE_H
#define MTA_DNS_MESSAGE_H

#include "dns/resolver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_QUERY_BYTES = 320, /* header, one name, type, class, OPT */
    DNS_UDP_BYTES = 1232,  /* announced by OPT: fits an IPv6 packet whole */
    DNS_TEXT_MAX = 8192,
    DNS_CHAIN_MAX = 8, /* CNAMEs on the way to an answer */
    DNS_TTL_MAX = 86400,
    DNS_NEGATIVE_TTL_MAX = 3600
};

/* The result of a question, as the cache keeps it. */
struct dns_found {
    enum dns_status status; /* DNS_OK, DNS_NODATA, DNS_NXDOMAIN */
    uint32_t ttl;           /* the least of all records on the way */
    size_t n;
    struct dns_rr rr[DNS_RR_MAX];
    size_t ntext; /* texts of TXT, with their NULs; more are left out */
    char text[DNS_TEXT_MAX];
};

struct dns_question {
    const char *name; /* as dns_name_normal() made it */
    enum dns_type type;
    uint16_t id;
    bool edns;
    unsigned hops; /* CNAMEs followed before this question */
};

enum dns_verdict {
    DNS_MSG_ALIEN,     /* not the reply to this question: keep waiting */
    DNS_MSG_TRUNCATED, /* ask again over TCP */
    DNS_MSG_NO_EDNS,   /* ask again without OPT */
    DNS_MSG_REFUSED,   /* this server refuses; see why */
    DNS_MSG_SERVFAIL,  /* it cannot, for now */
    DNS_MSG_BROKEN,    /* nonsense; see why */
    DNS_MSG_LOOP,      /* too many CNAMEs: other servers would not help */
    DNS_MSG_ALIAS,     /* ask again for `name`; found.ttl holds so far */
    DNS_MSG_ANSWER     /* found */
};

struct dns_parsed {
    enum dns_verdict verdict;
    const char *why;         /* static text, may be empty */
    char name[DNS_NAME_MAX]; /* the end of the chain of CNAMEs */
    unsigned hops;           /* with those before this question */
    struct dns_found found;
};

/* Copy the name in lower case, without the dot at the end.  False for a name
 * that cannot be queried: empty, an empty label, a label beyond 63 octets, more
 * than 253 in all, or an octet that is not printable ASCII or needs
 * escaping. */
bool dns_name_normal(char out[DNS_NAME_MAX], const char *name);

/* Build a query; returns its length, or -1. */
int dns_message_query(unsigned char out[DNS_QUERY_BYTES],
                      const struct dns_question *q);

void dns_message_parse(struct dns_parsed *out, const struct dns_question *q,
                       const unsigned char *msg, size_t n);
#endif
