/* test_mailbox_batch.c - Maildir and mbox delivery: contents to the byte,
 * locks, and what is left when any system call fails. */
#include "base/chain.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "mailbox/batch.h"
#include "mailbox/mailbox_private.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char dir[] = "/tmp/mta-unit-box-XXXXXX";
static struct pool *blocks;

static void set_up(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert(mkdtemp(dir) != NULL);
    blocks = chain_pool_new(1000);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static void tear_down(void)
{
    fs_replace(NULL);
    pool_free(&blocks);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct mailbox_batch *open_batch(enum mailbox_kind kind)
{
    struct mailbox_options o = {
        .mail_dir = dir, .kind = kind, .hostname = "a/b:c", .max_copies = 1000
    };
    struct mailbox_batch *b = NULL;
    struct err e = { ERR_NONE, 0, "" };

    ck_assert_msg(mailbox_batch_new(&b, &o, &e) == 0, "%s", e.text);
    return b;
}

static struct mailbox_message message(struct chain *c, const char *text)
{
    *c = (struct chain)CHAIN_INIT;
    ck_assert(chain_add(c, blocks, text, strlen(text)));
    return (struct mailbox_message){ .user = "joe",
                                     .reverse_path = span_of("s@x"),
                                     .delivered_to = span_of("joe@here"),
                                     .body = body_of_chain(c, 0) };
}

static char *path_of(const char *name)
{
    static char path[4][512];
    static int i;

    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static const char *read_file(const char *path)
{
    static char text[512 * 1024];
    FILE *f = fopen(path, "r");

    if (f == NULL)
        return "(none)";
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
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

static int open_fds(void)
{
    return entries("/proc/self/fd") - 1;
}

/* --- contents --------------------------------------------------------- ----*/

#define FIELDS "Return-Path: <s@x>\nDelivered-To: joe@here\n"

static const struct {
    const char *name, *wire, *maildir, *mbox;
} contents[] = {
    { "usual", "A: b\r\n\r\nhi\r\n", "A: b\n\nhi\n", "A: b\n\nhi\n\n" },
    { "empty", "", "", "\n" },
    { "no line end", "A: b\r\n\r\nhi", "A: b\n\nhi\n", "A: b\n\nhi\n\n" },
    { "lone CR and LF stay", "a\rb\nc\r\r\nd\r", "a\rb\nc\r\nd\r\n",
      "a\rb\nc\r\nd\r\n\n" },
    { "dots are no matter", ".\r\n..\r\n", ".\n..\n", ".\n..\n\n" },
    { "From quoting",
      "From a\r\n>From b\r\n>>>From c\r\n> From d\r\nFrome\r\n From f\r\n"
      ">Fro\r\nFrom\r\n>FFrom x\r\nx From y\r\nFrom \r\nFr",
      "From a\n>From b\n>>>From c\n> From d\nFrome\n From f\n"
      ">Fro\nFrom\n>FFrom x\nx From y\nFrom \nFr\n",
      ">From a\n>>From b\n>>>>From c\n> From d\nFrome\n From f\n"
      ">Fro\nFrom\n>FFrom x\nx From y\n>From \nFr\n\n" },
    { "From at the end", "From ", "From \n", ">From \n\n" },
    { "CR in From", "Fr\rom x\r\n\rFrom y\r\n", "Fr\rom x\n\rFrom y\n",
      "Fr\rom x\n\rFrom y\n\n" },
};

static void path_of_copy(char *out, size_t size, const struct mailbox_copy *c)
{
    const struct mailbox_batch *b = c->box->batch;
    bool maildir = b->kind == MAILBOX_MAILDIR;
    int n = snprintf(out, size, "%s/%s%s%s", b->dir, c->box->name,
                     maildir ? "/new/" : "", maildir ? c->name : "");

    ck_assert(n > 0 && (size_t)n < size);
}

static void deliver_one(enum mailbox_kind kind, const char *wire, char *path,
                        size_t size)
{
    struct mailbox_batch *b = open_batch(kind);
    struct chain c;
    struct err e = { ERR_NONE, 0, "" };
    struct mailbox_message m = message(&c, wire);

    struct mailbox_copy *copy = mailbox_add(b, &m, &e);
    ck_assert_msg(copy != NULL, "%s", e.text);
    mailbox_sync(b);
    ck_assert_msg(mailbox_status(copy, &e) == 0, "%s", e.text);
    mailbox_publish(b);
    ck_assert_msg(mailbox_status(copy, &e) == 0, "%s", e.text);
    path_of_copy(path, size, copy);
    mailbox_reset(b);
    mailbox_batch_free(&b);
    chain_clear(&c, blocks);
}

START_TEST(maildir_content)
{
    char path[512], want[1024];
    int before = open_fds();

    deliver_one(MAILBOX_MAILDIR, contents[_i].wire, path, sizeof path);
    snprintf(want, sizeof want, FIELDS "%s", contents[_i].maildir);
    ck_assert_msg(strcmp(read_file(path), want) == 0, "%s: \"%s\"",
                  contents[_i].name, read_file(path));
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    ck_assert_int_eq(entries(path_of("joe/cur")), 0);
    ck_assert(strstr(path, ".a\\057b\\072c") != NULL);
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(mbox_content)
{
    char path[512], want[1024];
    int before = open_fds();

    deliver_one(MAILBOX_MBOX, contents[_i].wire, path, sizeof path);
    const char *got = read_file(path);
    ck_assert_msg(strncmp(got, "From s@x ", 9) == 0, "%s", got);
    ck_assert_msg(got[9 + 24] == '\n', "date: %s", got);
    snprintf(want, sizeof want, FIELDS "%s", contents[_i].mbox);
    ck_assert_msg(strcmp(got + 9 + 25, want) == 0, "%s: \"%s\"",
                  contents[_i].name, got);
    ck_assert_int_eq(entries(dir), 1); /* no lock is left */
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

/* Longer than any buffer, from a file, in one line and in many. */
/* What has rotted in the queue comes to no mailbox. */
START_TEST(damaged_body)
{
    char path[600];
    FILE *f = tmpfile();
    struct mailbox_batch *b =
        open_batch(_i == 0 ? MAILBOX_MAILDIR : MAILBOX_MBOX);
    struct err e = { ERR_NONE, 0, "" };

    fputs("Subject: x\r\n\r\nhello\r\n", f);
    fflush(f);
    struct mailbox_message m = { .user = "joe",
                                 .reverse_path = span_of("s@x"),
                                 .delivered_to = span_of("joe@here"),
                                 .body = body_of_file(fileno(f), 0, 21, 1) };
    struct mailbox_copy *c = mailbox_add(b, &m, &e);
    mailbox_publish(b);
    ck_assert(c == NULL || mailbox_status(c, &e) != 0);
    ck_assert_int_eq(e.sys, EBADMSG);
    mailbox_batch_free(&b);
    snprintf(path, sizeof path, "%s%s", path_of("joe"), _i == 0 ? "/new" : "");
    if (_i == 0)
        ck_assert_int_eq(entries(path), 0);
    else
        ck_assert_ptr_null(strstr(read_file(path), "Subject"));
    fclose(f);
}
END_TEST

START_TEST(large_body_from_a_file)
{
    enum { N = 300000, FRONT = 1300 };
    static char wire[N], want[N + 100];
    size_t n = 0, w;
    char path[512];
    FILE *f = tmpfile();
    struct mailbox_batch *b =
        open_batch(_i == 0 ? MAILBOX_MAILDIR : MAILBOX_MBOX);
    struct err e = { ERR_NONE, 0, "" };

    w = (size_t)snprintf(want, sizeof want, FIELDS);
    while (n < N - 2) {
        bool end = n % 1000 == 998 && n < N / 2;
        memcpy(wire + n, end ? "\r\n" : "xy", 2);
        memcpy(want + w, end ? "\n" : "xy", 2);
        n += 2;
        w += end ? 1 : 2;
    }
    snprintf(want + w, sizeof want - w, "%s", _i == 0 ? "\n" : "\n\n");
    ck_assert(fwrite("....", 1, 4, f) == 4 &&
              fwrite(wire + FRONT, 1, n - FRONT, f) == n - FRONT &&
              fwrite(wire, 1, FRONT, f) == FRONT);
    fflush(f);
    struct mailbox_message m = { .user = "joe",
                                 .reverse_path = span_of("s@x"),
                                 .delivered_to = span_of("joe@here"),
                                 .body = body_of_file(
                                     fileno(f), 4, n,
                                     crc32c(0, wire + FRONT, n - FRONT)) };
    m.body.front = FRONT;
    struct mailbox_copy *c = mailbox_add(b, &m, &e);
    ck_assert_msg(c != NULL, "%s", e.text);
    mailbox_publish(b);
    ck_assert(mailbox_status(c, &e) == 0);
    path_of_copy(path, sizeof path, c);
    ck_assert(strcmp(read_file(path) + (_i == 0 ? 0 : 34), want) == 0);
    mailbox_batch_free(&b);
    fclose(f);
}
END_TEST

/* --- names and kinds of mailboxes ------------------------------------- ----*/

static const struct {
    const char *name;
    bool valid;
} name_cases[] = {
    { "joe", true },
    { "j", true },
    { "joe.x+y@z", true },
    { "j\xc3\xb6", true },
    { "", false },
    { ".", false },
    { "..", false },
    { ".joe", false },
    { "../x", false },
    { "a/b", false },
    { "a\nb", false },
    { "a\x7f", false },
    { "0123456789012345678901234567890123456789012345678901234567890123",
      true },
    { "01234567890123456789012345678901234567890123456789012345678901234",
      false },
};

START_TEST(names)
{
    struct mailbox_batch *b = open_batch(MAILBOX_MAILDIR);
    struct chain c;
    struct err e = { ERR_NONE, 0, "" };
    struct mailbox_message m = message(&c, "x");

    ck_assert_msg(mailbox_name_valid(span_of(name_cases[_i].name)) ==
                      name_cases[_i].valid,
                  "%s", name_cases[_i].name);
    m.user = name_cases[_i].name;
    ck_assert((mailbox_add(b, &m, &e) != NULL) == name_cases[_i].valid);
    ck_assert(name_cases[_i].valid || e.kind == ERR_PERM);
    mailbox_batch_free(&b);
}
END_TEST

static int try_add(enum mailbox_kind kind, const char *user, struct err *e)
{
    struct mailbox_batch *b = open_batch(kind);
    struct chain c;
    struct mailbox_message m = message(&c, "x\r\n");
    int fds;

    m.user = user;
    *e = (struct err){ ERR_NONE, 0, "" };
    fds = open_fds();
    int rc = mailbox_add(b, &m, e) == NULL ? -1 : 0;
    if (rc != 0)
        ck_assert_int_eq(open_fds(), fds);
    mailbox_publish(b);
    mailbox_batch_free(&b);
    return rc;
}

START_TEST(unsafe_mailboxes)
{
    struct err e;

    ck_assert(mkdir(path_of("real"), 0700) == 0);
    ck_assert(symlink("real", path_of("joe")) == 0);
    ck_assert(try_add(MAILBOX_MAILDIR, "joe", &e) != 0 && e.kind == ERR_PERM);
    ck_assert(mkdir(path_of("ann"), 0700) == 0);
    ck_assert(symlink("../real", path_of("ann/tmp")) == 0);
    ck_assert(try_add(MAILBOX_MAILDIR, "ann", &e) != 0 && e.kind == ERR_PERM);
    close(open(path_of("file"), O_CREAT | O_WRONLY, 0600));
    ck_assert(try_add(MAILBOX_MAILDIR, "file", &e) != 0 && e.kind == ERR_PERM);

    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) != 0 && e.kind == ERR_PERM);
    ck_assert(try_add(MAILBOX_MBOX, "real", &e) != 0);
    ck_assert(link(path_of("file"), path_of("other")) == 0);
    ck_assert(try_add(MAILBOX_MBOX, "file", &e) != 0 && e.kind == ERR_PERM);
    ck_assert(mkfifo(path_of("fifo"), 0600) == 0);
    ck_assert(try_add(MAILBOX_MBOX, "fifo", &e) != 0 && e.kind == ERR_PERM);
    ck_assert(try_add(MAILBOX_MBOX, "ann.lock", &e) != 0 && e.kind == ERR_PERM);
}
END_TEST

START_TEST(other_owner)
{
    struct err e;

    if (geteuid() != 0)
        return; /* only root can give a file away */
    ck_assert(mkdir(path_of("joe"), 0700) == 0);
    ck_assert(chown(path_of("joe"), 12345, 12345) == 0);
    ck_assert(try_add(MAILBOX_MAILDIR, "joe", &e) != 0 && e.kind == ERR_PERM);
    close(open(path_of("ann"), O_CREAT | O_WRONLY, 0640));
    ck_assert(chown(path_of("ann"), 12345, 12345) == 0);
    ck_assert(try_add(MAILBOX_MBOX, "ann", &e) != 0 && e.kind == ERR_PERM);
}
END_TEST

START_TEST(mbox_keeps_mode)
{
    struct err e;
    struct stat st;

    close(open(path_of("joe"), O_CREAT | O_WRONLY, 0600));
    ck_assert(chmod(path_of("joe"), 0640) == 0);
    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) == 0);
    ck_assert(stat(path_of("joe"), &st) == 0);
    ck_assert_int_eq(st.st_mode & 07777, 0640);
    ck_assert(try_add(MAILBOX_MBOX, "new", &e) == 0);
    ck_assert(stat(path_of("new"), &st) == 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

static const struct {
    const char *name, *old, *between;
} tails[] = {
    { "in order", "From a\n\nhi\n\n", "" },
    { "no blank line", "From a\n\nhi\n", "\n" },
    { "no line end", "From a\n\nhi", "\n\n" },
    { "empty", "", "" },
    { "one line end", "\n", "" },
};

START_TEST(mbox_after_a_torn_end)
{
    char path[512], want[256];
    FILE *f = fopen(path_of("joe"), "w");

    fputs(tails[_i].old, f);
    fclose(f);
    deliver_one(MAILBOX_MBOX, "x\r\n", path, sizeof path);
    snprintf(want, sizeof want, "%s%sFrom s@x ", tails[_i].old,
             tails[_i].between);
    ck_assert_msg(strncmp(read_file(path), want, strlen(want)) == 0, "%s: %s",
                  tails[_i].name, read_file(path));
}
END_TEST

static const struct {
    const char *path, *line;
} senders[] = {
    { "", "From MAILER-DAEMON " },
    { "a b@x\r\nFrom y", "From a-b@x--From-y " },
};

START_TEST(mbox_from_line)
{
    struct mailbox_batch *b = open_batch(MAILBOX_MBOX);
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "x\r\n");

    m.reverse_path = span_of(senders[_i].path);
    ck_assert(mailbox_add(b, &m, &e) != NULL);
    mailbox_publish(b);
    mailbox_batch_free(&b);
    ck_assert(strncmp(read_file(path_of("joe")), senders[_i].line,
                      strlen(senders[_i].line)) == 0);
}
END_TEST

/* --- locks ------------------------------------------------------------ ----*/

static void put_lock(const char *text, int age)
{
    FILE *f = fopen(path_of("joe.lock"), "w");
    struct timespec t[2] = { { time(NULL) - age, 0 }, { time(NULL) - age, 0 } };

    fputs(text, f);
    fclose(f);
    ck_assert(utimensat(AT_FDCWD, path_of("joe.lock"), t, 0) == 0);
}

static const struct {
    const char *name, *text; /* "%ld" is the pid of this process */
    int age;
    bool free;
} lock_cases[] = {
    { "fresh, pid unknown", "0", 0, false },
    { "fresh, pid dead", "2147483646\n", 800, false },
    { "old, pid dead", "2147483646\n", 1000, true },
    { "old, pid lives", "%ld\n", 1000, false },
    { "old, empty", "", 1000, true },
    { "ours, owner gone", "%ld\nmta\n", 0, true },
};

START_TEST(dotlocks)
{
    char text[64];
    struct err e;

    if (lock_cases[_i].text[0] == '%')
        snprintf(text, sizeof text, "%ld%s", (long)getpid(),
                 lock_cases[_i].text + 3);
    else
        snprintf(text, sizeof text, "%s", lock_cases[_i].text);
    put_lock(text, lock_cases[_i].age);
    int rc = try_add(MAILBOX_MBOX, "joe", &e);
    ck_assert_msg((rc == 0) == lock_cases[_i].free, "%s: %s",
                  lock_cases[_i].name, e.text);
    ck_assert(rc == 0 || e.kind == ERR_TEMP);
    ck_assert((access(path_of("joe.lock"), F_OK) == 0) == (rc != 0));
    ck_assert((access(path_of("joe"), F_OK) == 0) == (rc == 0));
}
END_TEST

START_TEST(held_by_another_batch)
{
    struct mailbox_batch *b = open_batch(MAILBOX_MBOX);
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "x\r\n");

    struct mailbox_copy *copy = mailbox_add(b, &m, &e);
    ck_assert(copy != NULL);
    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) != 0 && e.kind == ERR_TEMP);
    mailbox_abort(copy);
    mailbox_reset(b);
    ck_assert_int_eq(entries(dir), 0); /* neither lock nor empty mbox */
    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) == 0);
    mailbox_batch_free(&b);
}
END_TEST

