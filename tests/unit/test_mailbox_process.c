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
#include <signal.h>
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
static mailbox_confine_fn *confine;

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
        _exit(mailbox_run(end[1], &conf, page, confine));
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
    uint64_t until = clock_mono_ms() + 60000;
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
    for (int i = 0; page->step != MAILBOX_IDLE && i < 2000; i++)
        poll(NULL, 0, 5);
    ck_assert_uint_eq(page->step, MAILBOX_IDLE);
    stop();
    close(fd);
}
END_TEST

/* The null reverse-path, and spans that have no place. */
START_TEST(null_sender)
{
    int fd = body_file();

    start();
    struct mailbox_request r = request(fd, 1, "joe");
    r.reverse_path = r.delivered_to = (struct span){ NULL, 0 };
    put(&r);
    nanswers = 0;
    wait_for(1);
    ck_assert(answers[0].outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(
        strncmp(read_file(name_of("joe/new", &r)), "Return-Path: <>\n", 16), 0);
    stop();
    close(fd);
}
END_TEST

static bool keep_to_present_files(const struct conf *c,
                                  struct mailbox_progress *p)
{
    (void)c;
    (void)p;
    return true;
}

/* A process that can reach the present mail_dir alone leaves mail for another
 * to its successor. */
START_TEST(other_mail_dir)
{
    int fd = body_file();
    char aside[600];
    struct err e;

    confine = keep_to_present_files;
    start();
    confine = NULL;
    struct mailbox_request r = request(fd, 1, "joe");
    put(&r);
    nanswers = 0;
    wait_for(1);
    snprintf(aside, sizeof aside, "%s.aside", dir);
    ck_assert_int_eq(rename(dir, aside), 0);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    r = request(fd, 2, "joe");
    put(&r);
    (void)mailbox_client_flush(client, &e);
    ck_assert_int_eq(status_of_process(), 0);
    (void)mailbox_client_take(client, note, NULL);
    ck_assert_uint_eq(nanswers, 1);
    mailbox_client_free(&client);
    ck_assert_int_eq(entries(dir), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(rename(aside, dir), 0);
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
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

/* --- locks, files, ends ----------------------------------------------------- */

static void lock_joe(void)
{
    close(open(path_of("joe.lock"), O_CREAT | O_WRONLY, 0600));
}

/* The lock of one mbox delays that mbox alone. */
START_TEST(lock_of_another_program)
{
    int fd = body_file();

    conf.local.mailbox = CONF_MBOX;
    lock_joe();
    start();
    nanswers = 0;
    struct mailbox_request joe = request(fd, 1, "joe"),
                           ann = request(fd, 2, "ann");
    put(&joe);
    put(&ann);
    wait_for(1);
    ck_assert_uint_eq(answers[0].tag, 2);
    ck_assert_uint_eq(nanswers, 1);
    ck_assert_int_eq(unlink(path_of("joe.lock")), 0);
    wait_for(2);
    ck_assert(answers[1].tag == 1 && answers[1].outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(dir), 2);
    lock_joe();
    put(&joe);
    put(&ann);
    wait_for(3);
    stop(); /* at once, with a copy that waits */
    close(fd);
}
END_TEST

/* More files than handles. */
START_TEST(many_files)
{
    enum { N = 150 };
    int fd[N];

    start();
    nanswers = 0;
    for (int i = 0; i < N; i++) {
        fd[i] = body_file();
        struct mailbox_request r = request(fd[i], (uint64_t)i, "joe");
        put(&r);
        close(fd[i]); /* the client has its own */
    }
    wait_for(N);
    ck_assert_int_eq(entries(path_of("joe/new")), N);
    char fds[64];
    snprintf(fds, sizeof fds, "/proc/%ld/fd", (long)process);
    ck_assert_int_lt(entries(fds), WIRE_HANDLES + 30);
    stop();
}
END_TEST

START_TEST(killed)
{
    int fd = body_file();
    struct err e;

    start();
    ck_assert(kill(process, SIGKILL) == 0);
    ck_assert(waitpid(process, NULL, 0) == process);
    struct mailbox_request r = request(fd, 1, "joe");
    (void)mailbox_client_put(client, &r, &e);
    ck_assert_int_eq(mailbox_client_flush(client, &e), -1);
    ck_assert_int_eq(mailbox_client_put(client, &r, &e), -1);
    ck_assert_int_eq(mailbox_client_take(client, note, NULL), -1);
    mailbox_client_free(&client);
    close(fd);
}
END_TEST

START_TEST(window)
{
    int fd = body_file();
    struct err e;
    unsigned n = 0;

    conf.local.mailbox = CONF_MBOX;
    start();
    for (;; n++) {
        char key[16];
        snprintf(key, sizeof key, "u%u", n % 8);
        struct mailbox_request r = request(fd, n, key);
        if (mailbox_client_put(client, &r, &e) != 0)
            break;
    }
    ck_assert_uint_eq(n, MAILBOX_WINDOW);
    ck_assert_uint_eq(mailbox_client_out(client), MAILBOX_WINDOW);
    nanswers = 0;
    wait_for(MAILBOX_WINDOW);
    ck_assert_uint_eq(mailbox_client_out(client), 0);
    stop();
    close(fd);
}
END_TEST

static const struct {
    const char *name, *key;
    size_t from;
    bool in_memory;
} wrong_requests[] = {
    { "key", "../x", 3, false },
    { "sender", "joe", MAILBOX_ADDRESS_MAX + 1, false },
    { "body in memory", "joe", 3, true },
};

START_TEST(client_refuses)
{
    static char from[MAILBOX_ADDRESS_MAX + 1];
    static const struct chain chain;
    int fd = body_file();
    struct err e;

    start();
    struct mailbox_request r = request(fd, 1, wrong_requests[_i].key);
    memset(from, 'x', sizeof from);
    r.reverse_path = (struct span){ from, wrong_requests[_i].from };
    r.body.chain = wrong_requests[_i].in_memory ? &chain : NULL;
    ck_assert_int_eq(mailbox_client_put(client, &r, &e), -1);
    ck_assert_int_eq(e.kind, ERR_BUG);
    stop();
    close(fd);
}
END_TEST

/* --- a hostile other end ------------------------------------------------------ */

struct packet {
    unsigned char p[WIRE_PACKET + 100];
    size_t n;
    size_t request; /* where the request begins */
    int fd[WIRE_FDS + 2];
    unsigned nfd;
};

static void fill(struct packet *p, int fd)
{
    struct wire_head h = { .opens = 1, .requests = 1, .open = { 5 } };
    struct mailbox_request r = request(fd, 1, "joe");

    p->request = wire_put_head(p->p, &h);
    p->n = p->request + wire_put_request(p->p + p->request, WIRE_PACKET, &r, 5);
    p->fd[0] = fd;
    p->nfd = 1;
}

static void set(struct packet *p, size_t at, unsigned long long v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p->p[at + i] = (unsigned char)(v >> (8 * i));
}

static void send_raw(const struct packet *p)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof p->fd)];
    } control;
    struct iovec v = { (void *)(uintptr_t)p->p, p->n };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

    if (p->nfd > 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(p->nfd * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(p->nfd * sizeof(int));
        memcpy(CMSG_DATA(c), p->fd, p->nfd * sizeof(int));
    }
    ck_assert(sendmsg(raw, &m, MSG_NOSIGNAL) == (ssize_t)p->n);
}

