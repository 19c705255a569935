/* expand.c - resolve recipients, one by one. */
#include "deliver/expand.h"

#include "deliver/step.h"
#include "queue/handover.h"
#include "smtp/address.h"

#include <string.h>

struct resolving {
    struct work *w;
    struct work_item *i;
};

static int add_target(void *ctx, const struct local_target *t)
{
    struct resolving *x = ctx;
    struct work_target *k = work_alloc(x->w, sizeof *k);
    const char *name = work_keep(x->w, span_of(t->name));

    if (k == NULL || name == NULL) {
        x->i->fate = WORK_LATER;
        return -1;
    }
    *k = (struct work_target){ .of = x->i, .kind = t->kind, .name = name };
    *x->i->end = k;
    x->i->end = &k->next;
    x->i->ntargets++;
    return 0;
}

static enum local_verdict add_one(struct resolving *x, enum local_kind kind,
                                  const char *name)
{
    struct local_target t = { kind, name };

    (void)add_target(x, &t); /* without memory the item comes later */
    return LOCAL_OK;
}

static enum local_verdict resolve_key(struct resolving *x)
{
    enum local_verdict v = local_check_key(x->w->d->local, x->i->mailbox);

    return v == LOCAL_OK ? add_one(x, LOCAL_MAILBOX, x->i->mailbox) : v;
}

static enum local_verdict resolve_name(struct resolving *x, struct span local,
                                       struct span domain)
{
    struct work_item *i = x->i;
    struct local_path path;

    path.alias[0] = path.owner[0] = '\0';
    enum local_verdict v =
        local_resolve(x->w->d->local, local, domain, add_target, x, &path);
    if (v != LOCAL_OK)
        return v;
    if (path.alias[0] != '\0')
        i->alias = work_keep(x->w, span_of(path.alias));
    if (path.owner[0] != '\0')
        i->owner = work_keep(x->w, span_of(path.owner));
    if ((path.alias[0] != '\0' && i->alias == NULL) ||
        (path.owner[0] != '\0' && i->owner == NULL))
        i->fate = WORK_LATER;
    return LOCAL_OK;
}

static enum local_verdict resolve(struct resolving *x)
{
    struct work_item *i = x->i;
    struct smtp_address a;
    char local[SMTP_ADDRESS_MAX];

    if (i->mailbox != NULL)
        return resolve_key(x);
    enum smtp_address_error why = smtp_address_parse(&a, span_of(i->address));
    if ((why != SMTP_ADDRESS_OK && why != SMTP_ADDRESS_NO_DOMAIN) ||
        !smtp_local_unquote(local, sizeof local, a.local)) {
        work_answer(x->w, i, OUTCOME_FAILED, "5.1.3",
                    "bad recipient address syntax: %s", smtp_address_why(why));
        return LOCAL_OK;
    }
    if (!i->here && !local_has_domain(x->w->d->local, a.domain))
        return add_one(x, LOCAL_REMOTE, i->address);
    return resolve_name(x, span_of(local), a.domain);
}

/* The other verdicts. */
static void answer(struct work *w, struct work_item *i, enum local_verdict v)
{
    switch (v) {
    case LOCAL_OK:
    case LOCAL_WAIT: break;
    case LOCAL_UNKNOWN:
        work_answer(w, i, OUTCOME_FAILED, "5.1.1", "unknown user: \"%s\"",
                    i->address);
        break;
    case LOCAL_LOOP:
        work_answer(w, i, OUTCOME_FAILED, "5.4.6", "alias database loop");
        break;
    case LOCAL_TEMP:
        work_answer(w, i, OUTCOME_DEFERRED, "4.3.0",
                    "temporary lookup failure");
        break;
    case LOCAL_STOPPED:
        work_answer(w, i, OUTCOME_FAILED, "5.4.6",
                    "alias expands to too many recipients, or is nested too "
                    "deeply");
        break;
    case LOCAL_UNSUPPORTED:
        work_answer_waits(w, i, "4.3.5",
                          "alias leads to a command or a file, which is not "
                          "supported");
        break;
    }
}

/* Targets are there. */
static void sort_out(struct work *w, struct work_item *i)
{
    const struct work_target *t = i->target;
    bool is_one = i->ntargets == 1 && i->owner == NULL;

    if (is_one && t->kind == LOCAL_MAILBOX) {
        i->fate = WORK_MAILBOX;
        i->key = t->name;
    } else if (i->ntargets == 1 && t->kind == LOCAL_DISCARD) {
        i->key = t->name;
        work_answer(w, i, OUTCOME_DELIVERED, "2.0.0", "discarded");
    } else if (i->alias == NULL && w->tables.n > 0 &&
               !queue_may_hand_over(&w->d->queue, w->tables)) {
        work_answer_waits(w, i, "4.3.5",
                          "domain is local by some settings and not by "
                          "others");
    } else {
        i->fate = WORK_REPLACED;
    }
}

bool expand(struct work *w)
{
    bool waits = false;

    for (size_t k = 0; k < w->n; k++) {
        struct work_item *i = &w->item[k];
        struct resolving x = { w, i };
        enum local_verdict v = resolve(&x);
        waits |= v == LOCAL_WAIT;
        if (i->fate != WORK_UNKNOWN_YET)
            continue;
        answer(w, i, v);
        if (v == LOCAL_OK)
            sort_out(w, i);
    }
    if (!waits)
        step(w);
    return !waits;
}
