/* test_base_digest_key.c - keys that DKIM may have, and what they sign. */
#include "certs.h"

#include "base/base64.h"
#include "base/digest_key.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define END "-----END PRIVATE KEY-----\n"

/* RFC 8463 A.2, as PKCS #8. */
static const char ed25519[] = BEGIN
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n" END;

/* What is no key for this purpose. */
static const struct {
    const char *text, *why;
} bad[] = {
    { "", "no private key (PEM) in it" },
    { "hello\n", "no private key (PEM) in it" },
    { BEGIN "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK\n" END,
      "no private key (PEM) in it" },
    { "-----BEGIN PUBLIC KEY-----\n"
      "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
      "-----END PUBLIC KEY-----\n",
      "no private key (PEM) in it" },
    { BEGIN "MEcCAQAwBQYDK2VxBDsEOeIwFUuitn6tlbP4dwilapAwaOAPqZA8bmUnn9K04bH2\n"
            "Z1CAG8eBRdIxSbqWfV6IuBoi1RRq91uL9w==\n" END,
      "the key is neither RSA nor Ed25519" },
    { BEGIN "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAKqzKzKJkbOzVYAl\n"
            "464s9cOzhV+H6jV52u/JEq9g2yVRYaBw3giZy3X+f5F1O3xdE+XO4g97bj7cVIDW\n"
            "AlE+0/Ikfbi8SH1uq+HgvxKgRNURsCc6aHxg7ltMHWKSDyYLEzvpQGjCB1NHrGyw\n"
            "BU7T8+zaBm5BkbmrnSRXIgxIxzFbAgMBAAECgYBpYtZfjBldNXGq/Tl01iMhIJtO\n"
            "IG5Td5jYg246wnRptLWuRSB/dNvtTCNcHWGNZTWcor5kSpME0iiFphqmKEDW8rMX\n"
            "/At9idSRv6Yv68Pfp6xw2nwsUxMb8+GdhaPktganwbwgV6xMBHmSOGA/6okqlU3b\n"
            "waZCGOMcbJ4mJH7VEQJBANh8bgHRt0+u4JFNSFZsqP5t1qp7w6BTzEhlqRz28Tt0\n"
            "JMvm97NGB2A+vpz4J7SP90TyM+ogqbw99xqDHrPrCuMCQQDJ21M5ilVjsYG5Lt10\n"
            "F3WUbQALU/FgzxrZcV7/XStTxdnywzYAfwDY6Q9ahoK9dzl5qtS89AcwqnrKH1GV\n"
            "TzEpAkB5WvdH6cn6zytwCISeffcV+Xi2xP5a597CTsrIQ93i2C6wZt9ADeegmku8\n"
            "LpgDbhjM+4ECpCDCN3JH2GzjqsTFAkApDpVE9OAdYPNzyRZ+EG93+xuxMie8eyOI\n"
            "6shZxIeViH6mJBKN00dG11CqJwXcp61nE9olfLUhrus+xVQAvJTRAkEA0qUNuFWY\n"
            "xWc3I9vj600XFTgAl2magslytanOKIhKvlhC+y01NfIzYc+xUY4Da1eEfhiNre4V\n"
            "eO8DIRczfjBCBQ==\n" END,
      "an RSA key of 1024 bits: at least 2048" },
    { "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
      "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjMIYD3riWbwgICCAAw\n"
      "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECEzgyeIkyvtC8unnBRbby4EQNPI\n"
      "u7m59Gc2FMgG7i95TKSSJ8JkJkCteQ1YfXdbhmkJPIEa8A095wIxAAgtXUWF/+Cw\n"
      "pWjkgr/iSPShxcG8W4o=\n"
      "-----END ENCRYPTED PRIVATE KEY-----\n",
      "the private key is encrypted" },
};

static struct digest_key *parse(const char *text)
{
    struct digest_key *k = NULL;
    struct err e;

    ck_assert_msg(digest_key_parse(&k, span_of(text), &e) == 0, "%s", e.text);
    return k;
}

START_TEST(refused)
{
    struct digest_key *k = NULL;
    struct err e = { .kind = ERR_NONE };

    ck_assert_int_eq(digest_key_parse(&k, span_of(bad[_i].text), &e), -1);
    ck_assert_ptr_null(k);
    ck_assert_str_eq(e.text, bad[_i].why);
}
END_TEST

/* RFC 8032 has the public key of the same secret. */
START_TEST(public_of_ed25519)
{
    struct digest_key *k = parse(ed25519);
    struct digest_public p;
    char text[100];
    struct buf b = BUF_ON(text);
    struct err e;

    ck_assert_int_eq(digest_key_type(k), DIGEST_KEY_ED25519);
    ck_assert_int_eq(digest_key_public(k, &p, &e), 0);
    base64_encode(&b, (struct span){ (const char *)p.octets, p.n });
    ck_assert_str_eq(text, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    digest_key_free(&k);
}
END_TEST

/* To generate an RSA key takes ten seconds under valgrind, in libcrypto. */
static struct digest_key *generate(enum digest_key_type type)
{
    struct digest_key *k = NULL;
    struct cert_made cert;
    struct err e;

    if (type == DIGEST_KEY_RSA && getenv("TEST_VALGRIND") != NULL) {
        cert_make(&cert,
                  &(struct cert_wish){ .names = "a.test", .key = CERT_RSA });
        k = parse(cert.key);
        cert_free(&cert);
    } else
        ck_assert_int_eq(digest_key_generate(&k, type, &e), 0);
    return k;
}

/* One that was generated and written down signs as the one read again. */
START_TEST(written_and_read)
{
    enum digest_key_type type = _i ? DIGEST_KEY_ED25519 : DIGEST_KEY_RSA;
    unsigned char hash[DIGEST_SIZE] = { 1, 2, 3 };
    struct digest_key *k = generate(type), *again;
    struct digest_signature a, b;
    struct digest_public p, q;
    char pem[DIGEST_KEY_PEM_MAX];
    struct err e;

    ck_assert_int_eq(digest_key_pem(k, pem, &e), 0);
    again = parse(pem);
    ck_assert_int_eq(digest_key_type(again), type);
    ck_assert_int_eq(digest_key_public(k, &p, &e), 0);
    ck_assert_int_eq(digest_key_public(again, &q, &e), 0);
    ck_assert_uint_eq(p.n, q.n);
    ck_assert_mem_eq(p.octets, q.octets, p.n);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(digest_key_sign(k, hash, &a, &e), 0);
        ck_assert_int_eq(digest_key_sign(again, hash, &b, &e), 0);
        ck_assert_uint_eq(a.n, type == DIGEST_KEY_RSA ? 256 : 64);
        ck_assert_uint_eq(a.n, b.n);
        ck_assert_mem_eq(a.octets, b.octets, a.n);
    }
    digest_key_free(&k);
    digest_key_free(&again);
}
END_TEST

Suite *base_digest_key_suite(void);
Suite *base_digest_key_suite(void)
{
    Suite *s = suite_create("base.digest_key");
    TCase *t = tcase_create("keys");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, refused, 0, sizeof bad / sizeof bad[0]);
    tcase_add_test(t, public_of_ed25519);
    tcase_add_loop_test(t, written_and_read, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