START_TEST(locked_by_fcntl)
{
    int ready[2], done[2];
    char c;
    struct err e;

    close(open(path_of("joe"), O_CREAT | O_WRONLY, 0600));
    ck_assert(pipe(ready) == 0 && pipe(done) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int fd = open(path_of("joe"), O_RDWR);
        c = (char)fcntl(fd, F_SETLK, &all);
        close(done[1]);
        _exit(write(ready[1], &c, 1) == 1 && read(done[0], &c, 1) == 0 ? 0 : 1);
    }
    ck_assert(read(ready[0], &c, 1) == 1 && c == 0);
    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) != 0 && e.kind == ERR_TEMP);
    ck_assert(access(path_of("joe.lock"), F_OK) != 0);
    close(done[0]);
    close(done[1]);
    close(ready[0]);
    close(ready[1]);
    ck_assert(waitpid(pid, NULL, 0) == pid);
    ck_assert(try_add(MAILBOX_MBOX, "joe", &e) == 0);
}
END_TEST

/* --- many at a time --------------------------------------------------- ----*/

START_TEST(many_copies)
{
    enum mailbox_kind kind = _i == 0 ? MAILBOX_MAILDIR : MAILBOX_MBOX;
    struct mailbox_batch *b = open_batch(kind);
    struct chain c;
    struct err e = { ERR_NONE, 0, "" };
    struct mailbox_message m = message(&c, "hi\r\n");
    int before = open_fds();

    for (int i = 0; i < 200; i++)
        ck_assert_msg(mailbox_add(b, &m, &e) != NULL, "%s", e.text);
    ck_assert_int_lt(open_fds() - before, 70);
    ck_assert_uint_eq(b->ncopies, 200);
    mailbox_publish(b);
    ck_assert_int_eq(open_fds(), before);
    if (kind == MAILBOX_MAILDIR)
        ck_assert_int_eq(entries(path_of("joe/new")), 200);
    mailbox_reset(b);
    ck_assert_uint_eq(b->ncopies, 0);
    if (kind == MAILBOX_MAILDIR) {
        /* Mailbox removed behind our back. */
        nftw(path_of("joe"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
        ck_assert_msg(mailbox_add(b, &m, &e) != NULL, "%s", e.text);
        mailbox_publish(b);
        ck_assert_int_eq(entries(path_of("joe/new")), 1);
    }
    mailbox_batch_free(&b);
}
END_TEST

START_TEST(removed_before_publish)
{
    struct mailbox_batch *b = open_batch(MAILBOX_MAILDIR);
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "hi\r\n");

    struct mailbox_copy *copy = mailbox_add(b, &m, &e);
    mailbox_sync(b);
    nftw(path_of("joe"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mailbox_publish(b);
    ck_assert(mailbox_status(copy, &e) != 0 && e.kind == ERR_TEMP);
    mailbox_batch_free(&b);
}
END_TEST

START_TEST(more_than_max_copies)
{
    struct mailbox_options o = { .mail_dir = dir,
                                 .kind = MAILBOX_MAILDIR,
                                 .hostname = "h",
                                 .max_copies = 3 };
    struct mailbox_batch *b = NULL;
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "hi\r\n");

    ck_assert(mailbox_batch_new(&b, &o, &e) == 0);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 3; i++)
            ck_assert(mailbox_add(b, &m, &e) != NULL);
        ck_assert(mailbox_add(b, &m, &e) == NULL && e.kind == ERR_TEMP);
        mailbox_reset(b); /* without publishing: all is taken back */
    }
    ck_assert_int_eq(entries(path_of("joe/new")), 0);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    mailbox_batch_free(&b);
}
END_TEST