enum { NOTHING, PIPE, FDS_17, FDS_18, NO_FD, CUT, LONGER, TWO, TOO_LONG };

/* Places are in the head, or with `in_request` in the request. */
static const struct {
    const char *name;
    bool in_request;
    size_t at;
    unsigned long long value;
    unsigned octets;
    int more;
} hostile[] = {
    { "magic", false, 0, 0x3171626e, 4, NOTHING },
    { "descriptors that did not come", false, 4, 2, 1, NOTHING },
    { "no descriptor came", false, 4, 1, 1, NO_FD },
    { "more descriptors than are named", false, 4, 0, 1, NOTHING },
    { "17 descriptors", false, 4, 17, 1, FDS_17 },
    { "18 descriptors", false, 4, 16, 1, FDS_18 },
    { "a pipe for a file", false, 4, 1, 1, PIPE },
    { "closes beyond the packet", false, 5, 64, 1, CUT },
    { "too many closes", false, 5, 65, 1, NOTHING },
    { "more requests than there are", false, 6, 2, 2, NOTHING },
    { "fewer requests than there are", false, 6, 0, 2, NOTHING },
    { "more requests than the window", false, 6, 257, 2, NOTHING },
    { "open of no handle", false, 8, 64, 1, NOTHING },
    { "a handle that is not open", true, 0, 6, 1, NOTHING },
    { "no handle", true, 0, 64, 1, NOTHING },
    { "unknown flags", true, 1, 2, 1, NOTHING },
    { "a start that is negative", true, 12, 1ull << 63, 8, NOTHING },
    { "a size beyond numbers", true, 20, ~0ull >> 1, 8, TWO },
    { "a size that is negative", true, 20, ~0ull, 8, NOTHING },
    { "a front beyond the body", true, 28, 1000, 4, NOTHING },
    { "an id beyond 60 bits", true, 36, 1ull << 60, 8, NOTHING },
    { "an id beyond 20 bits", true, 44, 1ull << 20, 4, NOTHING },
    { "no key", true, 64, 0, 2, NOTHING },
    { "an empty key", true, 64, 1, 2, NOTHING },
    { "a key that is too long", true, 64, 2000, 2, NOTHING },
    { "a key without an end", true, 64, 3, 2, NOTHING },
    { "a key with two ends", true, 64, 5, 2, NOTHING },
    { "a sender beyond the packet", true, 66, 1000, 2, NOTHING },
    { "a sender that is too long", true, 66, 1025, 2, NOTHING },
    { "a recipient beyond the packet", true, 68, 1000, 2, NOTHING },
    { "a slash in the key", true, 71, '/', 1, NOTHING },
    { "a dot in front of the key", true, 70, '.', 1, NOTHING },
    { "a line end in the key", true, 71, '\n', 1, NOTHING },
    { "a packet that is cut", true, 64, 4, 2, CUT },
    { "a packet that goes on", true, 64, 4, 2, LONGER },
    { "a packet that is too long", true, 64, 4, 2, TOO_LONG },
};

