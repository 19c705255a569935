/* test_log_collector.c - no line is lost, none comes twice, none is half. */
#include "base/clock.h"
#include "few.h"
#include "log/collector.h"
#include "log/inflight.h"
#include "log/run.h"
#include "log_rig.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ONLY(r) ((const char *const[]){ (r)->file, NULL })

static struct rig rig;

static void set_up(void)
{
    rig_make(&rig);
}

static void tear_down(void)
{
    fs_replace(NULL);
    rig_done(&rig);
}

/* --- the plain way --------------------------------------------------- */

static const struct {
    const char *name;
    struct lines lines;
} plain_cases[] = {
    { "a flush a line", { 0, 0, 500, 1, 20 } },
    { "a flush for many", { 0, 0, 5000, 100, 20 } },
    { "no flush but the last", { 0, 0, 3000, 0, 20 } },
    { "long lines", { 0, 0, 500, 7, 2048 } },
};

START_TEST(collects)
{
    pid_t c = rig_collect(&rig, NULL);
    const struct lines *l = &plain_cases[_i].lines;

    ck_assert_int_eq(rig_wait(rig_write(&rig, l)), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l->last);
    ck_assert_msg(!rig_queue_exists(&rig), "%s: queue left behind",
                  plain_cases[_i].name);
    ck_assert(!rig_memory_exists(&rig));
    ck_assert_uint_eq(rig_size(rig.errors), 0);
}
END_TEST

/* Lines that were handed over with no collector wait for one. */
START_TEST(starts_after_the_writer)
{
    const struct lines l = { 0, 0, 20, 1, 20 };

    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    ck_assert(rig_queue_exists(&rig));
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, 20);
    ck_assert(!rig_queue_exists(&rig));
}
END_TEST

START_TEST(second_collector_is_refused)
{
    struct err e;

    ck_assert(!log_collector_alive(rig.dir));
    pid_t c = rig_collect(&rig, NULL);
    ck_assert(log_collector_alive(rig.dir));
    const struct log_collect o = {
        .queue_dir = rig.dir, .file = "-", .fd = STDOUT_FILENO, .line = -1
    };
    ck_assert_int_eq(log_collect(&o, &e), -1);
    ck_assert_int_eq(e.sys, EWOULDBLOCK);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    ck_assert(!log_collector_alive(rig.dir));
}
END_TEST

/* Who was killed just now may keep the lock for a moment. */
START_TEST(waits_for_the_lock)
{
    struct err e;
    int fd = log_run_open(rig.dir, "log.lock", &e);

    ck_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    pid_t c = rig_collect(&rig, NULL);
    (void)poll(NULL, 0, 500); /* the moment */
    ck_assert_int_eq(flock(fd, LOCK_UN), 0);
    close(fd);
    RIG_UNTIL(rig_contains(rig.file, "log.start"));
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
}
END_TEST

START_TEST(bad_file_is_an_error)
{
    struct rig bad = rig;

    snprintf(bad.file, sizeof bad.file, "%s/no/such/log", rig.dir);
    int status = rig_wait(rig_collect(&bad, NULL));
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}
END_TEST

/* A power cut left half a line: ours begins a new one. */
START_TEST(mends_torn_end)
{
    char first[8] = "";
    int fd = open(rig.file, O_WRONLY | O_CREAT, 0600);

    ck_assert(fd >= 0 && write(fd, "half", 4) == 4);
    close(fd);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    fd = open(rig.file, O_RDONLY);
    ck_assert(read(fd, first, 7) == 7);
    close(fd);
    ck_assert_msg(memcmp(first, "half\n20", 7) == 0, "%s", first);
}
END_TEST

/* --- kill -9 --------------------------------------------------------- */

/* The saboteur: where in which write() the collector dies. */
static struct {
    int at_call, calls;
    double part; /* of the bytes that reach the file before */
} killer;

static ssize_t killing_write(int fd, const void *p, size_t n)
{
    if (fd <= STDERR_FILENO || ++killer.calls != killer.at_call)
        return write(fd, p, n);
    size_t some = (size_t)((double)n * killer.part);
    if (some > 0 && write(fd, p, some) < 0)
        _exit(8);
    raise(SIGKILL);
    return -1;
}

