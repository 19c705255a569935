/* operate.c - hold, release, retry and delete recipients of a queue. */
#include "queue/operate.h"

#include "base/clock.h"
#include "log/log.h"
#include "queue/held.h"
#include "queue/history.h"
#include "queue/recipients.h"
#include "queue/slots.h"

#include <string.h>

enum {
    PIECE_US = 4000,
    PIECE_MAX_US = 20000,
    LOOK_EVERY =
        64, /* messages and recipients between two looks at the clock */
    RCPTS_PER_LOOK = 1024 /* of one message */
};

/* --- one recipient -------------------------------------------------------- */
/* 0, or -1: it stays as it is. */
static int get_slot(struct queue *q, const struct rcpt *r,
                    struct spool_slot *slot)
{
    struct err e;

    if (spool_slot_get(q->spool, &r->msg->stored, r->slot, slot, &e) == 0)
        return 0;
    q->operate.failed++;
    queue_log_fault(q, "queue.slot", &e);
    return -1;
}

static int put_slot(struct queue *q, struct rcpt *r,
                    const struct spool_slot *slot)
{
    struct err e;

    q->slot.dirty = true;
    if (spool_slot_put(q->spool, &r->msg->stored, r->slot, slot, &e) == 0)
        return 0;
    q->operate.failed++;
    queue_log_fault(q, "queue.slot", &e);
    return -1;
}

/* Out of all lists.  False: it is in hand. */
static bool take_out(struct queue *q, struct rcpt *r)
{
    if (r->state == RCPT_WAITS) {
        retry_queue_remove(&q->memory.retry, r);
        return true;
    }
    return r->state != RCPT_OUT && r->state != RCPT_SETTLES &&
           q->owner->take(q, r);
}

static bool hold(struct queue *q, struct rcpt *r)
{
    bool by_sender = held_by_sender(r);
    struct spool_slot slot;

    if (get_slot(q, r, &slot) != 0 || slot.state == SPOOL_DELETED ||
        (slot.state == SPOOL_HELD && !slot.by_sender))
        return false;
    slot.state = SPOOL_HELD;
    slot.by_sender = false;
    slot.next_attempt = 0;
    if (put_slot(q, r, &slot) != 0)
        return false;
    if (by_sender) {
        held_forget(q, r);
        return true;
    }
    r->asked = !take_out(q, r);
    if (!r->asked) {
        r->state = RCPT_HELD;
        q->memory.pending--;
    }
    return true;
}

static bool release(struct queue *q, struct rcpt *r)
{
    struct spool_slot slot;

    if ((r->state != RCPT_HELD && !r->asked) || get_slot(q, r, &slot) != 0 ||
        slot.state != SPOOL_HELD)
        return false;
    slot.state = SPOOL_PENDING;
    slot.by_sender = false;
    slot.waits = 0;
    slot.next_attempt = 0;
    if (put_slot(q, r, &slot) != 0)
        return false;
    if (r->asked) {
        r->asked = 0;
        return true;
    }
    held_forget(q, r);
    q->memory.pending++;
    q->owner->due(q, r);
    return true;
}

/* What is due is so already. */
static bool retry(struct queue *q, struct rcpt *r)
{
    struct spool_slot slot;

    if (r->state != RCPT_WAITS && r->state != RCPT_PARKED)
        return r->state == RCPT_DUE || r->state == RCPT_APART;
    if (get_slot(q, r, &slot) != 0)
        return false;
    if (slot.next_attempt != 0) {
        slot.next_attempt = 0;
        if (put_slot(q, r, &slot) != 0)
            return false;
    }
    if (take_out(q, r))
        q->owner->due(q, r);
    return true;
}

