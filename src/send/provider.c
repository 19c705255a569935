/* provider.c - the table of large receivers by the names of their MX hosts. */
#include "send/provider.h"

#include "base/span.h"

#include <string.h>

/* Those that count a sender's mail over all domains that they host. */
/* clang-format off */
static const struct {
    const char *group, *suffix;
    enum provider_kind kind;
} rows[] = {
    /* aspmx.l.google.com, smtp.google.com */
    { "google", ".google.com", PROVIDER_TENANTS },
    { "google", ".googlemail.com", PROVIDER_TENANTS },
    /* .mail., .olc. */
    { "microsoft", ".protection.outlook.com", PROVIDER_TENANTS },
    { "microsoft", ".mx.microsoft", PROVIDER_TENANTS }, /* new since 2026 */
    { "yahoo", ".yahoodns.net", PROVIDER_ONE },         /* AOL too */
    { "yandex", ".yandex.ru", PROVIDER_ONE },
    { "yandex", ".yandex.net", PROVIDER_ONE },
    { "icloud", ".mail.icloud.com", PROVIDER_ONE },
    { "mailru", ".mail.ru", PROVIDER_ONE },
    { "gmx", ".gmx.net", PROVIDER_ONE },
    { "gmx", ".web.de", PROVIDER_ONE },
    { "t-online", ".t-online.de", PROVIDER_ONE },
    /* its customers' lines have more labels */
    { "comcast", "*.comcast.net", PROVIDER_ONE },
    { "orange", ".orange.fr", PROVIDER_ONE },
    { "proofpoint", ".pphosted.com", PROVIDER_FRONT },
    { "mimecast", ".mimecast.com", PROVIDER_FRONT },
};
/* clang-format on */
enum { NROWS = sizeof rows / sizeof rows[0] };

enum provider_kind provider_kind(const char *group)
{
    for (size_t i = 0; group != NULL && i < NROWS; i++)
        if (strcmp(rows[i].group, group) == 0)
            return rows[i].kind;
    return PROVIDER_ONE;
}

/* The length of the suffix if the host has it, else 0.  "*": of one label. */
static size_t fit(const char *host, const char *suffix)
{
    bool one = suffix[0] == '*';
    size_t n = strlen(host), k = strlen(suffix += one);

    n -= n > 0 && host[n - 1] == '.';
    if (suffix[0] == '.' ? n <= k : n != k)
        return 0;
    if (one && memchr(host, '.', n - k) != NULL)
        return 0;
    return span_is_nocase((struct span){ host + n - k, k }, suffix) ? k : 0;
}

const char *provider_of(const struct conf_providers *own, const char *host)
{
    const char *group = NULL;
    size_t best = 0, n;

    for (size_t i = 0; i < own->n; i++)
        if ((n = fit(host, own->item[i].suffix)) > best) {
            best = n;
            group = own->item[i].group;
        }
    for (size_t i = 0; i < NROWS; i++)
        if ((n = fit(host, rows[i].suffix)) > best) {
            best = n;
            group = rows[i].group;
        }
    return group;
}
