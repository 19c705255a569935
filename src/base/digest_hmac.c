#include "base/digest_hmac.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

int hmac_sha256(unsigned char out[HMAC_SIZE], struct span key, struct span text,
                struct err *e)
{
    /* A NULL key would be "the one of before". */
    const char *p = key.n > 0 ? key.p : "";
    unsigned n = 0;

    if (key.n > INT_MAX ||
        HMAC(EVP_sha256(), p, (int)key.n, (const unsigned char *)text.p, text.n,
             out, &n) == NULL ||
        n != HMAC_SIZE)
        return err_set(e, ERR_TEMP, 0, "HMAC-SHA-256 failed");
    return 0;
}

/* The password as HMAC has it: a block, hashed if it is longer. */
static int set_key(struct pbkdf2 *p, struct span password, struct err *e)
{
    unsigned char key[sizeof p->inner] = { 0 };

    if (password.n <= sizeof key)
        memcpy(key, password.p, password.n);
    else if (digest_sha256(password.p, password.n, key, e) != 0)
        return -1;
    for (size_t i = 0; i < sizeof key; i++) {
        p->inner[i] = key[i] ^ 0x36;
        p->outer[i] = key[i] ^ 0x5c;
    }
    explicit_bzero(key, sizeof key);
    return 0;
}

static bool add_outer(struct pbkdf2 *p)
{
    if (!digest_end(p->digest, p->last))
        return false;
    digest_start(p->digest);
    digest_add(p->digest, p->outer, sizeof p->outer);
    digest_add(p->digest, p->last, sizeof p->last);
    return digest_end(p->digest, p->last);
}

static void add_inner(struct pbkdf2 *p, const void *text, size_t n)
{
    digest_start(p->digest);
    digest_add(p->digest, p->inner, sizeof p->inner);
    digest_add(p->digest, text, n);
}

int pbkdf2_begin(struct pbkdf2 *p, struct span password, struct span salt,
                 unsigned rounds, struct err *e)
{
    static const unsigned char first_block[] = { 0, 0, 0, 1 };

    memset(p, 0, sizeof *p);
    if (digest_new(&p->digest, e) != 0 || set_key(p, password, e) != 0)
        return -1;
    add_inner(p, salt.p, salt.n);
    digest_add(p->digest, first_block, sizeof first_block);
    if (!add_outer(p))
        return err_set(e, ERR_TEMP, 0, "PBKDF2 failed");
    memcpy(p->sum, p->last, sizeof p->sum);
    p->left = rounds - 1;
    return 0;
}

int pbkdf2_go_on(struct pbkdf2 *p, unsigned rounds, struct err *e)
{
    for (; rounds > 0 && p->left > 0; rounds--, p->left--) {
        add_inner(p, p->last, sizeof p->last);
        if (!add_outer(p))
            return err_set(e, ERR_TEMP, 0, "PBKDF2 failed");
        for (size_t i = 0; i < sizeof p->sum; i++)
            p->sum[i] ^= p->last[i];
    }
    return p->left == 0;
}

void pbkdf2_end(struct pbkdf2 *p)
{
    digest_free(&p->digest);
    explicit_bzero(p, sizeof *p);
}

bool digest_same(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

int digest_random(void *out, size_t n, struct err *e)
{
    if (n > INT_MAX || RAND_bytes(out, (int)n) != 1)
        return err_set(e, ERR_TEMP, 0, "no random octets");
    return 0;
}
