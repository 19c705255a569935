/* control.c - report on run/deliver.sock which copies are under way, and carry
 * out what an operator asks. */
#include "deliver/control.h"

#include "deliver/copy.h"
#include "deliver/mailboxes.h"
#include "deliver/mailboxes_private.h"
#include "queue/operate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES_PER_PIECE = 4096 };

/* An answer under way. */
struct walk {
    bool operates, counts, one; /* one: only copies of id */
    struct msg_id id;
    size_t at;     /* copies of all processes: the next */
    unsigned line; /* of the counters: the next */
    struct queue_operation op;
};

static void add_copy(struct buf *answer, const struct copy *c)
{
    const struct delivery *j = &c->delivery;
    char id[MSG_ID_TEXT];

    msg_id_text(id, j->id);
    control_add(answer, "delivering %s %" PRIu64 " %u %" PRIu64 " - - %s", id,
                j->msg->stored.rec.part, (unsigned)c->rcpt.rcpt->slot, c->since,
                c->box->key);
}

static int add_copies(struct deliver *d, struct walk *w, struct buf *answer)
{
    size_t all = (d->mailbox.n + (size_t)1) * MAILBOX_WINDOW;

    for (int n = 0; n < COPIES_PER_PIECE && w->at < all; n++, w->at++) {
        const struct mailbox_end *p = &d->mailbox.end[w->at / MAILBOX_WINDOW];
        const struct copy *c = p->out[w->at % MAILBOX_WINDOW];
        if (!control_has_room(answer))
            break;
        if (c != NULL && (!w->one || msg_id_eq(c->delivery.id, w->id)))
            add_copy(answer, c);
    }
    return w->at < all ? CONTROL_MORE : CONTROL_DONE;
}

static int set_up(struct walk *w, const struct control_call *call,
                  struct err *e)
{
    static const char show[] = "show ";
    const char *command = call->command;
    w->counts = strcmp(command, "counters") == 0;
    if (w->counts)
        return 0;
    int rc = operate_parse(&w->op, command, e);
    w->operates = rc == 0;
    w->op.uid = call->uid;
    if (rc <= 0 || strcmp(command, "list") == 0)
        return rc < 0 ? -1 : 0;
    w->one = strncmp(command, show, strlen(show)) == 0;
    if (!w->one)
        return err_set(e, ERR_USAGE, 0, "no command '%.40s'", command);
    return msg_id_parse(&w->id, span_of(command + strlen(show)))
               ? 0
               : err_set(e, ERR_USAGE, 0, "'%.40s' is not a message id",
                         command + strlen(show));
}

static int run(void *ctx, struct control_call *call, struct buf *answer,
               struct err *e)
{
    struct deliver *d = ctx;
    struct walk *w = call->state;

    if (strcmp(call->command, "ping") == 0)
        return CONTROL_DONE;
    if (strcmp(call->command, "waiting") == 0) {
        operate_waiting(&d->queue, answer);
        return CONTROL_DONE;
    }
    if (w == NULL && (w = calloc(1, sizeof *w)) == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for an answer");
    if (call->state == NULL && set_up(w, call, e) != 0) {
        free(w);
        return -1;
    }
    call->state = w;
    if (w->counts)
        return counters_answer(d->queue.counters, &w->line, answer)
                   ? CONTROL_MORE
                   : CONTROL_DONE;
    if (!w->operates)
        return add_copies(d, w, answer);
    return operate_answer(&d->queue, &w->op, answer) > 0 ? CONTROL_MORE
                                                         : CONTROL_DONE;
}

static void end(void *ctx, struct control_call *call)
{
    struct deliver *d = ctx;
    struct walk *w = call->state;

    if (w->operates)
        operate_end(&d->queue, &w->op);
    free(w);
}

int deliver_control_open(struct control **c, struct deliver *d, struct err *e)
{
    const struct control_service service = { "deliver", run, end, d };

    return control_listen(c, d->loop, d->conf->queue_dir, &service, e);
}