static const struct {
    const char *name;
    int at_call;
    double part;
} kill_cases[] = {
    { "before its first write", 1, 0.0 },
    { "after its first write", 1, 1.0 },
    { "before the write of a batch", 2, 0.0 },
    { "within the write", 2, 0.001 },
    { "in the middle", 2, 0.5 },
    { "before the last bytes", 2, 0.999 },
    { "after the write", 2, 1.0 },
    { "later", 5, 0.3 },
};

START_TEST(survives_kill_in_write)
{
    struct fs_ops ops = fs_system;
    const struct lines l = { 0, 0, 3000, 10, 30 };
    pid_t w = rig_write(&rig, &l);

    ops.write = killing_write;
    killer.at_call = kill_cases[_i].at_call;
    killer.part = kill_cases[_i].part;
    for (int round = getenv("TEST_VALGRIND") != NULL ? 3 : 0; round < 5;
         round++) {
        pid_t c = rig_collect(&rig, &ops);
        RIG_UNTIL(rig_over(c) || rig_over(w));
        int status = rig_end(c, SIGKILL);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                      "%s: status %d", kill_cases[_i].name, status);
    }
    pid_t c = rig_collect(&rig, NULL);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l.last);
}
END_TEST

/* A collector that finds half a line and is killed before it writes the rest
 * leaves the next one what it needs to know: where the batch began. */
START_TEST(survives_kill_in_recovery)
{
    struct msgqueue q = MSGQUEUE_NONE;
    struct fs_ops ops = fs_system;
    const struct lines l = { 0, 0, 100, 100, 30 };
    struct inflight p;
    struct err e;

    ops.write = killing_write;
    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    killer.at_call = 2;
    killer.part = 0.505;
    rig_wait(rig_collect(&rig, &ops));
    killer.at_call = 1;
    killer.part = 0.0;
    rig_wait(rig_collect(&rig, &ops));
    ck_assert_int_eq(msgqueue_attach(&q, rig.dir, LOG_COLLECTOR, &e), 0);
    ck_assert_int_eq(inflight_open(&p, &q, &e), 0);
    ck_assert_int_gt(p.page->slot[0].length, 0);
    ck_assert_uint_eq(p.page->skip, 0);
    ck_assert_uint_eq(p.page->placed, 1);
    inflight_close(&p, false);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l.last);
}
END_TEST

/* The same from outside, at any moment, with many writers.  A collector that
 * gets nowhere in that time, as under valgrind, is given longer.  There, a
 * writer may find no room for the last of its lines for five seconds; then it
 * says them on stderr. */
