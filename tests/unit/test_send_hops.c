/* test_send_hops.c - the next hops of the settings, without sockets or
 * threads. */
#include "sched_rig.h"
#include "send/destination_dns.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct sched_rig *r;

static const struct sched_rig_mx zone[] = {
    { "one.test", MX_OK, { "mx.one.test" }, { "127.0.1.1" } },
    { "hub.test", MX_OK, { "mx.hub.test" }, { "127.0.1.2" } },
};

static const struct sched_rig_mx both[] = {
    { "xn--bcher-kva.test", MX_OK, { "mx.test" }, { "127.0.1.1" } },
};

static void open_rig(const char *const *settings)
{
    r = sched_rig_open(settings);
    r->mx = zone;
    r->nmx = sizeof zone / sizeof zone[0];
}

static void set_hosts(const char *text)
{
    dns_hosts_free(&r->s.hosts);
    r->s.hosts.text = strdup(text);
    r->s.hosts.n = strlen(text);
}

static void be_next(const char *host, const char *ip)
{
    struct delivery *j = sched_rig_next(r);
    char text[ADDR_TEXT];

    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(j->host, host);
    addr_text(text, &j->peer);
    ck_assert_str_eq(text, ip);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
}

/* With and without brackets; neither MX nor addresses are asked. */
START_TEST(the_hosts_file_is_first)
{
    static const char *const settings[] = { "send.relay_host=hub.test",
                                            "send.routes=two.test=[near]:26",
                                            NULL };

    open_rig(settings);
    set_hosts("192.0.2.1 hub.test\n192.0.2.2 near\n192.0.2.3 one.test\n");
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    be_next("hub.test", "192.0.2.1");
    sched_rig_add(r, "s@here.test", "a@two.test");
    sched_rig_turn(r);
    be_next("near", "192.0.2.2");
    ck_assert_uint_eq(r->asked, 0);
    sched_rig_close(&r);
}
END_TEST

START_TEST(the_hosts_file_is_for_settings)
{
    open_rig(NULL);
    set_hosts("192.0.2.3 one.test\n");
    sched_rig_add(r, "s@here.test", "a@one.test");
    sched_rig_turn(r);
    be_next("mx.one.test", "127.0.1.1");
    sched_rig_close(&r);
}
END_TEST

/* A name that comes, one that changes, one that goes back to the DNS. */
START_TEST(the_hosts_file_changes)
{
    static const char *const settings[] = { "send.relay_host=hub.test", NULL };
    static const struct {
        const char *text, *host, *ip;
    } step[] = {
        { "", "mx.hub.test", "127.0.1.2" },
        { "192.0.2.1 hub.test\n", "hub.test", "192.0.2.1" },
        { "192.0.2.2 hub.test\n", "hub.test", "192.0.2.2" },
        { "", "mx.hub.test", "127.0.1.2" },
    };

    open_rig(settings);
    for (size_t i = 0; i < sizeof step / sizeof step[0]; i++) {
        set_hosts(step[i].text);
        destination_forget_settings(&r->s);
        sched_rig_add(r, "s@here.test", "a@one.test");
        sched_rig_turn(r);
        be_next(step[i].host, step[i].ip);
    }
    sched_rig_close(&r);
}
END_TEST

/* U-labels and A-labels, in any case: one look-up, one delivery. */
START_TEST(two_spellings_are_one_destination)
{
    open_rig(NULL);
    r->mx = both;
    r->nmx = 1;
    sched_rig_add(r, "s@here.test",
                  "a@b\303\274cher.test,b@XN--bcher-KVA.test,"
                  "c@B\303\234CHER.test");
    sched_rig_turn(r);
    ck_assert_uint_eq(r->asked, 1);
    struct delivery *j = sched_rig_next(r);
    ck_assert_uint_eq(j->nrcpt, 3);
    sched_rig_back(r, j, OUTCOME_DELIVERED, "2.0.0", "ok");
    ck_assert_uint_eq(sched_rig_pending(r), 0);
    sched_rig_close(&r);
}
END_TEST

Suite *send_hops_suite(void);
Suite *send_hops_suite(void)
{
    Suite *s = suite_create("send.hops");
    TCase *t = tcase_create("hops");

    tcase_add_test(t, the_hosts_file_is_first);
    tcase_add_test(t, the_hosts_file_is_for_settings);
    tcase_add_test(t, the_hosts_file_changes);
    tcase_add_test(t, two_spellings_are_one_destination);
    suite_add_tcase(s, t);
    return s;
}
