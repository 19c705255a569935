/* scan.c - read the queue into recipients that wait for their place. */
#include "queue/scan.h"

#include "base/clock.h"
#include "base/map.h"
#include "log/log.h"
#include "queue/held.h"
#include "queue/recipients.h"
#include "smtp/address.h"

#include <string.h>

/* --- recipients --------------------------------------------------------- --*/

struct load {
    struct queue *q;
    const struct spool_reader *v;
    struct message *m;
    struct rcpt **tail;
    uint64_t now; /* wall clock, us */
    uint32_t n;
    struct err *e;
    size_t nsender; /* of the reverse-path; 0: none, or longer than any */
    char sender[SMTP_PATH_MAX];
};

static struct rcpt *new_rcpt(struct load *l, struct span address)
{
    struct queue *q = l->q;
    struct span sender = { l->sender, l->nsender };
    struct rcpt *r = pool_get(q->memory.rcpts);
    void *place = r == NULL ? NULL : q->owner->place(q, sender, address);

    if (place == NULL) {
        pool_put(q->memory.rcpts, r);
        return NULL;
    }
    *r = (struct rcpt){ .msg = l->m, .place = place };
    *l->tail = r;
    l->tail = &r->next;
    return r;
}

/* Under load `--once` would never end; its own notices and children are bounded
 * by the mail it tries. */
static bool is_too_late(const struct queue *q, const struct spool_record *r)
{
    return q->scan.closed && (r->flags & SPOOL_BOUNCE) == 0 && r->part == 0;
}

/* 0; 1: no memory; -1 with *e. */
static int add_rcpt(struct load *l, uint32_t index, struct span address)
{
    struct spool_slot slot;

    if (spool_reader_slot(l->v, index, &slot, l->e) != 0)
        return -1;
    l->m->warned |= slot.warned ? 1 : 0;
    if (slot.state != SPOOL_PENDING && slot.state != SPOOL_HELD)
        return 0;
    struct rcpt *r = new_rcpt(l, address);
    if (r == NULL)
        return 1;
    r->slot = index & UINT16_MAX; /* SPOOL_RCPT_MAX fits */
    unsigned tries = slot.attempts + slot.rounds;
    r->tries =
        (tries < RCPT_TRIES_MAX ? tries : RCPT_TRIES_MAX) & RCPT_TRIES_MAX;
    r->state = slot.state == SPOOL_HELD ? RCPT_HELD : RCPT_WAITS;
    if (slot.state == SPOOL_HELD && slot.by_sender)
        held_found(l->q, r);
    const struct retry_rule *rule = &l->q->rule;
    r->when =
        retry_left(retry_next(l->v->rec, &slot, rule->min), l->now, rule->max);
    if (r->when == 0 && is_too_late(l->q, l->v->rec))
        r->when = 1;
    return 0;
}

/* Addresses of one mailbox (RFC 5233: user+detail) are one sender, and so is a
 * list that writes each recipient into the detail of its reverse-path. */
static uint32_t hash_sender(struct span path)
{
    size_t local = span_find(path, '+'), at = path.n;

    while (at > 0 && path.p[at - 1] != '@')
        at--;
    at -= at > 0;
    if (local > at)
        local = at;
    return (uint32_t)(map_hash(path.p, local) +
                      3 * map_hash(path.p + at, path.n - at));
}

/* Neighbours in a queue often share their sender: keep the one before. */
static uint32_t sender_of(struct queue *q, struct span path)
{
    struct queue_sender *last = &q->scan.last;

    if (path.n == 0 || path.n > sizeof last->path)
        return hash_sender(path);
    if (last->n != path.n || memcmp(last->path, path.p, path.n) != 0) {
        last->n = (uint8_t)path.n;
        memcpy(last->path, path.p, path.n);
        last->hash = hash_sender(path);
    }
    return last->hash;
}

/* The reverse-path stands before the recipients. */
static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct load *l = ctx;

    if (type == SPOOL_F_SENDER) {
        l->m->u.sender = sender_of(l->q, content);
        l->nsender = content.n < sizeof l->sender ? content.n : 0;
        memcpy(l->sender, content.p, l->nsender);
    }
    if (type != SPOOL_F_RCPT || l->n++ >= l->v->rec->nrcpt)
        return 0;
    return add_rcpt(l, l->n - 1, content);
}

