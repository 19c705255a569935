#include "dns/query.h"

#include "base/os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LAST_MS = 30 * 1000, /* a failed server is tried last for so long */
    STARVED_MS = 200,    /* before a socket is tried again */
    FLIGHTS_EXTRA = 64,  /* sockets of earlier tries, of all queries */
    DATAGRAMS_MAX = 16   /* read in one turn, against floods */
};

static void on_timer(struct loop_timer *t);
static void on_datagram(struct loop_io *io, unsigned ready);
static void on_tcp(struct dns_tcp *t, const unsigned char *msg, size_t n,
                   const char *why);

/* --- the life of a query ------------------------------------------------ */

static void close_flight(struct dns_flight *f)
{
    if (f->io.fd < 0)
        return;
    loop_watch(f->query->dns->loop, &f->io, 0, NULL);
    close(f->io.fd);
    f->io.fd = -1;
    f->query->dns->flights--;
}

static void close_flights(struct dns_query *q)
{
    for (size_t i = 0; i < DNS_FLIGHTS; i++)
        close_flight(&q->flight[i]);
    q->current = NULL;
}

/* End this try and go on from the loop; the query sent may still be
 * answered. */
static void query_later(struct dns_query *q, uint64_t delay_ms)
{
    dns_tcp_close(&q->tcp);
    loop_timer_clear(q->dns->loop, &q->timer);
    q->asked = false;
    loop_timer_set(q->dns->loop, &q->timer, delay_ms);
}

static void query_hang_up(struct dns_query *q)
{
    close_flights(q);
    dns_tcp_close(&q->tcp);
    loop_timer_clear(q->dns->loop, &q->timer);
    q->asked = false;
}

void dns_query_next(struct dns *d)
{
    struct list *first =
        d->running < d->queries_max ? list_pop(&d->line) : NULL;

    if (first == NULL)
        return;
    struct dns_query *q = LIST_ENTRY(first, struct dns_query, line);
    q->running = true;
    d->running++;
    query_later(q, 0);
}

/* Unlink from every list; the caller still holds it.  No request can join. */
static void query_detach(struct dns_query *q)
{
    query_hang_up(q);
    if (q->mapped)
        map_remove(&q->dns->map, &q->link);
    q->mapped = false;
    list_remove(&q->line);
    list_remove(&q->all);
    if (q->running)
        q->dns->running--;
    q->running = false;
}

static uint64_t query_hash(const char *name, enum dns_type type)
{
    return map_hash(name, strlen(name)) ^ (uint64_t)type << 32;
}

struct dns_query *dns_query_new(struct dns *d, const char *name,
                                enum dns_type type)
{
    struct dns_query *q = calloc(1, sizeof *q);

    if (q == NULL)
        return NULL;
    q->dns = d;
    q->type = type;
    q->timer.fn = on_timer;
    for (size_t i = 0; i < DNS_FLIGHTS; i++) {
        q->flight[i].io.fd = -1;
        q->flight[i].io.fn = on_datagram;
        q->flight[i].query = q;
    }
    q->tcp = (struct dns_tcp)DNS_TCP_CLOSED;
    q->tcp.fn = on_tcp;
    q->edns = true;
    q->ttl = DNS_TTL_MAX;
    list_init(&q->requests);
    list_push(&d->all, &q->all);
    q->bad = name[0] == '\0';
    memcpy(q->key, name, sizeof q->key);
    memcpy(q->name, name, sizeof q->name);
    if (!q->bad) {
        map_add(&d->map, &q->link, query_hash(name, type));
        q->mapped = true;
    }
    return q;
}

struct dns_query *dns_query_find(const struct dns *d, const char *name,
                                 enum dns_type type)
{
    struct map_link *m = map_first(&d->map, query_hash(name, type));

    for (; m != NULL; m = map_next(m)) {
        struct dns_query *q = MAP_ENTRY(m, struct dns_query, link);
        if (q->type == type && strcmp(q->key, name) == 0)
            return q;
    }
    return NULL;
}

