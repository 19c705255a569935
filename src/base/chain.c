#include "base/chain.h"

#include <string.h>

struct pool *chain_pool_new(size_t max_blocks)
{
    return pool_new(CHAIN_BLOCK, max_blocks);
}

struct pool *chain_pool_new_bound(struct pool_bound *b)
{
    return pool_new_bound(CHAIN_BLOCK, b);
}

static size_t tail_room(const struct chain *c)
{
    return c->tail == NULL ? 0 : (size_t)CHAIN_DATA - c->tail->to;
}

static struct chain_block *new_block(struct pool *p)
{
    struct chain_block *b = pool_get(p);

    if (b != NULL) {
        b->next = NULL;
        b->from = b->to = 0;
    }
    return b;
}

static void append_block(struct chain *c, struct chain_block *b)
{
    if (c->tail == NULL)
        c->head = b;
    else
        c->tail->next = b;
    c->tail = b;
}

bool chain_add(struct chain *c, struct pool *p, const void *data, size_t n)
{
    const char *from = data;
    size_t room = tail_room(c);

    if (n > room && (n - room + CHAIN_DATA - 1) / CHAIN_DATA > pool_left(p))
        return false;
    struct chain more = CHAIN_INIT; /* so that a failure leaves no trace */
    size_t missing = n > room ? n - room : 0;
    for (size_t have = 0; have < missing; have += CHAIN_DATA) {
        struct chain_block *b = new_block(p);
        if (b == NULL) {
            chain_clear(&more, p);
            return false;
        }
        append_block(&more, b);
    }
    size_t first = n < room ? n : room;
    if (first > 0) {
        memcpy(c->tail->data + c->tail->to, from, first);
        c->tail->to += (uint32_t)first;
    }
    from += first;
    for (struct chain_block *b = more.head; b != NULL; b = b->next) {
        size_t part = missing < CHAIN_DATA ? missing : CHAIN_DATA;
        memcpy(b->data, from, part);
        b->to = (uint32_t)part;
        from += part;
        missing -= part;
    }
    if (more.head != NULL) {
        if (c->tail == NULL)
            c->head = more.head;
        else
            c->tail->next = more.head;
        c->tail = more.tail;
    }
    c->n += n;
    return true;
}

void chain_join(struct chain *c, struct chain *more)
{
    if (more->head == NULL)
        return;
    if (c->tail == NULL)
        c->head = more->head;
    else
        c->tail->next = more->head;
    c->tail = more->tail;
    c->n += more->n;
    *more = (struct chain)CHAIN_INIT;
}

static void drop_head(struct chain *c, struct pool *p)
{
    struct chain_block *b = c->head;

    c->head = b->next;
    if (c->head == NULL)
        c->tail = NULL;
    pool_put(p, b);
}

void chain_drop(struct chain *c, struct pool *p, size_t n)
{
    while (n > 0 && c->head != NULL) {
        size_t have = c->head->to - c->head->from;
        size_t part = n < have ? n : have;
        c->head->from += (uint32_t)part;
        c->n -= part;
        n -= part;
        if (c->head->from == c->head->to)
            drop_head(c, p);
    }
    if (c->n == 0)
        chain_clear(c, p);
}

void chain_clear(struct chain *c, struct pool *p)
{
    while (c->head != NULL)
        drop_head(c, p);
    c->n = 0;
}

size_t chain_copy(const struct chain *c, size_t at, void *dst, size_t n)
{
    char *to = dst;
    size_t done = 0;

    for (const struct chain_block *b = c->head; b != NULL && done < n;
         b = b->next) {
        size_t have = b->to - b->from;
        if (at >= have) {
            at -= have;
            continue;
        }
        size_t part = have - at < n - done ? have - at : n - done;
        memcpy(to + done, b->data + b->from + at, part);
        done += part;
        at = 0;
    }
    return done;
}

int chain_iov(const struct chain *c, size_t at, struct iovec *v, int max)
{
    int n = 0;

    for (const struct chain_block *b = c->head; b != NULL && n < max;
         b = b->next) {
        size_t have = b->to - b->from;
        if (at >= have) {
            at -= have;
            continue;
        }
        v[n].iov_base = (void *)(uintptr_t)(b->data + b->from + at);
        v[n].iov_len = have - at;
        n++;
        at = 0;
    }
    return n;
}