/* From here on the monotonic clock alone decides when the message expires. */
static void set_end(const struct load *l, uint64_t arrival)
{
    const struct queue *q = l->q;
    struct message *m = l->m;
    unsigned tries = 0;

    for (const struct rcpt *r = m->rcpts; r != NULL; r = r->next)
        if (r->state != RCPT_GONE && r->tries > tries)
            tries = r->tries;
    uint32_t age = retry_age(&q->rule, tries, arrival, l->now);
    m->expires = queue_seconds(q) +
                 (age < q->rule.lifetime ? q->rule.lifetime - age : 0);
}

static void place(struct queue *q, struct message *m)
{
    for (struct rcpt *r = m->rcpts; r != NULL; r = r->next) {
        if (r->state == RCPT_HELD)
            continue;
        q->memory.pending++;
        if (r->when > 0)
            rcpt_later(q, r, r->when);
        else
            q->owner->due(q, r);
    }
}

static void unload(struct queue *q, struct message *m)
{
    for (struct rcpt *r = m->rcpts, *next; r != NULL; r = next) {
        next = r->next;
        held_forget(q, r);
        q->owner->release(q, r->place);
        pool_put(q->memory.rcpts, r);
    }
    m->rcpts = NULL;
}

/* Log it once per message. */
static void complain(const struct queue *q, struct message *m,
                     const struct spool_record *rec, const struct err *e)
{
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    if (m->unreadable)
        return;
    m->unreadable = 1;
    msg_id_text(id, rec->id);
    LOG(LOG_ERROR, "queue.unreadable", LS("queue", spool_name_text(q->name)),
        LS("id", id), LS("part", spool_part_text(part, rec->part)),
        LS("error", e->text));
}

/* 0: loaded; 1: no memory now; -1 with *e. */
static int load(struct queue *q, struct message *m,
                const struct spool_reader *v, struct err *e)
{
    struct load l;
    l.q = q;
    l.v = v;
    l.m = m;
    l.tail = &m->rcpts;
    l.now = clock_wall_us();
    l.n = 0;
    l.e = e;
    l.nsender = 0;
    int rc = spool_reader_envelope(v, on_field, &l, e);

    if (rc == 0 && l.n != v->rec->nrcpt)
        rc = err_set(e, ERR_PERM, 0, "%u recipients in an envelope for %u",
                     (unsigned)l.n, (unsigned)v->rec->nrcpt);
    if (rc == 0) {
        set_end(&l, v->rec->arrival);
        place(q, m);
        return 0;
    }
    unload(q, m);
    if (rc < 0)
        complain(q, m, v->rec, e);
    return rc;
}

static void again(struct queue *q, struct message *m)
{
    m->u.next = q->scan.unread;
    q->scan.unread = m;
}

/* A record that cannot be read now is tried again at the next scan.  A record
 * that makes no sense stays in the queue and in the log: an operator must look
 * at it. */
static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    struct queue *q = ctx;
    struct err e;

    if (pool_left(q->memory.rcpts) < v->rec->nrcpt)
        return NULL;
    struct message *m = pool_get(q->memory.messages);
    if (m == NULL)
        return NULL;
    memset(m, 0, sizeof *m);
    int rc = load(q, m, v, &e);
    if (rc > 0) {
        pool_put(q->memory.messages, m);
        return NULL;
    }
    if (rc < 0 && e.kind == ERR_TEMP)
        again(q, m);
    return &m->stored;
}

static void load_unread(struct queue *q)
{
    struct message *m = q->scan.unread, *next;
    struct spool_reader v;
    struct err e;

    for (q->scan.unread = NULL; m != NULL; m = next) {
        next = m->u.next;
        int rc = spool_message_reader(q->spool, &m->stored, &v, &e);
        if (rc == 0)
            rc = load(q, m, &v, &e);
        if (rc > 0 || (rc < 0 && e.kind == ERR_TEMP))
            again(q, m);
        else if (rc == 0)
            message_sweep(q, m);
    }
}

int queue_scan(struct queue *q, struct err *e)
{
    load_unread(q);
    int rc = spool_queue_scan(q->spool, on_found, q, e);
    if (q->held.found)
        held_release(q);
    return rc;
}
