/* dispatch.c - make deliveries: a message and those of its recipients that can
 * go to the same peer now. */
#include "send/dispatch.h"

#include "base/clock.h"
#include "log/log.h"
#include "queue/recipients.h"
#include "queue/slots.h"
#include "send/next_mx.h"
#include "send/sched.h"
#include "smtp/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_AT_MAX =
        4096, /* recipients of one message looked at for one delivery */
    ADDRESS_TEXT = SMTP_ADDRESS_MAX + 512 + 64, /* with ORCPT, NOTIFY */
    MESSAGE_TEXT = SMTP_ADDRESS_MAX + 256,
    BROKEN_SECONDS = 60
};

struct picked {
    struct rcpt *rcpt[DELIVERY_RCPT_MAX];
    size_t n;
};

static void pick(struct picked *p, struct rcpt *r)
{
    destination_take(r);
    r->state = RCPT_OUT;
    p->rcpt[p->n++] = r;
}

/* By slot, as the message has them.  l NULL: those of d alone. */
static void pick_due(struct picked *p, struct message *m, struct destination *d,
                     const struct lane *l, struct rcpt *sure)
{
    const struct destination *last = NULL;
    bool fits = false;
    int looked = 0;

    p->n = 0;
    for (struct rcpt *r = m->rcpts; r != NULL; r = r->next) {
        if (r->state != RCPT_DUE || r->suspect != sure->suspect ||
            (r != sure && ++looked > LOOK_AT_MAX))
            continue;
        if (r->place != last)
            fits =
                r->place == d || (l != NULL && destination_uses(r->place, l));
        last = r->place;
        if (fits && p->n < DELIVERY_RCPT_MAX)
            pick(p, r);
    }
}

/* --- the delivery ------------------------------------------------------- */

struct making {
    struct delivery *delivery;
    char *at, *end; /* what is left for text */
    uint32_t slot;  /* of the next recipient in the envelope */
    size_t next;    /* in delivery->rcpt */
    bool in_job;    /* the recipient before is in the delivery */
};

static const char *keep(struct making *m, struct span text)
{
    const char *p = m->at;

    if ((size_t)(m->end - m->at) < text.n + 1)
        return NULL;
    if (!span_copy(m->at, text.n + 1, text))
        return NULL;
    m->at += text.n + 1;
    return p;
}

static bool is_utf8(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return true;
    return false;
}

static int add_rcpt(struct making *m, struct span address)
{
    struct delivery *j = m->delivery;

    m->in_job = m->next < j->nrcpt && j->rcpt[m->next].rcpt->slot == m->slot;
    m->slot++;
    if (!m->in_job)
        return m->next == j->nrcpt; /* all found: stop */
    struct delivery_rcpt *r = &j->rcpt[m->next++];
    r->address = keep(m, address);
    if (r->address == NULL)
        return 2;
    r->utf8 = is_utf8(r->address);
    return 0;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct making *m = ctx;
    struct delivery *j = m->delivery;
    const char **to = NULL;

    switch (type) {
    case SPOOL_F_RCPT: return add_rcpt(m, content);
    case SPOOL_F_SENDER: to = &j->sender; break;
    case SPOOL_F_ENVID: to = &j->envid; break;
    case SPOOL_F_RET: to = &j->ret; break;
    case SPOOL_F_ORCPT:
        to = m->in_job ? &j->rcpt[m->next - 1].orcpt : NULL;
        break;
    case SPOOL_F_NOTIFY:
        to = m->in_job ? &j->rcpt[m->next - 1].notify : NULL;
        break;
    case SPOOL_F_SID:
    case SPOOL_F_CLIENT:
    case SPOOL_F_UID:
    case SPOOL_F_HELO:
    case SPOOL_F_TLS:
    case SPOOL_F_REPLACES:
    case SPOOL_F_HERE:
    case SPOOL_F_MAILBOX:
    case SPOOL_F_TABLES:
    case SPOOL_F_BODY_HASH:
    case SPOOL_F_REWRITTEN: break;
    }
    if (to != NULL && (*to = keep(m, content)) == NULL)
        return 2;
    return 0;
}

static void set_rcpt(struct delivery_rcpt *to, struct rcpt *r)
{
    const struct destination *d = r->place;

    to->rcpt = r;
    to->tls = d->tls;
    to->login = d->login;
}

static struct delivery *new_delivery(const struct message *msg,
                                     const struct picked *p, struct making *m)
{
    size_t text = msg->stored.rec.envelope_size;
    size_t most = MESSAGE_TEXT + p->n * ADDRESS_TEXT;
    size_t fixed =
        sizeof(struct send_delivery) + p->n * sizeof(struct delivery_rcpt);

    /* three octets of head in the envelope become one NUL here */
    text = text < most ? text : most;
    struct send_delivery *d = calloc(1, fixed + text);
    if (d == NULL)
        return NULL;
    d->note.kind = WORK_DELIVERY;
    struct delivery *j = &d->delivery;
    j->rcpt = (struct delivery_rcpt *)(void *)(d + 1);
    j->nrcpt = p->n;
    for (size_t i = 0; i < p->n; i++)
        set_rcpt(&j->rcpt[i], p->rcpt[i]);
    *m = (struct making){ .delivery = j, .at = (char *)d + fixed };
    m->end = m->at + text;
    return j;
}

