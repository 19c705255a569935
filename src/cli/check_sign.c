/* check_sign.c - DKIM records of our keys, and the DMARC policy that mail of
 * our domains meets. */
#include "cli/check.h"
#include "cli/dmarc.h"
#include "cli/tag_list.h"

#include "base/base64.h"
#include "base/digest_key.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_MAX = 1200 };

/* --- DKIM ----------------------------------------------------------------- */

static int public_text(char out[TAG_MAX], const struct conf_dkim_key *key,
                       struct err *e)
{
    struct digest_key *k = NULL;
    struct digest_public p;
    struct buf b;

    if (digest_key_load(&k, key->path, e) != 0)
        return -1;
    int rc = digest_key_public(k, &p, e);
    digest_key_free(&k);
    if (rc != 0)
        return -1;
    buf_init(&b, out, TAG_MAX);
    base64_encode(&b, (struct span){ (const char *)p.octets, p.n });
    return 0;
}

static void say_record(struct checking *k, const struct conf_dkim_key *key,
                       const char *name, const char *text,
                       const struct check_answer *a)
{
    char value[TAG_MAX], flags[32], fix[CONF_PATH_MAX + 64];

    snprintf(fix, sizeof fix, "put the output of 'mta dkim record %s' there",
             key->path);
    for (size_t i = 0; i < a->n; i++) {
        if (!tag_list_find(value, sizeof value, a->rr[i].text, "p") ||
            strcmp(value, text) != 0)
            continue;
        if (tag_list_find(flags, sizeof flags, a->rr[i].text, "t") &&
            strchr(flags, 'y') != NULL)
            check_say(k, CHECK_WARNING, "take t=y out of it",
                      "%s says that it is a test", name);
        else
            check_say(k, CHECK_OK, NULL, "%s has the key", name);
        return;
    }
    if (a->status == DNS_FAILED)
        check_say_unknown(k, "", name, a->why);
    else if (a->n == 0)
        check_say(k, CHECK_FAULT, fix, "there is no TXT record %s", name);
    else
        check_say(k, CHECK_FAULT, fix,
                  "%s has another key than %s: signatures fail", name,
                  key->path);
}

static void check_key(struct checking *k, const struct conf_dkim_key *key)
{
    char text[TAG_MAX], name[2 * CONF_NAME_MAX + 16];
    struct check_answer *a = malloc(sizeof *a);
    struct err e;

    if (a == NULL)
        return;
    snprintf(name, sizeof name, "%s._domainkey.%s", key->selector, key->domain);
    if (public_text(text, key, &e) != 0) {
        check_say_err(k, "name a private key in dkim.keys", &e);
    } else {
        check_ask(k, name, DNS_TXT, a);
        say_record(k, key, name, text, a);
    }
    free(a);
}

void check_dkim(struct checking *k)
{
    const struct conf_dkim_keys *keys = &k->conf->dkim.keys;

    if (keys->n == 0 && check_domain(k, 0) != NULL)
        check_say(k, CHECK_WARNING,
                  "make a key with 'mta dkim keygen', and name it in dkim.keys",
                  "mail leaves without a DKIM signature");
    for (size_t i = 0; i < keys->n; i++)
        check_key(k, &keys->item[i]);
}

/* --- DMARC ---------------------------------------------------------------- */

/* DMARC_FOUND: a key of ours is in line with the policy. */
static enum dmarc_status find_key(struct checking *k, struct dmarc_policy *p,
                                  const char *domain)
{
    const struct conf_dkim_keys *keys = &k->conf->dkim.keys;
    const struct check_lookup lookup = check_lookup(k);
    enum dmarc_status found = DMARC_NO_RECORD;

    for (size_t i = 0; i < keys->n && found != DMARC_FOUND; i++) {
        enum dmarc_status s =
            dmarc_judge(p, &lookup, domain, keys->item[i].domain);
        if (s != DMARC_NO_RECORD)
            found = s;
    }
    return found;
}

/* SPF is in line, be it strict or relaxed: the envelope has the domain of the
 * header. */
static void say_unsigned(struct checking *k, const char *domain,
                         const struct dmarc_policy *p, const char *policy)
{
    static const char sign[] = "sign with a key of that domain (dkim.keys): "
                               "SPF alone does not survive forwarding";

    if (check_spf_covers(k, domain))
        check_say(k, CHECK_WARNING, sign,
                  "mail of %s is in line with DMARC by SPF alone (%s)", domain,
                  policy);
    else
        check_say(k,
                  p->wish == DMARC_NONE || p->testing ? CHECK_WARNING
                                                      : CHECK_FAULT,
                  sign, "mail of %s has no signature in line with DMARC (%s)",
                  domain, policy);
}

static void say_policy(struct checking *k, const char *domain,
                       struct dmarc_policy *p)
{
    static const char *const wishes[] = { [DMARC_NONE] = "none",
                                          [DMARC_QUARANTINE] = "quarantine",
                                          [DMARC_REJECT] = "reject" };
    char policy[DNS_NAME_MAX + 64];
    enum dmarc_status found = find_key(k, p, domain);

    snprintf(policy, sizeof policy, "%s of %s%s", wishes[p->wish], p->domain,
             p->testing ? ", in test mode" : "");
    if (found == DMARC_FOUND)
        check_say(k, CHECK_OK, NULL,
                  "mail of %s is signed in line with DMARC (%s)", domain,
                  policy);
    else if (found == DMARC_FAILED)
        check_say_unknown(k, "DMARC of ", domain, p->why);
    else
        say_unsigned(k, domain, p, policy);
}

void check_dmarc(struct checking *k)
{
    const struct check_lookup lookup = check_lookup(k);
    const char *domain;
    struct dmarc_policy p;

    for (size_t i = 0; (domain = check_domain(k, i)) != NULL; i++) {
        dmarc_find(&p, &lookup, domain);
        if (p.status == DMARC_FOUND)
            say_policy(k, domain, &p);
        else if (p.status == DMARC_FAILED)
            check_say_unknown(k, "DMARC of ", domain, p.why);
        else
            check_say(k, CHECK_WARNING,
                      "make a TXT record \"v=DMARC1; p=none\" at _dmarc. of "
                      "the domain, then a stricter one",
                      "neither %s nor a domain above it has a DMARC record",
                      domain);
    }
}
