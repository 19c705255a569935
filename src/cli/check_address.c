/* check_address.c - name and addresses of this host, as others see them. */
#include "cli/check.h"

#include "base/network.h"
#include "dns/fcrdns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

bool check_is_ours(const struct checking *k, const struct addr *a)
{
    for (size_t i = 0; i < k->naddr; i++)
        if (addr_same_host(&k->addr[i].addr, a))
            return true;
    return false;
}

bool check_is_relayed(const struct checking *k)
{
    return k->conf->send.relay_host.n > 0;
}

/* localhost, and names without a dot, mean something on this host alone. */
static bool is_public(const char *domain)
{
    size_t n = strlen(domain);

    return domain[0] != '[' && strchr(domain, '.') != NULL &&
           (n < 10 || strcasecmp(domain + n - 10, ".localhost") != 0);
}

const char *check_local_domain(const struct checking *k, size_t n)
{
    const struct conf_domains *d = &k->conf->local.domains;

    for (size_t i = 0; i < d->n; i++)
        if (is_public(d->item[i].name) && n-- == 0)
            return d->item[i].name;
    return NULL;
}

/* With repetitions. */
static const char *sender_domain(const struct checking *k, size_t n)
{
    const struct conf_dkim_keys *keys = &k->conf->dkim.keys;
    const char *from = k->conf->rewrite.from, *domain;

    if (from[0] != '\0') {
        if (n-- == 0)
            return strrchr(from, '@') + 1;
    } else {
        for (size_t i = 0; (domain = check_local_domain(k, i)) != NULL; i++)
            if (n-- == 0)
                return domain;
    }
    return n < keys->n ? keys->item[n].domain : NULL;
}

const char *check_domain(const struct checking *k, size_t n)
{
    const char *domain;

    for (size_t i = 0; (domain = sender_domain(k, i)) != NULL; i++) {
        bool known = false;
        for (size_t j = 0; j < i; j++)
            known |= strcasecmp(sender_domain(k, j), domain) == 0;
        if (!known && n-- == 0)
            return domain;
    }
    return NULL;
}

/* --- the name ------------------------------------------------------------- */

static bool resolves(struct checking *k, const char *name, enum dns_type type,
                     struct check_answer *a, bool *ours)
{
    check_ask(k, name, type, a);
    for (size_t i = 0; i < a->n; i++)
        *ours |= check_is_ours(k, &a->rr[i].addr);
    return a->n > 0;
}

/* Is an address known that others see mail come from? */
static bool is_seen(const struct checking *k)
{
    bool seen = false;

    for (size_t i = 0; i < k->naddr; i++)
        seen |= !k->addr[i].hidden;
    return seen && !check_is_relayed(k);
}

void check_hostname(struct checking *k)
{
    const char *name = k->conf->hostname;
    struct check_answer *a = malloc(sizeof *a);
    bool ours = false;

    if (a == NULL)
        return;
    if (!is_public(name)) {
        check_say(k, CHECK_FAULT,
                  "set hostname to the full name of this host, as "
                  "mail.example.com",
                  "'%s' is no fully qualified name: others refuse it in HELO",
                  name);
    } else {
        bool v4 = resolves(k, name, DNS_A, a, &ours);
        bool v6 = resolves(k, name, DNS_AAAA, a, &ours);
        if ((v4 || v6) && (ours || !is_seen(k)))
            check_say(k, CHECK_OK, NULL, "%s has an address in the DNS", name);
        else if (v4 || v6)
            check_say(k, CHECK_WARNING,
                      "change its A or AAAA record, or set hostname to the "
                      "name of the address",
                      "%s has another address in the DNS than mail leaves from",
                      name);
        else if (a->status == DNS_FAILED)
            check_say_unknown(k, "", name, a->why);
        else
            check_say(k, CHECK_WARNING,
                      "make an A or AAAA record, or set hostname to a name "
                      "that has one",
                      "%s has no address in the DNS", name);
    }
    free(a);
}

/* --- the addresses -------------------------------------------------------- */

/* Not seen by others: RFC 1918, RFC 6598, RFC 4193, link-local, loopback. */
static bool is_private(const struct addr *a)
{
    static const char *const networks[] = {
        "10.0.0.0/8",    "172.16.0.0/12",  "192.168.0.0/16",
        "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7",      "fe80::/10",      "::1/128",
    };
    struct net_cidr n;

    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (net_cidr_parse(&n, span_of(networks[i]), NULL) == 0 &&
            net_cidr_has(&n, a))
            return true;
    return false;
}

