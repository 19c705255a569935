/* power_delivery_sender.c - the consumer of remote/: it sends and marks, one
 * recipient after the other. */
#include "power_delivery.h"

#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/writer.h"
#include "spool/writer_private.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGES = 128, TARGETS = 4 };

struct item {
    struct spool_message item; /* first */
    bool used, known;
    bool notice, by_owner;
    unsigned number, n;
    char target[TARGETS];
    enum spool_state state[TARGETS];
};
static struct {
    struct spool_queue *q; /* NULL: it does not run */
    struct spool_writer *writer;
    struct item item[MESSAGES];
} me;

/* --- records ----------------------------------------------------------------- */

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    struct item *it = ctx;
    char text[64];

    if (type == SPOOL_F_SENDER)
        it->by_owner =
            span_copy(text, sizeof text, s) && strncmp(text, "owner-", 6) == 0;
    if (type != SPOOL_F_RCPT)
        return 0;
    if (it->n == TARGETS || !span_copy(text, sizeof text, s))
        return -1;
    if (sscanf(text, "s%u@far.test", &it->number) == 1 && it->notice)
        it->target[it->n++] = 'n';
    else if (strcmp(text, "x@far.test") == 0 || strcmp(text, "y@far.test") == 0)
        it->target[it->n++] =
            (char)(it->by_owner ? text[0] ^ ('x' ^ 'X') : text[0]);
    else
        return -1;
    return 0;
}

/* False: not whole. */
static bool read_text(struct item *it, const struct spool_reader *v)
{
    static char text[2 * POST_TEXT];
    struct body_cursor c = { 0 };
    struct body b;
    struct err e;
    ssize_t got;
    size_t n = 0;

    if (spool_reader_body(v, &b, &e) != 0)
        return false;
    while ((got = body_next(&b, &c, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    int number = post_find(text, n);
    if (got < 0 || (number < 0 && !it->notice))
        return false;
    if (!it->notice)
        it->number = (unsigned)number;
    return true;
}

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    struct spool_slot slot;
    struct err e;

    (void)ctx;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct item *it = &me.item[i];
        if (it->used)
            continue;
        it->notice = (v->rec->flags & SPOOL_BOUNCE) != 0;
        it->n = 0;
        if (spool_reader_envelope(v, on_field, it, &e) != 0 ||
            it->n != v->rec->nrcpt || !read_text(it, v)) {
            post_complain("half a message is in remote/");
            return NULL;
        }
        for (unsigned r = 0; r < it->n; r++) {
            bool there = spool_reader_slot(v, r, &slot, &e) == 0;
            it->state[r] = there ? slot.state : SPOOL_DELETED;
        }
        delivery_stage.life->children += v->rec->part != 0;
        it->used = true;
        return &it->item;
    }
    return NULL;
}

/* --- steps -------------------------------------------------------------------- */

static void look_around(void)
{
    struct err e;

    me.q->look = true;
    (void)spool_queue_scan(me.q, on_found, NULL, &e);
}

static bool is_over(const struct item *it)
{
    for (unsigned i = 0; i < it->n; i++)
        if (it->state[i] == SPOOL_PENDING)
            return false;
    return true;
}

static bool send_one(struct item *it)
{
    const struct spool_slot s = { .state = SPOOL_DELIVERED, .attempts = 1 };
    unsigned i = 0;
    struct err e;

    while (i < it->n && it->state[i] != SPOOL_PENDING)
        i++;
    if (i < it->n) {
        post_sent(it->number, it->target[i]);
        if (spool_slot_put(me.q, &it->item, i, &s, &e) == 0)
            post_sent_marked(it->number, it->target[i]);
        it->state[i] = SPOOL_DELIVERED;
    }
    if (is_over(it)) {
        spool_message_done(me.q, &it->item);
        it->used = false;
    }
    return true;
}

static void sync_marks(void)
{
    struct err e;

    if (spool_queue_sync(me.q, &e) == 0)
        post_marks_synced();
    else
        post_marks_stay_unsynced();
}

static void start(void)
{
    struct err e;

    if (spool_queue_open(&me.q, delivery_stage.conf.queue_dir, SPOOL_REMOTE,
                         &e) != 0 ||
        spool_writer_open_sized(&me.writer, delivery_stage.conf.queue_dir,
                                SPOOL_REMOTE, POST_SEGMENT, &e) != 0)
        sender_gone();
    else
        me.q->reclaim_items = 1 + (int)delivery_below(3);
}

static struct item *any_item(void)
{
    unsigned at = delivery_below(MESSAGES);

    for (unsigned i = 0; i < MESSAGES; i++, at++)
        if (me.item[at % MESSAGES].used)
            return &me.item[at % MESSAGES];
    return NULL;
}

void sender_step(const bool *killed)
{
    struct item *it = any_item();
    unsigned what = delivery_below(16);
    struct err e;

    if (me.q == NULL)
        start();
    else if (what < 5 || (it == NULL && what < 10))
        look_around();
    else if (what < 10)
        (void)send_one(it);
    else if (what < 12)
        sync_marks();
    else if (what < 15)
        (void)spool_queue_reclaim(me.q, me.writer, &e);
    else if (delivery_chance(3))
        sender_stop();
    if (*killed)
        sender_gone();
}

void sender_gone(void)
{
    post_marks_stay_unsynced();
    spool_writer_close(&me.writer);
    spool_queue_close(&me.q);
    memset(&me, 0, sizeof me);
}

void sender_stop(void)
{
    if (me.q == NULL)
        return;
    for (int i = 0; i < 3; i++) {
        look_around();
        sync_marks();
    }
    spool_writer_close(&me.writer);
    spool_queue_close(&me.q);
    memset(&me, 0, sizeof me);
}

void sender_finish(void)
{
    if (me.q == NULL)
        start();
    if (me.q == NULL) {
        post_complain("the sender does not start");
        return;
    }
    look_around();
    spool_segments_settle_all(me.q);
    for (size_t i = 0; i < MESSAGES; i++)
        while (me.item[i].used)
            (void)send_one(&me.item[i]);
    sync_marks();
}
