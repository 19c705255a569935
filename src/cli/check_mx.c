/* check_mx.c - do the MX records of our domains lead here? */
#include "cli/check.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool leads_here(const struct checking *k, const struct mx_result *mx)
{
    for (size_t i = 0; i < mx->nhost; i++) {
        const struct mx_host *h = &mx->host[i];
        if (strcasecmp(h->name, k->conf->hostname) == 0)
            return true;
        for (size_t j = 0; j < h->naddr; j++)
            if (check_is_ours(k, &h->addr[j]))
                return true;
    }
    return false;
}

static void check_one(struct checking *k, const char *domain)
{
    static const char make[] = "make an MX record with the hostname, or take "
                               "the domain out of local.domains";
    struct mx_result *mx = check_ask_mx(k, domain);

    if (mx == NULL)
        return;
    if (mx->status == MX_OK && leads_here(k, mx))
        check_say(k, CHECK_OK, NULL, "the MX of %s leads here", domain);
    else if (mx->status == MX_OK)
        check_say(k, CHECK_WARNING,
                  "change the MX record, or take the domain out of "
                  "local.domains: mail from here for it stays here",
                  "the MX of %s is %s, not this host", domain,
                  mx->host[0].name);
    else if (mx->status == MX_TEMP)
        check_say_unknown(k, "the MX of ", domain, mx->why);
    else if (mx->status == MX_NULL)
        check_say(k, CHECK_WARNING, make,
                  "%s says that it takes no mail (null MX)", domain);
    else
        check_say(k, CHECK_WARNING, make,
                  "mail of others for %s finds no host (%s)", domain, mx->why);
    free(mx);
}

void check_mx(struct checking *k)
{
    const char *domain;

    for (size_t i = 0; (domain = check_local_domain(k, i)) != NULL; i++)
        check_one(k, domain);
    if (check_local_domain(k, 0) == NULL)
        check_say(k, CHECK_OK, NULL,
                  "no domain of local.domains is one that others can know");
}
