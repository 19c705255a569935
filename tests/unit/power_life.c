/* power_life.c - what happens in a life: workers, a sender, faults, cuts. */
#include "power.h"

#include "disk_model.h"
#include "spool_kit.h"

#include "base/fs.h"
#include "log/log.h"
#include "serve/store.h"
#include "spool/shelf.h"
#include "spool/turn.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WORKERS = 3,
    SENDER = WORKERS,
    ACTORS,
    TURN = 3,
    STEPS = 14,
    DISKS = 64,
    ITEMS = 256
};

/* A process.  Its calls fail or end when its luck says so. */
struct actor {
    bool busy;      /* in a step, maybe interrupted by that of another */
    bool killed;    /* makes no call any more */
    int luck;       /* calls until it strikes; 0: never */
    int misfortune; /* an errno, MODEL_SHORT or MODEL_KILLED */
};
struct worker {
    struct store *store;
    struct {
        struct draft *draft;
        uint32_t number;
    } turn[TURN];
    size_t nturn;
};
struct item {
    struct spool_item item; /* first */
    bool used, known;
    struct record rec;
};

static struct {
    struct life *life;
    uint64_t random;
    char dir[256], other[256];
    struct conf conf;
    struct pool *blocks;
    unsigned ndrafts;
    struct actor actor[ACTORS];
    struct actor *running; /* whose calls these are */
    struct worker worker[WORKERS];
    struct spool_store *store;
    struct spool_writer *writer;
    struct box_batch *boxes;
    struct item item[ITEMS];
    bool faults;    /* some call has failed */
    unsigned epoch; /* the first is 0 */
} me;

static uint64_t draw(void)
{
    uint64_t x = me.random += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(draw() % limit);
}

static bool chance(unsigned one_in)
{
    return below(one_in) == 0;
}

/* --- processes ----------------------------------------------------------------- */

static void step_of(int a);

static int strike(struct actor *a)
{
    if (a->killed)
        return MODEL_KILLED;
    if (a->luck == 0 || --a->luck > 0)
        return 0;
    if (a->misfortune == MODEL_KILLED) {
        a->killed = true;
        me.life->kills++;
    } else {
        me.faults = true;
        me.life->failed_calls++;
    }
    return a->misfortune;
}

/* Before any call another process may come first. */
static int on_call(const struct model_op *op)
{
    struct actor *mine = me.running;

    (void)op;
    if (mine != NULL && !mine->killed && chance(20)) {
        int a = (int)below(ACTORS);
        if (!me.actor[a].busy)
            step_of(a);
        me.running = mine;
    }
    return mine == NULL ? 0 : strike(mine);
}

static void try_luck(struct actor *a)
{
    static const int errors[] = { EIO, ENOSPC, EIO, MODEL_SHORT };

    a->luck = 0;
    if (me.life->quiet)
        return;
    if (chance(12)) {
        a->luck = 1 + (int)below(16);
        a->misfortune = errors[below(4)];
    } else if (chance(14)) {
        a->luck = 1 + (int)below(24);
        a->misfortune = MODEL_KILLED;
    }
}

/* --- a worker -------------------------------------------------------------------- */

/* Small segments, so that they are left often. */
static void make_small(struct spool_writer *w)
{
    w->segment_size = SEGMENT;
    if (w->f.fd >= 0)
        w->f.size = SEGMENT;
}

static void on_stored(struct draft *d, enum store_result r,
                      const struct err *why)
{
    struct worker *w = &me.worker[me.running - me.actor];

    (void)why;
    for (size_t i = 0; i < w->nturn; i++)
        if (w->turn[i].draft == d && r != STORE_FAILED && !me.running->killed)
            promise_kept_from(w->turn[i].number, model_count());
}

static struct draft *make_draft(struct worker *w, uint32_t number, bool solo)
{
    struct spool_writer *writer = store_writer(w->store);
    struct letter *l = &letters[number];
    char text[64], piece[1000];
    struct err e;

