/* session.c - the life of a session: stream events become FSM events. */
#include "send/session_auth.h"
#include "send/session_fault.h"
#include "send/session_tls.h"
#include "send/transaction.h"

#include "base/clock.h"
#include "base/os.h"
#include "log/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Seconds (RFC 5321 4.5.3.2); for the connect, TLS and QUIT there is no rule.
 */
static const unsigned timeouts[S_COUNT] = {
    [S_DIAL] = 30,      [S_WRAP] = 60,      [S_GREET] = 300,    [S_EHLO] = 300,
    [S_STARTTLS] = 120, [S_HANDSHAKE] = 60, [S_EHLO_TLS] = 300, [S_HELO] = 300,
    [S_AUTH] = 300,     [S_MAIL] = 300,     [S_RCPT] = 300,     [S_DATA] = 120,
    [S_BODY] = 180,     [S_DOT] = 600,      [S_CHUNK] = 600,    [S_VOID] = 600,
    [S_SETTLE] = 60,    [S_RSET] = 300,     [S_QUIT] = 5,
};

static struct fsm_index table_index;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void build_index(void)
{
    fsm_index_build(&table_index, &send_session_fsm);
}

static void on_again(struct loop_timer *t);

struct send_session *send_session_new(const struct addr *peer, const char *host,
                                      const struct send_limits *limits)
{
    struct send_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    pthread_once(&table_once, build_index);
    s->note.kind = WORK_OPEN;
    s->leave.kind = WORK_LEAVE;
    s->peer = *peer;
    s->end.mail = MAIL_UNTOUCHED;
    s->end.learned = *limits;
    snprintf(s->host, sizeof s->host, "%s", host);
    session_id_new(s->sid);
    s->state = s->was = S_DIAL;
    s->again.fn = on_again;
    list_init(&s->deliveries);
    list_init(&s->ahead);
    list_init(&s->left);
    smtp_reply_clear(&s->reply);
    return s;
}

void send_session_want_tls(struct send_session *s, bool may,
                           struct tls_session *resume)
{
    s->tls.wanted = true;
    s->tls.may = may;
    s->tls.resume = resume;
}

struct tls_session *send_session_take_tls(struct send_session *s,
                                          bool *chain_good)
{
    struct tls_session *t = s->tls.resume;

    *chain_good = s->tls.chain_good;
    s->tls.resume = NULL;
    return t;
}

void send_session_want_login(struct send_session *s, struct session_login *l)
{
    s->login = l;
}

void send_session_free(struct send_session **s)
{
    if (*s != NULL) {
        tls_session_free(&(*s)->tls.resume);
        send_auth_end(*s);
    }
    free(*s);
    *s = NULL;
}

const struct send_session_end *send_session_end(const struct send_session *s)
{
    return &s->end;
}

struct work_item *send_session_leave(struct send_session *s)
{
    return &s->leave;
}

struct send_session *send_session_of_leave(struct work_item *n)
{
    return LIST_ENTRY(n, struct send_session, leave);
}

struct work_item *send_session_note(struct send_session *s)
{
    return &s->note;
}

struct send_session *send_session_of_note(struct work_item *n)
{
    return LIST_ENTRY(n, struct send_session, note);
}

const char *send_session_id(const struct send_session *s)
{
    return s->sid;
}

const char *send_session_host(const struct send_session *s)
{
    return s->host;
}

struct lane *send_session_lane(const struct send_session *s)
{
    return s->lane;
}

void send_session_set_lane(struct send_session *s, struct lane *l)
{
    s->lane = l;
}

/* --- log ---------------------------------------------------------------- --*/

static void log_end(const struct send_session *s)
{
    char address[ADDR_PORT_TEXT];
    uint64_t ms = clock_mono_ms() - s->started;

    addr_port_text(address, &s->peer);
    LOG(LOG_INFO, "send.disconnect", LS("sid", s->sid), LS("mx", s->host),
        LS("address", address), LN("messages", s->end.delivered),
        LN("seconds", ms / 1000),
        LS("error", s->end.fault ? s->end.why.text : NULL));
}

/* --- events ------------------------------------------------------------- --*/

static void wind_up(struct send_session *s)
{
    loop_timer_clear(s->env->conns->loop, &s->again);
    send_transaction_abandon(s);
    send_tls_keep_session(s);
    conn_close(&s->conn);
    log_end(s);
    s->env->ended(s->env->ctx, s);
}

static unsigned timeout_of(const struct send_session *s)
{
    unsigned t = s->state == S_IDLE ? s->env->linger : timeouts[s->state];

    return s->env->timeout_cap > 0 && t > s->env->timeout_cap
               ? s->env->timeout_cap
               : t;
}

static void feed_one(struct send_session *s, unsigned event)
{
    s->was = s->state;
    s->event = (unsigned char)event;
    s->feeding = true;
    if (fsm_feed(&send_session_fsm, &table_index, &s->state, event, s) != 0)
        s->state = S_END; /* a hole in the table: the unit test forbids it */
    s->feeding = false;
}

