/* test_base_digest_hmac.c - vectors of RFC 4231 and RFC 7914 11. */
#include "base/digest_hmac.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))

static void check(const unsigned char got[HMAC_SIZE], const char *hex)
{
    char text[2 * HMAC_SIZE + 1];

    for (size_t i = 0; i < HMAC_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", got[i]);
    ck_assert_str_eq(text, hex);
}

static const struct {
    const char *key, *text, *hex;
} macs[] = {
    { "Jefe", "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { "\013\013\013\013\013\013\013\013\013\013\013\013\013\013\013\013\013"
      "\013\013\013",
      "Hi There",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { "", "",
      "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
};

START_TEST(mac)
{
    unsigned char out[HMAC_SIZE];
    struct err e;

    ck_assert_int_eq(
        hmac_sha256(out, span_of(macs[_i].key), span_of(macs[_i].text), &e), 0);
    check(out, macs[_i].hex);
}
END_TEST

static const struct {
    const char *password, *salt;
    unsigned rounds;
    const char *hex;
} derived[] = {
    { "a password that is longer than a block of SHA-256, and not by a little",
      "salt", 3,
      "439871142e69a3a4a2b38ac70b31d9655aa6af6ee64ffbf02052553aaa07428c" },
    { "passwd", "salt", 1,
      "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" },
    { "Password", "NaCl", 80000,
      "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56" },
};

START_TEST(pbkdf2)
{
    struct pbkdf2 p;
    struct err e;
    int rc, slices = 0;

    ck_assert_int_eq(pbkdf2_begin(&p, span_of(derived[_i].password),
                                  span_of(derived[_i].salt), derived[_i].rounds,
                                  &e),
                     0);
    while ((rc = pbkdf2_go_on(&p, 1000, &e)) == 0)
        slices++;
    ck_assert_int_eq(rc, 1);
    ck_assert_int_eq(slices, derived[_i].rounds / 1001);
    check(p.sum, derived[_i].hex);
    pbkdf2_end(&p);
    ck_assert_ptr_null(p.digest);
}
END_TEST

START_TEST(same)
{
    ck_assert(digest_same("abc", "abc", 3));
    ck_assert(digest_same("abc", "abd", 2));
    ck_assert(!digest_same("abc", "abd", 3));
}
END_TEST

START_TEST(random_differs)
{
    unsigned char a[16] = { 0 }, b[16] = { 0 };
    struct err e;

    ck_assert_int_eq(digest_random(a, sizeof a, &e), 0);
    ck_assert_int_eq(digest_random(b, sizeof b, &e), 0);
    ck_assert(memcmp(a, b, sizeof a) != 0);
}
END_TEST

Suite *base_digest_hmac_suite(void);
Suite *base_digest_hmac_suite(void)
{
    Suite *s = suite_create("base.digest_hmac");
    TCase *t = tcase_create("hmac");

    tcase_add_loop_test(t, mac, 0, N(macs));
    tcase_add_loop_test(t, pbkdf2, 0, N(derived));
    tcase_add_test(t, same);
    tcase_add_test(t, random_differs);
    suite_add_tcase(s, t);
    return s;
}
