/* conn_in.c - the input of a conn.
 *
 * The scratch buffer holds input of one conn at a time.  New input is there
 * alone during CONN_INPUT (c->in is empty), with blocks reserved for the bytes
 * that the owner does not consume.  Input copied back from blocks is in both
 * places, byte for byte. */
#include "net/conn_private.h"

#include <errno.h>
#include <sys/socket.h>

static size_t blocks_for(size_t n)
{
    return (n + CHAIN_DATA - 1) / CHAIN_DATA;
}

/* --- in and out of the scratch buffer ------------------------------------- */

static void set_aside(struct conn_env *env, size_t blocks)
{
    for (; blocks > 0; blocks--) {
        struct chain_block *b = pool_get(env->blocks);
        if (b == NULL)
            return; /* no memory; put_away() reports it */
        b->from = b->to = 0;
        b->next = env->spare.head;
        env->spare.head = b;
    }
}

/* Move the unconsumed input of the conn shown from the scratch buffer to its
 * blocks.  -1: no block is left, so the input is lost. */
int conn_put_away(struct conn_env *env)
{
    struct conn *c = env->shown;
    struct span rest;

    chain_clear(&env->spare, env->blocks); /* reserved no more */
    env->shown = NULL;
    if (c == NULL)
        return 0;
    rest = c->shown;
    c->shown = (struct span){ NULL, 0 };
    if (c->in.n > 0 || rest.n == 0)
        return 0;
    return chain_add(&c->in, env->blocks, rest.p, rest.n) ? 0 : -1;
}

struct span conn_input(struct conn *c)
{
    struct conn_env *env = c->env;

    if (conn_is_open(c) && env->shown != c && c->in.n > 0) {
        (void)conn_put_away(env); /* blocks for it are set aside */
        size_t n = chain_copy(&c->in, 0, env->scratch, env->scratch_size);
        c->shown = (struct span){ env->scratch, n };
        env->shown = c;
    }
    return c->shown;
}

void conn_consume(struct conn *c, size_t n)
{
    if (n > c->shown.n)
        n = c->shown.n;
    if (n == 0) /* it may be closed by now, with nothing to show */
        return;
    c->shown.p += n;
    c->shown.n -= n;
    if (c->in.n > 0)
        chain_drop(&c->in, c->env->blocks, n);
}

bool conn_has_input(const struct conn *c)
{
    char first[TLS_HEADER];
    ssize_t n = 0;

    if (c->in.n > 0 || c->shown.n > 0)
        return true;
    if (c->tls != NULL && c->tls->pending)
        return true;
    if (c->tls != NULL)
        n = (ssize_t)chain_copy(&c->tls->raw, 0, first, sizeof first);
    if (n == 0 && conn_is_open(c))
        n = recv(c->io.fd, first, c->tls == NULL ? 1 : sizeof first,
                 MSG_PEEK | MSG_DONTWAIT);
    return n > 0 &&
           (c->tls == NULL || tls_stream_is_data(c->tls, first, (size_t)n));
}

void conn_forget_input(struct conn *c)
{
    c->shown = (struct span){ NULL, 0 };
    if (c->env->shown == c)
        (void)conn_put_away(c->env);
    chain_clear(&c->in, c->env->blocks);
    if (c->tls != NULL)
        chain_clear(&c->tls->raw, c->env->blocks);
    list_remove(&c->hungry);
    c->starved = c->resumed = c->joins = false;
}

/* Call the owner, which may close c or call conn_input() of others. */
void conn_show(struct conn *c)
{
    struct conn_env *env = c->env;

    c->resumed = c->joins = false;
    env->showing = c;
    c->fn(c, CONN_INPUT);
    env->showing = NULL;
    if (c->env->shown == c && conn_put_away(c->env) != 0)
        conn_fail(c, ENOBUFS);
}

void conn_show_waiting(struct conn *c)
{
    c->resumed = c->joins = false;
    if (c->paused || c->closing || c->failed)
        return;
    if (c->tls != NULL)
        conn_tls_show_waiting(c);
    else if (c->in.n > 0)
        conn_show(c);
}

/* --- from the socket ------------------------------------------------------ */

static void starve(struct conn *c)
{
    c->starved = true;
    list_push(&c->env->starved, &c->hungry);
    conn_set_want(c);
}

