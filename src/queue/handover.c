/* handover.c - children in the place of recipients, and the commit of a turn.
 *
 * The recipients of a child belong to its step from queue_hand_over() until
 * their slots are marked.  A commit that fails makes them due again; marks that
 * cannot be written are tried again every second, and until then nothing else
 * is handed over and no notice is written. */
#include "queue/handover.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "log/log.h"
#include "queue/bounce.h"
#include "queue/held.h"
#include "queue/history.h"
#include "queue/operate.h"
#include "queue/recipients.h"
#include "queue/slots.h"
#include "smtp/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    TURN_STEPS = SPOOL_TURN_MAX / 2, /* the rest is for notices */
    TURN_BYTES = 8 * 1024 * 1024,    /* of texts, which the writers keep */
    AGAIN_SECONDS = 60               /* after a commit that failed */
};

/* A child, kept until its recipients are released. */
struct step {
    struct list link;
    struct spool_child child;
    struct chain envelope;
    struct spool_late late;
    struct message *msg;
    char sender[SMTP_ADDRESS_MAX], to[SMTP_ADDRESS_MAX]; /* for the log */
    char sid[SESSION_ID_TEXT];
    uint16_t slots[];
};

static struct step *step_at(struct list *l)
{
    return LIST_ENTRY(l, struct step, link);
}

static void free_step(struct queue *q, struct step *t)
{
    chain_clear(&t->envelope, q->notice.blocks);
    chain_clear(&t->late.front, q->notice.blocks);
    free(t);
}

void handover_forget(struct queue *q)
{
    struct list *l;

    while (q->handover.steps.next != NULL &&
           (l = list_pop(&q->handover.steps)) != NULL)
        free_step(q, step_at(l));
}

/* --- the envelope of a child ---------------------------------------------- */

/* ORCPT or NOTIFY of the recipient that is being read. */
struct kept {
    bool given;
    size_t n;
    char text[SPOOL_FIELD_MAX];
};

struct writing {
    struct queue *q;
    const struct queue_child *c;
    struct step *t;
    uint32_t seen; /* recipients of the parent */
    size_t next;   /* of the targets */
    struct kept orcpt, notify;
};

static bool add(struct writing *w, enum spool_field type, struct span content)
{
    return spool_envelope_add(&w->t->envelope, w->q->notice.blocks, type,
                              content);
}

static bool add_kept(struct writing *w, enum spool_field type,
                     const struct kept *k, const char *instead)
{
    if (instead != NULL)
        return add(w, type, span_of(instead));
    return !k->given || add(w, type, (struct span){ k->text, k->n });
}

static void keep(struct kept *k, struct span content)
{
    k->given = content.n <= sizeof k->text;
    if (!k->given)
        return;
    k->n = content.n;
    memcpy(k->text, content.p, content.n);
}

/* The targets of all recipients read so far. */
static bool add_targets(struct writing *w)
{
    const struct queue_child *c = w->c;

    for (; w->next < c->ntarget && c->target[w->next].slot < w->seen;
         w->next++) {
        const struct queue_target *x = &c->target[w->next];
        bool keyed = x->mailbox != NULL && x->mailbox[0] != '\0';
        if (!add(w, SPOOL_F_RCPT, span_of(x->address)) ||
            (x->here && !add(w, SPOOL_F_HERE, SPAN_LIT(""))) ||
            (keyed && !add(w, SPOOL_F_MAILBOX, span_of(x->mailbox))) ||
            !add_kept(w, SPOOL_F_ORCPT, &w->orcpt, x->orcpt) ||
            !add_kept(w, SPOOL_F_NOTIFY, &w->notify, x->notify))
            return false;
    }
    w->orcpt.given = w->notify.given = false;
    return true;
}

static bool add_sender(struct writing *w, struct span parents)
{
    const char *own = w->c->reverse_path;
    struct span path = own != NULL ? span_of(own) : parents;
    unsigned char since[8];

    (void)span_copy(w->t->sender, sizeof w->t->sender, path);
    put_le64(since, w->q->handover.tables);
    return add(w, SPOOL_F_SENDER, path) &&
           (w->c->to == w->q->name ||
            add(w, SPOOL_F_TABLES, (struct span){ (char *)since, 8 }));
}

/* False: the blocks are used up. */
static bool add_field(struct writing *w, enum spool_field type,
                      struct span content)
{
    bool of_list = w->c->reverse_path != NULL;

    switch (type) {
    case SPOOL_F_SENDER: return add_sender(w, content);
    case SPOOL_F_RCPT:
        if (!add_targets(w))
            return false;
        if (w->seen++ == w->c->rcpt[0]->slot)
            (void)span_copy(w->t->to, sizeof w->t->to, content);
        return true;
    case SPOOL_F_SID:
        (void)span_copy(w->t->sid, sizeof w->t->sid, content);
        return add(w, type, content);
    case SPOOL_F_CLIENT:
    case SPOOL_F_UID:
    case SPOOL_F_TLS:
    case SPOOL_F_HELO: return add(w, type, content);
    case SPOOL_F_ENVID:
    case SPOOL_F_RET: return of_list || add(w, type, content);
    case SPOOL_F_ORCPT:
    case SPOOL_F_NOTIFY:
        if (!of_list)
            keep(type == SPOOL_F_ORCPT ? &w->orcpt : &w->notify, content);
        return true;
    case SPOOL_F_REPLACES:
    case SPOOL_F_HERE:
    case SPOOL_F_MAILBOX:
    case SPOOL_F_TABLES:
    case SPOOL_F_BODY_HASH:
    case SPOOL_F_REWRITTEN: break;
    }
    return true;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    return add_field(ctx, type, content) ? 0 : 1;
}

