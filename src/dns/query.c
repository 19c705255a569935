#include "dns/query.h"

#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LAST_MS = 30 * 1000, /* how long a failed server is asked last */
    STARVED_MS = 200,    /* before a socket is tried again */
    DATAGRAMS_MAX = 16   /* read in one turn, so a flood starves nobody */
};

static void on_timer(struct loop_timer *t);
static void on_datagram(struct loop_io *io, unsigned ready);
static void on_tcp(struct dns_tcp *t, const unsigned char *msg, size_t n,
                   const char *why);

/* --- the life of a query ------------------------------------------------ */

static void query_hang_up(struct dns_query *q)
{
    if (q->udp.fd >= 0) {
        loop_watch(q->dns->loop, &q->udp, 0, NULL);
        close(q->udp.fd);
        q->udp.fd = -1;
    }
    dns_tcp_close(&q->tcp);
    loop_timer_clear(q->dns->loop, &q->timer);
    q->asked = false;
}

/* Go on from the loop, as soon as it turns. */
static void query_later(struct dns_query *q, uint64_t delay_ms)
{
    query_hang_up(q);
    loop_timer_set(q->dns->loop, &q->timer, delay_ms);
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

/* Out of everything but the hands of its owner: no query can join. */
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
    q->udp.fd = -1;
    q->udp.fn = on_datagram;
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

/* --- answers ------------------------------------------------------------ */

/* The callbacks may ask, join nothing here any more, and cancel what is
 * still in the list. */
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
    struct dns_answer a = { .status = status, .why = why };

    query_finish(q, &a);
}

/* A name whose chain led to `found` is as good as its weakest record. */
static void finish_found(struct dns_query *q, struct dns_found *found,
                         bool fresh)
{
    static const char *const why[] = {
        [DNS_OK] = "",
        [DNS_NODATA] = "no records of this type",
        [DNS_NXDOMAIN] = "no such name in the DNS",
    };
    if (q->ttl < found->ttl)
        found->ttl = q->ttl;
    for (size_t i = 0; i < found->n; i++)
        if (found->rr[i].ttl > found->ttl)
            found->rr[i].ttl = found->ttl;
    if (fresh || q->hops > 0)
        dns_cache_put(q->dns->cache, q->key, q->type, loop_now(q->dns->loop),
                      found);
    struct dns_answer a = { .status = found->status,
                            .why = why[found->status],
                            .ttl = found->ttl,
                            .n = found->n,
                            .rr = found->rr };
    query_finish(q, &a);
}

/* --- tries -------------------------------------------------------------- */

static void say_why(struct dns_query *q, const char *what)
{
    char text[ADDR_TEXT];

    addr_text(text, &q->dns->servers.s[q->server].addr);
    snprintf(q->why, sizeof q->why, "%s from %s", what, text);
}

enum blame { NOT_SERVER, SERVER_SLOW, SERVER_NO_ANSWER, SERVER_NO_HELP };

/* This try is over; the next begins from the loop.  A server that answered
 * badly or whose port is closed is spent: asking again would be a loop. */
static void try_failed(struct dns_query *q, const char *what, enum blame blame)
{
    struct dns_server *s = &q->dns->servers.s[q->server];

    say_why(q, what);
    if (blame == SERVER_NO_HELP || blame == SERVER_NO_ANSWER)
        q->spent |= 1u << q->server;
    if (blame == SERVER_SLOW || blame == SERVER_NO_ANSWER)
        s->last_until = loop_now(q->dns->loop) + LAST_MS;
    query_later(q, blame == NOT_SERVER ? STARVED_MS : 0);
}

/* Ours to solve, by waiting: the server has done nothing wrong. */
static enum blame blame_for(int sys)
{
    return sys == 0 || os_is_short(sys) ? NOT_SERVER : SERVER_NO_ANSWER;
}

static void cannot_ask(struct dns_query *q, const struct err *e)
{
    try_failed(q, e->sys != 0 ? strerror(e->sys) : "no descriptor left",
               blame_for(e->sys));
}

static int make_query(const struct dns_query *q, unsigned char *out)
{
    struct dns_question question = { q->name, q->type, q->id, q->edns,
                                     q->hops };

    return dns_message_query(out, &question);
}

static int ask_udp(struct dns_query *q, struct err *e)
{
    unsigned char query[DNS_QUERY_BYTES];
    int n = make_query(q, query);

    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    q->udp.fd = dns_socket(&q->dns->servers.s[q->server].addr, SOCK_DGRAM, e);
    if (q->udp.fd < 0 || loop_watch(q->dns->loop, &q->udp, LOOP_READ, e) != 0)
        return -1;
    if (send(q->udp.fd, query, (size_t)n, MSG_NOSIGNAL) != n)
        return err_set(e, ERR_TEMP, errno, "send a DNS query");
    return 0;
}