/* Let starved connections read again once more blocks are free than the
 * reserve; earlier they would starve again and the loop would spin. */
void conn_feed_starved(struct conn_env *env)
{
    struct list *l;

    if (pool_left(env->blocks) <= CONN_RESERVE)
        return;
    while ((l = list_pop(&env->starved)) != NULL) {
        struct conn *c = LIST_ENTRY(l, struct conn, hungry);
        c->starved = false;
        conn_set_want(c);
    }
}

/* The length of input that can be kept if the owner consumes nothing. */
static size_t keepable(const struct conn *c)
{
    size_t left = pool_left(c->env->blocks);
    size_t blocks = blocks_for(c->in.n), most = c->env->scratch_size;

    if (c->tls != NULL) { /* plain text is shorter than its records */
        size_t record = c->in.n + tls_stream_record(c->tls);
        blocks += blocks_for(c->tls->raw.n);
        most = record > most ? record : most;
    }
    if (left > CONN_RESERVE)
        blocks += left - CONN_RESERVE;
    if (blocks > blocks_for(most))
        return most;
    size_t n = blocks * CHAIN_DATA;
    return n < most ? n : most;
}

static ssize_t receive(struct conn *c, char *to, size_t room)
{
    ssize_t got;

    do
        got = recv(c->io.fd, to, room, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

void conn_end_of_input(struct conn *c)
{
    c->eof = true;
    conn_set_want(c);
    c->fn(c, CONN_EOF);
}

void conn_take(struct conn *c, size_t have, size_t n)
{
    struct conn_env *env = c->env;

    chain_copy(&c->in, 0, env->scratch, have); /* one piece for the owner */
    chain_clear(&c->in, env->blocks);
    set_aside(env, blocks_for(have + n));
    c->shown = (struct span){ env->scratch, have + n };
    env->shown = c;
    conn_show(c);
}

void conn_read(struct conn *c)
{
    if (c->tls != NULL && c->tls->secured && conn_tls_is_waiting(c)) {
        conn_show_waiting(c);
        return;
    }
    if (c->tls != NULL && !c->tls->secured && conn_tls_must_wait(c))
        return; /* the socket stays readable */
    size_t have = c->in.n, most = keepable(c);
    size_t kept = have + (c->tls == NULL ? 0 : c->tls->raw.n);

    if (have >= c->env->scratch_size) {
        conn_fail(c, ENOBUFS); /* nothing of a full buffer was consumed */
        return;
    }
    if (most <= kept) {
        starve(c);
        return;
    }
    (void)conn_put_away(
        c->env); /* called outside an event: keep it in blocks too */
    ssize_t got = receive(c, c->env->scratch + kept, most - kept);
    if (got > 0 && c->tls != NULL)
        conn_tls_take(c, have, (size_t)got);
    else if (got > 0)
        conn_take(c, have, (size_t)got);
    else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    else if (got < 0)
        conn_fail(c, errno);
    else if (c->resumed)
        conn_show_waiting(c); /* first; the end is still there next turn */
    else if (c->tls != NULL)
        conn_tls_cut(c);
    else
        conn_end_of_input(c);
}

/* After the last output: read input and drop it. */
void conn_drain(struct conn *c)
{
    (void)conn_put_away(c->env);
    ssize_t got = receive(c, c->env->scratch, c->env->scratch_size);

    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
        return;
    if (got < 0) {
        conn_fail(c, errno);
    } else if (!conn_has_output(c)) {
        conn_end_of_input(c);
    } else { /* conn_flush() reports the end after the output */
        c->eof = true;
        conn_set_want(c);
    }
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    conn_set_want(c);
}

void conn_resume(struct conn *c)
{
    if (!conn_is_open(c) || !c->paused)
        return;
    c->paused = false;
    conn_set_want(c);
    if (c->in.n > 0 || c->shown.n > 0 ||
        (c->tls != NULL && conn_tls_is_waiting(c))) {
        c->joins = c->env->showing != c;
        c->resumed = true;
        if (c->joins)
            conn_mark_dirty(c);
        else
            conn_show_soon(c);
    }
}

void conn_show_soon(struct conn *c)
{
    c->resumed = true;
    loop_timer_set(c->env->loop, &c->timer, 0);
}
