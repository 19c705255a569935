/* handover_actors.c - the deliverer, which consumes local/ and hands over, and
 * the sender, which consumes remote/. */
#include "handover_life.h"

#include "disk_model.h"
#include "spool_kit.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/submit.h"
#include "spool/unlink_order_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SEGMENT = 16 * 1024, SOLO_SEGMENT = 320 * 1024, LINGERING = 8 };

struct item {
    struct spool_message item;
    bool used;
    struct handover_record rec;
    enum spool_state state[TARGETS];
};
static struct actor {
    struct spool_queue *q; /* NULL: it does not run */
    struct spool_writer *w[SPOOL_QUEUES];
    struct spool_handover *h;
    struct spool_child child; /* stays until it is marked */
    uint16_t slots[TARGETS];
    struct item *parent; /* of the child, until then */
    struct item item[MESSAGES];
} actors[SPOOL_QUEUES];
static int lingering[LINGERING];
static size_t nlingering;

static bool without(enum handover_rule rule)
{
    return stage_now.life->without == rule;
}

/* --- any consumer --------------------------------------------------------- */

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    struct actor *a = ctx;
    struct spool_slot slot;
    struct err e;

    for (size_t i = 0; i < MESSAGES; i++) {
        struct item *it = &a->item[i];
        if (it->used)
            continue;
        if (handover_record_read(&it->rec, v) != 0) {
            world_fault("half a record is shown");
            return NULL;
        }
        for (unsigned r = 0; r < it->rec.n; r++) {
            /* killed: it sees nothing any more */
            bool there = spool_reader_slot(v, r, &slot, &e) == 0;
            it->state[r] = there ? slot.state : SPOOL_DELETED;
        }
        it->used = true;
        return &it->item;
    }
    return NULL;
}

/* Segments without their order, or without what holds them. */
static void bend(struct actor *a)
{
    struct spool_queue *q = a->q;

    if (without(COPY_ORDER)) {
        q->settled = true;
        kit_forget_order(q);
        spool_segments_settle_all(q);
    } else if (without(PIN)) {
        for (struct list *l = q->all.next; l != &q->all; l = l->next)
            LIST_ENTRY(l, struct spool_segment, link)->children = 0;
        spool_segments_settle_all(q);
    }
}

static void look_around(struct actor *a)
{
    struct err e;

    a->q->look = true;
    (void)spool_queue_scan(a->q, on_found, a, &e);
    bend(a);
}

static bool is_over(const struct item *it)
{
    for (unsigned i = 0; i < it->rec.n; i++)
        if (it->state[i] == SPOOL_PENDING)
            return false;
    return true;
}

static void done_if_over(struct actor *a, struct item *it)
{
    if (!is_over(it))
        return;
    spool_message_done(a->q, &it->item);
    it->used = false;
    bend(a);
}

static struct item *any_item(struct actor *a)
{
    unsigned at = handover_below(MESSAGES);

    for (unsigned i = 0; i < MESSAGES; i++, at++)
        if (a->item[at % MESSAGES].used)
            return &a->item[at % MESSAGES];
    return NULL;
}

static void deliver(struct actor *a, struct item *it, unsigned slot)
{
    struct spool_slot s = { .state = SPOOL_DELIVERED, .attempts = 1 };
    struct err e;

    world_act(&it->rec, it->rec.name[slot]);
    if (spool_slot_put(a->q, &it->item, slot, &s, &e) == 0)
        world_marked(&it->rec, it->rec.name[slot]);
    it->state[slot] = SPOOL_DELIVERED;
    done_if_over(a, it);
}

static void sync_marks(struct actor *a, enum spool_name queue)
{
    struct err e;

    if (spool_queue_sync(a->q, &e) == 0)
        world_synced(queue);
    else
        world_killed(queue); /* no later sync covers them */
    bend(a);
}

static void reclaim(struct actor *a, struct spool_writer *w)
{
    struct err e;

    if (w != NULL)
        (void)spool_queue_reclaim(a->q, w, &e);
    bend(a);
}

