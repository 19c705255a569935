/* handover_life.c - what happens in the life of a message that is handed
 * over: steps in any order, kills, power cuts, and then the end. */
#include "handover_life.h"

#include "disk_model.h"
#include "spool_kit.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/dirs.h"
#include "spool/segment_private.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 40, DISKS = 32, SOLO_TEXT = SPOOL_SMALL_MAX + 1 };

struct handover_stage stage_now;
static struct {
    bool busy[SPOOL_QUEUES], killed[SPOOL_QUEUES];
    int luck[SPOOL_QUEUES];   /* calls until it is killed; 0: never */
    int running;              /* whose calls these are; -1: nobody's */
    size_t calls;             /* of this life */
    bool inside;              /* the hook's own calls */
    bool marked;              /* a mark was written in this start */
    uint64_t stale_id, stale; /* a confirmed word that recovery has read */
    char other[256];
    unsigned epoch;
} me;

uint64_t handover_draw(void)
{
    uint64_t x = stage_now.random += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

unsigned handover_below(unsigned limit)
{
    return (unsigned)(handover_draw() % limit);
}

bool handover_chance(unsigned one_in)
{
    return handover_below(one_in) == 0;
}

/* --- steps and calls ------------------------------------------------------ */

static void become(int who)
{
    me.running = who;
    model_who = who < 0 ? 0 : (unsigned)who;
}

static void step_of(int who)
{
    me.busy[who] = true;
    become(who);
    if ((!stage_now.life->quiet || stage_now.life->faults) &&
        handover_chance(4))
        me.luck[who] = 1 + (int)handover_below(12);
    actor_step((enum spool_name)who, &me.killed[who]);
    me.luck[who] = 0;
    me.busy[who] = me.killed[who] = false;
    become(-1);
}

/* Without OWN_WORD: recovery writes back the word that it has read, as if it
 * were a part of the state. */
static void write_stale_word(const struct model_op *op)
{
    char path[400];
    bool read = op->kind == MODEL_SYNC;
    bool write = op->kind == MODEL_WRITE && op->at == 0 &&
                 op->n == 0; /* not known before the call */

    if (op->node < 0 || me.running != SPOOL_REMOTE || (!read && !write))
        return;
    snprintf(path, sizeof path, "%s/%s", stage_now.dir, model_path(op->node));
    char *ending = strrchr(path, '.');
    if (ending == NULL)
        return;
    memcpy(ending, ".seg", 4);
    int fd = fs_open(path, O_RDWR, 0);
    struct spool_segment_header h;
    enum spool_check check;
    if (fd >= 0 && spool_header_read(fd, &h, &check) == 0 && h.children != 0) {
        if (read) {
            me.stale_id = h.id;
            (void)spool_confirmed_read(fd, h.id, &me.stale);
        } else if (me.stale_id == h.id) {
            (void)spool_confirmed_write(fd, h.id, me.stale);
        }
    }
    if (fd >= 0)
        fs_close(fd);
}

static int on_call(const struct model_op *op)
{
    int mine = me.running;

    if (mine < 0 || me.inside)
        return 0;
    if (me.killed[mine])
        return MODEL_KILLED;
    if (!me.busy[1 - mine] && handover_chance(8)) {
        step_of(1 - mine);
        become(mine);
    }
    if (stage_now.life->without == OWN_WORD) {
        me.inside = true;
        write_stale_word(op);
        me.inside = false;
    }
    me.marked |= stage_now.phase[mine] == STARTING && op->kind == MODEL_WRITE;
    if (stage_now.life->without == LOST_SYNC) /* what it is about */
        return stage_now.phase[mine] == CONFIRMING && op->kind == MODEL_SYNC &&
                       handover_chance(2)
                   ? EIO
                   : 0;
    bool now = ++me.calls == stage_now.life->kill_at;
    if (!now && (me.luck[mine] == 0 || --me.luck[mine] > 0))
        return 0;
    if (stage_now.life->faults) {
        stage_now.life->failed_calls++;
        return handover_chance(3) ? ENOSPC : EIO;
    }
    me.killed[mine] = true;
    stage_now.life->kills++;
    return MODEL_KILLED;
}

/* Syncs that are left out. */
static bool leave_out(const struct model_op *op)
{
    enum handover_phase phase =
        me.running < 0 ? NO_PHASE : stage_now.phase[me.running];
    bool deliverer = me.running == SPOOL_LOCAL;
    bool entry = op->kind == MODEL_SYNC_DIR;

    switch (stage_now.life->without) {
    case SYNC_FIRST: return deliverer && phase == STARTING && !me.marked;
    case DIRS: return deliverer && phase == CONFIRMING && entry;
    case REC_DIR: return !deliverer && entry;
    case CHILD_SYNC: return deliverer && phase == COMMITTING && !entry;
    case CHILD_ENTRY: return deliverer && phase == COMMITTING && entry;
    default: return false;
    }
}

/* --- the beginning -------------------------------------------------------- */

static void submit(struct spool_writer *w, const char *names, size_t size,
                   const char *number)
{
    struct chain envelope = CHAIN_INIT, text = CHAIN_INIT;
    struct spool_submission m = { .arrival = 1,
                                  .nrcpt = (uint32_t)strlen(names),
                                  .envelope = &envelope };
    static const char zeros[4096];
    uint32_t crc = 0;
    struct err e;

    ck_assert(spool_envelope_add(&envelope, stage_now.blocks, SPOOL_F_SENDER,
                                 span_of("x")) &&
              spool_envelope_add(&envelope, stage_now.blocks, SPOOL_F_SID,
                                 span_of(number)));
    for (; *names != '\0'; names++)
        ck_assert(spool_envelope_add(&envelope, stage_now.blocks, SPOOL_F_RCPT,
                                     (struct span){ names, 1 }));
    for (size_t n; size > 0; size -= n) {
        n = size < sizeof zeros ? size : sizeof zeros;
        ck_assert(chain_add(&text, stage_now.blocks, zeros, n));
        crc = crc32c(crc, zeros, n);
    }
    const struct body body = body_of_chain(&text, crc);
    ck_assert(spool_writer_new_id(w, &m.id, &e) == 0 &&
              spool_submit(w, &m, &body, &e) == 0 &&
              spool_writer_commit(w, &e) == 0);
    chain_clear(&envelope, stage_now.blocks);
    chain_clear(&text, stage_now.blocks);
}

static struct spool_message fillers[4];

static struct spool_message *on_filler(void *ctx, const struct spool_reader *v)
{
    size_t *n = ctx;

    (void)v;
    return *n < 4 ? &fillers[(*n)++] : NULL;
}

/* Done already: reclaim has a reason to move what stands beside it. */
static void finish_filler(void)
{
    const struct spool_slot slot = { .state = SPOOL_DELIVERED };
    struct spool_queue *q;
    struct err e;
    size_t n = 0;

    ck_assert_int_eq(spool_queue_open(&q, stage_now.dir, SPOOL_LOCAL, &e), 0);
    ck_assert_int_eq(spool_queue_scan(q, on_filler, &n, &e), 0);
    for (size_t i = 0; i < n; i++)
        if (fillers[i].rec.body_size == 6000)
            ck_assert_int_eq(spool_slot_put(q, &fillers[i], 0, &slot, &e), 0);
    spool_queue_close(&q);
}

static void make_dir(char out[256], const char *name)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    struct err e;

    snprintf(out, 256, "%s/%s-XXXXXX", parent, name);
    ck_assert_ptr_nonnull(mkdtemp(out));
    ck_assert_int_eq(spool_dirs_make(out, (uid_t)-1, (gid_t)-1, &e), 0);
}

