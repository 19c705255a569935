/* result.c - the end of an attempt for a recipient: its slot, the log, the next
 * attempt. */
#include "queue/result.h"

#include "base/clock.h"
#include "log/log.h"
#include "queue/held.h"
#include "queue/history.h"
#include "queue/operate.h"
#include "queue/recipients.h"
#include "queue/slots.h"
#include "smtp/address.h"

#include <stdlib.h>
#include <string.h>

enum { FAULT_SECONDS = 5, UNWRITTEN_SECONDS = 60, TLS_TEXT = 80 };

/* --- slot and log ------------------------------------------------------- */

/* The first try has none before it, and nothing is read. */
void result_count(struct queue *q, const struct delivery *j,
                  const struct rcpt *r, struct spool_slot *slot)
{
    struct spool_slot old = { 0 };
    struct err e;

    if (r->tries > 1 &&
        spool_slot_get(q->spool, &j->msg->stored, r->slot, &old, &e) != 0)
        queue_log_fault(q, "queue.slot", &e);
    slot->last_attempt = clock_wall_us();
    slot->first_attempt =
        old.first_attempt != 0 ? old.first_attempt : slot->last_attempt;
    slot->attempts = old.attempts + j->offered;
    slot->rounds = old.rounds + !j->offered;
}

static void put_slot(struct queue *q, struct delivery *j,
                     struct delivery_rcpt *jr, enum spool_state state,
                     uint32_t seconds)
{
    struct spool_slot slot = { .state = state,
                               .status = delivery_status(jr),
                               .warned = j->msg->warned,
                               .tried = j->peer,
                               .tls_version = j->tls.version_id,
                               .tls_cipher = j->tls.cipher_id };

    result_count(q, j, jr->rcpt, &slot);
    jr->attempts = slot.attempts;
    jr->rounds = slot.rounds;
    if (state == SPOOL_PENDING && jr->rcpt->asked)
        slot.state = operate_asked(q, jr->rcpt);
    if (state == SPOOL_PENDING)
        slot.next_attempt = slot.last_attempt + seconds * 1000000ull;
    snprintf(slot.mx, sizeof slot.mx, "%.*s", (int)sizeof slot.mx - 1,
             delivery_host(j, jr));
    snprintf(slot.reply, sizeof slot.reply, "%.*s", (int)sizeof slot.reply - 1,
             jr->answer.text);
    slots_put(q, j->msg, jr->rcpt->slot, &slot);
}

/* Of a session with a peer; NULL: there was none. */
static const char *tls_of(const struct delivery *j, char room[TLS_TEXT])
{
    if (j->tls.version == NULL)
        return j->local || j->sid[0] == '\0' ? NULL : "none";
    snprintf(room, TLS_TEXT, "%s/%s", j->tls.version, j->tls.cipher);
    return room;
}

static void say(const char *event, enum log_level level,
                const struct delivery *j, const struct delivery_rcpt *jr,
                const char *key, const char *value)
{
    const struct smtp_status end = delivery_status(jr);
    const char *host = delivery_host(j, jr);
    char id[MSG_ID_TEXT], status[SMTP_STATUS_TEXT], from[SMTP_PATH_MAX + 3];
    char part[SPOOL_PART_TEXT], tls[TLS_TEXT];
    uint64_t now = clock_wall_us();

    msg_id_text(id, j->id);
    snprintf(from, sizeof from, "<%s>", j->sender);
    smtp_status_text(status, &end);
    LOG(level, event, LS("id", id),
        LS("part", spool_part_text(part, j->msg->stored.rec.part)),
        LS("sid", j->sid[0] ? j->sid : NULL), LS("from", from),
        LS("to", jr->address),
        LS(j->local ? "mailbox" : "mx", host[0] ? host : NULL),
        LS("address", j->address[0] ? j->address : NULL),
        LS("tls", tls_of(j, tls)),
        LS("verified", j->tls.version == NULL ? NULL
                       : jr->verified         ? "yes"
                                              : "no"),
        LN("code", end.code), LS("status", status[0] ? status : NULL),
        LS("reply", jr->answer.text), LN("attempts", jr->attempts),
        LN("rounds", jr->rounds),
        LN("delay", now > j->arrival ? (now - j->arrival) / 1000000u : 0),
        LS(key, value),
        { "others", j->others > 0 ? LOG_NUM : LOG_STR, NULL, j->others });
}

