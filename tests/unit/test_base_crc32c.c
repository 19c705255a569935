/* test_base_crc32c.c - CRC-32C against published vectors. */
#include "base/crc32c.h"

#include <check.h>
#include <string.h>

enum { ZEROS, ONES, UP, DOWN };

/* RFC 3720 B.4 and the check value of the catalogue of CRCs. */
static const struct {
    const char *name, *text; /* text NULL: 32 octets of that filling */
    int fill;
    uint32_t crc;
} cases[] = {
    { "empty", "", 0, 0 },
    { "check value", "123456789", 0, 0xe3069283 },
    { "one octet", "a", 0, 0xc1d04330 },
    { "zeros", NULL, ZEROS, 0x8a9136aa },
    { "ones", NULL, ONES, 0x62a8ab43 },
    { "incrementing", NULL, UP, 0x46dd794e },
    { "decrementing", NULL, DOWN, 0x113fdb5c },
};

static size_t fill(unsigned char out[32], size_t i)
{
    if (cases[i].text != NULL) {
        memcpy(out, cases[i].text, strlen(cases[i].text));
        return strlen(cases[i].text);
    }
    for (int k = 0; k < 32; k++)
        out[k] = (unsigned char[]){ 0, 0xff, (unsigned char)k,
                                    (unsigned char)(31 - k) }[cases[i].fill];
    return 32;
}

START_TEST(vectors)
{
    unsigned char in[64];
    size_t n = fill(in, (size_t)_i);

    ck_assert_msg(crc32c(0, in, n) == cases[_i].crc, "%s: %08x", cases[_i].name,
                  crc32c(0, in, n));
    /* from any address, in any two pieces */
    for (size_t shift = 1; shift < 9; shift++) {
        memmove(in + shift, in + shift - 1, n);
        for (size_t cut = 0; cut <= n; cut++) {
            uint32_t c = crc32c(0, in + shift, cut);
            c = crc32c(c, in + shift + cut, n - cut);
            ck_assert_msg(c == cases[_i].crc, "%s: shift %zu, cut %zu",
                          cases[_i].name, shift, cut);
        }
    }
}
END_TEST

/* Whatever the processor has, both ways come to the same. */
START_TEST(ways_agree)
{
    unsigned char in[300];
    uint32_t x = 1;

    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)((x = x * 1103515245u + 12345u) >> 16);
    for (size_t n = 0; n <= sizeof in; n++)
        ck_assert_msg(crc32c(x, in, n) == crc32c_by_table(x, in, n),
                      "%zu octets", n);
}
END_TEST

START_TEST(every_bit_matters)
{
    unsigned char in[40] = { 0 };
    uint32_t before = crc32c(0, in, sizeof in);

    for (size_t bit = 0; bit < 8 * sizeof in; bit++) {
        in[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ck_assert_msg(crc32c(0, in, sizeof in) != before, "bit %zu", bit);
        in[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}
END_TEST

START_TEST(length_matters)
{
    static const unsigned char zeros[64];

    for (size_t n = 1; n <= sizeof zeros; n++)
        ck_assert_uint_ne(crc32c(0, zeros, n), crc32c(0, zeros, n - 1));
}
END_TEST

Suite *base_crc32c_suite(void);
Suite *base_crc32c_suite(void)
{
    Suite *s = suite_create("base.crc32c");
    TCase *t = tcase_create("crc32c");

    tcase_add_loop_test(t, vectors, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, ways_agree);
    tcase_add_test(t, every_bit_matters);
    tcase_add_test(t, length_matters);
    suite_add_tcase(s, t);
    return s;
}
