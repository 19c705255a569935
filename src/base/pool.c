#include "base/pool.h"

#include <stdint.h>
#include <stdlib.h>

enum { SLAB_BYTES = 64 * 1024 };

struct slab {
    struct slab *next;
};

struct pool {
    size_t size, max, used, per_slab;
    void *free; /* a chain through the first word of each free object */
    struct slab *slabs;
};

/* Objects start at a multiple of what any type may need. */
union align {
    void *p;
    uint64_t u;
    long double d;
};

static size_t slab_header(void)
{
    size_t a = sizeof(union align);

    return (sizeof(struct slab) + a - 1) / a * a;
}

struct pool *pool_new(size_t size, size_t max)
{
    struct pool *p = malloc(sizeof *p);

    if (p == NULL)
        return NULL;
    size_t a = sizeof(union align);
    size = size == 0 ? a : (size + a - 1) / a * a;
    size_t per = (SLAB_BYTES - slab_header()) / size;
    *p = (struct pool){ .size = size, .max = max };
    p->per_slab = per == 0 ? 1 : per > max ? max : per;
    return p;
}

static int grow(struct pool *p)
{
    struct slab *s = malloc(slab_header() + p->per_slab * p->size);

    if (s == NULL)
        return -1;
    s->next = p->slabs;
    p->slabs = s;
    char *at = (char *)s + slab_header();
    for (size_t i = 0; i < p->per_slab; i++, at += p->size) {
        *(void **)(void *)at = p->free;
        p->free = at;
    }
    return 0;
}

void *pool_get(struct pool *p)
{
    if (p->used >= p->max || (p->free == NULL && grow(p) != 0))
        return NULL;
    void *object = p->free;
    p->free = *(void **)object;
    p->used++;
    return object;
}

void pool_put(struct pool *p, void *object)
{
    if (object == NULL)
        return;
    *(void **)object = p->free;
    p->free = object;
    p->used--;
}

size_t pool_used(const struct pool *p)
{
    return p->used;
}

size_t pool_left(const struct pool *p)
{
    return p->max - p->used;
}

void pool_free(struct pool **p)
{
    if (*p == NULL)
        return;
    for (struct slab *s = (*p)->slabs, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
    }
    free(*p);
    *p = NULL;
}