/* The source that the routing table has for an address of a root name server;
 * connecting a UDP socket sends nothing. */
static bool source_of(struct addr *out, const char *there)
{
    struct addr to;
    socklen_t len = sizeof out->u;

    if (!addr_parse_ip(&to, span_of(there), 53))
        return false;
    int fd = socket(to.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok =
        addr_connect(fd, &to) == 0 && getsockname(fd, &out->u.sa, &len) == 0;
    close(fd);
    if (ok)
        addr_from_sockaddr(out, &out->u.sa);
    return ok;
}

static void add_source(struct checking *k, const char *there)
{
    struct addr a;

    if (source_of(&a, there)) {
        addr_set_port(&a, 0);
        k->addr[k->naddr++].addr = a;
    }
}

void check_addresses(struct checking *k)
{
    char text[ADDR_TEXT];

    if (k->naddr == 0) {
        add_source(k, "198.41.0.4");
        add_source(k, "2001:503:ba3e::2:30");
    }
    if (k->naddr == 0)
        check_say(k, check_is_relayed(k) ? CHECK_WARNING : CHECK_FAULT,
                  "give this host a default route",
                  "there is no route to the Internet");
    for (size_t i = 0; i < k->naddr; i++) {
        struct check_addr *a = &k->addr[i];
        a->hidden = is_private(&a->addr);
        addr_text(text, &a->addr);
        if (a->hidden)
            check_say(k, CHECK_WARNING,
                      "see what address others see, and give it with "
                      "--address",
                      "mail leaves from %s, which is behind NAT", text);
        else
            check_say(k, CHECK_OK, NULL, "mail leaves from %s", text);
    }
}

/* --- PTR ------------------------------------------------------------------ */

struct reverse {
    enum fcrdns_status status;
    char name[DNS_NAME_MAX];
    bool done;
};

static void on_name(void *ctx, enum fcrdns_status status, const char *name)
{
    struct reverse *r = ctx;

    r->status = status;
    snprintf(r->name, sizeof r->name, "%s", name != NULL ? name : "");
    r->done = true;
}

static void say_reverse(struct checking *k, const char *address,
                        const struct reverse *r)
{
    const char *host = k->conf->hostname;

    switch (r->status) {
    case FCRDNS_OK:
        if (strcasecmp(r->name, host) == 0)
            check_say(k, CHECK_OK, NULL, "%s is %s, and back", address, host);
        else
            check_say(k, CHECK_WARNING,
                      "have the PTR record name the hostname, or set hostname "
                      "to that name",
                      "%s is %s in the DNS, while HELO has %s", address,
                      r->name, host);
        return;
    case FCRDNS_NO_PTR:
        check_say(k, CHECK_FAULT,
                  "have the owner of the network (the provider's panel) set "
                  "the PTR record to the hostname",
                  "%s has no PTR record: Gmail and others refuse its mail",
                  address);
        return;
    case FCRDNS_MISMATCH:
        check_say(k, CHECK_FAULT,
                  "make an A or AAAA record of that name, or another PTR "
                  "record",
                  "the PTR record of %s is %s, which has not that address",
                  address, r->name);
        return;
    case FCRDNS_TEMP: break;
    }
    check_say_unknown(k, "the name of ", address,
                      k->dns == NULL ? k->no_dns.text
                                     : "PTR, or the address of that name");
}

static void check_one(struct checking *k, const struct addr *a)
{
    struct reverse r = { .done = false };
    char text[ADDR_TEXT];
    struct err e;

    addr_text(text, a);
    struct fcrdns_query *q =
        k->dns != NULL ? fcrdns_ask(k->dns, a, on_name, &r, &e) : NULL;
    if (q == NULL || !check_wait(k, &r.done, &e)) {
        if (q != NULL)
            fcrdns_cancel(q);
        r.status = FCRDNS_TEMP;
    }
    say_reverse(k, text, &r);
}

void check_reverse(struct checking *k)
{
    if (check_is_relayed(k)) {
        check_say(k, CHECK_OK, NULL,
                  "mail leaves by send.relay_host: its name counts");
        return;
    }
    for (size_t i = 0; i < k->naddr; i++)
        if (!k->addr[i].hidden)
            check_one(k, &k->addr[i].addr);
}
