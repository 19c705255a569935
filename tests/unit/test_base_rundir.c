/* test_base_rundir.c - links planted at every step of the way, files in place
 * of directories, foreign owners: refused, and given to nobody. */
#include "base/rundir.h"

#include "base/fs.h"
#include "spool_kit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OTHER = 12345, THIRD = 23456 };

static char dir[] = "/tmp/mta-rundir-XXXXXX";
static struct rundir top, sub;
static struct err e;

static const char *path_of(const char *name)
{
    static char path[4][200];
    static int n;

    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", dir, name);
    return path[n];
}

static void setup(void)
{
    memcpy(dir, "/tmp/mta-rundir-XXXXXX", sizeof dir);
    ck_assert(mkdtemp(dir) != NULL);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    top = sub = (struct rundir)RUNDIR_NONE;
    e = (struct err){ .kind = ERR_NONE };
    umask(022);
}

static void teardown(void)
{
    fs_replace(NULL);
    rundir_close(&top);
    rundir_close(&sub);
    kit_remove_tree(dir);
}

static void make_victim(void)
{
    ck_assert_int_eq(mkdir(path_of("victim"), 0755), 0);
    int fd = open(path_of("victim/file"), O_CREAT | O_WRONLY, 0644);
    ck_assert(fd >= 0 && close(fd) == 0);
}

static void check_victim(void)
{
    struct stat st;

    ck_assert_int_eq(stat(path_of("victim"), &st), 0);
    ck_assert(st.st_uid == geteuid() && (st.st_mode & 07777) == 0755);
    ck_assert_int_eq(stat(path_of("victim/file"), &st), 0);
    ck_assert(st.st_uid == geteuid() && (st.st_mode & 07777) == 0644);
}

static void check(const char *name, uid_t uid, mode_t mode)
{
    struct stat st;

    ck_assert_int_eq(lstat(path_of(name), &st), 0);
    ck_assert_msg(st.st_uid == uid && (st.st_mode & 07777) == mode,
                  "%s: uid %d mode %o", name, (int)st.st_uid,
                  (unsigned)st.st_mode);
}

static int make(const char *name, uid_t uid)
{
    rundir_close(&top);
    return rundir_make(&top, path_of(name), uid, (gid_t)uid, &e);
}

static int below(const char *name)
{
    rundir_close(&sub);
    return rundir_below(&sub, &top, name, &e);
}

static void refused(int rc, const char *why)
{
    ck_assert_int_eq(rc, -1);
    ck_assert_msg(e.kind == ERR_PERM && strstr(e.text, why) != NULL, "%s",
                  e.text);
}

static bool root(void)
{
    return geteuid() == 0;
}

/* Whose the queue is: another's, where that can be. */
static uid_t owner(void)
{
    return root() ? OTHER : geteuid();
}

START_TEST(made_and_found_again)
{
    for (int again = 0; again < 2; again++) {
        ck_assert_msg(make("a//b/./queue/", owner()) == 0, "%s", e.text);
        ck_assert_msg(below("segments") == 0, "%s", e.text);
        int fd = rundir_file(&sub, "lock", &e);
        ck_assert_msg(fd >= 0, "%s", e.text);
        close(fd);
    }
    check("a", geteuid(), 0755);
    check("a/b", geteuid(), 0755);
    check("a/b/queue", owner(), 0711);
    check("a/b/queue/segments", owner(), 0700);
    check("a/b/queue/segments/lock", owner(), 0600);
}
END_TEST

START_TEST(a_narrow_umask_takes_nothing)
{
    umask(077);
    int rc = make("queue", owner());
    umask(022);
    ck_assert_msg(rc == 0, "%s", e.text);
    check("queue", owner(), 0711);
}
END_TEST

START_TEST(relative_names)
{
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(rundir_make(&top, "x/q", (uid_t)-1, (gid_t)-1, &e), 0);
    ck_assert_int_eq(rundir_make(&sub, "x/../x/q", (uid_t)-1, (gid_t)-1, &e),
                     0);
    ck_assert_int_eq(chdir("/"), 0);
    check("x/q", geteuid(), 0711);
}
END_TEST

