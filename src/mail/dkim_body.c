#include "mail/dkim_body.h"

#include "mail/dkim_canon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where in the header: behind CRLF, behind that and CR, in a line, behind its
 * CR. */
enum { LINE_START, EMPTY_CR, IN_LINE, LINE_CR, IN_BODY };

struct dkim_body {
    struct digest *digest;
    struct dkim_canon canon;
    unsigned char state;
};

static void put(void *ctx, const char *p, size_t n)
{
    digest_add(ctx, p, n);
}

int dkim_body_new(struct dkim_body **out, struct err *e)
{
    struct dkim_body *b = calloc(1, sizeof *b);

    if (b == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a body hash");
    if (digest_new(&b->digest, e) != 0) {
        free(b);
        return -1;
    }
    b->canon = (struct dkim_canon){ .put = put, .ctx = b->digest };
    *out = b;
    return 0;
}

void dkim_body_free(struct dkim_body **b)
{
    if (*b == NULL)
        return;
    digest_free(&(*b)->digest);
    free(*b);
    *b = NULL;
}

void dkim_body_skip_header(struct dkim_body *b)
{
    b->state = IN_BODY;
}

/* Returns what is left behind the empty line. */
static size_t skip_header(struct dkim_body *b, const char *p, size_t n)
{
    const char *end = p + n;

    while (p < end && b->state != IN_BODY) {
        if (b->state == IN_LINE) {
            p = memchr(p, '\r', (size_t)(end - p));
            if (p == NULL)
                return 0;
        }
        bool ends = *p == '\n';
        if (*p == '\r')
            b->state = b->state == LINE_START ? EMPTY_CR : LINE_CR;
        else if (ends && b->state == EMPTY_CR)
            b->state = IN_BODY;
        else
            b->state = ends && b->state == LINE_CR ? LINE_START : IN_LINE;
        p++;
    }
    return (size_t)(end - p);
}

void dkim_body_add(struct dkim_body *b, const char *p, size_t n)
{
    size_t left = b->state == IN_BODY ? n : skip_header(b, p, n);

    dkim_canon_body(&b->canon, p + n - left, left);
}

bool dkim_body_end(struct dkim_body *b, unsigned char hash[DIGEST_SIZE])
{
    dkim_canon_body_end(&b->canon);
    return digest_end(b->digest, hash);
}