START_TEST(sweep_of_tmp)
{
    struct timespec t[2] = { { time(NULL) - 40 * 3600, 0 },
                             { time(NULL) - 40 * 3600, 0 } };
    struct err e;

    ck_assert(try_add(MAILBOX_MAILDIR, "joe", &e) == 0);
    close(open(path_of("joe/tmp/old"), O_CREAT | O_WRONLY, 0600));
    close(open(path_of("joe/tmp/young"), O_CREAT | O_WRONLY, 0600));
    ck_assert(utimensat(AT_FDCWD, path_of("joe/tmp/old"), t, 0) == 0);
    ck_assert(try_add(MAILBOX_MAILDIR, "joe", &e) == 0);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 1);
    ck_assert(access(path_of("joe/tmp/young"), F_OK) == 0);
}
END_TEST

/* Whose mailbox it is puts a link in the place of tmp, after we looked. */
static int mkdir_and_link(const char *path, mode_t mode)
{
    int rc = fs_system.mkdir(path, mode);

    ck_assert_str_eq(path, path_of("joe/new"));
    ck_assert(rename(path_of("joe/tmp"), path_of("joe/was")) == 0);
    ck_assert(symlink(path_of("else"), path_of("joe/tmp")) == 0);
    return rc;
}

START_TEST(sweep_of_a_link)
{
    struct timespec t[2] = { { time(NULL) - 40 * 3600, 0 },
                             { time(NULL) - 40 * 3600, 0 } };
    struct fs_ops ops = fs_system;
    struct err e;

    ck_assert(try_add(MAILBOX_MAILDIR, "joe", &e) == 0);
    ck_assert(mkdir(path_of("else"), 0700) == 0);
    close(open(path_of("else/old"), O_CREAT | O_WRONLY, 0600));
    ck_assert(utimensat(AT_FDCWD, path_of("else/old"), t, 0) == 0);
    nftw(path_of("joe/new"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    ops.mkdir = mkdir_and_link;
    fs_replace(&ops);
    (void)try_add(MAILBOX_MAILDIR, "joe", &e);
    ck_assert(access(path_of("joe/was"), F_OK) == 0); /* the trick was done */
    ck_assert(access(path_of("else/old"), F_OK) == 0);
}
END_TEST

START_TEST(mail_dir_is_made)
{
    struct err e;
    char whole[sizeof dir];

    memcpy(whole, dir, sizeof dir);
    for (int kind = MAILBOX_MAILDIR; kind <= MAILBOX_MBOX; kind++) {
        struct mailbox_batch *b;
        char sub[64];
        struct chain c;
        struct mailbox_message m = message(&c, "hi\r\n");
        snprintf(sub, sizeof sub, "%s/%d/below", whole, kind);
        struct mailbox_options o = { .mail_dir = sub,
                                     .kind = (enum mailbox_kind)kind,
                                     .hostname = "h",
                                     .max_copies = 3 };
        ck_assert(mailbox_batch_new(&b, &o, &e) == 0);
        ck_assert_msg(mailbox_add(b, &m, &e) != NULL, "%s", e.text);
        mailbox_publish(b);
        ck_assert_int_eq(entries(sub), 1);
        mailbox_batch_free(&b);
    }
}
END_TEST

/* --- the order of system calls, and their failure ---------------------- ---*/

/* Every call that goes through base/fs.h is noted as a letter; the one with
 * number fail_at fails, and all after it when `sticky`. */
static char calls[4096];
static int ncalls, fail_at;
static bool sticky;

static bool fails(char letter)
{
    if (ncalls < (int)sizeof calls - 1)
        calls[ncalls] = letter;
    calls[++ncalls] = '\0';
    if (fail_at == 0 || ncalls < fail_at || (ncalls > fail_at && !sticky))
        return false;
    errno = ENOSPC;
    return true;
}

static int s_open(const char *path, int flags, mode_t mode)
{
    return fails('o') ? -1 : fs_system.open(path, flags, mode);
}

static int s_openat(int at, const char *name, int flags, mode_t mode)
{
    return fails('o') ? -1 : fs_system.openat(at, name, flags, mode);
}

static int s_unlinkat(int at, const char *name)
{
    return fails('u') ? -1 : fs_system.unlinkat(at, name);
}

static int s_close(int fd) /* really closes */
{
    bool bad = fails('c');

    return fs_system.close(fd) != 0 || bad ? -1 : 0;
}

/* A disk that fills up takes half of it first. */
static ssize_t s_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    if (!fails('w'))
        return fs_system.pwritev(fd, v, n, at);
    struct iovec half = { v->iov_base, v->iov_len / 2 };
    fs_system.pwritev(fd, &half, 1, at);
    errno = ENOSPC;
    return -1;
}

static ssize_t s_write(int fd, const void *p, size_t n)
{
    if (!fails('w'))
        return fs_system.write(fd, p, n);
    if (fs_system.write(fd, p, n / 2) >= 0)
        errno = ENOSPC;
    return -1;
}

static ssize_t s_pread(int fd, void *p, size_t n, off_t at)
{
    return fails('r') ? -1 : fs_system.pread(fd, p, n, at);
}

static int s_truncate(int fd, off_t size)
{
    return fails('t') ? -1 : fs_system.truncate(fd, size);
}

static int s_fsync(int fd)
{
    return fails('s') ? -1 : fs_system.fsync(fd);
}

static int s_syncfs(int fd)
{
    return fails('S') ? -1 : fs_system.syncfs(fd);
}

static int s_rename(const char *from, const char *to)
{
    return fails('n') ? -1 : fs_system.rename(from, to);
}

static int s_unlink(const char *path)
{
    return fails('u') ? -1 : fs_system.unlink(path);
}

static int s_mkdir(const char *path, mode_t mode)
{
    return fails('m') ? -1 : fs_system.mkdir(path, mode);
}

static int s_lock(int fd, int operation)
{
    return fails('l') ? -1 : fs_system.lock(fd, operation);
}

static const struct fs_ops saboteur = {
    .open = s_open,
    .openat = s_openat,
    .close = s_close,
    .pwritev = s_pwritev,
    .write = s_write,
    .pread = s_pread,
    .truncate = s_truncate,
    .fsync = s_fsync,
    .syncfs = s_syncfs,
    .rename = s_rename,
    .unlink = s_unlink,
    .unlinkat = s_unlinkat,
    .mkdir = s_mkdir,
    .lock = s_lock,
};

static void watch(int fail, bool go_on)
{
    ncalls = 0;
    calls[0] = '\0';
    fail_at = fail;
    sticky = go_on;
    fs_replace(&saboteur);
}

/* The cost and the order of the steps: a change here is a change of
 * docs/delivery.md. */
static const struct {
    const char *name;
    enum mailbox_kind kind;
    int copies;
    const char *first, *add, *sync, *publish;
} orders[] = {
    { "Maildir", MAILBOX_MAILDIR, 1, "mmmmow", "ow", "sc", "nosc" },
    { "Maildir, three", MAILBOX_MAILDIR, 3, "mmmmowowow", "owowow", "Sccc",
      "nnnosc" },
    { "mbox", MAILBOX_MBOX, 1, "olwoo", "olwor", "ws", "cuc" },
    { "mbox, three", MAILBOX_MBOX, 3, "olwoo", "olwor", "wwws", "cuc" },
};

START_TEST(order_of_calls)
{
    struct mailbox_batch *b = open_batch(orders[_i].kind);
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "hi\r\n");

    for (int turn = 0; turn < 2; turn++) {
        watch(0, false);
        for (int i = 0; i < orders[_i].copies; i++)
            ck_assert(mailbox_add(b, &m, &e) != NULL);
        ck_assert_msg(
            strcmp(calls, turn == 0 ? orders[_i].first : orders[_i].add) == 0,
            "%s: add %s", orders[_i].name, calls);
        watch(0, false);
        mailbox_sync(b);
        ck_assert_msg(strcmp(calls, orders[_i].sync) == 0, "%s: sync %s",
                      orders[_i].name, calls);
        watch(0, false);
        mailbox_publish(b);
        /* The first time the new mailbox itself is synced as well. */
        ck_assert_msg(turn == 0 ? strlen(calls) > strlen(orders[_i].publish)
                                : strcmp(calls, orders[_i].publish) == 0,
                      "%s: publish %s", orders[_i].name, calls);
        watch(0, false);
        mailbox_reset(b);
        ck_assert_str_eq(calls, "");
    }
    mailbox_batch_free(&b);
}
END_TEST

