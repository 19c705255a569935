#include "send/relay.h"

#include "send/ready.h"

enum { PER_TURN = 256 };

/* In ms of the loop. */
static uint64_t opens(const struct sched *s, const struct destination *d)
{
    uint32_t now = sched_seconds(s);

    if (d->outcome == NULL)
        return destination_opens(d);
    return loop_now(s->loop) +
           (d->expires > now ? (d->expires - now) * (uint64_t)1000 : 0);
}

/* What its state is worth: one that is not known yet may work. */
enum worth { WAITS, TRIES, WORKS };

static enum worth worth_of(struct sched *s, struct destination *d)
{
    if (!destination_is_known(d))
        return d->look_up_failed ? TRIES : WORKS;
    if (d->outcome != NULL || destination_rank(s, d) < 0)
        return WAITS;
    return destination_is_tried(s, d) ? TRIES : WORKS;
}

/* NULL: no memory. */
static struct destination *choose(struct sched *s, enum conf_tls mail_tls)
{
    struct destination *best = NULL;
    enum worth most = WAITS;

    for (unsigned i = 1; i <= s->conf->send.relay_host.n; i++) {
        struct destination *d = destination_of_relay(s, i, mail_tls);
        if (d == NULL)
            return NULL;
        enum worth worth = worth_of(s, d);
        if (worth == WORKS)
            return d;
        if (best == NULL || worth > most ||
            (worth == WAITS && most == WAITS && opens(s, d) < opens(s, best))) {
            best = d;
            most = worth;
        }
    }
    return best;
}

static struct destination *next_of(struct sched *s, struct destination *d)
{
    if (d->relay == 0 || s->conf->send.relay_host.n < 2)
        return d;
    struct destination *to = choose(s, (enum conf_tls)d->mail_tls);
    return to != NULL ? to : d;
}

bool relay_is_passed(struct sched *s, struct destination *d)
{
    return destination_next(d) != NULL && next_of(s, d) != d;
}

static void move(struct rcpt *r, struct destination *to)
{
    destination_move(r, to);
    destination_add(r);
}

bool relay_pass(struct sched *s, struct destination *d)
{
    struct destination *to = next_of(s, d);
    struct rcpt *r;

    if (to == d)
        return false;
    destination_detach(d);
    for (int i = 0; i < PER_TURN && (r = destination_next(d)) != NULL; i++) {
        destination_take(r);
        move(r, to);
    }
    while (!list_empty(&d->parked)) {
        r = LIST_ENTRY(d->parked.next, struct rcpt, link);
        list_remove(&r->link);
        move(r, to);
    }
    if (destination_next(d) != NULL)
        ready_destination(d);
    return true;
}
