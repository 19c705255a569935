/* dnsask.c - ask the resolver from the command line, for the system tests.
 *
 * usage: dnsask [-t MS] [-n TRIES] [-q QUERIES] -s SERVER ... {KIND NAME} ...
 * KIND: a aaaa ptr mx (records), hosts hosts4 hosts6 direct (mail hosts),
 * rdns (confirmed name of an address).  One JSON object a line, in the order
 * of the answers; all are asked at once. */
#include "base/host_port.h"
#include "base/json.h"
#include "dns/fcrdns.h"
#include "dns/mx.h"
#include "dns/resolver.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static size_t left;

static void text(const char *key, const char *value)
{
    printf(",\"%s\":", key);
    json_string(stdout, span_of(value));
}

static void head(const char *name, const char *status)
{
    fputs("{\"name\":", stdout);
    json_string(stdout, span_of(name));
    text("status", status);
}

static void tail(void)
{
    puts("}");
    left--;
}

static void on_answer(void *ctx, const struct dns_answer *a)
{
    static const char *const status[] = { "ok", "nodata", "nxdomain", "failed",
                                          "badname" };
    char ip[ADDR_TEXT];

    head(ctx, status[a->status]);
    text("why", a->why);
    printf(",\"ttl\":%u,\"rr\":[", (unsigned)a->ttl);
    for (size_t i = 0; i < a->n; i++) {
        const struct dns_rr *rr = &a->rr[i];
        printf("%s[%u,", i > 0 ? "," : "", rr->preference);
        if (rr->addr.u.sa.sa_family != 0)
            addr_text(ip, &rr->addr);
        json_string(stdout,
                    span_of(rr->addr.u.sa.sa_family != 0 ? ip : rr->name));
        putchar(']');
    }
    putchar(']');
    tail();
}

static void on_hosts(void *ctx, const struct mx_result *r)
{
    static const char *const status[] = { "ok", "null", "no_domain", "no_host",
                                          "temp" };
    char ip[ADDR_TEXT];

    head(ctx, status[r->status]);
    text("why", r->why);
    printf(",\"ttl\":%u,\"hosts\":[", (unsigned)r->ttl);
    for (size_t i = 0; i < r->nhost; i++) {
        printf("%s[%u,", i > 0 ? "," : "", r->host[i].preference);
        json_string(stdout, span_of(r->host[i].name));
        for (size_t j = 0; j < r->host[i].naddr; j++) {
            addr_text(ip, &r->host[i].addr[j]);
            printf(",\"%s\"", ip);
        }
        putchar(']');
    }
    putchar(']');
    tail();
}

static void on_name(void *ctx, enum fcrdns_status st, const char *name)
{
    static const char *const status[] = { "ok", "no_ptr", "mismatch", "temp" };

    head(ctx, status[st]);
    text("found", name);
    tail();
}

static const struct kind {
    const char *word;
    int type;      /* of dns_ask(), or 0 */
    unsigned want; /* of mx_ask(), or 0 */
} kinds[] = {
    /* clang-format off */
    { "a", DNS_A, 0 },
    { "aaaa", DNS_AAAA, 0 },
    { "ptr", DNS_PTR, 0 },
    { "mx", DNS_MX, 0 },
    { "hosts", 0, MX_BOTH },
    { "hosts4", 0, MX_V4 },
    { "hosts6", 0, MX_V6 },
    { "direct", 0, MX_BOTH | MX_DIRECT },
    { "rdns", 0, 0 },
    /* clang-format on */
};

static int ask(struct dns *d, const struct kind *k, char *name, struct err *e)
{
    struct addr a;
    bool ok = false;

    if (k->type != 0)
        ok = dns_ask(d, name, (enum dns_type)k->type, on_answer, name, e) !=
             NULL;
    else if (k->want != 0)
        ok = mx_ask(d, name, k->want, on_hosts, name, e) != NULL;
    else if (addr_parse_ip(&a, span_of(name), 0))
        ok = fcrdns_ask(d, &a, on_name, name, e) != NULL;
    else
        return err_set(e, ERR_USAGE, 0, "not an address: %s", name);
    left += ok;
    return ok ? 0 : -1;
}

static const struct kind *kind_of(const char *word)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].word, word) == 0)
            return &kinds[i];
    return NULL;
}

static int run(const struct dns_options *o, char **argv, struct err *e)
{
    struct loop *l = NULL;
    struct dns *d = NULL;
    int rc = -1;

    if (loop_new(&l, NULL, e) != 0 || dns_open(&d, l, o, e) != 0)
        goto out;
    for (; argv[0] != NULL && argv[1] != NULL; argv += 2) {
        const struct kind *k = kind_of(argv[0]);
        if (k == NULL) {
            err_set(e, ERR_USAGE, 0, "unknown kind %s", argv[0]);
            goto out;
        }
        if (ask(d, k, argv[1], e) != 0)
            goto out;
    }
    while (left > 0)
        if (loop_turn(l, -1, e) < 0)
            goto out;
    rc = 0;
out:
    dns_close(&d);
    loop_free(&l);
    return rc;
}

int main(int argc, char **argv)
{
    struct addr servers[DNS_SERVERS_MAX];
    struct dns_options o = { .servers = servers };
    struct err e;
    int c;

    while ((c = getopt(argc, argv, "t:n:s:q:")) != -1)
        switch (c) {
        case 't': o.timeout_ms = (unsigned)atoi(optarg); break;
        case 'n': o.tries = (unsigned)atoi(optarg); break;
        case 'q': o.queries_max = (size_t)atoi(optarg); break;
        case 's':
            if (o.nservers == DNS_SERVERS_MAX)
                break;
            if (addr_parse(&servers[o.nservers++], span_of(optarg), 53, &e) !=
                0) {
                fprintf(stderr, "dnsask: %s\n", e.text);
                return EX_USAGE;
            }
            break;
        default: return EX_USAGE;
        }
    if (run(&o, argv + optind, &e) != 0) {
        fprintf(stderr, "dnsask: %s\n", e.text);
        return EX_TEMPFAIL;
    }
    return EX_OK;
}
