/* slots.c - the slots of recipients in the queue, and those that the disk did
 * not take: a finished recipient stays finished in memory, the write is tried
 * again every second, and until then the message keeps its place in the queue.
 * A sender that ends before the write succeeds leaves a duplicate behind (RFC
 * 5321 6.1). */
#include "send/slots.h"

#include "log/log.h"
#include "send/recipients.h"
#include "send/sched.h"

struct owed {
    struct list link;
    struct message *msg;
    uint32_t index;
    struct spool_slot slot;
};

struct pool *slots_pool(void)
{
    return pool_new(sizeof(struct owed), SCHED_MARKS_MAX);
}

static int put(struct sched *s, struct message *m, uint32_t index,
               const struct spool_slot *slot)
{
    struct err e;

    s->slot.dirty = true;
    if (spool_slot_put(s->queue, &m->stored, index, slot, &e) == 0)
        return 0;
    log_err(LOG_ERROR, "send.slot", &e);
    return -1;
}

void slots_put(struct sched *s, struct message *m, uint32_t index,
               const struct spool_slot *slot)
{
    if (put(s, m, index, slot) == 0 ||
        (slot->state != SPOOL_DELIVERED && slot->state != SPOOL_FAILED))
        return; /* a pending write takes the newer slot */
    struct owed *o = pool_get(s->slot.pool);
    if (o == NULL)
        return;
    *o = (struct owed){ .msg = m, .index = index, .slot = *slot };
    m->settling++;
    list_push(&s->slot.unwritten, &o->link);
}

void slots_retry(struct sched *s)
{
    struct list *l;

    while ((l = list_pop(&s->slot.unwritten)) != NULL) {
        struct owed *o = LIST_ENTRY(l, struct owed, link);
        if (put(s, o->msg, o->index, &o->slot) != 0) {
            list_push(&s->slot.unwritten, l);
            return;
        }
        o->msg->settling--;
        message_sweep(s, o->msg);
        pool_put(s->slot.pool, o);
    }
}
