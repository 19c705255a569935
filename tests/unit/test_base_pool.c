/* test_base_pool.c - objects of one size. */
#include "base/pool.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size, max;
} cases[] = {
    { "no bytes", 0, 3 },      { "one byte", 1, 1000 },
    { "a pointer", 8, 1000 },  { "odd size", 24, 5000 },
    { "a block", 4096, 100 },  { "larger than a slab", 100000, 3 },
    { "none allowed", 16, 0 }, { "one", 64, 1 },
};

/* What a type of that size may need, and a pointer in any case. */
static size_t alignment(size_t size)
{
    size_t a = sizeof(long double);

    while (a > sizeof(void *) && (size == 0 || size % a != 0))
        a /= 2;
    return a;
}

static void fill_up(struct pool *p, unsigned char **all, size_t i)
{
    for (size_t k = 0; k < cases[i].max; k++) {
        all[k] = pool_get(p);
        ck_assert_msg(all[k] != NULL, "%s: object %zu", cases[i].name, k);
        ck_assert_msg((uintptr_t)all[k] % alignment(cases[i].size) == 0,
                      "%s: object %zu is not aligned", cases[i].name, k);
        memset(all[k], (int)(k % 251), cases[i].size);
        ck_assert_uint_eq(pool_used(p), k + 1);
        ck_assert_uint_eq(pool_left(p), cases[i].max - k - 1);
    }
}

START_TEST(all_of_them)
{
    struct pool *p = pool_new(cases[_i].size, cases[_i].max);
    unsigned char **all = calloc(cases[_i].max + 1, sizeof *all);

    ck_assert(p != NULL && all != NULL);
    for (int round = 0; round < 2; round++) {
        fill_up(p, all, (size_t)_i);
        ck_assert_msg(pool_get(p) == NULL, "%s: one too many", cases[_i].name);
        for (size_t k = 0; k < cases[_i].max; k++) {
            for (size_t at = 0; at < cases[_i].size; at++)
                if (all[k][at] != k % 251)
                    ck_abort_msg("%s: object %zu overlaps", cases[_i].name, k);
            pool_put(p, all[k]);
        }
        ck_assert_uint_eq(pool_used(p), 0);
    }
    free(all);
    pool_free(&p);
    ck_assert(p == NULL);
}
END_TEST

START_TEST(nothing_is_accepted)
{
    struct pool *p = NULL;

    pool_free(&p);
    p = pool_new(8, 2);
    pool_put(p, NULL);
    ck_assert_uint_eq(pool_used(p), 0);
    void *a = pool_get(p);
    pool_put(p, a);
    ck_assert(pool_get(p) == a); /* the warmest first */
    pool_free(&p);               /* with an object still out */
}
END_TEST

/* --- with a bound ----------------------------------------------------------- */

struct account {
    struct pool_bound bound;
    size_t taken, max;
};

static bool take(struct pool_bound *b, size_t bytes)
{
    struct account *a = (struct account *)b;

    if (a->taken + bytes > a->max)
        return false;
    a->taken += bytes;
    return true;
}

static void give(struct pool_bound *b, size_t bytes)
{
    struct account *a = (struct account *)b;

    ck_assert_uint_ge(a->taken, bytes);
    a->taken -= bytes;
}

enum { SLABS = 4, BLOCK = 4096, MANY = SLABS * 15 };

static struct pool *open_bound(struct account *a)
{
    *a = (struct account){ { take, give }, 0, (size_t)SLABS * POOL_SLAB };
    struct pool *p = pool_new_bound(BLOCK, &a->bound);

    ck_assert_ptr_nonnull(p);
    return p;
}

START_TEST(bound_is_kept)
{
    struct account a;
    struct pool *p = open_bound(&a);
    unsigned char *all[MANY];

    for (size_t k = 0; k < MANY; k++) {
        all[k] = pool_get(p);
        ck_assert_ptr_nonnull(all[k]);
        ck_assert_uint_eq((uintptr_t)all[k] % sizeof(long double), 0);
        memset(all[k], (int)(k % 251), BLOCK);
    }
    ck_assert_uint_eq(a.taken, a.max);
    ck_assert_ptr_null(pool_get(p)); /* the bound */
    ck_assert_uint_eq(pool_used(p), MANY);
    for (size_t k = 0; k < MANY; k++) {
        for (size_t at = 0; at < BLOCK; at++)
            if (all[k][at] != k % 251)
                ck_abort_msg("object %zu overlaps", k);
        pool_put(p, all[k]);
    }
    ck_assert_uint_eq(pool_used(p), 0);
    pool_free(&p);
    ck_assert_uint_eq(a.taken, 0);
}
END_TEST

/* Slabs that a load uses again and again stay; idle ones go. */
START_TEST(idle_slabs_go_back)
{
    struct account a;
    struct pool *p = open_bound(&a);
    void *all[MANY];

    for (int wave = 0; wave < 3; wave++) {
        for (size_t k = 0; k < MANY; k++)
            all[k] = pool_get(p);
        for (size_t k = 0; k < MANY; k++)
            pool_put(p, all[k]);
        ck_assert(pool_trim(p));
        ck_assert_uint_eq(a.taken, a.max);
    }
    void *one = pool_get(p), *two = pool_get(p);
    ck_assert(pool_trim(p));
    ck_assert_uint_eq(a.taken, POOL_SLAB); /* that with the two */
    pool_put(p, one);
    ck_assert(pool_trim(p));
    pool_put(p, two);
    ck_assert(!pool_trim(p));
    ck_assert_uint_eq(a.taken, 0);
    ck_assert_ptr_nonnull(pool_get(p)); /* it can begin again */
    pool_free(&p);                      /* with an object still out */
    ck_assert_uint_eq(a.taken, 0);
}
END_TEST

/* New objects come from slabs in use, so that the others become idle. */
START_TEST(slabs_in_use_fill_up_first)
{
    struct account a;
    struct pool *p = open_bound(&a);
    void *all[MANY];

    for (size_t k = 0; k < MANY; k++)
        all[k] = pool_get(p);
    for (size_t k = 1; k < MANY; k++)
        pool_put(p, all[k]);
    pool_trim(p);
    for (size_t k = 1; k < 15; k++)
        all[k] = pool_get(p);
    pool_trim(p);
    ck_assert_uint_eq(a.taken, POOL_SLAB);
    pool_free(&p);
}
END_TEST

Suite *base_pool_suite(void);
Suite *base_pool_suite(void)
{
    Suite *s = suite_create("base.pool");
    TCase *t = tcase_create("pool");

    tcase_add_loop_test(t, all_of_them, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, nothing_is_accepted);
    tcase_add_test(t, bound_is_kept);
    tcase_add_test(t, idle_slabs_go_back);
    tcase_add_test(t, slabs_in_use_fill_up_first);
    suite_add_tcase(s, t);
    return s;
}
