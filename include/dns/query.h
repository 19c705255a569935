/* dns/query.h - one question on its way, for all that asked it.
 *
 * For src/dns alone: the inside of struct dns.  Every step is taken from the
 * loop, by a timer or a socket; what goes wrong only sets the timer, so nothing
 * calls back early.
 *
 * A try that timed out is not forgotten: its socket stays open until the query
 * is over, for the answer of a slow server counts whenever it comes.  A server
 * that is tried again gets the same datagram from the same socket. */
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
    struct map map;      /* queries that a new request can join */
    struct list all;     /* every query */
    struct list line;    /* queries that wait for a descriptor */
    struct list reverse; /* look-ups of fcrdns.c */
    unsigned timeout_ms, tries;
    size_t running, queries_max;
    size_t flights;           /* sockets of all queries */
    struct dns_parsed parsed; /* scratch: one answer at a time */
    unsigned char datagram[DNS_DATAGRAM_BYTES];
};

/* A server that was sent the question. */
struct dns_flight {
    struct loop_io io; /* fd -1: none */
    struct dns_query *query;
    size_t server; /* DNS_SERVERS_MAX: a former one */
    uint16_t id;
    bool edns;
};

enum { DNS_FLIGHTS = 3, DNS_WHY_MAX = 400 };

struct dns_query {
    struct map_link link;
    struct list all, line, requests;
    struct dns *dns;
    struct loop_timer timer;
    struct dns_flight flight[DNS_FLIGHTS];
    struct dns_flight *current; /* NULL: the try is one over TCP */
    struct dns_tcp tcp;
    enum dns_type type;
    bool mapped, running, delivering;
    bool bad;   /* a name that cannot be asked */
    bool asked; /* a server has the question: the timer is its deadline */
    bool edns;
    uint16_t tcp_id;
    uint32_t ttl;          /* of the CNAMEs so far */
    unsigned hops, tries;  /* CNAMEs followed; tries begun */
    unsigned spent, tried; /* servers: not again; already in this round */
    size_t server;
    char key[DNS_NAME_MAX];  /* what the callers asked */
    char name[DNS_NAME_MAX]; /* what is asked now */
    char why[DNS_WHY_MAX];
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

/* The numbers of servers mean others from now on.  Answers of the former ones
 * that are under way still count. */
void dns_query_forget_servers(struct dns_query *q);

/* Without callbacks; its requests are freed.  Then the next one in the line
 * may be due: dns_query_next(). */
void dns_query_drop(struct dns_query *q);
void dns_query_next(struct dns *d);
#endif