/* --- reasons ------------------------------------------------------------ */

static const char *type_name(enum dns_type t)
{
    switch (t) {
    case DNS_A: return "A";
    case DNS_PTR: return "PTR";
    case DNS_MX: return "MX";
    case DNS_TXT: return "TXT";
    case DNS_AAAA: return "AAAA";
    case DNS_TLSA: return "TLSA";
    }
    return "?";
}

static void say(struct dns_query *q, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct dns_query *q, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(q->why, sizeof q->why, fmt, ap);
    va_end(ap);
}

/* --- answers ------------------------------------------------------------ */

/* Call back each request.  A callback may start requests, which cannot attach
 * to this query any more, and cancel requests still in the list. */
static void query_finish(struct dns_query *q, const struct dns_answer *a)
{
    struct dns *d = q->dns;
    struct list *first;

    query_detach(q);
    q->delivering = true;
    while ((first = list_pop(&q->requests)) != NULL) {
        struct dns_request *r = LIST_ENTRY(first, struct dns_request, link);
        dns_fn *fn = r->fn;
        void *ctx = r->ctx;
        free(r);
        fn(ctx, a);
    }
    free(q);
    dns_query_next(d);
}

static void finish_failed(struct dns_query *q, enum dns_status status,
                          const char *why)
{
    struct dns_answer a = {
        .status = status, .unusable = q->unusable, .why = why, .from = ""
    };

    query_finish(q, &a);
}

static void server_text(char out[ADDR_PORT_TEXT], const struct dns_query *q,
                        size_t server)
{
    if (server < DNS_SERVERS_MAX)
        addr_port_text(out, &q->dns->servers.s[server].addr);
    else
        snprintf(out, ADDR_PORT_TEXT, "a former name server");
}

/* Finish with `found`; its TTL is the lowest of the whole chain.  from: the
 * server; NULL: the cache. */
static void finish_found(struct dns_query *q, struct dns_found *found,
                         const char *from)
{
    bool fresh = from != NULL;

    if (!fresh)
        from = "the cache";
    if (q->ttl < found->ttl)
        found->ttl = q->ttl;
    for (size_t i = 0; i < found->n; i++)
        if (found->rr[i].ttl > found->ttl)
            found->rr[i].ttl = found->ttl;
    bool has_text = q->type == DNS_TXT && found->n > 0; /* is not kept */
    if ((fresh || q->hops > 0) && !has_text)
        dns_cache_put(q->dns->cache, q->key, q->type, loop_now(q->dns->loop),
                      found);
    q->why[0] = '\0';
    if (found->status == DNS_NODATA)
        say(q, "no %s records for %s (from %s)", type_name(q->type), q->key,
            from);
    else if (found->status == DNS_NXDOMAIN)
        say(q, "no such name in the DNS: %s (%s, from %s)", q->key,
            type_name(q->type), from);
    struct dns_answer a = { .status = found->status,
                            .why = q->why,
                            .from = from,
                            .ttl = found->ttl,
                            .n = found->n,
                            .rr = found->rr };
    query_finish(q, &a);
}

/* --- tries -------------------------------------------------------------- */

enum blame {
    NOT_SERVER,
    SERVER_SLOW,
    SERVER_NO_ANSWER, /* its port is closed */
    SERVER_NO_HELP,   /* it answers, but cannot */
    SERVER_REFUSES,
    SERVER_NONSENSE
};

/* Mark a server whose reply is unusable or whose port is closed as spent,
 * because the same query would fail again. */
static void blame_server(struct dns_query *q, size_t server, const char *what,
                         enum blame blame)
{
    char text[ADDR_PORT_TEXT];

