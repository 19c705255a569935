/* conn.c - the life of a conn: begin, deadline, end. */
#include "net/conn_private.h"

#include "base/os.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_again(struct loop_timer *t)
{
    (void)t; /* the timer only has to end the turn */
}

int conn_env_init(struct conn_env *env, struct loop *loop, size_t max_blocks,
                  struct err *e)
{
    memset(env, 0, sizeof *env);
    env->loop = loop;
    env->scratch_size = CONN_SCRATCH;
    env->again.fn = on_again;
    list_init(&env->dirty);
    list_init(&env->starved);
    env->scratch = malloc(CONN_SCRATCH + TLS_RECORD_MAX);
    env->blocks = chain_pool_new(max_blocks);
    if (env->scratch != NULL && env->blocks != NULL)
        return 0;
    conn_env_done(env);
    return err_set(e, ERR_TEMP, 0, "no memory for connections");
}

void conn_env_done(struct conn_env *env)
{
    if (env->loop != NULL)
        loop_timer_clear(env->loop, &env->again);
    free(env->scratch);
    free(env->record);
    env->scratch = env->record = NULL;
    pool_free(&env->blocks);
    env->loop = NULL;
}

/* --- events --------------------------------------------------------------- */

void conn_set_want(struct conn *c)
{
    unsigned want = 0;
    bool handshake = c->tls != NULL && !c->tls->secured;

    if (!conn_is_open(c) || c->failed)
        return;
    if (c->connecting || (c->blocked && conn_has_output(c)))
        want |= LOOP_WRITE;
    if (!c->connecting && !c->eof && !c->starved &&
        (!c->paused || c->closing || handshake))
        want |= LOOP_READ;
    if (want != c->io.want)
        loop_watch(c->env->loop, &c->io, want, NULL); /* fd was checked */
}

static void drop_output(struct conn *c)
{
    chain_clear(&c->out, c->env->blocks);
    if (c->tls != NULL)
        chain_clear(&c->tls->wire, c->env->blocks);
}

void conn_fail(struct conn *c, int why)
{
    c->failed = true;
    c->error = why;
    c->deadline = 0;
    conn_forget_input(c);
    drop_output(c);
    list_remove(&c->dirty);
    loop_timer_clear(c->env->loop, &c->timer);
    loop_watch(c->env->loop, &c->io, 0, NULL);
    if (c->tls != NULL)
        tls_stream_note(c->tls, NULL, why);
    c->fn(c, CONN_FAILED);
}

static void connected(struct conn *c)
{
    int why = 0;
    socklen_t len = sizeof why;

    if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
        why = errno;
    if (why != 0) {
        conn_fail(c, why);
        return;
    }
    c->connecting = false;
    conn_set_want(c);
    conn_mark_dirty(c); /* output queued before, perhaps a shutdown */
    c->fn(c, CONN_CONNECTED);
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct conn *c = LOOP_ENTRY(io, struct conn, io);

    if (c->connecting) {
        connected(c);
        return;
    }
    if (ready & LOOP_WRITE)
        conn_flush(c);
    if (!(ready & c->io.want & LOOP_READ)) /* the owner may have closed it */
        return;
    if (c->closing)
        conn_drain(c);
    else
        conn_read(c);
}

/* --- deadline ------------------------------------------------------------- */

/* The timer fires at the earliest deadline since it was set, or at once after
 * conn_resume(); most often the deadline is later by then. */
static void on_timer(struct loop_timer *t)
{
    struct conn *c = LOOP_ENTRY(t, struct conn, timer);
    uint64_t now = loop_now(c->env->loop);

    if (c->deadline > now || (c->deadline != 0 && c->resumed))
        loop_timer_set(c->env->loop, t,
                       c->deadline > now ? c->deadline - now : 0);
    if (c->resumed) {
        conn_show_waiting(c);
    } else if (c->deadline != 0 && c->deadline <= now) {
        c->deadline = 0;
        c->fn(c, CONN_TIMEOUT);
    }
}

void conn_set_timeout_ms(struct conn *c, uint64_t ms)
{
    if (!conn_is_open(c) || c->failed)
        return;
    c->deadline = ms == 0 ? 0 : loop_now(c->env->loop) + ms;
    if (ms != 0 &&
        (!loop_timer_is_set(&c->timer) || c->timer.due > c->deadline))
        loop_timer_set(c->env->loop, &c->timer, ms);
}

void conn_set_timeout(struct conn *c, uint64_t seconds)
{
    conn_set_timeout_ms(c, seconds * 1000);
}

/* --- begin and end -------------------------------------------------------- */

int conn_open(struct conn *c, struct conn_env *env, int fd, conn_fn *fn,
              struct err *e)
{
    memset(c, 0, sizeof *c);
    c->env = env;
    c->fn = fn;
    c->io.fn = on_ready;
    c->timer.fn = on_timer;
    c->io.fd = fd;
    if (loop_watch(env->loop, &c->io, LOOP_READ, e) == 0)
        return 0;
    c->io.fd = -1;
    return -1;
}

/* Send small commands without delay.  TCP_NODELAY fails on sockets that are not
 * TCP, which do not need it. */
static int prepare(int fd, struct err *e)
{
    int one = 1;

    if (os_nonblock(fd) != 0 || os_cloexec(fd) != 0)
        return err_set(e, ERR_TEMP, errno, "prepare a connection");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return 0;
}

int conn_dial(struct conn *c, struct conn_env *env, const struct addr *to,
              conn_fn *fn, struct err *e)
{
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM, 0);
    char text[ADDR_PORT_TEXT];

    memset(c, 0, sizeof *c);
    c->io.fd = -1;
    addr_port_text(text, to);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "make a socket for %s", text);
    if (prepare(fd, e) != 0 || conn_open(c, env, fd, fn, e) != 0) {
        close(fd);
        return -1;
    }
    c->connecting = true; /* a connection made at once shows as writable */
    conn_set_want(c);
    if (addr_connect(fd, to) == 0 || errno == EINPROGRESS || errno == EINTR)
        return 0;
    err_set(e, ERR_TEMP, errno, "connect to %s", text);
    conn_close(c);
    return -1;
}

bool conn_is_open(const struct conn *c)
{
    return c->env != NULL && c->io.fd >= 0;
}

/* Let close() reset the connection, because output is left: the kernel frees
 * its buffers at once, and the peer does not mistake a part of the output for
 * all of it. */
static void drop_sent(struct conn *c)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };

    (void)setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

void conn_close(struct conn *c)
{
    if (!conn_is_open(c))
        return;
    conn_forget_input(c);
    if (c->out.n > 0 || (conn_has_output(c) && !c->tls->tickets))
        drop_sent(c);
    drop_output(c);
    tls_stream_free(&c->tls);
    list_remove(&c->dirty);
    loop_timer_clear(c->env->loop, &c->timer);
    loop_watch(c->env->loop, &c->io, 0, NULL);
    close(c->io.fd);
    c->io.fd = -1;
}

void conn_part(struct conn *c)
{
    c->parted = true;
    conn_close_after_output(c);
}

void conn_close_after_output(struct conn *c)
{
    if (!conn_is_open(c) || c->closing || c->failed)
        return;
    c->closing = true;
    conn_forget_input(c);
    if (c->tls != NULL && !c->tls->secured)
        chain_clear(&c->out, c->env->blocks); /* it cannot leave any more */
    if (c->deadline == 0)
        conn_set_timeout_ms(c, CONN_LINGER_MS);
    conn_set_want(c);
    conn_mark_dirty(c); /* conn_flush_all() writes, then shuts down */
}
