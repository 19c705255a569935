/* check_health.c - `mta check --health`: is all that runs answering?
 *
 * The supervisor reports which services it runs.  A server is asked for the
 * banner of each listener, all at once; sessions that end there are not logged.
 * The other services are asked on their control sockets. */
#include "cli/check.h"

#include "base/chain.h"
#include "control/client.h"
#include "net/conn.h"
#include "net/tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 1000, BLOCKS = 256, PROBES_MAX = 64, WHY_MAX = 200 };

struct running {
    bool serve, send, deliver;
};

struct probe {
    struct conn conn;
    struct health *health;
    struct addr to;
    char name[ADDR_PORT_TEXT];
    bool tls, over;
};

struct health {
    const struct conf *conf;
    struct loop *loop;
    struct conn_env conns;
    struct tls_context *tls;
    size_t n, left;
    struct probe probe[PROBES_MAX];
    char submit[CONF_PATH_MAX + 8];
    bool ill;
};

__attribute__((format(printf, 2, 3))) static void ill(struct health *h,
                                                      const char *fmt, ...)
{
    va_list ap;

    h->ill = true;
    fputs("mta check: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* --- control sockets ------------------------------------------------------ */

static bool begins(struct span line, const char *name)
{
    size_t n = strlen(name);

    return line.n > n && memcmp(line.p, name, n) == 0 && line.p[n] == ' ';
}

static int take_status(void *ctx, struct span line)
{
    struct running *r = ctx;

    r->serve |= begins(line, "serve");
    r->send |= begins(line, "send");
    r->deliver |= begins(line, "deliver");
    return 0;
}

static int ignore(void *ctx, struct span line)
{
    (void)ctx;
    (void)line;
    return 0;
}

/* An error is an answer, too. */
static bool answers(struct health *h, struct control_ask *a)
{
    struct err e = { .kind = ERR_NONE };

    a->queue_dir = h->conf->queue_dir;
    if (control_ask(a, &e) == 0 || e.sys == 0)
        return true;
    if (e.sys == ENOENT || e.sys == ECONNREFUSED)
        ill(h, "%s: nothing runs there (mta run)", e.text);
    else
        ill(h, "%s", e.text);
    return false;
}

static void ping(struct health *h, const char *name)
{
    struct control_ask a = { .name = name, .command = "ping", .fn = ignore };

    (void)answers(h, &a);
}

/* --- listeners ------------------------------------------------------------ */

static void end(struct probe *p)
{
    if (p->over)
        return;
    p->over = true;
    p->health->left--;
    conn_close(&p->conn);
}

static void take_banner(struct probe *p)
{
    struct span in = conn_input(&p->conn);
    size_t n = span_find(in, '\n');

    if (n == in.n)
        return;
    bool greets = in.n > 3 && memcmp(in.p, "220", 3) == 0;
    if (!greets)
        ill(p->health, "%s replies: %.*s", p->name,
            (int)(n > 0 && in.p[n - 1] == '\r' ? n - 1 : n), in.p);
    conn_consume(&p->conn, n + 1);
    (void)conn_write(&p->conn, "QUIT\r\n", 6);
    conn_flush_all(p->conn.env);
    end(p);
}

static void on_conn(struct conn *c, enum conn_event ev)
{
    struct probe *p = LOOP_ENTRY(c, struct probe, conn);
    const char *why = conn_tls_error(c);
    struct err e;

    switch (ev) {
    case CONN_CONNECTED:
        if (!p->tls || conn_start_tls(c, p->health->tls, NULL, &e) == 0)
            return;
        ill(p->health, "%s: %s", p->name, e.text);
        break;
    case CONN_INPUT: take_banner(p); return;
    case CONN_SECURED:
    case CONN_DRAINED: return;
    case CONN_EOF:
        ill(p->health, "%s closes without a greeting", p->name);
        break;
    case CONN_FAILED:
        ill(p->health, "%s: %s", p->name,
            why != NULL ? why : strerror(c->error));
        break;
    case CONN_TIMEOUT:
        ill(p->health, "%s is silent for %d ms", p->name, PATIENCE_MS);
        break;
    }
    end(p);
}

/* A wildcard is reached over loopback. */
static void add_probe(struct health *h, const struct addr *at, bool tls)
{
    struct probe *p = &h->probe[h->n];
    struct err e;

    if (h->n == PROBES_MAX)
        return;
    h->n++;
    *p = (struct probe){ .health = h, .to = *at, .tls = tls };
    addr_port_text(p->name, at);
    if (!addr_is_unix(at) && addr_is_any(at)) {
        if (addr_is_v6(at))
            addr_from_v6(&p->to, &in6addr_loopback, addr_port(at));
        else
            addr_from_v4(&p->to, (const unsigned char[]){ 127, 0, 0, 1 },
                         addr_port(at));
    }
    if (conn_dial(&p->conn, &h->conns, &p->to, on_conn, &e) != 0) {
        ill(h, "%s: %s", p->name, e.text);
        p->over = true;
        return;
    }
    conn_set_timeout_ms(&p->conn, PATIENCE_MS);
    h->left++;
}

static void add_path(struct health *h, const char *path)
{
    struct addr at;

    if (strlen(path) > ADDR_UNIX_MAX)
        return; /* the server reaches it from its directory */
    addr_from_path(&at, path);
    add_probe(h, &at, false);
}

static int add_probes(struct health *h, struct err *e)
{
    const struct conf_listeners *l = &h->conf->serve.listen;

    for (size_t i = 0; i < l->n; i++) {
        bool tls = (l->item[i].roles & CONF_ROLE_TLS) != 0;
        if (tls && h->tls == NULL && tls_client_new(&h->tls, e) != 0)
            return -1;
        if (l->item[i].path[0] != '\0')
            add_path(h, l->item[i].path);
        else
            add_probe(h, &l->item[i].addr, tls);
    }
    snprintf(h->submit, sizeof h->submit, "%s/submit", h->conf->queue_dir);
    add_path(h, h->submit);
    return 0;
}

static int ask_listeners(struct health *h, struct err *e)
{
    int rc = 0;

    if (loop_new(&h->loop, NULL, e) != 0)
        return -1;
    if (conn_env_init(&h->conns, h->loop, BLOCKS, e) != 0) {
        loop_free(&h->loop);
        return -1;
    }
    rc = add_probes(h, e);
    while (rc == 0 && h->left > 0) {
        rc = loop_turn(h->loop, -1, e) < 0 ? -1 : 0;
        conn_flush_all(&h->conns);
    }
    for (size_t i = 0; i < h->n; i++)
        end(&h->probe[i]);
    conn_env_done(&h->conns);
    tls_context_free(&h->tls);
    loop_free(&h->loop);
    return rc;
}

/* --- all of it ------------------------------------------------------------ */

int check_health(const struct conf *c)
{
    struct running r = { .serve = false };
    struct control_ask status = {
        .name = "control", .command = "status", .fn = take_status, .ctx = &r
    };
    struct health *h = calloc(1, sizeof *h);
    struct err e;

    if (h == NULL) {
        fputs("mta check: no memory\n", stderr);
        return 1;
    }
    h->conf = c;
    if (answers(h, &status)) {
        if (r.serve && ask_listeners(h, &e) != 0)
            ill(h, "%s", e.text);
        if (r.send)
            ping(h, "send");
        if (r.deliver)
            ping(h, "deliver");
    }
    int rc = h->ill;
    free(h);
    return rc;
}