static int open_writer(struct spool_writer **w, enum spool_name name,
                       uint32_t children)
{
    const struct spool_writer_kind kind = {
        name, children, stage_now.life->scene->solo ? SOLO_SEGMENT : SEGMENT
    };
    struct err e;

    return spool_writer_open_as(w, stage_now.dir, &kind, &e);
}

static void leave(struct actor *a)
{
    spool_handover_close(&a->h);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        spool_writer_close(&a->w[i]);
}

/* --- a start of the deliverer --------------------------------------------- */

/* Make a segment look as if all its children were confirmed. */
static int on_segment(void *ctx, uint64_t id, enum spool_kind kind,
                      struct err *e)
{
    struct spool_segment_header h;
    enum spool_check check;
    char path[SPOOL_PATH];

    (void)e;
    spool_path(path, ctx, id, kind);
    int fd = kind == SPOOL_SEG ? fs_open(path, O_RDWR, 0) : -1;
    if (fd < 0)
        return 0;
    bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (!locked)
        flock(fd, LOCK_UN);
    if (spool_header_read(fd, &h, &check) == 0 && h.children != 0 &&
        ((without(CLOSED_TOO) && h.closed) || (without(ANY_LOCK) && locked)))
        spool_confirmed_write(fd, id, h.closed ? h.committed : SEGMENT);
    fs_close(fd);
    return 0;
}

static void pass_over_some(void)
{
    char dir[SPOOL_DIR];
    struct err e;

    for (int i = 0; i < SPOOL_QUEUES; i++) {
        ck_assert_int_eq(spool_dir(dir, stage_now.dir, (enum spool_name)i, &e),
                         0);
        (void)spool_each(dir, on_segment, dir, &e);
    }
}

/* The copies of reclaim in local/, as they are before the start. */
static struct copies {
    struct {
        uint64_t segment, at;
        uint32_t n;
        enum spool_state state[TARGETS];
    } of[MESSAGES];
    size_t n;
} copies;

static int on_copy(void *ctx, const struct spool_reader *v)
{
    struct spool_slot slot;
    struct err e;

    (void)ctx;
    if (v->queue != SPOOL_LOCAL || v->rec->generation == 0 ||
        copies.n == MESSAGES)
        return 0;
    copies.of[copies.n].segment = v->rec->segment;
    copies.of[copies.n].at = v->at;
    copies.of[copies.n].n = v->rec->nrcpt;
    for (uint32_t i = 0; i < v->rec->nrcpt; i++)
        if (spool_reader_slot(v, i, &slot, &e) == 0)
            copies.of[copies.n].state[i] = slot.state;
    copies.n++;
    return 0;
}

/* As if older copies had been marked in their place. */
static void unmark_copies(const char *dir)
{
    static const unsigned char nothing[SPOOL_SLOT];
    char path[SPOOL_PATH];

    for (size_t i = 0; i < copies.n; i++) {
        spool_path(path, dir, copies.of[i].segment, SPOOL_SEG);
        int fd = fs_open(path, O_RDWR, 0);
        for (uint32_t s = 0; fd >= 0 && s < copies.of[i].n; s++)
            if (copies.of[i].state[s] == SPOOL_PENDING)
                fs_pwrite_all(fd, nothing, sizeof nothing,
                              (off_t)(copies.of[i].at + spool_slot_at(s)));
        if (fd >= 0)
            fs_close(fd);
    }
}

static int look_back(struct actor *a)
{
    struct err e;
    int rc;

    if (without(AT_START))
        return 0;
    if (without(CLOSED_TOO) || without(ANY_LOCK))
        pass_over_some();
    copies.n = 0;
    if (without(NEWEST))
        (void)spool_read_all(stage_now.dir, true, on_copy, NULL, &e);
    stage_now.phase[SPOOL_LOCAL] = STARTING;
    rc = spool_handover_start(a->q, stage_now.dir, &e);
    stage_now.phase[SPOOL_LOCAL] = OPENING;
    if (without(NEWEST))
        unmark_copies(a->q->dir);
    return rc;
}

