/* test_log_log.c - the side of those who have something to say. */
#include "base/clock.h"
#include "log/collector.h"
#include "log/msgqueue.h"
#include "log/run.h"
#include "log_rig.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ONLY(r) ((const char *const[]){ (r)->file, NULL })

static struct rig rig;
static int squatter = -1;

static void set_up(void)
{
    rig_make(&rig);
}

static void tear_down(void)
{
    rig_done(&rig);
}

/* A child that runs f, with stderr in a file.  Its status. */
static pid_t run(int (*f)(void))
{
    pid_t pid = fork();

    ck_assert(pid >= 0);
    if (pid == 0) {
        int fd = open(rig.errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDERR_FILENO);
        close(fd);
        _exit(f());
    }
    return pid;
}

static int open_here(void)
{
    struct err e;

    return log_open(rig.dir, LOG_INFO, LOG_TEXT, &e);
}

/* --- no queue -------------------------------------------------------- */

static int never_open(void)
{
    LOG(LOG_INFO, "test.early", LN("n", 1));
    LOG(LOG_DEBUG, "test.unwanted", LN("n", 2));
    return log_flush() ? 0 : 1;
}

static int open_nowhere(void)
{
    struct err e;
    int rc = log_open("/dev/null/nowhere", LOG_INFO, LOG_JSON, &e);

    log_err(LOG_ERROR, "test.early", &e);
    log_close();
    LOG(LOG_INFO, "test.late", LN("n", 3));
    return rc == -1 ? 0 : 1;
}

START_TEST(without_queue_to_stderr)
{
    ck_assert_int_eq(rig_wait(run(never_open)), 0);
    ck_assert(rig_contains(rig.errors, "Z info test.early n=1\n"));
    ck_assert(!rig_contains(rig.errors, "unwanted"));
    ck_assert_int_eq(rig_wait(run(open_nowhere)), 0);
    ck_assert(rig_contains(rig.errors, "\"event\":\"test.early\",\"error\":"));
    ck_assert(rig_contains(rig.errors, "\"event\":\"test.late\",\"n\":3}\n"));
}
END_TEST

/* The directory goes while we are attached, and the queue with it. */
static int lose_everything(void)
{
    const struct lines l = { 0, 0, 3, 0, 10 };
    if (open_here() != 0)
        return 1;
    int id = rig_queue(&rig, 16384);
    char away[80];
    snprintf(away, sizeof away, "%s-moved", rig.dir);
    if (rename(rig.dir, away) != 0)
        return 3;
    msgctl(id, IPC_RMID, NULL);
    rig_write_here(&l);
    bool empty = log_flush();
    log_close();
    if (rename(away, rig.dir) != 0)
        return 4;
    return empty ? 0 : 2;
}

START_TEST(lost_queue_to_stderr)
{
    ck_assert_int_eq(rig_wait(run(lose_everything)), 0);
    rig_check_once((const char *const[]){ rig.errors, NULL }, 1, 3);
}
END_TEST

/* --- a file ---------------------------------------------------------- */

static int write_file(const char *path)
{
    const struct lines l = { 0, 0, 2000, 0, 10 };
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    log_to_file(fd);
    rig_write_here(&l);
    log_close();
    return fd >= 0 && fcntl(fd, F_GETFD) < 0 ? 0 : 1;
}

static int to_file(void)
{
    return write_file(rig.file);
}

static int to_full_disk(void)
{
    return write_file("/dev/full");
}

/* What the file does not take, stderr does. */
START_TEST(without_collector_to_a_file)
{
    ck_assert_int_eq(rig_wait(run(to_file)), 0);
    rig_check_once(ONLY(&rig), 1, 2000);
    ck_assert_int_eq(rig_wait(run(to_full_disk)), 0);
    rig_check_once((const char *const[]){ rig.errors, NULL }, 1, 2000);
}
END_TEST

/* --- a queue that is full -------------------------------------------- */

