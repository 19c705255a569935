#include "zone.h"

#include "dns/message.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static enum dns_type type_of(struct span word)
{
    return span_is(word, "A")      ? DNS_A
           : span_is(word, "AAAA") ? DNS_AAAA
           : span_is(word, "MX")   ? DNS_MX
           : span_is(word, "PTR")  ? DNS_PTR
                                   : DNS_TXT;
}

static struct span take_word(struct span *line)
{
    size_t n = span_find(*line, ' ');
    struct span word = { line->p, n };

    n += n < line->n;
    line->p += n;
    line->n -= n;
    return word;
}

static void add(struct check_answer *a, enum dns_type type, struct span data)
{
    struct dns_rr *rr = &a->rr[a->n++];

    ck_assert_uint_le(a->n, DNS_RR_MAX);
    *rr = (struct dns_rr){ .ttl = 60 };
    if (type == DNS_A || type == DNS_AAAA) {
        ck_assert(addr_parse_ip(&rr->addr, data, 0));
    } else if (type == DNS_TXT) {
        size_t size = sizeof a->text - a->ntext;
        rr->text = a->text + a->ntext;
        ck_assert(span_copy(a->text + a->ntext, size, data));
        a->ntext += data.n + 1;
    } else if (!span_is(data, ".")) {
        ck_assert(span_copy(rr->name, sizeof rr->name, data));
    }
}

static void take_line(struct check_answer *a, struct span line,
                      const char *name, enum dns_type type)
{
    if (!span_is_nocase(take_word(&line), name))
        return;
    struct span what = take_word(&line);
    if (a->status == DNS_NXDOMAIN)
        a->status = DNS_NODATA;
    if (span_is(what, "FAIL")) {
        a->status = DNS_FAILED;
        snprintf(a->why, sizeof a->why, "%s times out", name);
    } else if (what.n > 0 && type_of(what) == type) {
        a->status = DNS_OK;
        add(a, type, line);
    }
}

static void look_up(void *ctx, const char *name, enum dns_type type,
                    struct check_answer *a)
{
    struct zone *z = ctx;
    struct span rest = span_of(z->text), line;
    char normal[DNS_NAME_MAX];

    z->asked++;
    a->n = a->ntext = 0;
    a->why[0] = '\0';
    a->status = dns_name_normal(normal, name) ? DNS_NXDOMAIN : DNS_BADNAME;
    while (rest.n > 0 && a->status != DNS_BADNAME) {
        size_t n = span_find(rest, '\n');
        line = (struct span){ rest.p, n };
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
        take_line(a, line, normal, type);
    }
}

struct check_lookup zone_lookup(struct zone *z)
{
    return (struct check_lookup){ look_up, z };
}
