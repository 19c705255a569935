/* check_spf.c - does the SPF record of a domain cover the addresses that mail
 * leaves from? */
#include "cli/check.h"
#include "cli/spf.h"

#include <stdio.h>

static void say_result(struct checking *k, const char *domain,
                       const struct addr *ip, enum spf_result r,
                       const struct spf_why *why)
{
    static const char *const results[] = { [SPF_FAIL] = "fail",
                                           [SPF_SOFTFAIL] = "softfail",
                                           [SPF_NEUTRAL] = "neutral" };
    char text[ADDR_TEXT], fix[160];

    addr_text(text, ip);
    snprintf(fix, sizeof fix, "put ip%d:%s into the TXT record of %.64s",
             addr_is_v6(ip) ? 6 : 4, text, domain);
    switch (r) {
    case SPF_PASS:
        check_say(k, CHECK_OK, NULL, "SPF of %s covers %s (%s)", domain, text,
                  why->text);
        return;
    case SPF_NONE:
        snprintf(fix, sizeof fix, "make a TXT record \"v=spf1 ip%d:%s -all\"",
                 addr_is_v6(ip) ? 6 : 4, text);
        check_say(k, CHECK_FAULT, fix, "%s has no SPF record", domain);
        return;
    case SPF_PERMERROR:
        check_say(k, CHECK_FAULT, "mend the record: it counts as none",
                  "SPF of %s is broken (%s)", domain, why->text);
        return;
    case SPF_TEMPERROR:
        check_say_unknown(k, "SPF of ", domain, why->text);
        return;
    case SPF_CANNOT_SAY:
        check_say(k, CHECK_WARNING, "look at that term yourself",
                  "SPF of %s cannot be evaluated here (%s)", domain, why->text);
        return;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL: break;
    }
    check_say(k, r == SPF_NEUTRAL ? CHECK_WARNING : CHECK_FAULT, fix,
              "SPF of %s does not cover %s: %s (%s)", domain, text, results[r],
              why->text);
}

bool check_spf_covers(struct checking *k, const char *domain)
{
    const struct check_lookup lookup = check_lookup(k);
    struct spf_why why;
    bool seen = false, covers = true;

    for (size_t i = 0; i < k->naddr; i++)
        if (!k->addr[i].hidden) {
            seen = true;
            covers &= spf_check(&lookup, &k->addr[i].addr, domain,
                                k->conf->hostname, &why) == SPF_PASS;
        }
    return seen && covers && !check_is_relayed(k);
}

void check_spf(struct checking *k)
{
    const struct check_lookup lookup = check_lookup(k);
    const char *domain;
    struct spf_why why;

    for (size_t i = 0; (domain = check_domain(k, i)) != NULL; i++) {
        if (check_is_relayed(k)) {
            check_say(k, CHECK_OK, NULL,
                      "mail of %s leaves by send.relay_host: its provider "
                      "names what SPF needs",
                      domain);
            continue;
        }
        for (size_t j = 0; j < k->naddr; j++)
            if (!k->addr[j].hidden)
                say_result(k, domain, &k->addr[j].addr,
                           spf_check(&lookup, &k->addr[j].addr, domain,
                                     k->conf->hostname, &why),
                           &why);
    }
}
