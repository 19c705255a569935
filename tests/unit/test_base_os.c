/* test_base_os.c - processes, descriptors and privileges. */
#include "base/os.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const char *dir, *name;
    size_t size;
    const char *out; /* NULL: does not fit */
} paths[] = {
    { "/a", "b", 5, "/a/b" }, { "/a", "b", 4, NULL },
    { "/a", "", 3, "/a" },    { "/a", "", 2, NULL },
    { "", "b", 8, "/b" },     { ".", "b/c", 8, "./b/c" },
    { "", "", 1, "" },        { "/a", "b", 0, NULL },
};

START_TEST(path)
{
    char out[10] = "#########";
    bool ok = os_path(out, paths[_i].size, paths[_i].dir, paths[_i].name);

    ck_assert_msg(ok == (paths[_i].out != NULL), "%s + %s in %zu",
                  paths[_i].dir, paths[_i].name, paths[_i].size);
    if (ok)
        ck_assert_str_eq(out, paths[_i].out);
    ck_assert_int_eq(out[paths[_i].size], '#');
}
END_TEST

/* Below a fresh directory, where "file" is a file and "there" a directory. */
static const struct {
    const char *name;
    int sys; /* 0: is made */
} trees[] = {
    { "one", 0 },           { "a/b/c/d", 0 },
    { "there", 0 },         { "there/x", 0 },
    { "slash/at/end/", 0 }, { "two//slashes", 0 },
    { "dots/../up/x", 0 },  { "file", EEXIST },
    { "file/x", ENOTDIR },  { "file/x/y", ENOTDIR },
};

static void remove_tree(const char *dir)
{
    char at[300];
    static const char *const made[] = {
        "one",         "a/b/c/d", "a/b/c",        "a/b",      "a",
        "there/x",     "there",   "slash/at/end", "slash/at", "slash",
        "two/slashes", "two",     "dots",         "up/x",     "up"
    };

    for (size_t i = 0; i < COUNT(made); i++) {
        snprintf(at, sizeof at, "%s/%s", dir, made[i]);
        rmdir(at);
    }
    snprintf(at, sizeof at, "%s/file", dir);
    unlink(at);
    ck_assert_msg(rmdir(dir) == 0, "something is left below %s", dir);
}

START_TEST(mkdirs)
{
    char dir[] = "/tmp/mta-os-XXXXXX", at[300];
    struct err e = { ERR_NONE, 0, "" };
    struct stat st;

    ck_assert(mkdtemp(dir) != NULL);
    snprintf(at, sizeof at, "%s/file", dir);
    close(open(at, O_CREAT | O_WRONLY, 0600));
    snprintf(at, sizeof at, "%s/there", dir);
    ck_assert_int_eq(mkdir(at, 0755), 0);
    snprintf(at, sizeof at, "%s/%s", dir, trees[_i].name);
    for (int round = 0; round < 2; round++) { /* the second finds it there */
        int rc = os_mkdirs(at, 0700, &e);
        ck_assert_msg(rc == (trees[_i].sys == 0 ? 0 : -1), "%s: %s",
                      trees[_i].name, e.text);
        ck_assert_msg(e.sys == trees[_i].sys, "%s: %s", trees[_i].name, e.text);
        if (rc == 0)
            ck_assert(stat(at, &st) == 0 && S_ISDIR(st.st_mode));
    }
    snprintf(at, sizeof at, "%s/there", dir); /* left alone */
    ck_assert(stat(at, &st) == 0 && (st.st_mode & 0777) == 0755);
    remove_tree(dir);
}
END_TEST

START_TEST(mkdirs_too_long)
{
    static char name[5000];
    struct err e;

    memset(name, 'x', sizeof name - 1);
    ck_assert_int_eq(os_mkdirs(name, 0700, &e), -1);
    ck_assert_int_eq(e.sys, ENAMETOOLONG);
    ck_assert_int_eq(os_mkdirs("", 0700, &e), -1);
    ck_assert_int_eq(e.sys, ENOENT);
}
END_TEST

