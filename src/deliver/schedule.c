/* schedule.c - whose turn it is. */
#include "deliver/schedule.h"

#include "deliver/copy.h"
#include "deliver/expand.h"
#include "deliver/mailboxes.h"
#include "queue/recipients.h"

void schedule_due(struct deliver *d, struct rcpt *r)
{
    r->state = RCPT_DUE;
    r->suspect |= d->starting;
    list_push(&d->schedule.due, &r->link);
}

static struct rcpt *first_due(const struct deliver *d)
{
    return LIST_ENTRY(d->schedule.due.next, struct rcpt, link);
}

/* Without a child, and resolved once: the rest of a long message. */
static void stand_apart(struct deliver *d, struct rcpt *r)
{
    r->state = RCPT_APART;
    list_push(&d->schedule.due, &r->link);
}

static void wait_for_helper(struct work *w)
{
    for (size_t k = 0; k < w->n; k++) {
        struct rcpt *r = w->item[k].rcpt;
        r->state = RCPT_PARKED;
        list_push(&w->d->schedule.asking, &r->link);
    }
}

static void settle(struct work *w, const struct work_item *i)
{
    struct copy *c;

    switch (i->fate) {
    case WORK_MAILBOX: mailboxes_offer(w, i); break;
    case WORK_ANSWERED:
        c = copy_new(w, i);
        if (c != NULL)
            copy_settled(w->d, c, i->answer);
        break;
    case WORK_UNKNOWN_YET:
    case WORK_LATER:
        rcpt_later(&w->d->queue, i->rcpt, DELIVER_FAULT_SECONDS);
        break;
    case WORK_REPLACED:
    case WORK_PUT_OFF: break;
    }
}

/* Nothing of an item that was replaced is touched; with the last answer the
 * message goes. */
static void settle_all(struct work *w)
{
    size_t copies = 0;

    for (size_t k = 0; k < w->n; k++) {
        const struct work_item *i = &w->item[k];
        if (i->fate == WORK_MAILBOX && copies++ >= SCHEDULE_COPIES)
            stand_apart(w->d, i->rcpt);
        else
            settle(w, i);
    }
}

/* Returns how many recipients it has looked at. */
static size_t take_message(struct deliver *d)
{
    struct rcpt *r = first_due(d);
    enum rcpt_state state = (enum rcpt_state)r->state;
    size_t most = state == RCPT_DUE ? SPOOL_RCPT_MAX : SCHEDULE_COPIES;
    struct work *w = work_open(d, r->msg, state, most);

    if (w == NULL)
        return SCHEDULE_COPIES;
    size_t n = w->n;
    if (expand(w))
        settle_all(w);
    else
        wait_for_helper(w);
    work_free(&w);
    return n;
}

void schedule_turn(struct deliver *d)
{
    size_t n = 0;

    while (!d->stopping && !list_empty(&d->schedule.due) && n < SCHEDULE_TURN)
        n += take_message(d);
}

static void make_due(struct deliver *d, struct list *l)
{
    struct list *x;

    while ((x = list_pop(l)) != NULL)
        schedule_due(d, LIST_ENTRY(x, struct rcpt, link));
}

void schedule_answered(struct deliver *d)
{
    make_due(d, &d->schedule.asking);
}

void schedule_retries(struct deliver *d, bool all)
{
    struct list due;

    list_init(&due);
    if (all)
        retry_queue_flush(&d->queue.memory.retry, &due);
    else
        retry_queue_due(&d->queue.memory.retry, queue_seconds(&d->queue), &due);
    make_due(d, &due);
}
