/* intake.c - from the queue to recipients that wait for their destination. */
#include "send/sched.h"

#include "base/clock.h"
#include "log/log.h"
#include "smtp/address.h"

#include <string.h>

uint32_t sched_seconds(const struct sched *s)
{
    return (uint32_t)((loop_now(s->loop) - s->start_ms) / 1000) + 1;
}

static struct spool_item *on_found(void *ctx, const struct spool_record *rec)
{
    struct sched *s = ctx;
    uint64_t now = clock_wall_us();

    if (pool_left(s->rcpts) < rec->nrcpt)
        return NULL; /* shown again, when others are done */
    struct message *m = pool_get(s->messages);
    if (m == NULL)
        return NULL;
    memset(m, 0, sizeof *m);
    uint64_t age = now > rec->arrival ? (now - rec->arrival) / 1000000u : 0;
    m->expires =
        sched_seconds(s) +
        (age < s->rule.lifetime ? s->rule.lifetime - (uint32_t)age : 0);
    m->next = s->fresh;
    s->fresh = m;
    return &m->item;
}

/* --- recipients -----------------------------------------------------------*/

struct load {
    struct sched *s;
    struct message *m;
    struct rcpt **tail;
    uint32_t n;
};

static struct span domain_of(struct span address)
{
    struct smtp_address a;
    enum smtp_address_error why = smtp_address_parse(&a, address);

    if (why == SMTP_ADDRESS_NO_DOMAIN)
        return (struct span){ "", 0 };
    /* what is no address has a domain that leads nowhere */
    return why == SMTP_ADDRESS_OK ? a.domain : SPAN_LIT(" ");
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct load *l = ctx;

    if (type != SPOOL_F_RCPT)
        return 0;
    struct rcpt *r = pool_get(l->s->rcpts);
    struct dest *d = r == NULL ? NULL : dest_for(l->s, domain_of(content));
    if (d == NULL) {
        pool_put(l->s->rcpts, r);
        return 1;
    }
    *r = (struct rcpt){
        .msg = l->m, .dest = d, .slot = l->n++, .state = RCPT_GONE
    };
    *l->tail = r;
    l->tail = &r->next;
    return 0;
}

/* What its slot says; nothing is done about it yet. */
static int read_state(struct sched *s, struct rcpt *r, struct err *e)
{
    struct spool_slot slot;

    if (spool_slot_get(s->store, &r->msg->item, r->slot, &slot, e) != 0)
        return -1;
    r->attempts =
        (uint16_t)(slot.attempts < UINT16_MAX ? slot.attempts : UINT16_MAX);
    r->msg->warned |= slot.warned;
    if (slot.state == SPOOL_HELD)
        r->state = RCPT_HELD;
    if (slot.state != SPOOL_PENDING)
        return 0;
    r->when = retry_left(slot.next_attempt, clock_wall_us(), s->rule.max);
    r->state = r->when > 0 ? RCPT_WAITS : RCPT_DUE;
    return 0;
}

static void place(struct sched *s, struct message *m)
{
    for (struct rcpt *r = m->rcpts; r != NULL; r = r->next) {
        s->pending += r->state == RCPT_DUE || r->state == RCPT_WAITS;
        if (r->state == RCPT_DUE)
            dest_add(r);
        else if (r->state == RCPT_WAITS)
            outcome_later(s, r, r->when);
    }
    message_sweep(s, m);
}

static void unload(struct sched *s, struct message *m)
{
    for (struct rcpt *r = m->rcpts, *next; r != NULL; r = next) {
        next = r->next;
        dest_forget(r->dest);
        pool_put(s->rcpts, r);
    }
    m->rcpts = NULL;
}

/* 0: loaded; 1: no memory now; -1 with *e. */
static int read_message(struct sched *s, struct message *m, struct err *e)
{
    struct load l = { s, m, &m->rcpts, 0 };

    int rc = spool_item_envelope(s->store, &m->item, on_field, &l, e);
    if (rc == 0 && l.n != m->item.rec.nrcpt)
        rc = err_set(e, ERR_PERM, 0, "%u recipients in an envelope for %u",
                     (unsigned)l.n, (unsigned)m->item.rec.nrcpt);
    for (struct rcpt *r = m->rcpts; r != NULL && rc == 0; r = r->next)
        rc = read_state(s, r, e);
    return rc;
}

/* Once, however often it is tried. */
static void complain(struct message *m, const struct err *e)
{
    char id[MSG_ID_TEXT];

    if (m->unreadable)
        return;
    m->unreadable = 1;
    msg_id_text(id, m->item.rec.id);
    LOG(LOG_ERROR, "send.unreadable", LS("id", id), LS("error", e->text));
}

/* One for which there is no memory comes again at the next scan, and so does
 * one that the disk does not give us now.  What makes no sense stays in the
 * queue and in the log: a person must look.  Without recipients it costs
 * nothing more. */
static void load_fresh(struct sched *s)
{
    struct message *m, *later = NULL;
    struct err e;

    while ((m = s->fresh) != NULL) {
        s->fresh = m->next;
        m->next = NULL;
        int rc = read_message(s, m, &e);
        if (rc == 0) {
            place(s, m);
            continue;
        }
        unload(s, m);
        if (rc < 0)
            complain(m, &e);
        if (rc > 0 || e.kind == ERR_TEMP) {
            m->next = later;
            later = m;
        }
    }
    s->fresh = later;
}

int intake_scan(struct sched *s, struct err *e)
{
    if (spool_store_scan(s->store, on_found, s, e) != 0)
        return -1;
    load_fresh(s);
    return 0;
}

bool intake_has_fresh(const struct sched *s)
{
    return s->fresh != NULL;
}

/* --- the end of a recipient -----------------------------------------------*/

void rcpt_release(struct sched *s, struct rcpt *r)
{
    r->state = RCPT_GONE;
    s->pending--;
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
        dest_forget(r->dest);
        pool_put(s->rcpts, r);
    }
    if (m->rcpts == NULL && m->settling == 0) {
        spool_item_done(s->store, &m->item);
        pool_put(s->messages, m);
        s->finished_some = true;
    }
}