static int ask_tcp(struct dns_query *q, struct err *e)
{
    unsigned char query[DNS_QUERY_BYTES];
    int n = make_query(q, query);

    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    return dns_tcp_ask(&q->tcp, q->dns->loop,
                       &q->dns->servers.s[q->server].addr, query, (size_t)n, e);
}

static void ask(struct dns_query *q,
                int (*how)(struct dns_query *, struct err *))
{
    struct err e;

    query_hang_up(q);
    if (how(q, &e) != 0) {
        cannot_ask(q, &e);
        return;
    }
    q->asked = true;
    loop_timer_set(q->dns->loop, &q->timer, q->dns->timeout_ms);
}

/* There is a server and a try left. */
static void begin_try(struct dns_query *q, size_t server)
{
    unsigned bit = 1u << server;

    if ((q->tried & bit) != 0)
        q->tried = 0; /* a new round */
    q->tried |= bit;
    q->tries++;
    q->server = server;
    q->id = (uint16_t)arc4random();
    ask(q, ask_udp);
}

static size_t next_server(const struct dns_query *q)
{
    const struct dns *d = q->dns;

    if (q->tries >= d->tries)
        return d->servers.n;
    return dns_servers_pick(&d->servers, q->spent, q->tried, loop_now(d->loop));
}

/* Only what needs a socket is counted and may have to stand in line. */
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
        finish_found(q, found, false);
        return;
    }
    if (!q->running) {
        dns_query_start(q); /* it came for the cache, and that has expired */
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

/* --- what servers say --------------------------------------------------- */

/* The rest of a chain is a question of its own, with fresh tries. */
static void ask_alias(struct dns_query *q, const struct dns_parsed *p)
{
    memcpy(q->name, p->name, sizeof q->name);
    q->hops = p->hops;
    if (p->found.ttl < q->ttl)
        q->ttl = p->found.ttl;
    q->tries = q->spent = q->tried = 0;
    q->edns = true;
    query_later(q, 0);
}

/* Not a try of its own: the same server, without what it does not know. */
static void ask_plainly(struct dns_query *q)
{
    q->edns = false;
    q->id = (uint16_t)arc4random();
    ask(q, ask_udp);
}

/* False: nothing that concerns us; go on listening. */
static bool query_hear(struct dns_query *q, const unsigned char *msg, size_t n,
                       bool tcp)
{
    struct dns_question question = { q->name, q->type, q->id, q->edns,
                                     q->hops };
    struct dns_parsed *p = &q->dns->parsed;

    dns_message_parse(p, &question, msg, n);
    switch (p->verdict) {
    case DNS_MSG_ALIEN: return false;
    case DNS_MSG_TRUNCATED:
        if (tcp)
            try_failed(q, "truncated answer over TCP", SERVER_NO_HELP);
        else
            ask(q, ask_tcp);
        return true;
    case DNS_MSG_NO_EDNS: ask_plainly(q); return true;
    case DNS_MSG_REFUSED: try_failed(q, p->why, SERVER_NO_ANSWER); return true;
    case DNS_MSG_BROKEN: try_failed(q, p->why, SERVER_NO_HELP); return true;
    case DNS_MSG_LOOP: finish_failed(q, DNS_FAILED, p->why); return true;
    case DNS_MSG_ALIAS:
    case DNS_MSG_ANSWER: break;
    }
    q->dns->servers.s[q->server].last_until = 0;
    if (p->verdict == DNS_MSG_ALIAS)
        ask_alias(q, p);
    else
        finish_found(q, &p->found, true);
    return true;
}

/* The socket is connected: the kernel drops what others send, and a closed
 * port shows at once as ECONNREFUSED. */
static void on_datagram(struct loop_io *io, unsigned ready)
{
    struct dns_query *q = LOOP_ENTRY(io, struct dns_query, udp);
    struct dns *d = q->dns;

    (void)ready;
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t n = recv(q->udp.fd, d->datagram, sizeof d->datagram, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            try_failed(q, strerror(errno), SERVER_NO_ANSWER);
            return;
        }
        if (query_hear(q, d->datagram, (size_t)n, false))
            return;
    }
}

static void on_tcp(struct dns_tcp *t, const unsigned char *msg, size_t n,
                   const char *why)
{
    struct dns_query *q = LOOP_ENTRY(t, struct dns_query, tcp);

    if (msg == NULL)
        try_failed(q, why, SERVER_NO_HELP);
    else if (!query_hear(q, msg, n, true))
        try_failed(q, "another answer over TCP", SERVER_NO_HELP);
}

void dns_query_drop(struct dns_query *q)
{
    struct list *first;

    query_detach(q);
    while ((first = list_pop(&q->requests)) != NULL)
        free(LIST_ENTRY(first, struct dns_request, link));
    free(q);
}
