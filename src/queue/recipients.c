/* recipients.c - messages and recipients in memory: their waits, their end. */
#include "queue/recipients.h"

#include "queue/operate.h"

#include <limits.h>

uint32_t message_left(const struct queue *q, const struct message *m)
{
    uint32_t now = queue_seconds(q);

    return m->expires > now ? m->expires - now : 0;
}

uint32_t message_age(const struct queue *q, const struct message *m)
{
    uint32_t left = message_left(q, m);

    return left < q->rule.lifetime ? q->rule.lifetime - left : 0;
}

void message_forget_wait(const struct queue *q, struct message *m)
{
    unsigned tries = 0;

    for (const struct rcpt *r = m->rcpts; r != NULL; r = r->next)
        if (r->state != RCPT_GONE && r->tries > tries)
            tries = r->tries;
    uint32_t age =
        retry_age(&q->rule, tries, 0, message_age(q, m) * 1000000ull);
    m->expires = queue_seconds(q) + q->rule.lifetime - age;
}

void rcpt_later(struct queue *q, struct rcpt *r, uint32_t seconds)
{
    if (r->asked && operate_came_back(q, r))
        return;
    r->state = RCPT_WAITS;
    r->when = queue_seconds(q) + seconds;
    retry_queue_add(&q->memory.retry, r);
}

void rcpt_release(struct queue *q, struct rcpt *r)
{
    struct message *m = r->msg;

    r->state = RCPT_GONE;
    q->memory.pending--;
    if (m->gone < MESSAGE_GONE_MAX)
        m->gone++;
}

/* Most end in their order, so those that are gone stand first: of a message to
 * thousands, delivered one by one, the others are not walked through. */
void message_sweep(struct queue *q, struct message *m)
{
    unsigned left = m->gone < MESSAGE_GONE_MAX ? m->gone : UINT_MAX;
    struct rcpt **at = &m->rcpts;

    m->gone = 0;
    while (*at != NULL && left > 0) {
        struct rcpt *r = *at;
        if (r->state != RCPT_GONE) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        left--;
        list_remove(&r->link); /* operate.c has it */
        q->owner->release(q, r->place);
        pool_put(q->memory.rcpts, r);
    }
    if (m->rcpts == NULL && m->settling == 0) {
        spool_message_done(q->spool, &m->stored);
        pool_put(q->memory.messages, m);
        q->memory.reclaimable = true;
    }
}
