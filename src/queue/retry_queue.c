#include "queue/retry_queue.h"

void calendar_init(struct calendar *c, uint32_t now)
{
    for (size_t i = 0; i < CALENDAR_DAYS; i++)
        list_init(&c->day[i]);
    c->today = now;
    c->n = 0;
}

void calendar_add(struct calendar *c, struct rcpt *r)
{
    if (r->when <= c->today)
        r->when = c->today + 1;
    list_push(&c->day[r->when % CALENDAR_DAYS], &r->link);
    c->n++;
}

void calendar_remove(struct calendar *c, struct rcpt *r)
{
    list_remove(&r->link);
    c->n--;
}

/* What is further away than one round of the ring stays for a later one. */
static void take(struct calendar *c, struct list *day, uint32_t now,
                 struct list *due)
{
    for (struct list *l = day->next, *next; l != day; l = next) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        next = l->next;
        if (r->when > now)
            continue;
        list_remove(l);
        list_push(due, l);
        c->n--;
    }
}

void calendar_due(struct calendar *c, uint32_t now, struct list *due)
{
    for (int i = 0; i < CALENDAR_DAYS && c->today < now; i++) {
        c->today++;
        take(c, &c->day[c->today % CALENDAR_DAYS], now, due);
    }
    if (c->today < now)
        c->today = now;
}

void calendar_flush(struct calendar *c, struct list *due)
{
    for (size_t i = 0; i < CALENDAR_DAYS; i++)
        list_splice(due, &c->day[i]);
    c->n = 0;
}

uint32_t calendar_next(const struct calendar *c)
{
    for (uint32_t i = 1; c->n > 0 && i <= CALENDAR_DAYS; i++)
        if (!list_empty(&c->day[(c->today + i) % CALENDAR_DAYS]))
            return i;
    return UINT32_MAX;
}
