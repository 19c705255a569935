#include "certs.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400 };

/* To make one takes seconds under valgrind. */
static const char rsa_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDvDiWWVJqVFuGz\n"
    "YD466MwEkJLb13V0ohD+p+wIjf6b3fCQifzuX4kxBU1pAdj4xV2h1hKMCoFn9Suy\n"
    "EZkSyG1bp5q36aMFgz9eE1nAzx0KiLdytNSxgsX2PzuR7Avo+H3Xg3Q2TpP85jDL\n"
    "P5QEuenIo1qqheJQoL3Tn/m1mERJy0dPAF1RzT3eyn2zjP6OkHbd1cK8kWsSmamS\n"
    "MsSvmGVml1pk7d8cy7r7MY+bEcA1juqGlZpM9diOSAXzqaPbQNU51R+GCyx97Kcq\n"
    "wyPMwj3QTEOY7cv2sp3m/Papn2Rj6oMCHKblehKJeo9ZeVa+I98rYToG8DyTjN3p\n"
    "tkJ+f0r1AgMBAAECggEAMTZM15dAIWwN96La/L6a7V+j0/0VcXbBn+MKzLIKlaTJ\n"
    "VsAJYTsqn3xTdMgMFh5vSZcrx0eMX03R+nzz8bFwDdvBlpXS2RotS90Y73/Tny0I\n"
    "8uS2Gnrs7OYUidQ5mXK6WUj2/g0MGxZ6OgUzIAvzzDmQuyUHs4h7u5qlydP4TuZT\n"
    "wzhdm01ed55Z4w0ZakTORcGad2b6/BnFAdlUsU+13KQAudqnQPoLshf/PGtv8sHO\n"
    "iaWllhJwFuuulehCM1h2ps8UVpP5RM+RNuWm69c+zZCAISbOY4xupzsgEPVjXy1f\n"
    "8XXxVEm+IzpGxbCdrfjo8gxaUsKX78wZMZQ/86RbUQKBgQD4j5Z5/yFrZPe7ph8b\n"
    "ZwZoM+tKbQsaoSv/Xbl/FKy90v48TnXN8c1jjyu4rvqVF2cM9pMbhLTxtXy2jQk0\n"
    "LOOSsjRWfcxps/uPVJO3LsD6ax3or24Xd/JJRXgxV0IJONLGQrXSjqN61+v536A6\n"
    "MppreysLQq8+TBqG9RqcNTm7jQKBgQD2NbqvuhqXs4n17oT2IcHaKyC+U/TRF2gV\n"
    "jaPQF0FmIBwh4EAggbZxOaZ3I3JOs5jnJU9xjXWVH+XC1UNLvZuGrrizSyA0Z7sS\n"
    "MTq6L9CBJxbjk3VVogAmHGA6nRHbsZKd1MdxtnYAjxmkOscRn5KeTBqWC38rmkzH\n"
    "bQiJV5A/CQKBgQCX46aghjd12Q1Jrgn0RNC1fISbxmayryqjsjJYZdnpZbXWRFvY\n"
    "rZpE7IhbIxIdaV+fnE3o0v9/dNfw9d5Z89RdIGi7McRoE4P14kkh94AVhr+QISO1\n"
    "U6bK/5ijDh9cY0zpunpBYMilmKyq1Oyko6eZZnq3Nti/yOGs9rp8GkpdQQKBgFnt\n"
    "O/etMMNR50T1TokbwVMvR3Fc9uFb/D9LEZcSt2dWuQ/CeYml9v4aAWwofTqzrFhY\n"
    "r1CZS2YhVWk5PbAvW9vwezO5b9TUQmadpoaUqkJSBbEvjb6uQgGpgZhHAFvO2u9c\n"
    "5U/qReVkXwg2E7mjIAlDYL6HCnbhj8OTVnfbjKsJAoGAEFyzID/CWeH95UMZZxwX\n"
    "HFVrlOoVUhtHmjTe1EQUsgHkonsn7nm44tZTnQg5UG2kPmPcLnDhEO17RtmJu4B/\n"
    "hdgekhAJ4atInCE9+RQUuhB9Zly1zRIafL+ukfy6kSDGUaKv9bEQQ3qLLRUqOgpP\n"
    "A3pEOFZHH7J2fbIdaLsnTLk=\n"
    "-----END PRIVATE KEY-----\n";

static EVP_PKEY *make_key(enum cert_key kind)
{
    if (kind == CERT_EC)
        return EVP_EC_gen("P-256");
    BIO *in = BIO_new_mem_buf(rsa_key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    BIO_free(in);
    return key;
}

static void add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    ck_assert_ptr_nonnull(ext);
    ck_assert_int_eq(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static void add_names(X509 *x, const char *names)
{
    char value[1000] = "";

    for (const char *p = names; *p != '\0';) {
        size_t n = strcspn(p, " "), at = strlen(value);
        snprintf(value + at, sizeof value - at, "%sDNS:%.*s", at > 0 ? "," : "",
                 (int)n, p);
        p += n + strspn(p + n, " ");
    }
    add_extension(x, NID_subject_alt_name, value);
}

static void set_subject(X509 *x, const char *common)
{
    X509_NAME *name = X509_NAME_new();

    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               (const unsigned char *)common, -1, -1, 0);
    X509_set_subject_name(x, name);
    X509_NAME_free(name);
}

static char *pem_of(BIO *out)
{
    char *text, *copy;
    long n = BIO_get_mem_data(out, &text);

    copy = calloc(1, (size_t)n + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, (size_t)n);
    BIO_free(out);
    return copy;
}

void cert_make(struct cert_made *c, const struct cert_wish *wish)
{
    static long serial = 1;
    X509 *x = X509_new();
    EVP_PKEY *key = make_key(wish->key);
    const struct cert_made *issuer = wish->issuer;
    EVP_PKEY *signer = issuer == NULL ? key : issuer->pkey;

    ck_assert_ptr_nonnull(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -10 * DAY);
    X509_gmtime_adj(X509_getm_notAfter(x), (wish->expired ? -1 : 10) * DAY);
    set_subject(x, wish->common != NULL ? wish->common : "test");
    X509_set_issuer_name(
        x, X509_get_subject_name(issuer == NULL ? x : issuer->x509));
    X509_set_pubkey(x, key);
    add_extension(x, NID_basic_constraints, wish->ca ? "CA:TRUE" : "CA:FALSE");
    if (wish->names != NULL)
        add_names(x, wish->names);
    ck_assert_int_gt(X509_sign(x, signer, EVP_sha256()), 0);
    BIO *cert = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert, x);
    PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
    *c = (struct cert_made){ pem_of(cert), pem_of(secret), x, key };
}

void cert_free(struct cert_made *c)
{
    free(c->cert);
    free(c->key);
    X509_free(c->x509);
    EVP_PKEY_free(c->pkey);
    *c = (struct cert_made){ NULL, NULL, NULL, NULL };
}

struct tls_pair cert_pair(const struct cert_made *c)
{
    return (struct tls_pair){ span_of(c->cert), span_of(c->key), "cert.pem",
                              "key.pem" };
}

void cert_write(const struct cert_made *c, const char *path)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(c->cert, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}
