/* dns/query.h - one open question, shared by all requests for it.
 *
 * For src/dns alone: the inside of struct dns.  Every step runs from the loop,
 * by a timer or a socket; an error only sets the timer, so that no callback
 * comes early.
 *
 * The socket of a try that timed out stays open until the query is over, so
 * that the answer of a slow server still counts.  A server that is tried again
 * gets the same datagram from the same socket. */
#ifndef MTA_DNS_QUERY_H
#define MTA_DNS_QUERY_H

#include "base/list.h"
#include "base/map.h"
#include "dns/cache.h"
#include "dns/message.h"
#include "dns/servers.h"
#include "dns/tcp.h"

#include <stdbool.h>

enum { DNS_DATAGRAM_BYTES = 4096 }; /* some servers exceed the announced size */

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
    bool bad;   /* a name that cannot be queried */
    bool asked; /* a server has the question: the timer is its deadline */
    bool edns;
    bool unusable; /* as in dns_answer, of the last failure */
    uint16_t tcp_id;
    uint32_t ttl;          /* of the CNAMEs so far */
    unsigned hops, tries;  /* CNAMEs followed; tries begun */
    unsigned spent, tried; /* servers: not again; already in this round */
    size_t server;
    char key[DNS_NAME_MAX];  /* the question of the requests */
    char name[DNS_NAME_MAX]; /* the question sent now */
    char why[DNS_WHY_MAX];
};

struct dns_request {
    struct list link;
    struct dns_query *query;
    dns_fn *fn;
    void *ctx;
};

/* The open query with this question, or NULL. */
struct dns_query *dns_query_find(const struct dns *d, const char *name,
                                 enum dns_type type);

/* Make a query, not yet started; name as dns_name_normal() made it, or "" for
 * one that cannot be queried.  NULL: no memory. */
struct dns_query *dns_query_new(struct dns *d, const char *name,
                                enum dns_type type);

/* Start the query: ask the cache, a server, or wait in line. */
void dns_query_start(struct dns_query *q);

/* The numbers of servers mean others from now on.  Answers of the former ones
 * that are under way still count. */
void dns_query_forget_servers(struct dns_query *q);

/* Free the query and its requests without callbacks.  The next one in line may
 * be due then: dns_query_next(). */
void dns_query_drop(struct dns_query *q);
void dns_query_next(struct dns *d);
#endif