static void start(enum spool_name queue)
{
    struct actor *a = &actors[queue];
    struct err e;

    memset(a, 0, sizeof *a);
    stage_now.phase[queue] = OPENING;
    if (spool_queue_open(&a->q, stage_now.dir, queue, &e) == 0) {
        a->q->reclaim_items = 1;
        bool ok =
            queue == SPOOL_LOCAL
                ? look_back(a) == 0 &&
                      open_writer(&a->w[SPOOL_LOCAL], SPOOL_LOCAL, 1) == 0 &&
                      open_writer(&a->w[SPOOL_REMOTE], SPOOL_REMOTE, 1) == 0 &&
                      spool_handover_open(&a->h, a->q, a->w, &e) == 0
                : !stage_now.life->scene->reclaim ||
                      open_writer(&a->w[SPOOL_REMOTE], SPOOL_REMOTE, 0) == 0;
        if (!ok) {
            leave(a);
            spool_queue_close(&a->q);
        }
    }
    stage_now.phase[queue] = NO_PHASE;
}

/* --- what the deliverer does ---------------------------------------------- */

static bool needs(const struct item *it, unsigned slot)
{
    char name = it->rec.name[slot];

    return it->state[slot] == SPOOL_PENDING && name != 'm' &&
           (name != 'E' || stage_now.resolvable);
}

/* The slots that can be resolved now, and what they stand for. */
static unsigned choose(const struct item *it, uint16_t slots[TARGETS],
                       char targets[TARGETS + 1])
{
    unsigned n = 0;
    size_t nt = 0;

    for (unsigned i = 0; i < it->rec.n; i++) {
        if (!needs(it, i))
            continue;
        slots[n++] = (uint16_t)i;
        for (const char *t = handover_expand(it->rec.name[i]); *t != '\0'; t++)
            if (memchr(targets, *t, nt) == NULL)
                targets[nt++] = *t;
    }
    targets[nt] = '\0';
    return n;
}

static void make_envelope(struct chain *c, const char *targets)
{
    struct pool *blocks = stage_now.blocks;
    char text[16];

    snprintf(text, sizeof text, "%u", ++stage_now.children);
    ck_assert(spool_envelope_add(c, blocks, SPOOL_F_SENDER, span_of("x")) &&
              spool_envelope_add(c, blocks, SPOOL_F_SID, span_of(text)));
    for (; *targets != '\0'; targets++)
        ck_assert(spool_envelope_add(c, blocks, SPOOL_F_RCPT,
                                     (struct span){ targets, 1 }));
}

static void write_words(struct actor *a)
{
    struct err e;

    for (int i = 0; i < SPOOL_QUEUES; i++)
        (void)spool_handover_write_words(a->w[i], &e);
}

static int append(struct actor *a, struct item *it, struct spool_child *c)
{
    struct body body;
    struct err e;

    if (spool_message_pin(a->q, &it->item, &body, &e) != 0)
        return -1;
    struct spool_segment *pinned = it->item.segment;
    if (it->rec.parent != UINT64_MAX)
        world_act(&it->rec, '*');
    int rc = spool_handover_append(a->h, c, &body, &e);
    spool_message_unpin(a->q, pinned);
    return rc;
}

/* When its marks are written, be it by a later try. */
static void settle_child(struct actor *a)
{
    struct item *it = a->parent;

    if (it == NULL || list_linked(&a->child.link))
        return;
    a->parent = NULL;
    for (uint32_t i = 0; i < a->child.nslots && !a->child.failed; i++)
        it->state[a->child.slots[i]] = SPOOL_EXPANDED;
    stage_now.life->children += !a->child.failed;
    done_if_over(a, it);
}

static void finish_step(struct actor *a)
{
    struct err e;

    stage_now.phase[SPOOL_LOCAL] = COMMITTING;
    int rc = spool_handover_commit(a->h, &e);
    stage_now.phase[SPOOL_LOCAL] = NO_PHASE;
    if (rc == 0 && without(SNAPSHOT)) {
        (void)spool_queue_sync(a->q, &e);
        write_words(a);
    }
    (void)spool_handover_mark(a->h, &e);
    settle_child(a);
}

