/* session.c - turns octets, deadlines and results of checks into events of the
 * table; start and end of a session. */
#include "serve/session_private.h"

#include "base/clock.h"
#include "log/log.h"
#include "mail/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Budget of a session before other sessions run.  Input arrives in pieces of at
 * most CONN_SCRATCH octets, one a turn. */
enum { TURN_COMMANDS = 50, TURN_SESSION_MS = 5, TURN_MS = 20 };

/* A client that shakes hands needs two or three round trips; meanwhile it has
 * the place of another. */
enum { HANDSHAKE_MS = 60 * 1000 };

enum { UNKNOWN_DELAY_MS = 1000, MIN_RATE_AFTER_MS = 60 * 1000, LINGER_S = 30 };

/* --- the surroundings ------------------------------------------------- */

static void open_extra(struct serve_env *env)
{
    unsigned on = env->conf->serve.extra_commands;

    env->extra_commands =
        ((on & CONF_EXTRA_NOOP) != 0 ? 1u << SMTP_NOOP : 0) |
        ((on & CONF_EXTRA_HELP) != 0 ? 1u << SMTP_HELP : 0) |
        ((on & CONF_EXTRA_STARTTLS) != 0 ? 1u << SMTP_STARTTLS : 0);
}

int serve_env_open(struct serve_env *env, struct err *e)
{
    env->unknown_delay_ms = UNKNOWN_DELAY_MS;
    env->min_rate_after_ms = MIN_RATE_AFTER_MS;
    env->decoded = malloc(2 * CONN_SCRATCH + 2);
    if (env->decoded == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for sessions");
    open_extra(env);
    list_init(&env->asking);
    fsm_index_build(&env->fsm, &serve_session_fsm);
    return 0;
}

void serve_env_close(struct serve_env *env)
{
    free(env->decoded);
    env->decoded = NULL;
}

struct list *serve_session_link(struct serve_session *s)
{
    return &s->link;
}

struct serve_session *serve_session_of_link(struct list *l)
{
    return LIST_ENTRY(l, struct serve_session, link);
}

const struct addr *serve_session_peer(const struct serve_session *s)
{
    return &s->peer;
}

/* Commands beyond the minimum: bits by enum smtp_verb.  A client of a Unix
 * socket has those that callers of `sendmail -bs` send. */
static unsigned extra_of(const struct serve_session *s)
{
    unsigned on = s->env->extra_commands;

    return addr_is_unix(&s->peer) ? (on | 1u << SMTP_NOOP | 1u << SMTP_HELP) &
                                        ~(1u << SMTP_STARTTLS)
                                  : on;
}

bool serve_session_has_extra(const struct serve_session *s, enum smtp_verb v)
{
    return (extra_of(s) & 1u << v) != 0;
}

bool serve_session_offers_tls(const struct serve_session *s)
{
    return serve_session_has_extra(s, SMTP_STARTTLS) && s->env->tls != NULL &&
           !conn_is_tls(&s->conn);
}

bool serve_session_offers_dsn(const struct serve_session *s)
{
    int to = s->env->conf->serve.dsn;

    return to == CONF_DSN_ALL || addr_is_unix(&s->peer) ||
           (to == CONF_DSN_RELAY_NETWORKS && s->trusted);
}

bool serve_session_is_over(const struct serve_session *s)
{
    return s->state == S_END;
}

/* --- the end ---------------------------------------------------------- */

static void release_transaction(struct serve_session *s)
{
    if (s->transaction == NULL)
        return;
    if (s->transaction->in_commit) {
        s->transaction->session = NULL; /* the commit goes on without it */
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
    s->env->ended(s->env->ctx, s);
}

/* A client whose handshake is not over can be sent nothing. */
static void wind_up(struct serve_session *s, bool handshake)
{
    struct loop *loop = s->env->conns->loop;
    const struct tls_facts *facts = conn_tls_facts(&s->conn);
    char tls[TRACE_TLS_TEXT];

    trace_tls(tls, facts != NULL ? facts->version : NULL,
              facts != NULL ? facts->cipher : NULL);
    release_transaction(s);
    policy_cancel(&s->policy);
    loop_timer_clear(loop, &s->delay);
    list_remove(&s->asking);
    if (!s->unlogged)
        LOG(LOG_INFO, "serve.disconnect", LS("sid", s->sid),
            LN("messages", s->messages), LN("errors", s->errors),
            LN("ms", loop_now(loop) - s->since), LS("tls", tls));
    conn_set_timeout(&s->conn, LINGER_S); /* for the last reply */
    conn_resume(&s->conn);
    if (handshake)
        bury(s);
    else if (s->bye)
        conn_part(&s->conn);
    else
        conn_close_after_output(&s->conn);
}

void serve_session_log_connect(struct serve_session *s)
{
    bool local = addr_is_unix(&s->peer);
    char peer[ADDR_TEXT];

    if (!s->unlogged)
        return;
    s->unlogged = false;
    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.connect", LS("sid", s->sid), LS("client", peer),
        LN_IF("uid", local, s->peer.u.local.uid),
        LN_IF("port", !local, addr_port(&s->peer)));
}

/* What a session of this host may do, and leave no line in the log: a probe
 * that reads the banner. */
static bool is_of_probe(enum serve_session_event ev)
{
    return ev == E_CONNECT || ev == E_SECURED || ev == E_ANSWERED ||
           ev == E_QUIT || ev == E_HANGUP || ev == E_STOP;
}

static void feed(struct serve_session *s, enum serve_session_event ev)
{
    enum serve_session_state before = s->state;

    if (!is_of_probe(ev))
        serve_session_log_connect(s);
    s->fed = true;
    if (fsm_feed(&serve_session_fsm, &s->env->fsm, &s->state, ev, s) != 0)
        s->state = S_END; /* a hole in the table: the unit test forbids it */
    if (s->state == S_END && before != S_END)
        wind_up(s, before == S_HANDSHAKE);
}

/* --- deadlines -------------------------------------------------------- */

/* A text may take min_rate_after_ms; a longer one needs an average rate of
 * serve.min_rate. */
static uint64_t text_allowed_ms(const struct serve_session *s)
{
    uint64_t rate = (uint64_t)s->env->conf->serve.min_rate;
    uint64_t ms = rate == 0 ? UINT64_MAX : s->transaction->size * 1000 / rate;

    return ms > s->env->min_rate_after_ms ? ms : s->env->min_rate_after_ms;
}

static uint64_t text_took_ms(const struct serve_session *s)
{
    return loop_now(s->env->conns->loop) - s->transaction->began;
}

bool serve_session_is_slow(const struct serve_session *s)
{
    return s->env->conf->serve.min_rate > 0 && s->transaction != NULL &&
           text_took_ms(s) >= text_allowed_ms(s);
}

static uint64_t step_ms(const struct serve_session *s)
{
    const struct conf *c = s->env->conf;

    uint64_t ms = (uint64_t)c->serve.command_timeout * 1000;
    if (s->state == S_HANDSHAKE && ms > HANDSHAKE_MS)
        return HANDSHAKE_MS;
    if (s->state != S_DATA)
        return ms;
    ms = (uint64_t)c->serve.data_timeout * 1000;
    uint64_t left = text_allowed_ms(s) - text_took_ms(s);
    return left < ms ? left + 1 : ms;
}

/* Set the earlier of two deadlines: that of the next command or piece of text
 * and that of the whole session. */
static void arm_timeout(struct serve_session *s)
{
    uint64_t used = loop_now(s->env->conns->loop) - s->since;
    uint64_t all = (uint64_t)s->env->conf->serve.session_timeout * 1000;

    if ((used >= all && s->state != S_COMMIT) ||
        (s->state == S_DATA && serve_session_is_slow(s))) {
        feed(s, E_TIMEOUT);
        return;
    }
    uint64_t step = step_ms(s);
    conn_set_timeout_ms(&s->conn,
                        used >= all || step < all - used ? step : all - used);
}

static void answered(struct serve_session *s)
{
    if (s->state != S_END && s->held)
        feed(s, E_ANSWERED);
}

static void on_delay(struct loop_timer *t)
{
    answered(LOOP_ENTRY(t, struct serve_session, delay));
}

void serve_session_delay(struct serve_session *s, unsigned ms)
{
    s->delayed = true;
    loop_timer_set(s->env->conns->loop, &s->delay, ms);
}

struct verdict serve_session_ask_later(struct serve_session *s)
{
    list_remove(&s->asking);
    list_push(&s->env->asking, &s->asking);
    return (struct verdict){ .kind = VERDICT_WAIT };
}

/* --- input ------------------------------------------------------------ */

static enum serve_session_event event_of(const struct serve_session *s)
{
    enum smtp_verb verb = s->env->command.verb;
    bool on = serve_session_has_extra(s, verb);

    switch (verb) {
    case SMTP_HELO: return E_HELO;
    case SMTP_EHLO: return E_EHLO;
    case SMTP_MAIL: return E_MAIL;
    case SMTP_RCPT: return E_RCPT;
    case SMTP_DATA: return E_DATA;
    case SMTP_RSET: return E_RSET;
    case SMTP_QUIT: return E_QUIT;
    case SMTP_EXPN:
    case SMTP_VRFY: return E_VRFY;
    case SMTP_NOOP: return on ? E_NOOP : E_OFF;
    case SMTP_HELP: return on ? E_HELP : E_OFF;
    case SMTP_STARTTLS: return on ? E_STARTTLS : E_OFF;
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

    if (lf == NULL) { /* drop all but a final CR, which may belong to CRLF */
        s->skipping = true;
        return in.n - (in.p[in.n - 1] == '\r');
    }
    s->skipping = false;
    feed(s, lf == in.p || lf[-1] != '\r' ? E_BARE_LF : E_GARBLED);
    return (size_t)(lf - in.p) + 1;
}

/* Execute one command line; returns the octets consumed, 0: the line is not
 * complete. */
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
        feed(s, E_BARE_LF);
        return n + 1;
    }
    memcpy(line, in.p, n - 1);
    if (!smtp_command_parse(&s->env->command, (struct span){ line, n - 1 }))
        feed(s, E_GARBLED);
    else if (in.n > n + 1 && serve_early_behind(s, s->env->command.verb))
        feed(s, E_EARLY);
    else
        feed(s, event_of(s));
    return s->held && s->state != S_END ? 0 : n + 1;
}

