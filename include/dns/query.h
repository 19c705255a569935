/* dns/query.h - one question on its way, for all who asked it.
 *
 * For the resolver alone: the inside of struct dns.  A look holds at most one
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
    struct map map;   /* looks that a new question can join */
    struct list all;  /* every look */
    struct list line; /* looks that wait for a descriptor */
    unsigned timeout_ms, tries;
    size_t running, queries_max;
    struct dns_parsed parsed; /* scratch: one answer at a time */
    unsigned char datagram[DNS_DATAGRAM_BYTES];
};

struct look {
    struct map_link link;
    struct list all, line, queries;
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

struct dns_query {
    struct list link;
    struct look *look;
    dns_fn *fn;
    void *ctx;
};

/* The look that already asks this, or NULL. */
struct look *dns_look_find(const struct dns *d, const char *name,
                           enum dns_type type);

/* Not yet on its way; name as dns_name_normal() made it, or "" for one that
 * cannot be asked.  NULL: no memory. */
struct look *dns_look_new(struct dns *d, const char *name, enum dns_type type);

/* Send it on its way: to the cache, to a server, or to stand in line. */
void dns_look_start(struct look *l);

/* Without callbacks; its queries are freed.  Then the next one in the line
 * may be due: dns_look_next(). */
void dns_look_drop(struct look *l);
void dns_look_next(struct dns *d);
#endif
