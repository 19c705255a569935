/* test_base_handdown.c - copies of files, in the process that took them and
 * in one that they are sent to. */
#include "base/handdown.h"

#include "base/line.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[96], other[96];
static struct handdown *set;

static void put(const char *file, const char *text)
{
    FILE *f = fopen(file, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void open_set(void)
{
    snprintf(dir, sizeof dir, "/tmp/mta-handdown-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    put(path, "first");
    ck_assert_int_eq(handdown_new(&set, NULL), 0);
}

static void close_set(void)
{
    handdown_use(NULL);
    handdown_free(&set);
    remove(path);
    remove(other);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void expect(const char *file, const char *want)
{
    struct err e;
    char *text;
    size_t n;

    ck_assert_msg(handdown_read(&text, &n, file, &e) == 0, "%s", e.text);
    ck_assert_str_eq(text, want);
    ck_assert_uint_eq(n, strlen(want));
    free(text);
}

START_TEST(a_copy_does_not_change)
{
    struct err e;

    expect(path, "first");
    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    handdown_use(set);
    put(path, "second");
    expect(path, "first");
    ck_assert_int_eq(unlink(path), 0);
    expect(path, "first");
    handdown_use(NULL);
    put(path, "third");
    expect(path, "third");
}
END_TEST

/* A process with a set opens nothing by name. */
START_TEST(what_was_not_taken_is_not_read)
{
    struct err e;
    char *text;
    size_t n;

    put(other, "text");
    handdown_use(set);
    ck_assert_int_eq(handdown_read(&text, &n, other, &e), -1);
    ck_assert_int_eq(e.kind, ERR_BUG);
    ck_assert_ptr_null(text);
}
END_TEST

START_TEST(a_missing_file_is_missing)
{
    struct err e;
    char *text;
    size_t n;

    ck_assert_int_eq(handdown_take(set, other, &e), 0);
    handdown_use(set);
    put(other, "now it is there");
    ck_assert_int_eq(handdown_read(&text, &n, other, &e), -1);
    ck_assert_int_eq(e.kind, ERR_USAGE);
    ck_assert_int_eq(e.sys, ENOENT);
    ck_assert(strstr(e.text, other) != NULL);
}
END_TEST

START_TEST(no_file)
{
    struct err e;

    ck_assert_int_eq(handdown_take(set, dir, &e), -1); /* a directory */
    ck_assert_int_eq(e.kind, ERR_USAGE);
    ck_assert_int_eq(mkfifo(other, 0600), 0);
    ck_assert_int_eq(handdown_take(set, other, &e), -1); /* does not wait */
    ck_assert_int_eq(e.kind, ERR_USAGE);
}
END_TEST

/* Stale is what has changed and stays so for a second look. */
START_TEST(changes_are_noticed)
{
    ck_assert_int_eq(handdown_take(set, path, NULL), 0);
    ck_assert(!handdown_is_stale(set));
    ck_assert(!handdown_is_stale(set));
    put(path, "another text");
    ck_assert(!handdown_is_stale(set)); /* it may not be whole yet */
    ck_assert(handdown_is_stale(set));
    ck_assert(handdown_is_stale(set));
    handdown_keep(set);
    ck_assert(!handdown_is_stale(set));
    put(path, "still another text");
    (void)handdown_is_stale(set);
    ck_assert(handdown_is_stale(set));
}
END_TEST

START_TEST(a_file_that_goes_or_comes_is_a_change)
{
    struct err e;

    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    ck_assert_int_eq(handdown_take(set, other, &e), 0);
    put(other, "");
    (void)handdown_is_stale(set);
    ck_assert(handdown_is_stale(set));
    handdown_keep(set);
    ck_assert_int_eq(unlink(path), 0);
    (void)handdown_is_stale(set);
    ck_assert(handdown_is_stale(set));
}
END_TEST

START_TEST(the_same_files)
{
    struct handdown *again;

    ck_assert_int_eq(handdown_new(&again, NULL), 0);
    ck_assert_int_eq(handdown_take(set, path, NULL), 0);
    ck_assert(!handdown_same(set, again));
    ck_assert_int_eq(handdown_take(again, path, NULL), 0);
    ck_assert(handdown_same(set, again));
    handdown_free(&again);
    put(path, "another text");
    ck_assert_int_eq(handdown_new(&again, NULL), 0);
    ck_assert_int_eq(handdown_take(again, path, NULL), 0);
    ck_assert(!handdown_same(set, again));
    handdown_free(&again);
}
END_TEST

/* All but the line is one process here; the set is the receiver's. */
START_TEST(sent_to_another_process)
{
    struct handdown *receiver;
    char message[LINE_MAX_TEXT];
    int end[2], fd, n = 0;
    struct err e;

    ck_assert_int_eq(line_pair(end, &e), 0);
    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    ck_assert_int_eq(handdown_take(set, other, &e), 0);
    ck_assert_int_eq(handdown_new(&receiver, &e), 0);
    put(other, "was there once");
    ck_assert_int_eq(handdown_take(receiver, path, &e), 0);
    ck_assert_int_eq(handdown_take(receiver, other, &e), 0);
    handdown_free(&set);
    put(path, "news");
    ck_assert_int_eq(unlink(other), 0);
    ck_assert_int_eq(handdown_new(&set, &e), 0);
    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    ck_assert_int_eq(handdown_take(set, other, &e), 0);
    ck_assert_int_eq(handdown_send(set, 0, end[0], &e), 0);

    handdown_use(receiver);
    expect(path, "first");
    while (line_receive(end[1], message, &fd) == 1 &&
           handdown_accept(message, fd))
        n++;
    ck_assert_int_eq(n, 2);
    ck_assert_str_eq(message, HANDDOWN_END);
    expect(path, "news");
    char *text;
    size_t length;
    ck_assert_int_eq(handdown_read(&text, &length, other, &e), -1);
    ck_assert_int_eq(e.sys, ENOENT);
    ck_assert(!handdown_accept("drain", -1));
    handdown_use(NULL);
    handdown_free(&receiver);
    close(end[0]);
    close(end[1]);
}
END_TEST

/* The receiver has had a file that names one; now there is another one too,
 * which arrives before the file that names it. */
START_TEST(another_file_to_a_running_process)
{
    struct handdown *receiver;
    char message[LINE_MAX_TEXT];
    int end[2], fd;
    struct err e;

    ck_assert_int_eq(line_pair(end, &e), 0);
    ck_assert_int_eq(handdown_new(&receiver, &e), 0);
    ck_assert_int_eq(handdown_take(receiver, path, &e), 0);
    put(other, "named by it");
    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    ck_assert_int_eq(handdown_take_guarded(set, other, &e), 0);
    ck_assert_int_eq(handdown_take_guarded(set, other, &e), 0); /* once */
    ck_assert_int_eq(handdown_send(set, 0, end[0], &e), 0);

    handdown_use(receiver);
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert_ptr_nonnull(strstr(message, other));
    ck_assert(handdown_accept(message, fd));
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert(handdown_accept(message, fd));
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert_str_eq(message, HANDDOWN_END);
    ck_assert_int_eq(line_receive(end[1], message, &fd), 0);
    expect(other, "named by it");
    expect(path, "first");
    ck_assert_ptr_eq(handdown_use(NULL), receiver);
    handdown_free(&receiver);
    close(end[0]);
    close(end[1]);
}
END_TEST

/* A secret goes to processes of its kind alone; a process of another kind that
 * has inherited it drops it. */
START_TEST(a_secret_is_for_its_readers)
{
    enum { SERVER = 1, SIGNER = 2 };
    char message[LINE_MAX_TEXT];
    struct err e;
    char *text;
    int end[2], fd;
    size_t n;

    put(other, "a key");
    ck_assert_int_eq(line_pair(end, &e), 0);
    ck_assert_int_eq(handdown_take(set, path, &e), 0);
    ck_assert_int_eq(handdown_take_for(set, other, SERVER, &e), 0);
    ck_assert_int_eq(handdown_send(set, SIGNER, end[0], &e), 0);
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert_ptr_nonnull(strstr(message, path));
    close(fd);
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert_str_eq(message, HANDDOWN_END);
    ck_assert_int_eq(handdown_send(set, SERVER | SIGNER, end[0], &e), 0);
    ck_assert_int_eq(line_receive(end[1], message, &fd), 1);
    ck_assert_ptr_nonnull(strstr(message, other));
    close(fd);

    handdown_use(set);
    handdown_drop_others(set, SERVER);
    expect(other, "a key");
    handdown_drop_others(set, SIGNER);
    ck_assert_int_eq(handdown_read(&text, &n, other, &e), -1);
    ck_assert_int_eq(e.sys, EACCES);
    expect(path, "first");
    close(end[0]);
    close(end[1]);
}
END_TEST

/* Read by a second kind too, or by all. */
START_TEST(a_secret_of_two)
{
    ck_assert_int_eq(handdown_take_for(set, path, 1, NULL), 0);
    ck_assert_int_eq(handdown_take_for(set, path, 2, NULL), 0);
    handdown_use(set);
    handdown_drop_others(set, 2);
    expect(path, "first");
    ck_assert_int_eq(handdown_take(set, path, NULL), 0);
    handdown_drop_others(set, 0);
    expect(path, "first");
}
END_TEST

static const struct {
    const char *name;
    mode_t mode;
    bool link;
    int why; /* 0: it is taken */
} guard_cases[] = {
    { "its owner's", 0600, false, 0 },
    { "readable by all", 0644, false, 0 },
    { "writable by its group", 0660, false, EPERM },
    { "writable by all", 0646, false, EPERM },
    { "a link", 0600, true, EPERM },
};

/* The same by name and from a copy; such a file does not fail the set. */
START_TEST(guarded_file)
{
    struct err e;
    char *text;
    size_t n;

    if (guard_cases[_i].link)
        ck_assert_int_eq(symlink(path, other), 0);
    else
        put(other, "text");
    ck_assert_int_eq(chmod(other, guard_cases[_i].mode), 0);
    ck_assert_int_eq(handdown_take_guarded(set, other, &e), 0);
    for (int i = 0; i < 2; i++) {
        handdown_use(i == 0 ? NULL : set);
        int rc = handdown_read_guarded(&text, &n, other, &e);
        ck_assert_msg((rc == 0) == (guard_cases[_i].why == 0), "%s: %d",
                      guard_cases[_i].name, rc);
        ck_assert(rc == 0 || e.sys == guard_cases[_i].why);
        free(text);
    }
    handdown_use(NULL);
}
END_TEST

Suite *base_handdown_suite(void);
Suite *base_handdown_suite(void)
{
    Suite *s = suite_create("base.handdown");
    TCase *t = tcase_create("handdown");

    tcase_add_checked_fixture(t, open_set, close_set);
    tcase_add_test(t, a_copy_does_not_change);
    tcase_add_test(t, what_was_not_taken_is_not_read);
    tcase_add_test(t, a_missing_file_is_missing);
    tcase_add_test(t, no_file);
    tcase_add_test(t, changes_are_noticed);
    tcase_add_test(t, a_file_that_goes_or_comes_is_a_change);
    tcase_add_test(t, the_same_files);
    tcase_add_test(t, sent_to_another_process);
    tcase_add_test(t, another_file_to_a_running_process);
    tcase_add_test(t, a_secret_is_for_its_readers);
    tcase_add_test(t, a_secret_of_two);
    tcase_add_loop_test(t, guarded_file, 0,
                        sizeof guard_cases / sizeof guard_cases[0]);
    suite_add_tcase(s, t);
    return s;
}
