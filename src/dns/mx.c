#include "dns/mx.h"

#include "base/idn.h"
#include "base/span.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TTL_MAX = 86400,
    WHY_MAX = sizeof((struct mx_result *)0)->why - 1,
    TTL_PARTIAL = 60, /* when a look-up failed */
    V4_SHARE = MX_ADDRS_MAX / 2,
    OPEN_MAX = 6 /* so that domains of many hosts leave queries for others */
};

/* The addresses of one host and family. */
struct family {
    struct mx_query *mx;
    struct dns_request *query; /* NULL: not open */
    size_t n;
    struct addr addr[MX_ADDRS_MAX];
};

struct mx_query {
    struct dns *dns;
    mx_fn *fn;
    void *ctx;
    unsigned want;
    struct dns_request *query; /* for the MX records; NULL: not open */
    bool implicit;             /* no MX: the domain is its own host */
    bool temp;                 /* a look-up of a host failed for now */
    char from[ADDR_PORT_TEXT]; /* the server of the last answer */
    size_t open;               /* look-ups of hosts not yet answered */
    size_t next;               /* host to be looked up */
    char domain[DNS_NAME_MAX];
    struct family v4[MX_HOSTS_MAX], v6[MX_HOSTS_MAX];
    struct mx_result r;
};

static void finish(struct mx_query *m, enum mx_status status, const char *why)
{
    m->r.status = status;
    if (m->r.why[0] == '\0')
        snprintf(m->r.why, sizeof m->r.why, "%.*s", WHY_MAX, why);
    if (status == MX_TEMP)
        m->r.ttl = 0;
    else
        m->r.unusable = false;
    if (status != MX_OK)
        m->r.nhost = 0;
    m->fn(m->ctx, &m->r);
    free(m);
}

/* No server failed: the text names the domain and the server. */
static void finish_named(struct mx_query *m, enum mx_status status,
                         const char *what)
{
    const char *from = m->from[0] != '\0' ? m->from : "no server";

    snprintf(m->r.why, sizeof m->r.why, "%s %.140s (from %.56s)", what,
             m->domain, from);
    finish(m, status, "");
}

static void limit_ttl(struct mx_query *m, uint32_t ttl)
{
    if (ttl < m->r.ttl)
        m->r.ttl = ttl;
}

/* --- the addresses ------------------------------------------------------ */

/* Copy at most `room` of n addresses at random, in their order, so that all
 * addresses of a large set share the load. */
static size_t draw(struct addr *to, size_t room, const struct addr *from,
                   size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n && kept < room; i++)
        if (arc4random_uniform((uint32_t)(n - i)) < room - kept)
            to[kept++] = from[i];
    return kept;
}

/* Join IPv6 and IPv4 addresses, IPv6 first, with room left for IPv4. */
static void join_families(struct mx_host *h, const struct family *v6,
                          const struct family *v4)
{
    size_t six = v6->n, left = v4->n < V4_SHARE ? v4->n : V4_SHARE;

    if (six > MX_ADDRS_MAX - left)
        six = MX_ADDRS_MAX - left;
    h->naddr = draw(h->addr, six, v6->addr, v6->n);
    h->naddr +=
        draw(h->addr + h->naddr, MX_ADDRS_MAX - h->naddr, v4->addr, v4->n);
}

/* Keep the hosts that have an address. */
static void keep_hosts(struct mx_query *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->r.nhost; i++) {
        join_families(&m->r.host[i], &m->v6[i], &m->v4[i]);
        if (m->r.host[i].naddr == 0)
            continue;
        if (kept != i)
            m->r.host[kept] = m->r.host[i];
        kept++;
    }
    m->r.nhost = kept;
}

static void conclude(struct mx_query *m)
{
    keep_hosts(m);
    if (m->r.nhost > 0) {
        m->r.why[0] = '\0';
        if (m->temp)
            limit_ttl(m, TTL_PARTIAL);
        finish(m, MX_OK, "");
    } else if (m->temp) {
        finish(m, MX_TEMP, "a look-up of addresses failed");
    } else if (m->implicit) {
        finish_named(m, MX_NO_DOMAIN,
                     (m->want & MX_DIRECT) != 0
                         ? "no address records for"
                         : "no MX and no address records for");
    } else {
        finish_named(m, MX_NO_HOST, "no address records for any MX host of");
    }
}

/* The first failure stays the reason. */
static void note_temp(struct mx_query *m, const char *why, bool unusable)
{
    m->temp = true;
    if (m->r.why[0] != '\0')
        return;
    snprintf(m->r.why, sizeof m->r.why, "%.*s", WHY_MAX, why);
    m->r.unusable = unusable;
}

static void note_server(struct mx_query *m, const struct dns_answer *a)
{
    if (a->from[0] != '\0')
        snprintf(m->from, sizeof m->from, "%s", a->from);
}

static bool ask_hosts(struct mx_query *m);

static void on_addresses(void *ctx, const struct dns_answer *a)
{
    struct family *f = ctx;
    struct mx_query *m = f->mx;

    f->query = NULL;
    if (a->status == DNS_FAILED)
        note_temp(m, a->why, a->unusable);
    else
        note_server(m, a);
    if (a->status != DNS_FAILED && a->status != DNS_BADNAME)
        limit_ttl(m, a->ttl);
    struct addr all[DNS_RR_MAX];
    for (size_t i = 0; i < a->n; i++)
        all[i] = a->rr[i].addr;
    f->n = draw(f->addr, MX_ADDRS_MAX, all, a->n);
    m->open--;
    if (!ask_hosts(m))
        conclude(m);
}