static int never_waits(void)
{
    const struct lines l = { 0, 0, 400, 1, 20 }; /* more than the queue */

    if (open_here() != 0)
        return 1;
    rig_write_here(&l);
    if (log_flush())
        return 2;
    pid_t c = rig_collect(&rig, NULL);
    RIG_UNTIL(log_flush());
    log_close();
    return rig_end(c, SIGTERM);
}

START_TEST(flush_does_not_wait)
{
    rig_queue(&rig, 16384);
    ck_assert_int_eq(rig_wait(run(never_waits)), 0);
    rig_check_once(ONLY(&rig), 1, 400);
}
END_TEST

static int leave_room(int queue, size_t room)
{
    static struct log_message m = { .length = 1 };
    struct msqid_ds ds;
    const struct lines three = { 0, 0, 3, 0, 1000 };

    if (open_here() != 0 || msgctl(queue, IPC_STAT, &ds) != 0)
        return 1;
    for (size_t left = ds.msg_qbytes - room, n; left > 0; left -= n) {
        n = left < sizeof m.text ? left : sizeof m.text;
        memset(m.text, '\n', n);
        if (msgsnd(queue, &m, n, IPC_NOWAIT) != 0)
            return 2;
    }
    rig_write_here(&three);
    bool empty = log_flush();
    if (msgctl(queue, IPC_STAT, &ds) != 0)
        return 3;
    return empty ? 4 : 10 + (int)ds.msg_qnum;
}

static int room_for_one(void)
{
    return leave_room(rig_queue(&rig, 16384), 1200);
}

/* It need not wait for room for all of them. */
START_TEST(little_room_is_used)
{
    int status = rig_wait(run(room_for_one));

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 10 + 2 + 1); /* ours is the third */
}
END_TEST

/* How often a process has gone to sleep. */
static long sleeps_of(pid_t pid)
{
    char path[64], line[256];
    long n = -1;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && n < 0 && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
    if (f != NULL)
        fclose(f);
    return n;
}

/* Buffer and queue are full and nobody reads: wait, and say so, and wake up
 * a few times a second to look. */
START_TEST(waits_when_all_is_full)
{
    const struct lines l = { 0, 0, 5000, 10, 30 };

    rig_queue(&rig, 16384);
    pid_t w = rig_write(&rig, &l);
    RIG_UNTIL(rig_contains(rig.errors, "error log.waiting "));
    ck_assert(!rig_over(w));
    uint64_t began = clock_mono_ms();
    long before = sleeps_of(w);
    (void)poll(NULL, 0, 500); /* the interval that is measured, or more */
    ck_assert_int_ge(before, 0);
    long slept = sleeps_of(w) - before;
    ck_assert_int_lt(slept, (long)(clock_mono_ms() - began) / 5);
    pid_t c = rig_collect(&rig, NULL);
    ck_assert_int_eq(rig_wait(w), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, l.last);
}
END_TEST

static int close_full(void)
{
    const struct lines l = { 0, 0, 600, 0, 20 };

    if (open_here() != 0)
        return 1;
    rig_write_here(&l);
    log_close();
    return 0;
}

/* A process that ends does not wait for ever; nothing is lost, though. */
START_TEST(close_gives_rest_to_stderr)
{
    const char *const both[] = { rig.file, rig.errors, NULL };

    rig_queue(&rig, 16384);
    ck_assert_int_eq(rig_wait(run(close_full)), 0);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(both, 1, 600);
}
END_TEST

/* --- a queue that is taken away -------------------------------------- */

static int write_around(void (*between)(void))
{
    const struct lines before = { 0, 0, 100, 10, 20 };
    const struct lines after = { 0, 100, 200, 10, 20 };
    pid_t c = rig_collect(&rig, NULL);

    if (open_here() != 0)
        return 1;
    rig_write_here(&before);
    RIG_UNTIL(log_flush() && rig_contains(rig.file, " i=99 "));
    between();
    rig_write_here(&after);
    log_close();
    return rig_end(c, SIGTERM);
}

