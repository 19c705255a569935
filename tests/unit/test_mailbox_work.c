/* test_mailbox_work.c - the turns of a mailbox process: contents to the octet,
 * names, locks, links that users plant, identities, and what is left when any
 * system call fails. */
#include "base/crc32c.h"
#include "base/fs.h"
#include "config/conf.h"
#include "mailbox/work_private.h"
#include "mailbox_turn.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char dir[40]; /* in memory, where there is room: syncs are many */
static struct conf conf;
static FILE *bodies; /* each request's message, one behind the other */

static const int kinds[] = { CONF_MAILDIR, CONF_MBOX };

/* The file system of the mailboxes, for those who ask through base/fs.h. */
enum { EXT4 = 0xef53, OVERLAY = 0x794c7630 };
static unsigned long disk;

static int magic_of_disk(int fd, unsigned long *magic)
{
    (void)fd;
    *magic = disk;
    return 0;
}

/* The system's calls on a disk where drafts need no name, or do. */
static struct fs_ops system_on(unsigned long magic)
{
    struct fs_ops ops = fs_system;

    ops.magic = magic_of_disk;
    disk = magic;
    return ops;
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "%s/mta-unit-work-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert(mkdtemp(dir) != NULL);
    memset(&conf, 0, sizeof conf);
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s", dir);
    snprintf(conf.hostname, sizeof conf.hostname, "a/b:c");
    conf.local.users.source = CONF_USERS_ANY;
    umask(0); /* as mailbox_run() does */
    disk = EXT4;
    bodies = tmpfile();
    ck_assert(bodies != NULL);
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
    umask(022);
    fs_replace(NULL);
    identity_replace(NULL);
    fclose(bodies);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct mailbox_work *open_work(int kind)
{
    conf.local.mailbox = kind;
    struct mailbox_work *w = mailbox_turn_new(&conf);
    ck_assert(w != NULL);
    return w;
}

static uint16_t next_slot;

static struct mailbox_request request(const char *key, const char *wire)
{
    size_t n = strlen(wire);
    struct mailbox_request r = { .tag = next_slot,
                                 .key = key,
                                 .reverse_path = SPAN_LIT("s@x"),
                                 .delivered_to = SPAN_LIT("joe@here"),
                                 .id = { 77, 5 },
                                 .part = 3,
                                 .slot = next_slot++,
                                 .arrival = 1000000000ull * 1000000 };

