#include "send/ready.h"

void ready_destination(struct destination *d)
{
    if (d->query != NULL ||
        (list_linked(&d->turn) && d->nrcpt > 0 && d->idle_since == 0))
        return;
    list_remove(&d->turn);
    d->idle_since = 0;
    list_push(&d->sched->ready.destinations, &d->turn);
}

void ready_lane(struct sched *s, struct lane *l)
{
    if (!list_linked(&l->ready))
        list_push(&s->ready.lanes, &l->ready);
}

struct destination *ready_take_destination(struct sched *s)
{
    struct list *l = list_pop(&s->ready.destinations);

    return l != NULL ? LIST_ENTRY(l, struct destination, turn) : NULL;
}

struct lane *ready_take_lane(struct sched *s)
{
    struct list *l = list_pop(&s->ready.lanes);

    return l != NULL ? LIST_ENTRY(l, struct lane, ready) : NULL;
}

bool ready_any(const struct sched *s)
{
    return !list_empty(&s->ready.destinations) ||
           !list_empty(&s->ready.lanes) || !list_empty(&s->next_mx.failed);
}
