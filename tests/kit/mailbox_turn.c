#include "mailbox_turn.h"

#include "mailbox/work_private.h"

#include <stdlib.h>

static struct mailbox_progress progress;

struct mailbox_work *mailbox_turn_new(const struct conf *c)
{
    struct mailbox_work *w = NULL;
    struct err e;

    return mailbox_work_new(&w, c, &progress, &e) == 0 ? w : NULL;
}

void mailbox_turn_free(struct mailbox_work **w)
{
    mailbox_work_free(w);
}

static void answer(struct mailbox_work *w, mailbox_answer_fn *fn, void *ctx)
{
    struct err e;
    struct list *l;

    (void)identity_root(&w->ids, &e);
    while ((l = list_pop(&w->answered)) != NULL) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        fn(ctx, &c->answer);
        free(c);
    }
}

void mailbox_turn_run_on(struct mailbox_work *w,
                         const struct mailbox_request *r, size_t n,
                         mailbox_answer_fn *fn, void *ctx)
{
    if (!list_empty(&w->locked))
        mailbox_work_locked(w);
    for (size_t i = 0; i < n; i++) {
        struct box_copy *c = box_copy_new(&r[i]);
        if (c != NULL)
            mailbox_work_add(w, c);
    }
    mailbox_work_turn(w);
    answer(w, fn, ctx);
}

void mailbox_turn_run(struct mailbox_work *w, const struct mailbox_request *r,
                      size_t n, mailbox_answer_fn *fn, void *ctx)
{
    mailbox_turn_run_on(w, r, n, fn, ctx);
    mailbox_work_settle(w);
    answer(w, fn, ctx);
}
