/* unbuilt.c - keys and values of the interface that this version lacks.
 *
 * A start refuses them by name instead of reporting an unknown key.  They have
 * no default and are not in the manual. */
#include "config/table.h"

#include <string.h>

/* A value that ends in a letter is the whole value or a word of it; else it
 * is what the value begins with.  "," is any list where one value may be. */
/* clang-format off */
static const char clients[] = "; clients that may send to any domain are known"
                              " by serve.relay_networks";
static const char verify[] = "; verify looks at the certificate";

static const struct {
    const char *key, *value; /* value NULL: all of it */
    const char *instead;     /* what to do meanwhile */
} unbuilt[] = {
    { "dns.trust_ad", NULL, "" },
    { "serve.listen", "submission", clients },
    { "serve.listen", "proxy", "" },
    { "serve.listen", "lmtp", "" },
    { "serve.extra_commands", "AUTH", clients },
    { "serve.extra_commands", "BDAT", "" },
    { "send.tls", "dane", verify },
    { "send.tls_policy", "dane", verify },
    { "send.mta_sts", NULL, "" },
};
/* clang-format on */

static bool fits(const char *word, struct span value)
{
    if (strcmp(word, ",") == 0)
        return span_find(value, ',') < value.n;
    return ascii_is_alpha(word[strlen(word) - 1])
               ? span_is_nocase(value, word)
               : span_starts_nocase(value, word);
}

const char *conf_unbuilt_value(const char *key, struct span value)
{
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++)
        if (unbuilt[i].value != NULL && strcmp(unbuilt[i].key, key) == 0 &&
            fits(unbuilt[i].value, value))
            return unbuilt[i].instead;
    return NULL;
}

bool conf_unbuilt_key(struct span key)
{
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++)
        if (unbuilt[i].value == NULL && span_is(key, unbuilt[i].key))
            return true;
    return false;
}

bool conf_unbuilt_group(struct span name)
{
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++)
        if (strncmp(unbuilt[i].key, name.p, name.n) == 0 &&
            unbuilt[i].key[name.n] == '.')
            return true;
    return false;
}
