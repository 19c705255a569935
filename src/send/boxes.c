#include "send/boxes.h"

#include "mailbox/batch.h"
#include "recipient/resolve.h"
#include "smtp/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES_MAX = 512, TARGETS_MAX = 256 };

/* A copy and the recipient it is for; copies of one recipient stand side by
 * side, and all of them succeed or it is tried again. */
struct entry {
    struct delivery_rcpt *rcpt;
    struct mailbox_copy *copy;
};

struct boxes {
    struct local *local;
    struct mailbox_batch *batch;
    struct entry entry[COPIES_MAX];
    size_t n;
};

int boxes_open(struct boxes **out, const struct conf *c, struct err *e)
{
    struct boxes *b = calloc(1, sizeof *b);
    struct mailbox_options o;

    if (b == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for local delivery");
    mailbox_options_conf(&o, c, COPIES_MAX);
    if (local_open(&b->local, &c->local, e) != 0 ||
        mailbox_batch_new(&b->batch, &o, e) != 0) {
        boxes_close(&b);
        return -1;
    }
    *out = b;
    return 0;
}

void boxes_set_local(struct boxes *b, struct local *l)
{
    local_close(&b->local);
    b->local = l;
}

void boxes_close(struct boxes **b)
{
    if (*b == NULL)
        return;
    mailbox_batch_free(&(*b)->batch);
    local_close(&(*b)->local);
    free(*b);
    *b = NULL;
}

/* --- one recipient ------------------------------------------------------ */

struct target_ctx {
    struct boxes *b;
    struct delivery *delivery;
    struct delivery_rcpt *rcpt;
    size_t targets;
};

static void answer_of_err(struct answer *a, const struct err *e)
{
    if (e->sys == EBADMSG) {
        answer_set_unreadable(a, e->sys);
        return;
    }
    answer_set(a, e->kind == ERR_PERM ? OUTCOME_FAILED : OUTCOME_DEFERRED,
               e->kind == ERR_PERM ? "5.2.0" : "4.2.0", "%.200s", e->text);
}

static int add_copy(struct target_ctx *t, const char *user)
{
    struct mailbox_message m = { .user = user,
                                 .reverse_path = span_of(t->delivery->sender),
                                 .delivered_to = span_of(t->rcpt->address),
                                 .body = t->delivery->body };
    struct err e;
    struct mailbox_copy *copy = mailbox_add(t->b->batch, &m, &e);

    if (copy == NULL) {
        answer_of_err(&t->rcpt->answer, &e);
        return -1;
    }
    t->b->entry[t->b->n++] = (struct entry){ t->rcpt, copy };
    return 0;
}

static int add_forward(struct target_ctx *t, const char *address)
{
    size_t n = strlen(address) + 1;
    struct forward *f = malloc(sizeof *f + n);

    if (f == NULL) {
        answer_set(&t->rcpt->answer, OUTCOME_DEFERRED, "4.3.0",
                   "no memory for an alias");
        return -1;
    }
    memcpy(f->address, address, n);
    f->next = t->rcpt->forward;
    t->rcpt->forward = f;
    return 0;
}

static int on_target(void *ctx, const struct local_target *target)
{
    struct target_ctx *t = ctx;

    if (target->kind != LOCAL_MAILBOX && target->kind != LOCAL_REMOTE)
        return 0;
    if (++t->targets > TARGETS_MAX) {
        answer_set(&t->rcpt->answer, OUTCOME_FAILED, "5.5.3",
                   "alias expands to more than %d recipients", TARGETS_MAX);
        return -1;
    }
    return target->kind == LOCAL_MAILBOX ? add_copy(t, target->name)
                                         : add_forward(t, target->name);
}

static void resolve(struct boxes *b, struct delivery *j,
                    struct delivery_rcpt *r)
{
    struct target_ctx t = { b, j, r, 0 };
    struct smtp_address a;
    char local[SMTP_ADDRESS_MAX];
    struct answer *ans = &r->answer;

    enum smtp_address_error why = smtp_address_parse(&a, span_of(r->address));
    if ((why != SMTP_ADDRESS_OK && why != SMTP_ADDRESS_NO_DOMAIN) ||
        !smtp_local_unquote(local, sizeof local, a.local)) {
        answer_set(ans, OUTCOME_FAILED, "5.1.3",
                   "bad recipient address syntax: %s", smtp_address_why(why));
        return;
    }
    switch (local_resolve(b->local, span_of(local), a.domain, on_target, &t,
                          NULL)) {
    case LOCAL_OK:
    case LOCAL_STOPPED: break; /* on_target() has set the reason */
    case LOCAL_UNKNOWN:
        answer_set(ans, OUTCOME_FAILED, "5.1.1", "unknown user");
        break;
    case LOCAL_LOOP:
        answer_set(ans, OUTCOME_FAILED, "5.4.6", "alias database loop");
        break;
    case LOCAL_UNSUPPORTED:
    case LOCAL_WAIT:
    case LOCAL_TEMP:
        answer_set(ans, OUTCOME_DEFERRED, "4.3.0", "temporary lookup failure");
        break;
    }
}

/* --- all that is in hand ------------------------------------------------ */

static void note_failures(struct boxes *b)
{
    struct err e;

    for (size_t i = 0; i < b->n; i++)
        if (b->entry[i].rcpt->answer.outcome == OUTCOME_NONE &&
            mailbox_status(b->entry[i].copy, &e) != 0)
            answer_of_err(&b->entry[i].rcpt->answer, &e);
}

static void flush(struct boxes *b)
{
    mailbox_sync(b->batch);
    note_failures(b);
    for (size_t i = 0; i < b->n; i++)
        if (b->entry[i].rcpt->answer.outcome != OUTCOME_NONE)
            mailbox_abort(b->entry[i].copy);
    mailbox_publish(b->batch);
    note_failures(b);
    b->n = 0;
    mailbox_reset(b->batch);
}

static void settle(struct delivery *j)
{
    struct answer ok;

    answer_set(&ok, OUTCOME_DELIVERED, "2.0.0", "delivered to mailbox");
    delivery_answer_all(j, &ok);
}

void boxes_deliver(struct boxes *b, struct list *deliveries)
{
    for (struct list *l = deliveries->next; l != deliveries; l = l->next) {
        struct delivery *j =
            delivery_of_note(LIST_ENTRY(l, struct work_item, link));
        for (size_t i = 0; i < j->nrcpt; i++) {
            if (b->n + TARGETS_MAX > COPIES_MAX)
                flush(b);
            resolve(b, j, &j->rcpt[i]);
        }
    }
    flush(b);
    for (struct list *l = deliveries->next; l != deliveries; l = l->next)
        settle(delivery_of_note(LIST_ENTRY(l, struct work_item, link)));
}