static void ask_family(struct mx_query *m, struct family *f, const char *host,
                       enum dns_type type)
{
    struct err e;

    f->mx = m;
    f->query = dns_ask(m->dns, host, type, on_addresses, f, &e);
    if (f->query != NULL)
        m->open++;
    else
        note_temp(m, e.text, false);
}

/* A few at a time; the answers come from the loop.  False: none is open, so
 * none will come. */
static bool ask_hosts(struct mx_query *m)
{
    for (; m->next < m->r.nhost && m->open < OPEN_MAX; m->next++) {
        size_t i = m->next;
        if ((m->want & MX_V6) != 0)
            ask_family(m, &m->v6[i], m->r.host[i].name, DNS_AAAA);
        if ((m->want & MX_V4) != 0)
            ask_family(m, &m->v4[i], m->r.host[i].name, DNS_A);
    }
    return m->open > 0;
}

/* --- the hosts ---------------------------------------------------------- */

static void only_host(struct mx_query *m)
{
    m->implicit = true;
    m->r.nhost = 1;
    m->r.host[0].preference = 0;
    memcpy(m->r.host[0].name, m->domain, sizeof m->domain);
}

static bool has_host(const struct mx_query *m, const char *name)
{
    for (size_t i = 0; i < m->r.nhost; i++)
        if (span_is_nocase(span_of(name), m->r.host[i].name))
            return true;
    return false;
}

/* Best first; a host named twice counts where it is best.  RFC 5321 5.1:
 * equal ones in random order, so a shuffle before a stable sort. */
static void take_hosts(struct mx_query *m, const struct dns_answer *a)
{
    const struct dns_rr *rr[DNS_RR_MAX];

    for (size_t i = 0; i < a->n; i++) {
        size_t j = arc4random_uniform((uint32_t)i + 1);
        rr[i] = rr[j];
        rr[j] = &a->rr[i];
    }
    for (size_t i = 1; i < a->n; i++) {
        const struct dns_rr *x = rr[i];
        size_t j = i;
        for (; j > 0 && rr[j - 1]->preference > x->preference; j--)
            rr[j] = rr[j - 1];
        rr[j] = x;
    }
    for (size_t i = 0; i < a->n && m->r.nhost < MX_HOSTS_MAX; i++) {
        if (rr[i]->name[0] == '\0' || has_host(m, rr[i]->name))
            continue;
        struct mx_host *h = &m->r.host[m->r.nhost++];
        h->preference = rr[i]->preference;
        memcpy(h->name, rr[i]->name, sizeof h->name);
    }
}

static void on_mx_records(struct mx_query *m, const struct dns_answer *a)
{
    take_hosts(m, a);
    /* RFC 5321 5.1: MX present but not usable is an error, and the address of
     * the domain is not tried. */
    if (a->n == 0)
        finish_named(m, MX_NO_HOST, "no possible host name in the MX of");
    else if (m->r.nhost == 0) /* the root alone: RFC 7505 */
        finish_named(m, MX_NULL, "the domain takes no mail (null MX):");
    else if (!ask_hosts(m))
        conclude(m);
}

static void on_mx(void *ctx, const struct dns_answer *a)
{
    struct mx_query *m = ctx;

    m->query = NULL;
    m->r.ttl = a->ttl;
    m->r.unusable = a->unusable;
    note_server(m, a);
    switch (a->status) {
    case DNS_OK: on_mx_records(m, a); return;
    case DNS_NODATA:
        only_host(m);
        if (!ask_hosts(m))
            conclude(m);
        return;
    case DNS_NXDOMAIN:
    case DNS_BADNAME: finish(m, MX_NO_DOMAIN, a->why); return;
    case DNS_FAILED: break;
    }
    finish(m, MX_TEMP, a->why);
}

/* --- for callers -------------------------------------------------------- */

struct mx_query *mx_ask(struct dns *d, const char *domain, unsigned want,
                        mx_fn *fn, void *ctx, struct err *e)
{
    struct mx_query *m = calloc(1, sizeof *m);

    if (m == NULL) {
        err_set(e, ERR_TEMP, errno, "look for the mail hosts of %s", domain);
        return NULL;
    }
    m->dns = d;
    m->fn = fn;
    m->ctx = ctx;
    m->want = want;
    m->r.ttl = TTL_MAX;
    /* Query an invalid name as the root, so that the error is delivered from
     * the loop too. */
    bool possible = idn_ascii(m->domain, domain);
    if (possible && (want & MX_DIRECT) != 0) {
        only_host(m);
        if (ask_hosts(m))
            return m;
        err_set(e, ERR_TEMP, ENOMEM, "look for the addresses of %s", domain);
    } else {
        m->query = dns_ask(d, m->domain, DNS_MX, on_mx, m, e);
        if (m->query != NULL)
            return m;
    }
    free(m);
    return NULL;
}

void mx_cancel(struct mx_query *m)
{
    if (m == NULL)
        return;
    dns_cancel(m->query);
    for (size_t i = 0; i < MX_HOSTS_MAX; i++) {
        dns_cancel(m->v4[i].query);
        dns_cancel(m->v6[i].query);
    }
    free(m);
}
