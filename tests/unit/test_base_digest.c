#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

/* FIPS 180-4's examples: the empty text, one block, two blocks. */
static const struct {
    const char *text, *hex;
} cases[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb924"
          "27ae41e4649b934ca495991b7852b855" },
    { "abc", "ba7816bf8f01cfea414140de5dae2223"
             "b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039"
      "a33ce45964ff2167f6ecedd419db06c1" },
};

static bool is_hex(const unsigned char *got, const char *want)
{
    char hex[2 * DIGEST_SIZE + 1];
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", got[i]);
    return strcmp(hex, want) == 0;
}

START_TEST(known_texts)
{
    const char *text = cases[_i].text;
    unsigned char got[DIGEST_SIZE];
    struct digest *d = NULL;
    struct err e;

    ck_assert_int_eq(digest_sha256(text, strlen(text), got, &e), 0);
    ck_assert(is_hex(got, cases[_i].hex));
    ck_assert_int_eq(digest_new(&d, &e), 0);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < strlen(text); i++)
            digest_add(d, text + i, 1);
        ck_assert(digest_end(d, got));
        ck_assert(is_hex(got, cases[_i].hex));
        digest_start(d);
        digest_add(d, "to be forgotten", 15);
        digest_start(d);
    }
    digest_free(&d);
    ck_assert_ptr_null(d);
    digest_free(&d);
}
END_TEST

/* A digest that has ended takes no more before it starts again. */
START_TEST(ended_twice)
{
    unsigned char got[DIGEST_SIZE];
    struct digest *d = NULL;
    struct err e;

    ck_assert_int_eq(digest_new(&d, &e), 0);
    ck_assert(digest_end(d, got));
    ck_assert(!digest_end(d, got));
    digest_start(d);
    digest_add(d, "abc", 3);
    ck_assert(digest_end(d, got));
    ck_assert(is_hex(got, cases[1].hex));
    digest_free(&d);
}
END_TEST

Suite *base_digest_suite(void);
Suite *base_digest_suite(void)
{
    Suite *s = suite_create("base.digest");
    TCase *t = tcase_create("sha256");
    tcase_add_loop_test(t, known_texts, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, ended_twice);
    suite_add_tcase(s, t);
    return s;
}