    ck_assert(fseek(bodies, 0, SEEK_END) == 0);
    long at = ftell(bodies);
    ck_assert(fwrite(wire, 1, n, bodies) == n && fflush(bodies) == 0);
    r.body = body_of_file(fileno(bodies), at, n, crc32c(0, wire, n));
    return r;
}

static void take(void *ctx, const struct mailbox_answer *a)
{
    *(struct mailbox_answer *)ctx = *a;
}

/* One turn with one copy.  Its outcome; tag 0xdead: there is no answer yet. */
static struct mailbox_answer run_one(struct mailbox_work *w,
                                     const struct mailbox_request *r)
{
    struct mailbox_answer a = { .tag = 0xdead };

    mailbox_turn_run(w, r, 1, take, &a);
    return a;
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

static struct mailbox_answer try(int kind, const char *key)
{
    struct mailbox_work *w = open_work(kind);
    struct mailbox_request r = request(key, "x\r\n");
    struct mailbox_answer a = run_one(w, &r);

    mailbox_turn_free(&w);
    return a;
}

static bool is(const struct mailbox_answer *a, const char *status)
{
    char text[SMTP_STATUS_TEXT];

    smtp_status_text(text, &a->status);
    return strcmp(text, status) == 0;
}

/* The file in a Maildir that a copy has. */
static char *name_of(const char *new, const struct mailbox_request *r)
{
    char id[MSG_ID_TEXT], name[256];

    msg_id_text(id, r->id);
    snprintf(name, sizeof name, "%s/1000000000.%s-%llu-%u.a\\057b\\072c", new,
             id, (unsigned long long)r->part, r->slot);
    return path_of(name);
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

START_TEST(maildir_content)
{
    char want[1024];
    int before = open_fds();
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", contents[_i].wire);
    struct mailbox_answer a = run_one(w, &r);

    ck_assert_msg(a.outcome == MAILBOX_DELIVERED && a.tag == r.tag, "%s",
                  a.why);
    mailbox_turn_free(&w);
    snprintf(want, sizeof want, FIELDS "%s", contents[_i].maildir);
    const char *got = read_file(name_of("joe/new", &r));
    ck_assert_msg(strcmp(got, want) == 0, "%s: \"%s\"", contents[_i].name, got);
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    ck_assert_int_eq(entries(path_of("joe/cur")), 0);
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(mbox_content)
{
    char want[1024];
    int before = open_fds();
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r = request("joe", contents[_i].wire);
    struct mailbox_answer a = run_one(w, &r);

    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    mailbox_turn_free(&w);
    const char *got = read_file(path_of("joe"));
    ck_assert_msg(strncmp(got, "From s@x ", 9) == 0, "%s", got);
    ck_assert_msg(got[9 + 24] == '\n', "date: %s", got);
    snprintf(want, sizeof want, FIELDS "%s", contents[_i].mbox);
    ck_assert_msg(strcmp(got + 9 + 25, want) == 0, "%s: \"%s\"",
                  contents[_i].name, got);
    ck_assert_int_eq(entries(dir), 1); /* no lock is left */
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

/* What has rotted in the queue comes to no mailbox. */
START_TEST(damaged_body)
{
    struct mailbox_work *w = open_work(kinds[_i]);
    struct mailbox_request r = request("joe", "Subject: x\r\n\r\nhello\r\n");

    r.body.crc++;
    struct mailbox_answer a = run_one(w, &r);
    ck_assert(a.outcome == MAILBOX_DEFERRED && a.damaged && is(&a, "4.3.0"));
    r.body.crc--;
    r.body.size += 7; /* the file is shorter */
    a = run_one(w, &r);
    ck_assert(a.outcome == MAILBOX_DEFERRED && !a.disk_full);
    mailbox_turn_free(&w);
    if (_i == 0) {
        ck_assert_int_eq(entries(path_of("joe/new")), 0);
        ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    } else {
        ck_assert_str_eq(read_file(path_of("joe")), "(none)");
    }
}
END_TEST

/* Longer than any buffer, in one line and in many, with its front behind. */
START_TEST(large_body)
{
    enum { N = 300000, FRONT = 1300 };
    static char wire[N], want[N + 100];
    size_t n = 0, m;
    FILE *f = tmpfile();
    struct mailbox_work *w = open_work(kinds[_i]);

    m = (size_t)snprintf(want, sizeof want, FIELDS);
    while (n < N - 2) {
        bool end = n % 1000 == 998 && n < N / 2;
        memcpy(wire + n, end ? "\r\n" : "xy", 2);
        memcpy(want + m, end ? "\n" : "xy", 2);
        n += 2;
        m += end ? 1 : 2;
    }
    snprintf(want + m, sizeof want - m, "%s", _i == 0 ? "\n" : "\n\n");
    ck_assert(fwrite("....", 1, 4, f) == 4 &&
              fwrite(wire + FRONT, 1, n - FRONT, f) == n - FRONT &&
              fwrite(wire, 1, FRONT, f) == FRONT && fflush(f) == 0);
    struct mailbox_request r = request("joe", "");
    r.body = body_of_file(fileno(f), 4, n, crc32c(0, wire + FRONT, n - FRONT));
    r.body.front = FRONT;
    struct mailbox_answer a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    mailbox_turn_free(&w);
    const char *got =
        _i == 0 ? read_file(name_of("joe/new", &r)) : read_file(path_of("joe"));
    ck_assert_uint_gt(strlen(got), N - N / 1000);
    ck_assert(strcmp(_i == 0 ? got : strchr(got, '\n') + 1, want) == 0);
    fclose(f);
}
END_TEST

/* --- one copy once -------------------------------------------------------- */

static const struct {
    const char *name, *move; /* to cur, by its reader */
    bool look_first;
    int in_new, in_cur;
} agains[] = {
    { "in new", NULL, false, 1, 0 },
    { "in new, looked for", NULL, true, 1, 0 },
    { "in cur", "", true, 0, 1 },
    { "in cur, with flags", ":2,RS", true, 0, 1 },
    { "in cur, with its size", ",S=12:2,", true, 0, 1 },
    { "in cur, not looked for", ":2,S", false, 1, 1 },
};

START_TEST(no_copy_twice)
{
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", "hi\r\n"),
                           other = request("joe", "other\r\n");

    for (int turn = 0; turn < 2; turn++) {
        struct mailbox_answer a = run_one(w, &r);
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s: %s", agains[_i].name,
                      a.why);
        if (turn == 0 && agains[_i].move != NULL) {
            char to[512];
            snprintf(to, sizeof to, "%s%s", name_of("joe/cur", &r),
                     agains[_i].move);
            ck_assert(rename(name_of("joe/new", &r), to) == 0);
        }
        r.look_first = agains[_i].look_first;
    }
    ck_assert_int_eq(entries(path_of("joe/new")), agains[_i].in_new);
    ck_assert_int_eq(entries(path_of("joe/cur")), agains[_i].in_cur);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    other.look_first = true; /* that of another slot is another one */
    struct mailbox_answer a = run_one(w, &other);
    ck_assert(a.outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("joe/new")), agains[_i].in_new + 1);
    mailbox_turn_free(&w);
}
END_TEST

static int nanswers;

static void look_at_answers(void *ctx)
{
    const struct mailbox_work *w = ctx;

    ck_assert(!list_empty(&w->answered));
    ck_assert_int_eq(access(path_of("ann"), F_OK) == 0, nanswers++ == 1);
}

/* Or a mailbox that hangs behind it would make its copies come twice. */
START_TEST(mbox_is_answered_before_the_next)
{
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r[] = { request("joe", "hi\r\n"),
                                   request("ann", "hi\r\n") };
    struct mailbox_answer a = { .tag = 0xdead };

    nanswers = 0;
    w->answer = look_at_answers;
    w->answer_ctx = w;
    mailbox_turn_run(w, r, 2, take, &a);
    ck_assert_int_eq(nanswers, 2);
    ck_assert(a.outcome == MAILBOX_DELIVERED);
    mailbox_turn_free(&w);
}
END_TEST

static int cannot_rename_new(int from_dir, const char *from, int to_dir,
                             const char *to)
{
    (void)from_dir;
    (void)from;
    (void)to_dir;
    (void)to;
    errno = EINVAL;
    return -1;
}

START_TEST(no_copy_twice_by_plain_rename)
{
    struct fs_ops ops = system_on(OVERLAY);
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", "hi\r\n");

    ops.rename_new = cannot_rename_new;
    fs_replace(&ops);
    for (int turn = 0; turn < 2; turn++) {
        struct mailbox_answer a = run_one(w, &r);
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    }
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    mailbox_turn_free(&w);
}
END_TEST

/* --- names and kinds of mailboxes ------------------------------------- ----*/

static const struct {
    const char *key;
    bool name, valid;
} key_cases[] = {
    { "joe", true, true },
    { "j", true, true },
    { "joe.x+y", true, true },
    { "joe@example.test", true, true },
    { "j\xc3\xb6", true, true },
    { "", false, false },
    { ".", false, false },
    { "..", false, false },
    { ".joe", false, false },
    { "../x", false, false },
    { "a/b", false, false },
    { "a\nb", false, false },
    { "a\x7f", false, false },
    { "joe.lock", false, false },
    { "joe@", true, false },
    { "@x", true, false },
    { "joe@..", true, false },
    { "joe@.x", true, false },
    { "joe@a/b", false, false },
    { "joe.lock@x", true, false },
    { "0123456789012345678901234567890123456789012345678901234567890123", true,
      true },
    { "01234567890123456789012345678901234567890123456789012345678901234",
      false, false },
};

START_TEST(keys)
{
    ck_assert_msg(mailbox_key_valid(span_of(key_cases[_i].key)) ==
                      key_cases[_i].valid,
                  "%s", key_cases[_i].key);
    ck_assert_msg(mailbox_name_valid(span_of(key_cases[_i].key)) ==
                      key_cases[_i].name,
                  "%s", key_cases[_i].key);
}
END_TEST

/* The user of one domain has a mailbox of their own, if users are listed. */
START_TEST(mailbox_of_a_domain)
{
    conf.local.users.source = CONF_USERS_FILE;
    ck_assert(try(CONF_MAILDIR, "joe@a.test").outcome == MAILBOX_DELIVERED);
    ck_assert(try(CONF_MBOX, "ann@a.test").outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("a.test/joe/new")), 1);
    ck_assert(access(path_of("a.test/ann"), F_OK) == 0);
    ck_assert(symlink(path_of("a.test"), path_of("b.test")) == 0);
    ck_assert(try(CONF_MAILDIR, "joe@b.test").outcome == MAILBOX_ADMIN);
    conf.local.users.source = CONF_USERS_ANY;
    ck_assert(try(CONF_MAILDIR, "joe@c.test").outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("joe@c.test/new")), 1);
}
END_TEST

START_TEST(what_is_there_decides)
{
    struct stat st;

    close(open(path_of("ann"), O_CREAT | O_WRONLY, 0640));
    ck_assert(try(CONF_MAILBOX_AUTO, "joe").outcome == MAILBOX_DELIVERED);
    ck_assert(try(CONF_MAILBOX_AUTO, "ann").outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    ck_assert(strncmp(read_file(path_of("ann")), "From ", 5) == 0);
    ck_assert(stat(path_of("ann"), &st) == 0);
    ck_assert_int_eq(st.st_mode & 07777, 0640); /* a mode that is set stays */
    ck_assert(try(CONF_MBOX, "new").outcome == MAILBOX_DELIVERED);
    ck_assert(stat(path_of("new"), &st) == 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert(stat(path_of("joe"), &st) == 0);
    ck_assert_int_eq(st.st_mode & 07777, 0700);
}
END_TEST

/* A mailbox becomes one of the other kind between two turns. */
START_TEST(kind_changes)
{
    struct mailbox_work *w = open_work(CONF_MAILBOX_AUTO);

    for (int i = 0; i < 4; i++) {
        struct mailbox_request r = request("joe", "x\r\n");
        struct mailbox_answer a = run_one(w, &r);
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
        nftw(path_of("joe"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (i % 2 == 0)
            close(open(path_of("joe"), O_CREAT | O_WRONLY, 0600));
    }
    mailbox_turn_free(&w);
}
END_TEST

/* --- what users plant -------------------------------------------------------- */

static void plant_hard_link(const char *at)
{
    close(open(path_of("file"), O_CREAT | O_WRONLY, 0600));
    ck_assert(link(path_of("file"), path_of(at)) == 0);
}

static void plant_link(const char *at)
{
    ck_assert(symlink(path_of("else"), path_of(at)) == 0);
}

static void plant_link_to_file(const char *at)
{
    ck_assert(symlink(path_of("else/file"), path_of(at)) == 0);
}

static void plant_file(const char *at)
{
    close(open(path_of(at), O_CREAT | O_WRONLY, 0600));
}

static void plant_pipe(const char *at)
{
    ck_assert(mkfifo(path_of(at), 0600) == 0);
}

static void plant_directory(const char *at)
{
    ck_assert(mkdir(path_of(at), 0700) == 0);
}

static const struct {
    const char *name;
    int kind;
    const char *at;
    void (*plant)(const char *at);
} plants[] = {
    { "mailbox", CONF_MAILDIR, "joe", plant_link },
    { "mailbox, auto", CONF_MAILBOX_AUTO, "joe", plant_link },
    { "tmp", CONF_MAILDIR, "joe/tmp", plant_link },
    { "new", CONF_MAILDIR, "joe/new", plant_link },
    { "cur", CONF_MAILDIR, "joe/cur", plant_link },
    { "mbox", CONF_MBOX, "joe", plant_link_to_file },
    { "mbox, auto", CONF_MAILBOX_AUTO, "joe", plant_link_to_file },
    { "lock", CONF_MBOX, "joe.lock", plant_link_to_file },
    { "lock, that dangles", CONF_MBOX, "joe.lock", plant_link },
    { "hard link", CONF_MBOX, "joe", plant_hard_link },
    { "pipe for a file", CONF_MBOX, "joe", plant_pipe },
    { "pipe for anything", CONF_MAILBOX_AUTO, "joe", plant_pipe },
    { "directory for a file", CONF_MBOX, "joe", plant_directory },
    { "file for a directory", CONF_MAILDIR, "joe", plant_file },
    { "file for new", CONF_MAILDIR, "joe/new", plant_file },
};

/* True: nothing came to where the links lead. */
static bool nothing_elsewhere(void)
{
    return entries(path_of("else")) == 1 &&
           strcmp(read_file(path_of("else/file")), "") == 0 &&
           (access(path_of("file"), F_OK) != 0 ||
            strcmp(read_file(path_of("file")), "") == 0);
}

START_TEST(planted)
{
    int fds = open_fds();

    ck_assert(mkdir(path_of("else"), 0777) == 0);
    plant_file("else/file");
    if (strchr(plants[_i].at, '/') != NULL)
        ck_assert(mkdir(path_of("joe"), 0700) == 0);
    plants[_i].plant(plants[_i].at);
    struct mailbox_answer a = try(plants[_i].kind, "joe");
    ck_assert_msg(a.outcome == MAILBOX_ADMIN && is(&a, "4.3.5"), "%s: %d %s",
                  plants[_i].name, a.outcome, a.why);
    ck_assert_msg(strstr(a.why, "joe") != NULL, "%s", a.why);
    ck_assert_msg(strchr(a.text, '/') == NULL && a.text[0] != '\0', "%s",
                  a.text);
    ck_assert_msg(nothing_elsewhere(), "%s", plants[_i].name);
    ck_assert_int_eq(open_fds(), fds);
}
END_TEST

/* --- identities -------------------------------------------------------- ----*/

enum { JOE = 60001, ANN = 60002, MAIL = 60099 };

static int find_test_user(const char *name, struct identity_user *u,
                          struct err *e)
{
    static const struct {
        const char *name;
        uid_t id;
    } users[] = {
        { "joe", JOE }, { "ann", ANN }, { "root", 0 }, { "toor", 0 }
    };

    ck_assert_uint_eq(geteuid(), 0); /* files that only root reads */
    if (strcmp(name, "down") == 0)
        return err_set(e, ERR_TEMP, EIO, "look up user %s", name);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++)
        if (strcmp(users[i].name, name) == 0) {
            u->id = (struct identity){ users[i].id, users[i].id };
            snprintf(u->home, sizeof u->home, "%s/home/%s", dir, name);
            return 1;
        }
    return 0;
}

/* mail_dir as an administrator has made it.  False: this is not root. */
static bool as_root(mode_t mode, gid_t gid)
{
    if (geteuid() != 0)
        return false;
    identity_replace(find_test_user);
    conf.local.users.source = CONF_USERS_PASSWD;
    snprintf(conf.local.user, sizeof conf.local.user, "ann");
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s/mail", dir);
    ck_assert(chmod(dir, 0755) == 0 && mkdir(path_of("mail"), 0700) == 0);
    ck_assert(chown(path_of("mail"), 0, gid) == 0);
    ck_assert(chmod(path_of("mail"), mode) == 0);
    ck_assert(mkdir(path_of("home"), 0755) == 0);
    ck_assert(mkdir(path_of("home/joe"), 0700) == 0);
    ck_assert(chown(path_of("home/joe"), JOE, JOE) == 0);
    return true;
}

static void check_owner(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
    struct stat st;

    ck_assert_msg(lstat(path, &st) == 0, "%s", path);
    ck_assert_msg(st.st_uid == uid && st.st_gid == gid &&
                      (st.st_mode & 07777) == mode,
                  "%s: %ld:%ld %o", path, (long)st.st_uid, (long)st.st_gid,
                  st.st_mode & 07777);
}

static const struct {
    const char *name;
    mode_t mode;
    gid_t gid, box_gid;
    mode_t maildir, mbox;
} mail_dirs[] = {
    { "root's alone", 0755, 0, JOE, 0700, 0600 },
    { "root's alone, 0711", 0711, 0, JOE, 0700, 0600 },
    { "as Debian has it", 02775, MAIL, MAIL, 02700, 0660 },
    { "of a group", 0775, MAIL, JOE, 0700, 0600 },
    { "for all, sticky", 01777, 0, JOE, 0700, 0600 },
};

START_TEST(as_their_users)
{
    struct mailbox_answer a;

    if (!as_root(mail_dirs[_i].mode, mail_dirs[_i].gid))
        return;
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    for (int turn = 0; turn < 3; turn++) {
        struct mailbox_request r = request(turn == 1 ? "ann" : "joe", "hi\r\n");
        a = run_one(w, &r);
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s: %s",
                      mail_dirs[_i].name, a.why);
        ck_assert_uint_eq(geteuid(), 0);
        if (turn == 0)
            check_owner(name_of("mail/joe/new", &r), JOE, mail_dirs[_i].box_gid,
                        0600);
    }
    mailbox_turn_free(&w);
    check_owner(path_of("mail/joe"), JOE, mail_dirs[_i].box_gid,
                mail_dirs[_i].maildir);
    check_owner(path_of("mail/joe/tmp"), JOE, mail_dirs[_i].box_gid,
                mail_dirs[_i].maildir);
    nftw(path_of("mail/joe"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < 2; i++) {
        a = try(CONF_MBOX, "joe");
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s: %s",
                      mail_dirs[_i].name, a.why);
        check_owner(path_of("mail/joe"), JOE, mail_dirs[_i].box_gid,
                    mail_dirs[_i].mbox);
        ck_assert(access(path_of("mail/joe.lock"), F_OK) != 0);
    }
    ck_assert_uint_eq(geteuid(), 0);
}
END_TEST

static const struct {
    const char *key, *status;
    enum mailbox_outcome outcome;
    uid_t owner;
} users_cases[] = {
    { "joe", "2.1.5", MAILBOX_DELIVERED, JOE },
    { "root", "2.1.5", MAILBOX_DELIVERED, 0 },
    { "toor", "4.3.5", MAILBOX_ADMIN, 0 },
    { "bob", "5.1.1", MAILBOX_FAILED, 0 },
    { "down", "4.3.0", MAILBOX_DEFERRED, 0 },
    { "postmaster", "2.1.5", MAILBOX_DELIVERED, ANN }, /* local.user */
};

START_TEST(users_of_the_system)
{
    if (!as_root(02775, MAIL))
        return;
    struct mailbox_answer a = try(CONF_MAILDIR, users_cases[_i].key);
    ck_assert_msg(a.outcome == users_cases[_i].outcome &&
                      is(&a, users_cases[_i].status),
                  "%s: %s", users_cases[_i].key, a.why);
    char box[64];
    snprintf(box, sizeof box, "mail/%s", users_cases[_i].key);
    if (a.outcome == MAILBOX_DELIVERED)
        check_owner(path_of(box), users_cases[_i].owner, MAIL, 02700);
    else
        ck_assert(access(path_of(box), F_OK) != 0);
}
END_TEST

static int find_no_user(const char *name, struct identity_user *u,
                        struct err *e)
{
    (void)name, (void)u, (void)e;
    return 0;
}

/* Its mailbox is always there: without root, that of the user of the process,
 * with or without an entry in the user database. */
START_TEST(postmaster_without_root)
{
    bool root = geteuid() == 0;

    identity_replace(find_no_user);
    conf.local.users.source = CONF_USERS_PASSWD;
    conf.local.user[0] = '\0';
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s/mail", dir);
    ck_assert(mkdir(path_of("mail"), 0700) == 0);
    ck_assert(chmod(dir, 0755) == 0 && chmod(path_of("mail"), 01777) == 0);
    ck_assert(!root || seteuid(JOE) == 0);
    struct mailbox_answer a = try(CONF_MAILDIR, "postmaster");
    struct mailbox_answer other = try(CONF_MAILDIR, "bob");
    ck_assert(!root || seteuid(0) == 0);
    identity_replace(NULL);
    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    ck_assert_int_eq(entries(path_of("mail/postmaster/new")), 1);
    ck_assert(other.outcome == MAILBOX_FAILED && is(&other, "5.1.1"));
}
END_TEST

START_TEST(below_the_home)
{
    struct mailbox_answer a;

    if (!as_root(0755, 0))
        return;
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "~/mail/Inbox");
    struct mailbox_work *w = open_work(CONF_MAILBOX_AUTO);
    for (int i = 0; i < 2; i++) {
        struct mailbox_request r = request("joe", "hi\r\n");
        a = run_one(w, &r);
        ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
        check_owner(name_of("home/joe/mail/Inbox/new", &r), JOE, JOE, 0600);
    }
    check_owner(path_of("home/joe/mail"), JOE, JOE, 0700);
    struct mailbox_request r = request("ann", "hi\r\n"); /* has no home */
    a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DEFERRED, "%s", a.why);
    mailbox_turn_free(&w);
    ck_assert(rename(path_of("home/joe/mail"), path_of("home/joe/x")) == 0);
    ck_assert(mkdir(path_of("else"), 0777) == 0 &&
              chmod(path_of("else"), 0777) == 0);
    ck_assert(symlink(path_of("else"), path_of("home/joe/mail")) == 0);
    a = try(CONF_MAILBOX_AUTO, "joe");
    ck_assert(a.outcome == MAILBOX_ADMIN);
    ck_assert_int_eq(entries(path_of("else")), 0);
}
END_TEST

/* The reader has moved it, and then one of the directories cannot be seen. */
static const char *const unseen[] = { "new", "cur" };

START_TEST(no_copy_without_a_look)
{
    char moved[512], part[32];

    if (!as_root(0755, 0))
        return;
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", "hi\r\n");
    struct mailbox_answer a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    snprintf(moved, sizeof moved, "%s", name_of("mail/joe/cur", &r));
    ck_assert(rename(name_of("mail/joe/new", &r), moved) == 0);

    snprintf(part, sizeof part, "mail/joe/%s", unseen[_i]);
    ck_assert(chmod(path_of(part), 0) == 0);
    r.look_first = true;
    a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_ADMIN, "%s: %s", part, a.why);
    ck_assert(chmod(path_of(part), 0700) == 0);
    ck_assert_int_eq(entries(path_of("mail/joe/new")), 0);
    a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s: %s", part, a.why);
    ck_assert_int_eq(entries(path_of("mail/joe/new")), 0);
    mailbox_turn_free(&w);
}
END_TEST

