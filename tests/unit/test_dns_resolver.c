/* test_dns_resolver.c - the resolver against servers that lie, stall, break
 * off and refuse; see dns_fake.h for the letters. */
#include "base/clock.h"
#include "base/host_port.h"
#include "config/conf.h"
#include "dns/resolver.h"
#include "dns_fake.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A try that is meant to time out must not take long; one that is not must
 * survive a machine that stands still for a while. */
enum { DEADLINE_MS = 30000, SHORT_MS = 200, LONG_MS = 8000 };

static unsigned try_ms;

static struct loop *loop;
static struct dns *dns;
static struct fake fake, second;

/* What the last callback said, and how many there were. */
static struct {
    unsigned calls;
    enum dns_status status;
    size_t n;
    uint32_t ttl;
    bool unusable;
    char why[200], ip[ADDR_TEXT];
} got;

static void on_answer(void *ctx, const struct dns_answer *a)
{
    (void)ctx;
    got.calls++;
    got.status = a->status;
    got.n = a->n;
    got.ttl = a->ttl;
    got.unusable = a->unusable;
    snprintf(got.why, sizeof got.why, "%s", a->why);
    got.ip[0] = '\0';
    if (a->n > 0)
        addr_text(got.ip, &a->rr[0].addr);
}

static void setup(void)
{
    memset(&got, 0, sizeof got);
    try_ms = LONG_MS;
    ck_assert_int_eq(loop_new(&loop, NULL, NULL), 0);
}

static void teardown(void)
{
    dns_close(&dns);
    loop_free(&loop);
}

static void open_dns(const char *a, const char *b, unsigned tries, size_t max)
{
    struct addr servers[2];
    struct dns_options o = { .servers = servers,
                             .nservers = b == NULL ? 1 : 2,
                             .timeout_ms = try_ms,
                             .tries = tries,
                             .queries_max = max };

    ck_assert_int_eq(addr_parse(&servers[0], span_of(a), 53, NULL), 0);
    ck_assert(b == NULL || addr_parse(&servers[1], span_of(b), 53, NULL) == 0);
    ck_assert_int_eq(dns_open(&dns, loop, &o, NULL), 0);
}

static void turn_until(const unsigned *counter, unsigned want)
{
    uint64_t end = clock_mono_ms() + DEADLINE_MS;

    while (*counter < want) {
        ck_assert_int_ge(loop_turn(loop, 100, NULL), 0);
        ck_assert_msg(clock_mono_ms() < end, "no answer");
    }
}

static void ask_and_wait(const char *name)
{
    unsigned before = got.calls;

    ck_assert_ptr_nonnull(dns_ask(dns, name, DNS_A, on_answer, NULL, NULL));
    ck_assert_msg(got.calls == before, "called back from inside");
    turn_until(&got.calls, before + 1);
}