static int write_envelope(struct queue *q, const struct queue_child *c,
                          struct step *t, struct err *e)
{
    struct writing w = { .q = q, .c = c, .t = t };
    int rc =
        spool_message_envelope(q->spool, &c->parent->stored, on_field, &w, e);

    if (rc < 0)
        return -1;
    if (rc > 0 || !add_targets(&w))
        return err_set(e, ERR_TEMP, ENOMEM, "no blocks for a child");
    if (w.next < c->ntarget)
        return err_set(e, ERR_PERM, 0, "malformed envelope");
    return 0;
}

/* --- a step --------------------------------------------------------------- */

static struct step *new_step(struct queue *q, const struct queue_child *c)
{
    const struct spool_record *parent = &c->parent->stored.rec;
    struct step *t = calloc(1, sizeof *t + c->nrcpt * sizeof t->slots[0]);
    uint32_t flags =
        SPOOL_8BIT | SPOOL_UTF8 | SPOOL_UTF8_HEADER | SPOOL_BOUNCE | SPOOL_SIGN;

    if (t == NULL)
        return NULL;
    for (size_t i = 0; i < c->nrcpt; i++)
        t->slots[i] = (uint16_t)c->rcpt[i]->slot;
    t->msg = c->parent;
    t->child = (struct spool_child){ .parent = &c->parent->stored,
                                     .slots = t->slots,
                                     .nslots = (uint32_t)c->nrcpt,
                                     .to = c->to,
                                     .envelope = &t->envelope,
                                     .blocks = q->notice.blocks,
                                     .m = { .arrival = parent->arrival,
                                            .nrcpt = (uint32_t)c->ntarget,
                                            .flags = parent->flags & flags } };
    if (c->front.n > 0)
        t->child.m.late = &t->late;
    return t;
}

static int append(struct queue *q, const struct queue_child *c, struct step *t,
                  struct err *e)
{
    struct spool_reader v;
    struct body body;

    if (write_envelope(q, c, t, e) != 0 ||
        spool_message_reader(q->spool, &c->parent->stored, &v, e) != 0 ||
        spool_reader_body(&v, &body, e) != 0)
        return -1;
    if (c->front.n > 0 &&
        !chain_add(&t->late.front, q->notice.blocks, c->front.p, c->front.n))
        return err_set(e, ERR_TEMP, ENOMEM, "no blocks for a child");
    int rc = spool_handover_append(q->handover.spool, &t->child, &body, e);
    if (rc == 0)
        q->handover.bytes += body.size;
    return rc;
}

static int add_step(struct queue *q, const struct queue_child *c, struct err *e)
{
    struct step *t = new_step(q, c);

    if (t == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a child");
    int rc = append(q, c, t, e);
    if (rc != 0) {
        free_step(q, t);
        return rc;
    }
    list_push(&q->handover.steps, &t->link);
    q->handover.n++;
    c->parent->settling++;
    for (size_t i = 0; i < c->nrcpt; i++)
        c->rcpt[i]->state = RCPT_SETTLES;
    return 0;
}

/* --- the commit ----------------------------------------------------------- */

/* Both are by slot. */
static void each_rcpt(struct queue *q, struct step *t,
                      void (*fn)(struct queue *q, struct rcpt *r))
{
    uint32_t i = 0;

    for (struct rcpt *r = t->msg->rcpts; r != NULL && i < t->child.nslots;
         r = r->next) {
        if (r->slot != t->slots[i])
            continue;
        fn(q, r);
        i++;
    }
}

static void try_again(struct queue *q, struct rcpt *r)
{
    rcpt_later(q, r, AGAIN_SECONDS);
}

static void say_expanded(struct queue *q, const struct step *t)
{
    const struct spool_submission *m = &t->child.m;
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT], child[SPOOL_PART_TEXT];
    char from[SMTP_PATH_MAX + 3];
    const struct history_event ev = {
        .kind = HISTORY_EXPANDED,
        .when = clock_wall_us(),
        .id = m->id,
        .part = spool_part_parent(m->part),
        .child = m->part,
        .arrival = m->arrival,
        .sender = span_of(t->sender),
        .rcpt = span_of(t->to),
        .other = span_of(spool_name_text(t->child.to)),
    };

    history_add(q->history, &ev);
    msg_id_text(id, m->id);
    snprintf(from, sizeof from, "<%s>", t->sender);
    LOG(LOG_INFO, q->events->expanded, LS("id", id),
        LS("part", spool_part_text(part, spool_part_parent(m->part))),
        LS("sid", t->sid[0] != '\0' ? t->sid : NULL), LS("from", from),
        LS("to", t->to), LS("child", spool_part_text(child, m->part)),
        LS("queue", spool_name_text(t->child.to)), LN("slots", t->child.nslots),
        LN("nrcpt", m->nrcpt));
}