    letter_sender(text, number);
    struct draft *d = draft_new(me.blocks, writer, span_of(text), &me.ndrafts);
    ck_assert_ptr_nonnull(d);
    for (unsigned r = 0; r < l->nrcpt; r++) {
        letter_rcpt(text, r);
        if (r < l->nremote)
            ck_assert_int_eq(draft_add_remote(d, span_of(text)), 0);
        else
            ck_assert_int_eq(
                draft_add_local(d, letter_box(number, r), span_of(text)), 0);
    }
    if (spool_writer_new_id(writer, &d->id, &e) != 0)
        draft_free(&d);
    if (d != NULL && solo)
        d->reserve = pool_left(me.blocks); /* no room in memory */
    for (uint32_t at = 0; d != NULL && at < l->size; at += sizeof piece) {
        uint32_t n = l->size - at < sizeof piece ? l->size - at : sizeof piece;
        letter_body(number, at, piece, n);
        draft_take(d, piece, n);
    }
    return d;
}

/* Data comes, in turn with that of others. */
static void receive(struct worker *w)
{
    unsigned nremote = below(4), nlocal = below(4);

    if (nremote + nlocal == 0)
        nremote = 1;
    if (nletters == LETTERS)
        return;
    uint32_t number = letter_new(chance(4) ? below(LETTER_SIZE) : below(900),
                                 nremote, nlocal);
    letters[number].begun = model_count();
    struct draft *d = make_draft(w, number, chance(5));
    if (d == NULL)
        return;
    if (d->fault != DRAFT_FINE || chance(30)) { /* refused, or it hung up */
        draft_free(&d);
        return;
    }
    w->turn[w->nturn].draft = d;
    w->turn[w->nturn++].number = number;
}

static void commit(struct worker *w)
{
    for (size_t i = 0; i < w->nturn; i++) {
        struct letter *l = &letters[w->turn[i].number];
        for (unsigned r = l->nremote; r < l->nrcpt; r++)
            l->rcpt[r].tried[l->rcpt[r].ntried++] = model_count();
        store_submit(w->store, w->turn[i].draft);
    }
    store_commit(w->store);
    w->nturn = 0;
}

static void leave(struct worker *w)
{
    for (size_t i = 0; i < w->nturn; i++)
        draft_free(&w->turn[i].draft);
    w->nturn = 0;
    store_close(&w->store);
}

static void step_worker(int a)
{
    struct worker *w = &me.worker[a];
    struct err e;

    if (w->store == NULL) {
        if (store_open(&w->store, &me.conf, me.blocks, on_stored, &e) == 0)
            make_small(store_writer(w->store));
    } else if (chance(20)) {
        leave(w);
    } else {
        for (unsigned n = 1 + below(TURN); n > 0; n--)
            receive(w);
        commit(w);
    }
    if (me.actor[a].killed)
        leave(w);
}

/* --- the sender -------------------------------------------------------------------- */

static struct spool_item *on_found(void *ctx, const struct spool_view *v)
{
    (void)ctx;
    (void)v;
    for (size_t i = 0; i < ITEMS; i++)
        if (!me.item[i].used) {
            me.item[i].used = true;
            me.item[i].known = false;
            return &me.item[i].item;
        }
    return NULL;
}

static void look_around(void)
{
    struct body body;
    struct err e;

    me.store->look = true;
    (void)spool_store_scan(me.store, on_found, NULL, &e);
    for (size_t i = 0; i < ITEMS; i++) {
        struct item *it = &me.item[i];
        if (!it->used || it->known ||
            spool_item_pin(me.store, &it->item, &body, &e) != 0)
            continue;
        struct spool_segment *pinned = it->item.segment;
        struct spool_view v = { &it->item.rec, body.fd, it->item.at, NULL };
        ck_assert_int_eq(letter_read(&it->rec, &v, true), 0);
        it->known = true;
        spool_item_unpin(me.store, pinned);
    }
}

static struct item *any_item(void)
{
    unsigned at = below(ITEMS);

    for (unsigned i = 0; i < ITEMS; i++, at++)
        if (me.item[at % ITEMS].used && me.item[at % ITEMS].known)
            return &me.item[at % ITEMS];
    return NULL;
}

static struct promise *promise_of(const struct item *it, unsigned slot)
{
    return &letters[it->rec.number].rcpt[it->rec.rcpt[slot]];
}

