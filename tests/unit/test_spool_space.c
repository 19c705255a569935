/* test_spool_space.c - the disk of the queue: which are refused, of which an
 * operator is warned, and how large segments are on small ones. */
#include "spool_kit.h"

#include "base/fs.h"
#include "base/fs_type.h"
#include "spool/dirs.h"
#include "spool/space.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kit *k;
static unsigned long magic;
static struct err e;

static int have_magic(int fd, unsigned long *out)
{
    (void)fd;
    *out = magic;
    return 0;
}

static int have_none(int fd, unsigned long *out)
{
    (void)fd;
    (void)out;
    errno = EIO;
    return -1;
}

static void setup(void)
{
    k = kit_new(NULL);
    e = (struct err){ .kind = ERR_NONE };
}

static void teardown(void)
{
    fs_replace(NULL);
    kit_free(&k);
}

/* --- types ---------------------------------------------------------------- */

/* Numbers of linux/magic.h and of the manual of statfs(2). */
static const struct {
    const char *name;
    unsigned long magic;
    bool refused, syncfs, unnamed;
    const char *warning;
} types[] = {
    { "ext4", 0xef53, false, true, true, NULL },
    { "xfs", 0x58465342, false, true, true, NULL },
    { "btrfs", 0x9123683e, false, true, false, NULL },
    { "zfs", 0x2fc12fc1, false, true, false, NULL },
    { "f2fs", 0xf2f52010, false, true, false, NULL },
    { "tmpfs", 0x01021994, false, true, true, "when the machine stops" },
    { "overlayfs", 0x794c7630, false, false, false, "with the container" },
    { "nfs", 0x6969, true, false, false, NULL },
    { "cifs", 0xff534d42, true, false, false, NULL },
    { "smb3", 0xfe534d42, true, false, false, NULL },
    { "smbfs", 0x517b, true, false, false, NULL },
    { "fuse", 0x65735546, true, false, false, NULL },
    { "9p", 0x01021997, true, false, false, NULL },
    { "ceph", 0x00c36400, true, false, false, NULL },
    { "afs", 0x5346414f, true, false, false, NULL },
    { "vboxsf", 0x786f4256, true, false, false, NULL },
    { "vfat", 0x4d44, false, false, false,
      "not known to keep locks and syncs" },
    { "none", 0, false, false, false, "not known to keep locks and syncs" },
};

START_TEST(a_list_of_file_systems)
{
    const struct fs_type *t = fs_type_by_magic(types[_i].magic);
    struct fs_ops ops = fs_system;
    char queue[300];
    struct stat st;

    ops.magic = have_magic;
    fs_replace(&ops);
    magic = types[_i].magic;
    ck_assert_msg(fs_type_keeps_syncfs(t) == types[_i].syncfs &&
                      fs_type_keeps_unnamed(t) == types[_i].unnamed,
                  "%s", types[_i].name);
    snprintf(queue, sizeof queue, "%s/a/queue", k->dir);
    bool refused = spool_dirs_check(queue, (uid_t)-1, (gid_t)-1, &e) != 0;
    ck_assert_msg(refused == types[_i].refused, "%s: %s", types[_i].name,
                  e.text);
    refused = spool_dirs_make(queue, (uid_t)-1, (gid_t)-1, &e) != 0;
    ck_assert_msg(refused == types[_i].refused, "%s: %s", types[_i].name,
                  e.text);
    ck_assert(!refused ||
              (e.kind == ERR_PERM && strstr(e.text, types[_i].name) != NULL &&
               strstr(e.text, "use a local disk") != NULL));
    ck_assert((stat(queue, &st) != 0) == refused); /* nothing was made */
    if (refused)
        return;
    bool warned = spool_space_warn(queue, &e) != 0;
    ck_assert_msg(warned == (types[_i].warning != NULL), "%s: %s",
                  types[_i].name, e.text);
    ck_assert_msg(!warned || strstr(e.text, types[_i].warning) != NULL, "%s",
                  e.text);
}
END_TEST