static void begin(struct handover_life *l)
{
    struct spool_writer *w;
    char wake[300];
    struct err e;

    memset(&me, 0, sizeof me);
    memset(&stage_now, 0, sizeof stage_now);
    me.running = -1;
    stage_now.life = l;
    stage_now.random = l->seed;
    stage_now.resolvable = !l->scene->later;
    stage_now.blocks = chain_pool_new(256);
    world_begin(l);
    make_dir(stage_now.dir, "handover");
    make_dir(me.other, "judge");
    ck_assert_int_eq(
        spool_writer_open_sized(&w, stage_now.dir, SPOOL_LOCAL, 64 * 1024, &e),
        0);
    submit(w, l->scene->slots, l->scene->solo ? SOLO_TEXT : 10, "0");
    if (l->scene->reclaim) { /* what waits beside it, and what is done */
        submit(w, "E", 10, "9999");
        submit(w, "m", 6000, "9998");
    }
    spool_writer_close(&w);
    if (l->scene->reclaim)
        finish_filler();
    snprintf(wake, sizeof wake, "%s/local/wake", stage_now.dir);
    unlink(wake); /* the model knows files only */
}

/* --- the end -------------------------------------------------------------- */

/* Nothing goes wrong any more. */
static void live_to_the_end(void)
{
    bool resolvable = stage_now.resolvable;

    actor_release_locks();
    stage_now.resolvable = true;
    for (int i = 0; i < 3; i++) {
        actor_finish(SPOOL_LOCAL);
        actor_finish(SPOOL_REMOTE);
    }
    actor_stop(SPOOL_LOCAL);
    actor_finish(SPOOL_REMOTE);
    actor_stop(SPOOL_REMOTE);
    world_judge_end(stage_now.dir);
    stage_now.resolvable = resolvable;
}

