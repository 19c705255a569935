#include "net/conn.h"

#include "base/os.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct conn *of_io(struct loop_io *io)
{
    return LOOP_ENTRY(io, struct conn, io);
}

int conn_env_init(struct conn_env *env, struct loop *loop, size_t max_blocks,
                  struct err *e)
{
    memset(env, 0, sizeof *env);
    env->loop = loop;
    env->scratch_size = CONN_SCRATCH;
    list_init(&env->dirty);
    list_init(&env->starved);
    env->scratch = malloc(CONN_SCRATCH);
    env->blocks = chain_pool_new(max_blocks);
    if (env->scratch != NULL && env->blocks != NULL)
        return 0;
    conn_env_done(env);
    return err_set(e, ERR_TEMP, 0, "no memory for connections");
}

void conn_env_done(struct conn_env *env)
{
    free(env->scratch);
    env->scratch = NULL;
    pool_free(&env->blocks);
}

/* --- what to wait for ------------------------------------------------ */

static void set_want(struct conn *c)
{
    unsigned want = 0;

    if (!conn_is_open(c))
        return;
    if (c->connecting || (c->out.n > 0 && c->blocked))
        want |= LOOP_WRITE;
    if (!c->connecting && !c->eof && !c->starved && (!c->paused || c->closing))
        want |= LOOP_READ;
    if (want != c->io.want)
        loop_watch(c->env->loop, &c->io, want, NULL); /* fd was checked */
}

static void fail(struct conn *c, int why)
{
    c->error = why;
    chain_clear(&c->out, c->env->blocks);
    list_remove(&c->dirty);
    loop_watch(c->env->loop, &c->io, 0, NULL);
    c->fn(c, CONN_FAILED);
}

static void finish_closing(struct conn *c);

/* --- output ---------------------------------------------------------- */

static int write_some(struct conn *c)
{
    struct iovec v[16];

    while (c->out.n > 0) {
        struct msghdr m = { .msg_iov = v };
        int n = chain_iov(&c->out, 0, v, 16);
        m.msg_iovlen = (size_t)n;
        ssize_t done = sendmsg(c->io.fd, &m, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->blocked = true;
            return 0;
        }
        if (done < 0)
            return -1;
        chain_drop(&c->out, c->env->blocks, (size_t)done);
    }
    c->blocked = false;
    return 0;
}

static void flush(struct conn *c)
{
    list_remove(&c->dirty);
    if (!conn_is_open(c) || c->connecting)
        return;
    if (write_some(c) != 0) {
        fail(c, errno);
        return;
    }
    set_want(c);
    if (c->closing && c->out.n == 0) {
        finish_closing(c);
        return;
    }
    if (c->above_low && c->out.n <= CONN_LOW) {
        c->above_low = false;
        c->fn(c, CONN_DRAINED);
    }
}

void conn_flush_all(struct conn_env *env)
{
    struct list batch, *l;

    list_init(&batch);
    list_splice(&batch, &env->dirty);
    while ((l = list_pop(&batch)) != NULL)
        flush(LIST_ENTRY(l, struct conn, dirty));
    /* Blocks may be free again for those that could not read. */
    list_splice(&batch, &env->starved);
    while ((l = list_pop(&batch)) != NULL) {
        struct conn *c = LIST_ENTRY(l, struct conn, hungry);
        c->starved = false;
        set_want(c);
    }
}

static void mark_dirty(struct conn *c)
{
    if (!list_linked(&c->dirty))
        list_push(&c->env->dirty, &c->dirty);
}

bool conn_write(struct conn *c, const void *data, size_t n)
{
    if (!conn_is_open(c) || c->closing)
        return true; /* nobody will read it; the owner knows or will */
    if (!chain_add(&c->out, c->env->blocks, data, n))
        return false;
    if (c->out.n >= CONN_HIGH)
        c->above_low = true;
    /* Much output need not wait for the end of the turn; errors do, so that
     * no event comes from inside this call. */
    if (c->out.n >= CONN_HIGH && !c->blocked && !c->connecting)
        (void)write_some(c);
    mark_dirty(c);
    return true;
}

