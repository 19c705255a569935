#include "dns/query.h"

#include "base/os.h"
#include "base/rnd.h"

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

/* --- the life of a look ------------------------------------------------- */

static void look_hang_up(struct look *l)
{
    if (l->udp.fd >= 0) {
        loop_watch(l->dns->loop, &l->udp, 0, NULL);
        close(l->udp.fd);
        l->udp.fd = -1;
    }
    dns_tcp_close(&l->tcp);
    loop_timer_clear(l->dns->loop, &l->timer);
    l->asked = false;
}

/* Go on from the loop, as soon as it turns. */
static void look_later(struct look *l, uint64_t delay_ms)
{
    look_hang_up(l);
    loop_timer_set(l->dns->loop, &l->timer, delay_ms);
}

void dns_look_next(struct dns *d)
{
    struct list *first =
        d->running < d->queries_max ? list_pop(&d->line) : NULL;

    if (first == NULL)
        return;
    struct look *l = LIST_ENTRY(first, struct look, line);
    l->running = true;
    d->running++;
    look_later(l, 0);
}

/* Out of everything but the hands of its owner: no query can join. */
static void look_detach(struct look *l)
{
    look_hang_up(l);
    if (l->mapped)
        map_remove(&l->dns->map, &l->link);
    l->mapped = false;
    list_remove(&l->line);
    list_remove(&l->all);
    if (l->running)
        l->dns->running--;
    l->running = false;
}

static uint64_t look_hash(const char *name, enum dns_type type)
{
    return map_hash(name, strlen(name)) ^ (uint64_t)type << 32;
}

struct look *dns_look_new(struct dns *d, const char *name, enum dns_type type)
{
    struct look *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->dns = d;
    l->type = type;
    l->timer.fn = on_timer;
    l->udp.fd = -1;
    l->udp.fn = on_datagram;
    l->tcp = (struct dns_tcp)DNS_TCP_CLOSED;
    l->tcp.fn = on_tcp;
    l->edns = true;
    l->ttl = DNS_TTL_MAX;
    list_init(&l->queries);
    list_push(&d->all, &l->all);
    l->bad = name[0] == '\0';
    memcpy(l->key, name, sizeof l->key);
    memcpy(l->name, name, sizeof l->name);
    if (!l->bad) {
        map_add(&d->map, &l->link, look_hash(name, type));
        l->mapped = true;
    }
    return l;
}

struct look *dns_look_find(const struct dns *d, const char *name,
                           enum dns_type type)
{
    struct map_link *m = map_first(&d->map, look_hash(name, type));

    for (; m != NULL; m = map_next(m)) {
        struct look *l = MAP_ENTRY(m, struct look, link);
        if (l->type == type && strcmp(l->key, name) == 0)
            return l;
    }
    return NULL;
}

/* --- answers ------------------------------------------------------------ */

/* The callbacks may ask, join nothing here any more, and cancel what is
 * still in the list. */
static void look_finish(struct look *l, const struct dns_answer *a)
{
    struct dns *d = l->dns;
    struct list *first;

    look_detach(l);
    l->delivering = true;
    while ((first = list_pop(&l->queries)) != NULL) {
        struct dns_query *q = LIST_ENTRY(first, struct dns_query, link);
        dns_fn *fn = q->fn;
        void *ctx = q->ctx;
        free(q);
        fn(ctx, a);
    }
    free(l);
    dns_look_next(d);
}

static void finish_failed(struct look *l, enum dns_status status,
                          const char *why)
{
    struct dns_answer a = { .status = status, .why = why };

    look_finish(l, &a);
}

/* A name whose chain led to `found` is as good as its weakest record. */
static void finish_found(struct look *l, struct dns_found *found, bool fresh)
{
    static const char *const why[] = {
        [DNS_OK] = "",
        [DNS_NODATA] = "no records of this type",
        [DNS_NXDOMAIN] = "no such name in the DNS",
    };
    if (l->ttl < found->ttl)
        found->ttl = l->ttl;
    for (size_t i = 0; i < found->n; i++)
        if (found->rr[i].ttl > found->ttl)
            found->rr[i].ttl = found->ttl;
    if (fresh || l->hops > 0)
        dns_cache_put(l->dns->cache, l->key, l->type, loop_now(l->dns->loop),
                      found);
    struct dns_answer a = { .status = found->status,
                            .why = why[found->status],
                            .ttl = found->ttl,
                            .n = found->n,
                            .rr = found->rr };
    look_finish(l, &a);
}

