/* pace_signs.c - from what a host replies to the pace of its provider, and to
 * the log: loud at the first sign, because what is put off today is refused
 * tomorrow. */
#include "log/log.h"
#include "send/pace_private.h"
#include "send/provider.h"
#include "send/refusal.h"
#include "send/session.h"

#include <string.h>

/* --- the log -------------------------------------------------------------- */

static void report(const struct pace *p, const struct lane *l,
                   const char *state, uint64_t seconds)
{
    char address[ADDR_PORT_TEXT];

    addr_port_text(address, &l->peer);
    LOG(LOG_WARN, "send.pace", LS("group", p->name), LS("state", state),
        LN("rate", p->limit.rate), LN("sessions", p->limit.sessions),
        LN("pause", seconds), LS("mx", send_session_host(l->session)),
        LS("address", address), LS("reply", p->why));
}

void pace_report_lifted(const struct pace *p)
{
    LOG(LOG_INFO, "send.pace", LS("group", p->name), LS("state", "free"));
}

/* Once a day for each code of a provider. */
static bool is_news(struct pace *p, unsigned detail)
{
    uint64_t now = pace_now(p);
    unsigned oldest = 0;

    for (unsigned i = 0; i < PACE_TOLD; i++) {
        if (p->told[i].at != 0 && p->told[i].detail == detail &&
            now < p->told[i].at + PACE_FORGET * (uint64_t)1000)
            return false;
        if (p->told[i].at < p->told[oldest].at)
            oldest = i;
    }
    p->told[oldest].detail = detail;
    p->told[oldest].at = now;
    return true;
}

/* 4.7.X of a provider: 5.7.X follows, if nothing is done. */
static void advise(const struct lane *l, const struct answer *a,
                   const char *host)
{
    static const char usual[] = "see docs/deliverability.md";
    char status[SMTP_STATUS_TEXT], address[ADDR_PORT_TEXT];
    struct pace *p = l->pace.of;

    if (p == NULL || !p->group || a->status.class != 4 ||
        a->status.subject != 7 || a->refusal == REFUSAL_GREYLISTED ||
        !is_news(p, a->status.detail))
        return;
    const char *hint = refusal_hint(&a->status);
    smtp_status_text(status, &a->status);
    addr_port_text(address, &l->peer);
    LOG(LOG_WARN, "send.advice", LS("group", p->name), LS("mx", host),
        LS("address", address), LN("code", a->status.code),
        LS("status", status), LS("reply", a->text),
        LS("advice", hint != NULL ? hint : usual));
}

/* --- signs ---------------------------------------------------------------- */

/* As the host wrote it: code, enhanced code, text. */
static void write_reply(char *out, size_t size, const struct answer *a)
{
    char status[SMTP_STATUS_TEXT];
    struct buf b;

    buf_init(&b, out, size);
    smtp_status_text(status, &a->status);
    if (a->status.code != 0)
        buf_addf(&b, "%u ", (unsigned)a->status.code);
    if (status[0] != '\0')
        buf_addf(&b, "%s ", status);
    buf_addf(&b, "%.*s", (int)(size - b.n - 1), a->text);
}

static void note(struct pace *p, const struct answer *why)
{
    p->forget_at = pace_now(p) + PACE_FORGET * (uint64_t)1000;
    p->accuser[0] = p->accuser[1] = 0;
    write_reply(p->why, sizeof p->why, why);
    list_remove(&p->known);
    list_push(&p->sched->pace.known, &p->known);
    pace_save_soon(p->sched);
}

/* Mail that was on its way when the sign came brings the same one again.  Too
 * many sessions where there is one: those of others at our address, or one
 * that has ended and is not forgotten there. */
static void slow(struct pace *p, struct lane *l, const struct answer *why,
                 bool shut)
{
    bool sessions = why->refusal == REFUSAL_SESSIONS;

    if (pace_is_held(l))
        return;
    note(p, why);
    if (sessions && p->open > 1) {
        pace_fewer(&p->limit, p->open, true);
        pace_hold(p, 0, false, NULL);
        report(p, l, "fewer sessions", 0);
        return;
    }
    uint32_t seconds = sessions
                           ? pace_pause(&p->limit, why->again)
                           : pace_slow(&p->limit, pace_recent(p), why->again);
    shut |= seconds > PACE_PAUSE_MIN;
    report(p, l, sessions ? "paused" : "slower", seconds);
    pace_hold(p, pace_now(p) + seconds * (uint64_t)1000, shut, l);
}

