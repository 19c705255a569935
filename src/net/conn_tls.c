/* conn_tls.c - TLS in a conn: between the socket's side and tls_stream.c.
 *
 * Records are opened where they stand in the scratch buffer: their plain text
 * is shorter, so that it never reaches what is still to be opened. */
#include "net/conn_private.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

/* --- begin ---------------------------------------------------------------- */

int conn_start_tls(struct conn *c, struct tls_context *t,
                   const struct tls_want *w, struct err *e)
{
    struct conn_env *env = c->env;

    if (!conn_is_open(c) || c->closing || c->failed || c->tls != NULL)
        return err_set(e, ERR_BUG, 0, "start TLS: not an open one in clear");
    if (env->record == NULL)
        env->record = malloc(TLS_PLAIN_MAX);
    if (env->record == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for TLS");
    struct conn_tls *tls = tls_stream_new(t, w, env->blocks, e);
    if (tls == NULL)
        return -1;
    conn_forget_input(c);
    chain_join(&c->out, &tls->wire); /* what is queued leaves in clear */
    chain_join(&tls->wire, &c->out);
    c->tls = tls;
    conn_set_want(c);
    conn_mark_dirty(c);
    return 0;
}

/* --- turns ---------------------------------------------------------------- */

/* A handshake costs as much as many commands.  When those of a turn of the loop
 * have had their time, the others wait for the next, which goes on with the
 * descriptor behind, so that none of them starves. */
enum { TURN_US = 10 * 1000 };

bool conn_tls_must_wait(const struct conn *c)
{
    const struct conn_env *env = c->env;

    return env->handshakes.us >= TURN_US || c->io.fd < env->handshakes.first;
}

void conn_tls_end_turn(struct conn_env *env)
{
    env->handshakes.first =
        env->handshakes.us < TURN_US ? 0 : env->handshakes.last + 1;
    env->handshakes.us = 0;
}

/* --- input ---------------------------------------------------------------- */

static bool is_live(const struct conn *c, const struct conn_tls *t)
{
    return conn_is_open(c) && c->tls == t && !c->failed && !c->closing;
}

bool conn_tls_is_waiting(const struct conn *c)
{
    return tls_stream_has_more(c->tls) || (c->tls->closed && !c->eof);
}

static void fail(struct conn *c)
{
    conn_try_now(c); /* the alert that gives the reason */
    conn_fail(c, c->tls->no_blocks ? ENOBUFS : EPROTO);
}

static void act_on(struct conn *c, enum tls_got got)
{
    struct conn_tls *t = c->tls;

    if (got == TLS_FAILED) {
        fail(c);
    } else if (got == TLS_SECURED) {
        if (c->out.n > 0)
            conn_mark_dirty(c);
        c->fn(c, CONN_SECURED);
        if (is_live(c, t))
            conn_set_want(c); /* a pause counts from now on */
    } else if (t->closed && !c->eof && !c->paused && !c->resumed) {
        conn_end_of_input(c);
    }
    if (is_live(c, t) && !c->paused && conn_tls_is_waiting(c))
        conn_show_soon(c);
}

/* Open what is in the scratch buffer behind room for `have`, or what OpenSSL
 * has yet (n is 0), and show it; with nothing new show, when `waiting`, what is
 * kept. */
static void open_here(struct conn *c, size_t have, size_t n, bool waiting)
{
    struct conn_env *env = c->env;
    struct conn_tls *t = c->tls;
    struct span from = { env->scratch + have, n };
    uint64_t began = t->secured ? 0 : clock_mono_us();
    size_t plain;
    enum tls_got got = tls_stream_open(t, &from, env->scratch + have,
                                       env->scratch_size - have, &plain);

    if (began != 0) {
        env->handshakes.us += clock_mono_us() - began;
        env->handshakes.last = c->io.fd;
    }

    if (n > 0) {
        chain_clear(&t->raw, env->blocks);
        if (!chain_add(&t->raw, env->blocks, from.p, from.n)) {
            conn_fail(c, ENOBUFS);
            return;
        }
    }
    if (t->wire.n > 0 && !t->tickets)
        conn_mark_dirty(c);
    if (plain > 0)
        conn_take(c, have, plain);
    else if (waiting && c->in.n > 0)
        conn_show(c);
    if (is_live(c, t))
        act_on(c, got);
}

void conn_tls_take(struct conn *c, size_t have, size_t got)
{
    struct conn_tls *t = c->tls;
    char *at = c->env->scratch + have;
    size_t kept = t->raw.n;

    if (kept + got >= tls_stream_record(t)) {
        chain_copy(&t->raw, 0, at, kept);
        open_here(c, have, kept + got, false);
    } else if (!chain_add(&t->raw, c->env->blocks, at + kept, got)) {
        conn_fail(c, ENOBUFS);
    }
}

void conn_tls_show_waiting(struct conn *c)
{
    struct conn_tls *t = c->tls;
    struct conn_env *env = c->env;
    size_t have = c->in.n, n = 0;

    if (have < env->scratch_size && tls_stream_has_more(t)) {
        (void)conn_put_away(env);
        if (!t->pending)
            n = chain_copy(&t->raw, 0, env->scratch + have, t->raw.n);
        open_here(c, have, n, true);
        return;
    }
    if (have > 0)
        conn_show(c);
    if (!is_live(c, t))
        return;
    if (c->in.n >= env->scratch_size && tls_stream_has_more(t))
        conn_fail(c, ENOBUFS); /* nothing of a full buffer was consumed */
    else
        act_on(c, TLS_GOT);
}

void conn_tls_cut(struct conn *c)
{
    if (c->tls->secured) {
        conn_end_of_input(c);
        return;
    }
    tls_stream_note(c->tls, "lost connection", 0);
    conn_fail(c, ECONNRESET);
}

/* --- output --------------------------------------------------------------- */

bool conn_tls_seal(struct conn *c)
{
    enum { RECORD_BLOCKS = TLS_RECORD_MAX / CHAIN_DATA + 1 };
    struct conn_tls *t = c->tls;

    /* Several records for one write, but not by the last blocks. */
    while (t->secured && c->out.n > 0 && t->wire.n < CONN_HIGH &&
           (t->wire.n == 0 || pool_left(t->blocks) > RECORD_BLOCKS)) {
        /* The only record needs no other memory than OpenSSL's. */
        t->direct = c->out.n <= TLS_PLAIN_MAX && !c->closing ? c : NULL;
        int rc = tls_stream_seal(t, &c->out, c->env->record);
        t->direct = NULL;
        if (rc != 0 && c->error == 0)
            c->error = t->no_blocks ? ENOBUFS : EPROTO;
        if (c->error != 0)
            return false;
    }
    if (c->closing && c->out.n == 0)
        tls_stream_end(t);
    return true;
}
