/* test_mailbox_process.c - a mailbox process and its client over a socketpair:
 * what arrives, what a hostile other end gets, and locks of other programs. */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/line.h"
#include "config/conf.h"
#include "mailbox/client.h"
#include "mailbox/process.h"
#include "mailbox/wire_private.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

static char dir[] = "/tmp/mta-unit-process-XXXXXX";
static struct conf conf;
static struct mailbox_progress *page;
static struct mailbox_client *client;
static pid_t process;
static int raw; /* the other end, where no client has it */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static void set_up(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert(mkdtemp(dir) != NULL);
    memset(&conf, 0, sizeof conf);
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s", dir);
    snprintf(conf.hostname, sizeof conf.hostname, "h");
    conf.local.users.source = CONF_USERS_ANY;
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(page != MAP_FAILED);
}

static void tear_down(void)
{
    munmap(page, sizeof *page);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start_raw(void)
{
    int end[2];
    struct err e;

    ck_assert(line_pair(end, &e) == 0);
    process = fork();
    if (process == 0) {
        close(end[0]);
        _exit(mailbox_run(end[1], &conf, page));
    }
    ck_assert(process > 0);
    close(end[1]);
    raw = end[0];
}

static void start(void)
{
    struct err e;

    start_raw();
    ck_assert(mailbox_client_new(&client, raw, &e) == 0);
}

static int status_of_process(void)
{
    int status;

    ck_assert(waitpid(process, &status, 0) == process);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void stop(void)
{
    mailbox_client_free(&client);
    ck_assert_int_eq(status_of_process(), 0);
}

/* --- requests --------------------------------------------------------------- */

static const char text[] = "Subject: x\r\n\r\nhello\r\n";

static int body_file(void)
{
    char path[] = "/tmp/mta-unit-body-XXXXXX";
    int fd = mkstemp(path);

    ck_assert(fd >= 0);
    unlink(path);
    ck_assert(write(fd, text, sizeof text - 1) == sizeof text - 1);
    return fd;
}

static struct mailbox_request request(int fd, uint64_t tag, const char *key)
{
    struct mailbox_request r = { .tag = tag,
                                 .key = key,
                                 .reverse_path = SPAN_LIT("s@x"),
                                 .delivered_to = SPAN_LIT("joe@here"),
                                 .id = { 77, 5 },
                                 .part = 3,
                                 .arrival = 1000000000ull * 1000000 };

    r.body =
        body_of_file(fd, 0, sizeof text - 1, crc32c(0, text, sizeof text - 1));
    r.slot = (uint16_t)tag;
    return r;
}

enum { ANSWERS = 1000 };
static struct mailbox_answer answers[ANSWERS];
static unsigned nanswers;

static void note(void *ctx, const struct mailbox_answer *a)
{
    (void)ctx;
    ck_assert(nanswers < ANSWERS);
    answers[nanswers++] = *a;
}

static void wait_for(unsigned n)
{
    uint64_t until = clock_mono_ms() + 20000;
    struct err e;

    while (nanswers < n && clock_mono_ms() < until) {
        struct pollfd p = { mailbox_client_fd(client), POLLIN, 0 };
        ck_assert(mailbox_client_flush(client, &e) >= 0);
        poll(&p, 1, 100);
        ck_assert(mailbox_client_take(client, note, NULL) == 0);
    }
    ck_assert_uint_ge(nanswers, n);
}

static void put(const struct mailbox_request *r)
{
    struct err e = { ERR_NONE, 0, "" };

    while (mailbox_client_put(client, r, &e) == 1)
        wait_for(nanswers + 1);
    ck_assert_msg(e.kind == ERR_NONE, "%s", e.text);
}

static char *path_of(const char *name)
{
    static char path[4][512];
    static int i;

    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

/* The file in a Maildir that a copy must have. */
static char *name_of(const char *new, const struct mailbox_request *r)
{
    char id[MSG_ID_TEXT], name[128];

    msg_id_text(id, r->id);
    snprintf(name, sizeof name, "%s/1000000000.%s-%llu-%u.h", new, id,
             (unsigned long long)r->part, r->slot);
    return path_of(name);
}

static int entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    if (d == NULL)
        return -1;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static const char *read_file(const char *path)
{
    static char all[4096];
    FILE *f = fopen(path, "r");

    if (f == NULL)
        return "(none)";
    all[fread(all, 1, sizeof all - 1, f)] = '\0';
    fclose(f);
    return all;
}

START_TEST(one_copy)
{
    int fd = body_file();

    start();
    struct mailbox_request r = request(fd, 9, "joe");
    put(&r);
    nanswers = 0;
    wait_for(1);
    ck_assert_msg(answers[0].outcome == MAILBOX_DELIVERED, "%s",
                  answers[0].why);
    ck_assert_uint_eq(answers[0].tag, 9);
    ck_assert_uint_eq(answers[0].status.class, 2);
    ck_assert_uint_eq(mailbox_client_out(client), 0);
    ck_assert_str_eq(
        read_file(name_of("joe/new", &r)),
        "Return-Path: <s@x>\nDelivered-To: joe@here\nSubject: x\n\nhello\n");
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    stop();
    ck_assert_uint_eq(page->step, MAILBOX_IDLE);
    close(fd);
}
END_TEST

START_TEST(many_copies)
{
    enum { N = 900 };
    int fd[3] = { body_file(), body_file(), body_file() };

    start();
    nanswers = 0;
    for (uint64_t i = 0; i < N; i++) {
        char key[16];
        snprintf(key, sizeof key, "u%d", (int)(i % 7));
        struct mailbox_request r = request(fd[i % 3], i, key);
        put(&r);
    }
    wait_for(N);
    for (unsigned i = 0; i < N; i++)
        ck_assert_msg(answers[i].outcome == MAILBOX_DELIVERED, "%s",
                      answers[i].why);
    ck_assert_int_eq(entries(path_of("u0/new")), N / 7 + 1);
    ck_assert_int_eq(entries(path_of("u6/new")), N / 7);
    ck_assert_int_eq(entries(path_of("u6/tmp")), 0);
    stop();
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *mailbox_process_suite(void);
Suite *mailbox_process_suite(void)
{
    Suite *s = suite_create("mailbox.process");
    TCase *t = tcase_create("process");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_copy);
    tcase_add_test(t, many_copies);
    suite_add_tcase(s, t);
    return s;
}