static int open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* clang-format off */
static const struct {
    const char *name, *script, *tcp;
    enum dns_status status;
    unsigned asked, asked_tcp;
    const char *why; /* how the reason starts */
} cases[] = {
    { "good", "g", "", DNS_OK, 1, 0, "" },
    { "no such name", "x", "", DNS_NXDOMAIN, 1, 0, "no such name in the DNS: a.test (A, from 127.0.0.1:" },
    { "no such records", "n", "", DNS_NODATA, 1, 0, "no A records for a.test (from 127.0.0.1:" },
    { "silent", ".", "", DNS_FAILED, 3, 0, "timed out" },
    { "silent at first", "..g", "", DNS_OK, 3, 0, "" },
    { "wrong id", "ig", "", DNS_OK, 2, 0, "" },
    { "wrong question", "qg", "", DNS_OK, 2, 0, "" },
    { "wrong port", "pg", "", DNS_OK, 2, 0, "" },
    { "nothing but wrong ids", "i", "", DNS_FAILED, 3, 0, "timed out" },
    { "lies before the truth", "b", "", DNS_OK, 1, 0, "" },
    { "half a header is no answer", "hg", "", DNS_OK, 2, 0, "" },
    { "late answer", ".l", "", DNS_OK, 2, 0, "" },
    { "SERVFAIL", "s", "", DNS_FAILED, 1, 0, "SERVFAIL from 127.0.0.1:" },
    { "REFUSED", "r", "", DNS_FAILED, 1, 0, "REFUSED from 127.0.0.1:" },
    { "malformed", "m", "", DNS_FAILED, 1, 0, "malformed" },
    { "no EDNS", "f", "", DNS_OK, 2, 0, "" },
    { "ring of aliases", "o", "", DNS_FAILED, 1, 0, "too many CNAME records from 127.0.0.1:" },
    { "aliases without end", "c", "", DNS_FAILED, 9, 0, "too many CNAME records from 127.0.0.1:" },
    { "8 aliases", "ccccccccg", "", DNS_OK, 9, 0, "" },
    { "alias, then nothing", "cx", "", DNS_NXDOMAIN, 2, 0, "no such name" },
    { "alias, then a lost packet", "c.g", "", DNS_OK, 3, 0, "" },
    { "truncated", "t", "g", DNS_OK, 1, 1, "" },
    { "TCP in single bytes", "t", "1", DNS_OK, 1, 1, "" },
    { "TCP closed at once", "t", "c", DNS_FAILED, 1, 1, "TCP closed early" },
    { "TCP cut", "t", "e", DNS_FAILED, 1, 1, "TCP closed early" },
    { "TCP length 0", "t", "0", DNS_FAILED, 1, 1, "impossible length" },
    { "TCP length 65535", "t", "L", DNS_FAILED, 1, 1, "TCP closed early" },
    { "TCP wrong id", "t", "i", DNS_FAILED, 1, 1, "another answer" },
    { "TCP truncated too", "t", "t", DNS_FAILED, 1, 1, "truncated" },
    { "TCP silent", "t", ".", DNS_FAILED, 3, 3, "timed out" },
    { "TCP silent once", "t", ".g", DNS_OK, 2, 2, "" },
    { "TCP refused", "t", NULL, DNS_FAILED, 1, 0, "Connection refused" },
};
/* clang-format on */

START_TEST(server_misbehaves)
{
    const char *tcp = cases[_i].tcp;

    if (strpbrk(cases[_i].script, ".iqph") != NULL ||
        (tcp != NULL && strchr(tcp, '.') != NULL))
        try_ms = SHORT_MS;
    fake_start(&fake, loop, "127.0.0.1", cases[_i].script, tcp);
    open_dns(fake.text, NULL, 3, 0);
    int before = open_fds();
    ask_and_wait("a.test");
    ck_assert_msg(got.status == cases[_i].status, "%s: status %d, %s",
                  cases[_i].name, got.status, got.why);
    ck_assert_msg(fake.asked == cases[_i].asked, "%s: asked %u times",
                  cases[_i].name, fake.asked);
    ck_assert_msg(fake.asked_tcp == cases[_i].asked_tcp, "%s: TCP %u times",
                  cases[_i].name, fake.asked_tcp);
    ck_assert_msg(strncmp(got.why, cases[_i].why, strlen(cases[_i].why)) == 0,
                  "%s: %s", cases[_i].name, got.why);
    /* Refused, malformed, a loop: more than a server that is down. */
    ck_assert_msg(got.unusable == (got.status == DNS_FAILED &&
                                   strchr("rmoc", cases[_i].script[0]) != NULL),
                  "%s: unusable %d", cases[_i].name, got.unusable);
    if (got.status == DNS_OK)
        ck_assert_str_eq(got.ip, "192.0.2.1");
    if (got.status == DNS_FAILED)
        ck_assert_msg(strstr(got.why, " for a.test A") != NULL, "%s: %s",
                      cases[_i].name, got.why);
    ck_assert_int_eq(got.calls, 1);
    while (fake.tcp.fd >= 0 && tcp[0] != '.')
        loop_turn(loop, 100, NULL);
    ck_assert_msg(open_fds() - (fake.tcp.fd >= 0) == before,
                  "%s: descriptor left open", cases[_i].name);
    fake_stop(&fake);
}
END_TEST

/* The second server is always good. */
static const struct {
    const char *name, *first; /* NULL: its port is closed */
    unsigned asked_first;     /* by two questions */
} pairs[] = {
    { "closed", NULL, 0 }, { "silent", ".", 1 },    { "SERVFAIL", "s", 2 },
    { "REFUSED", "r", 1 }, { "malformed", "m", 2 }, { "good", "g", 2 },
};