static size_t take_text(struct serve_session *s, struct span in)
{
    struct serve_transaction *t = s->transaction;
    size_t used;
    struct span text =
        smtp_dot_decode(&t->dot, in.p, in.n, &used, s->env->decoded);

    serve_transaction_take(t, text.p, text.n);
    if (t->dot.ended)
        feed(s, E_DOT);
    return used;
}

static bool can_take_input(const struct serve_session *s)
{
    return !s->held && s->state != S_CONNECTED && s->state != S_HANDSHAKE &&
           s->state != S_CHECK && s->state != S_COMMIT && s->state != S_END &&
           conn_output_waiting(&s->conn) < CONN_HIGH;
}

/* Once the time of the turn is spent, each session still gets one command, so
 * that none starves. */
static bool turn_is_over(const struct serve_session *s, unsigned commands,
                         uint64_t *until)
{
    uint64_t all = loop_now(s->env->conns->loop) + TURN_MS;
    uint64_t now = clock_mono_ms();

    if (commands == 1)
        *until = now + TURN_SESSION_MS < all ? now + TURN_SESSION_MS : all;
    return commands >= TURN_COMMANDS || now >= *until;
}

/* Returns true when input is left for the next turn. */
static bool take_a_turn(struct serve_session *s)
{
    uint64_t until = 0;

    for (unsigned commands = 0; can_take_input(s); commands++) {
        struct span in = conn_input(&s->conn);
        if (in.n == 0)
            break;
        if (commands > 0 && turn_is_over(s, commands, &until))
            return true;
        size_t used = s->state == S_DATA ? take_text(s, in) : take_line(s, in);
        if (used == 0)
            break;
        conn_consume(&s->conn, used);
    }
    return false;
}

