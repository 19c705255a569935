/* power_consumer.c - the consumers of a life: scan, mark, deliver, reclaim,
 * write notices, start anew. */
#include "power_life.h"

#include "disk_model.h"
#include "mailbox_turn.h"
#include "spool_kit.h"

#include "base/crc32c.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { ITEMS = 256 };

struct item {
    struct spool_message item; /* first */
    bool used, known;
    struct record rec;
};
static struct consumer {
    struct spool_queue *store; /* NULL: it does not run */
    struct spool_writer *writer;
    struct mailbox_work *boxes;
    struct item item[ITEMS];
    const bool *killed;
    enum spool_name queue;
} consumers[SPOOL_QUEUES], *self; /* self: that takes a step */

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    for (size_t i = 0; i < ITEMS; i++)
        if (!self->item[i].used) {
            self->item[i].used = true;
            self->item[i].known = false;
            return &self->item[i].item;
        }
    return NULL;
}

static void look_around(void)
{
    struct body body;
    struct err e;

    self->store->look = true;
    (void)spool_queue_scan(self->store, on_found, NULL, &e);
    for (size_t i = 0; i < ITEMS; i++) {
        struct item *it = &self->item[i];
        if (!it->used || it->known ||
            spool_message_pin(self->store, &it->item, &body, &e) != 0)
            continue;
        struct spool_segment *pinned = it->item.segment;
        struct spool_reader v = { &it->item.rec, self->queue, body.fd,
                                  it->item.at, NULL };
        ck_assert_int_eq(letter_read(&it->rec, &v, true), 0);
        it->known = true;
        spool_message_unpin(self->store, pinned);
    }
}

static struct item *any_item(void)
{
    unsigned at = life_below(ITEMS);

    for (unsigned i = 0; i < ITEMS; i++, at++)
        if (self->item[at % ITEMS].used && self->item[at % ITEMS].known)
            return &self->item[at % ITEMS];
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
    struct spool_slot s = { .state = state,
                            .attempts = 1,
                            .status = { .code = 250 } };
    struct err e;

    if (p->nmarks == LETTER_MARKS)
        return;
    p->mark[p->nmarks] = (struct mark){ model_count(), NEVER, state };
    if (spool_slot_put(self->store, &it->item, slot, &s, &e) == 0)
        p->nmarks++;
}

static bool is_mine(uint32_t number)
{
    return letter_queue(number) == self->queue;
}

static bool is_over(const struct item *it)
{
    for (unsigned i = 0; i < it->rec.n; i++)
        if (!state_is_final(state_of(promise_of(it, i))))
            return false;
    return true;
}

static void on_answer(void *ctx, const struct mailbox_answer *a)
{
    if (a->outcome == MAILBOX_DELIVERED)
        put_mark(ctx, (unsigned)a->tag, SPOOL_DELIVERED);
}

/* Into mailboxes, in turns of the mailbox process.  A copy may be there from a
 * try before a crash, or before this consumer. */
static void deliver(struct item *it)
{
    struct mailbox_request r[LETTER_RCPTS];
    char sender[64], rcpt[LETTER_RCPTS][64];
    struct body body;
    size_t n = 0;
    struct err e;

    if (spool_message_pin(self->store, &it->item, &body, &e) != 0)
        return;
    struct spool_segment *pinned = it->item.segment;
    letter_sender(sender, it->rec.number);
    for (unsigned i = 0; i < it->rec.n; i++) {
        struct promise *p = promise_of(it, i);
        unsigned to = it->rec.rcpt[i];
        if (!letter_is_local(it->rec.number, to) ||
            state_is_final(state_of(p)) || p->ntried == LETTER_TRIES)
            continue;
        letter_rcpt(rcpt[i], to);
        r[n++] = (struct mailbox_request){
            .tag = i,
            .key = letter_box(it->rec.number, to),
            .reverse_path = span_of(sender),
            .delivered_to = span_of(rcpt[i]),
            .body = body,
            .id = it->item.rec.id,
            .part = it->item.rec.part,
            .slot = (uint16_t)i,
            .arrival = it->item.rec.arrival,
            .look_first = true,
        };
        p->tried[p->ntried++] = model_count();
    }
    size_t first = n > 1 ? life_below((unsigned)n) : 0;
    mailbox_turn_run_on(self->boxes, r, first, on_answer, it);
    mailbox_turn_run(self->boxes, r + first, n - first, on_answer, it);
    spool_message_unpin(self->store, pinned);
}

static void mark_remote(struct item *it)
{
    static const enum spool_state states[] = { SPOOL_DELIVERED, SPOOL_FAILED,
                                               SPOOL_HELD, SPOOL_PENDING };
    unsigned slot = life_below(it->rec.n);
    bool local = letter_is_local(it->rec.number, it->rec.rcpt[slot]);
    struct promise *p = promise_of(it, slot);

    if (p->nmarks + 1 < LETTER_MARKS && !state_is_final(state_of(p)))
        put_mark(it, slot, states[local ? 2 + life_below(2) : life_below(4)]);
}