START_TEST(second_server_helps)
{
    char closed[ADDR_PORT_TEXT];
    const char *first = pairs[_i].first;

    fake_closed_port(closed);
    if (first != NULL && first[0] == '.')
        try_ms = SHORT_MS;
    fake_start(&fake, loop, "127.0.0.1", first != NULL ? first : ".", NULL);
    fake_start(&second, loop, "127.0.0.1", "g", NULL);
    open_dns(first != NULL ? fake.text : closed, second.text, 3, 0);
    ask_and_wait("a.test");
    ck_assert_msg(got.status == DNS_OK, "%s: %s", pairs[_i].name, got.why);
    ask_and_wait("b.test");
    ck_assert_msg(got.status == DNS_OK, "%s: %s", pairs[_i].name, got.why);
    ck_assert_msg(fake.asked == pairs[_i].asked_first, "%s: first asked %u",
                  pairs[_i].name, fake.asked);
    fake_stop(&fake);
    fake_stop(&second);
}
END_TEST

START_TEST(nobody_there)
{
    char closed[ADDR_PORT_TEXT];
    uint64_t start = clock_mono_ms();

    fake_closed_port(closed);
    open_dns(closed, NULL, 3, 0);
    ask_and_wait("a.test");
    ck_assert_int_eq(got.status, DNS_FAILED);
    char want[200];
    snprintf(want, sizeof want, "Connection refused from %s for a.test A",
             closed);
    ck_assert_str_eq(got.why, want);
    ck_assert_uint_lt(clock_mono_ms() - start, DEADLINE_MS / 2);
}
END_TEST

/* A server that is slower than a try: the answer counts when it comes, from
 * whichever server and to whichever try, and fills the cache. */
static const struct {
    const char *name, *second; /* NULL: there is one server */
    unsigned late;             /* after so many tries */
    char how;                  /* what the first server says then */
    bool ok;
} slow[] = {
    { "second try of one server", NULL, 2, 'g', true },
    { "third try of one server", NULL, 3, 'g', true },
    { "while the second is asked", ".", 2, 'g', true },
    { "while the first is asked again", ".", 3, 'g', true },
    { "no such name", ".", 2, 'x', false },
    { "SERVFAIL, and the second is good", ".g", 2, 's', true },
};

START_TEST(late_answers_count)
{
    unsigned *asked = slow[_i].second == NULL ? &fake.asked : &second.asked;

    try_ms = SHORT_MS;
    fake_start(&fake, loop, "127.0.0.1", ".", NULL);
    fake_start(&second, loop, "127.0.0.1",
               slow[_i].second == NULL ? "." : slow[_i].second, NULL);
    open_dns(fake.text, slow[_i].second == NULL ? NULL : second.text, 4, 0);
    int before = open_fds();
    ck_assert_ptr_nonnull(dns_ask(dns, "a.test", DNS_A, on_answer, NULL, NULL));
    turn_until(&fake.asked, 1);
    struct packet first = fake.last;
    struct addr peer = fake.last_peer;
    while (fake.asked + second.asked < slow[_i].late)
        ck_assert_int_ge(loop_turn(loop, 100, NULL), 0);
    ck_assert_uint_ge(*asked, 1);
    fake.last = first;
    fake.last_peer = peer;
    fake_answer_last(&fake, slow[_i].how);
    turn_until(&got.calls, 1);
    ck_assert_msg(got.status == (slow[_i].ok ? DNS_OK : DNS_NXDOMAIN), "%s: %s",
                  slow[_i].name, got.why);
    ck_assert_int_eq(open_fds(), before);
    unsigned sum = fake.asked + second.asked;
    ask_and_wait("a.test");
    ck_assert_msg(fake.asked + second.asked == sum, "%s: not in the cache",
                  slow[_i].name);
    fake_stop(&fake);
    fake_stop(&second);
}
END_TEST

/* New servers while the old one has the question: what that one answers
 * counts; what it fails at is not laid to another. */
static const struct {
    const char *name;
    char how; /* what the former server answers in the end */
    unsigned asked_second;
} renewals[] = {
    { "good", 'g', 0 },    { "SERVFAIL", 's', 1 }, { "truncated", 't', 1 },
    { "no EDNS", 'f', 1 }, { "silent", '.', 1 },
};

