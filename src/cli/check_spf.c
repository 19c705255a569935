/* check_spf.c - does the SPF record of a domain cover the addresses that mail
 * leaves from? */
#include "cli/spf.h"

#include <stdio.h>

static void ask_dns(void *ctx, const char *name, enum dns_type type,
                    struct check_answer *a)
{
    check_ask(ctx, name, type, a);
}

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
        check_say(k, CHECK_WARNING, "see 'resolver'",
                  "SPF of %s cannot be looked up now (%s)", domain, why->text);
        return;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL: break;
    }
    check_say(k, r == SPF_NEUTRAL ? CHECK_WARNING : CHECK_FAULT, fix,
              "SPF of %s does not cover %s: %s (%s)", domain, text, results[r],
              why->text);
}

void check_spf(struct checking *k)
{
    const struct spf_ask ask = { ask_dns, k };
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
                           spf_check(&ask, &k->addr[j].addr, domain,
                                     k->conf->hostname, &why),
                           &why);
    }
}
