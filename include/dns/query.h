/* dns/query.h - one question on its way, for all that asked it.
 *
 * For the resolver alone: the inside of struct dns.  A query holds at most one
 * descriptor.  Every step is taken from the loop, by its timer or its socket;
 * what goes wrong only sets the timer, so nothing calls back early. */
#ifndef MTA_DNS_QUERY_H
#define MTA_DNS_QUERY_H

#include "base/list.h"
#include "base/map.h"
#include "dns/cache.h"
#include "dns/message.h"
#include "dns/servers.h"
#include "dns/tcp.h"

#include <stdbool.h>

enum { DNS_DATAGRAM_BYTES = 4096 }; /* some servers send more than asked for */

struct dns {
    struct loop *loop;
    struct dns_servers servers;
    struct dns_cache *cache;
    struct map map;   /* queries that a new request can join */
    struct list all;  /* every query */
    struct list line; /* queries that wait for a descriptor */
    unsigned timeout_ms, tries;
    size_t running, queries_max;
    struct dns_parsed parsed; /* scratch: one answer at a time */
    unsigned char datagram[DNS_DATAGRAM_BYTES];
};

struct dns_query {
    struct map_link link;
    struct list all, line, requests;
    struct dns *dns;
    struct loop_timer timer;
    struct loop_io udp; /* fd -1: not open */
    struct dns_tcp tcp;
    enum dns_type type;
    bool mapped, running, delivering;
    bool bad;   /* a name that cannot be asked */
    bool asked; /* a server has the question: the timer is its deadline */
    bool edns;
    uint16_t id;
    uint32_t ttl;          /* of the CNAMEs so far */
    unsigned hops, tries;  /* CNAMEs followed; tries begun */
    unsigned spent, tried; /* servers: not again; already in this round */
    size_t server;
    char key[DNS_NAME_MAX];  /* what the callers asked */
    char name[DNS_NAME_MAX]; /* what is asked now */
    char why[160];
};

struct dns_request {
    struct list link;
    struct dns_query *query;
    dns_fn *fn;
    void *ctx;
};

/* The query that already asks this, or NULL. */
struct dns_query *dns_query_find(const struct dns *d, const char *name,
                                 enum dns_type type);

/* Not yet on its way; name as dns_name_normal() made it, or "" for one that
 * cannot be asked.  NULL: no memory. */
struct dns_query *dns_query_new(struct dns *d, const char *name,
                                enum dns_type type);

/* Send it on its way: to the cache, to a server, or to stand in line. */
void dns_query_start(struct dns_query *q);

/* Without callbacks; its requests are freed.  Then the next one in the line
 * may be due: dns_query_next(). */
void dns_query_drop(struct dns_query *q);
void dns_query_next(struct dns *d);
#endif
