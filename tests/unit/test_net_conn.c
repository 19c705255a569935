/* test_net_conn.c - events, deadlines and ends of a conn.  The other end is
 * a bare socket that the test drives itself. */
#include "net/conn.h"

#include "base/clock.h"
#include "base/os.h"
#include "net/listen.h"
#include "test_clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

enum { BLOCKS = 64, LONG_MS = 20000 };

static struct loop *loop;
static struct conn_env env;
static struct err e;

/* A conn and what happened to it. */
struct side {
    struct conn c;
    int peer;       /* the test's end */
    char seen[64];  /* a letter for each event */
    size_t shown;   /* size of the last input */
    char text[256]; /* input taken, if small */
    void (*then)(struct side *s, enum conn_event ev);
};

static struct side a, b;

/* --- what owners do ------------------------------------------------------- */

static void take_all(struct side *s)
{
    struct span in = conn_input(&s->c);
    size_t n = strlen(s->text);

    if (in.n < sizeof s->text - n) {
        memcpy(s->text + n, in.p, in.n);
        s->text[n + in.n] = '\0';
    }
    conn_consume(&s->c, in.n);
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct side *s = LOOP_ENTRY(c, struct side, c);
    size_t n = strlen(s->seen);

    ck_assert_msg(conn_is_open(c), "an event of a closed conn");
    if (n < sizeof s->seen - 1)
        s->seen[n] = "CIDEFT"[ev];
    if (ev == CONN_INPUT)
        s->shown = conn_input(c).n;
    if (s->then != NULL)
        s->then(s, ev);
    else if (ev == CONN_INPUT)
        take_all(s);
}

static bool write_text(struct conn *c, const char *text)
{
    return conn_write(c, text, strlen(text));
}

static void take_nothing(struct side *s, enum conn_event ev)
{
    (void)s;
    (void)ev;
}

static void take_a_line(struct side *s, enum conn_event ev)
{
    struct span in = conn_input(&s->c);
    size_t n = span_find(in, '\n');

    if (ev != CONN_INPUT || n == in.n)
        return;
    ck_assert_uint_lt(strlen(s->text) + n + 1, sizeof s->text);
    strncat(s->text, in.p, n + 1);
    conn_consume(&s->c, n + 1);
}

static void take_a_line_and_pause(struct side *s, enum conn_event ev)
{
    take_a_line(s, ev);
    conn_pause(&s->c);
}

/* --- fixture -------------------------------------------------------------- */

static void open_side(struct side *s, int fd, int peer)
{
    memset(s, 0, sizeof *s);
    ck_assert_int_eq(os_nonblock(fd), 0);
    ck_assert_msg(conn_open(&s->c, &env, fd, on_event, &e) == 0, "%s", e.text);
    s->peer = peer;
    ck_assert_int_eq(os_nonblock(peer), 0);
}

static void open_pair(struct side *s)
{
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    open_side(s, fd[0], fd[1]);
}

static int open_listener(struct addr *at)
{
    socklen_t len = sizeof at->u;

    addr_from_v4(at, "\177\0\0\1", 0);
    int fd = net_listen(at, 8, &e);
    ck_assert_msg(fd >= 0, "%s", e.text);
    ck_assert_int_eq(getsockname(fd, &at->u.sa, &len), 0);
    return fd;
}

/* The same over TCP, which resets and has small buffers. */
static void open_tcp(struct side *s)
{
    struct addr at;
    int listener = open_listener(&at);
    int small = 4096;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ck_assert_int_eq(connect(fd, &at.u.sa, addr_len(&at)), 0);
    int peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
    close(listener);
    open_side(s, fd, peer);
}

static void set_up(void)
{
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.peer = b.peer = -1;
    ck_assert_int_eq(loop_new(&loop, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&env, loop, BLOCKS, &e), 0);
}

static void close_side(struct side *s)
{
    conn_close(&s->c);
    conn_close(&s->c); /* nothing */
    if (s->peer >= 0)
        close(s->peer);
}

static void tear_down(void)
{
    close_side(&a);
    close_side(&b);
    ck_assert_uint_eq(pool_used(env.blocks), 0);
    conn_env_done(&env);
    loop_free(&loop);
}

/* One turn as owners make it. */
static void turn(int ms)
{
    ck_assert_msg(loop_turn(loop, ms, &e) >= 0, "%s", e.text);
    conn_flush_all(&env);
}