static enum spool_state state_of(const struct promise *p)
{
    return p->nmarks > 0 ? p->mark[p->nmarks - 1].state : p->start;
}

static void put_mark(struct item *it, unsigned slot, enum spool_state state)
{
    struct promise *p = promise_of(it, slot);
    struct spool_slot s = { .state = state, .attempts = 1, .code = 250 };
    struct err e;

    if (p->nmarks == LETTER_MARKS)
        return;
    p->mark[p->nmarks] = (struct mark){ model_count(), NEVER, state };
    if (spool_slot_put(me.store, &it->item, slot, &s, &e) == 0)
        p->nmarks++;
}

static bool is_over(const struct item *it)
{
    for (unsigned i = 0; i < it->rec.n; i++)
        if (!state_is_final(state_of(promise_of(it, i))))
            return false;
    return true;
}

/* Into mailboxes, as for mail that waited in the queue. */
static void deliver(struct item *it)
{
    struct box_message m = { .user = NULL };
    char sender[64], rcpt[64];
    struct box_copy *copy[LETTER_RCPTS] = { NULL };
    struct err e;

    if (spool_item_pin(me.store, &it->item, &m.body, &e) != 0)
        return;
    struct spool_segment *pinned = it->item.segment;
    letter_sender(sender, it->rec.number);
    m.reverse_path = span_of(sender);
    for (unsigned i = 0; i < it->rec.n; i++) {
        struct promise *p = promise_of(it, i);
        unsigned r = it->rec.rcpt[i];
        if (!letter_is_local(it->rec.number, r) ||
            state_is_final(state_of(p)) || p->ntried == LETTER_TRIES)
            continue;
        letter_rcpt(rcpt, r);
        m.user = letter_box(it->rec.number, r);
        m.delivered_to = span_of(rcpt);
        p->tried[p->ntried++] = model_count();
        copy[i] = box_add(me.boxes, &m, &e);
    }
    box_publish(me.boxes);
    for (unsigned i = 0; i < it->rec.n; i++)
        if (copy[i] != NULL && box_status(copy[i], &e) == 0)
            put_mark(it, i, SPOOL_DELIVERED);
    box_reset(me.boxes);
    spool_item_unpin(me.store, pinned);
}

static void mark_remote(struct item *it)
{
    static const enum spool_state states[] = { SPOOL_DELIVERED, SPOOL_FAILED,
                                               SPOOL_HELD, SPOOL_PENDING };
    unsigned slot = below(it->rec.n);
    bool local = letter_is_local(it->rec.number, it->rec.rcpt[slot]);
    struct promise *p = promise_of(it, slot);

    if (p->nmarks + 1 < LETTER_MARKS && !state_is_final(state_of(p)))
        put_mark(it, slot, states[local ? 2 + below(2) : below(4)]);
}

static void finish(struct item *it)
{
    deliver(it);
    for (unsigned i = 0; i < it->rec.n; i++)
        if (!letter_is_local(it->rec.number, it->rec.rcpt[i]) &&
            !state_is_final(state_of(promise_of(it, i))))
            put_mark(it, i, SPOOL_DELIVERED);
    if (is_over(it)) {
        spool_item_done(me.store, &it->item);
        it->used = false;
    }
}

/* After a sync that failed nobody knows what its marks are worth; docs:
 * a mark that is lost is a duplicate. */
static void sync_marks(void)
{
    struct err e;
    size_t when = spool_store_sync(me.store, &e) == 0 && !me.faults
                      ? model_count()
                      : NEVER;

    for (size_t i = 0; i < nletters && !me.actor[SENDER].killed; i++)
        for (unsigned r = 0; r < letters[i].nrcpt; r++) {
            struct promise *p = &letters[i].rcpt[r];
            for (size_t m = 0; m < p->nmarks; m++)
                if (p->mark[m].synced == NEVER)
                    p->mark[m].synced = when;
        }
}

static void reclaim(void)
{
    struct err e;

    while (spool_store_reclaim(me.store, me.writer, &e) > 0)
        ;
}