static bool hand_over(struct actor *a, struct item *it)
{
    struct chain envelope = CHAIN_INIT;
    char targets[TARGETS + 1];
    struct spool_child *c = &a->child;

    if (a->parent != NULL) {
        finish_step(a);
        return true;
    }
    *c = (struct spool_child){ .parent = &it->item,
                               .slots = a->slots,
                               .nslots = choose(it, a->slots, targets),
                               .to = SPOOL_REMOTE,
                               .envelope = &envelope,
                               .blocks = stage_now.blocks };
    if (c->nslots == 0)
        return false;
    c->m.arrival = 1;
    c->m.nrcpt = (uint32_t)strlen(targets);
    if (strchr(targets, 'm') != NULL)
        c->to = SPOOL_LOCAL;
    make_envelope(&envelope, targets);
    if (append(a, it, c) == 0) {
        a->parent = it;
        finish_step(a);
    }
    chain_clear(&envelope, stage_now.blocks);
    return true;
}

static bool work_on(struct actor *a, struct item *it)
{
    for (unsigned i = 0; i < it->rec.n; i++)
        if (it->rec.name[i] == 'm' && it->state[i] == SPOOL_PENDING) {
            deliver(a, it, i);
            return true;
        }
    return hand_over(a, it);
}

static void confirm(struct actor *a)
{
    struct err e;
    int rc;

    stage_now.phase[SPOOL_LOCAL] = CONFIRMING;
    if (without(AFTER)) {
        (void)spool_handover_mark(a->h, &e);
        write_words(a);
    }
    rc = spool_handover_confirm(a->h, &e);
    stage_now.phase[SPOOL_LOCAL] = NO_PHASE;
    if (rc == 0)
        world_synced(SPOOL_LOCAL);
    else
        world_killed(SPOOL_LOCAL);
    settle_child(a);
    bend(a);
}

static void bounce(struct actor *a)
{
    struct chain envelope = CHAIN_INIT, text = CHAIN_INIT;
    struct spool_submission m = {
        .arrival = 1, .nrcpt = 1, .flags = SPOOL_BOUNCE, .envelope = &envelope
    };
    const struct body body = body_of_chain(&text, 0);
    struct spool_writer *w = a->w[SPOOL_REMOTE];
    struct err e;

    if (a->parent != NULL) /* its marks first */
        return;
    make_envelope(&envelope, "r");
    if (spool_writer_new_id(w, &m.id, &e) == 0 &&
        spool_submit(w, &m, &body, &e) == 0)
        (void)spool_handover_commit(a->h, &e);
    if (without(TAIL))
        w->confirmed = w->f.h.committed;
    chain_clear(&envelope, stage_now.blocks);
}

/* Leave a segment. */
static void turn_over(struct actor *a)
{
    struct spool_writer *w = a->w[handover_below(SPOOL_QUEUES)];
    struct err e;

    if (w->f.fd < 0 || w->f.h.committed == SPOOL_SEGMENT_HEADER)
        return;
    w->f.size = w->f.h.committed;
    (void)spool_writer_reserve(w, SPOOL_ALIGN, &e);
    bend(a);
}

static bool step_deliverer(struct actor *a)
{
    struct item *it = any_item(a);
    const struct handover_scene *scene = stage_now.life->scene;
    unsigned what = handover_below(20);

    if (what < 4 || (it == NULL && what < 8))
        look_around(a);
    else if (what < 11 && it != NULL)
        return work_on(a, it);
    else if (what < 14)
        confirm(a);
    else if (what < 15)
        turn_over(a);
    else if (what < 16)
        sync_marks(a, SPOOL_LOCAL);
    else if (what < 18 && scene->reclaim)
        reclaim(a, a->w[SPOOL_LOCAL]);
    else if (what < 19 && scene->bounce && handover_chance(2))
        bounce(a);
    else if (what == 19 && handover_chance(3))
        actor_stop(SPOOL_LOCAL);
    return true;
}

/* --- what the sender does ------------------------------------------------- */

