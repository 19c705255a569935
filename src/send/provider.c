/* provider.c - the table of large receivers by the names of their MX hosts. */
#include "send/provider.h"

#include "base/span.h"

#include <string.h>

/* Those that count a sender's mail over all domains that they host. */
static const struct {
    const char *group, *suffix;
} rows[] = {
    { "google", ".google.com" }, /* aspmx.l.google.com, smtp.google.com */
    { "google", ".googlemail.com" },
    { "microsoft", ".protection.outlook.com" }, /* .mail., .olc. */
    { "microsoft", ".mx.microsoft" },           /* new domains since 2026 */
    { "yahoo", ".yahoodns.net" },               /* AOL too */
    { "yandex", ".yandex.ru" },
    { "yandex", ".yandex.net" },
    { "icloud", ".mail.icloud.com" },
    { "mailru", ".mail.ru" },
    { "gmx", ".gmx.net" },
    { "gmx", ".web.de" },
    { "t-online", ".t-online.de" },
    { "comcast", "*.comcast.net" }, /* its customers' lines have more labels */
    { "orange", ".orange.fr" },
    { "proofpoint", ".pphosted.com" },
    { "mimecast", ".mimecast.com" },
};

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
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((n = fit(host, rows[i].suffix)) > best) {
            best = n;
            group = rows[i].group;
        }
    return group;
}