static void take_input(struct serve_session *s)
{
    s->fed = false;
    bool more = take_a_turn(s);
    if (s->state == S_END)
        return;
    if (s->state != S_HANDSHAKE && (more || !can_take_input(s)))
        conn_pause(&s->conn);
    if (more)
        conn_resume(&s->conn);
    if (s->env->stopping && s->state < S_DATA)
        feed(s, E_STOP);
    else if (s->fed || s->state == S_DATA) /* not for a part of a line */
        arm_timeout(s);
}

/* The reason of the failure is lost with conn_close(). */
static void on_end_event(struct serve_session *s, enum conn_event ev)
{
    if (s->state == S_HANDSHAKE)
        err_set(&s->env->tls_error, ERR_PROTO, 0, "%s",
                conn_tls_error(&s->conn));
    if (ev == CONN_FAILED)
        conn_close(&s->conn);
    if (s->state == S_HANDSHAKE)
        feed(s, E_UNSECURED);
    else if (s->state != S_END)
        feed(s, E_HANGUP);
    else
        bury(s);
    if (!s->dead && !conn_is_open(&s->conn))
        bury(s);
}

static void on_conn(struct conn *c, enum conn_event ev)
{
    struct serve_session *s = LOOP_ENTRY(c, struct serve_session, conn);

    switch (ev) {
    case CONN_CONNECTED: break;
    case CONN_SECURED:
        feed(s, E_SECURED);
        if (s->state != S_END)
            arm_timeout(s);
        break;
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
            feed(s, E_TIMEOUT);
        break;
    }
}