static bool send_one(struct actor *a, struct item *it)
{
    for (unsigned i = 0; i < it->rec.n; i++)
        if (it->state[i] == SPOOL_PENDING) {
            deliver(a, it, i);
            return true;
        }
    return false;
}

static void step_sender(struct actor *a)
{
    struct item *it = any_item(a);
    unsigned what = handover_below(16);

    if (what < 5 || (it == NULL && what < 8))
        look_around(a);
    else if (what < 10 && it != NULL)
        (void)send_one(a, it);
    else if (what < 12)
        sync_marks(a, SPOOL_REMOTE);
    else if (what < 14 && stage_now.life->scene->reclaim)
        reclaim(a, a->w[SPOOL_REMOTE]);
    else if (what == 15 && handover_chance(3))
        actor_stop(SPOOL_REMOTE);
}

/* It ends after a sync that failed. */
static bool is_lost(struct actor *a)
{
    if (a->h == NULL || !spool_handover_lost(a->h))
        return false;
    if (!without(LOST_SYNC))
        return true;
    a->q->unsynced = false;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        a->w[i]->unsure = false;
    return false;
}

/* --- from outside --------------------------------------------------------- */

bool actor_step(enum spool_name queue, const bool *killed)
{
    struct actor *a = &actors[queue];
    bool work = true;

    if (a->q == NULL)
        start(queue);
    else if (queue == SPOOL_LOCAL)
        work = step_deliverer(a);
    else
        step_sender(a);
    if (*killed || is_lost(a))
        actor_end(queue, killed);
    return work;
}

static void keep_lock(const struct spool_writer *w)
{
    char path[SPOOL_PATH];

    if (w == NULL || w->f.fd < 0 || nlingering == LINGERING)
        return;
    spool_path(path, w->dir, w->f.h.id, SPOOL_SEG);
    lingering[nlingering++] = open(path, O_RDWR | O_CLOEXEC);
}

void actor_release_locks(void)
{
    while (nlingering > 0)
        if (lingering[--nlingering] >= 0)
            close(lingering[nlingering]);
}

void actor_end(enum spool_name queue, const bool *killed)
{
    struct actor *a = &actors[queue];
    bool linger = *killed && queue == SPOOL_LOCAL &&
                  stage_now.life->scene->linger && handover_chance(2);

    world_killed(queue);
    for (int i = 0; i < SPOOL_QUEUES && linger; i++)
        keep_lock(a->w[i]);
    if (a->q != NULL) {
        leave(a);
        spool_queue_close(&a->q);
    }
    for (size_t i = 0; i < nlingering && linger; i++)
        flock(lingering[i], LOCK_EX | LOCK_NB);
    memset(a, 0, sizeof *a);
    stage_now.phase[queue] = NO_PHASE;
}

void actor_stop(enum spool_name queue)
{
    struct actor *a = &actors[queue];

    if (a->q == NULL)
        return;
    if (queue == SPOOL_LOCAL)
        confirm(a);
    leave(a);
    for (int i = 0; i < 3; i++) {
        look_around(a);
        sync_marks(a, queue);
    }
    spool_queue_close(&a->q);
    memset(a, 0, sizeof *a);
}

static bool work_on_all(enum spool_name queue)
{
    struct actor *a = &actors[queue];
    bool any = false;

    for (size_t i = 0; i < MESSAGES; i++)
        for (int n = 0; n < TARGETS && a->item[i].used; n++)
            any |= queue == SPOOL_LOCAL ? work_on(a, &a->item[i])
                                        : send_one(a, &a->item[i]);
    return any;
}

void actor_finish(enum spool_name queue)
{
    struct actor *a = &actors[queue];

    if (a->q == NULL)
        start(queue);
    if (a->q == NULL) {
        world_fault("the consumer of %s does not start",
                    spool_name_text(queue));
        return;
    }
    look_around(a);
    spool_segments_settle_all(a->q);
    for (int i = 0; i < 8 && work_on_all(queue); i++)
        look_around(a);
    if (queue == SPOOL_LOCAL)
        confirm(a);
    else
        sync_marks(a, queue);
}
