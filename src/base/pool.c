#include "base/pool.h"

#include "base/list.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

struct slab {
    struct slab *next;
};

struct pool {
    size_t size, max, used, per_slab;
    void *free; /* a chain through the first word of each free object */
    struct slab *slabs;
    struct pool_bound *bound; /* NULL: the members below are not used */
    struct list with_room;    /* slabs; those with nothing in them come last */
    struct list full;
};

/* Of a pool with a bound.  It begins at a multiple of its size, so an object
 * finds its slab by its address. */
struct bound_slab {
    struct list link;
    void *free;
    size_t used, fresh; /* objects out; objects never out, at the end */
    bool touched;       /* since the last trim */
};

/* Objects start at a multiple of what any type may need. */
union align {
    void *p;
    uint64_t u;
    long double d;
};

static size_t aligned(size_t n)
{
    size_t a = sizeof(union align);

    return (n + a - 1) / a * a;
}

/* A type's size is a multiple of its alignment, so objects of an odd number of
 * words need no more than a word's. */
static size_t stride(size_t n)
{
    size_t word = sizeof(void *);

    return n == 0 ? word : (n + word - 1) / word * word;
}

static size_t slab_header(void)
{
    return aligned(sizeof(struct slab));
}

struct pool *pool_new(size_t size, size_t max)
{
    struct pool *p = malloc(sizeof *p);

    if (p == NULL)
        return NULL;
    size = stride(size);
    size_t per = ((size_t)POOL_SLAB - slab_header()) / size;
    *p = (struct pool){ .size = size, .max = max };
    p->per_slab = per == 0 ? 1 : per > max ? max : per;
    return p;
}

struct pool *pool_new_bound(size_t size, struct pool_bound *b)
{
    struct pool *p = malloc(sizeof *p);

    if (p == NULL)
        return NULL;
    *p = (struct pool){ .size = stride(size), .max = SIZE_MAX, .bound = b };
    p->per_slab =
        ((size_t)POOL_SLAB - aligned(sizeof(struct bound_slab))) / p->size;
    list_init(&p->with_room);
    list_init(&p->full);
    return p;
}

/* --- slabs that go back --------------------------------------------------- */

/* The next mapping usually begins where the last one did, so that most of
 * them are aligned at once. */
static void *map_aligned(size_t n)
{
    const int prot = PROT_READ | PROT_WRITE, how = MAP_PRIVATE | MAP_ANONYMOUS;
    char *at = mmap(NULL, n, prot, how, -1, 0);

    if (at == MAP_FAILED || (uintptr_t)at % n == 0)
        return at == MAP_FAILED ? NULL : at;
    munmap(at, n);
    at = mmap(NULL, 2 * n, prot, how, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    size_t before = n - (uintptr_t)at % n;
    if (before < n)
        munmap(at, before);
    else
        before = 0;
    munmap(at + before + n, n - before);
    return at + before;
}

static struct bound_slab *add_slab(struct pool *p)
{
    if (!p->bound->take(p->bound, POOL_SLAB))
        return NULL;
    struct bound_slab *s = map_aligned(POOL_SLAB);
    if (s == NULL) {
        p->bound->give(p->bound, POOL_SLAB);
        return NULL;
    }
    s->fresh = p->per_slab;
    list_push(&p->with_room, &s->link);
    return s;
}

static void drop_slab(struct pool *p, struct bound_slab *s)
{
    list_remove(&s->link);
    munmap(s, POOL_SLAB);
    p->bound->give(p->bound, POOL_SLAB);
}

static void *get_bound(struct pool *p)
{
    struct bound_slab *s =
        list_empty(&p->with_room)
            ? add_slab(p)
            : LIST_ENTRY(p->with_room.next, struct bound_slab, link);

    if (s == NULL)
        return NULL;
    void *object = s->free;
    if (object != NULL)
        s->free = *(void **)object;
    else /* its pages are not touched before they are needed */
        object = (char *)s + POOL_SLAB - p->size * s->fresh--;
    s->touched = true;
    s->used++;
    p->used++;
    if (s->used == p->per_slab) {
        list_remove(&s->link);
        list_push(&p->full, &s->link);
    }
    return object;
}

static void put_bound(struct pool *p, void *object)
{
    struct bound_slab *s =
        (void *)((char *)object - (uintptr_t)object % POOL_SLAB);

    list_remove(&s->link);
    *(void **)object = s->free;
    s->free = object;
    s->used--;
    p->used--;
    if (s->used == 0)
        list_push(&p->with_room, &s->link);
    else
        list_push_front(&p->with_room, &s->link);
}

bool pool_trim(struct pool *p)
{
    struct list *l, *next;

    for (l = p->with_room.next; l != &p->with_room; l = next) {
        struct bound_slab *s = LIST_ENTRY(l, struct bound_slab, link);
        next = l->next;
        if (s->used == 0 && !s->touched)
            drop_slab(p, s);
        else
            s->touched = false;
    }
    return !list_empty(&p->with_room) || !list_empty(&p->full);
}

/* --- objects -------------------------------------------------------------- */

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
    if (p->bound != NULL)
        return get_bound(p);
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
    if (p->bound != NULL) {
        put_bound(p, object);
        return;
    }
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
    if ((*p)->bound != NULL) {
        list_splice(&(*p)->with_room, &(*p)->full);
        while (!list_empty(&(*p)->with_room))
            drop_slab(
                *p, LIST_ENTRY((*p)->with_room.next, struct bound_slab, link));
    }
    free(*p);
    *p = NULL;
}
