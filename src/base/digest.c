#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
    EVP_MD_CTX *ctx;
    bool failed; /* or ended */
};

int digest_new(struct digest **d, struct err *e)
{
    struct digest *n = calloc(1, sizeof *n);
    if (n == NULL)
        return err_set(e, ERR_TEMP, errno, "memory for a digest");
    n->ctx = EVP_MD_CTX_new();
    if (n->ctx == NULL || EVP_DigestInit_ex(n->ctx, EVP_sha256(), NULL) != 1) {
        digest_free(&n);
        return err_set(e, ERR_TEMP, 0, "start SHA-256: libcrypto refuses");
    }
    *d = n;
    return 0;
}

void digest_free(struct digest **d)
{
    if (*d == NULL)
        return;
    EVP_MD_CTX_free((*d)->ctx);
    free(*d);
    *d = NULL;
}

void digest_start(struct digest *d)
{
    /* NULL: the algorithm that it has. */
    d->failed = EVP_DigestInit_ex(d->ctx, NULL, NULL) != 1;
}

void digest_add(struct digest *d, const void *data, size_t n)
{
    if (!d->failed)
        d->failed = EVP_DigestUpdate(d->ctx, data, n) != 1;
}

bool digest_end(struct digest *d, unsigned char out[DIGEST_SIZE])
{
    bool ok = !d->failed && EVP_DigestFinal_ex(d->ctx, out, NULL) == 1;
    d->failed = true; /* until it starts again */
    return ok;
}

int digest_sha256(const void *data, size_t n, unsigned char out[DIGEST_SIZE],
                  struct err *e)
{
    if (EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) != 1)
        return err_set(e, ERR_TEMP, 0, "SHA-256: libcrypto refuses");
    return 0;
}