    server_text(text, q, server);
    if (server < DNS_SERVERS_MAX) {
        if (blame != NOT_SERVER && blame != SERVER_SLOW)
            q->spent |= 1u << server;
        if (blame == SERVER_SLOW || blame == SERVER_NO_ANSWER ||
            blame == SERVER_REFUSES)
            q->dns->servers.s[server].last_until =
                loop_now(q->dns->loop) + LAST_MS;
    }
    q->unusable = blame == SERVER_REFUSES || blame == SERVER_NONSENSE;
    say(q, "%s from %s for %s %s", what, text, q->name, type_name(q->type));
}

/* End this try; the next begins from the loop. */
static void try_failed(struct dns_query *q, const char *what, enum blame blame)
{
    blame_server(q, q->server, what, blame);
    query_later(q, blame == NOT_SERVER ? STARVED_MS : 0);
}

/* Drop an earlier try that failed; the current one goes on. */
static void flight_failed(struct dns_flight *f, const char *what,
                          enum blame blame)
{
    struct dns_query *q = f->query;

    close_flight(f);
    if (f != q->current)
        blame_server(q, f->server, what, blame);
    else
        try_failed(q, what, blame);
}

/* Local errors, solved by waiting, are not the server's. */
static enum blame blame_for(int sys)
{
    return sys == 0 || os_is_short(sys) ? NOT_SERVER : SERVER_NO_ANSWER;
}

static void cannot_ask(struct dns_query *q, const struct err *e)
{
    close_flights(q); /* frees descriptors and memory */
    try_failed(q, e->sys != 0 ? strerror(e->sys) : "no descriptor left",
               blame_for(e->sys));
}

/* The flight of this server; else a free one, or the least recently used. */
static struct dns_flight *take_flight(struct dns_query *q)
{
    struct dns *d = q->dns;
    struct dns_flight *f = &q->flight[q->tries % DNS_FLIGHTS];

    for (size_t i = 0; i < DNS_FLIGHTS; i++) {
        struct dns_flight *g = &q->flight[i];
        if (g->io.fd >= 0 && g->server == q->server && g->edns == q->edns)
            return g;
    }
    if (d->flights >= d->running + FLIGHTS_EXTRA)
        close_flights(q);
    close_flight(f);
    return f;
}

static int open_flight(struct dns_flight *f, struct err *e)
{
    struct dns_query *q = f->query;
    struct dns *d = q->dns;

    f->server = q->server;
    f->edns = q->edns;
    f->id = (uint16_t)arc4random();
    f->io.fd = dns_socket(&d->servers.s[f->server].addr, SOCK_DGRAM, e);
    if (f->io.fd < 0)
        return -1;
    d->flights++;
    return loop_watch(d->loop, &f->io, LOOP_READ, e);
}

static int ask_udp(struct dns_query *q, struct err *e)
{
    unsigned char datagram[DNS_QUERY_BYTES];
    struct dns_flight *f = take_flight(q);

    if (f->io.fd < 0 && open_flight(f, e) != 0)
        return -1;
    struct dns_question question = { q->name, q->type, f->id, f->edns,
                                     q->hops };
    int n = dns_message_query(datagram, &question);
    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    if (send(f->io.fd, datagram, (size_t)n, MSG_NOSIGNAL) != n)
        return err_set(e, ERR_TEMP, errno, "send a DNS query");
    q->current = f;
    return 0;
}

static int ask_tcp(struct dns_query *q, struct err *e)
{
    unsigned char message[DNS_QUERY_BYTES];

    q->current = NULL;
    q->tcp_id = (uint16_t)arc4random();
    struct dns_question question = { q->name, q->type, q->tcp_id, q->edns,
                                     q->hops };
    int n = dns_message_query(message, &question);
    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    return dns_tcp_ask(&q->tcp, q->dns->loop,
                       &q->dns->servers.s[q->server].addr, message, (size_t)n,
                       e);
}