START_TEST(servers_change)
{
    static struct conf c;
    char how = renewals[_i].how;

    try_ms = how == '.' ? SHORT_MS : LONG_MS;
    fake_start(&fake, loop, "127.0.0.1", ".", NULL);
    fake_start(&second, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 3, 0);
    ck_assert_ptr_nonnull(dns_ask(dns, "a.test", DNS_A, on_answer, NULL, NULL));
    turn_until(&fake.asked, 1);
    memset(&c, 0, sizeof c);
    c.dns.servers.item = &second.addr;
    c.dns.servers.n = 1;
    ck_assert_int_eq(dns_renew(dns, &c, NULL), 0);
    if (how != '.')
        fake_answer_last(&fake, how);
    turn_until(&got.calls, 1);
    ck_assert_msg(got.status == DNS_OK, "%s: %s", renewals[_i].name, got.why);
    ck_assert_msg(second.asked == renewals[_i].asked_second, "%s: %u",
                  renewals[_i].name, second.asked);
    ask_and_wait("b.test");
    ck_assert_uint_eq(second.asked, renewals[_i].asked_second + 1);
    fake_stop(&fake);
    fake_stop(&second);
}
END_TEST

START_TEST(server_on_ipv6)
{
    fake_start(&fake, loop, "::1", "t", "g");
    open_dns(fake.text, NULL, 3, 0);
    ask_and_wait("a.test");
    ck_assert_int_eq(got.status, DNS_OK);
    fake_stop(&fake);
}
END_TEST

START_TEST(answers_are_cached)
{
    fake_start(&fake, loop, "127.0.0.1", "gx", NULL);
    open_dns(fake.text, NULL, 3, 0);
    ask_and_wait("a.test");
    ask_and_wait("A.Test.");
    ck_assert_int_eq(got.status, DNS_OK);
    ck_assert_str_eq(got.ip, "192.0.2.1");
    ck_assert_uint_le(got.ttl, 60);
    ck_assert_uint_eq(fake.asked, 1);
    ask_and_wait("b.test");
    ask_and_wait("b.test");
    ck_assert_int_eq(got.status, DNS_NXDOMAIN);
    ck_assert_uint_eq(fake.asked, 2);
    fake_stop(&fake);
}
END_TEST

START_TEST(failures_are_not_cached)
{
    fake_start(&fake, loop, "127.0.0.1", "sg", NULL);
    open_dns(fake.text, NULL, 3, 0);
    ask_and_wait("a.test");
    ck_assert_int_eq(got.status, DNS_FAILED);
    ask_and_wait("a.test");
    ck_assert_int_eq(got.status, DNS_OK);
    fake_stop(&fake);
}
END_TEST

START_TEST(equal_questions_are_joined)
{
    struct dns_request *q[3];

    fake_start(&fake, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 3, 0);
    for (int i = 0; i < 3; i++)
        q[i] = dns_ask(dns, i == 1 ? "A.TEST" : "a.test", DNS_A, on_answer,
                       NULL, NULL);
    dns_cancel(q[1]);
    turn_until(&got.calls, 2);
    ask_and_wait("other.test"); /* so that a third call would have come */
    ck_assert_uint_eq(got.calls, 3);
    ck_assert_uint_eq(fake.asked, 2);
    fake_stop(&fake);
}
END_TEST

/* The first callback cancels the second query, which has the same answer. */
static struct dns_request *victim;

static void on_answer_cancel(void *ctx, const struct dns_answer *a)
{
    on_answer(ctx, a);
    dns_cancel(victim);
    ck_assert_ptr_nonnull(dns_ask(dns, "a.test", DNS_A, on_answer, NULL, NULL));
}

START_TEST(callback_may_cancel_and_ask)
{
    fake_start(&fake, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 3, 0);
    dns_ask(dns, "a.test", DNS_A, on_answer_cancel, NULL, NULL);
    victim = dns_ask(dns, "a.test", DNS_A, on_answer, NULL, NULL);
    turn_until(&got.calls, 2);
    ask_and_wait("other.test");
    ck_assert_uint_eq(got.calls, 3);
    ck_assert_uint_eq(fake.asked, 2);
    fake_stop(&fake);
}
END_TEST

