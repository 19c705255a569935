/* work.c - read the recipients of a message. */
#include "deliver/work.h"

#include "base/clock.h"
#include "log/log.h"
#include "queue/recipients.h"
#include "queue/slots.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 * 1024, BROKEN_SECONDS = 60 };

/* --- memory --------------------------------------------------------------- */

struct work_block {
    struct work_block *next;
    size_t used, size;
    uint64_t data[];
};

static struct work_block *add_block(struct work *w, size_t n)
{
    size_t size = n > BLOCK ? n : BLOCK;
    struct work_block *b = malloc(sizeof *b + size);

    if (b == NULL)
        return NULL;
    b->used = 0;
    b->size = size;
    b->next = w->blocks;
    return w->blocks = b;
}

void *work_alloc(struct work *w, size_t n)
{
    struct work_block *b = w->blocks;

    n = (n + sizeof b->data[0] - 1) & ~(sizeof b->data[0] - 1);
    if ((b == NULL || b->size - b->used < n) && (b = add_block(w, n)) == NULL)
        return NULL;
    void *p = (char *)b->data + b->used;
    b->used += n;
    return p;
}

const char *work_keep(struct work *w, struct span text)
{
    char *p = work_alloc(w, text.n + 1);

    if (p == NULL || !span_copy(p, text.n + 1, text))
        return NULL;
    return p;
}

