#include "send/hop_state.h"

#include "log/log.h"
#include "send/ready.h"
#include "send/sched.h"

#include <stdlib.h>

enum { FAILURES_MAX = 32 };

static uint64_t own_opens(const struct hop *h)
{
    return h->shut != NULL ? h->shut->until : 0;
}

uint64_t hop_opens(const struct hop *h)
{
    uint64_t own = own_opens(h);

    return own > h->lane->shut_until ? own : h->lane->shut_until;
}

static bool is_own(const struct hop *h)
{
    return own_opens(h) > h->lane->shut_until;
}

const struct answer *hop_why(const struct hop *h)
{
    return is_own(h) ? &h->shut->why : &h->lane->why;
}

struct shut_log *hop_log(const struct hop *h)
{
    return is_own(h) ? &h->shut->log : &h->lane->log;
}

bool hop_is_up(const struct sched *s, const struct hop *h)
{
    return hop_opens(h) <= loop_now(s->loop);
}

struct lane_state hop_state(const struct sched *s, const struct hop *h)
{
    if (is_own(h) && own_opens(h) > loop_now(s->loop))
        return (struct lane_state){ LANE_IS_SHUT, h->shut->until,
                                    &h->shut->why };
    return lane_state(s, h->lane);
}

/* Its parked mail may go. */
static void on_opens(struct loop_timer *t)
{
    ready_destination(LOOP_ENTRY(t, struct hop_shut, opens)->hop->destination);
}

/* TLS that the mail demands (4.7.4, 4.7.5), or its login. */
static void report(const struct hop *h, unsigned seconds)
{
    char address[ADDR_PORT_TEXT];
    const struct smtp_status *s = &h->shut->why.status;
    bool tls = s->subject == 7 && (s->detail == 4 || s->detail == 5);

    addr_port_text(address, &h->lane->peer);
    LOG(LOG_WARN, tls ? "send.tls_failed" : "send.auth_failed",
        LS("mx", h->name), LS("address", address),
        LS("for", h->destination->host), LS("error", h->shut->why.text),
        LN("pause", seconds));
}

void hop_shut(struct sched *s, struct hop *h, const struct answer *why)
{
    if (h->shut == NULL && (h->shut = calloc(1, sizeof *h->shut)) == NULL)
        return; /* its mail tries again, and the lane paces that */
    struct hop_shut *x = h->shut;
    if (x->until > loop_now(s->loop))
        return;
    x->hop = h;
    x->opens.fn = on_opens;
    x->failures += x->failures < FAILURES_MAX;
    unsigned seconds = retry_backoff(&s->queue.rule, x->failures);
    x->until = loop_now(s->loop) + seconds * (uint64_t)1000;
    x->log.said = false;
    x->why = *why;
    x->why.outcome = OUTCOME_DEFERRED;
    loop_timer_set(s->loop, &x->opens, seconds * (uint64_t)1000);
    report(h, seconds);
}

void hop_open(struct sched *s, struct hop *h)
{
    if (h->shut == NULL)
        return;
    loop_timer_clear(s->loop, &h->shut->opens);
    free(h->shut);
    h->shut = NULL;
}

void hop_move(struct hop *to, struct hop *from)
{
    to->shut = from->shut;
    from->shut = NULL;
    if (to->shut != NULL)
        to->shut->hop = to;
    to->misfit = from->misfit;
}

bool hop_misfits(const struct hop *h)
{
    return h->misfit != 0 && h->misfit == h->lane->serial &&
           lane_is_open(h->lane);
}