static const char *const users[] = { "joe", "ann", "bob" };

/* One turn with a message for each of the first n.  calls: of its publish. */
static void deliver_to(struct mailbox_batch *b, size_t n)
{
    struct mailbox_copy *copy[3];
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "hi\r\n");

    for (size_t i = 0; i < n; i++) {
        m.user = users[i];
        copy[i] = mailbox_add(b, &m, &e);
    }
    mailbox_sync(b);
    watch(0, false);
    mailbox_publish(b);
    fs_replace(NULL);
    for (size_t i = 0; i < n; i++)
        ck_assert(copy[i] != NULL && mailbox_status(copy[i], &e) == 0);
    mailbox_reset(b);
}

/* Another program puts another mailbox where ours was. */
static void remake_box(enum mailbox_kind kind)
{
    static const char *const parts[] = { "joe", "joe/tmp", "joe/cur",
                                         "joe/new" };

    ck_assert_int_eq(rename(path_of("joe"), path_of("old")), 0);
    if (kind == MAILBOX_MBOX)
        ck_assert_int_eq(
            close(open(path_of("joe"), O_WRONLY | O_CREAT | O_EXCL, 0600)), 0);
    else
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            ck_assert_int_eq(mkdir(path_of(parts[i]), 0700), 0);
}

static void remake_dir(enum mailbox_kind kind)
{
    char aside[sizeof dir + 4];

    (void)kind;
    snprintf(aside, sizeof aside, "%s.old", dir);
    ck_assert_int_eq(rename(dir, aside), 0);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(rename(aside, path_of("old")), 0);
}