/* The stream may fail inside an action, when a full buffer is written; that
 * waits until the action is over. */
static void feed(struct send_session *s, unsigned event)
{
    if (s->state == S_END)
        return;
    if (s->feeding) {
        s->conn_failed |= event == E_CLOSED || event == E_TIMEOUT;
        return;
    }
    feed_one(s, event);
    if (s->state != S_END && (s->out_failed || s->conn_failed))
        feed_one(s, E_CLOSED);
    if (s->state == S_END) {
        wind_up(s);
        return;
    }
    if (s->more) {
        s->more = false;
        loop_timer_set(s->env->conns->loop, &s->again, 0);
    }
    /* A new delivery in line is no sign of life from the peer. */
    if (s->state != s->was || (event != E_DELIVERY && event != E_STOP))
        conn_set_timeout(&s->conn, timeout_of(s));
}

static void on_again(struct loop_timer *t)
{
    feed(LOOP_ENTRY(t, struct send_session, again), E_ROOM);
}

/* --- replies ------------------------------------------------------------ --*/

static unsigned event_of_reply(const struct smtp_reply *r)
{
    switch (r->status.code / 100) {
    case 2: return E_2XX;
    case 3: return E_3XX;
    case 4: return r->status.code == 421 ? E_421 : E_4XX;
    case 5: return E_5XX;
    default: return E_BROKEN;
    }
}

static void note_extension(struct send_session *s, struct span line)
{
    if ((s->state == S_EHLO || s->state == S_EHLO_TLS) &&
        s->reply.status.code / 100 == 2 && s->reply.lines > 1 && line.n > 4)
        smtp_ext_line(&s->ext, (struct span){ line.p + 4, line.n - 4 });
}

/* One line of input, if a whole one is there.  Its text lives only until then,
 * so the event follows when it is consumed. */
static bool take_line(struct send_session *s)
{
    struct span in = conn_input(&s->conn), line;
    size_t used;

    enum smtp_reply_result got = smtp_reply_take(&s->reply, in, &used, &line);
    if (used == 0)
        return false;
    if (got != SMTP_REPLY_BROKEN)
        note_extension(s, line);
    conn_consume(&s->conn, used);
    if (got == SMTP_REPLY_BROKEN) {
        feed(s, E_BROKEN);
        smtp_reply_clear(&s->reply);
    }
    if (got == SMTP_REPLY_DONE) {
        s->more_input = conn_input(&s->conn).n > 0;
        feed(s, event_of_reply(&s->reply));
        smtp_reply_clear(&s->reply);
    }
    return s->state != S_END && conn_is_open(&s->conn);
}

static void on_conn(struct conn *c, enum conn_event ev)
{
    struct send_session *s = LOOP_ENTRY(c, struct send_session, conn);

    switch (ev) {
    case CONN_CONNECTED: feed(s, E_CONNECTED); break;
    case CONN_SECURED: feed(s, E_SECURED); break;
    case CONN_DRAINED: feed(s, E_ROOM); break;
    case CONN_TIMEOUT: feed(s, E_TIMEOUT); break;
    case CONN_EOF:
    case CONN_FAILED: feed(s, E_CLOSED); break;
    case CONN_INPUT:
        while (take_line(s))
            ;
        break;
    }
}

/* --- for the worker ----------------------------------------------------- --*/

void send_session_start(struct send_session *s, const struct send_env *env)
{
    struct err e = { .kind = ERR_NONE };
    struct answer why;

    s->env = env;
    s->note.kind = WORK_ENDED;
    s->started = clock_mono_ms();
    if (conn_dial(&s->conn, env->conns, &s->peer, on_conn, &e) == 0) {
        conn_set_timeout(&s->conn, timeout_of(s));
        return;
    }
    bool ours = e.sys == 0 || os_is_short(e.sys);
    struct fault f = { .when = FAULT_CONNECT,
                       .what = ours ? FAULT_OURS : FAULT_DROP };
    s->state = S_END;
    s->end.unanswered = e.sys == ECONNREFUSED;
    answer_set(&why, OUTCOME_DEFERRED, "4.4.1", "%.200s", e.text);
    send_session_follow(s, fault_judge(&f), &why);
    wind_up(s);
}

void send_session_give(struct send_session *s, struct delivery *j)
{
    if (s->state == S_END) {
        send_transaction_give_back(s, j);
        return;
    }
    list_push(&s->deliveries, &j->link);
    feed(s, E_DELIVERY);
}

bool send_session_has_more(const struct send_session *s)
{
    return !list_empty(&s->deliveries);
}

void send_session_hurry(struct send_session *s)
{
    if (s->state == S_IDLE)
        feed(s, E_TIMEOUT);
}

void send_session_stop(struct send_session *s)
{
    s->stopping = true;
    feed(s, E_STOP);
}

void send_session_kill(struct send_session *s)
{
    feed(s, E_KILL);
}
