/* test_mail_box.c - Maildir and mbox delivery: contents to the byte, locks,
 * and what is left when any system call fails. */
#include "base/chain.h"
#include "base/fs.h"
#include "mail/box.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static struct box_batch *open_batch(enum box_kind kind)
{
    struct box_options o = {
        .mail_dir = dir, .kind = kind, .hostname = "a/b:c", .max_copies = 1000
    };
    struct box_batch *b = NULL;
    struct err e = { ERR_NONE, 0, "" };

    ck_assert_msg(box_batch_new(&b, &o, &e) == 0, "%s", e.text);
    return b;
}

static struct box_message message(struct chain *c, const char *text)
{
    *c = (struct chain)CHAIN_INIT;
    ck_assert(chain_adds(c, blocks, text));
    return (struct box_message){ .user = "joe",
                                 .reverse_path = span_of("s@x"),
                                 .delivered_to = span_of("joe@here"),
                                 .body = body_of_chain(c) };
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
    static char text[256 * 1024];
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

/* --- contents --------------------------------------------------------- */

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

static void deliver_one(enum box_kind kind, const char *wire, char *path,
                        size_t size)
{
    struct box_batch *b = open_batch(kind);
    struct chain c;
    struct err e = { ERR_NONE, 0, "" };
    struct box_message m = message(&c, wire);

    struct box_copy *copy = box_add(b, &m, &e);
    ck_assert_msg(copy != NULL, "%s", e.text);
    box_sync(b);
    ck_assert_msg(box_status(copy, &e) == 0, "%s", e.text);
    box_publish(b);
    ck_assert_msg(box_status(copy, &e) == 0, "%s", e.text);
    snprintf(path, size, "%s", box_path(copy));
    box_reset(b);
    box_batch_free(&b);
    chain_clear(&c, blocks);
}

START_TEST(maildir_content)
{
    char path[512], want[1024];
    int before = open_fds();

    deliver_one(BOX_MAILDIR, contents[_i].wire, path, sizeof path);
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

    deliver_one(BOX_MBOX, contents[_i].wire, path, sizeof path);
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

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *mail_box_suite(void);
Suite *mail_box_suite(void)
{
    Suite *s = suite_create("mail.box");
    TCase *t = tcase_create("box");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, maildir_content, 0, COUNT(contents));
    tcase_add_loop_test(t, mbox_content, 0, COUNT(contents));
    suite_add_tcase(s, t);
    return s;
}