static void end_step(struct queue *q, struct step *t,
                     void (*fn)(struct queue *q, struct rcpt *r))
{
    struct message *m = t->msg;

    each_rcpt(q, t, fn);
    m->settling--;
    message_sweep(q, m);
    free_step(q, t);
}

static int mark(struct queue *q, struct err *e)
{
    struct list *l;

    if (!q->handover.published)
        return 0;
    if (spool_handover_mark(q->handover.spool, e) != 0)
        return -1;
    q->handover.published = false;
    while ((l = list_pop(&q->handover.steps)) != NULL) {
        say_expanded(q, step_at(l));
        end_step(q, step_at(l), rcpt_release);
    }
    return 0;
}

static void drop_failed(struct queue *q)
{
    for (struct list *l = q->handover.steps.next, *next;
         l != &q->handover.steps; l = next) {
        struct step *t = step_at(l);
        next = l->next;
        if (t->child.failed) {
            list_remove(l);
            end_step(q, t, try_again);
        } else {
            q->scan.wanted |= t->child.to == q->name;
            q->handover.unconfirmed++;
        }
    }
}

bool queue_may_commit(struct queue *q)
{
    struct err e;

    if (mark(q, &e) == 0)
        return true;
    queue_log_fault(q, "queue.slot", &e);
    return false;
}

void queue_commit(struct queue *q, bool failed[SPOOL_QUEUES])
{
    struct err e;
    int rc = spool_handover_commit(q->handover.spool, &e);
    if (rc != 0)
        queue_log_fault(q, "queue.commit", &e);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        failed[i] =
            spool_handover_failed(q->handover.spool, (enum spool_name)i);
    drop_failed(q);
    q->handover.published = !list_empty(&q->handover.steps);
    q->handover.n = 0;
    q->handover.bytes = 0;
    q->slot.dirty = true; /* to be confirmed */
    (void)queue_may_commit(q);
}

static void commit_steps(struct queue *q)
{
    bool failed[SPOOL_QUEUES];

    if (q->handover.n > 0)
        queue_commit(q, failed);
}

void queue_flush(struct queue *q)
{
    bounce_flush(q);
    commit_steps(q);
    operate_sweep(q);
}

/* --- confirm -------------------------------------------------------------- */

int queue_confirm(struct queue *q, struct err *e)
{
    commit_steps(q);
    if (mark(q, e) != 0 || spool_handover_confirm(q->handover.spool, e) != 0)
        return -1;
    q->handover.unconfirmed = 0;
    return 0;
}

/* --- one more child ------------------------------------------------------- */

static bool is_turn_full(const struct queue *q)
{
    return q->handover.n >= TURN_STEPS || q->handover.bytes >= TURN_BYTES ||
           pool_left(q->notice.blocks) < QUEUE_BLOCKS / 2;
}

static bool are_too_many(const struct queue *q)
{
    return q->handover.unconfirmed + q->handover.n >= SPOOL_UNCONFIRMED_MAX;
}

int queue_hand_over(struct queue *q, const struct queue_child *c, struct err *e)
{
    if (is_turn_full(q))
        commit_steps(q);
    if (are_too_many(q) && queue_confirm(q, e) != 0)
        return -1;
    if (mark(q, e) != 0)
        return -1;
    int rc = add_step(q, c, e);
    if (rc >= 0 || e->kind != ERR_TEMP || q->handover.n == 0)
        return rc;
    commit_steps(q);
    return mark(q, e) != 0 ? -1 : add_step(q, c, e); /* alone */
}

/* --- the end of a process ------------------------------------------------- */

bool queue_is_lost(const struct queue *q, struct err *e)
{
    if (!spool_handover_lost(q->handover.spool))
        return false;
    err_set(e, ERR_TEMP, 0,
            "a sync of the queue failed: the next start finds out what is on "
            "the disk");
    return true;
}

void queue_finish(struct queue *q)
{
    struct err e;

    if (q->handover.spool == NULL || queue_is_lost(q, &e))
        return;
    q->notice.again = 0;
    queue_flush(q);
    slots_retry(q);
    if (queue_confirm(q, &e) != 0)
        queue_log_fault(q, "queue.sync", &e);
}

/* --- the other queue ------------------------------------------------------ */

/* A time to come is that of a clock that has been set back. */
bool queue_may_hand_over(const struct queue *q, struct span tables)
{
    if (tables.n != 8)
        return true;
    uint64_t since = get_le64((const unsigned char *)tables.p);
    return since < q->handover.tables || since > clock_wall_us();
}

void queue_tables_renewed(struct queue *q)
{
    q->handover.tables = clock_wall_us();
    held_release(q);
}
