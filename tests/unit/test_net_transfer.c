/* test_net_transfer.c - many bytes both ways through two conns, in pieces of
 * chance size, with pauses, small pools and signals; every byte is checked. */
#include "certs.h"
#include "few.h"

#include "net/tls.h"

#include "base/clock.h"
#include "base/os.h"
#include "net/listen.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

enum { PIECE_MAX = 100000, LONG_MS = 60000 };

static struct loop *loop;
static struct err e;
static uint64_t seed;

static uint64_t chance(void) /* xorshift64*: the same run every time */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}

/* One end.  It sends `total` bytes of its own stream and takes the other's
 * in frames: all of a frame or nothing, as lines are taken. */
struct end {
    struct conn c;
    struct conn_env env;
    struct loop_timer rest; /* runs while paused */
    uint64_t sent, taken, total;
    size_t piece, frame, frame_max;
    unsigned salt;
    bool pauses, full, eof, over, secured;
};

static struct end left, right;

static char byte_at(const struct end *from, uint64_t at)
{
    return (char)((at * 2654435761u + from->salt) >> 11);
}

static struct end *other(const struct end *x)
{
    return x == &left ? &right : &left;
}

/* --- the owner ------------------------------------------------------------ */

static void send_some(struct end *x)
{
    static char piece[PIECE_MAX];

    x->full = false;
    while (x->sent < x->total && !x->full) {
        size_t n = 1 + chance() % x->piece;
        if (n > x->total - x->sent)
            n = (size_t)(x->total - x->sent);
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(x, x->sent + i);
        ck_assert_msg(conn_write(&x->c, piece, n), "no blocks");
        x->sent += n;
        x->full = conn_output_waiting(&x->c) >= CONN_HIGH || chance() % 50 == 0;
    }
    if (x->full && conn_output_waiting(&x->c) < CONN_HIGH) {
        x->full = false; /* a rest that CONN_DRAINED does not end */
        loop_timer_set(loop, &x->rest, chance() % 3);
    }
}

static void take_frames(struct end *x)
{
    const struct end *from = other(x);

    for (;;) {
        struct span in = conn_input(&x->c);
        uint64_t left_over = from->total - x->taken;
        size_t n = x->frame < left_over ? x->frame : (size_t)left_over;
        ck_assert_uint_le(in.n, left_over);
        if (n == 0 || in.n < n)
            return;
        for (size_t i = 0; i < n; i++)
            if (in.p[i] != byte_at(from, x->taken + i))
                ck_abort_msg("wrong byte at %llu",
                             (unsigned long long)(x->taken + i));
        conn_consume(&x->c, n);
        x->taken += n;
        x->frame = 1 + chance() % x->frame_max;
        if (x->pauses && chance() % 4 == 0) {
            conn_pause(&x->c);
            loop_timer_set(loop, &x->rest, chance() % 3);
            return;
        }
    }
}

static void on_rest(struct loop_timer *t)
{
    struct end *x = LOOP_ENTRY(t, struct end, rest);

    conn_resume(&x->c);
    if (!x->full && !x->over)
        send_some(x);
}

/* Who has sent all says so; who has taken all, too, closes. */
static void look_for_the_end(struct end *x)
{
    if (x->sent == x->total && x->taken == other(x)->total && !x->over &&
        x->secured) {
        x->over = true;
        conn_close_after_output(&x->c);
    }
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct end *x = LOOP_ENTRY(c, struct end, c);

    switch (ev) {
    case CONN_CONNECTED: break;
    case CONN_SECURED: x->secured = true; break;
    case CONN_INPUT: take_frames(x); break;
    case CONN_DRAINED:
        if (!x->over)
            send_some(x);
        break;
    case CONN_EOF:
        ck_assert_msg(x->taken == other(x)->total, "end before the bytes");
        x->eof = true;
        if (x->over && conn_output_waiting(c) == 0)
            conn_close(c);
        break;
    case CONN_FAILED:
        ck_abort_msg("failed: %s",
                     conn_is_tls(c) ? conn_tls_error(c) : strerror(c->error));
    case CONN_TIMEOUT: ck_abort_msg("deadline");
    }
}

/* --- cases ---------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *name;
    uint64_t there, back; /* bytes */
    size_t piece, frame, blocks;
    bool tcp, pauses, signals, tls;
} cases[] = {
    { "nothing",              0,        0,        10,    10,    64, 1, 0, 0, 0 },
    { "one byte",             1,        0,        10,    10,    64, 1, 0, 0, 0 },
    { "small pieces",         200000,   3000,     10,    10,    64, 0, 0, 0, 0 },
    { "small pieces, tcp",    200000,   200000,   10,    10,    64, 1, 0, 0, 0 },
    { "one way",              20000000, 0,        60000, 2000,  80, 1, 0, 0, 0 },
    { "both ways",            8000000,  8000000,  60000, 2000,  99, 1, 0, 0, 0 },
    { "large frames",         5000000,  5000000,  60000, 65536, 99, 1, 0, 0, 0 },
    { "large frames, pauses", 3000000,  3000000,  60000, 65536, 99, 1, 1, 0, 0 },
    { "pauses",               2000000,  2000000,  9000,  9000,  99, 0, 1, 0, 0 },
    { "scarce blocks",        3000000,  0,        8000,  2000,  24, 1, 1, 0, 0 },
    { "scarce blocks, back",  0,        3000000,  8000,  2000,  24, 0, 1, 0, 0 },
    { "signals",              8000000,  8000000,  60000, 9000,  99, 1, 1, 1, 0 },
    { "tls, nothing",         0,        0,        10,    10,    64, 1, 0, 0, 1 },
    { "tls, one byte",        1,        0,        10,    10,    64, 0, 0, 0, 1 },
    { "tls, small pieces",    200000,   200000,   10,    10,    64, 1, 0, 0, 1 },
    { "tls, one way",         20000000, 0,        60000, 2000,  80, 1, 0, 0, 1 },
    { "tls, both ways",       8000000,  8000000,  60000, 2000,  99, 1, 0, 0, 1 },
    { "tls, large frames",    5000000,  5000000,  60000, 65536, 99, 1, 0, 0, 1 },
    { "tls, frames, pauses",  3000000,  3000000,  60000, 65536, 99, 1, 1, 0, 1 },
    { "tls, pauses",          2000000,  2000000,  9000,  9000,  99, 0, 1, 0, 1 },
    { "tls, scarce blocks",   3000000,  0,        8000,  2000,  24, 1, 1, 0, 1 },
    { "tls, scarce, back",    0,        3000000,  8000,  2000,  24, 0, 1, 0, 1 },
    { "tls, signals",         8000000,  8000000,  60000, 9000,  99, 1, 1, 1, 1 },
};
/* clang-format on */