/* Until the events are those; a stranger or a long silence fails. */
static void expect(struct side *s, const char *events, const char *name)
{
    uint64_t until = clock_mono_ms() + LONG_MS;

    while (strcmp(s->seen, events) != 0 && clock_mono_ms() < until &&
           strlen(s->seen) < strlen(events))
        turn(100);
    ck_assert_msg(strcmp(s->seen, events) == 0, "%s: events '%s', not '%s'",
                  name, s->seen, events);
}

/* Nothing more happens; a few turns are enough as all is local. */
static void expect_quiet(struct side *s, const char *events, const char *name)
{
    for (int i = 0; i < 5; i++)
        turn(0);
    expect(s, events, name);
}

static void say(const struct side *s, const char *text)
{
    ck_assert_int_eq(write(s->peer, text, strlen(text)), (int)strlen(text));
}

/* What the peer receives, up to a gap or up to the end; a NUL is added.
 * Returns the length, or -1 with errno. */
static ssize_t hear(const struct side *s, char *out, size_t size, bool to_eof)
{
    uint64_t until = clock_mono_ms() + LONG_MS;
    size_t have = 0;

    for (;;) {
        ck_assert_msg(clock_mono_ms() < until, "waits for the conn");
        ssize_t n = read(s->peer, out + have, size - 1 - have);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n == 0 || (n < 0 && !to_eof && have > 0))
            break;
        if (n > 0)
            have += (size_t)n;
        turn(n > 0 ? 0 : 10);
    }
    out[have] = '\0';
    return (ssize_t)have;
}

/* --- input ---------------------------------------------------------------- */

START_TEST(idle_holds_nothing)
{
    open_pair(&a);
    a.then = take_a_line;
    say(&a, "one\nhal");
    expect(&a, "I", "line and a half");
    ck_assert_str_eq(a.text, "one\n");
    ck_assert_uint_eq(pool_used(env.blocks), 1); /* "hal" */
    say(&a, "f\n");
    expect(&a, "II", "the other half");
    ck_assert_str_eq(a.text, "one\nhalf\n");
    ck_assert_uint_eq(pool_used(env.blocks), 0);
    ck_assert(write_text(&a.c, "answer"));
    conn_flush_all(&env);
    ck_assert_uint_eq(pool_used(env.blocks), 0);
    ck_assert_uint_eq(conn_output_waiting(&a.c), 0);
}
END_TEST

/* Pipelined lines wait over a pause, and their end does not overtake them. */
START_TEST(pause_keeps_input_and_its_end)
{
    open_pair(&a);
    a.then = take_a_line_and_pause;
    say(&a, "one\ntwo\nthree\n");
    shutdown(a.peer, SHUT_WR);
    expect(&a, "I", "first line");
    expect_quiet(&a, "I", "paused");
    conn_resume(&a.c);
    expect(&a, "II", "second line");
    expect_quiet(&a, "II", "paused again");
    a.then = NULL;
    conn_resume(&a.c);
    expect(&a, "IIIE", "the rest and the end");
    ck_assert_str_eq(a.text, "one\ntwo\nthree\n");
}
END_TEST

/* The owner comes back for input between events. */
START_TEST(input_between_events)
{
    open_pair(&a);
    open_pair(&b);
    a.then = b.then = take_a_line_and_pause;
    say(&a, "a1\na2\na3\n");
    say(&b, "b1\nb2\nb3\n");
    expect(&a, "I", "a");
    expect(&b, "I", "b");
    for (int i = 0; i < 2; i++) { /* in turns: they share the buffer */
        take_a_line(&a, CONN_INPUT);
        take_a_line(&b, CONN_INPUT);
    }
    ck_assert_str_eq(a.text, "a1\na2\na3\n");
    ck_assert_str_eq(b.text, "b1\nb2\nb3\n");
    ck_assert_uint_eq(conn_input(&a.c).n, 0);
    ck_assert_uint_eq(pool_used(env.blocks), 0);
}
END_TEST

static void look_at_b(struct side *s, enum conn_event ev)
{
    (void)ev;
    take_a_line(s, CONN_INPUT);
    take_a_line(&b, CONN_INPUT);
    take_a_line(s, CONN_INPUT);
}

START_TEST(input_of_another_during_an_event)
{
    open_pair(&a);
    open_pair(&b);
    b.then = take_a_line_and_pause;
    say(&b, "b1\nb2\nb3\n");
    expect(&b, "I", "b");
    a.then = look_at_b;
    say(&a, "a1\na2\na3\n");
    expect(&a, "I", "a");
    ck_assert_str_eq(a.text, "a1\na2\n");
    ck_assert_str_eq(b.text, "b1\nb2\n");
    take_a_line(&b, CONN_INPUT);
    take_a_line(&a, CONN_INPUT);
    ck_assert_str_eq(a.text, "a1\na2\na3\n");
    ck_assert_str_eq(b.text, "b1\nb2\nb3\n");
}
END_TEST

