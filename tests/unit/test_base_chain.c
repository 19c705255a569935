/* test_base_chain.c - chains of blocks. */
#include "base/chain.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t add, drop, blocks;
} cases[] = {
    { "empty", 0, 0, 0 },
    { "one byte", 1, 0, 1 },
    { "a full block", CHAIN_DATA, 0, 1 },
    { "one byte more", CHAIN_DATA + 1, 0, 2 },
    { "first block dropped", CHAIN_DATA + 1, CHAIN_DATA, 1 },
    { "all dropped", 3 * CHAIN_DATA, 3 * CHAIN_DATA, 0 },
    { "dropped more than there is", 10, 11, 0 },
};

START_TEST(add_and_drop)
{
    static char bytes[4 * CHAIN_DATA], back[4 * CHAIN_DATA];
    struct pool *p = chain_pool_new(4);
    struct chain c = CHAIN_INIT;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 % 251);
    ck_assert(chain_add(&c, p, bytes, cases[_i].add));
    chain_drop(&c, p, cases[_i].drop);
    ck_assert_msg(pool_used(p) == cases[_i].blocks, "%s: %zu blocks",
                  cases[_i].name, pool_used(p));
    size_t left =
        cases[_i].add > cases[_i].drop ? cases[_i].add - cases[_i].drop : 0;
    ck_assert_uint_eq(c.n, left);
    ck_assert_uint_eq(chain_copy(&c, 0, back, sizeof back), left);
    ck_assert(memcmp(back, bytes + cases[_i].drop, left) == 0);
    chain_clear(&c, p);
    ck_assert_uint_eq(pool_used(p), 0);
    pool_free(&p);
}
END_TEST

START_TEST(full_pool_changes_nothing)
{
    static char bytes[3 * CHAIN_DATA];
    struct pool *p = chain_pool_new(2);
    struct chain c = CHAIN_INIT;

    ck_assert(chain_add(&c, p, "hello", 5));
    ck_assert(!chain_add(&c, p, bytes, sizeof bytes));
    ck_assert_uint_eq(c.n, 5);
    ck_assert_uint_eq(pool_used(p), 1);
    chain_clear(&c, p);
    pool_free(&p);
}
END_TEST

START_TEST(describes_from_an_offset)
{
    struct pool *p = chain_pool_new(4);
    struct chain a = CHAIN_INIT;
    static char bytes[CHAIN_DATA];
    struct iovec v[4];

    ck_assert(chain_add(&a, p, bytes, sizeof bytes));
    ck_assert(chain_add(&a, p, "two", strlen("two")));
    ck_assert_uint_eq(a.n, CHAIN_DATA + 3);
    ck_assert_int_eq(chain_iov(&a, 1, v, 4), 2);
    ck_assert_uint_eq(v[0].iov_len, CHAIN_DATA - 1);
    ck_assert(memcmp(v[1].iov_base, "two", 3) == 0);
    ck_assert_int_eq(chain_iov(&a, CHAIN_DATA, v, 4), 1);
    chain_clear(&a, p);
    pool_free(&p);
}
END_TEST

Suite *base_chain_suite(void);
Suite *base_chain_suite(void)
{
    Suite *s = suite_create("base.chain");
    TCase *t = tcase_create("chain");
    tcase_add_loop_test(t, add_and_drop, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, full_pool_changes_nothing);
    tcase_add_test(t, describes_from_an_offset);
    suite_add_tcase(s, t);
    return s;
}
