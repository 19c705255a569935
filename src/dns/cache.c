#include "dns/cache.h"

#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

struct cached {
    struct map_link link;
    struct list used; /* least recently used first */
    uint64_t expires; /* ms */
    size_t bytes;
    enum dns_type type;
    enum dns_status status;
    uint16_t n;
    uint8_t name_len;
    char data[]; /* the name, then n packed records */
};

struct dns_cache {
    struct map map;
    struct list used;
    size_t max, max_bytes, bytes;
};

int dns_cache_new(struct dns_cache **out, size_t max, struct err *e)
{
    struct dns_cache *c = malloc(sizeof *c);

    if (c == NULL || map_init(&c->map, max) != 0) {
        free(c);
        return err_set(e, ERR_TEMP, 0, "no memory for the DNS cache");
    }
    list_init(&c->used);
    c->max = max;
    c->max_bytes = max * DNS_CACHE_BYTES;
    c->bytes = 0;
    *out = c;
    return 0;
}

static void forget(struct dns_cache *c, struct cached *n)
{
    map_remove(&c->map, &n->link);
    list_remove(&n->used);
    c->bytes -= n->bytes;
    free(n);
}

void dns_cache_forget_negative(struct dns_cache *c)
{
    for (struct list *l = c->used.next, *next; l != &c->used; l = next) {
        struct cached *n = LIST_ENTRY(l, struct cached, used);
        next = l->next;
        if (n->status != DNS_OK)
            forget(c, n);
    }
}

void dns_cache_free(struct dns_cache **c)
{
    if (*c == NULL)
        return;
    while (!list_empty(&(*c)->used))
        forget(*c, LIST_ENTRY((*c)->used.next, struct cached, used));
    map_done(&(*c)->map);
    free(*c);
    *c = NULL;
}

static uint64_t hash_of(const char *name, size_t n, enum dns_type type)
{
    return map_hash(name, n) ^ (uint64_t)type * 0x9e3779b97f4a7c15u;
}

static struct cached *find(const struct dns_cache *c, const char *name,
                           enum dns_type type)
{
    size_t n = strlen(name);
    struct map_link *l = map_first(&c->map, hash_of(name, n, type));

    for (; l != NULL; l = map_next(l)) {
        struct cached *e = MAP_ENTRY(l, struct cached, link);
        if (e->type == type && e->name_len == n &&
            memcmp(e->data, name, n) == 0)
            return e;
    }
    return NULL;
}

/* A record in the cache: preference, length, then address or name. */
static const void *payload(const struct dns_rr *rr, enum dns_type type,
                           uint8_t *len)
{
    if (type == DNS_A) {
        *len = 4;
        return &rr->addr.u.in.sin_addr;
    }
    if (type == DNS_AAAA) {
        *len = 16;
        return &rr->addr.u.in6.sin6_addr;
    }
    *len = (uint8_t)strlen(rr->name);
    return rr->name;
}

enum { PACKED = sizeof(uint16_t) + sizeof(uint8_t) };

static size_t packed_size(const struct dns_found *f, enum dns_type type)
{
    size_t sum = 0;
    uint8_t len;

    for (size_t i = 0; i < f->n; i++) {
        payload(&f->rr[i], type, &len);
        sum += PACKED + len;
    }
    return sum;
}

static void pack(char *p, const struct dns_found *f, enum dns_type type)
{
    uint8_t len;

    for (size_t i = 0; i < f->n; i++) {
        const void *from = payload(&f->rr[i], type, &len);
        memcpy(p, &f->rr[i].preference, sizeof f->rr[i].preference);
        memcpy(p + sizeof(uint16_t), &len, sizeof len);
        memcpy(p + PACKED, from, len);
        p += PACKED + len;
    }
}

static void unpack(struct dns_found *out, const struct cached *n, uint32_t ttl)
{
    const char *p = n->data + n->name_len;
    uint8_t len;

    out->status = n->status;
    out->ttl = ttl;
    out->n = n->n;
    for (size_t i = 0; i < n->n; i++, p += PACKED + len) {
        struct dns_rr *rr = &out->rr[i];
        memset(rr, 0, sizeof *rr);
        rr->ttl = ttl;
        memcpy(&rr->preference, p, sizeof rr->preference);
        memcpy(&len, p + sizeof(uint16_t), sizeof len);
        if (n->type == DNS_A)
            addr_from_v4(&rr->addr, p + PACKED, 0);
        else if (n->type == DNS_AAAA)
            addr_from_v6(&rr->addr, p + PACKED, 0);
        else
            memcpy(rr->name, p + PACKED, len);
    }
}

bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type type,
                   uint64_t now, struct dns_found *out)
{
    struct cached *n = find(c, name, type);

    if (n == NULL)
        return false;
    if (n->expires <= now) {
        forget(c, n);
        return false;
    }
    list_remove(&n->used);
    list_push(&c->used, &n->used);
    if (out != NULL)
        unpack(out, n, (uint32_t)((n->expires - now + 999) / 1000));
    return true;
}

static void make_room(struct dns_cache *c, size_t bytes)
{
    while (!list_empty(&c->used) &&
           (c->map.n >= c->max || c->bytes + bytes > c->max_bytes))
        forget(c, LIST_ENTRY(c->used.next, struct cached, used));
}

void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type type,
                   uint64_t now, const struct dns_found *found)
{
    size_t len = strlen(name);
    size_t bytes = sizeof(struct cached) + len + packed_size(found, type);
    struct cached *n = find(c, name, type);

    if (n != NULL)
        forget(c, n);
    if (found->ttl == 0 || bytes > c->max_bytes)
        return;
    make_room(c, bytes);
    n = malloc(bytes);
    if (n == NULL)
        return;
    memset(n, 0, sizeof *n);
    n->expires = now + (uint64_t)found->ttl * 1000;
    n->bytes = bytes;
    n->type = type;
    n->status = found->status;
    n->n = (uint16_t)found->n;
    n->name_len = (uint8_t)len;
    memcpy(n->data, name, len);
    pack(n->data + len, found, type);
    map_add(&c->map, &n->link, hash_of(name, len, type));
    list_push(&c->used, &n->used);
    c->bytes += bytes;
}

size_t dns_cache_count(const struct dns_cache *c)
{
    return c->map.n;
}

size_t dns_cache_bytes(const struct dns_cache *c)
{
    return c->bytes;
}