static void ask(struct dns_query *q,
                int (*how)(struct dns_query *, struct err *))
{
    struct err e;

    dns_tcp_close(&q->tcp);
    loop_timer_clear(q->dns->loop, &q->timer);
    if (how(q, &e) != 0) {
        cannot_ask(q, &e);
        return;
    }
    q->asked = true;
    loop_timer_set(q->dns->loop, &q->timer, q->dns->timeout_ms);
}

/* Begin a try; a server and a try are left. */
static void begin_try(struct dns_query *q, size_t server)
{
    unsigned bit = 1u << server;

    if ((q->tried & bit) != 0)
        q->tried = 0; /* a new round */
    q->tried |= bit;
    q->tries++;
    q->server = server;
    ask(q, ask_udp);
}

static size_t next_server(const struct dns_query *q)
{
    const struct dns *d = q->dns;

    if (q->tries >= d->tries)
        return d->servers.n;
    return dns_servers_pick(&d->servers, q->spent, q->tried, loop_now(d->loop));
}

/* Only queries that need a socket are counted and may wait in line. */
void dns_query_start(struct dns_query *q)
{
    struct dns *d = q->dns;

    if (q->bad ||
        dns_cache_get(d->cache, q->name, q->type, loop_now(d->loop), NULL)) {
        query_later(q, 0);
    } else if (d->running >= d->queries_max || !list_empty(&d->line)) {
        list_push(&d->line, &q->line);
    } else {
        q->running = true;
        d->running++;
        begin_try(q, next_server(q));
    }
}

static void query_step(struct dns_query *q)
{
    struct dns *d = q->dns;
    struct dns_found *found = &d->parsed.found;

    if (q->bad) {
        finish_failed(q, DNS_BADNAME, "not a name that the DNS can hold");
        return;
    }
    if (dns_cache_get(d->cache, q->name, q->type, loop_now(d->loop), found)) {
        finish_found(q, found, NULL);
        return;
    }
    if (!q->running) {
        dns_query_start(q); /* the cached answer has expired meanwhile */
        return;
    }
    size_t server = next_server(q);
    if (server == d->servers.n)
        finish_failed(q, DNS_FAILED, q->why);
    else
        begin_try(q, server);
}

static void on_timer(struct loop_timer *t)
{
    struct dns_query *q = LOOP_ENTRY(t, struct dns_query, timer);

    if (q->asked)
        try_failed(q, "timed out: no answer", SERVER_SLOW);
    else
        query_step(q);
}

/* --- what servers reply -------------------------------------------------- */

/* Query the rest of a chain as a new question with new tries. */
static void ask_alias(struct dns_query *q, const struct dns_parsed *p)
{
    close_flights(q);
    memcpy(q->name, p->name, sizeof q->name);
    q->hops = p->hops;
    if (p->found.ttl < q->ttl)
        q->ttl = p->found.ttl;
    q->tries = q->spent = q->tried = 0;
    q->edns = true;
    query_later(q, 0);
}

/* Query the same server in another way, within the same try. */
static void ask_same(struct dns_query *q,
                     int (*how)(struct dns_query *, struct err *))
{
    if (q->server < DNS_SERVERS_MAX)
        ask(q, how);
    else
        query_later(q, 0);
}

static void ask_again(struct dns_flight *f,
                      int (*how)(struct dns_query *, struct err *))
{
    struct dns_query *q = f->query;

    close_flight(f);
    q->server = f->server;
    ask_same(q, how);
}

static void answered(struct dns_query *q, struct dns_parsed *p, bool in_time,
                     size_t server)
{
    char from[ADDR_PORT_TEXT];

    server_text(from, q, server);
    if (in_time && server < DNS_SERVERS_MAX)
        q->dns->servers.s[server].last_until = 0;
    if (p->verdict == DNS_MSG_LOOP) {
        say(q, "%s from %s for %s %s", p->why, from, q->key,
            type_name(q->type));
        q->unusable = true;
        finish_failed(q, DNS_FAILED, q->why);
    } else if (p->verdict == DNS_MSG_ALIAS) {
        ask_alias(q, p);
    } else {
        finish_found(q, &p->found, from);
    }
}

