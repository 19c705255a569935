#include "mail/dkim_sign.h"

#include "base/base64.h"
#include "mail/dkim_canon.h"

#include <errno.h>
#include <string.h>

enum { COLUMNS = 76, PIECE = 4096 };

/* --- the field ------------------------------------------------------------ */

static size_t column(const struct buf *b)
{
    size_t n = 0;

    while (n < b->n && b->p[b->n - 1 - n] != '\n')
        n++;
    return n;
}

/* Begin another line if that many octets have no room in this one. */
static void fold(struct buf *b, size_t n)
{
    if (column(b) + n > COLUMNS)
        buf_adds(b, "\r\n\t");
}

static void add_tag(struct buf *b, const char *name, const char *value,
                    const char *end)
{
    fold(b, strlen(name) + strlen(value) + strlen(end) + 2);
    buf_addf(b, "%s%s=%s%s", b->p[b->n - 1] == '\t' ? "" : " ", name, value,
             end);
}

static void add_name(struct buf *b, const char *name)
{
    fold(b, strlen(name) + 2);
    buf_addf(b, ":%s", name);
}

/* Call fn for the signed fields besides From, in the order of the tag h=: by
 * name, and from the bottom of the header to its top (RFC 6376 5.4.2). */
typedef int each_fn(void *ctx, const struct dkim_field *f);
static int each_field(const struct dkim_header *h, each_fn *fn, void *ctx)
{
    uint64_t first =
        h->nfields > DKIM_FIELDS_MAX ? h->nfields - DKIM_FIELDS_MAX : 0;

    for (unsigned name = 0; dkim_header_name(name) != NULL; name++)
        for (uint64_t i = h->nfields; i-- > first;) {
            const struct dkim_field *f = &h->field[i % DKIM_FIELDS_MAX];
            if (f->name == name && fn(ctx, f) != 0)
                return -1;
        }
    return 0;
}

static int add_field_name(void *ctx, const struct dkim_field *f)
{
    add_name(ctx, dkim_header_name(f->name));
    return 0;
}

static bool has_field(const struct dkim_header *h, unsigned name)
{
    for (uint64_t i = 0; i < h->nfields; i++)
        if (h->field[i].name == name)
            return true;
    return false;
}

/* From and what readers see, once more than there are: a further one breaks
 * the signature.  Where fields are left out, the name would mean those. */
static void add_oversigned(struct buf *b, const struct dkim_header *h)
{
    for (unsigned i = 0; i < DKIM_OVERSIGNED && h->nfields <= DKIM_FIELDS_MAX;
         i++)
        if (has_field(h, i))
            add_name(b, dkim_header_name(i));
}

void dkim_field_begin(struct buf *b, const struct dkim_signer *s,
                      const struct dkim_header *h,
                      const unsigned char body_hash[DIGEST_SIZE])
{
    char hash[BASE64_SIZE(DIGEST_SIZE) + 1], now[24];
    struct buf text = BUF_ON(hash);

    base64_encode(&text, (struct span){ (const char *)body_hash, DIGEST_SIZE });
    snprintf(now, sizeof now, "%llu", (unsigned long long)s->now);
    buf_addf(b, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed;",
             s->type == DIGEST_KEY_RSA ? "rsa-sha256" : "ed25519-sha256");
    add_tag(b, "d", s->domain, ";");
    add_tag(b, "s", s->selector, ";");
    add_tag(b, "t", now, ";");
    add_tag(b, "h", "from", ":from");
    (void)each_field(h, add_field_name, b);
    add_oversigned(b, h);
    buf_addc(b, ';');
    add_tag(b, "bh", hash, ";");
    buf_adds(b, "\r\n\tb=");
}

void dkim_field_end(struct buf *b, const struct digest_signature *s)
{
    char text[BASE64_SIZE(DIGEST_SIGNATURE_MAX) + 1];
    struct buf all = BUF_ON(text);
    size_t n;

    base64_encode(&all, (struct span){ (const char *)s->octets, s->n });
    for (struct span rest = buf_span(&all); rest.n > 0;
         rest = (struct span){ rest.p + n, rest.n - n }) {
        fold(b, 2);
        size_t room = COLUMNS - column(b);
        n = rest.n < room ? rest.n : room;
        buf_add(b, rest.p, n);
    }
    buf_adds(b, "\r\n");
}

/* --- the hash of the header ----------------------------------------------- */

struct hashing {
    struct digest *digest;
    const struct body *text;
    struct err *e;
};

static void put(void *ctx, const char *p, size_t n)
{
    digest_add(ctx, p, n);
}

static int add_value(struct hashing *x, const struct dkim_field *f)
{
    struct dkim_canon c = { .put = put, .ctx = x->digest };
    char piece[PIECE];

    for (uint64_t at = 0; at < f->n;) {
        uint64_t left = f->n - at;
        ssize_t n =
            body_read(x->text, f->at + at, piece,
                      left < sizeof piece ? (size_t)left : sizeof piece);
        if (n <= 0)
            return err_set(x->e, ERR_TEMP, n < 0 ? errno : EIO,
                           "read the header of a message");
        dkim_canon_value(&c, piece, (size_t)n);
        at += (uint64_t)n;
    }
    dkim_canon_value_end(&c);
    digest_add(x->digest, "\r\n", 2);
    return 0;
}

static int add_field(void *ctx, const struct dkim_field *f)
{
    struct hashing *x = ctx;
    const char *name = dkim_header_name(f->name);

    digest_add(x->digest, name, strlen(name));
    digest_add(x->digest, ":", 1);
    return add_value(x, f);
}

/* The field itself, with nothing behind its "b=". */
static void add_own_field(struct digest *d, struct span field)
{
    static const char name[] = "dkim-signature:";
    struct dkim_canon c = { .put = put, .ctx = d };
    size_t colon = span_find(field, ':') + 1;

    digest_add(d, name, sizeof name - 1);
    dkim_canon_value(&c, field.p + colon, field.n - colon);
    dkim_canon_value_end(&c);
}

int dkim_header_hash(unsigned char hash[DIGEST_SIZE], struct digest *d,
                     const struct dkim_header *h, const struct body *text,
                     struct span field, struct err *e)
{
    struct hashing x = { d, text, e };

    digest_start(d);
    digest_add(d, "from:", 5);
    if (add_value(&x, &h->from) != 0 || each_field(h, add_field, &x) != 0)
        return -1;
    add_own_field(d, field);
    return digest_end(d, hash)
               ? 0
               : err_set(e, ERR_TEMP, 0, "SHA-256: libcrypto refuses");
}
