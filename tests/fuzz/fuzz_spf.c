/* fuzz_spf.c - records of strangers for SPF and DMARC.
 *
 * The first octet: IPv4 or IPv6.  Each line behind it answers a look-up, in
 * order and then again from the first: "!" fails, "-" finds nothing; else the
 * records of the name, with "|" between them. */
#include "cli/dmarc.h"
#include "cli/spf.h"
#include "fuzz.h"

struct script {
    struct span lines, rest;
    unsigned asked;
};

static struct span take(struct span *rest, char end)
{
    size_t n = span_find(*rest, end);
    struct span part = { rest->p, n };

    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return part;
}

/* An address has the last octets of the text. */
static void add(struct check_answer *a, enum dns_type type, struct span data)
{
    struct dns_rr *rr = &a->rr[a->n];
    unsigned char octets[16] = { 0 };

    if (a->n == DNS_RR_MAX)
        return;
    *rr = (struct dns_rr){ .ttl = 60 };
    for (size_t i = 0; i < data.n; i++)
        octets[i % sizeof octets] = (unsigned char)data.p[i];
    if (type == DNS_A) {
        addr_from_v4(&rr->addr, octets, 0);
    } else if (type == DNS_AAAA) {
        addr_from_v6(&rr->addr, octets, 0);
    } else if (type == DNS_TXT) {
        if (!span_copy(a->text + a->ntext, sizeof a->text - a->ntext, data))
            return;
        rr->text = a->text + a->ntext;
        a->ntext += data.n + 1;
    } else if (!span_copy(rr->name, sizeof rr->name, data)) {
        return;
    }
    a->n++;
}

static void look_up(void *ctx, const char *name, enum dns_type type,
                    struct check_answer *a)
{
    struct script *s = ctx;

    MUST(strlen(name) < DNS_NAME_MAX + 8);
    s->asked++;
    if (s->rest.n == 0)
        s->rest = s->lines;
    struct span line = take(&s->rest, '\n');
    a->n = a->ntext = 0;
    snprintf(a->why, sizeof a->why, "x");
    a->status = line.n > 0 && line.p[0] == '!'    ? DNS_FAILED
                : line.n == 0 || line.p[0] == '-' ? DNS_NXDOMAIN
                                                  : DNS_OK;
    while (a->status == DNS_OK && line.n > 0)
        add(a, type, take(&line, '|'));
    if (a->status == DNS_OK && a->n == 0)
        a->status = DNS_NODATA;
}

static void try_spf(struct span lines, bool v6)
{
    struct script s = { lines, lines, 0 };
    const struct check_lookup lookup = { look_up, &s };
    struct spf_why why;
    struct addr ip;

    MUST(addr_parse_ip(&ip, span_of(v6 ? "2001:db8::1" : "192.0.2.1"), 0));
    enum spf_result r = spf_check(&lookup, &ip, "d.test", "mx.d.test", &why);
    MUST(r >= SPF_NONE && r <= SPF_CANNOT_SAY);
    MUST(memchr(why.text, '\0', sizeof why.text) != NULL);
    MUST(r == SPF_NONE || why.text[0] != '\0');
    /* the record; a term with its hosts; names of the address once */
    MUST(s.asked <= 1 + 10 * 11 + 11);
}

static void try_dmarc(struct span lines)
{
    struct script s = { lines, lines, 0 };
    const struct check_lookup lookup = { look_up, &s };
    struct dmarc_policy p;

    dmarc_find(&p, &lookup, "a.b.c.d.e.f.g.h.i.test");
    MUST(s.asked <= 9);
    if (p.status != DMARC_FOUND)
        return;
    MUST(p.domain[0] != '\0' && p.org[0] != '\0');
    (void)dmarc_judge(&p, &lookup, "a.b.c.d.e.f.g.h.i.test", "k.i.test");
    MUST(s.asked <= 9 + 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2 || n > 20000)
        return 0;
    char *copy = exact_copy(data + 1, n - 1);
    struct span lines = { copy, n - 1 };

    try_spf(lines, (data[0] & 1) != 0);
    try_dmarc(lines);
    free(copy);
    return 0;
}
