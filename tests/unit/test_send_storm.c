/* test_send_storm.c - hosts that fail in all ways at random, from a seed: no
 * recipient is ever lost by the scheduler.  When the hosts are well again, all
 * mail leaves within the longest time that a host is shut and mail backs off;
 * where a provider has slowed us down, at the pace that it left.
 */
#include "sched_rig.h"

#include "send/pace.h"
#include "send/pace_rate.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 48, STEPS = 600, RETRY_MAX = 600, SHUT_MAX = 1800 };

static struct sched_rig *r;
static uint64_t state;

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
    { "two.test", MX_OK, { "mx.two.test" }, { "127.0.1.1" } },
    { "ranks.test",
      MX_OK,
      { "a.test", "b.test", "c.test" },
      { "127.0.2.1", "127.0.2.2", "127.0.1.1" } },
    { "pair.test",
      MX_OK,
      { "b.test", "d.test" },
      { "127.0.2.2", "127.0.2.4" } },
};

static const struct sched_rig_mx moved[] = {
    { "one.test", MX_OK, { "d.test" }, { "127.0.2.4" } },
    { "two.test", MX_OK, { NULL }, { NULL } },
    { "ranks.test",
      MX_OK,
      { "c.test", "a.test" },
      { "127.0.1.1", "127.0.2.1" } },
    { "pair.test", MX_OK, { "d.test" }, { "127.0.2.4" } },
};