static void make_pair(bool tcp, int fd[2])
{
    struct addr at;
    socklen_t len = sizeof at.u;

    if (!tcp) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        return;
    }
    addr_from_v4(&at, "\177\0\0\1", 0);
    int listener = net_listen(&at, 8, &e);
    ck_assert_msg(listener >= 0, "%s", e.text);
    ck_assert_int_eq(getsockname(listener, &at.u.sa, &len), 0);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd[0], &at.u.sa, addr_len(&at)), 0);
    fd[1] = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd[1], 0);
    close(listener);
}

static void open_end(struct end *x, int fd, int i, uint64_t total)
{
    memset(x, 0, sizeof *x);
    ck_assert_int_eq(conn_env_init(&x->env, loop, cases[i].blocks, &e), 0);
    ck_assert_int_eq(os_nonblock(fd), 0);
    ck_assert_int_eq(conn_open(&x->c, &x->env, fd, on_event, &e), 0);
    x->rest.fn = on_rest;
    x->total = total;
    x->piece = cases[i].piece;
    x->frame = 1;
    x->frame_max = cases[i].frame;
    x->pauses = cases[i].pauses;
    x->salt = (unsigned)fd * 77777u;
    x->secured = !cases[i].tls;
}

static void close_end(struct end *x, const char *name)
{
    ck_assert_msg(!conn_is_open(&x->c), "%s: not over", name);
    loop_timer_clear(loop, &x->rest);
    ck_assert_msg(pool_used(x->env.blocks) == 0, "%s: blocks", name);
    ck_assert_msg(x->taken == other(x)->total, "%s: bytes", name);
    conn_env_done(&x->env);
}

/* Both are sure of it only by CONN_SECURED: an end sends no end before. */
static void start_tls(void)
{
    struct cert_made cert;
    struct tls_context *server, *client;

    cert_make(&cert, &(struct cert_wish){ .names = "a.test" });
    struct tls_pair pair = cert_pair(&cert);
    ck_assert_int_eq(tls_server_new(&server, &pair, 1, true, &e), 0);
    ck_assert_int_eq(tls_client_new(&client, &e), 0);
    ck_assert_int_eq(conn_start_tls(&left.c, client, NULL, &e), 0);
    ck_assert_int_eq(conn_start_tls(&right.c, server, NULL, &e), 0);
    tls_context_free(&server);
    tls_context_free(&client);
    cert_free(&cert);
}

/* Under valgrind some buffers' worth is enough. */
static uint64_t amount(uint64_t n)
{
    enum { ENOUGH = 100000 };

    n = few(n);
    return getenv("TEST_VALGRIND") != NULL && n > ENOUGH ? ENOUGH : n;
}

static void on_signal(int signo)
{
    (void)signo;
}

static void ring(bool on)
{
    suseconds_t us = on ? 500 : 0;
    struct itimerval every = { { 0, us }, { 0, us } };

    os_signal(SIGALRM, on_signal);
    setitimer(ITIMER_REAL, &every, NULL);
    if (!on)
        os_signal(SIGALRM, SIG_IGN); /* one may be on its way */
}

START_TEST(transfer)
{
    const char *name = cases[_i].name;
    uint64_t until = clock_mono_ms() + LONG_MS;
    int fd[2];

    seed = 4711 + (uint64_t)_i;
    ck_assert_int_eq(loop_new(&loop, NULL, &e), 0);
    make_pair(cases[_i].tcp, fd);
    open_end(&left, fd[0], _i, amount(cases[_i].there));
    open_end(&right, fd[1], _i, amount(cases[_i].back));
    if (cases[_i].tls)
        start_tls();
    if (cases[_i].signals)
        ring(true);
    send_some(&left);
    send_some(&right);
    while (conn_is_open(&left.c) || conn_is_open(&right.c)) {
        look_for_the_end(&left);
        look_for_the_end(&right);
        conn_flush_all(&left.env);
        conn_flush_all(&right.env);
        /* No limit would do: what is to come wakes the loop. */
        ck_assert_int_ge(loop_turn(loop, 5000, &e), 0);
        ck_assert_msg(clock_mono_ms() < until, "%s: stuck, %llu of %llu", name,
                      (unsigned long long)right.taken,
                      (unsigned long long)left.total);
    }
    ring(false);
    close_end(&left, name);
    close_end(&right, name);
    loop_free(&loop);
}
END_TEST

Suite *net_transfer_suite(void);
Suite *net_transfer_suite(void)
{
    Suite *s = suite_create("net.transfer");
    TCase *t = tcase_create("transfer");
    tcase_set_timeout(t, 90);
    tcase_add_loop_test(t, transfer, 0, N(cases));
    suite_add_tcase(s, t);
    return s;
}