START_TEST(descriptors)
{
    int end[2], plain[2];
    char c;

    ck_assert_int_eq(os_pipe(end), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(fcntl(end[i], F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(end[i], F_GETFD) & FD_CLOEXEC);
    }
    ck_assert_int_eq(read(end[0], &c, 1), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(pipe(plain), 0);
    ck_assert_int_eq(os_nonblock(plain[0]), 0);
    ck_assert_int_eq(os_cloexec(plain[1]), 0);
    ck_assert(fcntl(plain[0], F_GETFL) & O_NONBLOCK);
    ck_assert(!(fcntl(plain[0], F_GETFD) & FD_CLOEXEC));
    ck_assert(!(fcntl(plain[1], F_GETFL) & O_NONBLOCK));
    ck_assert(fcntl(plain[1], F_GETFD) & FD_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        close(end[i]);
        close(plain[i]);
    }
    ck_assert_int_eq(os_nonblock(-1), -1);
    ck_assert_int_eq(os_cloexec(-1), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

/* --- in a process of its own: limits, users ------------------------------ */

static int in_child(int (*work)(void))
{
    int status = -1;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(work());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Only the soft limit: valgrind lets nobody lower the hard one. */
static int soft_limit(rlim_t n, rlim_t *hard)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return -1;
    *hard = lim.rlim_max;
    lim.rlim_cur = n;
    return setrlimit(RLIMIT_NOFILE, &lim);
}

static int raise_limit(void)
{
    struct rlimit lim;
    rlim_t hard;

    if (soft_limit(20, &hard) != 0)
        return 1;
    if (os_want_fds(10) != 20) /* never less */
        return 2;
    if (os_want_fds(30) != 30 || getrlimit(RLIMIT_NOFILE, &lim) != 0 ||
        lim.rlim_cur != 30 || lim.rlim_max != hard)
        return 3;
    if (os_want_fds((size_t)hard + 1) != hard) /* as far as it goes */
        return 4;
    return 0;
}

static int no_descriptors(void)
{
    rlim_t hard;
    int end[2];

    if (soft_limit(3, &hard) != 0)
        return 1;
    return os_pipe(end) == -1 && errno == EMFILE ? 0 : 2;
}

enum { STRANGER = 54321, STRANGE_GROUP = 54322 };

/* After the drop: these ids, no other group, and no way back. */
static int is_only(uid_t uid, gid_t gid)
{
    gid_t groups[64];
    int n = getgroups(64, groups);

    if (getuid() != uid || geteuid() != uid || getgid() != gid ||
        getegid() != gid)
        return 11;
    for (int i = 0; i < n; i++)
        if (groups[i] == 0)
            return 12;
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return 13;
    return 0;
}

static int drop_by_number(void)
{
    struct err e;
    gid_t root = 0;

    setgroups(1, &root);
    if (os_drop_privileges("54321", "", &e) != 0)
        return 1;
    return is_only(STRANGER, STRANGER);
}

static int drop_with_group(void)
{
    struct err e;
    gid_t root = 0;

    setgroups(1, &root);
    if (os_drop_privileges("54321", "54322", &e) != 0)
        return 1;
    if (os_drop_privileges("54321", "54322", &e) != 0)
        return 2; /* being that user already is success */
    if (os_drop_privileges("54323", NULL, &e) != -1 || e.kind != ERR_PERM)
        return 3;
    return is_only(STRANGER, STRANGE_GROUP);
}

static int drop_only_user(void)
{
    struct err e;
    gid_t groups[2] = { 0, 7 };

    /* the group is right already; supplementary ones must go all the same */
    if (setgroups(2, groups) != 0 || setgid(STRANGER) != 0)
        return 1;
    if (os_drop_privileges("54321", NULL, &e) != 0)
        return 2;
    return is_only(STRANGER, STRANGER);
}

static int drop_nothing(void)
{
    struct err e;
    uid_t uid = getuid();

    return os_drop_privileges("", NULL, &e) == 0 &&
                   os_drop_privileges(NULL, "", &e) == 0 && getuid() == uid
               ? 0
               : 1;
}

static int drop_to_nobody_known(void)
{
    struct err e;
    uid_t uid = getuid();

    if (os_drop_privileges("mta-no-such-user", NULL, &e) != -1 ||
        e.kind != ERR_USAGE)
        return 1;
    if (os_drop_privileges(NULL, "mta-no-such-group", &e) != -1 ||
        e.kind != ERR_USAGE)
        return 2;
    return getuid() == uid ? 0 : 3;
}

static bool has_groups(const gid_t *want, int n)
{
    gid_t groups[64];

    return getgroups(64, groups) == n &&
           memcmp(groups, want, (size_t)n * sizeof *want) == 0;
}

static int act_and_return(void)
{
    struct err e;
    gid_t before[2] = { 7, 9 }, only = STRANGE_GROUP;
    int signo = 0;

    if (setgroups(2, before) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        if (os_act_as(STRANGER, STRANGE_GROUP, &e) != 0 ||
            geteuid() != STRANGER || getegid() != STRANGE_GROUP ||
            !has_groups(&only, 1))
            return 2;
        if (getuid() != 0 || getgid() != 0)
            return 3;
        if (os_act_as(0, 0, &e) != 0 || geteuid() != STRANGER)
            return 4; /* only root can act as another user */
        if (os_act_as_started(&e) != 0 || geteuid() != 0 || getegid() != 0 ||
            !has_groups(before, 2))
            return 5;
    }
    if (prctl(PR_GET_PDEATHSIG, &signo) != 0 || signo != SIGTERM)
        return 6;
    return os_act_as((uid_t)-1, (gid_t)-1, &e) == 0 && geteuid() == 0 &&
                   has_groups(before, 2) && os_act_as_started(&e) == 0
               ? 0
               : 7;
}

static int keep_only(void)
{
    int end[2];

    if (os_pipe(end) != 0 || dup(end[0]) < 0)
        return 1;
    os_keep_only(end[1]);
    for (int fd = 0; fd < 100; fd++)
        if (fd > STDERR_FILENO && (fcntl(fd, F_GETFD) >= 0) != (fd == end[1]))
            return 2;
    return fcntl(STDERR_FILENO, F_GETFD) >= 0 ? 0 : 3;
}

static const struct {
    const char *name;
    int (*work)(void);
    bool needs_root;
} children[] = {
    { "limit of descriptors", raise_limit, false },
    { "no descriptor left", no_descriptors, false },
    { "keep one descriptor", keep_only, false },
    { "act as a user", act_and_return, true },
    { "drop: nothing asked", drop_nothing, false },
    { "drop: unknown names", drop_to_nobody_known, false },
    { "drop: by number", drop_by_number, true },
    { "drop: user and group", drop_with_group, true },
    { "drop: group as before", drop_only_user, true },
};

START_TEST(in_a_child)
{
    if (children[_i].needs_root && geteuid() != 0)
        return; /* nothing to drop */
    int rc = in_child(children[_i].work);
    ck_assert_msg(rc == 0, "%s: step %d", children[_i].name, rc);
}
END_TEST

static const uid_t NO_UID = (uid_t)-1;
static const gid_t NO_GID = (gid_t)-1;

START_TEST(find_ids)
{
    struct err e;
    uid_t uid;
    gid_t gid;

    ck_assert_int_eq(os_find_ids("root", NULL, &uid, &gid, &e), 0);
    ck_assert(uid == 0 && gid == 0);
    ck_assert_int_eq(os_find_ids("0", "", &uid, &gid, &e), 0);
    ck_assert(uid == 0 && gid == 0);
    ck_assert_int_eq(os_find_ids("", "54321", &uid, &gid, &e), 0);
    ck_assert(uid == NO_UID && gid == 54321);
    ck_assert_int_eq(os_find_ids("54321", "root", &uid, &gid, &e), 0);
    ck_assert(uid == 54321 && gid == 0);
    ck_assert_int_eq(os_find_ids(NULL, NULL, &uid, &gid, &e), 0);
    ck_assert(uid == NO_UID && gid == NO_GID);
    /* the number that means "none", and beyond */
    ck_assert_int_eq(os_find_ids("4294967295", NULL, &uid, &gid, &e), -1);
    ck_assert_int_eq(os_find_ids(NULL, "4294967296", &uid, &gid, &e), -1);
    ck_assert_int_eq(os_find_ids("-1", NULL, &uid, &gid, &e), -1);
    ck_assert_int_eq(e.kind, ERR_USAGE);
}
END_TEST

/* --- signals and names ---------------------------------------------------- */

static volatile sig_atomic_t seen;

static void note(int signo)
{
    seen = signo;
}

/* Without SA_RESTART a wait ends when the signal comes. */
START_TEST(signals)
{
    struct sigaction was;
    int end[2];
    char c;

    ck_assert_int_eq(sigaction(SIGALRM, NULL, &was), 0);
    ck_assert_int_eq(pipe(end), 0);
    os_signal(SIGALRM, note);
    seen = 0;
    ualarm(1000, 1000);
    ck_assert_int_eq(read(end[0], &c, 1), -1);
    ck_assert_int_eq(errno, EINTR);
    ualarm(0, 0);
    ck_assert_int_eq(seen, SIGALRM);
    os_signal(SIGALRM, SIG_IGN);
    seen = 0;
    raise(SIGALRM);
    ck_assert_int_eq(seen, 0);
    sigaction(SIGALRM, &was, NULL);
    close(end[0]);
    close(end[1]);
}
END_TEST

START_TEST(hostname)
{
    char name[256] = "", small[3] = "##";

    os_hostname(name, sizeof name);
    ck_assert_uint_gt(strlen(name), 0);
    ck_assert_uint_eq(strcspn(name, " \t\r\n"), strlen(name));
    os_hostname(small, sizeof small);
    ck_assert_uint_lt(strlen(small), sizeof small);
    ck_assert(strncmp(small, name, strlen(small)) == 0);
}
END_TEST

Suite *base_os_suite(void);
Suite *base_os_suite(void)
{
    Suite *s = suite_create("base.os");
    TCase *t = tcase_create("os");

    tcase_add_loop_test(t, path, 0, COUNT(paths));
    tcase_add_loop_test(t, mkdirs, 0, COUNT(trees));
    tcase_add_test(t, mkdirs_too_long);
    tcase_add_test(t, descriptors);
    tcase_add_loop_test(t, in_a_child, 0, COUNT(children));
    tcase_add_test(t, find_ids);
    tcase_add_test(t, signals);
    tcase_add_test(t, hostname);
    suite_add_tcase(s, t);
    return s;
}
