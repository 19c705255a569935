#include "serve/certificates.h"

#include "base/crc32c.h"
#include "base/handdown.h"
#include "net/tls_pem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The texts of a pair; the key is wiped when it was used. */
struct texts {
    char *cert, *key;
    size_t cert_n, key_n;
};

static int read_pair(struct texts *t, struct tls_pair *p, const struct conf *c,
                     size_t i, struct err *e)
{
    p->cert_name = c->serve.tls_cert.item[i].path;
    p->key_name = c->serve.tls_key.item[i].path;
    if (handdown_read(&t->cert, &t->cert_n, p->cert_name, e) != 0)
        return conf_fault(c, "serve.tls_cert", e);
    if (handdown_read(&t->key, &t->key_n, p->key_name, e) != 0)
        return conf_fault(c, "serve.tls_key", e);
    p->cert = (struct span){ t->cert, t->cert_n };
    p->key = (struct span){ t->key, t->key_n };
    return 0;
}

/* An error that names a key is one of the key, unless its file is the
 * certificate, too. */
static int blame(const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < c->serve.tls_key.n; i++) {
        const char *key = c->serve.tls_key.item[i].path;
        if (strcmp(key, c->serve.tls_cert.item[i].path) != 0 &&
            strstr(e->text, key) != NULL)
            return conf_fault(c, "serve.tls_key", e);
    }
    return conf_fault(c, "serve.tls_cert", e);
}

static int load(struct tls_context **t, struct texts *texts,
                struct tls_pair *pairs, const struct conf *c, struct err *e)
{
    size_t n = c->serve.tls_cert.n;

    for (size_t i = 0; i < n; i++)
        if (read_pair(&texts[i], &pairs[i], c, i, e) != 0)
            return -1;
    return tls_server_new(t, pairs, n, c->serve.tls_tickets != 0, e) == 0
               ? 0
               : blame(c, e);
}

int serve_certificates_load(struct tls_context **t, const struct conf *c,
                            struct err *e)
{
    size_t n = c->serve.tls_cert.n; /* as many keys: conf_load() checks it */
    int rc = -1;

    *t = NULL;
    if (n == 0)
        return 0;
    struct texts *texts = calloc(n, sizeof *texts);
    struct tls_pair *pairs = calloc(n, sizeof *pairs);
    if (texts == NULL || pairs == NULL)
        err_set(e, ERR_TEMP, ENOMEM, "memory for certificates");
    else
        rc = load(t, texts, pairs, c, e);
    for (size_t i = 0; texts != NULL && i < n; i++) {
        handdown_wipe(&texts[i].cert, texts[i].cert_n);
        handdown_wipe(&texts[i].key, texts[i].key_n);
    }
    free(texts);
    free(pairs);
    return rc;
}

void serve_certificates_each(const struct conf *c, serve_certificate_fn *fn,
                             void *ctx)
{
    struct serve_certificate x;
    struct err e;
    char *text;
    size_t n;

    for (size_t i = 0; i < c->serve.tls_cert.n; i++) {
        x.path = c->serve.tls_cert.item[i].path;
        if (handdown_read(&text, &n, x.path, &e) != 0)
            continue;
        x.crc = crc32c(0, text, n);
        x.names_host = tls_pem_names((struct span){ text, n }, c->hostname);
        if (tls_pem_dates((struct span){ text, n }, &x.from, &x.until))
            fn(ctx, &x);
        handdown_wipe(&text, n);
    }
}