static unsigned chance(unsigned n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

static void open_rig(void)
{
    static const char *const settings[] = {
        "send.retry_max=10m", "send.providers=big=b.test,big=d.test", NULL
    };

    r = sched_rig_open(settings);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
}

static void close_rig(void)
{
    sched_rig_close(&r);
}

/* What the session has not begun comes back untouched. */
static void end(struct send_session *s, struct send_session_end e)
{
    struct list mine, *l;

    list_init(&mine);
    list_splice(&mine, &r->given);
    while ((l = list_pop(&mine)) != NULL) {
        struct delivery *j =
            delivery_of_note(LIST_ENTRY(l, struct work_item, link));
        list_push(&r->given, l);
        if (send_delivery_of(j)->session == s)
            sched_rig_effect(r, j, MAIL_UNTOUCHED, "");
    }
    e.fault = e.lane >= LANE_REOPENS;
    e.mail = chance(2) ? MAIL_MOVES_ON : MAIL_UNTOUCHED;
    e.unanswered = chance(2);
    if (e.lane != LANE_GOES_ON)
        answer_set(&e.why, OUTCOME_DEFERRED, "4.4.2", "lost connection");
    if (e.lane == LANE_SLOWS && chance(2))
        e.why.refusal = REFUSAL_SESSIONS;
    sched_rig_end(r, s, &e);
}

static void answer(struct delivery *j)
{
    static const struct {
        enum fault_mail mail;
        const char *reply;
        enum fault_lane lane;
        bool ends, lost, refused;
    } fates[] = {
        { MAIL_ATTEMPT, "451 4.3.0 later", LANE_GOES_ON, 0, 0, 0 },
        { MAIL_NEXT_MX, "450 4.2.0 later", LANE_GOES_ON, 0, 0, 0 },
        { MAIL_BOUNCES, "550 5.1.1 no user", LANE_GOES_ON, 0, 0, 0 },
        { MAIL_AGAIN, "452 4.5.3 enough", LANE_GOES_ON, 0, 0, 0 },
        { MAIL_ATTEMPT, "452 4.3.1 no room", LANE_GOES_ON, 1, 0, 1 },
        { MAIL_ATTEMPT, "451 4.7.28 slower", LANE_SLOWS, 1, 0, 0 },
        { MAIL_ATTEMPT, "550 5.7.1 on our block list (S3150)", LANE_STOPS, 1, 0,
          0 },
        { MAIL_UNTOUCHED, "", LANE_LEAVES, 1, 0, 0 },
        { MAIL_AGAIN, "500 BDAT", LANE_REOPENS, 1, 0, 0 },
        { MAIL_ATTEMPT, "421 4.4.2 bye", LANE_REOPENS, 1, 1, 0 },
        { MAIL_SUSPECT, "lost connection", LANE_REOPENS, 1, 1, 0 },
        { MAIL_SUSPECT, "lost connection", LANE_REOPENS, 1, 1, 0 },
        { MAIL_MOVES_ON, "refused", LANE_SHUTS, 1, 0, 0 },
        { MAIL_MOVES_ON, "timed out", LANE_SHUTS, 1, 0, 0 },
        { MAIL_LOOPS, "our own name", LANE_LEAVES, 1, 0, 0 },
        { MAIL_WAITS, "message cannot be read", LANE_CUTS, 1, 0, 0 },
        { MAIL_UNTOUCHED, "", LANE_GOES_ON, 1, 0, 0 },
    };
    struct send_session *s = send_delivery_of(j)->session;
    struct msg_id id = j->id;
    unsigned i = chance(sizeof fates / sizeof fates[0]);

    sched_rig_effect(r, j, fates[i].mail, fates[i].reply);
    if (fates[i].ends)
        end(s, (struct send_session_end){ .lane = fates[i].lane,
                                          .local = chance(20) == 0,
                                          .delivered = chance(5) == 0,
                                          .lost = fates[i].lost,
                                          .lost_id = id,
                                          .refused = fates[i].refused,
                                          .refused_id = id });
}

static void add(void)
{
    char to[8192] = "";
    size_t n = 0;
    unsigned many = chance(20) == 0 ? 150 + chance(150) : 1 + chance(3);

    for (unsigned i = 0; i < many; i++)
        n += (size_t)snprintf(to + n, sizeof to - n, "%su%u@%s",
                              i > 0 ? "," : "", i, zone[chance(4)].domain);
    sched_rig_add(r, chance(2) ? "s@here.test" : "t@here.test", to);
}

static void end_idle(void)
{
    struct list *l = r->sessions.next;

    if (l == &r->sessions)
        return;
    struct send_session *s =
        send_session_of_note(LIST_ENTRY(l, struct work_item, link));
    if (send_session_lane(s)->out == 0)
        end(s, (struct send_session_end){ .lane = LANE_GOES_ON });
}

static void step(void)
{
    struct delivery *j;

    if (chance(4) == 0)
        (void)sched_rig_leave(r);
    switch (chance(12)) {
    case 0:
    case 1: add(); break;
    case 2: sched_rig_wait(r, 1 + chance(10)); break;
    case 3: sched_rig_wait(r, chance(400)); break;
    case 4:
        if (chance(3) == 0)
            sched_rig_time_out(r);
        end_idle();
        break;
    case 5:
        r->s.lane.sessions += r->s.lane.sessions >= SCHED_SESSIONS_MAX
                                  ? -(unsigned)SCHED_SESSIONS_MAX
                              : chance(3) == 0 ? SCHED_SESSIONS_MAX
                                               : 0;
        r->mx = chance(4) == 0 ? moved : zone;
        if (chance(20) == 0) {
            lane_state_flush(&r->s);
            pace_flush(&r->s);
        }
        destination_sweep(&r->s);
        break;
    default:
        if ((j = sched_rig_next(r)) == NULL)
            break;
        if (chance(2))
            sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
        else
            answer(j);
    }
    sched_rig_turn(r);
}

START_TEST(no_recipient_is_lost)
{
    struct delivery *j;
    int waited;

    state = (uint64_t)_i * 7919 + 1;
    for (int i = 0; i < STEPS; i++)
        step();
    r->mx = zone;
    if (r->s.lane.sessions >= SCHED_SESSIONS_MAX)
        r->s.lane.sessions -= SCHED_SESSIONS_MAX;
    int most = SHUT_MAX + RETRY_MAX * 5 / 4 + 300;
    if (r->s.pace.all.n > 0) /* a message a minute, a turn for each lane */
        most += PACE_STOP_MAX + 120 * (int)sched_rig_pending(r);
    for (waited = 0; sched_rig_pending(r) > 0; waited += 10) {
        ck_assert_msg(waited <= most, "seed %d: %d recipients are still there",
                      _i, (int)sched_rig_pending(r));
        sched_rig_wait(r, 10);
        sched_rig_time_out(r);
        while ((j = sched_rig_next(r)) != NULL)
            sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
        while (sched_rig_leave(r))
            ;
        end_idle();
    }
}
END_TEST

Suite *send_storm_suite(void);
Suite *send_storm_suite(void)
{
    Suite *s = suite_create("send.storm");
    TCase *t = tcase_create("seeds");

    tcase_add_checked_fixture(t, open_rig, close_rig);
    tcase_add_loop_test(t, no_recipient_is_lost, 0, SEEDS);
    suite_add_tcase(s, t);
    return s;
}