START_TEST(cancelled_query_is_gone)
{
    fake_start(&fake, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 3, 1);
    int before = open_fds();
    struct dns_request *q =
        dns_ask(dns, "a.test", DNS_A, on_answer, NULL, NULL);
    struct dns_request *w =
        dns_ask(dns, "w.test", DNS_A, on_answer, NULL, NULL);
    ck_assert_int_eq(open_fds(), before + 1);
    dns_cancel(w);
    dns_cancel(q);
    dns_cancel(NULL);
    ck_assert_int_eq(open_fds(), before);
    ask_and_wait("b.test");
    ck_assert_uint_eq(got.calls, 1);
    fake_stop(&fake);
}
END_TEST

START_TEST(queries_wait_in_line)
{
    enum { N = 20, MAX = 2 };
    char name[32];

    try_ms = SHORT_MS;
    fake_start(&fake, loop, "127.0.0.1", "..........g", NULL);
    open_dns(fake.text, NULL, 20, MAX);
    int before = open_fds();
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "%d.test", i);
        ck_assert_ptr_nonnull(dns_ask(dns, name, DNS_A, on_answer, NULL, NULL));
    }
    for (unsigned i = 0; i < N; i++) {
        ck_assert_int_le(open_fds(), before + MAX);
        turn_until(&got.calls, i + 1);
        ck_assert_int_eq(got.status, DNS_OK);
    }
    ck_assert_int_eq(open_fds(), before);
    fake_stop(&fake);
}
END_TEST

START_TEST(open_queries_end_with_dns)
{
    fake_start(&fake, loop, "127.0.0.1", ".", NULL);
    open_dns(fake.text, NULL, 3, 1);
    int before = open_fds();
    for (int i = 0; i < 3; i++)
        dns_ask(dns, i == 0 ? "a" : "b", DNS_A, on_answer, NULL, NULL);
    turn_until(&fake.asked, 1);
    dns_close(&dns);
    ck_assert_ptr_null(dns);
    ck_assert_int_eq(open_fds(), before);
    ck_assert_uint_eq(got.calls, 0);
    fake_stop(&fake);
}
END_TEST

START_TEST(bad_names_are_answered_too)
{
    static const char *const bad[] = { "", ".", "a..b", "a b", "\303\274.x" };

    fake_start(&fake, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 3, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ask_and_wait(bad[i]);
        ck_assert_msg(got.status == DNS_BADNAME, "\"%s\"", bad[i]);
    }
    ck_assert_uint_eq(fake.asked, 0);
    fake_stop(&fake);
}
END_TEST

START_TEST(no_descriptor_left)
{
    struct rlimit old, none;

    fake_start(&fake, loop, "127.0.0.1", "g", NULL);
    open_dns(fake.text, NULL, 2, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = dup(0);
    ck_assert_int_ge(lowest, 0);
    close(lowest);
    none = old;
    none.rlim_cur = (rlim_t)lowest;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ask_and_wait("a.test");
    enum dns_status status = got.status;
    setrlimit(RLIMIT_NOFILE, &old);
    ck_assert_int_eq(status, DNS_FAILED);
    ask_and_wait("a.test");
    ck_assert_int_eq(got.status, DNS_OK);
    fake_stop(&fake);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

Suite *dns_resolver_suite(void);
Suite *dns_resolver_suite(void)
{
    Suite *s = suite_create("dns_resolver");
    TCase *t = tcase_create("resolver");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, server_misbehaves, 0, COUNT(cases));
    tcase_add_loop_test(t, second_server_helps, 0, COUNT(pairs));
    tcase_add_loop_test(t, late_answers_count, 0, COUNT(slow));
    tcase_add_loop_test(t, servers_change, 0, COUNT(renewals));
    tcase_add_test(t, nobody_there);
    tcase_add_test(t, server_on_ipv6);
    tcase_add_test(t, answers_are_cached);
    tcase_add_test(t, failures_are_not_cached);
    tcase_add_test(t, equal_questions_are_joined);
    tcase_add_test(t, callback_may_cancel_and_ask);
    tcase_add_test(t, cancelled_query_is_gone);
    tcase_add_test(t, queries_wait_in_line);
    tcase_add_test(t, open_queries_end_with_dns);
    tcase_add_test(t, bad_names_are_answered_too);
    tcase_add_test(t, no_descriptor_left);
    suite_add_tcase(s, t);
    return s;
}
