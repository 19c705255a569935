#include "send/next_mx.h"

#include "queue/recipients.h"
#include "queue/result.h"
#include "send/dispatch.h"
#include "send/lane_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_OFF_MAX = 4096 /* 5 MiB */, FAULT_SECONDS = 60 };

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

static void line_up(struct sched *s, struct hop *h, struct put_off *p)
{
    p->rcpt->state = RCPT_APART;
    list_push(&h->apart, &p->link);
    lane_wait(s, h, LINE_FIRST);
}

bool next_mx_try(struct sched *s, struct delivery *j,
                 const struct delivery_rcpt *r)
{
    struct hop *h = next_host(s, r->rcpt->place, send_delivery_of(j)->lane);
    struct put_off *p;

    if (h == NULL || s->stopping || s->next_mx.n == PUT_OFF_MAX ||
        (p = calloc(1, sizeof *p)) == NULL)
        return false;
    s->next_mx.n++;
    p->rcpt = r->rcpt;
    p->answer = r->answer;
    p->peer = j->peer;
    snprintf(p->host, sizeof p->host, "%s", delivery_host(j, r));
    memcpy(p->address, j->address, sizeof p->address);
    memcpy(p->sid, j->sid, sizeof p->sid);
    line_up(s, h, p);
    return true;
}

static void forget(struct sched *s, struct put_off *p)
{
    list_remove(&p->link);
    free(p);
    s->next_mx.n--;
}

void next_mx_forget(struct sched *s, struct list *put_off)
{
    while (!list_empty(put_off))
        forget(s, LIST_ENTRY(put_off->next, struct put_off, link));
}

static struct put_off *find(struct delivery *j, const struct rcpt *r)
{
    struct list *all = &send_delivery_of(j)->put_off;

    for (struct list *l = all->next; l != all; l = l->next) {
        struct put_off *p = LIST_ENTRY(l, struct put_off, link);
        if (p->rcpt == r)
            return p;
    }
    return NULL;
}

void next_mx_answered(struct sched *s, struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++) {
        const struct answer *a = &j->rcpt[i].answer;
        if (a->outcome != OUTCOME_NONE || a->misconfigured)
            forget(s, find(j, j->rcpt[i].rcpt));
    }
}

static void fail(struct sched *s, struct put_off *p)
{
    list_remove(&p->link);
    p->rcpt->state = RCPT_APART;
    list_push(&s->next_mx.failed, &p->link);
}

void next_mx_back(struct sched *s, struct delivery *j, struct rcpt *r,
                  bool untouched)
{
    struct lane *l = send_delivery_of(j)->lane;
    struct hop *h = destination_hop(r->place, l);
    struct put_off *p = find(j, r);

    if (!untouched || h == NULL || h->looped || !lane_is_up(s, l)) {
        fail(s, p);
        return;
    }
    list_remove(&p->link);
    line_up(s, h, p);
}

void next_mx_give_up(struct sched *s, struct hop *h)
{
    while (!list_empty(&h->apart))
        fail(s, LIST_ENTRY(h->apart.next, struct put_off, link));
}

static void settle(struct sched *s, const struct put_off *p)
{
    struct delivery *j = dispatch_describe(s, p->rcpt);

    if (j == NULL) {
        rcpt_later(&s->queue, p->rcpt, FAULT_SECONDS);
        return;
    }
    j->offered = true;
    j->peer = p->peer;
    memcpy(j->host, p->host, sizeof j->host);
    memcpy(j->address, p->address, sizeof j->address);
    memcpy(j->sid, p->sid, sizeof j->sid);
    j->rcpt[0].answer = p->answer;
    p->rcpt->state = RCPT_OUT;
    result_apply(&s->queue, j);
}

void next_mx_settle(struct sched *s)
{
    while (!list_empty(&s->next_mx.failed)) {
        struct put_off *p =
            LIST_ENTRY(s->next_mx.failed.next, struct put_off, link);
        settle(s, p);
        forget(s, p);
    }
}
