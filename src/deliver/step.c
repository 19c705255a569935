/* step.c - the children of a message: one for each reverse-path. */
#include "deliver/step.h"

#include "base/buf.h"
#include "deliver/ask.h"
#include "deliver/copy.h"
#include "deliver/loop_guard.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/recipients.h"
#include "queue/result.h"

#include <string.h>

enum {
    BUCKETS_MAX = 16 * 1024,
    GROUP_NONE = 0 /* the first is 1 */
};

struct group {
    struct group *next;
    const char *owner; /* NULL: the parent's reverse-path */
    unsigned number;
};

struct steps {
    struct work *w;
    struct map targets; /* of all groups */
    struct group *groups;
    unsigned ngroups;
    uint32_t ntargets; /* of all groups */
    uint64_t expanded; /* those of aliases, as far as known */
};

/* --- targets -------------------------------------------------------------- */

static uint64_t hash_of(enum local_kind kind, const char *name)
{
    return map_hash_nocase(name, strlen(name)) + kind;
}

static struct work_target *find(const struct steps *s, enum local_kind kind,
                                const char *name)
{
    for (struct map_link *l = map_first(&s->targets, hash_of(kind, name));
         l != NULL; l = map_next(l)) {
        struct work_target *t = MAP_ENTRY(l, struct work_target, link);
        if (t->kind == kind && span_eq_nocase(span_of(t->name), span_of(name)))
            return t;
    }
    return NULL;
}

static struct group *group_for(struct steps *s, const char *owner)
{
    for (struct group *g = s->groups; g != NULL; g = g->next)
        if (g->owner == owner ||
            (g->owner != NULL && owner != NULL && strcmp(g->owner, owner) == 0))
            return g;
    struct group *g = work_alloc(s->w, sizeof *g);
    if (g == NULL)
        return NULL;
    *g = (struct group){ s->groups, owner, ++s->ngroups };
    return s->groups = g;
}

/* --- items ---------------------------------------------------------------- */

/* An item goes with its targets, so that a child that fails loses none; without
 * one of its own it joins the child that has the first of them. */
static void add_item(struct steps *s, struct work_item *i)
{
    struct group *g = group_for(s, ask_owner(s->w, i));
    struct work_target *first = NULL;

    if (g == NULL) {
        i->fate = WORK_LATER;
        return;
    }
    for (struct work_target *t = i->target; t != NULL; t = t->next) {
        struct work_target *same = find(s, t->kind, t->name);
        t->notify = ask_notify(i);
        if (same == NULL) {
            t->group = i->group = g->number;
            map_add(&s->targets, &t->link, hash_of(t->kind, t->name));
            continue;
        }
        ask_join(s->w, same, i);
        if (first == NULL)
            first = same;
    }
    if (i->group == GROUP_NONE && first != NULL)
        i->group = first->group;
    ask_choose_notice(s->w, i, first);
}

/* --- one mailbox, more than once ------------------------------------------ */

static bool is_one_mailbox(const struct work_item *i)
{
    return i->ntargets == 1 && i->target->kind == LOCAL_MAILBOX &&
           i->owner == NULL;
}

/* Two recipients that are the same mailbox get one copy: a child has it. */
static bool replace_equal(struct work *w)
{
    struct steps s = { .w = w };

    if (w->n < 2)
        return true;
    if (map_init(&s.targets, w->n < BUCKETS_MAX ? w->n : BUCKETS_MAX) != 0)
        return false;
    for (size_t k = 0; k < w->n; k++) {
        struct work_item *i = &w->item[k];
        if (i->fate != WORK_MAILBOX)
            continue;
        struct work_target *same = find(&s, LOCAL_MAILBOX, i->key);
        if (same != NULL)
            i->fate = same->of->fate = WORK_REPLACED;
        else
            map_add(&s.targets, &i->target->link,
                    hash_of(LOCAL_MAILBOX, i->key));
    }
    map_done(&s.targets);
    return true;
}

/* --- what must not be replaced -------------------------------------------- */

static bool is_loop(struct work *w, struct work_item *i)
{
    struct err e;

    if (i->alias == NULL || is_one_mailbox(i))
        return false;
    int rc = loop_guard_has(w, i->alias, &e);
    if (rc < 0) {
        work_report(w, &e);
        work_put_off(w, i, &e);
        i->fate = WORK_PUT_OFF;
    } else if (rc > 0) {
        work_answer(w, i, OUTCOME_FAILED, "5.4.6",
                    "mail forwarding loop for %s", i->alias);
    }
    return rc != 0;
}