/* ... and puts the same mailboxes there. */
static void move_boxes(enum mailbox_kind kind)
{
    remake_dir(kind);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        char old[16];
        snprintf(old, sizeof old, "old/%s", users[i]);
        ck_assert_int_eq(rename(path_of(old), path_of(users[i])), 0);
    }
}

/* What was made durable is another thing now. */
static const struct {
    const char *name;
    enum mailbox_kind kind;
    size_t boxes;
    void (*remake)(enum mailbox_kind kind);
    enum { ONLY_WHAT_IS_USUAL, MORE, ALL_AS_AT_FIRST } syncs;
} remakes[] = {
    { "Maildir", MAILBOX_MAILDIR, 1, remake_box, MORE },
    { "mbox", MAILBOX_MBOX, 1, remake_box, MORE },
    { "Maildir, by syncfs", MAILBOX_MAILDIR, 3, remake_box,
      ONLY_WHAT_IS_USUAL },
    { "mail_dir of Maildirs", MAILBOX_MAILDIR, 1, remake_dir, ALL_AS_AT_FIRST },
    { "mail_dir of mboxes", MAILBOX_MBOX, 1, remake_dir, ALL_AS_AT_FIRST },
    { "mail_dir, syncfs", MAILBOX_MAILDIR, 3, remake_dir, ALL_AS_AT_FIRST },
    { "mailboxes moved, syncfs", MAILBOX_MAILDIR, 3, move_boxes,
      ALL_AS_AT_FIRST },
};