START_TEST(hostile_packets)
{
    static struct packet p;
    int fd = body_file(), end[2] = { -1, -1 };

    start_raw();
    fill(&p, fd);
    ck_assert(pipe(end) == 0);
    for (unsigned i = 1; i < WIRE_FDS + 2; i++)
        p.fd[i] = fd;
    switch (hostile[_i].more) {
    case PIPE: p.fd[0] = end[0]; break;
    case FDS_17: p.nfd = 17; break;
    case FDS_18: p.nfd = 18; break;
    case NO_FD: p.nfd = 0; break;
    case CUT: p.n -= 9; break;
    case LONGER: p.n += 9; break;
    case TOO_LONG: p.n = sizeof p.p; break;
    case TWO: set(&p, p.request + 12, ~0ull >> 1, 8); break;
    default: break;
    }
    set(&p, hostile[_i].at + (hostile[_i].in_request ? p.request : 0),
        hostile[_i].value, hostile[_i].octets);
    send_raw(&p);
    int status = status_of_process();
    ck_assert_msg(status == EX_PROTOCOL, "%s: exit %d", hostile[_i].name,
                  status);
    ck_assert_msg(entries(dir) == 0, "%s: something was done",
                  hostile[_i].name);
    close(raw);
    close(end[0]);
    close(end[1]);
    close(fd);
}
END_TEST