bool conn_writes(struct conn *c, const char *cstr)
{
    return conn_write(c, cstr, strlen(cstr));
}

size_t conn_output_waiting(const struct conn *c)
{
    return c->out.n;
}

/* --- input ----------------------------------------------------------- */

struct span conn_input(struct conn *c)
{
    if (c->shown.n == 0 && c->in.n > 0) {
        size_t n = chain_copy(&c->in, 0, c->env->scratch, c->env->scratch_size);
        c->shown = (struct span){ c->env->scratch, n };
    }
    return c->shown;
}

void conn_consume(struct conn *c, size_t n)
{
    if (n > c->shown.n)
        n = c->shown.n;
    c->shown.p += n;
    c->shown.n -= n;
    if (c->in.n > 0) /* shown is a copy of what stands there */
        chain_drop(&c->in, c->env->blocks, n);
}

/* What the owner left goes to blocks; the scratch is for the next one. */
static int keep_rest(struct conn *c)
{
    int rc = 0;

    if (c->in.n == 0 && c->shown.n > 0 && conn_is_open(c) &&
        !chain_add(&c->in, c->env->blocks, c->shown.p, c->shown.n))
        rc = -1;
    c->shown = (struct span){ NULL, 0 };
    return rc;
}

static void show(struct conn *c)
{
    c->fn(c, CONN_INPUT);
    if (keep_rest(c) != 0)
        fail(c, ENOBUFS);
}

static void say_eof(struct conn *c)
{
    c->eof = true;
    set_want(c);
    c->fn(c, CONN_EOF);
}

/* Blocks for all that a read may bring, or no read now. */
static bool can_keep(struct conn *c)
{
    size_t need = c->env->scratch_size / CHAIN_DATA + 2;

    if (pool_left(c->env->blocks) >= need)
        return true;
    c->starved = true;
    list_push(&c->env->starved, &c->hungry);
    set_want(c);
    return false;
}

static void read_some(struct conn *c)
{
    size_t have = c->in.n, room = c->env->scratch_size - have;
    ssize_t got;

    if (room == 0) {
        fail(c, ENOBUFS); /* the owner consumes nothing */
        return;
    }
    if (!can_keep(c))
        return;
    do
        got = recv(c->io.fd, c->env->scratch + have, room, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            fail(c, errno);
        return;
    }
    if (got == 0) {
        say_eof(c);
        return;
    }
    if (have > 0) { /* put the old in front: one piece for the owner */
        chain_copy(&c->in, 0, c->env->scratch, have);
        chain_clear(&c->in, c->env->blocks);
    }
    c->shown = (struct span){ c->env->scratch, have + (size_t)got };
    show(c);
}

/* After our last words: take and forget what still comes, so that closing
 * does not reset the connection before the peer has read them. */
static void drain(struct conn *c)
{
    ssize_t got = recv(c->io.fd, c->env->scratch, c->env->scratch_size, 0);

    if (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)))
        return;
    if (got == 0)
        say_eof(c);
    else
        fail(c, errno);
}

static void connected(struct conn *c)
{
    int why = 0;
    socklen_t len = sizeof why;

    if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
        why = errno;
    if (why != 0) {
        fail(c, why);
        return;
    }
    c->connecting = false;
    set_want(c);
    if (c->out.n > 0)
        mark_dirty(c);
    c->fn(c, CONN_CONNECTED);
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct conn *c = of_io(io);

    if (c->connecting) {
        connected(c);
        return;
    }
    if (ready & LOOP_WRITE) {
        flush(c);
        if (!conn_is_open(c))
            return;
    }
    if (!(ready & LOOP_READ))
        return;
    if (c->closing)
        drain(c);
    else if (!c->paused)
        read_some(c);
}

/* --- deadlines ------------------------------------------------------- */

static void on_timer(struct loop_timer *t)
{
    struct conn *c = LOOP_ENTRY(t, struct conn, timer);
    uint64_t now = loop_now(c->env->loop);

    if (c->resumed) {
        c->resumed = false;
        if (c->deadline != 0)
            loop_timer_set(c->env->loop, t,
                           c->deadline > now ? c->deadline - now : 0);
        if (!c->paused && !c->closing && c->in.n > 0)
            show(c);
        return;
    }
    if (c->deadline == 0)
        return;
    if (c->deadline > now)
        loop_timer_set(c->env->loop, t, c->deadline - now);
    else {
        c->deadline = 0;
        c->fn(c, CONN_TIMEOUT);
    }
}

