/* test_base_memory.c - what the machine and its control groups leave. */
#include "base/memory.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define MIB (1024ull * 1024)
#define V1 "sys/fs/cgroup/memory/"
#define V2 "sys/fs/cgroup/"

struct file {
    const char *path, *text;
};

static const struct {
    const char *name;
    struct file files[8];
    unsigned long long left;
} cases[] = {
    { "nothing can be read", { { NULL, NULL } }, 0 },
    { "the machine alone",
      { { "proc/meminfo", "MemTotal: 4096 kB\nMemAvailable:   2048 kB\n" } },
      2 * MIB },
    { "version 2, at the mount of a container",
      { { "proc/meminfo", "MemAvailable: 1048576 kB\n" },
        { "proc/self/cgroup", "0::/\n" },
        { V2 "memory.max", "67108864\n" },
        { V2 "memory.current", "4194304\n" } },
      60 * MIB },
    { "version 2, page cache is free",
      { { "proc/self/cgroup", "0::/\n" },
        { V2 "memory.max", "67108864\n" },
        { V2 "memory.current", "62914560\n" },
        { V2 "memory.stat", "anon 5\ninactive_file 20971520\n"
                            "active_file 10485760\n" } },
      34 * MIB },
    { "version 2, the group above is the narrower",
      { { "proc/self/cgroup", "0::/a/b\n" },
        { V2 "a/b/memory.max", "67108864\n" },
        { V2 "a/b/memory.current", "0\n" },
        { V2 "a/memory.max", "33554432\n" },
        { V2 "a/memory.current", "1048576\n" } },
      31 * MIB },
    { "version 2, no limit",
      { { "proc/meminfo", "MemAvailable: 2048 kB\n" },
        { "proc/self/cgroup", "0::/a\n" },
        { V2 "a/memory.max", "max\n" },
        { V2 "a/memory.current", "1048576\n" } },
      2 * MIB },
    { "version 2, a path that only the host can see",
      { { "proc/self/cgroup", "0::/../../x\n" },
        { V2 "memory.max", "8388608\n" },
        { V2 "memory.current", "0\n" } },
      8 * MIB },
    { "version 1",
      { { "proc/meminfo", "MemAvailable: 1048576 kB\n" },
        { "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/x\n" },
        { V1 "memory.limit_in_bytes", "67108864\n" },
        { V1 "memory.usage_in_bytes", "10485760\n" },
        { V1 "memory.stat",
          "inactive_file 1\ntotal_inactive_file 1048576\n" } },
      55 * MIB },
    { "more in use than the limit",
      { { "proc/self/cgroup", "0::/\n" },
        { V2 "memory.max", "1048576\n" },
        { V2 "memory.current", "2097152\n" } },
      0 },
};

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void put(const char *root, const struct file *f)
{
    char path[256];
    int n = snprintf(path, sizeof path, "%s/%s", root, f->path);

    ck_assert_int_lt(n, (int)sizeof path);
    for (char *p = strchr(path + strlen(root) + 1, '/'); p != NULL;
         p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *out = fopen(path, "w");
    ck_assert_msg(out != NULL, "%s", path);
    fputs(f->text, out);
    fclose(out);
}

START_TEST(left)
{
    char root[] = "/tmp/mta-memory-XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(root));
    for (const struct file *f = cases[_i].files; f->path != NULL; f++)
        put(root, f);
    unsigned long long got = memory_left(root);
    ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    ck_assert_msg(got == cases[_i].left, "%s: %llu", cases[_i].name, got);
}
END_TEST

START_TEST(of_this_machine)
{
    ck_assert_uint_gt(memory_left(""), 0);
}
END_TEST

Suite *base_memory_suite(void);
Suite *base_memory_suite(void)
{
    Suite *s = suite_create("base.memory");
    TCase *t = tcase_create("memory");

    tcase_add_loop_test(t, left, 0, (int)COUNT(cases));
    tcase_add_test(t, of_this_machine);
    suite_add_tcase(s, t);
    return s;
}
