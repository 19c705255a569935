/* test_net_tls_memory.c - the large buffers of OpenSSL.  main.c has called
 * tls_memory_start(). */
#include "base/err.h"
#include "net/tls.h"

#include <check.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 21848, SMALL = 4096, MANY = 2500 };

static struct tls_context *context;
static unsigned char *all[MANY];

static void reserve(void)
{
    struct err e;

    ck_assert_int_eq(tls_client_new(&context, &e), 0);
}

static void forget(void)
{
    tls_context_free(&context);
}

static void fill(size_t n)
{
    for (size_t i = 0; i < MANY; i++) {
        all[i] = OPENSSL_malloc(n);
        ck_assert_ptr_nonnull(all[i]);
        ck_assert_uint_eq((size_t)all[i] % sizeof(long double), 0);
        memset(all[i], (int)(i % 251), n);
    }
}

static void check_and_free(size_t n)
{
    for (size_t i = 0; i < MANY; i++) {
        /* All octets are the first one. */
        if (all[i][0] != i % 251 || memcmp(all[i], all[i] + 1, n - 1) != 0)
            ck_abort_msg("buffer %zu overlaps", i);
        OPENSSL_free(all[i]);
    }
}

static size_t pages_there(const unsigned char *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), there = 0;
    unsigned char bits[16] = { 0 };
    unsigned char *at = (unsigned char *)p - (size_t)p % page;

    ck_assert_uint_lt(n / page, sizeof bits);
    ck_assert_int_eq(mincore(at, n, bits), 0);
    for (size_t i = 0; i < sizeof bits; i++)
        there += bits[i] & 1;
    return there;
}

static const size_t sizes[] = { SMALL, LARGE };

/* More than there are slots, so from the heap too, and twice. */
START_TEST(more_than_slots)
{
    for (int round = 0; round < 2; round++) {
        fill(sizes[_i]);
        check_and_free(sizes[_i]);
    }
}
END_TEST

/* What has been in use at once is not kept; what one handshake after the other
 * needs is. */
START_TEST(goes_back)
{
    enum { AT_ONCE = 300, KEPT = 32 };
    size_t there = 0;

    for (size_t i = 0; i < AT_ONCE; i++) {
        all[i] = OPENSSL_malloc(sizes[_i]);
        memset(all[i], 1, sizes[_i]);
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        OPENSSL_free(all[i]);
    for (size_t i = 0; i < AT_ONCE; i++)
        there += pages_there(all[i], sizes[_i]) > 0;
    ck_assert_uint_eq(there, KEPT);

    unsigned char *first = OPENSSL_malloc(sizes[_i]);
    ck_assert_uint_gt(pages_there(first, sizes[_i]), 0);
    OPENSSL_free(first);
    ck_assert_ptr_eq(OPENSSL_malloc(sizes[_i]), first);
    OPENSSL_free(first);
}
END_TEST

/* What lasts is not between what ends. */
START_TEST(apart_from_the_heap)
{
    enum { N = 20 };
    unsigned char *lasting[N], *first, *last;

    for (size_t i = 0; i < N; i++) {
        all[i] = OPENSSL_malloc(sizes[_i]);
        lasting[i] = OPENSSL_malloc(900);
    }
    first = last = all[0];
    for (size_t i = 1; i < N; i++) {
        first = all[i] < first ? all[i] : first;
        last = all[i] > last ? all[i] : last;
    }
    ck_assert_uint_lt((size_t)(last - first), 2 * N * sizes[_i]);
    for (size_t i = 0; i < N; i++) {
        ck_assert(lasting[i] < first || lasting[i] > last);
        OPENSSL_free(all[i]);
        OPENSSL_free(lasting[i]);
    }
}
END_TEST

static const struct {
    size_t from, to;
} changes[] = { { 10, 20 },       { 10, SMALL },     { SMALL, 10 },
                { SMALL, LARGE }, { LARGE, SMALL },  { 17000, LARGE },
                { 900, LARGE },   { LARGE, 100000 }, { SMALL, 100000 } };

START_TEST(other_size)
{
    size_t from = changes[_i].from, to = changes[_i].to;
    size_t both = from < to ? from : to;
    unsigned char *p = OPENSSL_realloc(NULL, from);

    ck_assert_ptr_nonnull(p);
    memset(p, 7, from);
    p = OPENSSL_realloc(p, to);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < both; i++)
        ck_assert_uint_eq(p[i], 7);
    memset(p, 8, to);
    ck_assert_ptr_null(OPENSSL_realloc(p, 0));
}
END_TEST

START_TEST(nothing)
{
    ck_assert_ptr_null(OPENSSL_malloc(0));
    OPENSSL_free(NULL);
}
END_TEST

Suite *net_tls_memory_suite(void);
Suite *net_tls_memory_suite(void)
{
    Suite *s = suite_create("net.tls_memory");
    TCase *t = tcase_create("slots");

    tcase_add_checked_fixture(t, reserve, forget);
    tcase_add_loop_test(t, more_than_slots, 0, 2);
    tcase_add_loop_test(t, goes_back, 0, 2);
    tcase_add_loop_test(t, apart_from_the_heap, 0, 2);
    tcase_add_loop_test(t, other_size, 0,
                        (int)(sizeof changes / sizeof changes[0]));
    tcase_add_test(t, nothing);
    suite_add_tcase(s, t);
    return s;
}