void pace_take_sign(struct lane *l, const struct send_session_end *end)
{
    struct pace *p = pace_of(l);

    if (p == NULL)
        return;
    advise(l, &end->why, send_session_host(l->session));
    slow(p, l, &end->why, end->mail == MAIL_MOVES_ON);
}

static void stop(struct pace *p, struct lane *l, const struct answer *why)
{
    note(p, why);
    uint32_t seconds = pace_stop(&p->limit, pace_recent(p));
    report(p, l, "stopped", seconds);
    pace_hold(p, pace_now(p) + seconds * (uint64_t)1000, true, l);
}

void pace_take_stop(struct lane *l, const struct send_session_end *end)
{
    struct pace *p = pace_of(l);

    if (p == NULL)
        return;
    advise(l, &end->why, send_session_host(l->session));
    if (p->shut_until <= pace_now(p))
        stop(p, l, &end->why);
}

/* A host of a provider that is refused while others are open is a limit of
 * sessions; without others it is that host's fault alone. */
void pace_take_refused(struct lane *l)
{
    struct pace *p = l->pace.of;
    struct answer why;

    if (p == NULL || !p->group || p->open < 2 || pace_is_held(l) ||
        (p->limit.sessions > 0 && p->open > p->limit.sessions))
        return;
    answer_set(&why, OUTCOME_DEFERRED, NULL, "connection refused");
    note(p, &why);
    pace_fewer(&p->limit, p->open, false);
    pace_hold(p, 0, false, NULL);
    report(p, l, "fewer sessions", 0);
}

/* --- replies to recipients --------------------------------------------------
 * A host of many domains may refuse our address for one of them: a rule of
 * that domain's own, which is no reason to stop mail for the others.  A filter
 * in front of their hosts may pass on that one of these wants less mail. */

static uint64_t hash_of(const struct destination *d)
{
    return map_hash(d->host, strlen(d->host)) | 1;
}

/* Does no other destination use the pace, or the lane? */
static bool is_alone(const struct lane *l, const struct destination *d)
{
    unsigned own = 0, all = l->refs;
    const struct pace *p = l->pace.of;

    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++) {
        const struct lane *other = d->hops->hop[i].lane;
        own += other == l || (p != NULL && other->pace.of == p);
    }
    if (p != NULL) {
        all = 0;
        for (const struct list *x = p->lanes.next; x != &p->lanes; x = x->next)
            all += LIST_ENTRY(x, struct lane, pace.lanes)->refs;
    }
    return own == all;
}

/* A next hop of the settings may pass on what a host behind it replies for one
 * recipient (a callout): no reply to RCPT stops all mail there. */
static void accuse(struct lane *l, const struct destination *d,
                   const struct answer *a)
{
    bool blocks = a->refusal == REFUSAL_BLOCKED, alone = is_alone(l, d);
    struct pace *p = d->configured ? NULL : pace_of(l);

    if (p == NULL || p->shut_until > pace_now(p) || l->session == NULL)
        return;
    uint64_t *accuser = &p->accuser[blocks ? 0 : 1];
    if (!alone && (*accuser == 0 || *accuser == hash_of(d)))
        *accuser = hash_of(d);
    else if (blocks)
        stop(p, l, a);
    else
        slow(p, l, a, false);
}

/* Is it for accuse()?  Of rates elsewhere the session has taken the sign. */
static bool is_accusation(const struct lane *l, const struct answer *a)
{
    const struct pace *p = l->pace.of;

    if (a->refusal != REFUSAL_RATE && a->refusal != REFUSAL_SESSIONS)
        return a->refusal == REFUSAL_BLOCKED;
    return p != NULL && p->group && provider_kind(p->name) == PROVIDER_FRONT;
}

void pace_read_answers(struct lane *l, const struct delivery *j)
{
    for (size_t i = 0; i < j->nrcpt; i++) {
        const struct delivery_rcpt *r = &j->rcpt[i];
        if (r->answer.outcome != OUTCOME_DEFERRED)
            continue;
        advise(l, &r->answer, delivery_host(j, r));
        if (is_accusation(l, &r->answer))
            accuse(l, r->rcpt->place, &r->answer);
    }
}