static void note(struct queue *q, enum history_kind kind,
                 const struct delivery *j, const struct delivery_rcpt *jr,
                 const char *other, uint64_t next)
{
    const struct spool_record *rec = &j->msg->stored.rec;
    struct history_event ev = { .kind = kind,
                                .local = j->local,
                                .verified = jr->verified,
                                .when = clock_wall_us(),
                                .next = next,
                                .id = j->id,
                                .part = rec->part,
                                .slot = jr->rcpt->slot,
                                .attempts = jr->attempts,
                                .rounds = jr->rounds,
                                .size = rec->body_size + rec->front,
                                .arrival = j->arrival,
                                .status = delivery_status(jr),
                                .peer = j->peer };

    if (q->history == NULL)
        return;
    if (j->tls.version != NULL) {
        ev.tls_version = j->tls.version_id;
        ev.tls_cipher = j->tls.cipher_id;
    }
    ev.sender = span_of(j->sender);
    ev.rcpt = span_of(jr->address);
    ev.host = span_of(delivery_host(j, jr));
    ev.sid = span_of(j->sid);
    ev.reply = span_of(delivery_reply(j, &jr->answer));
    ev.other = span_of(other);
    history_add(q->history, &ev);
}

static void say_damaged(const struct queue *q, const struct delivery *j)
{
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, j->id);
    LOG(LOG_ERROR, "queue.unreadable", LS("queue", spool_name_text(q->name)),
        LS("id", id),
        LS("part", spool_part_text(part, j->msg->stored.rec.part)),
        LS("sid", j->sid[0] ? j->sid : NULL),
        LS("error", "message damaged on disk"));
}

/* A host that is shut costs one line, however much mail waits for it. */
static void say_next(struct queue *q, const struct delivery *j,
                     const struct delivery_rcpt *jr, uint32_t seconds)
{
    uint64_t when = clock_wall_us() + seconds * 1000000ull;
    char next[CLOCK_RFC3339_MAX];

    if (j->quiet)
        return;
    clock_rfc3339(next, when);
    note(q, HISTORY_DEFERRED, j, jr, "", when);
    say(q->events->deferred, LOG_WARN, j, jr, "next", next);
}

/* --- notices that the sender asked for (RFC 3461) ------------------------- */

