/* session.c - from bytes to events: lines, bodies, deadlines, the end. */
#include "serve/session.h"

#include "log/log.h"
#include "serve/reply.h"
#include "serve/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct serve_session *of_conn(struct conn *c)
{
    return LOOP_ENTRY(c, struct serve_session, conn);
}

bool serve_session_in_transaction(const struct serve_session *s)
{
    return s->state == S_DATA || s->state == S_COMMIT;
}

/* --- the end --------------------------------------------------------- */

static void let_go_of_transaction(struct serve_session *s)
{
    if (s->transaction == NULL)
        return;
    if (s->transaction->in_commit) {
        s->transaction->session =
            NULL; /* the commit goes on without the session */
        s->transaction = NULL;
    } else {
        serve_transaction_free(&s->transaction);
    }
}

static void bury(struct serve_session *s)
{
    if (s->dead)
        return;
    s->dead = true;
    conn_close(&s->conn);
    clients_remove(s->worker->shared->clients, s->worker->row, &s->peer);
    s->worker->nsessions--;
    list_remove(&s->link);
    list_push(&s->worker->dead, &s->link);
}

static void log_disconnect(const struct serve_session *s)
{
    uint64_t ms = loop_now(s->worker->loop) - s->since;

    LOG(LOG_INFO, "serve.disconnect", LS("sid", s->sid),
        LN("messages", s->messages), LN("errors", s->errors), LN("ms", ms));
}

static void end(struct serve_session *s)
{
    let_go_of_transaction(s);
    fcrdns_cancel(s->rdns_query);
    s->rdns_query = NULL;
    loop_timer_clear(s->worker->loop, &s->hold);
    log_disconnect(s);
    /* Half a minute for our last words to get out. */
    conn_set_timeout(&s->conn, 30);
    conn_resume(&s->conn);
    if (s->bye)
        conn_part(&s->conn);
    else
        conn_close_after_output(&s->conn);
}

void serve_session_free(struct serve_session *s)
{
    let_go_of_transaction(s); /* the commit may own it, and frees it later */
    free(s->helo);
    free(s->client_name);
    free(s);
}

void serve_session_feed(struct serve_session *s, enum serve_session_event ev)
{
    bool was_over = s->state == S_END;

    if (fsm_feed(&serve_session_fsm, &s->worker->fsm, &s->state, ev, s) != 0)
        s->state = S_END;
    if (s->state == S_END && !was_over)
        end(s);
}

/* --- input ----------------------------------------------------------- */

/* The deadline of the next event, and of the session as a whole. */
static void arm_timeout(struct serve_session *s)
{
    const struct conf *c = s->worker->conf;
    uint64_t used = (loop_now(s->worker->loop) - s->since) / 1000;
    uint64_t all = (uint64_t)c->serve.session_timeout;
    uint64_t step = (uint64_t)(s->state == S_DATA ? c->serve.data_timeout
                                                  : c->serve.command_timeout);

    if (used >= all && s->state != S_COMMIT)
        serve_session_feed(s, E_TIMEOUT);
    else
        conn_set_timeout(&s->conn,
                         used >= all || step < all - used ? step : all - used);
}

static enum serve_session_event event_of(const struct worker *w,
                                         enum smtp_verb verb)
{
    switch (verb) {
    case SMTP_HELO: return E_HELO;
    case SMTP_EHLO: return E_EHLO;
    case SMTP_MAIL: return E_MAIL;
    case SMTP_RCPT: return E_RCPT;
    case SMTP_DATA: return E_DATA;
    case SMTP_RSET: return E_RSET;
    case SMTP_QUIT: return E_QUIT;
    case SMTP_VRFY: return E_VRFY;
    case SMTP_NOOP: return w->extra & 1u << verb ? E_NOOP : E_OFF;
    case SMTP_HELP: return w->extra & 1u << verb ? E_HELP : E_OFF;
    case SMTP_EXPN:
    case SMTP_STARTTLS:
    case SMTP_AUTH:
    case SMTP_BDAT: return E_OFF;
    case SMTP_UNKNOWN: break;
    }
    return E_UNKNOWN;
}

/* RFC 5321 4.5.3.1.4: a line may have 512 octets, extensions ask for more. */
static size_t overlong(struct serve_session *s, struct span in)
{
    const char *lf = memchr(in.p, '\n', in.n);

    if (lf == NULL) { /* drop what is here, but a CR that the LF may need */
        s->skipping = true;
        return in.n - (in.p[in.n - 1] == '\r');
    }
    s->skipping = false;
    bool bare = lf == in.p || lf[-1] != '\r';
    serve_session_feed(s, bare ? E_BARE_LF : E_GARBLED);
    return (size_t)(lf - in.p) + 1;
}

/* Carry out one command line; returns the octets it took, 0: none yet. */
static size_t take_line(struct serve_session *s, struct span in)
{
    char line[SMTP_COMMAND_MAX];
    const char *lf =
        memchr(in.p, '\n', in.n < sizeof line ? in.n : sizeof line);

    if (s->skipping || (lf == NULL && in.n >= sizeof line))
        return overlong(s, in);
    if (lf == NULL)
        return 0;
    size_t n = (size_t)(lf - in.p);
    if (n == 0 || in.p[n - 1] != '\r') {
        serve_session_feed(s, E_BARE_LF);
        return n + 1;
    }
    memcpy(line, in.p, n - 1);
    struct smtp_command *c = &s->worker->command;
    bool fine = smtp_command_parse(c, (struct span){ line, n - 1 });
    serve_session_feed(s, fine ? event_of(s->worker, c->verb) : E_GARBLED);
    return s->held ? 0 : n + 1; /* a held command is read again */
}

