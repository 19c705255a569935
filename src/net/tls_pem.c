#include "net/tls_pem.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* From the epoch to the time. */
static bool seconds(const ASN1_TIME *t, int64_t *out)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days, rest;
    bool ok = epoch != NULL && ASN1_TIME_diff(&days, &rest, epoch, t) == 1;

    if (ok)
        *out = (int64_t)days * 86400 + rest;
    ASN1_TIME_free(epoch);
    return ok;
}

bool tls_pem_dates(struct span text, int64_t *from, int64_t *until)
{
    BIO *in = text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
    X509 *x = in != NULL ? PEM_read_bio_X509_AUX(in, NULL, NULL, NULL) : NULL;
    bool ok = x != NULL && seconds(X509_get0_notBefore(x), from) &&
              seconds(X509_get0_notAfter(x), until);

    X509_free(x);
    BIO_free(in);
    ERR_clear_error(); /* of a text without certificate */
    return ok;
}