static bool has_word(const char *list, const char *word)
{
    struct span rest = span_of(list);

    while (rest.n > 0) {
        size_t n = span_find(rest, ',');
        if (span_is_nocase(span_trim((struct span){ rest.p, n }), word))
            return true;
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    return false;
}

/* RFC 3461 4.1: without NOTIFY, failures and delays are reported; for a notice
 * (null reverse-path) nothing ever is. */
static bool wants(const struct delivery *j, const struct delivery_rcpt *jr,
                  const char *word, bool by_default)
{
    if (j->sender[0] == '\0' || (j->flags & SPOOL_BOUNCE) != 0)
        return false;
    return jr->notify == NULL ? by_default : has_word(jr->notify, word);
}

/* --- counters ------------------------------------------------------------- */

static void count(struct queue *q, const struct delivery *j,
                  const struct delivery_rcpt *jr, enum counters_what what)
{
    uint64_t now = clock_wall_us();
    struct counters_event x = { .what = what,
                                .address = span_of(jr->address),
                                .sender = span_of(j->sender) };

    if (what == COUNTERS_DELIVERED) {
        x.size = j->body.size;
        x.latency_us = now > j->arrival ? now - j->arrival : 0;
        x.message = true;
        for (const struct delivery_rcpt *r = j->rcpt; r < jr && x.message; r++)
            x.message = r->answer.outcome != OUTCOME_DELIVERED;
    }
    counters_count(q->counters, &x);
}

/* --- one recipient ------------------------------------------------------ */

static void count_in_memory(struct rcpt *r)
{
    if (r->tries < RCPT_TRIES_MAX)
        r->tries++;
}

static void finish(struct queue *q, struct delivery_rcpt *jr)
{
    if (jr->notice == NOTICE_NONE)
        rcpt_release(q, jr->rcpt);
    else
        jr->rcpt->state = RCPT_SETTLES;
}

static void be_delivered(struct queue *q, struct delivery *j,
                         struct delivery_rcpt *jr)
{
    count_in_memory(jr->rcpt);
    put_slot(q, j, jr, SPOOL_DELIVERED, 0);
    say(q->events->delivered, LOG_INFO, j, jr, "next", NULL);
    count(q, j, jr, COUNTERS_DELIVERED);
    note(q, HISTORY_DELIVERED, j, jr, "", 0);
    if (!j->dsn_passed && wants(j, jr, "SUCCESS", false))
        jr->notice = j->local ? NOTICE_DELIVERED : NOTICE_RELAYED;
    finish(q, jr);
}

static void be_failed(struct queue *q, struct delivery *j,
                      struct delivery_rcpt *jr)
{
    count(q, j, jr, COUNTERS_BOUNCED);
    if (wants(j, jr, "FAILURE", true)) {
        jr->notice = NOTICE_FAILED; /* the mark waits for the bounce */
    } else {
        put_slot(q, j, jr, SPOOL_FAILED, 0);
        say(q->events->bounced, LOG_WARN, j, jr, "bounce", "none");
        note(q, HISTORY_BOUNCED, j, jr, "", 0);
    }
    finish(q, jr);
}

/* The sender has to be told, once. */
static bool is_late(const struct queue *q, const struct message *m,
                    uint64_t seconds)
{
    return q->conf->send.warn_after > 0 && !m->warned &&
           seconds >= (uint64_t)q->conf->send.warn_after;
}

/* Only attempts count: a host that was shut does not know the message. */
static uint32_t greylist_delay(struct queue *q, const struct delivery *j,
                               const struct delivery_rcpt *jr)
{
    struct spool_slot slot = { 0 };

    result_count(q, j, jr->rcpt, &slot);
    return retry_greylisted(&q->rule, slot.attempts, jr->answer.again,
                            arc4random());
}

static void be_deferred(struct queue *q, struct delivery *j,
                        struct delivery_rcpt *jr)
{
    struct message *m = j->msg;
    struct rcpt *r = jr->rcpt;
    uint32_t now = queue_seconds(q);
    uint32_t delay = jr->answer.greylisted
                         ? greylist_delay(q, j, jr)
                         : retry_delay(&q->rule, r->tries, arc4random());

    if (now + delay > m->expires)
        delay = m->expires - now; /* one last time when it expires */
    if (is_late(q, m, message_age(q, m)) && wants(j, jr, "DELAY", true))
        jr->notice = NOTICE_DELAYED;
    count(q, j, jr, COUNTERS_DEFERRED);
    bool kept = q->owner->keep(q, j, jr, &delay);
    put_slot(q, j, jr, SPOOL_PENDING, delay);
    say_next(q, j, jr, delay);
    if (!kept)
        rcpt_later(q, r, delay);
}

/* The last answer stays the reason, with the peer's own status. */
static void be_tried(struct queue *q, struct delivery *j,
                     struct delivery_rcpt *jr)
{
    count_in_memory(jr->rcpt);
    if (jr->answer.outcome == OUTCOME_DEFERRED &&
        queue_seconds(q) >= j->msg->expires) {
        jr->answer.outcome = OUTCOME_FAILED;
        jr->expired = true;
    }
    if (jr->answer.outcome == OUTCOME_FAILED)
        be_failed(q, j, jr);
    else
        be_deferred(q, j, jr);
}

/* A setting has to change first: the wait counts neither as an attempt nor as
 * a round, and the message grows no older.  The slot has the reason. */
static void be_held_back(struct queue *q, struct delivery *j,
                         struct delivery_rcpt *jr)
{
    struct spool_slot slot = { 0 };
    struct message *m = j->msg;
    struct err e;

    if (spool_slot_get(q->spool, &j->msg->stored, jr->rcpt->slot, &slot, &e) !=
        0)
        queue_log_fault(q, "queue.slot", &e);
    slot.status = jr->answer.status;
    snprintf(slot.reply, sizeof slot.reply, "%.*s", (int)sizeof slot.reply - 1,
             jr->answer.text);
    uint64_t waited = slot.waits * (uint64_t)q->rule.min;
    uint32_t delay =
        jr->rcpt->asked ? q->rule.min : held_or_later(q, jr->rcpt, &slot);
    if (delay > 0) {
        slot.next_attempt = clock_wall_us() + delay * 1000000ull;
        rcpt_later(q, jr->rcpt, delay);
    }
    if (is_late(q, m, waited) && wants(j, jr, "DELAY", true))
        jr->notice = NOTICE_DELAYED;
    slots_put(q, m, jr->rcpt->slot, &slot);
}

static void be_back(struct queue *q, struct delivery *j,
                    struct delivery_rcpt *jr)
{
    q->owner->back(q, j, jr);
    if (jr->rcpt->asked && q->owner->take(q, jr->rcpt))
        rcpt_later(q, jr->rcpt, FAULT_SECONDS);
}

static void apply(struct queue *q, struct delivery *j, struct delivery_rcpt *jr)
{
    switch (jr->answer.outcome) {
    case OUTCOME_NONE:
        if (jr->answer.misconfigured)
            be_held_back(q, j, jr);
        else if (j->offered)
            be_back(q, j, jr);
        else
            rcpt_later(q, jr->rcpt, FAULT_SECONDS);
        break;
    case OUTCOME_DELIVERED: be_delivered(q, j, jr); break;
    case OUTCOME_DEFERRED:
        if (q->owner->goes_on(q, j, jr))
            break;
        be_tried(q, j, jr);
        break;
    case OUTCOME_FAILED: be_tried(q, j, jr); break;
    }
}

static void dispose(struct queue *q, struct delivery *j)
{
    struct message *m = j->msg;

    spool_message_unpin(q->spool, j->pinned);
    delivery_free(&j);
    message_sweep(q, m);
}

void result_apply(struct queue *q, struct delivery *j)
{
    bool notices = false, damaged = false, waits = false;

    for (size_t i = 0; i < j->nrcpt; i++) {
        apply(q, j, &j->rcpt[i]);
        damaged |= j->rcpt[i].answer.damaged;
        waits |= j->rcpt[i].answer.misconfigured;
        notices |= j->rcpt[i].notice != NOTICE_NONE;
    }
    if (damaged)
        say_damaged(q, j);
    if (waits)
        message_forget_wait(q, j->msg);
    if (notices) {
        j->msg->settling++;
        list_push(&q->notice.deliveries, &j->link);
    } else {
        dispose(q, j);
    }
}

/* --- notices ------------------------------------------------------------ */

static void warned(struct queue *q, struct message *m, struct rcpt *r)
{
    struct spool_slot slot;
    struct err e;

    m->warned = 1;
    if (spool_slot_get(q->spool, &m->stored, r->slot, &slot, &e) != 0)
        return;
    slot.warned = true;
    slots_put(q, m, r->slot, &slot);
}

/* False: its notice is still to be written. */
static bool settle(struct queue *q, struct delivery *j,
                   struct delivery_rcpt *jr, const char *bounce)
{
    switch ((enum notice)jr->notice) {
    case NOTICE_NONE: return true;
    case NOTICE_DELAYED:
        if (bounce != NULL)
            warned(q, j->msg, jr->rcpt);
        return true;
    case NOTICE_EXPANDED: return true; /* a child has its place */
    case NOTICE_RELAYED:
    case NOTICE_DELIVERED:
        if (jr->rcpt == NULL)
            return true;
        if (bounce == NULL)
            return false;
        break;
    case NOTICE_FAILED:
        if (bounce == NULL) {
            rcpt_later(q, jr->rcpt, UNWRITTEN_SECONDS);
            return true;
        }
        put_slot(q, j, jr, SPOOL_FAILED, 0);
        say(q->events->bounced, LOG_WARN, j, jr, "bounce", bounce);
        note(q, HISTORY_BOUNCED, j, jr, bounce, 0);
        break;
    }
    rcpt_release(q, jr->rcpt);
    return true;
}

void result_replaced(struct queue *q, struct delivery *j)
{
    j->msg->settling++;
    for (size_t i = 0; i < j->nrcpt; i++)
        j->rcpt[i].rcpt = NULL;
    list_push(&q->notice.deliveries, &j->link);
}

void result_settled(struct queue *q, struct delivery *j, const char *bounce)
{
    bool settled = true;

    for (size_t i = 0; i < j->nrcpt; i++) {
        if (settle(q, j, &j->rcpt[i], bounce))
            j->rcpt[i].notice = NOTICE_NONE;
        else
            settled = false;
    }
    if (!settled) {
        list_push(&q->notice.unwritten, &j->link);
        q->notice.again = queue_seconds(q) + UNWRITTEN_SECONDS;
        return;
    }
    j->msg->settling--;
    dispose(q, j);
}

void result_forget(struct queue *q)
{
    struct list *l;

    while (q->notice.unwritten.next != NULL &&
           (l = list_pop(&q->notice.unwritten)) != NULL) {
        struct delivery *j = LIST_ENTRY(l, struct delivery, link);
        spool_message_unpin(q->spool, j->pinned);
        delivery_free(&j);
    }
}