static void say_where(size_t cut, size_t way)
{
    struct handover_life *l = stage_now.life;
    size_t n = strlen(l->fault);

    if (n > 0)
        snprintf(l->fault + n, sizeof l->fault - n,
                 " (seed %llu, epoch %u, after call %zu of %zu, way %zu)",
                 (unsigned long long)l->seed, me.epoch, cut, model_count(),
                 way);
    if (n > 0 && getenv("POWERCUT_PRINT") != NULL)
        model_print(stdout);
}

static void look_at(size_t cut, size_t way)
{
    char dir[256];

    memcpy(dir, stage_now.dir, sizeof dir);
    memcpy(stage_now.dir, me.other, sizeof dir);
    world_save();
    world_cut(cut);
    live_to_the_end();
    world_restore();
    memcpy(stage_now.dir, dir, sizeof dir);
    stage_now.life->judged++;
    say_where(cut, way);
}

static void draw_cuts(size_t cut[], unsigned n)
{
    size_t all = model_count() + 1;

    for (unsigned i = 0; i < n; i++) {
        size_t c = handover_draw() % all;
        unsigned at = i;
        for (; at > 0 && cut[at - 1] > c; at--)
            cut[at] = cut[at - 1];
        cut[at] = c;
    }
}

static void look_behind(size_t cut)
{
    size_t way = handover_draw() % model_ways(cut, true);

    if (stage_now.life->fault[0] == '\0' && model_build(cut, way, me.other))
        look_at(cut, way);
}

static void cut_power(void)
{
    size_t cut[DISKS], n = stage_now.life->disks, way;

    model_fast_calls();
    for (size_t i = 0; stage_now.life->every_cut && i <= model_count(); i++)
        look_behind(i);
    draw_cuts(cut, (unsigned)n);
    for (size_t i = 0; i < n; i++)
        look_behind(cut[i]);
    size_t last = cut[n - 1 - handover_below(4)];
    way = handover_draw() % model_ways(last, true);
    model_rebuild(last, way, stage_now.dir);
    world_cut(last);
}

static void live_epoch(bool last)
{
    model_fail = on_call;
    model_lie = leave_out;
    model_start(stage_now.dir);
    for (unsigned i = 0; i < STEPS; i++) {
        if (handover_chance(6))
            actor_release_locks();
        stage_now.resolvable |= handover_chance(20);
        me.marked = false;
        step_of((int)handover_below(SPOOL_QUEUES));
    }
    model_fail = NULL;
    if (last) {
        live_to_the_end();
        say_where(model_count(), 0);
    }
    model_fail = on_call;
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        become(i);
        me.killed[i] = true;
        actor_end((enum spool_name)i, &me.killed[i]);
        me.killed[i] = false;
    }
    become(-1);
    actor_release_locks();
    model_fail = NULL;
    model_lie = NULL;
    stage_now.life->calls += model_count();
    if (!last)
        cut_power();
}

void handover_life_run(struct handover_life *l)
{
    begin(l);
    for (; me.epoch < l->epochs && l->fault[0] == '\0'; me.epoch++)
        live_epoch(me.epoch + 1 == l->epochs);
    model_stop();
    model_free();
    pool_free(&stage_now.blocks);
    kit_remove_tree(stage_now.dir);
    kit_remove_tree(me.other);
}
