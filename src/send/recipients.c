/* recipients.c - messages and recipients in memory: their waits, their end. */
#include "send/recipients.h"

uint32_t message_left(const struct sched *s, const struct message *m)
{
    uint32_t now = sched_seconds(s);

    return m->expires > now ? m->expires - now : 0;
}

void rcpt_later(struct sched *s, struct rcpt *r, uint32_t seconds)
{
    r->state = RCPT_WAITS;
    r->when = sched_seconds(s) + seconds;
    retry_queue_add(&s->memory.retry, r);
}

void rcpt_release(struct sched *s, struct rcpt *r)
{
    r->state = RCPT_GONE;
    s->memory.pending--;
}

void message_sweep(struct sched *s, struct message *m)
{
    struct rcpt **at = &m->rcpts;

    while (*at != NULL) {
        struct rcpt *r = *at;
        if (r->state != RCPT_GONE) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        destination_release(r->destination);
        pool_put(s->memory.rcpts, r);
    }
    if (m->rcpts == NULL && m->settling == 0) {
        spool_message_done(s->queue, &m->stored);
        pool_put(s->memory.messages, m);
        s->memory.reclaimable = true;
    }
}