static bool is_too_many(struct steps *s, struct work_item *i)
{
    uint64_t most = (uint64_t)s->w->d->conf->local.max_targets;
    uint32_t n = 0, expanded = 0;

    for (const struct work_target *t = i->target; t != NULL; t = t->next)
        n += find(s, t->kind, t->name) == NULL;
    if (i->alias != NULL)
        expanded = n;
    if (s->expanded + expanded > most) {
        work_answer(s->w, i, OUTCOME_FAILED, "5.4.6",
                    "aliases expand to more than %llu recipients",
                    (unsigned long long)most);
        return true;
    }
    if (s->ntargets + n > SPOOL_RCPT_MAX) {
        i->fate = WORK_LATER; /* in a step of its own */
        return true;
    }
    s->ntargets += n;
    s->expanded += expanded;
    return false;
}

static void say_unknown(const struct work *w, const struct work_item *i)
{
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, w->msg->stored.rec.id);
    for (const struct work_target *t = i->target; t != NULL; t = t->next)
        if (t->kind == LOCAL_NO_USER)
            LOG(LOG_WARN, "deliver.unknown", LS("id", id),
                LS("part", spool_part_text(part, w->msg->stored.rec.part)),
                LS("alias", i->alias), LS("to", t->name));
}

static void gather(struct steps *s)
{
    struct work *w = s->w;

    for (size_t k = 0; k < w->n; k++) {
        struct work_item *i = &w->item[k];
        if (i->fate != WORK_REPLACED || is_loop(w, i) || is_too_many(s, i))
            continue;
        say_unknown(w, i);
        add_item(s, i);
    }
    for (size_t k = 0; k < w->n && s->ngroups > 0; k++) {
        struct work_item *i = &w->item[k];
        struct work_target *t =
            i->fate == WORK_MAILBOX ? find(s, LOCAL_MAILBOX, i->key) : NULL;
        if (t == NULL)
            continue;
        i->fate = WORK_REPLACED;
        i->group = t->group;
        ask_join(w, t, i);
        ask_choose_notice(w, i, t);
    }
}

/* --- a child -------------------------------------------------------------- */

/* A mailbox needs an address for notices and Delivered-To: that of its name in
 * the domain of the recipient for which it stands. */
static const char *address_of(const struct steps *s, const struct work_item *i,
                              const struct work_target *t)
{
    char room[LOCAL_ADDRESS_MAX];
    struct buf b = BUF_ON(room);

    if (t->kind != LOCAL_MAILBOX)
        return t->name;
    const char *at = strrchr(t->name, '@');
    struct span user = { t->name, at != NULL ? (size_t)(at - t->name)
                                             : strlen(t->name) };
    if (at == NULL)
        at = strrchr(i->alias != NULL ? i->alias : i->address, '@');
    local_put_address(&b, user,
                      span_of(at != NULL ? at + 1 : s->w->d->conf->hostname));
    return work_keep(s->w, buf_span(&b));
}

/* False: no memory. */
static bool add_targets(const struct steps *s, const struct work_item *i,
                        struct queue_child *c, struct queue_target *out)
{
    for (const struct work_target *t = i->target; t != NULL; t = t->next) {
        bool keyed = t->kind == LOCAL_MAILBOX || t->kind == LOCAL_COMMAND;
        if (t->group != i->group)
            continue;
        struct queue_target *to = &out[c->ntarget++];
        *to = (struct queue_target){ .address = address_of(s, i, t),
                                     .mailbox = keyed ? t->name : NULL,
                                     .slot = (uint16_t)i->rcpt->slot,
                                     .orcpt = ask_orcpt_for(s->w, i, t),
                                     .notify = ask_notify_for(s->w, i, t) };
        if (t->kind != LOCAL_REMOTE)
            c->to = SPOOL_LOCAL;
        if (to->address == NULL)
            return false;
    }
    return true;
}

/* The alias by which all of a child came.  NULL: there are several, or none; no
 * recipient must see by which the others came. */
static const char *only_alias(const struct work *w, unsigned group)
{
    const char *only = NULL;

    for (size_t k = 0; k < w->n; k++) {
        const struct work_item *i = &w->item[k];
        if (i->fate != WORK_REPLACED || i->group != group)
            continue;
        if (i->alias == NULL || (only != NULL && strcmp(i->alias, only) != 0))
            return NULL;
        only = i->alias;
    }
    return only;
}

static size_t count_targets(const struct work *w, unsigned group)
{
    size_t n = 0;

    for (size_t k = 0; k < w->n; k++)
        for (const struct work_target *t = w->item[k].target; t != NULL;
             t = t->next)
            n += t->group == group;
    return n;
}