START_TEST(names_that_are_none)
{
    static char name[PATH_MAX + 10];

    ck_assert_int_eq(rundir_make(&top, "", (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_int_eq(e.kind, ERR_USAGE);
    memset(name, 'x', sizeof name - 1);
    ck_assert_int_eq(rundir_make(&top, name, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_int_eq(e.sys, ENAMETOOLONG);
    name[NAME_MAX + 1] = '\0';
    ck_assert_int_eq(rundir_make(&top, name, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_int_eq(e.sys, ENAMETOOLONG);
    ck_assert_int_eq(rundir_open(&top, path_of("none"), &e), -1);
    ck_assert(e.kind == ERR_TEMP && e.sys == ENOENT);
}
END_TEST

/* --- links ---------------------------------------------------------------- */

static void plant(const char *target, const char *name, uid_t uid)
{
    ck_assert_int_eq(symlink(target, path_of(name)), 0);
    if (root())
        ck_assert_int_eq(lchown(path_of(name), uid, uid), 0);
}

START_TEST(links_on_the_way)
{
    ck_assert_int_eq(mkdir(path_of("disk"), 0755), 0);
    plant("disk", "ours", geteuid());
    ck_assert_msg(make("ours/queue", owner()) == 0, "%s", e.text);
    plant("disk/queue", "q", geteuid()); /* the last one too */
    ck_assert_msg(make("q", owner()) == 0, "%s", e.text);
    plant("nowhere", "dangling", geteuid());
    ck_assert_int_eq(make("dangling", owner()), -1);
    ck_assert_int_eq(e.sys, ENOENT);
    ck_assert_int_eq(access(path_of("nowhere"), F_OK), -1);
    plant("loop", "loop", geteuid());
    ck_assert_int_eq(make("loop", owner()), -1);
}
END_TEST

/* Of the service user, or of anybody: it may lead to any place. */
START_TEST(links_of_others_are_not_followed)
{
    if (!root())
        return;
    make_victim();
    plant("victim", "theirs", OTHER);
    refused(make("theirs/queue", OTHER), "link of 12345");
    refused(make("theirs", OTHER), "link of 12345");
    refused(rundir_open(&top, path_of("theirs"), &e), "link of 12345");
    ck_assert_int_eq(access(path_of("victim/queue"), F_OK), -1);
    check_victim();
}
END_TEST

START_TEST(no_link_below)
{
    make_victim();
    ck_assert_int_eq(make("queue", owner()), 0);
    plant(path_of("victim"), "queue/segments", geteuid());
    plant(path_of("nowhere"), "queue/run", owner());
    refused(below("segments"), "is a link");
    refused(below("run"), "is a link");
    ck_assert_int_eq(access(path_of("nowhere"), F_OK), -1);
    check_victim();
}
END_TEST

START_TEST(no_link_as_a_file)
{
    make_victim();
    ck_assert_int_eq(make("queue", owner()), 0);
    ck_assert_int_eq(below("run"), 0);
    plant(path_of("victim/file"), "queue/run/lock", geteuid());
    refused(rundir_file(&sub, "lock", &e), "open");
    ck_assert_int_eq(link(path_of("victim/file"), path_of("queue/run/key")), 0);
    refused(rundir_file(&sub, "key", &e), "no file of its own");
    ck_assert_int_eq(mkfifo(path_of("queue/run/pipe"), 0600), 0);
    refused(rundir_file(&sub, "pipe", &e), "no file of its own");
    check_victim();
}
END_TEST

/* --- what is there -------------------------------------------------------- */

START_TEST(no_directory)
{
    make_victim();
    ck_assert_int_eq(make("victim/file", owner()), -1);
    ck_assert_int_eq(e.sys, ENOTDIR);
    ck_assert_int_eq(make("victim/file/queue", owner()), -1);
    ck_assert_int_eq(e.sys, ENOTDIR);
    ck_assert_int_eq(make("queue", owner()), 0);
    int fd = open(path_of("queue/run"), O_CREAT | O_WRONLY, 0600);
    ck_assert(fd >= 0 && close(fd) == 0);
    refused(below("run"), "no directory");
    check_victim();
}
END_TEST

START_TEST(foreign_owners)
{
    if (!root())
        return;
    ck_assert_int_eq(mkdir(path_of("queue"), 0700), 0);
    refused(make("queue", OTHER), "belongs to root, not to 12345: chown 12345");
    check("queue", 0, 0700); /* as it was */
    ck_assert_int_eq(chown(path_of("queue"), THIRD, THIRD), 0);
    refused(make("queue", OTHER), "belongs to 23456");
    refused(make("queue", (uid_t)-1), "not to root");
    ck_assert_int_eq(chown(path_of("queue"), OTHER, THIRD), 0);
    ck_assert_msg(make("queue", OTHER) == 0, "%s", e.text);
    ck_assert_int_eq(mkdir(path_of("queue/run"), 0700), 0);
    ck_assert_int_eq(chown(path_of("queue/run"), THIRD, THIRD), 0);
    refused(below("run"), "chown 12345 /");
    check("queue/run", THIRD, 0700);
    ck_assert_int_eq(chown(path_of("queue/run"), OTHER, OTHER), 0);
    ck_assert_int_eq(below("run"), 0);
    int fd = open(path_of("queue/run/lock"), O_CREAT | O_WRONLY, 0600);
    ck_assert(fd >= 0 && close(fd) == 0);
    refused(rundir_file(&sub, "lock", &e), "belongs to root");
}
END_TEST

START_TEST(others_may_write)
{
    static const mode_t modes[] = { 0770, 0702, 01777, 0720 };

    ck_assert_int_eq(make("queue", owner()), 0);
    ck_assert_int_eq(below("run"), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(chmod(path_of("queue/run"), modes[i]), 0);
        refused(below("run"), "chmod go-w");
        check("queue/run", owner(), modes[i]);
        ck_assert_int_eq(chmod(path_of("queue"), modes[i]), 0);
        refused(make("queue", owner()), "chmod go-w");
        check("queue", owner(), modes[i]);
        ck_assert_int_eq(chmod(path_of("queue"), 0755), 0);
        ck_assert_int_eq(make("queue", owner()), 0);
    }
}
END_TEST

/* Tools run by root: what they make is the owner's. */
START_TEST(root_looks_at_any)
{
    if (!root())
        return;
    ck_assert_int_eq(make("queue", OTHER), 0);
    rundir_close(&top);
    ck_assert_msg(rundir_open(&top, path_of("queue"), &e) == 0, "%s", e.text);
    ck_assert_msg(below("run") == 0, "%s", e.text);
    int fd = rundir_file(&sub, "lock", &e);
    ck_assert_msg(fd >= 0, "%s", e.text);
    close(fd);
    check("queue/run", OTHER, 0700);
    check("queue/run/lock", OTHER, 0600);
}
END_TEST

static void become_other(void)
{
    gid_t none = OTHER;

    if (setgroups(1, &none) != 0 || setgid(OTHER) != 0 || setuid(OTHER) != 0)
        abort();
}

/* A container gets its volume from root, writable for a group of ours. */
static int take_volume(const char *path)
{
    become_other();
    if (rundir_make(&top, path, (uid_t)-1, (gid_t)-1, &e) != 0)
        return 1;
    return rundir_below(&sub, &top, "run", &e) == 0 ? 0 : 2;
}

static int status_of(int (*f)(const char *path), const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(f(path));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(a_volume_of_our_group)
{
    if (!root())
        return;
    ck_assert_int_eq(mkdir(path_of("volume"), 0755), 0);
    ck_assert_int_eq(chown(path_of("volume"), 0, THIRD), 0);
    ck_assert_int_eq(chmod(path_of("volume"), 02775), 0);
    ck_assert_int_eq(status_of(take_volume, path_of("volume")), 1);
    ck_assert_int_eq(chown(path_of("volume"), 0, OTHER), 0);
    ck_assert_int_eq(chmod(path_of("volume"), 02775), 0);
    ck_assert_int_eq(status_of(take_volume, path_of("volume")), 0);
    check("volume/run", OTHER, 0700);
    /* As fsGroup of Kubernetes does before each start. */
    ck_assert_int_eq(chmod(path_of("volume/run"), 02770), 0);
    ck_assert_int_eq(status_of(take_volume, path_of("volume")), 0);
    check("volume/run", OTHER, 0700);
    ck_assert_int_eq(chmod(path_of("volume/run"), 02777), 0);
    ck_assert_int_eq(status_of(take_volume, path_of("volume")), 2);
    ck_assert_int_eq(chmod(path_of("volume/run"), 0700), 0);
    ck_assert_int_eq(chmod(path_of("volume"), 02777), 0);
    ck_assert_int_eq(status_of(take_volume, path_of("volume")), 1);
}
END_TEST

/* What cannot be given away does not stay: it would be refused for ever. */
static int fail_to_give(const char *path)
{
    become_other();
    if (rundir_make(&top, path, (uid_t)-1, (gid_t)-1, &e) != 0)
        return 1;
    top.uid = THIRD;
    if (rundir_below(&sub, &top, "run", &e) == 0 || e.sys != EPERM)
        return 2;
    if (rundir_file(&top, "lock", &e) >= 0 || e.sys != EPERM)
        return 3;
    return rmdir(path) == 0 ? 0 : 4;
}

START_TEST(what_is_not_given_is_removed)
{
    if (!root())
        return;
    ck_assert_int_eq(chmod(dir, 0777), 0);
    ck_assert_int_eq(status_of(fail_to_give, path_of("queue")), 0);
}
END_TEST

/* --- between mkdir and open ------------------------------------------------ */

static enum { BY_LINK, BY_OTHERS, BY_FULL } swap;

/* The owner of the directory above is quick. */
static int swapping_mkdirat(int at, const char *name, mode_t mode)
{
    int rc = fs_system.mkdirat(at, name, mode);

    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(unlinkat(at, name, AT_REMOVEDIR), 0);
    if (swap == BY_LINK) {
        ck_assert_int_eq(symlinkat(path_of("victim"), at, name), 0);
        ck_assert_int_eq(fchownat(at, name, OTHER, OTHER, AT_SYMLINK_NOFOLLOW),
                         0);
    } else if (swap == BY_FULL) {
        ck_assert_int_eq(rename(path_of("victim"), path_of("queue/x")), 0);
        ck_assert_int_eq(renameat(at, "x", at, name), 0);
    } else {
        ck_assert_int_eq(mkdirat(at, name, 0700), 0);
        ck_assert_int_eq(fchownat(at, name, THIRD, THIRD, 0), 0);
    }
    return 0;
}

START_TEST(replaced_while_it_is_made)
{
    struct fs_ops ops = fs_system;

    if (!root())
        return;
    make_victim();
    ck_assert_int_eq(make("queue", OTHER), 0);
    ops.mkdirat = swapping_mkdirat;
    fs_replace(&ops);
    swap = BY_LINK;
    refused(below("a"), "is a link");
    refused(rundir_make(&sub, path_of("top"), OTHER, OTHER, &e),
            "link of 12345");
    swap = BY_OTHERS;
    refused(below("b"), "was replaced");
    check("queue/b", THIRD, 0700);
    check_victim();
    swap = BY_FULL;
    refused(below("c"), "was replaced");
    check("queue/c", 0, 0755);
}
END_TEST

static int no_mkdirat(int at, const char *name, mode_t mode)
{
    (void)at;
    (void)name;
    (void)mode;
    errno = ENOSPC;
    return -1;
}

START_TEST(failures_leave_nothing_open)
{
    struct fs_ops ops = fs_system;
    size_t fds = kit_open_fds();

    ops.mkdirat = no_mkdirat;
    fs_replace(&ops);
    ck_assert_int_eq(make("a/b", owner()), -1);
    ck_assert_int_eq(e.sys, ENOSPC);
    fs_replace(NULL);
    ck_assert_uint_eq(kit_open_fds(), fds);
    ck_assert_int_eq(make("a", owner()), 0);
    fs_replace(&ops);
    ck_assert_int_eq(below("run"), -1);
    ck_assert_int_eq(e.sys, ENOSPC);
    ck_assert_uint_eq(kit_open_fds(), fds + 1);
}
END_TEST

Suite *base_rundir_suite(void);
Suite *base_rundir_suite(void)
{
    Suite *s = suite_create("base_rundir");
    TCase *t = tcase_create("base_rundir");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, made_and_found_again);
    tcase_add_test(t, a_narrow_umask_takes_nothing);
    tcase_add_test(t, relative_names);
    tcase_add_test(t, names_that_are_none);
    tcase_add_test(t, links_on_the_way);
    tcase_add_test(t, links_of_others_are_not_followed);
    tcase_add_test(t, no_link_below);
    tcase_add_test(t, no_link_as_a_file);
    tcase_add_test(t, no_directory);
    tcase_add_test(t, foreign_owners);
    tcase_add_test(t, others_may_write);
    tcase_add_test(t, root_looks_at_any);
    tcase_add_test(t, a_volume_of_our_group);
    tcase_add_test(t, what_is_not_given_is_removed);
    tcase_add_test(t, replaced_while_it_is_made);
    tcase_add_test(t, failures_leave_nothing_open);
    suite_add_tcase(s, t);
    return s;
}
