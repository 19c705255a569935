#include "send/next_mx.h"

#include "queue/recipients.h"
#include "queue/result.h"
#include "send/dispatch.h"
#include "send/lane_state.h"

/* One that takes mail now, of the same preference or the next worse one. */
static struct hop *next_host(struct sched *s, const struct destination *d,
                             const struct lane *l)
{
    const struct hop *from = destination_hop(d, l);
    struct hop *best = NULL;

    for (size_t i = 0; from != NULL && i < d->hops->n; i++) {
        struct hop *h = &d->hops->hop[i];
        if (h->host != from->host && h->lane != l &&
            h->rank / 2 >= from->rank / 2 && !h->lane->trial &&
            lane_is_clear(s, h->lane) && destination_may_use(s, d, h) &&
            (best == NULL || h->rank < best->rank))
            best = h;
    }
    return best;
}

static void line_up(struct sched *s, struct hop *h, struct rcpt *r)
{
    r->state = RCPT_APART;
    list_push(&h->apart, &r->link);
    lane_wait(s, h, LINE_FIRST);
}

bool next_mx_try(struct sched *s, struct rcpt *r, const struct lane *l,
                 uint32_t seconds)
{
    struct hop *h = next_host(s, r->place, l);

    if (h == NULL)
        return false;
    r->when = sched_seconds(s) + seconds;
    line_up(s, h, r);
    return true;
}

void next_mx_again(struct sched *s, struct rcpt *r, const struct lane *l)
{
    struct hop *h = destination_hop(r->place, l);

    if (h != NULL && !h->looped && lane_is_up(s, l))
        line_up(s, h, r);
    else
        next_mx_failed(s, r);
}

void next_mx_failed(struct sched *s, struct rcpt *r)
{
    uint32_t now = sched_seconds(s);
    uint32_t seconds = r->when > now ? r->when - now : 0;
    struct delivery *j = dispatch_describe(s, r);

    rcpt_later(&s->queue, r, seconds);
    if (j != NULL)
        result_report(&s->queue, j, seconds);
}

void next_mx_give_up(struct sched *s, struct hop *h)
{
    struct list *l;

    while ((l = list_pop(&h->apart)) != NULL)
        next_mx_failed(s, LIST_ENTRY(l, struct rcpt, link));
}