/* --- for the owner ---------------------------------------------------- */

static void on_answered(void *ctx)
{
    answered(ctx);
}

void serve_env_answered(struct serve_env *env)
{
    struct list *l;

    while ((l = list_pop(&env->asking)) != NULL)
        answered(LIST_ENTRY(l, struct serve_session, asking));
}

struct serve_session *serve_session_new(struct serve_env *env,
                                        const struct addr *peer, unsigned roles)
{
    struct serve_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->env = env;
    s->peer = *peer;
    s->state = S_CONNECTED;
    s->tls_first = (roles & CONF_ROLE_TLS) != 0;
    s->since = loop_now(env->conns->loop);
    s->trusted = env->is_trusted(env->ctx, peer);
    s->delay.fn = on_delay;
    session_id_new(s->sid);
    s->policy.env = &env->policy;
    s->policy.peer = &s->peer;
    s->policy.sid = s->sid;
    s->policy.exempt = s->trusted;
    s->policy.answered = on_answered;
    s->policy.ctx = s;
    return s;
}

/* On loopback, or at an address that a listener has for itself: `mta check
 * --health` connects so. */
static bool is_of_this_host(const struct serve_session *s)
{
    const struct conf_listeners *l = &s->env->conf->serve.listen;

    if (addr_is_loopback(&s->peer))
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (addr_same_host(&l->item[i].addr, &s->peer))
            return true;
    return false;
}

int serve_session_start(struct serve_session *s, int fd, struct err *e)
{
    if (conn_open(&s->conn, s->env->conns, fd, on_conn, e) != 0) {
        close(fd);
        return -1;
    }
    s->unlogged = true;
    if (!is_of_this_host(s))
        serve_session_log_connect(s);
    feed(s, E_CONNECT);
    if (s->state != S_END)
        arm_timeout(s);
    return 0;
}

void serve_session_stop(struct serve_session *s)
{
    if (s->state != S_END)
        feed(s, E_STOP);
}

void serve_session_free(struct serve_session **sp)
{
    struct serve_session *s = *sp;

    if (s == NULL)
        return;
    conn_close(&s->conn);
    release_transaction(s);
    policy_cancel(&s->policy);
    loop_timer_clear(s->env->conns->loop, &s->delay);
    list_remove(&s->asking);
    free(s->helo);
    free(s);
    *sp = NULL;
}

void serve_session_committed(struct serve_transaction *t, const struct err *why)
{
    struct serve_session *s = t->session;

    if (s == NULL)
        return;
    if (why != NULL && err_is_full(why))
        t->fault = BODY_NO_ROOM;
    feed(s, why == NULL ? E_QUEUED : E_UNSTORED);
    s->transaction = NULL;
    if (s->state == S_END)
        return;
    if (s->env->stopping)
        feed(s, E_STOP);
    else
        conn_resume(&s->conn);
}