static int fill_delivery(struct sched *s, struct message *msg, struct making *m,
                         struct err *e)
{
    struct delivery *j = m->delivery;

    j->msg = msg;
    j->id = msg->stored.rec.id;
    j->arrival = msg->stored.rec.arrival;
    j->flags = msg->stored.rec.flags;
    int rc =
        spool_message_envelope(s->queue.spool, &msg->stored, on_field, m, e);
    if (rc < 0)
        return -1;
    if (rc > 1 || m->next != j->nrcpt || j->sender == NULL)
        return err_set(e, ERR_PERM, 0, "malformed envelope");
    j->sender_utf8 = is_utf8(j->sender);
    if (spool_message_pin(s->queue.spool, &msg->stored, &j->body, e) != 0)
        return -1;
    j->pinned = msg->stored.segment;
    return 0;
}

/* `mta queue` shows why it waits. */
static void put_fault(struct sched *s, struct message *msg,
                      const struct rcpt *r, const struct err *e)
{
    struct spool_slot slot;
    struct err why;

    if (spool_slot_get(s->queue.spool, &msg->stored, r->slot, &slot, &why) != 0)
        return;
    slot.status = (struct smtp_status){ 0, 4, 3, 5 };
    slot.next_attempt = clock_wall_us() + BROKEN_SECONDS * 1000000ull;
    snprintf(slot.reply, sizeof slot.reply, "%.*s", (int)sizeof slot.reply - 1,
             e->text);
    slots_put(&s->queue, msg, r->slot, &slot);
}

static void fail(struct sched *s, struct message *msg, const struct picked *p,
                 const struct err *e)
{
    const struct spool_record *rec = &msg->stored.rec;
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, rec->id);
    LOG(LOG_ERROR, "queue.unreadable", LS("queue", "remote"), LS("id", id),
        LS("part", spool_part_text(part, rec->part)), LS("error", e->text));
    for (size_t i = 0; i < p->n; i++) {
        if (e->kind == ERR_PERM)
            put_fault(s, msg, p->rcpt[i], e);
        rcpt_later(&s->queue, p->rcpt[i], BROKEN_SECONDS);
    }
}

static struct delivery *make(struct sched *s, struct message *msg,
                             const struct picked *p)
{
    struct making m;
    struct err e;

    struct delivery *j = new_delivery(msg, p, &m);
    if (j == NULL) {
        err_set(&e, ERR_TEMP, ENOMEM, "memory for a delivery");
    } else if (fill_delivery(s, msg, &m, &e) == 0) {
        return j;
    }
    delivery_free(&j);
    fail(s, msg, p, &e);
    return NULL;
}

struct delivery *dispatch_make(struct sched *s, struct destination *d,
                               const struct lane *l)
{
    struct rcpt *first = destination_take_turn(d);
    struct picked p;

    pick_due(&p, first->msg, d, l, first);
    return make(s, first->msg, &p);
}

/* They stand there by message, and by slot. */
struct delivery *dispatch_make_apart(struct sched *s, struct hop *h)
{
    struct message *msg = NULL;
    struct picked p = { .n = 0 };
    struct list put_off;

    list_init(&put_off);
    while (!list_empty(&h->apart) && p.n < DELIVERY_RCPT_MAX) {
        struct put_off *o = LIST_ENTRY(h->apart.next, struct put_off, link);
        if (p.n > 0 &&
            (o->rcpt->msg != msg || o->rcpt->slot < p.rcpt[p.n - 1]->slot))
            break;
        msg = o->rcpt->msg;
        o->rcpt->state = RCPT_OUT;
        p.rcpt[p.n++] = o->rcpt;
        list_remove(&o->link);
        list_push(&put_off, &o->link);
    }
    struct delivery *j = make(s, msg, &p);
    if (j == NULL) {
        next_mx_forget(s, &put_off);
        return NULL;
    }
    send_delivery_of(j)->again = true;
    list_init(&send_delivery_of(j)->put_off);
    list_splice(&send_delivery_of(j)->put_off, &put_off);
    return j;
}

struct delivery *dispatch_describe(struct sched *s, struct rcpt *r)
{
    struct picked p = { .rcpt = { r }, .n = 1 };
    struct making m;
    struct err e;
    struct delivery *j = new_delivery(r->msg, &p, &m);

    if (j != NULL && fill_delivery(s, r->msg, &m, &e) != 0)
        delivery_free(&j);
    return j;
}