static void remove_queue(void)
{
    msgctl(rig_queue(&rig, 16384), IPC_RMID, NULL);
}

/* Everybody finds the key occupied, the collector too if it is late. */
static void squat_on_queue(void)
{
    struct msgqueue q = MSGQUEUE_NONE;
    struct err e;

    ck_assert_int_eq(msgqueue_attach(&q, rig.dir, LOG_COLLECTOR, &e), 0);
    msgctl(q.id, IPC_RMID, NULL);
    squatter = msgget(q.key, IPC_CREAT | IPC_EXCL | 0666);
}

static int queue_removed(void)
{
    return write_around(remove_queue);
}

static int queue_squatted(void)
{
    int status = write_around(squat_on_queue);

    if (squatter >= 0)
        msgctl(squatter, IPC_RMID, NULL);
    return status;
}

static int (*const taken_away[])(void) = { queue_removed, queue_squatted };

START_TEST(finds_queue_again)
{
    ck_assert_int_eq(rig_wait(run(taken_away[_i])), 0);
    rig_check_once(ONLY(&rig), 1, 200);
}
END_TEST

/* A queue that others may read is not trusted, whoever made it. */
START_TEST(open_queue_is_not_ours)
{
    struct msgqueue q = MSGQUEUE_NONE;
    struct err e;

    ck_assert_int_eq(msgqueue_attach(&q, rig.dir, LOG_COLLECTOR, &e), 0);
    key_t first = q.key;
    msgctl(q.id, IPC_RMID, NULL);
    squatter = msgget(first, IPC_CREAT | 0666);
    ck_assert_int_ge(squatter, 0);
    ck_assert_int_eq(msgqueue_attach(&q, rig.dir, LOG_COLLECTOR, &e), 0);
    ck_assert_int_ne(q.key, first);
    ck_assert_int_ne(q.id, squatter);
    msgctl(squatter, IPC_RMID, NULL);
}
END_TEST

static const struct {
    const char *name, *text;
} key_files[] = {
    { "empty", "" },
    { "words", "no key at all\n" },
    { "private key", "00000000 1\n" },
    { "key without namespace", "12345678\n" },
    { "another namespace", "12345678 1\n" },
};

static void write_key_file(const char *text)
{
    char path[128];

    rig_path(path, &rig, "run");
    mkdir(path, 0700);
    rig_path(path, &rig, "run/log.key");
    FILE *f = fopen(path, "w");
    ck_assert(f != NULL && fputs(text, f) >= 0);
    fclose(f);
}

START_TEST(bad_key_file_is_replaced)
{
    const struct lines l = { 0, 0, 10, 1, 10 };
    char path[128];

    write_key_file(key_files[_i].text);
    ck_assert_int_eq(rig_wait(rig_write(&rig, &l)), 0);
    rig_path(path, &rig, "run/log.key");
    ck_assert_msg(!rig_contains(path, key_files[_i].text[0] == '\0'
                                          ? "\n\n"
                                          : key_files[_i].text),
                  "%s: kept", key_files[_i].name);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 1, 10);
}
END_TEST

/* The key belongs to living processes of another container: hands off. */
static int open_beside_strangers(void)
{
    struct err e;
    int lock = log_run_open(rig.dir, "log.writers", &e);
    char path[128];

    if (lock < 0 || fs_lock(lock, LOCK_SH) != 0)
        return 1;
    rig_path(path, &rig, "run/log.key");
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs("12345678 1\n", f) < 0 || fclose(f) != 0)
        return 2;
    return log_open(rig.dir, LOG_INFO, LOG_TEXT, &e) == -1 &&
                   strstr(e.text, "another IPC namespace") != NULL &&
                   rig_contains(path, "12345678 1\n")
               ? 0
               : 3;
}