/* Another user's mailbox in the place of joe's, made by that user. */
START_TEST(of_another_owner)
{
    if (!as_root(01777, 0))
        return;
    ck_assert(mkdir(path_of("mail/joe"), 0777) == 0 &&
              chown(path_of("mail/joe"), ANN, ANN) == 0 &&
              chmod(path_of("mail/joe"), 0777) == 0);
    struct mailbox_answer a = try(CONF_MAILBOX_AUTO, "joe");
    ck_assert(a.outcome == MAILBOX_ADMIN && is(&a, "4.3.5"));
    ck_assert_msg(strstr(a.why, "uid 60002") != NULL, "%s", a.why);
    ck_assert(strstr(a.text, "60002") == NULL);
    ck_assert_int_eq(entries(path_of("mail/joe")), 0);
    plant_file("mail/root");
    ck_assert(chown(path_of("mail/root"), ANN, ANN) == 0);
    a = try(CONF_MAILBOX_AUTO, "root");
    ck_assert(a.outcome == MAILBOX_ADMIN);
    ck_assert_str_eq(read_file(path_of("mail/root")), "");
}
END_TEST

/* joe leads root to ann's mailbox, or to a directory that only root may change:
 * as joe, the process cannot write there even where it follows. */
START_TEST(root_in_between_writes_nowhere_else)
{
    struct mailbox_answer a;

    if (!as_root(02775, MAIL))
        return;
    a = try(CONF_MAILDIR, "joe");
    ck_assert(a.outcome == MAILBOX_DELIVERED);
    ck_assert(mkdir(path_of("roots"), 0700) == 0);
    nftw(path_of("mail/joe/new"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    ck_assert(rename(path_of("roots"), path_of("mail/joe/new")) == 0);
    a = try(CONF_MAILDIR, "joe");
    ck_assert_msg(a.outcome == MAILBOX_ADMIN, "%s", a.why);
    ck_assert_int_eq(entries(path_of("mail/joe/new")), 0);
    ck_assert_int_eq(entries(path_of("mail/joe/tmp")), 0);
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

    if (lock_cases[_i].text[0] == '%')
        snprintf(text, sizeof text, "%ld%s", (long)getpid(),
                 lock_cases[_i].text + 3);
    else
        snprintf(text, sizeof text, "%s", lock_cases[_i].text);
    put_lock(text, lock_cases[_i].age);
    struct mailbox_answer a = { .tag = 0xdead };
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r = request("joe", "x\r\n"),
                           other = request("ann", "x\r\n");
    a = run_one(w, &r);
    ck_assert_msg((a.tag == r.tag) == lock_cases[_i].free, "%s: %s",
                  lock_cases[_i].name, a.why);
    ck_assert_msg(!lock_cases[_i].free || a.outcome == MAILBOX_DELIVERED, "%s",
                  a.why);
    bool free = lock_cases[_i].free;
    ck_assert((access(path_of("joe.lock"), F_OK) == 0) == !free);
    ck_assert((access(path_of("joe"), F_OK) == 0) == free);
    a = run_one(w, &other); /* it holds up no other */
    ck_assert(a.tag == other.tag && a.outcome == MAILBOX_DELIVERED);
    if (!free) {
        ck_assert(unlink(path_of("joe.lock")) == 0);
        mailbox_turn_run(w, NULL, 0, take, &a);
        ck_assert_msg(a.tag == r.tag && a.outcome == MAILBOX_DELIVERED, "%s",
                      a.why);
    }
    mailbox_turn_free(&w);
    ck_assert_int_eq(entries(dir), 2);
}
END_TEST

static unsigned seen_empty;

/* What a process that is killed here leaves under the name of the lock. */
static int watched_lock(int fd, int how)
{
    struct stat st;

    if (fstatat(AT_FDCWD, path_of("joe.lock"), &st, 0) == 0 && st.st_size == 0)
        seen_empty++;
    return flock(fd, how);
}

START_TEST(a_lock_is_never_empty)
{
    struct fs_ops watched = fs_system;
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r = request("joe", "x\r\n");

    seen_empty = 0;
    watched.lock = watched_lock;
    fs_replace(&watched);
    struct mailbox_answer a = run_one(w, &r);
    fs_replace(NULL);
    ck_assert(a.outcome == MAILBOX_DELIVERED);
    ck_assert_uint_eq(seen_empty, 0);
    mailbox_turn_free(&w);
    ck_assert_int_eq(entries(dir), 1);
}
END_TEST

static struct box_copy *waiting_copy(struct mailbox_work *w)
{
    struct box *k = LIST_ENTRY(w->locked.next, struct box, of_turn);

    ck_assert(!list_empty(&w->locked) && !list_empty(&k->copies));
    return LIST_ENTRY(k->copies.next, struct box_copy, link);
}

START_TEST(lock_for_too_long)
{
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r = request("joe", "x\r\n"),
                           later = request("joe", "x\r\n");
    struct mailbox_answer a;

    put_lock("0", 0);
    ck_assert_uint_eq(run_one(w, &r).tag, 0xdead);
    ck_assert_uint_eq(run_one(w, &later).tag, 0xdead);
    ck_assert_uint_eq(w->nwaiting, 2);
    waiting_copy(w)->since -= 30 * 1000;
    a.tag = 0xdead;
    mailbox_turn_run(w, NULL, 0, take, &a);
    ck_assert(a.tag == r.tag && a.outcome == MAILBOX_DEFERRED);
    ck_assert(is(&a, "4.2.0"));
    ck_assert_str_eq(a.text, "mailbox is locked");
    ck_assert(strstr(a.why, path_of("joe")) != NULL);
    ck_assert(waiting_copy(w)->r.tag == later.tag);
    ck_assert_uint_eq(w->nwaiting, 1);
    mailbox_turn_free(&w);
}
END_TEST

/* A window full of copies for locked mboxes would hold up all others. */
START_TEST(few_wait_for_locks)
{
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_answer a;
    unsigned refused = 0;

    for (int i = 0; i < 50; i++) {
        struct mailbox_request r = request("joe", "x\r\n");
        put_lock("0", 0);
        a = run_one(w, &r);
        refused += a.tag == r.tag && is(&a, "4.2.0");
    }
    ck_assert_uint_eq(refused, 50 - 32);
    ck_assert_uint_eq(w->nwaiting, 32);
    unlink(path_of("joe.lock"));
    mailbox_turn_run(w, NULL, 0, take, &a);
    ck_assert_uint_eq(w->nwaiting, 0);
    ck_assert(list_empty(&w->locked));
    mailbox_turn_free(&w);
}
END_TEST

START_TEST(locked_by_fcntl)
{
    int ready[2], done[2];
    char c;

    plant_file("joe");
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
    ck_assert_uint_eq(try(CONF_MBOX, "joe").tag, 0xdead);
    ck_assert(access(path_of("joe.lock"), F_OK) != 0);
    close(done[0]);
    close(done[1]);
    close(ready[0]);
    close(ready[1]);
    ck_assert(waitpid(pid, NULL, 0) == pid);
    ck_assert(try(CONF_MBOX, "joe").outcome == MAILBOX_DELIVERED);
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
    char want[256];
    FILE *f = fopen(path_of("joe"), "w");

    fputs(tails[_i].old, f);
    fclose(f);
    ck_assert(try(CONF_MBOX, "joe").outcome == MAILBOX_DELIVERED);
    snprintf(want, sizeof want, "%s%sFrom s@x ", tails[_i].old,
             tails[_i].between);
    ck_assert_msg(strncmp(read_file(path_of("joe")), want, strlen(want)) == 0,
                  "%s: %s", tails[_i].name, read_file(path_of("joe")));
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
    struct mailbox_work *w = open_work(CONF_MBOX);
    struct mailbox_request r = request("joe", "x\r\n");

    r.reverse_path = span_of(senders[_i].path);
    ck_assert(run_one(w, &r).outcome == MAILBOX_DELIVERED);
    mailbox_turn_free(&w);
    ck_assert(strncmp(read_file(path_of("joe")), senders[_i].line,
                      strlen(senders[_i].line)) == 0);
}
END_TEST

/* --- many at a time --------------------------------------------------- ----*/

static unsigned delivered;

static void count_delivered(void *ctx, const struct mailbox_answer *a)
{
    (void)ctx;
    ck_assert_msg(a->outcome == MAILBOX_DELIVERED, "%s", a->why);
    delivered++;
}

START_TEST(many_copies)
{
    enum { N = 200 };
    static struct mailbox_request r[N];
    struct mailbox_work *w = open_work(kinds[_i]);
    int before = open_fds();

    delivered = 0;
    for (int i = 0; i < N; i++)
        r[i] = request(i % 2 == 0 ? "joe" : "ann", "hi\r\n");
    mailbox_turn_run(w, r, N, count_delivered, NULL);
    ck_assert_uint_eq(delivered, N);
    if (_i == 0) {
        ck_assert_int_eq(entries(path_of("joe/new")), N / 2);
        /* The mailbox is removed behind our back. */
        nftw(path_of("joe"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
        mailbox_turn_run(w, r, N, count_delivered, NULL);
        ck_assert_int_eq(entries(path_of("joe/new")), N / 2);
        nftw(path_of("joe/tmp"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
        nftw(path_of("joe/new"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
        mailbox_turn_run(w, r, N, count_delivered, NULL);
        ck_assert_int_eq(entries(path_of("joe/new")), N / 2);
    }
    mailbox_turn_free(&w);
    ck_assert_int_lt(open_fds(), before + 1);
}
END_TEST

static int count(const char *text, const char *word)
{
    int n = 0;

    for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
        n++;
    return n;
}

static int drafts;

/* The mailbox goes, or becomes a file, when the second draft is made. */
static void remove_at_second(void)
{
    if (++drafts != 2)
        return;
    ck_assert(rename(path_of("joe"), path_of("was")) == 0);
    nftw(path_of("was"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    plant_file("joe");
}

static int openat_and_remove(int at, const char *name, int flags, mode_t mode)
{
    if ((flags & O_CREAT) != 0)
        remove_at_second();
    return fs_system.openat(at, name, flags, mode);
}

static int unnamed_and_remove(int at, mode_t mode)
{
    remove_at_second();
    return fs_system.unnamed(at, mode);
}

static const unsigned long disks[] = { EXT4, OVERLAY };

static void count_all(void *ctx, const struct mailbox_answer *a)
{
    *(unsigned *)ctx += 1;
    delivered += a->outcome == MAILBOX_DELIVERED;
}

START_TEST(removed_between_copies)
{
    struct mailbox_work *w = open_work(CONF_MAILBOX_AUTO);
    struct fs_ops ops = system_on(disks[_i]);
    struct mailbox_request r[4];
    unsigned answered = 0;
    int fds = open_fds();

    for (int i = 0; i < 4; i++)
        r[i] = request("joe", "hi\r\n");
    ops.openat = openat_and_remove;
    ops.unnamed = unnamed_and_remove;
    fs_replace(&ops);
    drafts = 0;
    delivered = 0;
    mailbox_turn_run(w, r, 4, count_all, &answered);
    fs_replace(NULL);
    ck_assert_uint_eq(answered, 4);
    ck_assert_uint_eq(delivered, 0);
    mailbox_turn_run(w, r, 4, count_all, &answered);
    ck_assert_uint_eq(answered, 8);
    ck_assert_uint_eq(delivered, 4);
    mailbox_turn_free(&w);
    ck_assert_int_le(open_fds(), fds);
    ck_assert_int_eq(count(read_file(path_of("joe")), "From s@x"), 4);
}
END_TEST

/* More mailboxes than descriptors for them. */
START_TEST(many_mailboxes)
{
    const struct fs_ops ops = system_on(disks[_i]);
    enum { N = 60 };
    static struct mailbox_request r[N];
    static char key[N][16];
    struct mailbox_work *w = open_work(CONF_MAILDIR);

    w->most_boxes = 7;
    w->most_open = 5;
    delivered = 0;
    fs_replace(&ops);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < N; i++) {
            snprintf(key[i], sizeof key[i], "u%d", i);
            r[i] = request(key[i], "hi\r\n");
        }
        mailbox_turn_run(w, r, N, count_delivered, NULL);
        ck_assert_uint_le(w->nboxes, 7);
    }
    ck_assert_uint_eq(delivered, 2 * N);
    ck_assert_int_eq(entries(path_of("u0/new")), 2);
    mailbox_turn_free(&w);
}
END_TEST

/* --- drafts without names -------------------------------------------------- */

static int refusal, refusals;

static int refuse_unnamed(int at, mode_t mode)
{
    (void)at;
    (void)mode;
    refusals++;
    errno = refusal;
    return -1;
}

static int refuse_name(int fd, int at, const char *name)
{
    (void)fd;
    (void)at;
    (void)name;
    refusals++;
    errno = refusal;
    return -1;
}

static const int not_supported[] = { EOPNOTSUPP, EISDIR, EINVAL, ENOSYS };

/* An old kernel: the file has a name then, and it is not asked again. */
START_TEST(no_files_without_names)
{
    struct fs_ops ops = system_on(EXT4);
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r[] = { request("joe", "hi\r\n"),
                                   request("joe", "hi\r\n") };

    refusal = not_supported[_i];
    refusals = 0;
    ops.unnamed = refuse_unnamed;
    fs_replace(&ops);
    delivered = 0;
    mailbox_turn_run(w, r, 2, count_delivered, NULL);
    ck_assert_uint_eq(delivered, 2);
    ck_assert_int_eq(refusals, 1);
    ck_assert_int_eq(entries(path_of("joe/new")), 2);
    mailbox_turn_free(&w);
}
END_TEST

/* Without /proc no name can be given: the copy waits, the next has one from
 * the start. */
START_TEST(no_name_can_be_given)
{
    struct fs_ops ops = system_on(EXT4);
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", "hi\r\n");
    int before = open_fds();

    refusal = ENOENT;
    refusals = 0;
    ops.name = refuse_name;
    fs_replace(&ops);
    struct mailbox_answer a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DEFERRED && is(&a, "4.3.0"), "%s",
                  a.why);
    a = run_one(w, &r);
    ck_assert_msg(a.outcome == MAILBOX_DELIVERED, "%s", a.why);
    ck_assert_int_eq(refusals, 1);
    ck_assert_int_eq(entries(path_of("joe/new")), 1);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 0);
    mailbox_turn_free(&w);
    ck_assert_int_le(open_fds(), before);
}
END_TEST

START_TEST(sweep_of_tmp)
{
    struct timespec t[2] = { { time(NULL) - 40 * 3600, 0 },
                             { time(NULL) - 40 * 3600, 0 } };

    ck_assert(try(CONF_MAILDIR, "joe").outcome == MAILBOX_DELIVERED);
    plant_file("joe/tmp/old");
    plant_file("joe/tmp/young");
    ck_assert(utimensat(AT_FDCWD, path_of("joe/tmp/old"), t, 0) == 0);
    ck_assert(try(CONF_MAILDIR, "joe").outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("joe/tmp")), 1);
    ck_assert(access(path_of("joe/tmp/young"), F_OK) == 0);
}
END_TEST

START_TEST(mail_dir_is_made)
{
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s/a/below",
             dir);
    ck_assert(try(kinds[_i], "joe").outcome == MAILBOX_DELIVERED);
    ck_assert_int_eq(entries(path_of("a/below")), 1);
}
END_TEST

/* --- the order of system calls, and their failure ---------------------- ---*/

/* Every call that goes through base/fs.h is noted as a letter; the one with
 * number fail_at fails, and all after it when `sticky`. */
static char calls[4096];
static int ncalls, fail_at, fail_with;
static bool sticky;

static bool fails(char letter)
{
    if (ncalls < (int)sizeof calls - 1)
        calls[ncalls] = letter;
    calls[++ncalls] = '\0';
    if (fail_at == 0 || ncalls < fail_at || (ncalls > fail_at && !sticky))
        return false;
    errno = fail_with;
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

static int s_unnamed(int at, mode_t mode)
{
    return fails('x') ? -1 : fs_system.unnamed(at, mode);
}

static int s_name(int fd, int at, const char *name)
{
    return fails('a') ? -1 : fs_system.name(fd, at, name);
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
    errno = fail_with;
    return -1;
}

static ssize_t s_write(int fd, const void *p, size_t n)
{
    if (!fails('w'))
        return fs_system.write(fd, p, n);
    if (fs_system.write(fd, p, n / 2) >= 0)
        errno = fail_with;
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

static int s_rename_new(int from_dir, const char *from, int to_dir,
                        const char *to)
{
    return fails('n') ? -1 : fs_system.rename_new(from_dir, from, to_dir, to);
}

static int s_mkdir(const char *path, mode_t mode)
{
    return fails('m') ? -1 : fs_system.mkdir(path, mode);
}

static int s_mkdirat(int at, const char *name, mode_t mode)
{
    return fails('m') ? -1 : fs_system.mkdirat(at, name, mode);
}

static int s_lock(int fd, int operation)
{
    return fails('l') ? -1 : fs_system.lock(fd, operation);
}

static const struct fs_ops saboteur = {
    .open = s_open,
    .openat = s_openat,
    .unnamed = s_unnamed,
    .name = s_name,
    .close = s_close,
    .pwritev = s_pwritev,
    .write = s_write,
    .pread = s_pread,
    .truncate = s_truncate,
    .fsync = s_fsync,
    .syncfs = s_syncfs,
    .rename_new = s_rename_new,
    .unlinkat = s_unlinkat,
    .mkdir = s_mkdir,
    .mkdirat = s_mkdirat,
    .lock = s_lock,
    .magic = magic_of_disk,
};

static void watch(int fail, bool go_on)
{
    ncalls = 0;
    calls[0] = '\0';
    fail_at = fail;
    fail_with = ENOSPC;
    sticky = go_on;
    fs_replace(&saboteur);
}

static const char *const users[] = { "joe", "ann", "bob" };

/* The cost and the order of the steps, of a mailbox that is known: a change
 * here is a change of docs/mailbox.md. */
static const struct {
    const char *name;
    int kind, copies, boxes;
    const char *calls;
    bool link; /* mail_dir is one */
    bool named;
} orders[] = {
    { "Maildir", CONF_MAILDIR, 1, 1, "xrwsacs", false, false },
    { "with a name", CONF_MAILDIR, 1, 1, "orwscns", false, true },
    { "mail_dir is a link", CONF_MAILDIR, 1, 1, "xrwsacs", true, false },
    { "three", CONF_MAILDIR, 3, 1, "xrwxrwxrwSacacacs", false, false },
    { "three with a name", CONF_MAILDIR, 3, 1, "orworworwScccnnns", false,
      true },
    { "Maildirs", CONF_MAILDIR, 3, 3, "xrwxrwxrwSacacacS", false, false },
    { "mbox", CONF_MBOX, 1, 1, "olwnorrwscuc", false, false },
    { "mbox, three", CONF_MBOX, 3, 1, "olwnorrwrwrwscuc", false, false },
};

START_TEST(order_of_calls)
{
    size_t first = 0;

    if (orders[_i].link) {
        ck_assert(mkdir(path_of("real"), 0755) == 0 &&
                  symlink(path_of("real"), path_of("link")) == 0);
        snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "%s/link",
                 dir);
    }
    struct mailbox_work *w = open_work(orders[_i].kind);

    disk = orders[_i].named ? OVERLAY : EXT4;
    for (int turn = 0; turn < 3; turn++) {
        struct mailbox_request r[3];
        for (int i = 0; i < orders[_i].copies; i++)
            r[i] = request(users[i % orders[_i].boxes], "hi\r\n");
        watch(0, false);
        delivered = 0;
        mailbox_turn_run(w, r, (size_t)orders[_i].copies, count_delivered,
                         NULL);
        fs_replace(NULL);
        ck_assert_int_eq((int)delivered, orders[_i].copies);
        if (turn == 0)
            first = strlen(calls);
        /* The first time the new mailbox itself is synced as well. */
        ck_assert_msg(turn == 0 ? first > strlen(orders[_i].calls)
                                : strcmp(calls, orders[_i].calls) == 0,
                      "%s: %s", orders[_i].name, calls);
    }
    mailbox_turn_free(&w);
}
END_TEST

/* Where a turn follows, the sync of its drafts is that of the renames too. */
START_TEST(order_of_calls_of_two_turns)
{
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r[9];

    for (int i = 0; i < 9; i++) {
        r[i] = request(users[i % 3], "hi\r\n");
        r[i].slot = (uint16_t)i;
    }
    watch(0, false);
    mailbox_turn_run(w, r, 3, count_delivered, NULL);
    watch(0, false);
    delivered = 0;
    mailbox_turn_run_on(w, r + 3, 3, count_delivered, NULL);
    ck_assert_uint_eq(delivered, 0);
    mailbox_turn_run_on(w, r + 6, 3, count_delivered, NULL);
    ck_assert_uint_eq(delivered, 3);
    mailbox_turn_run(w, NULL, 0, count_delivered, NULL);
    fs_replace(NULL);
    ck_assert_uint_eq(delivered, 6);
    ck_assert_str_eq(calls, "xrwxrwxrwSacacac"
                            "xrwxrwxrwSacacac"
                            "S");
    mailbox_turn_free(&w);
}
END_TEST

/* One turn with a message for each of the first n; the syncs in `calls`. */
static size_t syncs_of_turn(struct mailbox_work *w, size_t n)
{
    struct mailbox_request r[3];
    size_t syncs = 0;

    for (size_t i = 0; i < n; i++)
        r[i] = request(users[i], "hi\r\n");
    delivered = 0;
    watch(0, false);
    mailbox_turn_run(w, r, n, count_delivered, NULL);
    fs_replace(NULL);
    ck_assert_uint_eq(delivered, n);
    for (const char *p = calls; *p != '\0'; p++)
        syncs += *p == 's' || *p == 'S';
    return syncs;
}

/* Another program puts another mailbox where ours was. */
static void remake_box(int kind)
{
    static const char *const parts[] = { "joe", "joe/tmp", "joe/cur",
                                         "joe/new" };

    ck_assert_int_eq(rename(path_of("joe"), path_of("old")), 0);
    if (kind == CONF_MBOX)
        ck_assert_int_eq(
            close(open(path_of("joe"), O_WRONLY | O_CREAT | O_EXCL, 0600)), 0);
    else
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            ck_assert_int_eq(mkdir(path_of(parts[i]), 0700), 0);
}

static void remake_dir(int kind)
{
    char aside[sizeof dir + 4];

    (void)kind;
    snprintf(aside, sizeof aside, "%s.old", dir);
    ck_assert_int_eq(rename(dir, aside), 0);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(rename(aside, path_of("old")), 0);
}

/* ... and puts the same mailboxes there. */
static void move_boxes(int kind)
{
    remake_dir(kind);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        char old[16];
        snprintf(old, sizeof old, "old/%s", users[i]);
        ck_assert_int_eq(rename(path_of(old), path_of(users[i])), 0);
    }
}

/* What was made durable is another thing now, and is synced as at first. */
static const struct {
    const char *name;
    int kind;
    size_t boxes;
    void (*remake)(int kind);
} remakes[] = {
    { "Maildir", CONF_MAILDIR, 1, remake_box },
    { "mbox", CONF_MBOX, 1, remake_box },
    { "mail_dir of Maildirs", CONF_MAILDIR, 1, remake_dir },
    { "mail_dir of mboxes", CONF_MBOX, 1, remake_dir },
    { "mail_dir, syncfs", CONF_MAILDIR, 3, remake_dir },
    { "mailboxes moved, syncfs", CONF_MAILDIR, 3, move_boxes },
};

START_TEST(remade_by_others)
{
    struct mailbox_work *w = open_work(remakes[_i].kind);
    size_t syncs[4];

    for (int turn = 0; turn < 4; turn++) {
        if (turn == 2)
            remakes[_i].remake(remakes[_i].kind);
        syncs[turn] = syncs_of_turn(w, remakes[_i].boxes);
    }
    ck_assert_msg(syncs[1] < syncs[0] && syncs[3] == syncs[1], "%s",
                  remakes[_i].name);
    ck_assert_msg(syncs[2] > syncs[1] && syncs[2] <= syncs[0], "%s: %zu",
                  remakes[_i].name, syncs[2]);
    mailbox_turn_free(&w);
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

/* Where a sync of the whole file system takes long, fails or does not exist,
 * the next turns sync their files one by one. */
static const struct {
    const char *name;
    int (*syncfs)(int fd);
    const char *calls, *later; /* in the turns after the first */
    bool named;
} unwelcome[] = {
    { "slow", syncfs_slow, "xrwxrwxrwSacacacs", "xrwxrwxrwsssacacacs", false },
    { "missing", syncfs_missing, "xrwxrwxrwSsssacacacs", "xrwxrwxrwsssacacacs",
      false },
    { "slow, named", syncfs_slow, "orworworwScccnnns", "orworworwscscscnnns",
      true },
    { "missing, named", syncfs_missing, "orworworwSscscscnnns",
      "orworworwscscscnnns", true },
};

START_TEST(syncfs_is_left_alone)
{
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct fs_ops ops = saboteur;

    disk = unwelcome[_i].named ? OVERLAY : EXT4;
    ops.syncfs = unwelcome[_i].syncfs;
    syncs_of_turn(w, 1); /* the mailbox is known */
    for (int turn = 0; turn < 3; turn++) {
        struct mailbox_request r[3];
        for (int i = 0; i < 3; i++)
            r[i] = request("joe", "hi\r\n");
        watch(0, false);
        fs_replace(&ops);
        delivered = 0;
        mailbox_turn_run(w, r, 3, count_delivered, NULL);
        fs_replace(NULL);
        ck_assert_uint_eq(delivered, 3);
        ck_assert_msg(strcmp(calls, turn == 0 ? unwelcome[_i].calls
                                              : unwelcome[_i].later) == 0,
                      "%s, turn %d: %s", unwelcome[_i].name, turn, calls);
    }
    mailbox_turn_free(&w);
}
END_TEST

/* --- what a failure means ------------------------------------------------- */

static const struct {
    int why, kind;
    const char *status;
    enum mailbox_outcome outcome;
    bool disk_full, over_quota;
} faults[] = {
    { ENOSPC, CONF_MAILDIR, "4.3.1", MAILBOX_DEFERRED, true, false },
    { EDQUOT, CONF_MAILDIR, "4.2.2", MAILBOX_DEFERRED, false, true },
    { EFBIG, CONF_MAILDIR, "5.2.3", MAILBOX_FAILED, false, false },
    { EIO, CONF_MAILDIR, "4.3.0", MAILBOX_DEFERRED, false, false },
    { EROFS, CONF_MAILDIR, "4.3.5", MAILBOX_ADMIN, false, false },
    { EBADMSG, CONF_MAILDIR, "4.3.0", MAILBOX_DEFERRED, false, false },
    { ENOSPC, CONF_MBOX, "4.3.1", MAILBOX_DEFERRED, true, false },
    { EDQUOT, CONF_MBOX, "4.2.2", MAILBOX_DEFERRED, false, true },
    { EFBIG, CONF_MBOX, "4.2.2", MAILBOX_DEFERRED, false, true },
};

START_TEST(meaning_of_a_failure)
{
    struct mailbox_work *w = open_work(faults[_i].kind);
    struct mailbox_request r = request("joe", "hi\r\n");

    syncs_of_turn(w, 1);
    watch(faults[_i].kind == CONF_MBOX ? 8 : 3, false); /* the write */
    fail_with = faults[_i].why;
    struct mailbox_answer a = run_one(w, &r);
    fs_replace(NULL);
    ck_assert_int_eq(calls[fail_at - 1], 'w');
    ck_assert_msg(a.outcome == faults[_i].outcome && is(&a, faults[_i].status),
                  "%s", a.why);
    ck_assert(a.disk_full == faults[_i].disk_full &&
              a.over_quota == faults[_i].over_quota && !a.damaged);
    ck_assert_msg(strstr(a.why, strerror(faults[_i].why)) != NULL, "%s", a.why);
    ck_assert(strchr(a.text, '/') == NULL);
    mailbox_turn_free(&w);
}
END_TEST

/* Or one user could stop all mail by filling a disk. */
START_TEST(full_home_is_one_mailbox)
{
    if (!as_root(0755, 0))
        return;
    snprintf(conf.local.mail_dir, sizeof conf.local.mail_dir, "~/Maildir");
    struct mailbox_work *w = open_work(CONF_MAILDIR);
    struct mailbox_request r = request("joe", "hi\r\n");

    watch(1, true);
    struct mailbox_answer a = run_one(w, &r);
    fs_replace(NULL);
    ck_assert_msg(a.outcome == MAILBOX_DEFERRED && is(&a, "4.2.2"), "%s",
                  a.why);
    ck_assert(a.over_quota && !a.disk_full);
    mailbox_turn_free(&w);
}
END_TEST

/* What is in the mailboxes, by a word of each message. */
static int seen[8], strays;

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
        char word[24];
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
enum { MESSAGES = 5 };

static const struct {
    int kind;
    size_t before; /* messages in a turn before */
    unsigned long disk;
} plays[] = { { CONF_MAILDIR, 0, EXT4 },    { CONF_MBOX, 0, EXT4 },
              { CONF_MAILDIR, 2, EXT4 },    { CONF_MAILDIR, 3, EXT4 },
              { CONF_MBOX, 2, EXT4 },       { CONF_MAILDIR, 0, OVERLAY },
              { CONF_MAILDIR, 2, OVERLAY }, { CONF_MAILDIR, 3, OVERLAY } };

static void note(void *ctx, const struct mailbox_answer *a)
{
    ((bool *)ctx)[a->tag] = a->outcome == MAILBOX_DELIVERED;
    delivered++;
}

static struct mailbox_request five[MESSAGES];

static void write_five(void)
{
    for (int i = 0; i < MESSAGES; i++) {
        char text[64];
        snprintf(text, sizeof text, "Subject: x\r\n\r\nmessage-%d\r\n", i);
        five[i] = request(owners[i], text);
        five[i].tag = (uint64_t)i;
    }
}

/* Five messages in one turn, or the first of them in a turn before.  True: that
 * one is in its mailbox. */
static void play_turn(struct mailbox_work *w, size_t before,
                      bool stored[MESSAGES])
{
    memset(stored, 0, MESSAGES * sizeof *stored);
    delivered = 0;
    if (before > 0)
        mailbox_turn_run_on(w, five, before, note, stored);
    mailbox_turn_run(w, five + before, MESSAGES - before, note, stored);
    ck_assert_uint_eq(delivered, MESSAGES);
}

static void seed(int kind, unsigned long magic)
{
    tear_down();
    set_up();
    disk = magic;
    write_five();
    if (kind != CONF_MBOX)
        return;
    FILE *f = fopen(path_of("joe"), "w");
    fputs("From old\n\nmessage-7\n\n", f);
    fclose(f);
}

static void expect(const bool stored[MESSAGES], int kind, int at)
{
    look_at_mail();
    for (int i = 0; i < MESSAGES; i++)
        ck_assert_msg(seen[i] == stored[i],
                      "call %d (%s): message %d is %sstored, seen %d", at,
                      calls, i, stored[i] ? "" : "not ", seen[i]);
    ck_assert_msg(seen[7] == (kind == CONF_MBOX), "call %d: old mail", at);
    ck_assert_msg(strays == 0, "call %d (%s): %d strays", at, calls, strays);
}

/* Under valgrind each third call is enough: the calls are of few kinds. */
static int stride(void)
{
    return getenv("TEST_VALGRIND") != NULL ? 3 : 1;
}

START_TEST(any_call_fails_once)
{
    int kind = plays[_i].kind, at = 1;

    for (bool done = false; !done; at += stride()) {
        bool stored[MESSAGES];
        seed(kind, plays[_i].disk);
        int before = open_fds();
        struct mailbox_work *w = open_work(kind);
        watch(at, false);
        play_turn(w, plays[_i].before, stored);
        done = ncalls < at;
        fs_replace(NULL);
        expect(stored, kind, at);
        for (int i = 0; i < MESSAGES; i++)
            ck_assert_msg(!done || stored[i], "nothing failed but %d", i);
        mailbox_turn_free(&w);
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

/* Nothing works any more from some call on: what was reported as delivered is
 * there, and when the disk is back so is delivery, without a second copy in a
 * Maildir. */
START_TEST(all_calls_fail_from_one_on)
{
    int kind = plays[_i].kind;
    bool done = false;

    for (int at = 1; !done; at += stride()) {
        bool stored[MESSAGES], again[MESSAGES];
        seed(kind, plays[_i].disk);
        int before = open_fds();
        struct mailbox_work *w = open_work(kind);
        watch(at, true);
        play_turn(w, plays[_i].before, stored);
        done = ncalls < at;
        fs_replace(NULL);
        look_at_mail();
        for (int i = 0; i < MESSAGES; i++)
            ck_assert_msg(!stored[i] || seen[i] == 1, "call %d: lost %d", at,
                          i);
        drop_torn_locks();
        for (int i = 0; i < MESSAGES; i++)
            five[i].look_first = true;
        play_turn(w, 0, again);
        look_at_mail();
        for (int i = 0; i < MESSAGES; i++) {
            ck_assert_msg(again[i], "call %d: %d for good", at, i);
            ck_assert_msg(kind == CONF_MBOX || seen[i] == 1, "call %d: %d", at,
                          seen[i]);
        }
        mailbox_turn_free(&w);
        ck_assert_int_eq(open_fds(), before);
    }
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *mailbox_work_suite(void);
Suite *mailbox_work_suite(void)
{
    Suite *s = suite_create("mailbox.work");
    TCase *t = tcase_create("work");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, maildir_content, 0, COUNT(contents));
    tcase_add_loop_test(t, mbox_content, 0, COUNT(contents));
    tcase_add_loop_test(t, damaged_body, 0, 2);
    tcase_add_loop_test(t, large_body, 0, 2);
    tcase_add_loop_test(t, no_copy_twice, 0, COUNT(agains));
    tcase_add_test(t, mbox_is_answered_before_the_next);
    tcase_add_loop_test(t, no_copy_without_a_look, 0, COUNT(unseen));
    tcase_add_test(t, no_copy_twice_by_plain_rename);
    tcase_add_loop_test(t, keys, 0, COUNT(key_cases));
    tcase_add_test(t, mailbox_of_a_domain);
    tcase_add_test(t, what_is_there_decides);
    tcase_add_test(t, kind_changes);
    tcase_add_loop_test(t, planted, 0, COUNT(plants));
    tcase_add_loop_test(t, as_their_users, 0, COUNT(mail_dirs));
    tcase_add_loop_test(t, users_of_the_system, 0, COUNT(users_cases));
    tcase_add_test(t, postmaster_without_root);
    tcase_add_test(t, below_the_home);
    tcase_add_test(t, full_home_is_one_mailbox);
    tcase_add_test(t, of_another_owner);
    tcase_add_test(t, root_in_between_writes_nowhere_else);
    tcase_add_loop_test(t, dotlocks, 0, COUNT(lock_cases));
    tcase_add_test(t, a_lock_is_never_empty);
    tcase_add_test(t, lock_for_too_long);
    tcase_add_test(t, few_wait_for_locks);
    tcase_add_test(t, locked_by_fcntl);
    tcase_add_loop_test(t, mbox_after_a_torn_end, 0, COUNT(tails));
    tcase_add_loop_test(t, mbox_from_line, 0, COUNT(senders));
    tcase_add_loop_test(t, many_copies, 0, 2);
    tcase_add_loop_test(t, removed_between_copies, 0, COUNT(disks));
    tcase_add_loop_test(t, many_mailboxes, 0, COUNT(disks));
    tcase_add_loop_test(t, no_files_without_names, 0, COUNT(not_supported));
    tcase_add_test(t, no_name_can_be_given);
    tcase_add_test(t, sweep_of_tmp);
    tcase_add_loop_test(t, mail_dir_is_made, 0, 2);
    tcase_add_loop_test(t, order_of_calls, 0, COUNT(orders));
    tcase_add_test(t, order_of_calls_of_two_turns);
    tcase_add_loop_test(t, remade_by_others, 0, COUNT(remakes));
    tcase_add_loop_test(t, syncfs_is_left_alone, 0, COUNT(unwelcome));
    tcase_add_loop_test(t, meaning_of_a_failure, 0, COUNT(faults));
    tcase_add_loop_test(t, any_call_fails_once, 0, COUNT(plays));
    tcase_add_loop_test(t, all_calls_fail_from_one_on, 0, COUNT(plays));
    suite_add_tcase(s, t);
    return s;
}
