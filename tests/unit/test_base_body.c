/* test_base_body.c - the octets of a message in their order, wherever they
 * are: head in memory, front behind the others in the file. */
#include "base/body.h"
#include "base/crc32c.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char text[] = "the text", front[] = "front ", head[] = "head ";
enum {
    TEXT = sizeof text - 1,
    FRONT = sizeof front - 1,
    HEAD = sizeof head - 1
};

/* A file of the text and the front, with other octets around them. */
static struct body in_file(FILE **f, bool good)
{
    *f = tmpfile();
    ck_assert_ptr_nonnull(*f);
    fprintf(*f, "before%s%safter", text, front);
    fflush(*f);
    struct body b = body_of_file(fileno(*f), 6, TEXT + FRONT,
                                 crc32c(0, text, TEXT) + !good);
    b.front = FRONT;
    return b;
}

static void check_all(const struct body *b, const char *want, bool good)
{
    for (size_t step = 1; step < 30; step++) {
        struct body_cursor c = { 0 };
        char got[40] = "";
        size_t n = 0;
        ssize_t k;
        while ((k = body_next(b, &c, got + n, step)) > 0)
            n += (size_t)k;
        ck_assert_int_eq(k < 0, !good);
        if (k < 0)
            ck_assert_int_eq(errno, EBADMSG);
        else
            ck_assert_str_eq(got, want);
        for (size_t at = 0; good && at < strlen(want); at++) {
            k = body_read(b, at, got, step);
            ck_assert_int_gt(k, 0);
            ck_assert_mem_eq(got, want + at, (size_t)k);
        }
    }
}

START_TEST(file)
{
    bool good = _i == 0;
    FILE *f;
    struct body b = in_file(&f, good);

    check_all(&b, "front the text", good);
    body_set_head(&b, head, HEAD);
    ck_assert_uint_eq(b.size, HEAD + FRONT + TEXT);
    check_all(&b, "head front the text", good);
    body_set_head(&b, NULL, 0);
    check_all(&b, "front the text", good);
    b.front = 0;
    b.size = TEXT;
    body_set_head(&b, head, HEAD);
    check_all(&b, "head the text", good);
    fclose(f);
}
END_TEST

START_TEST(chain)
{
    struct pool *p = chain_pool_new(1);
    struct chain c = CHAIN_INIT;

    ck_assert(chain_add(&c, p, text, TEXT));
    struct body b = body_of_chain(&c, 0);
    check_all(&b, "the text", true);
    body_set_head(&b, head, HEAD);
    check_all(&b, "head the text", true);
    pool_free(&p);
}
END_TEST

Suite *base_body_suite(void);
Suite *base_body_suite(void)
{
    Suite *s = suite_create("base.body");
    TCase *t = tcase_create("order");

    tcase_add_loop_test(t, file, 0, 2);
    tcase_add_test(t, chain);
    suite_add_tcase(s, t);
    return s;
}
