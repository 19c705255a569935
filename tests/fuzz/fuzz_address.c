/* fuzz_address.c - a path between < and >. */
#include "base/utf8.h"
#include "fuzz.h"
#include "smtp/address.h"

static void check_parts(const struct smtp_address *a, struct span whole)
{
    bool high = false;

    MUST(inside(a->text, whole));
    MUST(a->text.n + 2 <= SMTP_PATH_MAX);
    MUST(a->local.n > 0);
    MUST(a->domain.n <= SMTP_DOMAIN_MAX);
    MUST(a->local.p == a->text.p);
    if (a->domain.n > 0) {
        MUST(a->domain.p[-1] == '@');
        MUST(a->domain.p + a->domain.n == a->text.p + a->text.n);
    }
    for (size_t i = 0, len; i < a->text.n; i += len) {
        unsigned char c = (unsigned char)a->text.p[i];
        len = utf8_length(a->text.p + i, a->text.n - i);
        MUST(len > 0 && c >= ' ' && c != 0x7f);
        high = high || c >= 0x80;
    }
    MUST(a->is_utf8 == high);
    MUST(a->is_literal == (a->domain.n > 0 && a->domain.p[0] == '['));
}

/* Unquoted and quoted again, an address means the same. */
static void requote(const struct smtp_address *a)
{
    char plain[SMTP_ADDRESS_MAX], again[SMTP_ADDRESS_MAX];
    char quoted[2 * SMTP_ADDRESS_MAX + 3];
    size_t n = 0;

    MUST(smtp_local_unquote(plain, sizeof plain, a->local));
    quoted[n++] = '"';
    for (const char *p = plain; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            quoted[n++] = '\\';
        quoted[n++] = *p;
    }
    quoted[n++] = '"';
    MUST(smtp_local_unquote(again, sizeof again, (struct span){ quoted, n }));
    MUST(strcmp(plain, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *copy = exact_copy(data, n), small[8];
    struct span path = { copy, n };
    struct smtp_address a, again;

    enum smtp_address_error e = smtp_address_parse(&a, path);
    MUST(smtp_address_why(e)[0] != '\0');
    if (e == SMTP_ADDRESS_OK || e == SMTP_ADDRESS_NO_DOMAIN) {
        check_parts(&a, path);
        requote(&a);
        /* What was left after the route parses to itself. */
        MUST(smtp_address_parse(&again, a.text) == e);
        MUST(span_eq(again.text, a.text) && span_eq(again.local, a.local));
    }
    if (e == SMTP_ADDRESS_OK && !a.is_literal && !a.is_utf8)
        MUST(smtp_domain_valid(a.domain));
    smtp_domain_valid(path);
    if (smtp_local_unquote(small, sizeof small, path))
        MUST(strlen(small) <= n);
    else
        MUST(small[0] == '\0');
    free(copy);
    return 0;
}
