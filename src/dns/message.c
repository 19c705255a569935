#include "dns/message.h"

#include "base/span.h"

#include <netinet/in.h>
#include <string.h>

#include <arpa/nameser.h>
#include <resolv.h>

enum {
    HEADER_BYTES = 12,
    RECURSION_DESIRED = 1, /* in the third octet */
    TYPE_CLASS_BYTES = 4,
    OPT_TYPE = 41,
    OPT_BYTES = 11,
    SCAN_MAX = 1024, /* records looked at in one section: bounds the work */
    SOA_MIN_BYTES = 22
};

/* Octets that master files would escape are not valid in a mail domain. */
static bool octet_ok(char c)
{
    return c > ' ' && c < 0x7f && strchr("\".;\\()@$", c) == NULL;
}

bool dns_name_normal(char out[DNS_NAME_MAX], const char *name)
{
    size_t n = strlen(name), label = 0;

    out[0] = '\0';
    if (n > 0 && name[n - 1] == '.')
        n--;
    if (n == 0 || n > NS_MAXCDNAME - 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool dot = name[i] == '.';
        if (dot ? label == 0 : !octet_ok(name[i]) || label == NS_MAXLABEL)
            return false;
        label = dot ? 0 : label + 1;
    }
    if (label == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = ascii_lower(name[i]);
    out[n] = '\0';
    return true;
}

/* Copy a host name if it is fit for logs and header fields. */
static bool host_name(char out[DNS_NAME_MAX], const char *name)
{
    if (!dns_name_normal(out, name))
        return false;
    for (const char *p = out; *p != '\0'; p++)
        if (!ascii_is_alnum(*p) && strchr("-_.", *p) == NULL)
            return false;
    return true;
}

static bool same_name(const char *a, const char *b)
{
    return span_eq_nocase(span_of(a), span_of(b));
}

/* Is `name` the zone or below it? */
static bool below(const char *name, const char *zone)
{
    size_t n = strlen(name), z = strlen(zone);

    if (z == 0 || strcmp(zone, ".") == 0)
        return true;
    return n >= z && same_name(name + n - z, zone) &&
           (n == z || name[n - z - 1] == '.');
}

static void put_opt(unsigned char *p)
{
    memset(p, 0, OPT_BYTES); /* owner: the root; flags and length: 0 */
    p[2] = OPT_TYPE;
    p[3] = DNS_UDP_BYTES >> 8;
    p[4] = DNS_UDP_BYTES & 255;
}

int dns_message_query(unsigned char out[DNS_QUERY_BYTES],
                      const struct dns_question *q)
{
    unsigned char *name = out + HEADER_BYTES;

    /* Built by hand, because res_nmkquery() allocates, and in glibc 2.36 it
     * never releases a lock when that fails. */
    memset(out, 0, HEADER_BYTES);
    out[0] = (unsigned char)(q->id >> 8);
    out[1] = (unsigned char)(q->id & 255);
    out[2] = RECURSION_DESIRED;
    out[5] = 1; /* QDCOUNT */
    int n = dn_comp(q->name, name, NS_MAXCDNAME, NULL, NULL);
    if (n < 0)
        return -1;
    name[n] = (unsigned char)((unsigned)q->type >> 8);
    name[n + 1] = (unsigned char)((unsigned)q->type & 255);
    name[n + 2] = 0;
    name[n + 3] = ns_c_in;
    n += HEADER_BYTES + TYPE_CLASS_BYTES;
    if (!q->edns)
        return n;
    put_opt(out + n);
    out[11] = 1; /* ARCOUNT */
    return n + OPT_BYTES;
}

/* Replies with these codes may lack the question section. */
static bool rcode_without_question(unsigned rcode)
{
    return rcode == ns_r_formerr || rcode == ns_r_notimpl ||
           rcode == ns_r_servfail || rcode == ns_r_refused;
}

static bool question_fits(const struct dns_question *q,
                          const unsigned char *msg, size_t n)
{
    char name[NS_MAXDNAME];
    unsigned count = ns_get16(msg + 4);

    if (count == 0)
        return rcode_without_question(msg[3] & 15);
    if (count != 1)
        return false;
    int used = dn_expand(msg, msg + n, msg + HEADER_BYTES, name, sizeof name);
    if (used < 0 || n - HEADER_BYTES < (size_t)used + 4)
        return false;
    const unsigned char *p = msg + HEADER_BYTES + used;
    return same_name(name, q->name) && ns_get16(p) == (unsigned)q->type &&
           ns_get16(p + 2) == ns_c_in;
}

/* QR set, opcode QUERY, the id and the question of *q. */
static bool is_ours(const struct dns_question *q, const unsigned char *msg,
                    size_t n)
{
    return n >= HEADER_BYTES && ns_get16(msg) == q->id &&
           (msg[2] & 0xf8) == 0x80 && question_fits(q, msg, n);
}

/* RFC 2181 8: a TTL with the top bit set counts as 0. */
static uint32_t ttl_of(const ns_rr *rr, uint32_t max)
{
    uint32_t ttl = ns_rr_ttl(*rr);

    return ttl > INT32_MAX ? 0 : ttl > max ? max : ttl;
}

static bool read_target(char out[DNS_NAME_MAX], ns_msg *m, const ns_rr *rr,
                        size_t skip)
{
    char name[NS_MAXDNAME];

    if (ns_rr_rdlen(*rr) <= skip ||
        dn_expand(ns_msg_base(*m), ns_msg_end(*m), ns_rr_rdata(*rr) + skip,
                  name, sizeof name) < 0)
        return false;
    out[0] = '\0';
    if (name[0] == '\0' || strcmp(name, ".") == 0)
        return ns_rr_type(*rr) == ns_t_mx; /* the null MX of RFC 7505 */
    if (ns_rr_type(*rr) == ns_t_cname)
        return dns_name_normal(out, name);
    return host_name(out, name);
}

/* RFC 7208 3.3: the strings of a record are one text. */
static bool read_text(struct dns_rr *out, struct dns_found *f, const ns_rr *rr)
{
    const unsigned char *p = ns_rr_rdata(*rr), *end = p + ns_rr_rdlen(*rr);
    char *text = f->text + f->ntext, *at = text;

    if (ns_rr_rdlen(*rr) >= sizeof f->text - f->ntext)
        return false;
    while (p < end) {
        size_t n = *p++;
        if (n > (size_t)(end - p))
            return false;
        for (; n > 0; n--, p++)
            *at++ = *p != 0 ? (char)*p : '?';
    }
    *at++ = '\0';
    f->ntext += (size_t)(at - text);
    out->text = text;
    return true;
}

/* False: the record is unusable and left out. */
static bool read_record(struct dns_rr *out, struct dns_found *f, ns_msg *m,
                        const ns_rr *rr)
{
    memset(out, 0, sizeof *out);
    out->ttl = ttl_of(rr, DNS_TTL_MAX);
    switch ((int)ns_rr_type(*rr)) {
    case DNS_A:
        if (ns_rr_rdlen(*rr) != 4)
            return false;
        addr_from_v4(&out->addr, ns_rr_rdata(*rr), 0);
        return true;
    case DNS_AAAA:
        if (ns_rr_rdlen(*rr) != 16)
            return false;
        addr_from_v6(&out->addr, ns_rr_rdata(*rr), 0);
        return true;
    case DNS_MX:
        if (ns_rr_rdlen(*rr) < 3)
            return false;
        out->preference = (uint16_t)ns_get16(ns_rr_rdata(*rr));
        return read_target(out->name, m, rr, 2);
    case DNS_PTR: return read_target(out->name, m, rr, 0);
    case DNS_TXT: return read_text(out, f, rr);
    }
    return true; /* its presence alone counts */
}

static int section_count(ns_msg *m, ns_sect section)
{
    int n = ns_msg_count(*m, section);

    return n < SCAN_MAX ? n : SCAN_MAX;
}

static void lower_ttl(struct dns_parsed *out, uint32_t ttl)
{
    if (ttl < out->found.ttl)
        out->found.ttl = ttl;
}

enum chain_step { STEP_END, STEP_RECORDS, STEP_CNAME, STEP_BROKEN };

/* Scan the answer section once for records of out->name. */
static enum chain_step chain_step(struct dns_parsed *out, ns_msg *m,
                                  enum dns_type type)
{
    char target[DNS_NAME_MAX];
    enum chain_step step = STEP_END;
    ns_rr rr;

    for (int i = 0; i < section_count(m, ns_s_an); i++) {
        if (ns_parserr(m, ns_s_an, i, &rr) != 0)
            return STEP_BROKEN;
        if (ns_rr_class(rr) != ns_c_in || !same_name(ns_rr_name(rr), out->name))
            continue;
        if ((int)ns_rr_type(rr) == (int)type) {
            struct dns_rr *to = &out->found.rr[out->found.n];
            if (out->found.n == DNS_RR_MAX)
                continue;
            bool fit = read_record(to, &out->found, m, &rr);
            if (!fit && type != DNS_MX)
                continue;
            out->found.n += fit;
            lower_ttl(out, to->ttl);
            step = STEP_RECORDS;
        } else if (ns_rr_type(rr) == ns_t_cname && step == STEP_END) {
            if (!read_target(target, m, &rr, 0))
                return STEP_BROKEN;
            lower_ttl(out, ttl_of(&rr, DNS_TTL_MAX));
            step = STEP_CNAME;
        }
    }
    if (step == STEP_CNAME)
        memcpy(out->name, target, sizeof target);
    return step;
}

/* The reason of an empty answer, from the authority section (RFC 2308). */
struct denial {
    bool soa, ns;
    uint32_t ttl;
};

static void read_denial(struct denial *d, ns_msg *m, const char *name)
{
    ns_rr rr;

    for (int i = 0; i < section_count(m, ns_s_ns); i++) {
        if (ns_parserr(m, ns_s_ns, i, &rr) != 0)
            return;
        if (ns_rr_class(rr) != ns_c_in || !below(name, ns_rr_name(rr)))
            continue;
        if (ns_rr_type(rr) == ns_t_ns)
            d->ns = true;
        if (ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < SOA_MIN_BYTES)
            continue;
        const unsigned char *end = ns_rr_rdata(rr) + ns_rr_rdlen(rr);
        uint32_t minimum = (uint32_t)ns_get32(end - 4);
        uint32_t ttl = ttl_of(&rr, DNS_NEGATIVE_TTL_MAX);
        d->soa = true;
        d->ttl = minimum < ttl ? minimum : ttl;
        return;
    }
}

static void verdict(struct dns_parsed *out, enum dns_verdict v, const char *why)
{
    out->verdict = v;
    out->why = why;
}

/* The chain ends in a name without records here. */
static void judge_empty(struct dns_parsed *out, ns_msg *m, unsigned chained)
{
    struct denial d = { false, false, 0 };
    bool authoritative = ns_msg_getflag(*m, ns_f_aa) != 0;
    bool nxdomain = ns_msg_getflag(*m, ns_f_rcode) == ns_r_nxdomain;

    read_denial(&d, m, out->name);
    if (!nxdomain && !d.soa && chained > 0) {
        verdict(out, DNS_MSG_ALIAS, "");
        return;
    }
    if (!nxdomain && !d.soa && d.ns && !authoritative) {
        verdict(out, DNS_MSG_REFUSED, "referral instead of an answer");
        return;
    }
    /* RFC 2308 5: without an SOA the answer has no TTL. */
    lower_ttl(out, d.soa ? d.ttl : 0);
    out->found.status = nxdomain ? DNS_NXDOMAIN : DNS_NODATA;
    verdict(out, DNS_MSG_ANSWER, "");
}

static void follow(struct dns_parsed *out, const struct dns_question *q,
                   ns_msg *m)
{
    for (;;) {
        switch (chain_step(out, m, q->type)) {
        case STEP_BROKEN:
            verdict(out, DNS_MSG_BROKEN, "malformed answer");
            return;
        case STEP_RECORDS:
            out->found.status = DNS_OK;
            verdict(out, DNS_MSG_ANSWER, "");
            return;
        case STEP_END: judge_empty(out, m, out->hops - q->hops); return;
        case STEP_CNAME:
            if (++out->hops > DNS_CHAIN_MAX) {
                verdict(out, DNS_MSG_LOOP, "too many CNAME records");
                return;
            }
        }
    }
}

/* RFC 6891 6.1.3: the upper bits of the code are in the OPT record. */
static unsigned extended_rcode(ns_msg *m)
{
    ns_rr rr;

    for (int i = 0; i < section_count(m, ns_s_ar); i++) {
        if (ns_parserr(m, ns_s_ar, i, &rr) != 0)
            return 0;
        if ((int)ns_rr_type(rr) == OPT_TYPE)
            return (unsigned)(ns_rr_ttl(rr) >> 24);
    }
    return 0;
}

static void judge_rcode(struct dns_parsed *out, const struct dns_question *q,
                        unsigned rcode)
{
    if (q->edns && (rcode == ns_r_formerr || rcode == ns_r_notimpl))
        verdict(out, DNS_MSG_NO_EDNS, "no EDNS");
    else if (rcode == ns_r_servfail)
        verdict(out, DNS_MSG_SERVFAIL, "SERVFAIL");
    else if (rcode == ns_r_formerr)
        verdict(out, DNS_MSG_BROKEN, "FORMERR");
    else if (rcode == ns_r_notimpl)
        verdict(out, DNS_MSG_REFUSED, "NOTIMP");
    else if (rcode == ns_r_refused)
        verdict(out, DNS_MSG_REFUSED, "REFUSED");
    else
        verdict(out, DNS_MSG_BROKEN, "unexpected response code");
}

void dns_message_parse(struct dns_parsed *out, const struct dns_question *q,
                       const unsigned char *msg, size_t n)
{
    ns_msg m;

    verdict(out, DNS_MSG_ALIEN, "");
    out->hops = q->hops;
    out->found.n = out->found.ntext = 0;
    out->found.ttl = DNS_TTL_MAX;
    span_copy(out->name, sizeof out->name, span_of(q->name));
    if (n > NS_MAXMSG || !is_ours(q, msg, n))
        return;
    unsigned rcode = msg[3] & 15;
    if (rcode != ns_r_noerror && rcode != ns_r_nxdomain) {
        judge_rcode(out, q, rcode);
    } else if ((msg[2] & 2) != 0) { /* TC: the rest may be cut anywhere */
        verdict(out, DNS_MSG_TRUNCATED, "truncated");
    } else if (ns_initparse(msg, (int)n, &m) != 0) {
        verdict(out, DNS_MSG_BROKEN, "malformed answer");
    } else if (extended_rcode(&m) != 0) {
        verdict(out, q->edns ? DNS_MSG_NO_EDNS : DNS_MSG_BROKEN, "BADVERS");
    } else {
        follow(out, q, &m);
    }
}