/* --- tries -------------------------------------------------------------- */

static void say_why(struct look *l, const char *what)
{
    char text[ADDR_TEXT];

    addr_text(text, &l->dns->servers.s[l->server].addr);
    snprintf(l->why, sizeof l->why, "%s from %s", what, text);
}

enum blame { NOT_SERVER, SERVER_SLOW, SERVER_NO_ANSWER, SERVER_NO_HELP };

/* This try is over; the next begins from the loop.  A server that answered
 * badly or whose port is closed is spent: asking again would be a loop. */
static void try_failed(struct look *l, const char *what, enum blame blame)
{
    struct dns_server *s = &l->dns->servers.s[l->server];

    say_why(l, what);
    if (blame == SERVER_NO_HELP || blame == SERVER_NO_ANSWER)
        l->spent |= 1u << l->server;
    if (blame == SERVER_SLOW || blame == SERVER_NO_ANSWER)
        s->last_until = loop_now(l->dns->loop) + LAST_MS;
    look_later(l, blame == NOT_SERVER ? STARVED_MS : 0);
}

/* Ours to solve, by waiting: the server has done nothing wrong. */
static enum blame blame_for(int sys)
{
    return sys == 0 || os_is_short(sys) ? NOT_SERVER : SERVER_NO_ANSWER;
}

static void cannot_ask(struct look *l, const struct err *e)
{
    try_failed(l, e->sys != 0 ? strerror(e->sys) : "no descriptor left",
               blame_for(e->sys));
}

static int make_query(const struct look *l, unsigned char *out)
{
    struct dns_question q = { l->name, l->type, l->id, l->edns, l->hops };

    return dns_message_query(out, &q);
}

static int ask_udp(struct look *l, struct err *e)
{
    unsigned char query[DNS_QUERY_BYTES];
    int n = make_query(l, query);

    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    l->udp.fd = dns_socket(&l->dns->servers.s[l->server].addr, SOCK_DGRAM, e);
    if (l->udp.fd < 0 || loop_watch(l->dns->loop, &l->udp, LOOP_READ, e) != 0)
        return -1;
    if (send(l->udp.fd, query, (size_t)n, MSG_NOSIGNAL) != n)
        return err_set(e, ERR_TEMP, errno, "send a DNS query");
    return 0;
}

static int ask_tcp(struct look *l, struct err *e)
{
    unsigned char query[DNS_QUERY_BYTES];
    int n = make_query(l, query);

    if (n < 0)
        return err_set(e, ERR_BUG, EINVAL, "make a DNS query");
    return dns_tcp_ask(&l->tcp, l->dns->loop,
                       &l->dns->servers.s[l->server].addr, query, (size_t)n, e);
}

static void ask(struct look *l, int (*how)(struct look *, struct err *))
{
    struct err e;

    look_hang_up(l);
    if (how(l, &e) != 0) {
        cannot_ask(l, &e);
        return;
    }
    l->asked = true;
    loop_timer_set(l->dns->loop, &l->timer, l->dns->timeout_ms);
}

/* There is a server and a try left. */
static void begin_try(struct look *l, size_t server)
{
    unsigned bit = 1u << server;

    if ((l->tried & bit) != 0)
        l->tried = 0; /* a new round */
    l->tried |= bit;
    l->tries++;
    l->server = server;
    l->id = (uint16_t)rnd_u32();
    ask(l, ask_udp);
}

static size_t next_server(const struct look *l)
{
    const struct dns *d = l->dns;

    if (l->tries >= d->tries)
        return d->servers.n;
    return dns_servers_pick(&d->servers, l->spent, l->tried, loop_now(d->loop));
}

/* Only what needs a socket is counted and may have to stand in line. */
void dns_look_start(struct look *l)
{
    struct dns *d = l->dns;

    if (l->bad ||
        dns_cache_get(d->cache, l->name, l->type, loop_now(d->loop), NULL)) {
        look_later(l, 0);
    } else if (d->running >= d->queries_max || !list_empty(&d->line)) {
        list_push(&d->line, &l->line);
    } else {
        l->running = true;
        d->running++;
        begin_try(l, next_server(l));
    }
}