static void finish(struct item *it)
{
    deliver(it);
    for (unsigned i = 0; i < it->rec.n; i++)
        if (!letter_is_local(it->rec.number, it->rec.rcpt[i]) &&
            !state_is_final(state_of(promise_of(it, i))))
            put_mark(it, i, SPOOL_DELIVERED);
    if (is_over(it)) {
        spool_message_done(self->store, &it->item);
        it->used = false;
    }
}

/* After a sync that failed nobody knows what its marks are worth; docs:
 * a mark that is lost is a duplicate. */
static void sync_marks(void)
{
    struct err e;
    size_t when = spool_queue_sync(self->store, &e) == 0 && !stage.faults
                      ? model_count()
                      : NEVER;

    for (uint32_t i = 0; i < nletters && !*self->killed; i++)
        for (unsigned r = 0; is_mine(i) && r < letters[i].nrcpt; r++) {
            struct promise *p = &letters[i].rcpt[r];
            for (size_t m = 0; m < p->nmarks; m++)
                if (p->mark[m].synced == NEVER)
                    p->mark[m].synced = when;
        }
}

static void reclaim(void)
{
    struct err e;

    while (spool_queue_reclaim(self->store, self->writer, &e) > 0 &&
           !life_chance(stage.life->unordered ? 1 : 3))
        ;
}

/* A notice: the consumer's own mail. */
static void write_notice(void)
{
    struct chain envelope = CHAIN_INIT, body = CHAIN_INIT;
    struct spool_submission m = { .arrival = 1, .flags = SPOOL_BOUNCE };
    char text[LETTER_SIZE];
    struct err e;

    if (nletters == LETTERS)
        return;
    unsigned n = 1 + life_below(3);
    uint32_t number =
        letter_new(life_below(1200), self->queue == SPOOL_REMOTE ? n : 0,
                   self->queue == SPOOL_LOCAL ? n : 0);
    struct letter *l = &letters[number];
    l->begun = model_count();
    letter_sender(text, number);
    spool_envelope_add(&envelope, stage.blocks, SPOOL_F_SENDER, span_of(text));
    for (unsigned r = 0; r < l->nrcpt; r++) {
        letter_rcpt(text, r);
        spool_envelope_add(&envelope, stage.blocks, SPOOL_F_RCPT,
                           span_of(text));
    }
    letter_body(number, 0, text, l->size);
    chain_add(&body, stage.blocks, text, l->size);
    m.nrcpt = l->nrcpt;
    m.envelope = &envelope;
    struct body as_body = body_of_chain(&body, crc32c(0, text, l->size));
    if (spool_writer_new_id(self->writer, &m.id, &e) == 0 &&
        spool_submit(self->writer, &m, &as_body, &e) == 0 &&
        spool_writer_commit(self->writer, &e) == 0 && !*self->killed)
        promise_kept_from(number, model_count());
    else
        spool_writer_rollback(self->writer);
    chain_clear(&envelope, stage.blocks);
    chain_clear(&body, stage.blocks);
}

/* Nobody syncs for one who was killed: his last marks may come to the disk by
 * themselves, or be lost with the power. */
static void orphan_marks(void)
{
    for (uint32_t i = 0; i < nletters; i++)
        for (unsigned r = 0; is_mine(i) && r < letters[i].nrcpt; r++) {
            struct promise *p = &letters[i].rcpt[r];
            for (size_t m = 0; m < p->nmarks; m++)
                if (p->mark[m].synced == NEVER)
                    p->mark[m].synced = ORPHAN;
        }
}

static void end(void)
{
    if (self->killed != NULL && *self->killed)
        orphan_marks();
    mailbox_turn_free(&self->boxes);
    spool_writer_close(&self->writer);
    spool_queue_close(&self->store);
    memset(self, 0, sizeof *self);
}

void consumer_end(enum spool_name queue)
{
    self = &consumers[queue];
    self->queue = queue;
    end();
}

static void begin(void)
{
    struct err e;

    stage.life->recoveries++;
    if (spool_queue_open(&self->store, stage.conf.queue_dir, self->queue, &e) !=
            0 ||
        spool_writer_open_sized(&self->writer, stage.conf.queue_dir,
                                self->queue, SEGMENT, &e) != 0 ||
        (self->boxes = mailbox_turn_new(&stage.conf)) == NULL) {
        end();
        return;
    }
    self->store->reclaim_items =
        stage.life->unordered ? 1 : 1 + (int)life_below(3);
    self->store->settled = stage.life->unordered;
}

/* Another may take a step in the middle of this one. */
void consumer_step(enum spool_name queue, const bool *killed)
{
    struct consumer *before = self;

    self = &consumers[queue];
    self->queue = queue;
    self->killed = killed;
    if (self->store == NULL) {
        begin();
    } else {
        struct item *it = any_item();
        unsigned what = life_below(20);
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
        else if (life_chance(3))
            end();
    }
    if (self->store != NULL && stage.life->unordered) {
        kit_forget_order(self->store);
        spool_segments_settle_all(self->store);
    }
    if (*killed)
        end();
    self = before;
}