void conn_set_timeout_ms(struct conn *c, uint64_t ms)
{
    if (!conn_is_open(c))
        return;
    c->deadline = ms == 0 ? 0 : loop_now(c->env->loop) + ms;
    if (ms != 0 && (!loop_timer_is_set(&c->timer) ||
                    (c->timer.due > c->deadline && !c->resumed)))
        loop_timer_set(c->env->loop, &c->timer, ms);
}

void conn_set_timeout(struct conn *c, uint64_t seconds)
{
    conn_set_timeout_ms(c, seconds * 1000);
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    set_want(c);
}

void conn_resume(struct conn *c)
{
    if (!conn_is_open(c) || !c->paused)
        return;
    c->paused = false;
    set_want(c);
    if (c->in.n > 0 || c->shown.n > 0) { /* show it in the next turn */
        c->resumed = true;
        loop_timer_set(c->env->loop, &c->timer, 0);
    }
}

/* --- begin and end --------------------------------------------------- */

static int open_conn(struct conn *c, struct conn_env *env, int fd, conn_fn *fn,
                     struct err *e)
{
    int one = 1;

    memset(c, 0, sizeof *c);
    c->io.fd = -1;
    if (os_nonblock(fd) != 0 || os_cloexec(fd) != 0)
        return err_set(e, ERR_TEMP, errno, "prepare a connection");
    /* Answers are small and leave when they are ready; fails on sockets that
     * are not TCP, which need it not. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->env = env;
    c->fn = fn;
    c->io.fn = on_ready;
    c->timer.fn = on_timer;
    c->io.fd = fd;
    return 0;
}

int conn_open(struct conn *c, struct conn_env *env, int fd, conn_fn *fn,
              struct err *e)
{
    if (open_conn(c, env, fd, fn, e) != 0)
        return -1;
    if (loop_watch(env->loop, &c->io, LOOP_READ, e) == 0)
        return 0;
    c->io.fd = -1;
    return -1;
}

int conn_dial(struct conn *c, struct conn_env *env, const struct addr *to,
              conn_fn *fn, struct err *e)
{
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM, 0);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "make a socket");
    if (open_conn(c, env, fd, fn, e) != 0)
        goto fail;
    if (connect(fd, &to->u.sa, addr_len(to)) != 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        err_set(e, ERR_TEMP, errno, "connect");
        goto fail;
    }
    c->connecting = true; /* a connection made at once shows as writable */
    if (loop_watch(env->loop, &c->io, LOOP_WRITE, e) == 0)
        return 0;
fail:
    close(fd);
    c->io.fd = -1;
    return -1;
}

bool conn_is_open(const struct conn *c)
{
    return c->env != NULL && c->io.fd >= 0;
}

void conn_close(struct conn *c)
{
    if (!conn_is_open(c))
        return;
    loop_watch(c->env->loop, &c->io, 0, NULL);
    loop_timer_clear(c->env->loop, &c->timer);
    list_remove(&c->dirty);
    list_remove(&c->hungry);
    chain_clear(&c->in, c->env->blocks);
    chain_clear(&c->out, c->env->blocks);
    c->shown = (struct span){ NULL, 0 };
    close(c->io.fd);
    c->io.fd = -1;
}

static void finish_closing(struct conn *c)
{
    if (c->eof)
        c->fn(c, CONN_EOF); /* both sides are done */
    else if (shutdown(c->io.fd, SHUT_WR) != 0 && errno != ENOTCONN)
        fail(c, errno);
}

void conn_close_after_output(struct conn *c)
{
    if (!conn_is_open(c) || c->closing)
        return;
    c->closing = true;
    chain_clear(&c->in, c->env->blocks);
    c->shown = (struct span){ NULL, 0 };
    set_want(c);
    mark_dirty(c); /* conn_flush_all() writes, then shuts down */
}
