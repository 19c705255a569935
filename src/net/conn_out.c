/* conn_out.c - the output of a conn: a chain, written once per turn. */
#include "net/conn_private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#ifndef MSG_MORE
#define MSG_MORE 0 /* not in POSIX */
#endif

enum { VECTORS = 20 }; /* more than CONN_HIGH bytes per call */

bool conn_has_output(const struct conn *c)
{
    return c->out.n > 0 || (c->tls != NULL && c->tls->wire.n > 0);
}

/* How much the socket accepts; 0 with c->blocked or c->error. */
static size_t send_some(struct conn *c, struct iovec *v, int n)
{
    struct msghdr m = { .msg_iov = v };
    /* Send the last output together with the FIN that follows at once. */
    int flags = MSG_NOSIGNAL | (c->parted ? MSG_MORE : 0);
    ssize_t done;

    m.msg_iovlen = (size_t)n;
    do
        done = sendmsg(c->io.fd, &m, flags);
    while (done < 0 && errno == EINTR);
    if (done >= 0)
        return (size_t)done;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        c->blocked = true;
    else
        c->error = errno;
    return 0;
}

size_t conn_send(struct conn *c, const char *from, size_t n)
{
    struct iovec v = { .iov_len = n };

    memcpy(&v.iov_base, &from, sizeof from); /* sendmsg() does not change it */
    return send_some(c, &v, 1);
}

/* -1 with c->error. */
static int write_chain(struct conn *c, struct chain *out)
{
    struct iovec v[VECTORS];

    c->blocked = false;
    while (out->n > 0) {
        size_t done = send_some(c, v, chain_iov(out, 0, v, VECTORS));
        if (done == 0)
            return c->blocked ? 0 : -1;
        chain_drop(out, c->env->blocks, done);
    }
    return 0;
}

/* -1 with c->error. */
static int write_some(struct conn *c)
{
    if (c->tls == NULL)
        return write_chain(c, &c->out);
    do
        if (!conn_tls_seal(c) || write_chain(c, &c->tls->wire) != 0)
            return -1;
    while (!c->blocked && c->tls->secured && c->out.n > 0);
    return 0;
}

/* Output failed, but input of the peer, perhaps with its reason, may be
 * unread. */
static void broken(struct conn *c)
{
    int why = c->error;

    chain_clear(&c->out, c->env->blocks);
    if (why != ENOBUFS && !c->closing && !c->eof && !c->paused && !c->starved)
        conn_read(c);
    if (conn_is_open(c) && !c->failed)
        conn_fail(c, why);
}

static void end_output(struct conn *c)
{
    if (c->eof || c->parted)
        c->fn(c, CONN_EOF); /* both sides are done */
    else if (shutdown(c->io.fd, SHUT_WR) != 0 && errno != ENOTCONN)
        conn_fail(c, errno);
}

void conn_flush(struct conn *c)
{
    if (c->joins)
        conn_show_waiting(c);
    list_remove(&c->dirty);
    if (!conn_is_open(c) || c->connecting || c->failed)
        return;
    if (c->error != 0 || write_some(c) != 0) {
        broken(c);
        return;
    }
    conn_set_want(c);
    if (c->closing && !conn_has_output(c)) {
        end_output(c);
    } else if (c->drained_owed && conn_output_waiting(c) < CONN_LOW) {
        c->drained_owed = false;
        c->fn(c, CONN_DRAINED);
    }
}

void conn_flush_all(struct conn_env *env)
{
    struct list batch, *l;

    loop_timer_clear(env->loop, &env->again);
    list_init(&batch);
    list_splice(&batch, &env->dirty);
    while ((l = list_pop(&batch)) != NULL) {
        struct conn *c = LIST_ENTRY(l, struct conn, dirty);
        /* Blocked and watched: on_ready() will. */
        if (!c->blocked || !(c->io.want & LOOP_WRITE) || c->error != 0 ||
            c->joins)
            conn_flush(c);
    }
    if (list_empty(&env->dirty)) /* what events queued is written already */
        loop_timer_clear(env->loop, &env->again);
    conn_feed_starved(env);
    if (env->handshakes.us > 0 || env->handshakes.first > 0)
        conn_tls_end_turn(env);
}

void conn_mark_dirty(struct conn *c)
{
    struct conn_env *env = c->env;

    if (list_linked(&c->dirty))
        return;
    if (list_empty(&env->dirty))
        loop_timer_set(env->loop, &env->again, 0);
    list_push(&env->dirty, &c->dirty);
}

void conn_try_now(struct conn *c)
{
    if (!c->blocked && !c->connecting && c->error == 0)
        (void)write_some(c); /* conn_flush() finds c->error */
}

bool conn_write(struct conn *c, const void *data, size_t n)
{
    struct pool *blocks;

    if (!conn_is_open(c) || c->closing || c->failed)
        return true; /* dropped: the owner has closed it or gets CONN_FAILED */
    blocks = c->env->blocks;
    if (!chain_add(&c->out, blocks, data, n)) {
        conn_try_now(c); /* may free some */
        conn_mark_dirty(c);
        if (!chain_add(&c->out, blocks, data, n)) {
            c->error = c->error == 0 ? ENOBUFS : c->error;
            return false;
        }
    }
    if (conn_output_waiting(c) >= CONN_HIGH) {
        c->drained_owed = true;
        conn_try_now(c);
    }
    conn_mark_dirty(c);
    return true;
}

size_t conn_output_waiting(const struct conn *c)
{
    return c->out.n + (c->tls == NULL ? 0 : c->tls->wire.n);
}