START_TEST(survives_kills_at_any_moment)
{
    enum { WRITERS = 6 };
    const int lines = (int)few(4000);
    pid_t w[WRITERS];
    int left = WRITERS, most_ms = 8;

    rig_queue(&rig, 16384);
    for (int i = 0; i < WRITERS; i++) {
        const struct lines l = { i, 0, lines, 5, 40 };
        w[i] = rig_write(&rig, &l);
    }
    while (left > 0) {
        size_t before = rig_size(rig.file);
        pid_t c = rig_collect(&rig, NULL);
        for (int ms = rand() % most_ms; ms > 0; ms--)
            rig_pause();
        rig_end(c, SIGKILL);
        most_ms = rig_size(rig.file) == before ? most_ms + 1 : 8;
        left = 0;
        for (int i = 0; i < WRITERS; i++)
            left += !rig_over(w[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(rig_wait(w[i]), 0);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    bool slow = getenv("TEST_VALGRIND") != NULL;
    const char *const files[] = { rig.file, slow ? rig.errors : NULL, NULL };
    rig_check_once(files, WRITERS, lines);
}
END_TEST

/* Memory of another version of the program is not ours to read. */
START_TEST(strange_memory_is_replaced)
{
    struct msgqueue q = MSGQUEUE_NONE;
    struct inflight p;
    struct err e;

    ck_assert_int_eq(msgqueue_attach(&q, rig.dir, LOG_COLLECTOR, &e), 0);
    ck_assert_int_eq(inflight_open(&p, &q, &e), 0);
    ck_assert_int_ge(p.id, 0);
    p.page->version += 1;
    p.page->slot[0].length = 3;
    memcpy(p.page->slot[0].text, "no\n", 3);
    inflight_close(&p, false);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, 0);
}
END_TEST

/* --- a disk that is full --------------------------------------------- */

static struct {
    char space[128]; /* the file that ends the trouble */
    size_t room;
    int error;
} full;

static ssize_t full_write(int fd, const void *p, size_t n)
{
    if (fd <= STDERR_FILENO || access(full.space, F_OK) == 0)
        return write(fd, p, n);
    if (full.room == 0) {
        errno = full.error;
        return -1;
    }
    n = n < full.room ? n : full.room;
    full.room -= n;
    return write(fd, p, n);
}

static void make_space(void)
{
    close(open(full.space, O_WRONLY | O_CREAT, 0600));
}

static const struct {
    const char *name;
    size_t room;
    int error;
} full_cases[] = {
    { "from the start", 0, ENOSPC },
    { "in the middle of a line", 5000, ENOSPC },
    { "quota", 777, EDQUOT },
    { "broken for a while", 12345, EIO },
    { "limit of file size", 4096, EFBIG },
};

static void fill_disk(size_t room, int error, struct fs_ops *ops)
{
    *ops = fs_system;
    ops->write = full_write;
    rig_path(full.space, &rig, "space");
    full.room = room;
    full.error = error;
}

START_TEST(survives_full_disk)
{
    struct fs_ops ops;
    const struct lines l = { 0, 0, 3000, 10, 30 };

    fill_disk(full_cases[_i].room, full_cases[_i].error, &ops);
    rig_queue(&rig, 16384);
    pid_t c = rig_collect(&rig, &ops);
    pid_t w = rig_write(&rig, &l);
    RIG_UNTIL(rig_contains(rig.errors, "error log.stuck"));
    ck_assert_uint_eq(rig_size(rig.file), full_cases[_i].room);
    ck_assert_msg(!rig_over(w), "%s: the writer did not wait",
                  full_cases[_i].name);
    make_space();
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l.last);
    ck_assert(rig_contains(rig.file, "warn log.recovered"));
}
END_TEST

/* Told to stop meanwhile it leaves everything to the next one. */
START_TEST(stops_on_full_disk)
{
    struct fs_ops ops;
    const struct lines l = { 0, 0, 100, 10, 30 };

    fill_disk(1000, ENOSPC, &ops);
    pid_t c = rig_collect(&rig, &ops);
    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    RIG_UNTIL(rig_contains(rig.errors, "error log.stuck"));
    kill(c, SIGTERM);
    kill(c, SIGINT); /* two signals: now */
    int status = rig_wait(c);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l.last);
}
END_TEST

/* --- a new file ------------------------------------------------------ */

START_TEST(reopens_on_sighup)
{
    char old[128];
    const char *const both[] = { rig.file, old, NULL };
    const struct lines l = { 0, 0, 4000, 10, 30 };

    rig_path(old, &rig, "log.old");
    pid_t c = rig_collect(&rig, NULL);
    pid_t w = rig_write(&rig, &l);
    RIG_UNTIL(rig_size(rig.file) > 10000);
    ck_assert_int_eq(rename(rig.file, old), 0);
    rig_reopen(&rig, c);
    RIG_UNTIL(rig_size(rig.file) > 0);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(both, 1, l.last);
}
END_TEST

/* An idle collector hears it too. */
START_TEST(reopens_when_idle)
{
    char old[128];

    rig_path(old, &rig, "log.old");
    pid_t c = rig_collect(&rig, NULL);
    RIG_UNTIL(rig_contains(rig.file, "log.start"));
    ck_assert_int_eq(rename(rig.file, old), 0);
    rig_reopen(&rig, c);
    RIG_UNTIL(rig_contains(rig.file, "log.reopen"));
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
}
END_TEST

