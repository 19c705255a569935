/* held.c - recipients that have waited beyond the lifetime for a fault of ours
 * to be repaired. */
#include "queue/held.h"

#include "log/log.h"
#include "queue/recipients.h"
#include "queue/slots.h"

#include <string.h>

enum { REPORT_SECONDS = 60 };

static void hold(struct queue *q, struct rcpt *r, struct spool_slot *slot)
{
    slot->state = SPOOL_HELD;
    slot->by_sender = true;
    slot->next_attempt = 0;
    r->state = RCPT_HELD;
    list_push(&q->held.rcpts, &r->link);
    q->held.n++;
    q->memory.pending--;
    q->held.unreported++;
    memcpy(q->held.why, slot->reply, sizeof q->held.why);
}

/* The waits are as long as each other and counted in the slot, so neither a
 * jump of the clock nor a restart adds to them. */
uint32_t held_or_later(struct queue *q, struct rcpt *r, struct spool_slot *slot)
{
    uint32_t delay = q->rule.min;

    if ((uint64_t)slot->waits * delay >= q->rule.lifetime) {
        hold(q, r, slot);
        return 0;
    }
    slot->state = SPOOL_PENDING;
    slot->by_sender = false;
    slot->waits++;
    return delay;
}

void held_found(struct queue *q, struct rcpt *r)
{
    r->state = RCPT_HELD;
    list_push(&q->held.rcpts, &r->link);
    q->held.n++;
    q->held.found = true;
}

void held_forget(struct queue *q, struct rcpt *r)
{
    if (!list_linked(&r->link))
        return;
    list_remove(&r->link);
    q->held.n--;
}

static void mark_pending(struct queue *q, struct rcpt *r)
{
    struct spool_slot slot;
    struct err e;

    if (spool_slot_get(q->spool, &r->msg->stored, r->slot, &slot, &e) != 0) {
        queue_log_fault(q, "queue.slot", &e);
        return; /* its next result is written there anyhow */
    }
    slot.state = SPOOL_PENDING;
    slot.by_sender = false;
    slot.waits = 0;
    slots_put(q, r->msg, r->slot, &slot);
}

void held_release(struct queue *q)
{
    const struct message *last = NULL;
    struct list *l;

    while ((l = list_pop(&q->held.rcpts)) != NULL) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        mark_pending(q, r);
        if (r->msg != last)
            message_forget_wait(q, r->msg);
        last = r->msg;
        q->memory.pending++;
        q->owner->due(q, r);
    }
    q->held.n = 0;
    q->held.found = false;
}

void held_report(struct queue *q)
{
    uint32_t now = queue_seconds(q);

    if (q->held.unreported == 0 ||
        (q->held.reported != 0 && now < q->held.reported + REPORT_SECONDS))
        return;
    LOG(LOG_ERROR, "queue.held", LS("queue", spool_name_text(q->name)),
        LN("nrcpt", q->held.unreported), LN("held", q->held.n),
        LS("error", q->held.why));
    q->held.unreported = 0;
    q->held.reported = now;
}
