/* wrong_queue.c - hand over recipients in remote/ that are local now.
 *
 * The delivery process does the same with recipients in local/ that are remote.
 * While one of the two has older tables they disagree: what one handed over is
 * handed back only by tables that are newer (queue_may_hand_over()), and waits
 * until then. */
#include "send/wrong_queue.h"

#include "queue/handover.h"
#include "queue/result.h"
#include "send/dispatch.h"
#include "send/ready.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RCPTS_PER_TURN = 4096 };

/* The due recipients of a message, by slot, and their addresses. */
struct leaving {
    struct rcpt **rcpt;
    struct queue_target *target;
    char *text;
    size_t n, found, used; /* found: in the envelope; used: of the text */
    size_t room;
    uint32_t slot; /* of the next recipient in the envelope */
    unsigned char tables[8];
    size_t ntables;
};

static int keep_address(struct leaving *l, struct span address)
{
    char *at = l->text + l->used;
    uint32_t slot = l->slot++;

    if (l->found == l->n || l->rcpt[l->found]->slot != slot)
        return 0;
    if (!span_copy(at, l->room - l->used, address))
        return 1;
    l->used += address.n + 1;
    l->target[l->found++] =
        (struct queue_target){ .address = at, .slot = slot & UINT16_MAX };
    return 0;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct leaving *l = ctx;

    if (type == SPOOL_F_RCPT)
        return keep_address(l, content);
    if (type == SPOOL_F_TABLES && content.n == sizeof l->tables) {
        memcpy(l->tables, content.p, content.n);
        l->ntables = content.n;
    }
    return 0;
}

static bool goes(const struct rcpt *r, const struct destination *d)
{
    return r->place == d && r->state == RCPT_DUE;
}

static int find_all(struct leaving *l, const struct destination *d,
                    const struct message *m, struct err *e)
{
    for (const struct rcpt *r = m->rcpts; r != NULL; r = r->next)
        l->n += goes(r, d);
    l->room = m->stored.rec.envelope_size; /* of fields, longer than a NUL */
    l->rcpt = calloc(l->n, sizeof *l->rcpt);
    l->target = calloc(l->n, sizeof *l->target);
    l->text = malloc(l->room);
    if (l->rcpt == NULL || l->target == NULL || l->text == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory to hand over");
    size_t i = 0;
    for (struct rcpt *r = m->rcpts; r != NULL; r = r->next)
        if (goes(r, d))
            l->rcpt[i++] = r;
    int rc = spool_message_envelope(d->sched->queue.spool, &m->stored, on_field,
                                    l, e);
    if (rc == 0 && l->found == l->n)
        return 0;
    return rc < 0 ? -1 : err_set(e, ERR_PERM, 0, "malformed envelope");
}

/* As queue_hand_over(): its recipients are due again, if it is not 0. */
static int hand_over(struct sched *s, struct message *m, struct leaving *l,
                     struct err *e)
{
    const struct queue_child child = { .parent = m,
                                       .rcpt = l->rcpt,
                                       .nrcpt = l->n,
                                       .target = l->target,
                                       .ntarget = l->n,
                                       .to = SPOOL_LOCAL };

    for (size_t i = 0; i < l->n; i++) {
        destination_take(l->rcpt[i]);
        l->rcpt[i]->state = RCPT_OUT;
    }
    int rc = queue_hand_over(&s->queue, &child, e);
    for (size_t i = 0; rc != 0 && i < l->n; i++)
        destination_add_untouched(l->rcpt[i]);
    return rc;
}

/* True: they have left. */
static bool leave(struct sched *s, struct destination *d, struct message *m,
                  struct leaving *l, struct answer *why)
{
    const struct span tables = { (char *)l->tables, sizeof l->tables };
    struct err e;
    int rc = find_all(l, d, m, &e);

    if (rc == 0 && l->ntables > 0 && !queue_may_hand_over(&s->queue, tables)) {
        answer_set(why, OUTCOME_NONE, "4.3.5",
                   "the delivery process takes this domain for a remote one");
        why->misconfigured = true;
        return false;
    }
    if (rc == 0)
        rc = hand_over(s, m, l, &e);
    if (rc > 0)
        answer_set(why, OUTCOME_FAILED, "5.4.6", "%.200s", e.text);
    else if (rc < 0)
        answer_set(why, OUTCOME_NONE, "4.3.0", "%.200s", e.text);
    if (rc < 0 && e.kind == ERR_PERM) {
        answer_set_unreadable(why, EBADMSG);
        why->outcome = OUTCOME_NONE;
        why->misconfigured = true;
    }
    return rc == 0;
}

static void answer(struct sched *s, struct destination *d,
                   const struct answer *why)
{
    struct delivery *j = dispatch_make(s, d, NULL);

    if (j == NULL)
        return;
    delivery_answer_all(j, why);
    result_apply(&s->queue, j);
}

void wrong_queue_leave(struct sched *s, struct destination *d)
{
    for (size_t n = 0; n < RCPTS_PER_TURN && destination_next(d) != NULL;) {
        struct message *m = destination_take_turn(d)->msg;
        struct leaving l = { 0 };
        struct answer why;
        if (!leave(s, d, m, &l, &why))
            answer(s, d, &why);
        n += l.n;
        free(l.rcpt);
        free(l.target);
        free(l.text);
    }
    if (destination_next(d) != NULL)
        ready_destination(d);
}