static void look_step(struct look *l)
{
    struct dns *d = l->dns;
    struct dns_found *found = &d->parsed.found;

    if (l->bad) {
        finish_failed(l, DNS_BADNAME, "not a name that the DNS can hold");
        return;
    }
    if (dns_cache_get(d->cache, l->name, l->type, loop_now(d->loop), found)) {
        finish_found(l, found, false);
        return;
    }
    if (!l->running) {
        dns_look_start(l); /* it came for the cache, and that has expired */
        return;
    }
    size_t server = next_server(l);
    if (server == d->servers.n)
        finish_failed(l, DNS_FAILED, l->why);
    else
        begin_try(l, server);
}

static void on_timer(struct loop_timer *t)
{
    struct look *l = LOOP_ENTRY(t, struct look, timer);

    if (l->asked)
        try_failed(l, "timed out: no answer", SERVER_SLOW);
    else
        look_step(l);
}

/* --- what servers say --------------------------------------------------- */

/* The rest of a chain is a question of its own, with fresh tries. */
static void ask_alias(struct look *l, const struct dns_parsed *p)
{
    memcpy(l->name, p->name, sizeof l->name);
    l->hops = p->hops;
    if (p->found.ttl < l->ttl)
        l->ttl = p->found.ttl;
    l->tries = l->spent = l->tried = 0;
    l->edns = true;
    look_later(l, 0);
}

/* Not a try of its own: the same server, without what it does not know. */
static void ask_plainly(struct look *l)
{
    l->edns = false;
    l->id = (uint16_t)rnd_u32();
    ask(l, ask_udp);
}

/* False: nothing that concerns us; go on listening. */
static bool look_hear(struct look *l, const unsigned char *msg, size_t n,
                      bool tcp)
{
    struct dns_question q = { l->name, l->type, l->id, l->edns, l->hops };
    struct dns_parsed *p = &l->dns->parsed;

    dns_message_parse(p, &q, msg, n);
    switch (p->verdict) {
    case DNS_MSG_ALIEN: return false;
    case DNS_MSG_TRUNCATED:
        if (tcp)
            try_failed(l, "truncated answer over TCP", SERVER_NO_HELP);
        else
            ask(l, ask_tcp);
        return true;
    case DNS_MSG_NO_EDNS: ask_plainly(l); return true;
    case DNS_MSG_REFUSED: try_failed(l, p->why, SERVER_NO_ANSWER); return true;
    case DNS_MSG_BROKEN: try_failed(l, p->why, SERVER_NO_HELP); return true;
    case DNS_MSG_LOOP: finish_failed(l, DNS_FAILED, p->why); return true;
    case DNS_MSG_ALIAS:
    case DNS_MSG_ANSWER: break;
    }
    l->dns->servers.s[l->server].last_until = 0;
    if (p->verdict == DNS_MSG_ALIAS)
        ask_alias(l, p);
    else
        finish_found(l, &p->found, true);
    return true;
}

/* The socket is connected: the kernel drops what others send, and a closed
 * port shows at once as ECONNREFUSED. */
static void on_datagram(struct loop_io *io, unsigned ready)
{
    struct look *l = LOOP_ENTRY(io, struct look, udp);
    struct dns *d = l->dns;

    (void)ready;
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t n = recv(l->udp.fd, d->datagram, sizeof d->datagram, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            try_failed(l, strerror(errno), SERVER_NO_ANSWER);
            return;
        }
        if (look_hear(l, d->datagram, (size_t)n, false))
            return;
    }
}

static void on_tcp(struct dns_tcp *t, const unsigned char *msg, size_t n,
                   const char *why)
{
    struct look *l = LOOP_ENTRY(t, struct look, tcp);

    if (msg == NULL)
        try_failed(l, why, SERVER_NO_HELP);
    else if (!look_hear(l, msg, n, true))
        try_failed(l, "another answer over TCP", SERVER_NO_HELP);
}

void dns_look_drop(struct look *l)
{
    struct list *first;

    look_detach(l);
    while ((first = list_pop(&l->queries)) != NULL)
        free(LIST_ENTRY(first, struct dns_query, link));
    free(l);
}