/* False: no memory. */
static bool fill(const struct steps *s, const struct group *g,
                 struct queue_child *c)
{
    struct work *w = s->w;
    struct rcpt **rcpt = work_alloc(w, w->n * sizeof(struct rcpt *));
    struct queue_target *target =
        work_alloc(w, count_targets(w, g->number) * sizeof *target);
    bool ok = rcpt != NULL && target != NULL;

    *c = (struct queue_child){ .parent = w->msg,
                               .rcpt = rcpt,
                               .target = target,
                               .to = SPOOL_REMOTE,
                               .reverse_path = g->owner };
    for (size_t k = 0; k < w->n && ok; k++) {
        struct work_item *i = &w->item[k];
        if (i->fate != WORK_REPLACED || i->group != g->number)
            continue;
        ok = add_targets(s, i, c, target);
        rcpt[c->nrcpt++] = i->rcpt;
    }
    return ok;
}

/* Its recipients are still ours. */
static void refused(struct work *w, unsigned group, int rc, const struct err *e)
{
    for (size_t k = 0; k < w->n; k++) {
        struct work_item *i = &w->item[k];
        if (i->fate != WORK_REPLACED || i->group != group)
            continue;
        if (rc > 0 && is_one_mailbox(i)) {
            i->fate = WORK_MAILBOX;
        } else if (rc > 0) {
            work_answer(w, i, OUTCOME_FAILED, "5.4.6",
                        "aliases are nested too deeply");
        } else if (e->kind == ERR_PERM) {
            work_answer_waits(w, i, "4.3.5", "message damaged on disk");
            if (i->answer != NULL)
                i->answer->damaged = true;
        } else {
            i->fate = WORK_LATER;
        }
    }
}

/* Deliveries with the notices of a group, made before the hand-over: it is not
 * begun without memory for them. */
static int make_notices(struct work *w, unsigned group, struct list *notices,
                        struct err *e)
{
    for (size_t k = 0; k < w->n; k++) {
        const struct work_item *i = &w->item[k];
        if (i->fate != WORK_REPLACED || i->group != group ||
            i->notice == NOTICE_NONE)
            continue;
        struct copy *c = copy_of_replaced(w, i, e);
        if (c == NULL)
            return -1;
        list_push(notices, &c->link);
    }
    return 0;
}

static void end_notices(struct work *w, struct list *notices, bool sent)
{
    struct list *l;

    while ((l = list_pop(notices)) != NULL) {
        struct copy *c = LIST_ENTRY(l, struct copy, link);
        if (sent)
            result_replaced(&w->d->queue, &c->delivery);
        else
            copy_drop(w->d, c);
    }
}

static void hand_over(struct steps *s, const struct group *g)
{
    const char *alias = only_alias(s->w, g->number);
    char room[LOCAL_ADDRESS_MAX + 32];
    struct buf front = BUF_ON(room);
    struct list notices;
    struct queue_child c;
    struct err e;

    list_init(&notices);
    bool ok = fill(s, g, &c);
    if (alias != NULL)
        buf_addf(&front, "Delivered-To: %s\r\n", alias);
    c.front = buf_span(&front);
    int rc = ok ? make_notices(s->w, g->number, &notices, &e)
                : err_set(&e, ERR_TEMP, 0, "memory for a child");
    if (rc == 0 && c.nrcpt > 0)
        rc = queue_hand_over(&s->w->d->queue, &c, &e);
    end_notices(s->w, &notices, rc == 0);
    if (rc < 0 && e.kind != ERR_PERM)
        queue_log_fault(&s->w->d->queue, "queue.commit", &e);
    if (rc != 0)
        refused(s->w, g->number, rc, &e);
}

/* Of items that are to be replaced. */
static size_t count_targets_of_step(const struct work *w)
{
    size_t n = 0;

    for (size_t k = 0; k < w->n; k++)
        if (w->item[k].fate == WORK_REPLACED)
            n += w->item[k].ntargets;
    return n;
}

static void put_off(struct work *w)
{
    for (size_t k = 0; k < w->n; k++)
        w->item[k].fate = WORK_LATER;
}

void step(struct work *w)
{
    struct steps s = { .w = w };

    bool ok = replace_equal(w);
    size_t n = count_targets_of_step(w);
    if (ok && n == 0)
        return;
    if (!ok || map_init(&s.targets, n < BUCKETS_MAX ? n : BUCKETS_MAX) != 0) {
        put_off(w);
        return;
    }
    if (w->msg->stored.rec.part != 0 && w->tables.n == 0)
        s.expanded = w->msg->stored.rec.nrcpt;
    gather(&s);
    for (const struct group *g = s.groups; g != NULL; g = g->next)
        hand_over(&s, g);
    map_done(&s.targets);
}