START_TEST(remade_by_others)
{
    struct mailbox_batch *b = open_batch(remakes[_i].kind);
    char publish[4][sizeof calls];

    for (int turn = 0; turn < 4; turn++) {
        if (turn == 2)
            remakes[_i].remake(remakes[_i].kind);
        deliver_to(b, remakes[_i].boxes);
        memcpy(publish[turn], calls, sizeof calls);
    }
    size_t first = strlen(publish[0]), usual = strlen(publish[1]);
    size_t then = strlen(publish[2]);
    ck_assert_uint_lt(usual, first);
    ck_assert_str_eq(publish[3], publish[1]);
    switch (remakes[_i].syncs) {
    case ONLY_WHAT_IS_USUAL: ck_assert_uint_eq(then, usual); break;
    case MORE: ck_assert_msg(then > usual && then < first, "%zu", then); break;
    case ALL_AS_AT_FIRST: ck_assert_uint_eq(then, first); break;
    }
    mailbox_batch_free(&b);
}
END_TEST

static int syncfs_slow(int fd)
{
    struct timespec t = { 0, 550 * 1000 * 1000 };

    (void)fails('S');
    while (nanosleep(&t, &t) != 0)
        ;
    return fs_system.syncfs(fd);
}

static int syncfs_missing(int fd)
{
    (void)fd;
    (void)fails('S');
    errno = ENOSYS;
    return -1;
}