static bool delete (struct queue *q, struct rcpt *r)
{
    struct spool_slot slot;

    if (get_slot(q, r, &slot) != 0 || slot.state == SPOOL_DELETED)
        return false;
    slot.state = SPOOL_DELETED;
    slot.by_sender = false;
    if (put_slot(q, r, &slot) != 0)
        return false;
    if (r->state == RCPT_HELD) {
        held_forget(q, r);
        q->memory.pending++; /* which rcpt_release() takes off */
    } else {
        r->asked = !take_out(q, r);
    }
    if (!r->asked)
        rcpt_release(q, r);
    return true;
}

/* What is in hand is being tried. */
static bool flush(struct queue *q, struct rcpt *r)
{
    return held_by_sender(r) ? release(q, r)
                             : retry(q, r) || r->state == RCPT_OUT;
}

/* May it be for that, by what memory knows? */
static bool would(const struct queue_operation *op, const struct rcpt *r)
{
    bool held = r->state == RCPT_HELD;

    switch (op->verb) {
    case QUEUE_HOLD: return (!held || held_by_sender(r)) && !r->asked;
    case QUEUE_RELEASE: return held || r->asked;
    case QUEUE_RETRY: return !held && r->state < RCPT_OUT;
    case QUEUE_FLUSH: return held ? held_by_sender(r) : r->state <= RCPT_OUT;
    case QUEUE_DELETE: break;
    }
    return true;
}

static bool apply(struct queue *q, const struct queue_operation *op,
                  struct rcpt *r)
{
    static bool (*const fn[])(struct queue * q, struct rcpt * r) = {
        [QUEUE_HOLD] = hold,   [QUEUE_RELEASE] = release,
        [QUEUE_RETRY] = retry, [QUEUE_DELETE] = delete,
        [QUEUE_FLUSH] = flush,
    };

    if (r->state == RCPT_GONE || !would(op, r))
        return false;
    return op->dry || fn[op->verb](q, r);
}

/* --- those that were in hand ---------------------------------------------- */
enum spool_state operate_asked(struct queue *q, const struct rcpt *r)
{
    struct spool_slot slot;

    return get_slot(q, r, &slot) == 0 ? slot.state : SPOOL_PENDING;
}

bool operate_came_back(struct queue *q, struct rcpt *r)
{
    enum spool_state asked = operate_asked(q, r);

    r->asked = 0;
    if (asked == SPOOL_HELD) {
        r->state = RCPT_HELD;
        q->memory.pending--;
    } else if (asked == SPOOL_DELETED) {
        rcpt_release(q, r);
        list_push(&q->operate.gone, &r->link);
    }
    return asked == SPOOL_HELD || asked == SPOOL_DELETED;
}

void operate_sweep(struct queue *q)
{
    struct list *l;

    while ((l = list_pop(&q->operate.gone)) != NULL)
        message_sweep(q, LIST_ENTRY(l, struct rcpt, link)->msg);
}

/* --- a message ------------------------------------------------------------ */
struct looking {
    struct queue *q;
    struct queue_operation *op;
    struct rcpt *next; /* of the message, by slot */
    uint32_t slot;     /* of the next one in the envelope */
    unsigned seen;
};

/* Look at the next recipient.  False: the piece is full, and it is left. */
static bool take_next(struct looking *k, bool fits)
{
    struct rcpt *r = k->next;

    if (k->seen++ == RCPTS_PER_LOOK) {
        k->op->slot = r->slot;
        return false;
    }
    k->next = r->next;
    if (fits)
        k->op->here += apply(k->q, k->op, r);
    return true;
}

/* Recipients stand in the envelope by slot. */
static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct looking *k = ctx;
    const struct queue_select *s = &k->op->select;

    if (type == SPOOL_F_SENDER && !queue_select_sender(s, content))
        return 1;
    if (type != SPOOL_F_RCPT)
        return 0;
    if (k->next == NULL)
        return 1;
    if (k->next->slot != k->slot++)
        return 0;
    return take_next(k, queue_select_address(s, content)) ? 0 : 1;
}

/* From the slot on at which the look before ended.  Returns how many recipients
 * it has seen. */
