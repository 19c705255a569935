#include "dns/resolver.h"

#include "config/conf.h"
#include "dns/query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 5000, TRIES = 3, CACHE_MAX = 4096, QUERIES_MAX = 256 };
enum { BUCKETS = 512 }; /* for open queries */

static size_t or_default(size_t value, size_t fallback)
{
    return value != 0 ? value : fallback;
}

int dns_open(struct dns **out, struct loop *l, const struct dns_options *o,
             struct err *e)
{
    struct dns *d = calloc(1, sizeof *d);

    if (d == NULL)
        return err_set(e, ERR_TEMP, errno, "no memory for the resolver");
    d->loop = l;
    d->timeout_ms = (unsigned)or_default(o->timeout_ms, TIMEOUT_MS);
    d->tries = (unsigned)or_default(o->tries, TRIES);
    d->queries_max = or_default(o->queries_max, QUERIES_MAX);
    list_init(&d->all);
    list_init(&d->line);
    list_init(&d->reverse);
    if (dns_servers_set(&d->servers, o->servers, o->nservers, e) != 0)
        goto out;
    if (dns_cache_new(&d->cache, or_default(o->cache_max, CACHE_MAX), e) != 0)
        goto out;
    if (map_init(&d->map, BUCKETS) != 0) {
        err_set(e, ERR_TEMP, errno, "no memory for the resolver");
        goto out;
    }
    *out = d;
    return 0;
out:
    dns_cache_free(&d->cache);
    free(d);
    return -1;
}

int dns_open_conf(struct dns **d, struct loop *l, const struct conf *c,
                  struct err *e)
{
    struct dns_options o = {
        .servers = c->dns.servers.item,
        .nservers = c->dns.servers.n,
        .timeout_ms = (unsigned)(c->dns.timeout * 1000),
    };

    return dns_open(d, l, &o, e);
}

static bool same_servers(const struct dns_servers *a,
                         const struct dns_servers *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!addr_eq(&a->s[i].addr, &b->s[i].addr))
            return false;
    return true;
}

int dns_renew(struct dns *d, const struct conf *c, struct err *e)
{
    struct dns_servers next = { .n = 0 };

    if (dns_servers_set(&next, c->dns.servers.item, c->dns.servers.n, e) != 0)
        return -1;
    if (same_servers(&next, &d->servers))
        return 0; /* and the state of each */
    d->servers = next;
    for (struct list *l = d->all.next; l != &d->all; l = l->next)
        dns_query_forget_servers(LIST_ENTRY(l, struct dns_query, all));
    return 0;
}

void dns_forget_negative(struct dns *d)
{
    dns_cache_forget_negative(d->cache);
}

void dns_close(struct dns **d)
{
    if (*d == NULL)
        return;
    while (!list_empty(&(*d)->all))
        dns_query_drop(LIST_ENTRY((*d)->all.next, struct dns_query, all));
    map_done(&(*d)->map);
    dns_cache_free(&(*d)->cache);
    free(*d);
    *d = NULL;
}

struct dns_request *dns_ask(struct dns *d, const char *name, enum dns_type type,
                            dns_fn *fn, void *ctx, struct err *e)
{
    char normal[DNS_NAME_MAX];
    struct dns_query *q = NULL;
    struct dns_request *r = malloc(sizeof *r);

    memset(normal, 0, sizeof normal);
    if (dns_name_normal(normal, name))
        q = dns_query_find(d, normal, type);
    else
        normal[0] = '\0';
    bool join = q != NULL;
    if (!join && r != NULL)
        q = dns_query_new(d, normal, type);
    if (r == NULL || q == NULL) {
        free(r);
        err_set(e, ERR_TEMP, ENOMEM, "ask the DNS for %s", name);
        return NULL;
    }
    *r = (struct dns_request){ .query = q, .fn = fn, .ctx = ctx };
    list_push(&q->requests, &r->link);
    if (!join)
        dns_query_start(q);
    return r;
}

void dns_cancel(struct dns_request *r)
{
    if (r == NULL)
        return;
    struct dns_query *q = r->query;
    struct dns *d = q->dns;
    list_remove(&r->link);
    free(r);
    /* query_finish() still uses q while it delivers, and frees it. */
    if (!list_empty(&q->requests) || q->delivering)
        return;
    dns_query_drop(q);
    dns_query_next(d);
}