/* Where a sync of the whole file system takes long or does not exist, the
 * next turns sync their files one by one. */
static const struct {
    const char *name;
    int (*syncfs)(int fd);
    const char *sync;
} unwelcome[] = {
    { "slow", syncfs_slow, "Sccc" },
    { "missing", syncfs_missing, "Sscscsc" },
};

START_TEST(syncfs_is_left_alone)
{
    struct mailbox_batch *b = open_batch(MAILBOX_MAILDIR);
    struct fs_ops ops = saboteur;
    struct chain c;
    struct err e;
    struct mailbox_message m = message(&c, "hi\r\n");

    ops.syncfs = unwelcome[_i].syncfs;
    for (int turn = 0; turn < 3; turn++) {
        struct mailbox_copy *copy[3];
        watch(0, false);
        fs_replace(&ops);
        for (int i = 0; i < 3; i++)
            copy[i] = mailbox_add(b, &m, &e);
        watch(0, false);
        fs_replace(&ops);
        mailbox_sync(b);
        ck_assert_msg(
            strcmp(calls, turn == 0 ? unwelcome[_i].sync : "scscsc") == 0,
            "%s, turn %d: %s", unwelcome[_i].name, turn, calls);
        mailbox_publish(b);
        for (int i = 0; i < 3; i++)
            ck_assert(copy[i] != NULL && mailbox_status(copy[i], &e) == 0);
        mailbox_reset(b);
    }
    mailbox_batch_free(&b);
}
END_TEST

/* What is in the mailboxes, by a word of each message. */
static int seen[8], strays;

static int count(const char *text, const char *word)
{
    int n = 0;

    for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
        n++;
    return n;
}

static int look_into(const char *path, const struct stat *st, int type,
                     struct FTW *f)
{
    (void)f;
    if (type != FTW_F)
        return 0;
    if (strstr(path, "/tmp/1") != NULL || strstr(path, ".lock") != NULL ||
        (st->st_size == 0)) {
        strays++;
        return 0;
    }
    const char *text = read_file(path);
    int whole = 0;
    for (int i = 0; i < 8; i++) {
        char word[16];
        snprintf(word, sizeof word, "message-%d\n", i);
        whole += count(text, word);
        seen[i] += count(text, word);
    }
    /* Every beginning has its end. */
    if (strncmp(text, "From ", 5) == 0)
        strays += count(text, "From ") - whole;
    return 0;
}

static void look_at_mail(void)
{
    memset(seen, 0, sizeof seen);
    strays = 0;
    /* The name of the directory holds /tmp/ too, hence the "1". */
    ck_assert(nftw(dir, look_into, 16, FTW_PHYS) == 0);
}

static const char *const owners[] = { "joe", "ann", "joe", "joe", "bob" };
enum { MESSAGES = 5, ABORTED_EARLY = 0, ABORTED_LATE = 2 };

/* One turn of five messages, two of which are taken back.  True: that one is
 * in its mailbox. */
static void play_turn(struct mailbox_batch *b, bool stored[MESSAGES])
{
    struct mailbox_copy *copy[MESSAGES];
    struct chain c[MESSAGES];
    struct err e;

    for (int i = 0; i < MESSAGES; i++) {
        char text[64];
        snprintf(text, sizeof text, "Subject: x\r\n\r\nmessage-%d\r\n", i);
        struct mailbox_message m = message(&c[i], text);
        m.user = owners[i];
        copy[i] = mailbox_add(b, &m, &e);
        stored[i] = copy[i] != NULL;
    }
    mailbox_abort(copy[ABORTED_EARLY]);
    chain_clear(&c[ABORTED_EARLY], blocks);
    mailbox_sync(b);
    mailbox_abort(copy[ABORTED_LATE]);
    chain_clear(&c[ABORTED_LATE], blocks);
    mailbox_publish(b);
    for (int i = 0; i < MESSAGES; i++)
        stored[i] = stored[i] && mailbox_status(copy[i], &e) == 0;
    mailbox_reset(b);
    for (int i = 0; i < MESSAGES; i++)
        chain_clear(&c[i], blocks);
}