/* A notice: the sender's own mail. */
static void write_notice(void)
{
    struct chain envelope = CHAIN_INIT, body = CHAIN_INIT;
    struct spool_message m = { .arrival = 1, .flags = SPOOL_BOUNCE };
    char text[LETTER_SIZE];
    unsigned char head[SPOOL_FIELD_HEAD];
    struct err e;

    if (nletters == LETTERS)
        return;
    uint32_t number = letter_new(below(1200), 1 + below(3), 0);
    struct letter *l = &letters[number];
    l->begun = model_count();
    letter_sender(text, number);
    spool_field_head(head, SPOOL_F_SENDER, strlen(text));
    chain_add(&envelope, me.blocks, head, sizeof head);
    chain_adds(&envelope, me.blocks, text);
    for (unsigned r = 0; r < l->nrcpt; r++) {
        letter_rcpt(text, r);
        spool_field_head(head, SPOOL_F_RCPT, strlen(text));
        chain_add(&envelope, me.blocks, head, sizeof head);
        chain_adds(&envelope, me.blocks, text);
    }
    letter_body(number, 0, text, l->size);
    chain_add(&body, me.blocks, text, l->size);
    m.nrcpt = l->nrcpt;
    m.envelope = &envelope;
    if (spool_writer_new_id(me.writer, &m.id, &e) == 0 &&
        spool_writer_add(me.writer, &m, &body, &e) == 0 &&
        spool_writer_commit(me.writer, &e) == 0 && !me.actor[SENDER].killed)
        promise_kept_from(number, model_count());
    else
        spool_writer_rollback(me.writer);
    chain_clear(&envelope, me.blocks);
    chain_clear(&body, me.blocks);
}

static void end_sender(void)
{
    box_batch_free(&me.boxes);
    spool_writer_close(&me.writer);
    spool_store_close(&me.store);
    memset(me.item, 0, sizeof me.item);
}

static void begin_sender(void)
{
    struct box_options o = { .mail_dir = me.conf.serve.mail_dir,
                             .kind = me.life->kind,
                             .hostname = "host",
                             .max_copies = 64 };
    struct err e;

    me.life->recoveries++;
    if (spool_store_open(&me.store, me.conf.queue_dir, &e) != 0 ||
        spool_writer_open_sized(&me.writer, me.conf.queue_dir, SEGMENT, &e) !=
            0 ||
        box_batch_new(&me.boxes, &o, &e) != 0)
        end_sender();
}

static void step_sender(void)
{
    if (me.store == NULL) {
        begin_sender();
    } else {
        struct item *it = any_item();
        unsigned what = below(20);
        if (what < 5 || (it == NULL && what < 14))
            look_around();
        else if (what < 8)
            mark_remote(it);
        else if (what < 14)
            finish(it);
        else if (what < 16)
            sync_marks();
        else if (what < 18)
            reclaim();
        else if (what < 19)
            write_notice();
        else if (chance(3))
            end_sender();
    }
    if (me.actor[SENDER].killed)
        end_sender();
}

/* --- a life ---------------------------------------------------------------------------- */

static void step_of(int a)
{
    struct actor *actor = &me.actor[a];

    actor->busy = true;
    me.running = actor;
    try_luck(actor);
    if (a == SENDER)
        step_sender();
    else
        step_worker(a);
    actor->luck = 0;
    actor->killed = actor->busy = false;
    me.running = NULL;
}

/* What the disk held becomes what was promised. */
static void settle(const struct verdict *v, size_t cut)
{
    for (size_t i = 0; i < nletters; i++) {
        struct letter *l = &letters[i];
        if (l->begun > cut)
            l->begun = NEVER;
        else
            l->begun = 0;
        for (unsigned r = 0; r < l->nrcpt; r++) {
            struct promise *p = &l->rcpt[r];
            bool there = v->of[i][r].waits > 0 || v->of[i][r].copies > 0;
            bool over = p->promised <= cut && v->of[i][r].queued == 0;
            p->promised = p->promised <= cut || there ? 0 : NEVER;
            p->start = v->of[i][r].queued > 0 ? v->of[i][r].state
                       : over                 ? SPOOL_DELIVERED
                                              : SPOOL_PENDING;
            p->nmarks = 0;
            size_t kept = 0;
            for (size_t t = 0; t < p->ntried; t++)
                if (p->tried[t] <= cut)
                    p->tried[kept++] = 0;
            p->ntried = kept;
        }
    }
}

