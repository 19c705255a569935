#include "base/digest_hmac.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

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

int hmac_pbkdf2(unsigned char out[HMAC_SIZE], struct span password,
                struct span salt, unsigned rounds, struct err *e)
{
    if (password.n > INT_MAX || salt.n > INT_MAX || rounds > INT_MAX ||
        PKCS5_PBKDF2_HMAC(password.p, (int)password.n,
                          (const unsigned char *)salt.p, (int)salt.n,
                          (int)rounds, EVP_sha256(), HMAC_SIZE, out) != 1)
        return err_set(e, ERR_TEMP, 0, "PBKDF2 failed");
    return 0;
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