START_TEST(key_of_living_strangers_stays)
{
    ck_assert_int_eq(rig_wait(run(open_beside_strangers)), 0);
}
END_TEST

/* --- many at once ---------------------------------------------------- */

/* Also when the key is of a container that is no more: none of the starters
 * takes another for one of its processes. */
START_TEST(starters_agree_on_one_queue)
{
    enum { STARTERS = 24 };
    pid_t w[STARTERS], collector = 0;

    if (_i > 0)
        write_key_file("12345678 1\n");
    for (int i = 0; i < STARTERS; i++) {
        const struct lines l = { i, 0, 2, 1, 10 };
        if (i == STARTERS / 2)
            collector = rig_collect(&rig, NULL);
        w[i] = rig_write(&rig, &l);
    }
    for (int i = 0; i < STARTERS; i++)
        ck_assert_int_eq(rig_wait(w[i]), 0);
    ck_assert_int_eq(rig_end(collector, SIGTERM), 0);
    rig_check_once(ONLY(&rig), STARTERS, 2);
}
END_TEST

/* What the parent has in its buffer the child must not say again. */
static int fork_with_lines(void)
{
    const struct lines mine = { 0, 0, 50, 0, 20 }, childs = { 1, 0, 50, 0, 20 };

    if (open_here() != 0)
        return 1;
    rig_write_here(&mine);
    pid_t pid = fork();
    if (pid == 0) {
        rig_write_here(&childs);
        log_close();
        _exit(0);
    }
    int status = rig_wait(pid);
    log_close();
    return status;
}

START_TEST(fork_empties_the_buffer)
{
    ck_assert_int_eq(rig_wait(run(fork_with_lines)), 0);
    ck_assert_int_eq(rig_end(rig_collect(&rig, NULL), SIGTERM), 0);
    rig_check_once(ONLY(&rig), 2, 50);
}
END_TEST

static void *thread(void *w)
{
    const struct lines l = { *(int *)w, 0, 3000, 3, 20 };

    rig_write_here(&l);
    return NULL;
}

static int with_threads(void)
{
    enum { THREADS = 4 };
    pthread_t t[THREADS];
    int w[THREADS];

    if (open_here() != 0)
        return 1;
    for (int i = 0; i < THREADS; i++) {
        w[i] = i;
        if (pthread_create(&t[i], NULL, thread, &w[i]) != 0)
            return 2;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    log_close();
    return 0;
}

START_TEST(threads_share_the_buffer)
{
    rig_queue(&rig, 16384);
    pid_t c = rig_collect(&rig, NULL);
    ck_assert_int_eq(rig_wait(run(with_threads)), 0);
    ck_assert_int_eq(rig_end(c, SIGTERM), 0);
    rig_check_once(ONLY(&rig), 4, 3000);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

Suite *log_log_suite(void);
Suite *log_log_suite(void)
{
    Suite *s = suite_create("log.writer");
    TCase *t = tcase_create("writer");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, without_queue_to_stderr);
    tcase_add_test(t, lost_queue_to_stderr);
    tcase_add_test(t, without_collector_to_a_file);
    tcase_add_test(t, flush_does_not_wait);
    tcase_add_test(t, little_room_is_used);
    tcase_add_test(t, waits_when_all_is_full);
    tcase_add_test(t, close_gives_rest_to_stderr);
    tcase_add_loop_test(t, finds_queue_again, 0, COUNT(taken_away));
    tcase_add_test(t, open_queue_is_not_ours);
    tcase_add_loop_test(t, bad_key_file_is_replaced, 0, COUNT(key_files));
    tcase_add_test(t, key_of_living_strangers_stays);
    tcase_add_loop_test(t, starters_agree_on_one_queue, 0, 2);
    tcase_add_test(t, fork_empties_the_buffer);
    tcase_add_test(t, threads_share_the_buffer);
    suite_add_tcase(s, t);
    return s;
}