/* Moved to another disk while this one is full: the half of a line that was
 * written is taken back, and the whole one is in the new file. */
START_TEST(moves_from_full_disk)
{
    char old[128];
    const char *const both[] = { rig.file, old, NULL };
    const struct lines l = { 0, 0, 120, 10, 30 };
    struct fs_ops ops;

    rig_path(old, &rig, "log.old");
    fill_disk(5000, ENOSPC, &ops);
    pid_t c = rig_collect(&rig, &ops);
    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    RIG_UNTIL(rig_contains(rig.errors, "error log.stuck"));
    ck_assert_uint_eq(rig_size(rig.file), 5000);
    ck_assert_int_eq(rename(rig.file, old), 0);
    rig_reopen(&rig, c);
    RIG_UNTIL(access(rig.file, F_OK) == 0);
    make_space();
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    ck_assert_uint_lt(rig_size(old), 5000);
    rig_check_once(both, 1, l.last);
}
END_TEST

/* --- standard output ------------------------------------------------- */

START_TEST(writes_to_slow_pipe)
{
    const struct lines l = { 0, 0, 3000, 10, 30 };
    struct rig to_stdout = rig;
    char out[128], part[1000];
    const char *const files[] = { out, NULL };
    int pipe_fd[2], saved = dup(STDOUT_FILENO);
    ssize_t n = 1;

    rig_path(out, &rig, "out");
    snprintf(to_stdout.file, sizeof to_stdout.file, "-");
    ck_assert_int_eq(pipe(pipe_fd), 0);
    fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK);
    fflush(stdout);
    dup2(pipe_fd[1], STDOUT_FILENO);
    pid_t c = rig_collect(&to_stdout, NULL);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(pipe_fd[1]);
    pid_t w = rig_write(&rig, &l);
    int to = open(out, O_WRONLY | O_CREAT, 0600);
    for (bool told = false; n > 0;) {
        if (!told && rig_over(w))
            told = kill(c, SIGTERM) == 0;
        struct pollfd in = { pipe_fd[0], POLLIN, 0 };
        if (poll(&in, 1, 10) == 0)
            continue;
        n = read(pipe_fd[0], part, sizeof part);
        ck_assert(n >= 0 && write(to, part, (size_t)n) == n);
    }
    close(to);
    close(pipe_fd[0]);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_wait(c), 0);
    rig_check_once(files, 1, l.last);
}
END_TEST

/* --- keeping up ------------------------------------------------------ */

/* How often the collector had been put to sleep at each of its writes. */
static struct {
    int n;
    long sleeps[64];
} * seen;

static ssize_t counting_write(int fd, const void *p, size_t n)
{
    struct rusage u;

    if (fd > STDERR_FILENO && seen->n < 64) {
        getrusage(RUSAGE_SELF, &u);
        seen->sleeps[seen->n++] = u.ru_nvcsw;
    }
    return write(fd, p, n);
}

/* It lets some gather when it has taken all there is, and never while more
 * waits: a queue that fills up stops those who write to it. */
START_TEST(pauses_only_when_all_is_taken)
{
    enum { BATCHES = 7, LINES = BATCHES * INFLIGHT_SLOTS };
    const struct lines l = { 0, 0, LINES, 1, 0 };
    struct fs_ops ops = fs_system;

    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(seen, MAP_FAILED);
    rig_queue(&rig, 16384);
    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    ops.write = counting_write;
    pid_t c = rig_collect(&rig, &ops);
    RIG_UNTIL(seen->n >= 1 + BATCHES);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, LINES);
    /* The first and the last write say that it starts and stops. */
    ck_assert_int_lt(seen->sleeps[BATCHES] - seen->sleeps[1], BATCHES / 2);
    munmap(seen, sizeof *seen);
}
END_TEST

