/* test_send_wrong_queue.c - mail in remote/ whose domain is ours, and notices
 * to senders of ours. */
#include "queue/handover.h"
#include "sched_rig.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "spool/envelope.h"
#include "spool/reader.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
};

static struct sched_rig *r;
static struct err e;

static void open_rig(void)
{
    r = sched_rig_open(NULL);
    r->mx = zone;
    r->nmx = 1;
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

/* --- what is in the queues ------------------------------------------------ */

struct seen {
    size_t records, notices, held, pending;
    uint64_t part;
    char rcpts[256];
    char reply[SPOOL_REPLY_MAX + 2];
};
static struct seen seen[SPOOL_QUEUES];

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct seen *s = ctx;
    size_t n = strlen(s->rcpts);

    if (type == SPOOL_F_RCPT)
        snprintf(s->rcpts + n, sizeof s->rcpts - n, "%.*s ", (int)content.n,
                 content.p);
    return 0;
}

static int on_record(void *ctx, const struct spool_reader *v)
{
    struct seen *s = &seen[v->queue];
    struct spool_slot slot;

    (void)ctx;
    s->records++;
    s->notices += (v->rec->flags & SPOOL_BOUNCE) != 0;
    s->part = v->rec->part;
    for (uint32_t i = 0; i < v->rec->nrcpt; i++) {
        ck_assert_int_eq(spool_reader_slot(v, i, &slot, &e), 0);
        s->pending += slot.state == SPOOL_PENDING;
        s->held += slot.state == SPOOL_HELD;
        if (slot.reply[0] != '\0')
            memcpy(s->reply, slot.reply, sizeof s->reply);
    }
    return spool_reader_envelope(v, on_field, s, &e);
}

static void look(void)
{
    memset(seen, 0, sizeof seen);
    ck_assert_int_eq(spool_read_all(r->dir, false, on_record, NULL, &e), 0);
}

/* --- handed over ---------------------------------------------------------- */

/* All of a message in one step; what is for others stays. */
START_TEST(mail_for_us_goes_to_the_other_queue)
{
    sched_rig_add(r, "s@one.test", "a@rig.test,b@one.test,c@RIG.test");
    sched_rig_turn(r);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].records, 1);
    ck_assert_uint_eq(seen[SPOOL_LOCAL].part, 1);
    ck_assert_str_eq(seen[SPOOL_LOCAL].rcpts, "a@rig.test c@RIG.test ");
    ck_assert_uint_eq(seen[SPOOL_REMOTE].pending, 1);
    struct delivery *j = sched_rig_next(r);
    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(j->rcpt[0].address, "b@one.test");
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_ptr_null(sched_rig_next(r));
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

START_TEST(more_than_a_delivery_holds)
{
    static char rcpts[300 * 16];

    for (int i = 0; i < 300; i++)
        snprintf(rcpts + strlen(rcpts), sizeof rcpts - strlen(rcpts),
                 "%su%d@rig.test", i > 0 ? "," : "", i);
    sched_rig_add(r, "s@one.test", rcpts);
    sched_rig_add(r, "", "postmaster@rig.test");
    sched_rig_turn(r);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].records, 2);
    ck_assert_uint_eq(seen[SPOOL_LOCAL].pending, 301);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* --- handed back? --------------------------------------------------------- */

