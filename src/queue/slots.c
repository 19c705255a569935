/* slots.c - the slots of recipients in the queue, and those that the disk did
 * not take: a finished recipient stays finished in memory, the write is tried
 * again every second, and until then the message keeps its place in the queue.
 * A sender that ends before the write succeeds leaves a duplicate behind (RFC
 * 5321 6.1). */
#include "queue/slots.h"

#include "queue/recipients.h"

enum { MARKS_MAX = 10000 }; /* slots that the disk did not take yet */

struct owed {
    struct list link;
    struct message *msg;
    uint32_t index;
    struct spool_slot slot;
};

struct pool *slots_pool(void)
{
    return pool_new(sizeof(struct owed), MARKS_MAX);
}

static int put(struct queue *q, struct message *m, uint32_t index,
               const struct spool_slot *slot)
{
    struct err e;

    q->slot.dirty = true;
    if (spool_slot_put(q->spool, &m->stored, index, slot, &e) == 0)
        return 0;
    queue_log_fault(q, "queue.slot", &e);
    return -1;
}

void slots_put(struct queue *q, struct message *m, uint32_t index,
               const struct spool_slot *slot)
{
    if (put(q, m, index, slot) == 0 ||
        (slot->state != SPOOL_DELIVERED && slot->state != SPOOL_FAILED &&
         slot->state != SPOOL_DELETED))
        return; /* a pending write takes the newer slot */
    struct owed *o = pool_get(q->slot.pool);
    if (o == NULL)
        return;
    *o = (struct owed){ .msg = m, .index = index, .slot = *slot };
    m->settling++;
    list_push(&q->slot.unwritten, &o->link);
}

void slots_retry(struct queue *q)
{
    struct list *l;

    while ((l = list_pop(&q->slot.unwritten)) != NULL) {
        struct owed *o = LIST_ENTRY(l, struct owed, link);
        if (put(q, o->msg, o->index, &o->slot) != 0) {
            list_push(&q->slot.unwritten, l);
            return;
        }
        o->msg->settling--;
        message_sweep(q, o->msg);
        pool_put(q->slot.pool, o);
    }
}