/* A queue of 16 KiB can take all that comes in four milliseconds. */
START_TEST(gathers_what_trickles_in)
{
    enum { LINES = 60, PAUSE_MS = 4, SLACK = 8 };
    struct fs_ops ops = fs_system;
    struct err e;

    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(seen, MAP_FAILED);
    rig_queue(&rig, 16384);
    ops.write = counting_write;
    pid_t c = rig_collect(&rig, &ops);
    ck_assert_int_eq(log_open(rig.dir, LOG_INFO, LOG_TEXT, &e), 0);
    uint64_t began = clock_mono_ms();
    for (int i = 0; i < LINES; i++) {
        rig_write_here(&(const struct lines){ 0, i, i + 1, 1, 0 });
        rig_pause();
    }
    log_close();
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    uint64_t ms = clock_mono_ms() - began;
    rig_check_once(ONLY(&rig), 1, LINES);
    ck_assert_int_le(seen->n, (int)ms / PAUSE_MS + SLACK);
    munmap(seen, sizeof *seen);
}
END_TEST

/* --- stopping -------------------------------------------------------- */

/* While a writer is attached the queue stays, and what it still says. */
START_TEST(leaves_queue_to_writers)
{
    int go[2];
    struct err e;
    char c1;

    ck_assert_int_eq(pipe(go), 0);
    pid_t c = rig_collect(&rig, NULL);
    pid_t w = fork();
    if (w == 0) {
        const struct lines before = { 0, 0, 10, 1, 20 };
        const struct lines after = { 0, 10, 20, 1, 20 };
        close(go[1]);
        if (log_open(rig.dir, LOG_INFO, LOG_TEXT, &e) != 0)
            _exit(1);
        rig_write_here(&before);
        while (read(go[0], &c1, 1) > 0)
            ;
        rig_write_here(&after);
        log_close();
        _exit(0);
    }
    close(go[0]);
    RIG_UNTIL(rig_contains(rig.file, "i=9 "));
    kill(c, SIGTERM);
    kill(c, SIGINT);
    ck_assert_int_eq(rig_wait(c), 0);
    ck_assert(rig_queue_exists(&rig));
    close(go[1]);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    ck_assert(!rig_queue_exists(&rig));
    rig_check_once(ONLY(&rig), 1, 20);
}
END_TEST

/* SIGTERM and the last words of a writer at the same time. */
START_TEST(waits_for_writers_that_stop)
{
    const struct lines l = { 0, 0, 3000, 1, 20 };
    pid_t c = rig_collect(&rig, NULL);
    pid_t w = rig_write(&rig, &l);

    RIG_UNTIL(rig_size(rig.file) > 1000);
    kill(c, SIGTERM);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_wait(c), 0);
    ck_assert(!rig_queue_exists(&rig));
    rig_check_once(ONLY(&rig), 1, l.last);
}
END_TEST

static TCase *stopping(void)
{
    TCase *t = tcase_create("stopping");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, writes_to_slow_pipe);
    tcase_add_test(t, leaves_queue_to_writers);
    tcase_add_test(t, waits_for_writers_that_stop);
    return t;
}

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

Suite *log_collector_suite(void);
Suite *log_collector_suite(void)
{
    Suite *s = suite_create("log.collector");
    TCase *t = tcase_create("collector");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, collects, 0, COUNT(plain_cases));
    tcase_add_test(t, starts_after_the_writer);
    tcase_add_test(t, second_collector_is_refused);
    tcase_add_test(t, waits_for_the_lock);
    tcase_add_test(t, bad_file_is_an_error);
    tcase_add_test(t, mends_torn_end);
    tcase_add_loop_test(t, survives_kill_in_write, 0, COUNT(kill_cases));
    tcase_add_test(t, survives_kill_in_recovery);
    tcase_add_test(t, survives_kills_at_any_moment);
    tcase_add_test(t, strange_memory_is_replaced);
    tcase_add_loop_test(t, survives_full_disk, 0, COUNT(full_cases));
    tcase_add_test(t, stops_on_full_disk);
    tcase_add_test(t, reopens_on_sighup);
    tcase_add_test(t, reopens_when_idle);
    tcase_add_test(t, moves_from_full_disk);
    tcase_add_test(t, pauses_only_when_all_is_taken);
    tcase_add_test(t, gathers_what_trickles_in);
    suite_add_tcase(s, t);
    suite_add_tcase(s, stopping());
    return s;
}
