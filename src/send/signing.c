#include "send/signing.h"

#include "send/sign_thread.h"
#include "spool/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEPT_MAX = 16 * 1024 * 1024, /* octets of signatures that no delivery has */
    BUCKETS = 16 * 1024
};

/* The signatures of a record. */
struct signature {
    struct map_link link; /* by id and part, unless it is old */
    struct list kept;     /* without users: the one used last behind */
    struct list waiting;  /* deliveries, by work item, until it is done */
    unsigned users;       /* deliveries */
    bool done, old;       /* old: not for more deliveries */
    struct sign_task task;
};

struct signing {
    struct sched *sched;
    struct sign_thread *thread;
    struct map all;
    struct list kept;
    size_t nkept;        /* octets */
    struct list unasked; /* deliveries, by work item: no memory for theirs */
};

static size_t size_of(const struct signature *x)
{
    return sizeof *x + x->task.n;
}

/* --- finding -------------------------------------------------------------- */

static uint64_t hash_of(const struct spool_record *r)
{
    struct {
        struct msg_id id;
        uint64_t part;
    } key;

    memset(&key, 0, sizeof key);
    key.id = r->id;
    key.part = r->part;
    return map_hash(&key, sizeof key);
}

static struct signature *find(const struct signing *g,
                              const struct spool_record *r)
{
    struct map_link *l = map_first(&g->all, hash_of(r));

    for (; l != NULL; l = map_next(l)) {
        struct signature *x = MAP_ENTRY(l, struct signature, link);
        if (msg_id_eq(x->task.rec.id, r->id) && x->task.rec.part == r->part)
            return x;
    }
    return NULL;
}

static void free_signature(struct signature *x)
{
    free(x->task.text);
    free(x);
}

/* Not for more deliveries; it is freed behind its last user. */
static void retire(struct signing *g, struct signature *x)
{
    map_remove(&g->all, &x->link);
    x->old = true;
    if (list_linked(&x->kept)) {
        list_remove(&x->kept);
        g->nkept -= size_of(x);
    }
    if (x->users == 0)
        free_signature(x);
}

static void use(struct signing *g, struct signature *x)
{
    if (list_linked(&x->kept)) {
        list_remove(&x->kept);
        g->nkept -= size_of(x);
    }
    x->users++;
}

static void leave(struct signing *g, struct signature *x)
{
    if (--x->users > 0)
        return;
    if (x->old) {
        free_signature(x);
        return;
    }
    list_push(&g->kept, &x->kept);
    g->nkept += size_of(x);
    while (g->nkept > KEPT_MAX)
        retire(g, LIST_ENTRY(g->kept.next, struct signature, kept));
}

/* --- giving --------------------------------------------------------------- */

static void give_signed(struct signing *g, struct send_delivery *d,
                        struct signature *x)
{
    struct sched *s = g->sched;

    body_set_head(&d->delivery.body, x->task.text, x->task.n);
    list_remove(&d->given.link); /* its time with the worker begins now */
    d->given.since = loop_now(s->loop);
    list_push(&s->lane.given, &d->given.link);
    lane_hand(s, d);
}

/* NULL: no memory, or the message cannot be read. */
static struct signature *ask(struct signing *g, const struct delivery *j)
{
    struct spool_message *m = &j->msg->stored;
    struct signature *x = calloc(1, sizeof *x);
    struct err e;

    if (x == NULL)
        return NULL;
    x->task.rec = m->rec;
    if (spool_message_reader(g->sched->queue.spool, m, &x->task.reader, &e) !=
        0) {
        free(x);
        return NULL;
    }
    x->task.reader.rec = &x->task.rec;
    x->task.body = j->body;
    list_init(&x->waiting);
    map_add(&g->all, &x->link, hash_of(&m->rec));
    sign_thread_give(g->thread, &x->task);
    return x;
}

void signing_give(struct sched *s, struct send_delivery *d)
{
    struct signing *g = s->signing;
    struct delivery *j = &d->delivery;

    if (g == NULL || (j->flags & SPOOL_SIGN) == 0) {
        lane_hand(s, d);
        return;
    }
    struct signature *x = find(g, &j->msg->stored.rec);
    if (x == NULL)
        x = ask(g, j);
    d->signature = x;
    if (x == NULL) {
        list_push(&g->unasked, &d->note.link);
        return;
    }
    use(g, x);
    if (x->done)
        give_signed(g, d, x);
    else
        list_push(&x->waiting, &d->note.link);
}