static unsigned look_at_rcpts(struct queue *q, struct queue_operation *op,
                              struct message *m)
{
    struct looking k = { .q = q, .op = op, .next = m->rcpts };
    struct err e;

    while (k.next != NULL && k.next->slot < op->slot)
        k.next = k.next->next;
    op->slot = 0;
    if (!queue_select_reads(&op->select))
        while (k.next != NULL && take_next(&k, true))
            continue;
    else if (spool_message_envelope(q->spool, &m->stored, on_field, &k, &e) < 0)
        queue_log_fault(q, "queue.slot", &e);
    return k.seen;
}

/* Is it read again at the next scan? */
static bool is_unread(const struct queue *q, const struct message *m)
{
    const struct message *u = q->scan.unread;

    while (u != NULL && u != m)
        u = u->u.next;
    return u != NULL;
}

/* A message that makes no sense has no recipients in memory, and stays until an
 * operator deletes it. */
static void delete_damaged(struct queue *q, struct queue_operation *op,
                           struct message *m)
{
    struct spool_slot slot;
    struct err e;

    if (op->verb != QUEUE_DELETE || op->select.nids == 0 || is_unread(q, m))
        return;
    for (uint32_t i = 0; i < m->stored.rec.nrcpt; i++) {
        if (spool_slot_get(q->spool, &m->stored, i, &slot, &e) != 0)
            return;
        if (slot.state != SPOOL_PENDING && slot.state != SPOOL_HELD)
            continue;
        slot.state = SPOOL_DELETED;
        op->here++;
        if (!op->dry)
            slots_put(q, m, i, &slot);
    }
}

/* One event for all recipients; slot is their number. */
static void note(struct queue *q, const struct queue_operation *op,
                 const struct spool_record *rec, uint32_t n)
{
    static const enum history_kind kinds[] = {
        [QUEUE_HOLD] = HISTORY_HELD,
        [QUEUE_RELEASE] = HISTORY_RELEASED,
        [QUEUE_DELETE] = HISTORY_DELETED,
    };
    char who[32];
    const struct history_event ev = {
        .kind = kinds[op->verb],
        .when = clock_wall_us(),
        .id = rec->id,
        .part = rec->part,
        .slot = n,
        .arrival = rec->arrival,
        .other = { who, (size_t)snprintf(who, sizeof who, "uid %u",
                                         (unsigned)op->uid) }
    };

    history_add(q->history, &ev);
}

static void say(struct queue *q, const struct queue_operation *op,
                const struct spool_record *rec, uint32_t n)
{
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, rec->id);
    if (op->verb == QUEUE_HOLD || op->verb == QUEUE_RELEASE ||
        op->verb == QUEUE_DELETE)
        note(q, op, rec, n);
    const char *at = spool_name_text(q->name);
    const char *named = spool_part_text(part, rec->part);
    switch (op->verb) {
    case QUEUE_HOLD:
        LOG(LOG_INFO, "queue.held", LS("queue", at), LS("id", id),
            LS("part", named), LN("nrcpt", n), LN("uid", op->uid));
        break;
    case QUEUE_RELEASE:
        LOG(LOG_INFO, "queue.released", LS("queue", at), LS("id", id),
            LS("part", named), LN("nrcpt", n), LN("uid", op->uid));
        break;
    case QUEUE_DELETE:
        LOG(LOG_INFO, "queue.deleted", LS("queue", at), LS("id", id),
            LS("part", named), LN("nrcpt", n), LN("uid", op->uid));
        break;
    case QUEUE_RETRY:
    case QUEUE_FLUSH: break;
    }
}

/* True: it was for some of its recipients. */
static bool count_message(struct queue *q, struct queue_operation *op,
                          const struct spool_record *rec)
{
    uint32_t n = op->here;

    op->slot = op->here = 0;
    if (n == 0)
        return false;
    op->messages++;
    op->rcpts += n;
    if (!op->dry)
        say(q, op, rec, n);
    return true;
}