START_TEST(input_is_bounded)
{
    static char much[CONN_SCRATCH + 4096];
    size_t sent = 0;

    open_pair(&a);
    a.then = take_nothing;
    memset(much, 'x', sizeof much);
    while (strchr(a.seen, 'F') == NULL && strlen(a.seen) < sizeof a.seen - 1) {
        ssize_t n = write(a.peer, much + sent, sizeof much - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn(0);
    }
    ck_assert_int_eq(a.c.error, ENOBUFS);
    ck_assert_uint_eq(a.shown, CONN_SCRATCH);
    ck_assert_uint_eq(pool_used(env.blocks), 0);
}
END_TEST

/* --- the pool ------------------------------------------------------------- */

static void *hoard[BLOCKS];
static size_t hoarded;

static void hoard_all_but(size_t left)
{
    while (pool_left(env.blocks) > left)
        hoard[hoarded++] = pool_get(env.blocks);
}

static void give_back(void)
{
    while (hoarded > 0)
        pool_put(env.blocks, hoard[--hoarded]);
}

START_TEST(no_blocks_no_read)
{
    open_pair(&a);
    hoard_all_but(CONN_RESERVE);
    say(&a, "hello");
    turn(1000); /* finds out */
    uint64_t before = clock_mono_ms();
    turn(30);
    ck_assert_msg(clock_mono_ms() - before >= 30, "the loop spins");
    ck_assert_str_eq(a.seen, "");
    give_back();
    conn_flush_all(&env);
    expect(&a, "I", "after blocks came free");
    ck_assert_str_eq(a.text, "hello");
}
END_TEST

/* Who starves can still be let go, and hears the end. */
START_TEST(starved_can_end)
{
    char got[16];

    open_pair(&a);
    hoard_all_but(CONN_RESERVE);
    say(&a, "hello");
    turn(1000);
    ck_assert(write_text(&a.c, "bye"));
    conn_close_after_output(&a.c);
    ck_assert_int_eq(hear(&a, got, sizeof got, true), 3);
    shutdown(a.peer, SHUT_WR);
    expect(&a, "E", "the end");
    give_back();
}
END_TEST

static void take_the_last_blocks(struct side *s, enum conn_event ev)
{
    (void)ev;
    hoard_all_but(0);
    conn_pause(&s->c);
}

/* Input that was read is never lost for want of blocks. */
START_TEST(rest_is_kept_when_owner_takes_all_blocks)
{
    static char line[20000];

    open_pair(&a);
    a.then = take_the_last_blocks;
    memset(line, 'y', sizeof line);
    ck_assert_int_eq(write(a.peer, line, sizeof line), (int)sizeof line);
    expect(&a, "I", "input");
    struct span in = conn_input(&a.c);
    ck_assert_uint_eq(in.n, a.shown);
    ck_assert_int_eq(memcmp(in.p, line, in.n), 0);
    give_back();
}
END_TEST

/* --- output --------------------------------------------------------------- */

static void say_more_when_drained(struct side *s, enum conn_event ev)
{
    if (ev == CONN_DRAINED)
        ck_assert(write_text(&s->c, "more"));
}

/* Much output leaves before the flush; what an event of the flush queues
 * does not wait for the next event. */
START_TEST(much_output)
{
    static char big[CONN_HIGH], got[CONN_HIGH + 16];

    open_pair(&a);
    a.then = say_more_when_drained;
    memset(big, 'z', sizeof big);
    ck_assert(conn_write(&a.c, big, sizeof big));
    ck_assert_int_gt(recv(a.peer, got, 1, MSG_PEEK), 0);
    ck_assert_str_eq(a.seen, ""); /* no event from inside conn_write() */
    conn_flush_all(&env);
    ck_assert_str_eq(a.seen, "D");
    ck_assert_msg(loop_turn(loop, -1, &e) == 0, "sleeps over output");
    conn_flush_all(&env);
    ssize_t n = hear(&a, got, sizeof got, false);
    ck_assert_int_eq(n, CONN_HIGH + 4);
    ck_assert_str_eq(got + CONN_HIGH, "more");
    ck_assert_str_eq(a.seen, "D");
}
END_TEST

/* An answer that is lost must not let the next one take its place. */
START_TEST(lost_output_ends_it)
{
    char text[64];

    open_pair(&a);
    hoard_all_but(1);
    ck_assert(write_text(&a.c, "first "));
    hoard_all_but(0);
    static char big[3 * CHAIN_DATA];
    a.c.blocked = true; /* as if the peer did not read */
    ck_assert(!conn_write(&a.c, big, sizeof big));
    give_back();
    ck_assert(write_text(&a.c, "second "));
    expect(&a, "F", "no blocks");
    ck_assert_int_eq(a.c.error, ENOBUFS);
    conn_close(&a.c);
    ck_assert_int_eq((int)hear(&a, text, sizeof text, true), 0);
}
END_TEST

static void answer_a_line(struct side *s, enum conn_event ev)
{
    take_a_line(s, ev);
    ck_assert(write_text(&s->c, "next\n"));
    conn_pause(&s->c);
}

/* The answer for which the owner paused leaves by one write with those to what
 * waited meanwhile. */
START_TEST(answers_leave_together)
{
    char got[32] = "";
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
    open_side(&a, fd[0], fd[1]);
    a.then = answer_a_line;
    say(&a, "one\ntwo\nthree\n");
    expect(&a, "I", "one");
    ck_assert_int_eq((int)read(a.peer, got, sizeof got), 5);
    ck_assert(write_text(&a.c, "late\n"));
    conn_resume(&a.c);
    conn_flush_all(&env);
    ck_assert_str_eq(a.seen, "II");
    ck_assert_int_eq((int)read(a.peer, got, sizeof got), 10);
    ck_assert_str_eq(got, "late\nnext\n");
    turn(0);
    ck_assert_str_eq(a.seen, "II");
}
END_TEST

START_TEST(drained_only_when_low)
{
    static char big[8 * CHAIN_DATA], got[1 << 20];

    open_tcp(&a);
    memset(big, 'z', sizeof big);
    while (conn_output_waiting(&a.c) < CONN_HIGH)
        ck_assert(conn_write(&a.c, big, sizeof big));
    turn(0);
    ck_assert_str_eq(a.seen, "");
    while (a.seen[0] == '\0') {
        if (read(a.peer, got, sizeof got) < 0)
            turn(1);
        ck_assert(conn_output_waiting(&a.c) < CONN_LOW || a.seen[0] == '\0');
        turn(0);
    }
    ck_assert_str_eq(a.seen, "D");
    ck_assert_uint_lt(conn_output_waiting(&a.c), CONN_LOW);
}
END_TEST

/* --- deadlines ------------------------------------------------------------ */

static const struct {
    const char *name;
    uint64_t set[3]; /* one after the other; the last one counts */
    uint64_t lasts;  /* 0: no event */
} deadlines[] = {
    { "one", { 20, 20, 20 }, 20 },
    { "later", { 10, 20, 40 }, 40 },
    { "earlier", { 60000, 50000, 20 }, 20 },
    { "taken back", { 10, 10, 0 }, 0 },
    { "taken back and set", { 10, 0, 30 }, 30 },
};

START_TEST(deadline)
{
    const char *name = deadlines[_i].name;

    open_pair(&a);
    uint64_t start = loop_now(loop);
    for (size_t i = 0; i < 3; i++)
        conn_set_timeout_ms(&a.c, deadlines[_i].set[i]);
    if (deadlines[_i].lasts == 0) {
        while (clock_mono_ms() < start + 30)
            turn(30);
        expect_quiet(&a, "", name);
        return;
    }
    expect(&a, "T", name);
    ck_assert_msg(clock_mono_ms() >= start + deadlines[_i].lasts, "%s: early",
                  name);
    ck_assert_msg(clock_mono_ms() < start + 10000, "%s: late", name);
    expect_quiet(&a, "T", name); /* once */
}
END_TEST

/* An event per line must cost no work on the wheel. */
START_TEST(deadline_is_lazy)
{
    open_pair(&a);
    conn_set_timeout_ms(&a.c, 100);
    uint64_t due = a.c.timer.due;
    for (uint64_t ms = 101; ms < 2000; ms++)
        conn_set_timeout_ms(&a.c, ms);
    ck_assert_uint_eq(a.c.timer.due, due);
    conn_set_timeout_ms(&a.c, 50);
    ck_assert_uint_eq(a.c.timer.due, due - 50);
}
END_TEST

/* Pausing and resuming borrows the timer; the deadline must survive. */
START_TEST(deadline_survives_resume)
{
    open_pair(&a);
    a.then = take_a_line_and_pause;
    test_clock_stop();
    turn(0);
    conn_set_timeout_ms(&a.c, 40);
    say(&a, "one\ntwo\nthree\n");
    turn(0);
    ck_assert_str_eq(a.seen, "I");
    conn_resume(&a.c);
    turn(0);
    ck_assert_str_eq(a.seen, "II");
    test_clock_pass_ms(39);
    turn(0);
    ck_assert_str_eq(a.seen, "II");
    test_clock_pass_ms(1);
    turn(0);
    ck_assert_str_eq(a.seen, "IIT");
    test_clock_go_on();
}
END_TEST

/* It passed while the loop was busy elsewhere: late, but not lost. */
START_TEST(deadline_passed_before_resume)
{
    open_pair(&a);
    a.then = take_a_line_and_pause;
    say(&a, "one\ntwo\n");
    expect(&a, "I", "line");
    conn_set_timeout_ms(&a.c, 1);
    uint64_t due = a.c.deadline;
    while (clock_mono_ms() <= due)
        ;
    conn_resume(&a.c);
    expect(&a, "IIT", "line, then deadline");
}
END_TEST

/* --- ends ----------------------------------------------------------------- */

START_TEST(half_close)
{
    char got[32];

    open_tcp(&a);
    say(&a, "QUIT\r\n");
    shutdown(a.peer, SHUT_WR);
    expect(&a, "IE", "input, then its end");
    expect_quiet(&a, "IE", "once");
    ck_assert(write_text(&a.c, "221 bye\r\n"));
    conn_close_after_output(&a.c);
    ck_assert_int_eq(hear(&a, got, sizeof got, false), 9);
    ck_assert_str_eq(got, "221 bye\r\n");
    ck_assert_str_eq(a.seen, "IEE"); /* over */
}
END_TEST

START_TEST(parting_waits_for_nothing)
{
    char got[32];

    open_tcp(&a);
    say(&a, "QUIT\r\n");
    expect(&a, "I", "input");
    ck_assert(write_text(&a.c, "221 bye\r\n"));
    conn_part(&a.c);
    expect(&a, "IE", "over, though the peer is there");
    conn_close(&a.c);
    ck_assert_int_eq(hear(&a, got, sizeof got, false), 9);
    ck_assert_str_eq(got, "221 bye\r\n");
}
END_TEST

/* The peer is still talking; a plain close() would reset the connection and
 * take our last words from it. */
START_TEST(last_words_arrive)
{
    static char noise[100000];
    char got[32];

    open_tcp(&a);
    ck_assert_int_gt(write(a.peer, noise, sizeof noise), 0);
    ck_assert(write_text(&a.c, "421 bye\r\n"));
    conn_close_after_output(&a.c);
    ck_assert(write_text(&a.c, "not sent"));
    ck_assert_uint_le(a.c.deadline, loop_now(loop) + CONN_LINGER_MS);
    ck_assert_uint_gt(a.c.deadline, 0);
    for (int i = 0; i < 50; i++) {
        turn(0);
        if (write(a.peer, noise, sizeof noise) < 0)
            ck_assert_int_eq(errno, EAGAIN);
    }
    ck_assert_int_eq(hear(&a, got, sizeof got, true), 9);
    ck_assert_str_eq(got, "421 bye\r\n");
    expect_quiet(&a, "", "not over yet");
    shutdown(a.peer, SHUT_WR);
    expect(&a, "E", "over");
}
END_TEST

/* All output arrives although the peer's end came long before. */
START_TEST(output_outlives_end_of_input)
{
    static char big[40 * CHAIN_DATA], got[sizeof big + 1];

    open_tcp(&a);
    memset(big, 'w', sizeof big);
    ck_assert(conn_write(&a.c, big, sizeof big));
    conn_close_after_output(&a.c);
    shutdown(a.peer, SHUT_WR);
    for (int i = 0; i < 10; i++)
        turn(0);
    if (conn_output_waiting(&a.c) > 0)
        ck_assert_str_eq(a.seen, "");
    ck_assert_int_eq(hear(&a, got, sizeof got, false), (int)sizeof big);
    expect(&a, "E", "over");
}
END_TEST

/* What the system has of it is dropped too, and the peer hears of it. */
START_TEST(close_with_output_resets)
{
    static char big[3 * CHAIN_DATA];
    char text[64];

    open_tcp(&a);
    while (!a.c.blocked) {
        ck_assert(conn_write(&a.c, big, sizeof big));
        conn_flush_all(&env);
    }
    conn_close(&a.c);
    ssize_t n;
    while ((n = read(a.peer, text, sizeof text)) > 0)
        ;
    ck_assert_int_eq((int)n, -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(peer_that_stays_is_left)
{
    open_tcp(&a);
    conn_set_timeout_ms(&a.c, 20);
    conn_close_after_output(&a.c);
    expect(&a, "T", "deadline");
}
END_TEST

static void reset(struct side *s)
{
    struct linger now = { 1, 0 };

    setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(s->peer);
    s->peer = -1;
}

START_TEST(peer_resets)
{
    open_tcp(&a);
    conn_set_timeout_ms(&a.c, 20); /* must not fire after the failure */
    reset(&a);
    expect(&a, "F", "reset");
    ck_assert_int_eq(a.c.error, ECONNRESET);
    ck_assert(write_text(&a.c, "nobody hears"));
    conn_resume(&a.c);
    conn_close_after_output(&a.c);
    uint64_t until = clock_mono_ms() + 30;
    while (clock_mono_ms() < until)
        turn(10);
    expect_quiet(&a, "F", "once");
    ck_assert_uint_eq(pool_used(env.blocks), 0);
}
END_TEST

/* A server says why and leaves while we talk: the write fails, and the words
 * are still there to be read. */
START_TEST(failed_write_shows_last_words)
{
    open_tcp(&a);
    ck_assert(write_text(&a.c, "MAIL"));
    conn_flush_all(&env);
    say(&a, "554 go away\r\n");
    close(a.peer); /* "MAIL" unread: the connection is reset */
    a.peer = -1;
    ck_assert(write_text(&a.c, "RCPT"));
    conn_flush_all(&env);
    if (a.seen[0] == '\0')
        expect(&a, "IF", "words, then failure");
    ck_assert_str_eq(a.seen, "IF");
    ck_assert_str_eq(a.text, "554 go away\r\n");
}
END_TEST

/* --- closing inside events ------------------------------------------------ */

static void close_both(struct side *s, enum conn_event ev)
{
    (void)s;
    (void)ev;
    conn_close(&a.c);
    conn_close(&b.c);
}

static void end_by_input(struct side *s)
{
    say(s, "x");
}

static void end_by_eof(struct side *s)
{
    shutdown(s->peer, SHUT_WR);
}

static void end_by_timeout(struct side *s)
{
    conn_set_timeout_ms(&s->c, 5);
}

static void end_by_resume(struct side *s)
{
    void (*then)(struct side *, enum conn_event) = s->then;

    s->then = take_a_line_and_pause;
    say(s, "one\ntwo\n");
    expect(s, "I", "setting up");
    s->seen[0] = '\0';
    s->then = then;
    conn_resume(&s->c);
}

static void end_by_write(struct side *s)
{
    reset(s);
    ck_assert(write_text(&s->c, "x"));
}

static void end_by_draining(struct side *s)
{
    static char big[CONN_HIGH];

    ck_assert(conn_write(&s->c, big, sizeof big));
}

static void close_when_drained(struct side *s, enum conn_event ev)
{
    ck_assert_int_eq((int)ev, CONN_DRAINED);
    conn_close(&s->c);
}

/* Room and input in one event: closed by the first, so no second. */
START_TEST(close_between_write_and_read)
{
    static char big[8 * CHAIN_DATA], got[1 << 20];

    open_pair(&a);
    a.then = close_when_drained;
    while (conn_output_waiting(&a.c) < CONN_HIGH)
        ck_assert(conn_write(&a.c, big, sizeof big));
    conn_flush_all(&env); /* now it waits for room */
    ck_assert_str_eq(a.seen, "");
    say(&a, "x");
    while (read(a.peer, got, sizeof got) > 0)
        ;
    expect(&a, "D", "drained");
    expect_quiet(&a, "D", "closed");
}
END_TEST

static const struct {
    const char *name;
    void (*cause)(struct side *s);
} causes[] = {
    { "input", end_by_input },
    { "end of input", end_by_eof },
    { "reset", reset },
    { "deadline", end_by_timeout },
    { "resume", end_by_resume },
    { "write to a dead peer", end_by_write },
    { "drained", end_by_draining },
};

/* Both have an event in the same turn; the first one closes both, so exactly
 * one event is seen and nothing of the other is touched. */
START_TEST(close_inside)
{
    const char *name = causes[_i].name;
    uint64_t until = clock_mono_ms() + LONG_MS;

    open_tcp(&a);
    open_tcp(&b);
    a.then = b.then = close_both;
    causes[_i].cause(&a);
    causes[_i].cause(&b);
    while (conn_is_open(&a.c) && clock_mono_ms() < until)
        turn(100);
    for (int i = 0; i < 5; i++)
        turn(0);
    ck_assert_msg(strlen(a.seen) + strlen(b.seen) == 1, "%s: '%s' '%s'", name,
                  a.seen, b.seen);
    ck_assert_msg(pool_used(env.blocks) == 0, "%s: blocks", name);
    ck_assert(!conn_is_open(&b.c));
}
END_TEST

/* --- dialling ------------------------------------------------------------- */

static void dial(struct side *s, const struct addr *at)
{
    memset(s, 0, sizeof *s);
    s->peer = -1;
    ck_assert_msg(conn_dial(&s->c, &env, at, on_event, &e) == 0, "%s", e.text);
    ck_assert_str_eq(s->seen, "");
}

START_TEST(dial_and_talk)
{
    struct addr at, peer;
    char got[16];
    int listener = open_listener(&at);

    dial(&a, &at);
    ck_assert(write_text(&a.c, "EHLO")); /* waits for the connection */
    expect(&a, "C", "connected");
    while ((a.peer = net_accept(listener, &peer)) < 0)
        ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(os_nonblock(a.peer), 0);
    ck_assert(addr_is_loopback(&peer));
    ck_assert_int_eq(hear(&a, got, sizeof got, false), 4);
    say(&a, "250");
    expect(&a, "CI", "answer");
    ck_assert_str_eq(a.text, "250");
    close(listener);
}
END_TEST

START_TEST(dial_and_end_before_connected)
{
    struct addr at, peer;
    char got[16];
    int listener = open_listener(&at);

    dial(&a, &at);
    write_text(&a.c, "QUIT");
    conn_close_after_output(&a.c);
    conn_flush_all(&env); /* too early: nothing may get lost */
    expect(&a, "C", "connected");
    while ((a.peer = net_accept(listener, &peer)) < 0)
        ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(os_nonblock(a.peer), 0);
    ck_assert_int_eq(hear(&a, got, sizeof got, true), 4);
    shutdown(a.peer, SHUT_WR);
    expect(&a, "CE", "over");
    close(listener);
}
END_TEST

START_TEST(dial_refused)
{
    struct addr at;

    close(open_listener(&at));
    memset(&a, 0, sizeof a);
    a.peer = -1;
    if (conn_dial(&a.c, &env, &at, on_event, &e) != 0) {
        ck_assert_int_eq(e.sys, ECONNREFUSED);
        ck_assert_msg(strstr(e.text, "127.0.0.1:") != NULL, "%s", e.text);
        ck_assert(!conn_is_open(&a.c));
        turn(0);
        ck_assert_str_eq(a.seen, "");
        return;
    }
    expect(&a, "F", "refused");
    ck_assert_int_eq(a.c.error, ECONNREFUSED);
}
END_TEST

/* One of a Unix socket fails at once instead; a path that is too long as well.
 * Both have the errno of that, and are none of our limits. */
START_TEST(dial_a_path)
{
    char path[] = "/tmp/mta-conn-XXXXXX", too_long[200];
    struct addr at;
    int fd = mkstemp(path), peers[4], listener;

    ck_assert_int_ge(fd, 0);
    close(fd);
    unlink(path);
    addr_from_path(&at, path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(addr_bind(listener, &at), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    for (size_t i = 0; i < 4; i++) {
        peers[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(os_nonblock(peers[i]), 0);
        (void)addr_connect(peers[i], &at);
    }
    ck_assert_int_eq(conn_dial(&a.c, &env, &at, on_event, &e), -1);
    ck_assert_int_eq(e.sys, EAGAIN);
    ck_assert(!os_is_short(e.sys) && !conn_is_open(&a.c));
    ck_assert_msg(strstr(e.text, path) != NULL, "%s", e.text);
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    addr_from_path(&at, too_long);
    ck_assert_int_eq(conn_dial(&a.c, &env, &at, on_event, &e), -1);
    ck_assert_int_eq(e.sys, ENAMETOOLONG);
    for (size_t i = 0; i < 4; i++)
        close(peers[i]);
    close(listener);
    unlink(path);
}
END_TEST

/* A host that does not answer: the queue of a listener is full. */
START_TEST(dial_times_out)
{
    struct side s[8];
    struct addr at;
    int listener = open_listener(&at);

    ck_assert_int_eq(listen(listener, 0), 0);
    for (size_t i = 0; i < N(s); i++) {
        dial(&s[i], &at);
        conn_set_timeout_ms(&s[i].c, 50);
    }
    expect(&s[N(s) - 1], "T", "no answer");
    for (size_t i = 0; i < N(s); i++)
        close_side(&s[i]);
    close(listener);
}
END_TEST

/* --- descriptors ---------------------------------------------------------- */

START_TEST(large_descriptor_refused)
{
    enum { LARGE = 1030 };
    int fd[2];

    if (os_want_fds(LARGE + 1) < LARGE + 1)
        return; /* the hard limit forbids the test */
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    ck_assert_int_eq(dup2(fd[0], LARGE), LARGE);
    ck_assert_int_eq(conn_open(&a.c, &env, LARGE, on_event, &e), -1);
    ck_assert_int_eq(e.sys, EMFILE);
    ck_assert(!conn_is_open(&a.c));
    conn_close(&a.c);
    ck_assert_int_ge(fcntl(LARGE, F_GETFD), 0); /* still ours */
    close(LARGE);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

static void echo(struct side *s, enum conn_event ev)
{
    struct span in = conn_input(&s->c);

    ck_assert_int_eq((int)ev, CONN_INPUT);
    ck_assert(conn_write(&s->c, in.p, in.n));
    conn_consume(&s->c, in.n);
}

/* A full worker, and a pool that has blocks for few of them at a time. */
START_TEST(many)
{
    enum { MANY = 900 };
    static struct side s[MANY];
    char got[16];
    int fd[2];

    if (os_want_fds(FD_SETSIZE + MANY + 50) < FD_SETSIZE + MANY + 50)
        return;
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        int far = fcntl(fd[1], F_DUPFD, FD_SETSIZE);
        ck_assert_int_ge(far, FD_SETSIZE);
        close(fd[1]);
        open_side(&s[i], fd[0], far);
        s[i].then = echo;
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            say(&s[i], "line\r\n");
        for (int i = 0; i < MANY; i++) {
            ck_assert_int_eq(hear(&s[i], got, sizeof got, false), 6);
            ck_assert_str_eq(got, "line\r\n");
        }
        ck_assert_uint_eq(pool_used(env.blocks), 0);
    }
    for (int i = 0; i < MANY; i++)
        close_side(&s[i]);
}
END_TEST

Suite *net_conn_suite(void);
Suite *net_conn_suite(void)
{
    Suite *s = suite_create("net.conn");
    TCase *t = tcase_create("conn");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, idle_holds_nothing);
    tcase_add_test(t, pause_keeps_input_and_its_end);
    tcase_add_test(t, input_between_events);
    tcase_add_test(t, input_of_another_during_an_event);
    tcase_add_test(t, input_is_bounded);
    tcase_add_test(t, no_blocks_no_read);
    tcase_add_test(t, starved_can_end);
    tcase_add_test(t, rest_is_kept_when_owner_takes_all_blocks);
    tcase_add_test(t, much_output);
    tcase_add_test(t, lost_output_ends_it);
    tcase_add_test(t, answers_leave_together);
    tcase_add_test(t, drained_only_when_low);
    tcase_add_loop_test(t, deadline, 0, N(deadlines));
    tcase_add_test(t, deadline_is_lazy);
    tcase_add_test(t, deadline_survives_resume);
    tcase_add_test(t, deadline_passed_before_resume);
    tcase_add_test(t, half_close);
    tcase_add_test(t, parting_waits_for_nothing);
    tcase_add_test(t, last_words_arrive);
    tcase_add_test(t, output_outlives_end_of_input);
    tcase_add_test(t, close_with_output_resets);
    tcase_add_test(t, peer_that_stays_is_left);
    tcase_add_test(t, peer_resets);
    tcase_add_test(t, failed_write_shows_last_words);
    tcase_add_test(t, close_between_write_and_read);
    tcase_add_loop_test(t, close_inside, 0, N(causes));
    tcase_add_test(t, dial_and_talk);
    tcase_add_test(t, dial_and_end_before_connected);
    tcase_add_test(t, dial_refused);
    tcase_add_test(t, dial_a_path);
    tcase_add_test(t, dial_times_out);
    tcase_add_test(t, large_descriptor_refused);
    tcase_add_test(t, many);
    suite_add_tcase(s, t);
    return s;
}