static void seed(enum mailbox_kind kind)
{
    tear_down();
    set_up();
    if (kind != MAILBOX_MBOX)
        return;
    FILE *f = fopen(path_of("joe"), "w");
    fputs("From old\n\nmessage-7\n\n", f);
    fclose(f);
}

static void expect(const bool stored[MESSAGES], enum mailbox_kind kind, int at)
{
    look_at_mail();
    for (int i = 0; i < MESSAGES; i++)
        ck_assert_msg(seen[i] == stored[i],
                      "call %d (%s): message %d is %sstored, seen %d", at,
                      calls, i, stored[i] ? "" : "not ", seen[i]);
    ck_assert_msg(seen[7] == (kind == MAILBOX_MBOX), "call %d: old mail", at);
    ck_assert_msg(strays == 0, "call %d (%s): %d strays", at, calls, strays);
}

START_TEST(any_call_fails_once)
{
    enum mailbox_kind kind = _i == 0 ? MAILBOX_MAILDIR : MAILBOX_MBOX;
    int before, at = 1;

    for (bool done = false; !done; at++) {
        bool stored[MESSAGES];
        seed(kind);
        before = open_fds();
        struct mailbox_batch *b = open_batch(kind);
        watch(at, false);
        play_turn(b, stored);
        done = ncalls < at;
        fs_replace(NULL);
        ck_assert(!stored[ABORTED_EARLY] && !stored[ABORTED_LATE]);
        expect(stored, kind, at);
        ck_assert_msg(!done || (stored[1] && stored[3] && stored[4]),
                      "nothing failed but mail was refused");
        mailbox_batch_free(&b);
        ck_assert_msg(open_fds() == before, "call %d: descriptors", at);
    }
    ck_assert_int_gt(at, 20);
}
END_TEST

/* A lock that could neither be written nor removed ages for 15 minutes, for
 * it could be another program's. */
static void drop_torn_locks(void)
{
    static const char *const locks[] = { "joe.lock", "ann.lock", "bob.lock" };

    for (int i = 0; i < 3; i++)
        if (strstr(read_file(path_of(locks[i])), "mta\n") == NULL)
            unlink(path_of(locks[i]));
}

/* Nothing works any more from some call on: what was promised holds, and
 * when the disk is back so is delivery. */
START_TEST(all_calls_fail_from_one_on)
{
    enum mailbox_kind kind = _i == 0 ? MAILBOX_MAILDIR : MAILBOX_MBOX;
    bool done = false;

    for (int at = 1; !done; at++) {
        bool stored[MESSAGES], again[MESSAGES];
        seed(kind);
        int before = open_fds();
        struct mailbox_batch *b = open_batch(kind);
        watch(at, true);
        play_turn(b, stored);
        done = ncalls < at;
        fs_replace(NULL);
        ck_assert_int_eq(open_fds(), before);
        look_at_mail();
        for (int i = 0; i < MESSAGES; i++)
            ck_assert_msg(!stored[i] || seen[i] == 1, "call %d: lost %d", at,
                          i);
        drop_torn_locks();
        play_turn(b, again);
        ck_assert_msg(again[1] && again[3] && again[4], "call %d: for good",
                      at);
        mailbox_batch_free(&b);
        ck_assert_int_eq(open_fds(), before);
    }
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *mailbox_batch_suite(void);
Suite *mailbox_batch_suite(void)
{
    Suite *s = suite_create("mail.box");
    TCase *t = tcase_create("box");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, maildir_content, 0, COUNT(contents));
    tcase_add_loop_test(t, mbox_content, 0, COUNT(contents));
    tcase_add_loop_test(t, damaged_body, 0, 2);
    tcase_add_loop_test(t, large_body_from_a_file, 0, 2);
    tcase_add_loop_test(t, names, 0, COUNT(name_cases));
    tcase_add_test(t, unsafe_mailboxes);
    tcase_add_test(t, other_owner);
    tcase_add_test(t, mbox_keeps_mode);
    tcase_add_loop_test(t, mbox_after_a_torn_end, 0, COUNT(tails));
    tcase_add_loop_test(t, mbox_from_line, 0, COUNT(senders));
    tcase_add_loop_test(t, dotlocks, 0, COUNT(lock_cases));
    tcase_add_test(t, held_by_another_batch);
    tcase_add_test(t, locked_by_fcntl);
    tcase_add_loop_test(t, many_copies, 0, 2);
    tcase_add_test(t, removed_before_publish);
    tcase_add_test(t, more_than_max_copies);
    tcase_add_test(t, sweep_of_tmp);
    tcase_add_test(t, sweep_of_a_link);
    tcase_add_test(t, mail_dir_is_made);
    tcase_add_loop_test(t, order_of_calls, 0, COUNT(orders));
    tcase_add_loop_test(t, remade_by_others, 0, COUNT(remakes));
    tcase_add_loop_test(t, syncfs_is_left_alone, 0, COUNT(unwelcome));
    tcase_add_loop_test(t, any_call_fails_once, 0, 2);
    tcase_add_loop_test(t, all_calls_fail_from_one_on, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