/* All pieces of it are done, or as many as there will be. */
static void end_message(struct queue *q, struct queue_operation *op,
                        struct message *m)
{
    if (!count_message(q, op, &m->stored.rec) || op->dry)
        return;
    if (op->verb == QUEUE_RELEASE || op->verb == QUEUE_FLUSH)
        message_forget_wait(q, m);
    if (op->verb == QUEUE_DELETE)
        message_sweep(q, m);
}

/* Returns how much work it was. */
static unsigned look_at(struct queue *q, struct queue_operation *op,
                        struct message *m)
{
    unsigned seen = 0;

    if (!queue_select_id(&op->select, m->stored.rec.id))
        return 1;
    if (m->rcpts == NULL && m->unreadable)
        delete_damaged(q, op, m);
    else
        seen = look_at_rcpts(q, op, m);
    if (op->slot > 0) {
        op->cursor.next = &m->stored.link; /* again */
        op->rec = m->stored.rec;
    } else {
        end_message(q, op, m);
    }
    return 1 + seen;
}

/* --- all of them ---------------------------------------------------------- */
/* The message in which the last piece ended may have left the queue since: then
 * the next one begins with its first recipient. */
static struct message *next_message(struct queue *q, struct queue_operation *op)
{
    struct spool_message *m = spool_cursor_next(q->spool, &op->cursor);

    if (op->slot > 0 && (m == NULL || m->rec.part != op->rec.part ||
                         !msg_id_eq(m->rec.id, op->rec.id)))
        (void)count_message(q, op, &op->rec);
    return m != NULL ? LIST_ENTRY(m, struct message, stored) : NULL;
}

/* A piece is as long as the owner's turn since the last one: beside an owner
 * that has much to do, the operation gets half of its time. */
static uint64_t end_of_piece(const struct queue_operation *op)
{
    uint64_t now = clock_mono_us();
    uint64_t turn = op->ended != 0 ? now - op->ended : 0;

    return now + (turn < PIECE_US       ? PIECE_US
                  : turn < PIECE_MAX_US ? turn
                                        : PIECE_MAX_US);
}

static void begin(struct queue *q, struct queue_operation *op)
{
    op->begun = true;
    q->scan.wanted = true;
    spool_cursor_begin(q->spool, &op->cursor);
    if (op->verb == QUEUE_FLUSH && !op->dry && q->owner->forget_faults != NULL)
        q->owner->forget_faults(q);
}

/* complete NULL: it is. */
static void report(struct queue *q, const struct queue_operation *op,
                   const char *complete)
{
    LOG(LOG_INFO, "queue.operation", LS("queue", spool_name_text(q->name)),
        LS("command", op->text), LN("nrcpt", op->rcpts),
        LN("messages", op->messages), LN("uid", op->uid),
        LS("complete", complete));
}

bool operate_piece(struct queue *q, struct queue_operation *op)
{
    uint64_t until = end_of_piece(op);
    struct message *m;
    unsigned work = 0;

    if (!op->begun) {
        begin(q, op);
        return true;
    }
    while ((m = next_message(q, op)) != NULL) {
        uint64_t failed = q->operate.failed;
        work += look_at(q, op, m);
        op->failed += q->operate.failed - failed;
        if (work < LOOK_EVERY)
            continue;
        work = 0;
        op->ended = clock_mono_us();
        if (op->ended >= until)
            return true;
    }
    op->incomplete = q->scan.incomplete;
    op->finished = true;
    report(q, op, NULL);
    return false;
}

/* What is done stays also when the command is broken off. */
void operate_end(struct queue *q, struct queue_operation *op)
{
    if (op->begun && !op->finished) {
        struct message *m = op->slot > 0 ? next_message(q, op) : NULL;
        if (op->slot > 0)
            end_message(q, op, m);
        report(q, op, "no");
    }
    if (op->begun)
        spool_cursor_end(&op->cursor);
    q->memory.reclaimable = true;
}