/* False: the datagram is unrelated; go on reading. */
static bool flight_input(struct dns_flight *f, size_t n)
{
    struct dns_query *q = f->query;
    struct dns_question question = { q->name, q->type, f->id, f->edns,
                                     q->hops };
    struct dns_parsed *p = &q->dns->parsed;

    dns_message_parse(p, &question, q->dns->datagram, n);
    switch (p->verdict) {
    case DNS_MSG_ALIEN: return false;
    case DNS_MSG_TRUNCATED: ask_again(f, ask_tcp); break;
    case DNS_MSG_NO_EDNS:
        q->edns = false;
        ask_again(f, ask_udp);
        break;
    case DNS_MSG_REFUSED: flight_failed(f, p->why, SERVER_REFUSES); break;
    case DNS_MSG_SERVFAIL: flight_failed(f, p->why, SERVER_NO_HELP); break;
    case DNS_MSG_BROKEN: flight_failed(f, p->why, SERVER_NONSENSE); break;
    case DNS_MSG_LOOP:
    case DNS_MSG_ALIAS:
    case DNS_MSG_ANSWER:
        answered(q, p, f == q->current && q->asked, f->server);
        break;
    }
    return true;
}

/* The socket is connected, so the kernel drops datagrams of other hosts, and a
 * closed port is reported at once as ECONNREFUSED. */
static void on_datagram(struct loop_io *io, unsigned ready)
{
    struct dns_flight *f = LOOP_ENTRY(io, struct dns_flight, io);
    struct dns *d = f->query->dns;

    (void)ready;
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t n = recv(f->io.fd, d->datagram, sizeof d->datagram, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            flight_failed(f, strerror(errno), SERVER_NO_ANSWER);
            return;
        }
        if (flight_input(f, (size_t)n))
            return;
    }
}

static void on_tcp(struct dns_tcp *t, const unsigned char *msg, size_t n,
                   const char *why)
{
    struct dns_query *q = LOOP_ENTRY(t, struct dns_query, tcp);
    struct dns_question question = { q->name, q->type, q->tcp_id, q->edns,
                                     q->hops };
    struct dns_parsed *p = &q->dns->parsed;

    if (msg == NULL) {
        try_failed(q, why, SERVER_NO_HELP);
        return;
    }
    dns_message_parse(p, &question, msg, n);
    switch (p->verdict) {
    case DNS_MSG_ALIEN:
        try_failed(q, "another answer over TCP", SERVER_NO_HELP);
        break;
    case DNS_MSG_TRUNCATED:
        try_failed(q, "truncated answer over TCP", SERVER_NO_HELP);
        break;
    case DNS_MSG_NO_EDNS:
        q->edns = false;
        ask_same(q, ask_udp);
        break;
    case DNS_MSG_REFUSED: try_failed(q, p->why, SERVER_REFUSES); break;
    case DNS_MSG_SERVFAIL: try_failed(q, p->why, SERVER_NO_HELP); break;
    case DNS_MSG_BROKEN: try_failed(q, p->why, SERVER_NONSENSE); break;
    case DNS_MSG_LOOP:
    case DNS_MSG_ALIAS:
    case DNS_MSG_ANSWER: answered(q, p, true, q->server); break;
    }
}

void dns_query_forget_servers(struct dns_query *q)
{
    q->spent = q->tried = 0;
    q->server = DNS_SERVERS_MAX;
    for (size_t i = 0; i < DNS_FLIGHTS; i++)
        q->flight[i].server = DNS_SERVERS_MAX;
}

void dns_query_drop(struct dns_query *q)
{
    struct list *first;

    query_detach(q);
    while ((first = list_pop(&q->requests)) != NULL)
        free(LIST_ENTRY(first, struct dns_request, link));
    free(q);
}