/* --- coming back ---------------------------------------------------------- */

static void answer(struct list *back, struct send_delivery *d,
                   const struct answer *a)
{
    d->signature = NULL;
    d->delivery.offered = false;
    delivery_answer_all(&d->delivery, a);
    list_push(back, &d->note.link);
}

/* A message that is not signed yet is as untouched as one that a session did
 * not come to. */
static void send_back(struct signing *g, struct signature *x, struct list *back)
{
    static const struct answer untouched = { .outcome = OUTCOME_NONE };
    const struct answer *a = x->task.stopped ? &untouched : &x->task.why;
    struct list *l;

    while ((l = list_pop(&x->waiting)) != NULL) {
        struct send_delivery *d =
            LIST_ENTRY(l, struct send_delivery, note.link);
        answer(back, d, a);
        d->delivery.offered = x->task.stopped;
        x->users--;
    }
    retire(g, x);
}

static void settle(struct signing *g, struct signature *x, struct list *back)
{
    struct list *l;

    if (x->task.stopped || x->task.why.outcome != OUTCOME_NONE ||
        x->task.why.misconfigured) {
        send_back(g, x, back);
        return;
    }
    x->done = true;
    while ((l = list_pop(&x->waiting)) != NULL)
        give_signed(g, LIST_ENTRY(l, struct send_delivery, note.link), x);
}

/* Those that are signed, with other keys than the signer has now. */
static void forget_done(struct signing *g)
{
    for (size_t i = 0; i <= g->all.mask; i++)
        for (struct map_link *l = g->all.bucket[i], *next; l != NULL;
             l = next) {
            struct signature *x = MAP_ENTRY(l, struct signature, link);
            next = l->next;
            if (x->done)
                retire(g, x);
        }
}

void signing_take(struct sched *s, struct list *back)
{
    struct signing *g = s->signing;
    struct list tasks, *l;
    struct answer a;
    bool renewed;

    if (g == NULL || g->thread == NULL)
        return;
    list_init(&tasks);
    sign_thread_take(g->thread, &tasks, &renewed);
    if (renewed)
        forget_done(g);
    while ((l = list_pop(&tasks)) != NULL)
        settle(g,
               MAP_ENTRY(LIST_ENTRY(l, struct sign_task, link),
                         struct signature, task),
               back);
    answer_set(&a, OUTCOME_NONE, "4.3.0", "no memory to sign (DKIM)");
    while ((l = list_pop(&g->unasked)) != NULL)
        answer(back, LIST_ENTRY(l, struct send_delivery, note.link), &a);
}

bool signing_is_short(const struct sched *s)
{
    return s->signing != NULL && !list_empty(&s->signing->unasked);
}

void signing_release(struct sched *s, struct send_delivery *d)
{
    if (d->signature == NULL)
        return;
    body_set_head(&d->delivery.body, NULL, 0);
    leave(s->signing, d->signature);
    d->signature = NULL;
}

/* --- from start to end ---------------------------------------------------- */

int signing_open(struct sched *s, int channel, struct err *e)
{
    if (s->conf->dkim.keys.n == 0)
        return 0;
    struct signing *g = calloc(1, sizeof *g);
    if (g == NULL || map_init(&g->all, BUCKETS) != 0) {
        free(g);
        return err_set(e, ERR_TEMP, ENOMEM, "memory for signatures");
    }
    g->sched = s;
    list_init(&g->kept);
    list_init(&g->unasked);
    s->signing = g;
    return sign_thread_start(&g->thread, s->conf, channel, e);
}

int signing_fd(const struct sched *s)
{
    return s->signing != NULL ? sign_thread_fd(s->signing->thread) : -1;
}

void signing_hand_over(struct sched *s)
{
    if (s->signing != NULL)
        sign_thread_hand_over(s->signing->thread);
}

void signing_stop(struct sched *s)
{
    if (s->signing != NULL)
        sign_thread_stop(s->signing->thread);
}

void signing_end(struct sched *s)
{
    if (s->signing != NULL && s->signing->thread != NULL)
        sign_thread_join(s->signing->thread);
}

void signing_free(struct sched *s)
{
    struct signing *g = s->signing;

    if (g == NULL)
        return;
    while (!list_empty(&g->kept))
        retire(g, LIST_ENTRY(g->kept.next, struct signature, kept));
    sign_thread_free(&g->thread);
    map_done(&g->all);
    free(g);
    s->signing = NULL;
}
