/* check_health.c - `mta check --health`: is all that runs answering?
 *
 * The supervisor reports which services it runs.  Then all are asked at once:
 * a server for the banner of each listener (sessions that end there are not
 * logged), the others on their control sockets.  So the result is there within
 * two seconds, whatever hangs. */
#include "cli/check.h"

#include "base/chain.h"
#include "control/client.h"
#include "net/conn.h"
#include "net/tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000, BLOCKS = 256 };

struct running {
    bool serve, send, deliver;
};

struct probe {
    struct conn conn;
    struct health *health;
    struct addr to;
    char name[ADDR_PORT_TEXT];
    const char *question; /* of a control socket: any line is the answer */
    bool tls, over;
};

struct health {
    const struct conf *conf;
    struct loop *loop;
    struct conn_env conns;
    struct tls_context *tls;
    bool ill;
    size_t n, left;
    struct probe probe[]; /* of listeners, submit, and two control sockets */
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

/* --- probes --------------------------------------------------------------- */

static void end(struct probe *p)
{
    if (p->over)
        return;
    p->over = true;
    p->health->left--;
    conn_close(&p->conn);
}

static void take_line(struct probe *p)
{
    struct span in = conn_input(&p->conn);
    size_t n = span_find(in, '\n');

    if (n == in.n)
        return;
    if (p->question != NULL) {
        conn_consume(&p->conn, n + 1);
        end(p);
        return;
    }
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
        if (p->question != NULL)
            (void)conn_write(c, p->question, strlen(p->question));
        if (!p->tls || conn_start_tls(c, p->health->tls, NULL, &e) == 0)
            return;
        ill(p->health, "%s: %s", p->name, e.text);
        break;
    case CONN_INPUT: take_line(p); return;
    case CONN_SECURED:
    case CONN_DRAINED: return;
    case CONN_EOF:
        ill(p->health, "%s closes without %s", p->name,
            p->question != NULL ? "an answer" : "a greeting");
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
static void add_probe(struct health *h, const struct addr *at, bool tls,
                      const char *question)
{
    struct probe *p = &h->probe[h->n++];
    struct err e;

    *p = (struct probe){
        .health = h, .to = *at, .tls = tls, .question = question
    };
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

static void add_path(struct health *h, const char *path, const char *question)
{
    struct addr at;

    addr_from_path(&at, path);
    add_probe(h, &at, false, question);
}

static int add_listeners(struct health *h, struct err *e)
{
    const struct conf_listeners *l = &h->conf->serve.listen;

    for (size_t i = 0; i < l->n; i++) {
        bool tls = (l->item[i].roles & CONF_ROLE_TLS) != 0;
        if (tls && h->tls == NULL && tls_client_new(&h->tls, e) != 0)
            return -1;
        if (l->item[i].path[0] != '\0')
            add_path(h, l->item[i].path, NULL);
        else
            add_probe(h, &l->item[i].addr, tls, NULL);
    }
    add_path(h, "submit", NULL);
    return 0;
}

/* From within queue_dir, whose name may be longer than that of a socket. */
static int add_probes(struct health *h, const struct running *r, struct err *e)
{
    static const char ping[] = "ping\n";

    if (chdir(h->conf->queue_dir) != 0)
        return err_set(e, ERR_PERM, errno, "chdir to %s", h->conf->queue_dir);
    if (r->send)
        add_path(h, "run/send.sock", ping);
    if (r->deliver)
        add_path(h, "run/deliver.sock", ping);
    return r->serve ? add_listeners(h, e) : 0;
}

static int ask_all(struct health *h, const struct running *r, struct err *e)
{
    int rc = 0;

    if (loop_new(&h->loop, NULL, e) != 0)
        return -1;
    if (conn_env_init(&h->conns, h->loop, BLOCKS, e) != 0) {
        loop_free(&h->loop);
        return -1;
    }
    rc = add_probes(h, r, e);
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
    struct health *h =
        calloc(1, sizeof *h + (c->serve.listen.n + 3) * sizeof h->probe[0]);
    struct err e;

    if (h == NULL) {
        fputs("mta check: no memory\n", stderr);
        return 1;
    }
    h->conf = c;
    if (answers(h, &status) && ask_all(h, &r, &e) != 0)
        ill(h, "%s", e.text);
    int rc = h->ill;
    free(h);
    return rc;
}