void work_free(struct work **w)
{
    if (*w == NULL)
        return;
    for (struct work_block *b = (*w)->blocks, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(*w);
    *w = NULL;
}

/* --- answers -------------------------------------------------------------- */

static struct answer *new_answer(struct work *w, struct work_item *i)
{
    i->answer = work_alloc(w, sizeof *i->answer);
    i->fate = i->answer != NULL ? WORK_ANSWERED : WORK_LATER;
    return i->answer;
}

void work_answer(struct work *w, struct work_item *i, enum outcome outcome,
                 const char *status, const char *fmt, ...)
{
    char text[DELIVERY_TEXT_MAX];
    va_list ap;

    if (new_answer(w, i) == NULL)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    answer_set(i->answer, outcome, status, "%s", n < 0 ? "" : text);
}

void work_answer_waits(struct work *w, struct work_item *i, const char *status,
                       const char *text)
{
    work_answer(w, i, OUTCOME_NONE, status, "%s", text);
    if (i->answer != NULL)
        i->answer->misconfigured = true;
}

/* --- the envelope --------------------------------------------------------- */

static bool is_wanted(const struct work *w)
{
    return w->next > 0 && w->item[w->next - 1].rcpt->slot + 1u == w->slot;
}

static int take_rcpt(struct work *w, struct span address)
{
    if (w->next < w->n && w->item[w->next].rcpt->slot == w->slot++) {
        struct work_item *i = &w->item[w->next++];
        i->address = work_keep(w, address);
        return i->address == NULL ? 2 : 0;
    }
    return w->next == w->n; /* all are found: stop */
}

static int take_tables(struct work *w, struct span content)
{
    char *p = work_alloc(w, content.n);

    if (p == NULL)
        return 2;
    memcpy(p, content.p, content.n);
    w->tables = (struct span){ p, content.n };
    return 0;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct work *w = ctx;
    struct work_item *i = is_wanted(w) ? &w->item[w->next - 1] : NULL;
    const char **to = NULL;

    switch (type) {
    case SPOOL_F_RCPT: return take_rcpt(w, content);
    case SPOOL_F_SENDER: to = &w->sender; break;
    case SPOOL_F_SID: to = &w->sid; break;
    case SPOOL_F_TABLES: return take_tables(w, content);
    case SPOOL_F_ENVID: to = &w->envid; break;
    case SPOOL_F_RET: to = &w->ret; break;
    case SPOOL_F_ORCPT: to = i != NULL ? &i->orcpt : NULL; break;
    case SPOOL_F_NOTIFY: to = i != NULL ? &i->notify : NULL; break;
    case SPOOL_F_MAILBOX: to = i != NULL ? &i->mailbox : NULL; break;
    case SPOOL_F_HERE:
        if (i != NULL)
            i->here = true;
        break;
    case SPOOL_F_CLIENT:
    case SPOOL_F_UID:
    case SPOOL_F_HELO:
    case SPOOL_F_TLS:
    case SPOOL_F_REPLACES:
    case SPOOL_F_BODY_HASH:
    case SPOOL_F_REWRITTEN: break;
    }
    if (to != NULL && (*to = work_keep(w, content)) == NULL)
        return 2;
    return 0;
}

static int read_envelope(struct work *w, struct err *e)
{
    int rc = spool_message_envelope(w->d->queue.spool, &w->msg->stored,
                                    on_field, w, e);

    if (rc < 0)
        return -1;
    if (rc > 1)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a message");
    if (w->next != w->n || w->sender == NULL)
        return err_set(e, ERR_PERM, 0, "malformed envelope");
    return 0;
}

/* --- open ----------------------------------------------------------------- */

static size_t count(const struct message *m, enum rcpt_state state, size_t most)
{
    size_t n = 0;

    for (const struct rcpt *r = m->rcpts; r != NULL && n < most; r = r->next)
        n += r->state == state;
    return n;
}

static struct work *make(struct deliver *d, struct message *m, size_t n)
{
    struct work *w = calloc(1, sizeof *w + n * sizeof(struct work_item));

    if (w == NULL)
        return NULL;
    w->d = d;
    w->msg = m;
    w->item = (struct work_item *)(void *)(w + 1);
    return w;
}

/* Out of memory before there is a place for them: the first of them alone. */
static void put_off(struct deliver *d, struct message *m, enum rcpt_state state,
                    size_t most)
{
    for (struct rcpt *r = m->rcpts; r != NULL && most > 0; r = r->next)
        if (r->state == state) {
            list_remove(&r->link);
            rcpt_later(&d->queue, r, DELIVER_FAULT_SECONDS);
            most--;
        }
}

/* `mta queue` shows why it waits. */
static void put_fault(struct work *w, const struct rcpt *r, const struct err *e)
{
    struct queue *q = &w->d->queue;
    struct spool_slot slot;
    struct err why;

    if (spool_slot_get(q->spool, &w->msg->stored, r->slot, &slot, &why) != 0)
        return;
    slot.status = (struct smtp_status){ 0, 4, 3, 5 };
    slot.next_attempt = clock_wall_us() + BROKEN_SECONDS * 1000000ull;
    snprintf(slot.reply, sizeof slot.reply, "%.*s", (int)sizeof slot.reply - 1,
             e->text);
    slots_put(q, w->msg, r->slot, &slot);
}

void work_report(struct work *w, const struct err *e)
{
    const struct spool_record *rec = &w->msg->stored.rec;
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, rec->id);
    LOG(LOG_ERROR, "queue.unreadable",
        LS("queue", spool_name_text(w->d->queue.name)), LS("id", id),
        LS("part", spool_part_text(part, rec->part)), LS("error", e->text));
}

void work_put_off(struct work *w, const struct work_item *i,
                  const struct err *e)
{
    if (e->kind == ERR_PERM)
        put_fault(w, i->rcpt, e);
    rcpt_later(&w->d->queue, i->rcpt, BROKEN_SECONDS);
}

struct work *work_open(struct deliver *d, struct message *m,
                       enum rcpt_state state, size_t most)
{
    size_t n = count(m, state, most);
    struct work *w = make(d, m, n);
    struct err e;

    if (w == NULL) {
        put_off(d, m, state, n);
        return NULL;
    }
    for (struct rcpt *r = m->rcpts; r != NULL && w->n < n; r = r->next) {
        if (r->state != state)
            continue;
        list_remove(&r->link);
        r->state = RCPT_OUT;
        struct work_item *i = &w->item[w->n++];
        i->rcpt = r;
        i->end = &i->target;
    }
    if (read_envelope(w, &e) == 0)
        return w;
    work_report(w, &e);
    for (size_t i = 0; i < w->n; i++)
        work_put_off(w, &w->item[i], &e);
    work_free(&w);
    return NULL;
}
