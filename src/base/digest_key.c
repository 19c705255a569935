#include "base/digest_key.h"

#include "base/handdown.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

struct digest_key {
    EVP_PKEY *key;
    enum digest_key_type type;
    EVP_PKEY_CTX *rsa; /* ready to sign, again and again */
    EVP_MD_CTX *ed25519;
};

void digest_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_TEMP, ENOMEM, "memory for a key");
}

static int refused(struct err *e, const char *what)
{
    char why[120] = "libcrypto refuses";
    unsigned long code = ERR_peek_last_error();

    if (code != 0)
        ERR_error_string_n(code, why, sizeof why);
    ERR_clear_error();
    return err_set(e, ERR_TEMP, 0, "%s: %s", what, why);
}

void digest_key_free(struct digest_key **k)
{
    if (*k == NULL)
        return;
    EVP_PKEY_CTX_free((*k)->rsa);
    EVP_MD_CTX_free((*k)->ed25519);
    EVP_PKEY_free((*k)->key);
    free(*k);
    *k = NULL;
}

/* --- making one --------------------------------------------------------- */

static int check_type(struct digest_key *k, struct err *e)
{
    int bits = EVP_PKEY_get_bits(k->key);

    if (EVP_PKEY_get_base_id(k->key) == EVP_PKEY_ED25519) {
        k->type = DIGEST_KEY_ED25519;
        return 0;
    }
    k->type = DIGEST_KEY_RSA;
    if (EVP_PKEY_get_base_id(k->key) != EVP_PKEY_RSA)
        return err_set(e, ERR_USAGE, 0, "the key is neither RSA nor Ed25519");
    if (bits < DIGEST_KEY_BITS_MIN)
        return err_set(e, ERR_USAGE, 0, "an RSA key of %d bits: at least %d",
                       bits, DIGEST_KEY_BITS_MIN);
    if (bits > DIGEST_KEY_BITS_MAX)
        return err_set(e, ERR_USAGE, 0, "an RSA key of %d bits: at most %d",
                       bits, DIGEST_KEY_BITS_MAX);
    return 0;
}

static int make_ready(struct digest_key *k, struct err *e)
{
    if (k->type == DIGEST_KEY_ED25519) {
        k->ed25519 = EVP_MD_CTX_new();
        return k->ed25519 != NULL ? 0 : no_memory(e);
    }
    k->rsa = EVP_PKEY_CTX_new(k->key, NULL);
    if (k->rsa == NULL)
        return no_memory(e);
    return EVP_PKEY_sign_init(k->rsa) == 1 &&
                   EVP_PKEY_CTX_set_rsa_padding(k->rsa, RSA_PKCS1_PADDING) ==
                       1 &&
                   EVP_PKEY_CTX_set_signature_md(k->rsa, EVP_sha256()) == 1
               ? 0
               : refused(e, "prepare a key");
}

/* Takes the key; NULL: it could not be made. */
static int wrap(struct digest_key **kp, EVP_PKEY *key, struct err *e)
{
    struct digest_key *k = calloc(1, sizeof *k);

    if (k == NULL) {
        EVP_PKEY_free(key);
        return no_memory(e);
    }
    k->key = key;
    if (check_type(k, e) != 0 || make_ready(k, e) != 0) {
        digest_key_free(&k);
        return -1;
    }
    *kp = k;
    return 0;
}

/* Without this one libcrypto asks on the terminal. */
static int no_password(char *to, int size, int writes, void *asked)
{
    (void)to;
    (void)size;
    (void)writes;
    *(bool *)asked = true;
    return -1;
}

int digest_key_parse(struct digest_key **k, struct span pem, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    bool asked = false;

    *k = NULL;
    if (in == NULL)
        return no_memory(e);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_password, &asked);
    BIO_free(in);
    ERR_clear_error();
    if (key != NULL)
        return wrap(k, key, e);
    if (asked)
        return err_set(e, ERR_USAGE, 0, "the private key is encrypted");
    return err_set(e, ERR_USAGE, 0, "no private key (PEM) in it");
}

int digest_key_load(struct digest_key **k, const char *path, struct err *e)
{
    char *text;
    size_t n;

    *k = NULL;
    if (handdown_read(&text, &n, path, e) != 0)
        return -1;
    int rc = digest_key_parse(k, (struct span){ text, n }, e);
    if (rc != 0)
        err_prefix(e, "%s", path);
    digest_wipe(text, n);
    free(text);
    return rc;
}

int digest_key_generate(struct digest_key **k, enum digest_key_type type,
                        struct err *e)
{
    EVP_PKEY *key = type == DIGEST_KEY_RSA
                        ? EVP_RSA_gen(DIGEST_KEY_BITS_MIN)
                        : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    *k = NULL;
    return key != NULL ? wrap(k, key, e) : refused(e, "generate a key");
}

enum digest_key_type digest_key_type(const struct digest_key *k)
{
    return k->type;
}

/* --- signatures --------------------------------------------------------- */

int digest_key_sign(struct digest_key *k, const unsigned char hash[DIGEST_SIZE],
                    struct digest_signature *s, struct err *e)
{
    int rc;

    s->n = sizeof s->octets;
    if (k->type == DIGEST_KEY_RSA)
        rc = EVP_PKEY_sign(k->rsa, s->octets, &s->n, hash, DIGEST_SIZE);
    else
        rc = EVP_DigestSignInit(k->ed25519, NULL, NULL, NULL, k->key) == 1
                 ? EVP_DigestSign(k->ed25519, s->octets, &s->n, hash,
                                  DIGEST_SIZE)
                 : 0;
    return rc == 1 ? 0 : refused(e, "sign");
}

/* --- other forms -------------------------------------------------------- */

static int public_rsa(const struct digest_key *k, struct digest_public *p,
                      struct err *e)
{
    int n = i2d_PUBKEY(k->key, NULL);
    unsigned char *to = p->octets;

    if (n <= 0 || (size_t)n > sizeof p->octets)
        return refused(e, "take the public part of a key");
    p->n = (size_t)i2d_PUBKEY(k->key, &to);
    return 0;
}

int digest_key_public(const struct digest_key *k, struct digest_public *p,
                      struct err *e)
{
    if (k->type == DIGEST_KEY_RSA)
        return public_rsa(k, p, e);
    p->n = sizeof p->octets;
    return EVP_PKEY_get_raw_public_key(k->key, p->octets, &p->n) == 1
               ? 0
               : refused(e, "take the public part of a key");
}

int digest_key_pem(const struct digest_key *k, char out[DIGEST_KEY_PEM_MAX],
                   struct err *e)
{
    BIO *to = BIO_new(BIO_s_secmem());
    char *text;

    if (to == NULL)
        return no_memory(e);
    int ok =
        PEM_write_bio_PKCS8PrivateKey(to, k->key, NULL, NULL, 0, NULL, NULL);
    long n = ok == 1 ? BIO_get_mem_data(to, &text) : 0;
    if (n > 0 && n < DIGEST_KEY_PEM_MAX) {
        memcpy(out, text, (size_t)n);
        out[n] = '\0';
    }
    BIO_free(to);
    return n > 0 && n < DIGEST_KEY_PEM_MAX ? 0 : refused(e, "write a key");
}