/* As the delivery process hands it over: a child in remote/. */
static void add_child(uint64_t part, uint64_t tables)
{
    static const struct spool_writer_kind kind = { .name = SPOOL_REMOTE,
                                                   .children = 1,
                                                   .segment_size = 1 << 20 };
    struct chain env = CHAIN_INIT, body = CHAIN_INIT;
    struct pool *blocks = r->s.queue.notice.blocks;
    struct spool_submission m = {
        .part = part, .arrival = clock_wall_us(), .nrcpt = 1, .envelope = &env
    };
    const struct body text = body_of_chain(&body, 0);
    struct spool_writer *w;
    unsigned char since[8];

    for (int i = 0; i < 8; i++)
        since[i] = (unsigned char)(tables >> 8 * i);
    ck_assert(
        spool_envelope_add(&env, blocks, SPOOL_F_SENDER,
                           SPAN_LIT("s@one.test")) &&
        spool_envelope_add(&env, blocks, SPOOL_F_TABLES,
                           (struct span){ (char *)since, sizeof since }) &&
        spool_envelope_add(&env, blocks, SPOOL_F_RCPT, SPAN_LIT("a@rig.test")));
    ck_assert_msg(spool_writer_open_as(&w, r->dir, &kind, &e) == 0 &&
                      spool_writer_new_id(w, &m.id, &e) == 0 &&
                      spool_submit(w, &m, &text, &e) == 0 &&
                      spool_writer_commit(w, &e) == 0,
                  "%s", e.text);
    spool_writer_close(&w);
    chain_clear(&env, blocks);
    sched_rig_turn(r);
}

START_TEST(older_tables_had_another_domain)
{
    add_child(1, r->s.queue.handover.tables - 1);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].pending, 1);
    ck_assert_uint_eq(seen[SPOOL_LOCAL].part, 0x10001);
    ck_assert_uint_eq(seen[SPOOL_REMOTE].pending, 0);
}
END_TEST

/* Neither counted nor returned. */
START_TEST(the_same_tables_hand_nothing_back)
{
    add_child(1, r->s.queue.handover.tables);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].records, 0);
    ck_assert_uint_eq(seen[SPOOL_REMOTE].pending, 1);
    ck_assert_ptr_nonnull(strstr(seen[SPOOL_REMOTE].reply, "remote one"));
    for (int i = 0; i < 3; i++)
        sched_rig_wait(r, (unsigned)r->conf.send.retry_min + 1);
    look();
    ck_assert_uint_eq(seen[SPOOL_REMOTE].pending, 1);
    while (clock_wall_us() <= r->s.queue.handover.tables)
        ;
    queue_tables_renewed(&r->s.queue);
    sched_rig_wait(r, (unsigned)r->conf.send.retry_min + 1);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].pending, 1);
    ck_assert_uint_eq(sched_rig_pending(r), 0);
}
END_TEST

/* The last level: it went to and fro. */
START_TEST(a_loop_of_queues_bounces)
{
    add_child(0x4000300020001, 0);
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].records, 0);
    ck_assert_uint_eq(seen[SPOOL_REMOTE].notices, 1);
    ck_assert_uint_eq(seen[SPOOL_REMOTE].records, 1);
}
END_TEST

/* --- notices -------------------------------------------------------------- */

START_TEST(a_notice_for_us_goes_to_the_other_queue)
{
    sched_rig_add(r, _i == 0 ? "s@rig.test" : "s@one.test", "b@one.test");
    sched_rig_turn(r);
    sched_rig_back(r, sched_rig_next(r), OUTCOME_FAILED, "5.1.1", "no");
    look();
    ck_assert_uint_eq(seen[SPOOL_LOCAL].notices, _i == 0 ? 1 : 0);
    ck_assert_uint_eq(seen[SPOOL_REMOTE].notices, _i == 0 ? 0 : 1);
    ck_assert_str_eq(seen[_i].rcpts, _i == 0 ? "s@rig.test " : "s@one.test ");
}
END_TEST

Suite *send_wrong_queue_suite(void);
Suite *send_wrong_queue_suite(void)
{
    Suite *s = suite_create("send.wrong_queue");
    TCase *t = tcase_create("local");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_test(t, mail_for_us_goes_to_the_other_queue);
    tcase_add_test(t, more_than_a_delivery_holds);
    tcase_add_test(t, older_tables_had_another_domain);
    tcase_add_test(t, the_same_tables_hand_nothing_back);
    tcase_add_test(t, a_loop_of_queues_bounces);
    tcase_add_loop_test(t, a_notice_for_us_goes_to_the_other_queue, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
