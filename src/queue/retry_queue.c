#include "queue/retry_queue.h"

void retry_queue_init(struct retry_queue *c, uint32_t now)
{
    for (size_t i = 0; i < RETRY_QUEUE_SECONDS; i++)
        list_init(&c->second[i]);
    c->now = now;
    c->n = 0;
}

void retry_queue_add(struct retry_queue *c, struct rcpt *r)
{
    if (r->when <= c->now)
        r->when = c->now + 1;
    list_push(&c->second[r->when % RETRY_QUEUE_SECONDS], &r->link);
    c->n++;
}

void retry_queue_remove(struct retry_queue *c, struct rcpt *r)
{
    list_remove(&r->link);
    c->n--;
}

/* What is further away than one round of the ring stays for a later one. */
static void take(struct retry_queue *c, struct list *second, uint32_t now,
                 struct list *due)
{
    for (struct list *l = second->next, *next; l != second; l = next) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        next = l->next;
        if (r->when > now)
            continue;
        list_remove(l);
        list_push(due, l);
        c->n--;
    }
}

void retry_queue_due(struct retry_queue *c, uint32_t now, struct list *due)
{
    for (int i = 0; i < RETRY_QUEUE_SECONDS && c->now < now; i++) {
        c->now++;
        take(c, &c->second[c->now % RETRY_QUEUE_SECONDS], now, due);
    }
    if (c->now < now)
        c->now = now;
}

void retry_queue_flush(struct retry_queue *c, struct list *due)
{
    for (size_t i = 0; i < RETRY_QUEUE_SECONDS; i++)
        list_splice(due, &c->second[i]);
    c->n = 0;
}

uint32_t retry_queue_next(const struct retry_queue *c)
{
    for (uint32_t i = 1; c->n > 0 && i <= RETRY_QUEUE_SECONDS; i++)
        if (!list_empty(&c->second[(c->now + i) % RETRY_QUEUE_SECONDS]))
            return i;
    return UINT32_MAX;
}
