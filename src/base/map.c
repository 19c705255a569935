#include "base/map.h"

#include "base/span.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static uint64_t secret[2];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
    arc4random_buf(secret, sizeof secret);
}

static uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash-2-4 of Aumasson and Bernstein, "SipHash: a fast short-input PRF". */
uint64_t map_hash(const void *key, size_t n)
{
    const unsigned char *p = key;
    uint64_t m, tail = (uint64_t)n << 56;

    pthread_once(&secret_once, make_secret);
    uint64_t v[4] = { secret[0] ^ 0x736f6d6570736575u,
                      secret[1] ^ 0x646f72616e646f6du,
                      secret[0] ^ 0x6c7967656e657261u,
                      secret[1] ^ 0x7465646279746573u };
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&m, p, 8);
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    for (size_t i = 0; i < n; i++)
        tail |= (uint64_t)p[i] << (8 * i);
    v[3] ^= tail;
    sip_round(v);
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t map_hash_nocase(const char *key, size_t n)
{
    char low[1024];

    if (n > sizeof low)
        n = sizeof low;
    for (size_t i = 0; i < n; i++)
        low[i] = ascii_lower(key[i]);
    return map_hash(low, n);
}

int map_init(struct map *m, size_t buckets)
{
    size_t n = 1;

    while (n < buckets)
        n *= 2;
    m->bucket = calloc(n, sizeof *m->bucket);
    m->mask = n - 1;
    m->n = 0;
    return m->bucket == NULL ? -1 : 0;
}

void map_done(struct map *m)
{
    free(m->bucket);
    m->bucket = NULL;
}

void map_add(struct map *m, struct map_link *link, uint64_t hash)
{
    struct map_link **at = &m->bucket[hash & m->mask];

    link->hash = hash;
    link->next = *at;
    *at = link;
    m->n++;
}

void map_remove(struct map *m, struct map_link *link)
{
    struct map_link **at = &m->bucket[link->hash & m->mask];

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    link->next = NULL;
    m->n--;
}

static struct map_link *same_hash(struct map_link *l, uint64_t hash)
{
    while (l != NULL && l->hash != hash)
        l = l->next;
    return l;
}

struct map_link *map_first(const struct map *m, uint64_t hash)
{
    return same_hash(m->bucket[hash & m->mask], hash);
}

struct map_link *map_next(const struct map_link *link)
{
    return same_hash(link->next, link->hash);
}