static size_t take_body(struct serve_session *s, struct span in)
{
    struct worker *w = s->worker;
    size_t used;
    struct span text =
        smtp_dot_decode(&s->transaction->dot, in.p, in.n, &used, w->decoded);

    serve_transaction_take(s->transaction, text.p, text.n);
    if (s->transaction->dot.ended)
        serve_session_feed(s, E_DOT);
    return used;
}

static bool can_take_input(struct serve_session *s)
{
    return !s->held && s->state != S_COMMIT && s->state != S_END &&
           conn_output_waiting(&s->conn) < CONN_HIGH;
}

static void take_input(struct serve_session *s)
{
    while (can_take_input(s)) {
        struct span in = conn_input(&s->conn);
        if (in.n == 0)
            break;
        size_t used = s->state == S_DATA ? take_body(s, in) : take_line(s, in);
        if (used == 0)
            break;
        conn_consume(&s->conn, used);
    }
    if (s->state == S_END)
        return;
    if (!can_take_input(s))
        conn_pause(&s->conn);
    if (s->worker->stopping && !serve_session_in_transaction(s))
        serve_session_feed(s, E_STOP);
    else
        arm_timeout(s);
}

static void on_end_event(struct serve_session *s, enum conn_event ev)
{
    if (ev == CONN_FAILED)
        conn_close(&s->conn);
    if (s->state != S_END)
        serve_session_feed(s, E_HANGUP);
    else
        bury(s);
    if (!s->dead && !conn_is_open(&s->conn))
        bury(s);
}

static void on_conn(struct conn *c, enum conn_event ev)
{
    struct serve_session *s = of_conn(c);

    switch (ev) {
    case CONN_CONNECTED: break;
    case CONN_INPUT:
        if (s->state == S_END)
            conn_consume(c, conn_input(c).n);
        else
            take_input(s);
        break;
    case CONN_DRAINED: conn_resume(c); break;
    case CONN_EOF:
    case CONN_FAILED: on_end_event(s, ev); break;
    case CONN_TIMEOUT:
        if (s->state == S_END)
            bury(s);
        else
            serve_session_feed(s, E_TIMEOUT);
        break;
    }
}

/* --- the start ------------------------------------------------------- */

static void resume_held(struct serve_session *s)
{
    loop_timer_clear(s->worker->loop, &s->hold);
    if (!s->held)
        return;
    s->held = false;
    conn_resume(&s->conn);
}

static void on_rdns(void *ctx, enum fcrdns_status status, const char *name)
{
    struct serve_session *s = ctx;
    static const char *const words[] = { "ok", "no_ptr", "mismatch", "temp" };

    s->rdns_query = NULL;
    s->rdns = (unsigned char)status;
    if (name != NULL && *name != '\0')
        s->client_name = strdup(name);
    LOG(status == FCRDNS_OK ? LOG_DEBUG : LOG_INFO, "serve.rdns",
        LS("sid", s->sid), LS("status", words[status]),
        LS("name", s->client_name));
    resume_held(s);
}

/* The look-up takes too long for mail that only wants to note the name. */
static void on_hold_over(struct loop_timer *t)
{
    struct serve_session *s = LOOP_ENTRY(t, struct serve_session, hold);

    if (s->worker->conf->serve.rdns == CONF_RDNS_REQUIRE)
        return; /* then only the answer counts; the resolver has deadlines */
    fcrdns_cancel(s->rdns_query);
    s->rdns_query = NULL;
    s->rdns = FCRDNS_TEMP;
    resume_held(s);
}

static void greet(struct serve_session *s)
{
    char peer[ADDR_TEXT];
    struct err e;

    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.connect", LS("sid", s->sid), LS("client", peer),
        LN("port", addr_port(&s->peer)));
    if (s->worker->conf->serve.rdns != CONF_RDNS_OFF)
        s->rdns_query = fcrdns_ask(s->worker->dns, &s->peer, on_rdns, s, &e);
    serve_reply(s, 220, NULL, "%s ESMTP mta", s->worker->conf->hostname);
    arm_timeout(s);
}

struct serve_session *serve_session_start(struct worker *w, int fd,
                                          const struct addr *peer)
{
    struct serve_session *s = calloc(1, sizeof *s);
    struct err e;

    if (s == NULL || conn_open(&s->conn, &w->env, fd, on_conn, &e) != 0) {
        close(fd);
        free(s);
        return NULL;
    }
    s->worker = w;
    s->peer = *peer;
    s->state = S_GREETED;
    s->rdns = FCRDNS_TEMP;
    s->since = loop_now(w->loop);
    s->trusted = worker_trusts(w, peer);
    s->hold.fn = on_hold_over;
    session_id_new(s->sid);
    list_push(&w->sessions, &s->link);
    w->nsessions++;
    clients_add(w->shared->clients, w->row, peer);
    greet(s);
    return s;
}

void serve_session_stop(struct serve_session *s)
{
    if (s->state != S_END)
        serve_session_feed(s, E_STOP);
}

void serve_session_committed(struct serve_transaction *d, enum commit_result r,
                             const struct err *why)
{
    struct serve_session *s = d->session;

    if (s == NULL)
        return;
    if (r == COMMIT_FAILED && err_is_full(why))
        d->fault = BODY_NO_ROOM;
    serve_session_feed(s, r == COMMIT_QUEUED      ? E_QUEUED
                          : r == COMMIT_DELIVERED ? E_DELIVERED
                                                  : E_UNSTORED);
    s->transaction = NULL;
    if (s->state == S_END)
        return;
    if (s->worker->stopping)
        serve_session_feed(s, E_STOP);
    else
        conn_resume(&s->conn);
}