/* The lights go out: whoever runs makes no call any more. */
static void stop_all(void)
{
    for (int a = 0; a < ACTORS; a++) {
        me.running = &me.actor[a];
        me.running->killed = true;
        if (a == SENDER)
            end_sender();
        else
            leave(&me.worker[a]);
        me.running->killed = false;
    }
    me.running = NULL;
}

static void look_at(struct verdict *v, size_t cut, size_t way)
{
    judge(v, me.other, cut, me.life->kind, me.faults);
    me.life->judged++;
    if (!v->failed || me.life->fault[0] != '\0')
        return;
    if (getenv("POWERCUT_PRINT") != NULL)
        model_print(stdout);
    snprintf(me.life->fault, sizeof me.life->fault,
             "%s (seed %llu, epoch %u, after call %zu of %zu, way %zu)", v->why,
             (unsigned long long)me.life->seed, me.epoch, cut, model_count(),
             way);
}

/* Early cuts more often: they hit recovery.  In order: the model goes forward
 * from one to the next. */
static void draw_cuts(size_t cut[], unsigned n)
{
    size_t all = model_count() + 1, early = all < 40 ? all : 40;

    for (unsigned i = 0; i < n; i++) {
        size_t c = draw() % (chance(3) ? early : all);
        unsigned at = i;
        for (; at > 0 && cut[at - 1] > c; at--)
            cut[at] = cut[at - 1];
        cut[at] = c;
    }
}

/* The life goes on with one of the last. */
static void cut_power(void)
{
    static struct verdict v;
    size_t cut[DISKS], way = 0, n = me.life->disks;

    model_fast_calls();
    draw_cuts(cut, me.life->disks);
    for (size_t i = 0; i < n && me.life->fault[0] == '\0'; i++) {
        way = draw() % model_ways(cut[i], true);
        if (model_build(cut[i], way, me.other))
            look_at(&v, cut[i], way);
    }
    size_t last = cut[n - 1 - below(4)];
    way = draw() % model_ways(last, true);
    model_rebuild(last, way, me.other);
    look_at(&v, last, way);
    model_rebuild(last, way, me.dir);
    settle(&v, last);
    me.life->calls += model_count();
}

static void live_epoch(void)
{
    model_fail = on_call;
    model_start(me.dir);
    for (unsigned i = 0; i < STEPS; i++)
        step_of((int)(chance(3) ? (unsigned)SENDER : below(ACTORS)));
    stop_all();
    model_fail = NULL;
    cut_power();
}

static void make_dir(char out[256], const char *name)
{
    const char *parent = "/dev/shm";
    struct stat st;
    char queue[300];
    struct err e;

    snprintf(out, 256, "%s/%s-XXXXXX", stat(parent, &st) == 0 ? parent : "/tmp",
             name);
    ck_assert_ptr_nonnull(mkdtemp(out));
    snprintf(queue, sizeof queue, "%s/queue", out);
    ck_assert_int_eq(spool_make_dirs(queue, (uid_t)-1, (gid_t)-1, &e), 0);
}

void life_run(struct life *l)
{
    memset(&me, 0, sizeof me);
    memset(letters, 0, sizeof letters);
    nletters = 0;
    me.life = l;
    me.random = l->seed;
    me.blocks = chain_pool_new(8192);
    make_dir(me.dir, "life");
    make_dir(me.other, "judge");
    me.conf.serve.mailbox = l->kind == BOX_MBOX ? CONF_MBOX : CONF_MAILDIR;
    snprintf(me.conf.hostname, sizeof me.conf.hostname, "host");
    snprintf(me.conf.queue_dir, sizeof me.conf.queue_dir, "%s/queue", me.dir);
    snprintf(me.conf.serve.mail_dir, sizeof me.conf.serve.mail_dir, "%s/mail",
             me.dir);
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    for (; me.epoch < l->epochs && l->fault[0] == '\0'; me.epoch++)
        live_epoch();
    model_stop();
    model_free();
    l->sent += nletters;
    pool_free(&me.blocks);
    kit_remove_tree(me.dir);
    kit_remove_tree(me.other);
}