START_TEST(a_type_that_cannot_be_asked_for)
{
    struct fs_ops ops = fs_system;

    ops.magic = have_none;
    fs_replace(&ops);
    ck_assert_int_eq(spool_dirs_make(k->dir, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_int_eq(e.sys, EIO);
    ck_assert_int_eq(spool_space_warn(k->dir, &e), 0);
}
END_TEST

/* A check makes nothing and says what a start would. */
START_TEST(a_check_makes_nothing)
{
    char queue[300], run[310];
    struct stat st;

    snprintf(queue, sizeof queue, "%s/x/y/queue", k->dir);
    ck_assert_int_eq(spool_dirs_check(queue, (uid_t)-1, (gid_t)-1, &e), 0);
    snprintf(queue, sizeof queue, "%s/x", k->dir);
    ck_assert(stat(queue, &st) != 0);
    ck_assert_int_eq(spool_dirs_check(k->dir, (uid_t)-1, (gid_t)-1, &e), 0);
    snprintf(run, sizeof run, "%s/run", k->dir);
    kit_remove_tree(run);
    ck_assert_int_eq(spool_dirs_check(k->dir, (uid_t)-1, (gid_t)-1, &e), 0);
    ck_assert(stat(run, &st) != 0);
    ck_assert_int_eq(symlink(k->dir, run), 0);
    ck_assert_int_eq(spool_dirs_check(k->dir, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "is a link"));
    ck_assert_int_eq(unlink(run), 0);
    ck_assert_int_eq(chmod(k->dir, 0770), 0);
    ck_assert_int_eq(spool_dirs_check(k->dir, (uid_t)-1, (gid_t)-1, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "chmod go-w"));
}
END_TEST

/* --- room ----------------------------------------------------------------- */

enum { MIB = 1024 * 1024 };

START_TEST(segments_by_what_is_free)
{
    static const struct {
        uint64_t free, size; /* MiB */
    } cases[] = {
        { 0, 1 },   { 1, 1 },    { 8, 1 },    { 31, 1 },    { 32, 2 },
        { 100, 6 }, { 255, 15 }, { 256, 16 }, { 4096, 16 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_uint_eq(spool_space_segment(cases[i].free * MIB, 16 * MIB),
                          cases[i].size * MIB);
    ck_assert_uint_eq(spool_space_segment(UINT64_MAX, 16 * MIB), 16 * MIB);
    ck_assert_uint_eq(spool_space_segment(8 * MIB, 24 * 1024), 24 * 1024);
}
END_TEST

START_TEST(a_refusal_has_both_numbers)
{
    ck_assert_int_eq(spool_writer_open(&k->w, k->dir, SPOOL_REMOTE, &e), 0);
    ck_assert_int_eq(spool_space_has(k->w, 1000, &e), 0);
    k->w->room_bytes = 8 * MIB; /* a segment of 1 MiB: that is enough */
    ck_assert_int_eq(spool_space_has(k->w, 3 * MIB, &e), 0);
    ck_assert_int_eq(spool_space_has(k->w, 4 * MIB, &e), -1);
    ck_assert_int_eq(e.sys, ENOSPC);
    ck_assert_msg(strstr(e.text, ": 8192 KiB free, 9216 KiB needed") != NULL,
                  "%s", e.text);
    k->w->room_inodes = 99;
    ck_assert_int_eq(spool_space_has(k->w, 1, &e), -1);
    ck_assert_msg(strstr(e.text, "99 inodes free, 100 needed") != NULL, "%s",
                  e.text);
}
END_TEST

Suite *spool_space_suite(void);
Suite *spool_space_suite(void)
{
    Suite *s = suite_create("spool_space");
    TCase *t = tcase_create("spool_space");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, a_list_of_file_systems, 0,
                        (int)(sizeof types / sizeof types[0]));
    tcase_add_test(t, a_type_that_cannot_be_asked_for);
    tcase_add_test(t, a_check_makes_nothing);
    tcase_add_test(t, segments_by_what_is_free);
    tcase_add_test(t, a_refusal_has_both_numbers);
    suite_add_tcase(s, t);
    return s;
}
