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

/* -1 with c->error. */
static int write_chain(struct conn *c, struct chain *out)
{
    struct iovec v[VECTORS];
    /* Send the last output together with the FIN that follows at once. */
    int flags = MSG_NOSIGNAL | (c->parted ? MSG_MORE : 0);

    c->blocked = false;
    while (out->n > 0) {
        struct msghdr m = { .msg_iov = v };
        m.msg_iovlen = (size_t)chain_iov(out, 0, v, VECTORS);
        ssize_t done = sendmsg(c->io.fd, &m, flags);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->blocked = true;
            return 0;
        }
        if (done < 0) {
            c->error = errno;
            return -1;
        }
        chain_drop(out, c->env->blocks, (size_t)done);
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
        if (!c->blocked || !(c->io.want & LOOP_WRITE) || c->error != 0)
            conn_flush(c);
    }
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