/* The unchanged packet is served: the others failed for their change. */
START_TEST(packet_of_the_hostile_cases)
{
    static struct packet p;
    int fd = body_file();

    start_raw();
    fill(&p, fd);
    send_raw(&p);
    struct pollfd in = { raw, POLLIN, 0 };
    ck_assert_int_eq(poll(&in, 1, 60000), 1);
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    close(raw);
    ck_assert_int_eq(status_of_process(), 0);
    close(fd);
}
END_TEST

/* Whatever the octets are, parsing stays inside of them. */
START_TEST(octets_at_random)
{
    static struct packet good;
    int fd = body_file();
    unsigned taken = 0;
    uint64_t seed = 12345;

    fill(&good, fd);
    for (int round = 0; round < 20000; round++) {
        struct mailbox_request r;
        struct wire_head h;
        unsigned handle;
        unsigned char *copy = malloc(good.n); /* for the sanitizer */
        memcpy(copy, good.p, good.n);
        for (int i = 0; i < 1 + round % 4; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            copy[(seed >> 33) % good.n] = (unsigned char)(seed >> 25);
        }
        struct wire_reader w = { copy, good.n };
        if (wire_take_head(&w, &h) == 0 &&
            wire_take_request(&w, &r, &handle) == 0) {
            ck_assert(mailbox_key_valid(span_of(r.key)));
            ck_assert(r.body.start >= 0 && r.body.front <= r.body.size);
            taken++;
        }
        free(copy);
    }
    ck_assert_uint_gt(taken, 1000); /* both ways were taken */
    ck_assert_uint_lt(taken, 19000);
    close(fd);
}
END_TEST

START_TEST(answers_there_and_back)
{
    struct mailbox_answer a = { .tag = 7,
                                .outcome = MAILBOX_ADMIN,
                                .status = { 0, 4, 3, 5 },
                                .over_quota = true,
                                .text = "text",
                                .why = "why" },
                          b;
    unsigned char p[1000];
    size_t n = wire_put_answer(p, sizeof p, &a);
    size_t one = n;

    memset(a.text, 'x', sizeof a.text - 1);
    n += wire_put_answer(p + n, sizeof p - n, &a);
    ck_assert_uint_eq(wire_put_answer(p + n, n - one - 1, &a), 0);
    struct wire_reader w = { p, n };
    ck_assert_int_eq(wire_take_answer(&w, &b), 1);
    ck_assert(b.tag == 7 && b.outcome == MAILBOX_ADMIN && b.over_quota &&
              !b.disk_full && b.status.class == 4 && b.status.detail == 5);
    ck_assert_str_eq(b.text, "text");
    ck_assert_str_eq(b.why, "why");
    ck_assert_int_eq(wire_take_answer(&w, &b), 1);
    ck_assert_str_eq(b.text, a.text);
    ck_assert_int_eq(wire_take_answer(&w, &b), 0);
    for (size_t cut = 1; cut < one; cut++) {
        w = (struct wire_reader){ p, cut };
        ck_assert_int_eq(wire_take_answer(&w, &b), -1);
    }
    p[8] = 9;
    w = (struct wire_reader){ p, n };
    ck_assert_int_eq(wire_take_answer(&w, &b), -1);
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
    tcase_add_test(t, null_sender);
    tcase_add_test(t, other_mail_dir);
    tcase_add_test(t, many_copies);
    tcase_add_test(t, lock_of_another_program);
    tcase_add_test(t, many_files);
    tcase_add_test(t, killed);
    tcase_add_test(t, window);
    tcase_add_loop_test(t, client_refuses, 0, COUNT(wrong_requests));
    tcase_add_loop_test(t, hostile_packets, 0, COUNT(hostile));
    tcase_add_test(t, packet_of_the_hostile_cases);
    tcase_add_test(t, octets_at_random);
    tcase_add_test(t, answers_there_and_back);
    suite_add_tcase(s, t);
    return s;
}
