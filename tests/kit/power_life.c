/* power_life.c - what happens in a life: workers, consumers, faults, cuts. */
#include "power_life.h"

#include "disk_model.h"
#include "spool_kit.h"

#include "base/fs.h"
#include "log/log.h"
#include "serve/commit.h"
#include "spool/dirs.h"
#include "spool/segments_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WORKERS = 3,
    CONSUMERS = WORKERS, /* one a queue */
    ACTORS = CONSUMERS + SPOOL_QUEUES,
    TURN = 3,
    STEPS = 18,
    DISKS = 64
};

/* A process.  Its calls fail or end when its luck says so. */
struct actor {
    bool busy;      /* in a step, maybe interrupted by that of another */
    bool killed;    /* makes no call any more */
    int luck;       /* calls until it strikes; 0: never */
    int misfortune; /* an errno, MODEL_SHORT or MODEL_KILLED */
};
struct worker {
    struct serve_commit *commit;
    struct {
        struct serve_transaction *transaction;
        uint32_t number;
    } turn[TURN];
    size_t nturn;
};

struct life_stage stage;
static struct {
    char dir[256], other[256];
    unsigned ntransactions;
    struct actor actor[ACTORS];
    struct actor *running; /* whose calls these are */
    struct worker worker[WORKERS];
    unsigned epoch; /* the first is 0 */
} me;

uint64_t life_draw(void)
{
    uint64_t x = stage.random += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

unsigned life_below(unsigned limit)
{
    return (unsigned)(life_draw() % limit);
}

bool life_chance(unsigned one_in)
{
    return life_below(one_in) == 0;
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
        stage.life->kills++;
    } else {
        stage.faults = true;
        stage.life->failed_calls++;
    }
    return a->misfortune;
}

static void become(struct actor *a)
{
    me.running = a;
    model_who = a == NULL ? 0 : (unsigned)(a - me.actor);
}

/* Before any call another process may come first. */
static int on_call(const struct model_op *op)
{
    struct actor *mine = me.running;

    (void)op;
    if (mine != NULL && !mine->killed && life_chance(20)) {
        int a = (int)life_below(ACTORS);
        if (!me.actor[a].busy)
            step_of(a);
        become(mine);
    }
    return mine == NULL ? 0 : strike(mine);
}

static void try_luck(struct actor *a)
{
    static const int errors[] = { EIO, ENOSPC, EIO, MODEL_SHORT };

    a->luck = 0;
    if (stage.life->quiet)
        return;
    if (life_chance(12)) {
        a->luck = 1 + (int)life_below(16);
        a->misfortune = errors[life_below(4)];
    } else if (life_chance(14)) {
        a->luck = 1 + (int)life_below(24);
        a->misfortune = MODEL_KILLED;
    }
}

/* --- a worker -------------------------------------------------------------------- */

static void on_stored(struct serve_transaction *d, const struct err *why)
{
    struct worker *w = &me.worker[me.running - me.actor];

    for (size_t i = 0; i < w->nturn; i++)
        if (w->turn[i].transaction == d && why == NULL && !me.running->killed)
            promise_kept_from(w->turn[i].number, model_count());
}

static struct serve_transaction *make_transaction(struct worker *w,
                                                  uint32_t number, bool large)
{
    struct spool_writer *writer =
        serve_commit_writer(w->commit, letter_queue(number));
    struct letter *l = &letters[number];
    char text[64], piece[1000];
    struct err e;

    letter_sender(text, number);
    struct serve_transaction *d =
        serve_transaction_new(stage.blocks, span_of(text), &me.ntransactions);
    ck_assert_ptr_nonnull(d);
    for (unsigned r = 0; r < l->nrcpt; r++) {
        letter_rcpt(text, r);
        ck_assert_int_eq(
            serve_transaction_add_recipient(
                d, span_of(text), r < l->nremote ? PLACE_REMOTE : PLACE_LOCAL),
            0);
    }
    if (spool_writer_new_id(writer, &d->id, &e) != 0)
        serve_transaction_free(&d);
    if (d != NULL) {
        d->writer = writer;
        d->bodies = large ? stage.no_blocks : stage.blocks;
        d->begun = true; /* its octets are no header: take them as they are */
    }
    for (uint32_t at = 0; d != NULL && at < l->size; at += sizeof piece) {
        uint32_t n = l->size - at < sizeof piece ? l->size - at : sizeof piece;
        letter_body(number, at, piece, n);
        serve_transaction_take(d, piece, n);
    }
    return d;
}

/* Data comes, in turn with that of others. */
static void receive(struct worker *w)
{
    unsigned nremote = life_below(4), nlocal = life_below(4);

    if (nremote + nlocal == 0)
        nremote = 1;
    if (nletters == LETTERS)
        return;
    uint32_t number =
        letter_new(life_chance(4) ? life_below(LETTER_SIZE) : life_below(900),
                   nremote, nlocal);
    letters[number].begun = model_count();
    struct serve_transaction *d = make_transaction(w, number, life_chance(5));
    if (d == NULL)
        return;
    if (d->fault != BODY_FINE || life_chance(30)) { /* refused, or it hung up */
        serve_transaction_free(&d);
        return;
    }
    w->turn[w->nturn].transaction = d;
    w->turn[w->nturn++].number = number;
}

