#include "net/tls_pem.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

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

/* NULL: the text has none. */
static X509 *first_of(struct span text)
{
    BIO *in = text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
    X509 *x = in != NULL ? PEM_read_bio_X509_AUX(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    ERR_clear_error();
    return x;
}

bool tls_pem_dates(struct span text, int64_t *from, int64_t *until)
{
    X509 *x = first_of(text);
    bool ok = x != NULL && seconds(X509_get0_notBefore(x), from) &&
              seconds(X509_get0_notAfter(x), until);

    X509_free(x);
    return ok;
}

bool tls_pem_names(struct span text, const char *name)
{
    X509 *x = first_of(text);
    bool ok = x != NULL && X509_check_host(x, name, 0, 0, NULL) == 1;

    X509_free(x);
    return ok;
}