static void commit(struct worker *w)
{
    for (size_t i = 0; i < w->nturn; i++)
        serve_commit_submit(w->commit, w->turn[i].transaction);
    serve_commit_run(w->commit);
    w->nturn = 0;
}

static void leave(struct worker *w)
{
    for (size_t i = 0; i < w->nturn; i++)
        serve_transaction_free(&w->turn[i].transaction);
    w->nturn = 0;
    serve_commit_close(&w->commit);
}

static void step_worker(int a)
{
    struct worker *w = &me.worker[a];
    struct err e;

    if (w->commit == NULL) {
        if (serve_commit_open(&w->commit, stage.conf.queue_dir, on_stored,
                              &e) == 0)
            for (int q = 0; q < SPOOL_QUEUES; q++) /* they are left often */
                serve_commit_writer(w->commit, (enum spool_name)q)
                    ->segment_size = SEGMENT;
    } else if (life_chance(20)) {
        leave(w);
    } else {
        for (unsigned n = 1 + life_below(TURN); n > 0; n--)
            receive(w);
        commit(w);
    }
    if (me.actor[a].killed)
        leave(w);
}

/* --- a life ---------------------------------------------------------------------------- */

static void step_of(int a)
{
    struct actor *actor = &me.actor[a];

    actor->busy = true;
    become(actor);
    try_luck(actor);
    if (a >= CONSUMERS)
        consumer_step((enum spool_name)(a - CONSUMERS), &actor->killed);
    else
        step_worker(a);
    actor->luck = 0;
    actor->killed = actor->busy = false;
    become(NULL);
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
        become(&me.actor[a]);
        me.running->killed = true;
        if (a >= CONSUMERS)
            consumer_end((enum spool_name)(a - CONSUMERS));
        else
            leave(&me.worker[a]);
        me.running->killed = false;
    }
    become(NULL);
}

static void look_at(struct verdict *v, size_t cut, size_t way)
{
    judge(v, me.other, cut, stage.life->kind, stage.faults);
    stage.life->judged++;
    if (!v->failed || stage.life->fault[0] != '\0')
        return;
    if (getenv("POWERCUT_PRINT") != NULL)
        model_print(stdout);
    snprintf(stage.life->fault, sizeof stage.life->fault,
             "%s (seed %llu, epoch %u, after call %zu of %zu, way %zu)", v->why,
             (unsigned long long)stage.life->seed, me.epoch, cut, model_count(),
             way);
}

/* Early cuts more often: they hit recovery.  In order: the model goes forward
 * from one to the next. */
static void draw_cuts(size_t cut[], unsigned n)
{
    size_t all = model_count() + 1, early = all < 40 ? all : 40;

    for (unsigned i = 0; i < n; i++) {
        size_t c = life_draw() % (life_chance(3) ? early : all);
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
    size_t cut[DISKS], way = 0, n = stage.life->disks;

    model_fast_calls();
    draw_cuts(cut, stage.life->disks);
    for (size_t i = 0; i < n && stage.life->fault[0] == '\0'; i++) {
        way = life_draw() % model_ways(cut[i], true);
        if (model_build(cut[i], way, me.other))
            look_at(&v, cut[i], way);
    }
    size_t last = cut[n - 1 - life_below(4)];
    way = life_draw() % model_ways(last, true);
    model_rebuild(last, way, me.other);
    look_at(&v, last, way);
    model_rebuild(last, way, me.dir);
    settle(&v, last);
    stage.life->calls += model_count();
}

static void live_epoch(void)
{
    model_fail = on_call;
    model_named = stage.life->named;
    model_start(me.dir);
    for (unsigned i = 0; i < STEPS; i++)
        step_of((int)(life_chance(3) ? CONSUMERS + life_below(SPOOL_QUEUES)
                                     : life_below(ACTORS)));
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
    snprintf(queue, sizeof queue, "%s/mail", out);
    ck_assert_int_eq(mkdir(queue, 0700), 0);
    snprintf(queue, sizeof queue, "%s/queue", out);
    ck_assert_int_eq(spool_dirs_make(queue, (uid_t)-1, (gid_t)-1, &e), 0);
}

void life_run(struct life *l)
{
    memset(&me, 0, sizeof me);
    memset(&stage, 0, sizeof stage);
    memset(letters, 0, sizeof letters);
    nletters = 0;
    stage.life = l;
    stage.random = l->seed;
    stage.blocks = chain_pool_new(8192);
    stage.no_blocks = chain_pool_new(0);
    make_dir(me.dir, "life");
    make_dir(me.other, "judge");
    stage.conf.local.mailbox = l->kind;
    stage.conf.local.users.source = CONF_USERS_ANY;
    snprintf(stage.conf.hostname, sizeof stage.conf.hostname, "host");
    snprintf(stage.conf.queue_dir, sizeof stage.conf.queue_dir, "%s/queue",
             me.dir);
    snprintf(stage.conf.local.mail_dir, sizeof stage.conf.local.mail_dir,
             "%s/mail", me.dir);
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    for (; me.epoch < l->epochs && l->fault[0] == '\0'; me.epoch++)
        live_epoch();
    model_stop();
    model_free();
    l->sent += nletters;
    pool_free(&stage.blocks);
    pool_free(&stage.no_blocks);
    kit_remove_tree(me.dir);
    kit_remove_tree(me.other);
}
