/* test_send_tables.c - the pure parts of the sender: the session's table,
 * retries, routes, ranks, the retry queue. */
#include "base/buf.h"
#include "config/value.h"
#include "queue/retry_queue.h"
#include "queue/retry_rule.h"
#include "send/mx_ranks.h"
#include "send/route.h"
#include "send/session.h"

#include <check.h>

#include "fsm_check.h"
#include <stdlib.h>
#include <string.h>

/* --- the session's table ---------------------------------------------------*/

START_TEST(table_is_total)
{
    const char *hole = fsm_check_total(&send_session_fsm);

    ck_assert_msg(hole == NULL, "%s", hole);
}
END_TEST

START_TEST(table_is_connected)
{
    const char *hole = fsm_check_connected(&send_session_fsm);

    ck_assert_msg(hole == NULL, "%s", hole);
}
END_TEST

/* --- retries ---------------------------------------------------------------*/

static const struct {
    const char *name;
    uint32_t min, max;
    unsigned attempts;
    uint32_t least, most;
} delays[] = {
    { "first", 300, 14400, 1, 225, 375 },
    { "second", 300, 14400, 2, 450, 750 },
    { "sixth", 300, 14400, 6, 7200, 12000 },
    { "seventh is at the limit", 300, 14400, 7, 10800, 18000 },
    { "hundredth", 300, 14400, 100, 10800, 18000 },
    { "none yet", 300, 14400, 0, 225, 375 },
    { "one second", 1, 1, 1, 1, 1 },
    { "no overflow", 3000000000u, 4000000000u, 9, 3000000000u, UINT32_MAX },
    { "zero is a second", 0, 0, 3, 1, 1 },
};

START_TEST(delay_is_within)
{
    struct retry_rule r = { delays[_i].min, delays[_i].max, 432000 };
    static const uint32_t chances[] = { 0, 1u << 31, UINT32_MAX };

    for (size_t i = 0; i < 3; i++) {
        uint32_t d = retry_delay(&r, delays[_i].attempts, chances[i]);
        ck_assert_msg(d >= delays[_i].least && d <= delays[_i].most, "%s: %u",
                      delays[_i].name, (unsigned)d);
    }
}
END_TEST

static const struct {
    const char *name;
    uint32_t min, max;
    unsigned attempts;
    uint32_t named, least, most;
} greys[] = {
    { "first", 300, 14400, 1, 0, 301, 319 },
    { "second", 300, 14400, 2, 0, 601, 638 },
    { "third", 300, 14400, 3, 0, 601, 638 },
    { "fourth is as usual", 300, 14400, 4, 0, 1800, 3000 },
    { "never less than ten minutes", 1, 2, 9, 0, 601, 638 },
    { "retry_min does not count", 86400, 86400, 1, 0, 301, 319 },
    { "named", 86400, 86400, 1, 60, 61, 64 },
    { "named and long", 300, 14400, 1, 86400, 14401, 15301 },
    { "named again and again", 300, 14400, 4, 1, 1800, 3000 },
    { "named, and longer than usual", 1, 2, 9, 900, 901, 957 },
};

START_TEST(greylisting_has_its_waits)
{
    struct retry_rule r = { greys[_i].min, greys[_i].max, 432000 };
    static const uint32_t chances[] = { 0, 1u << 31, UINT32_MAX };

    for (size_t i = 0; i < 3; i++) {
        uint32_t d = retry_greylisted(&r, greys[_i].attempts, greys[_i].named,
                                      chances[i]);
        ck_assert_msg(d >= greys[_i].least && d <= greys[_i].most, "%s: %u",
                      greys[_i].name, (unsigned)d);
    }
}
END_TEST

static const struct {
    const char *name;
    uint64_t until, now;
    uint32_t left;
} lefts[] = {
    { "never tried", 0, 5000000, 0 },
    { "past", 4000000, 5000000, 0 },
    { "ten seconds", 15000000, 5000000, 10 },
    { "part of a second", 5000001, 5000000, 1 },
    { "the clock went back by years", 900000000000000, 5000000, 600 },
};

START_TEST(left_is_clamped)
{
    uint32_t n = retry_left(lefts[_i].until, lefts[_i].now, 600);

    ck_assert_msg(n == lefts[_i].left, "%s: %u", lefts[_i].name, (unsigned)n);
}
END_TEST

static const struct {
    const char *name;
    unsigned attempts;
    uint64_t arrival, now; /* seconds */
    uint32_t age;
} ages[] = {
    { "new", 0, 1000, 1000, 0 },
    { "tried three times in two hours", 3, 1000, 8200, 2625 },
    { "as it should be", 40, 1000, 433000, 432000 },
    { "the clock went forward by ten days", 2, 1000, 865000, 1125 },
    { "never tried while the host was off for a week", 0, 1000, 605800, 0 },
    { "the clock went back", 40, 1000000, 1000, 0 },
    { "tried by hand again and again", 5000, 1000, 4600, 3600 },
    { "more than the counter holds", 65535, 0, 9000000000000, 1179545625 },
};

START_TEST(age_is_of_attempts)
{
    struct retry_rule r = { 300, 14400, 432000 };
    uint32_t n = retry_age(&r, ages[_i].attempts, ages[_i].arrival * 1000000,
                           ages[_i].now * 1000000);

    ck_assert_msg(n == ages[_i].age, "%s: %u", ages[_i].name, (unsigned)n);
}
END_TEST

START_TEST(backoff_grows)
{
    struct retry_rule slow = { 300, 14400, 1 }, fast = { 1, 2, 1 };

    ck_assert_uint_eq(retry_backoff(&slow, 1), 60);
    ck_assert_uint_eq(retry_backoff(&slow, 2), 120);
    ck_assert_uint_eq(retry_backoff(&slow, 30), 1800);
    ck_assert_uint_eq(retry_backoff(&fast, 1), 1);
    ck_assert_uint_eq(retry_backoff(&fast, 9), 2);
}
END_TEST

/* --- routes ----------------------------------------------------------------*/

static const char entries[] = "example.com=relay.test:2525,"
                              ".example.com=[below.test],"
                              ".deep.example.com=192.0.2.7,"
                              "six.test=[2001:db8::1]:26,"
                              "b\303\274cher.test=books.test,"
                              "bare.test=::1,"
                              "box.test=lmtp:mail.test:24,"
                              "near.test=lmtp:localhost:24,"
                              "sock.test=lmtp:unix:/run/Dovecot/lmtp";

static const struct {
    const char *name, *domain, *relay;
    enum route_kind kind;
    const char *host;
    unsigned port;
    bool configured;
} routes[] = {
    { "no rule", "Other.TEST", "", ROUTE_MX, "other.test", 25, false },
    { "exact", "EXAMPLE.com", "", ROUTE_MX, "relay.test", 2525, true },
    { "below", "a.example.com", "", ROUTE_HOST, "below.test", 25, true },
    { "longest", "a.deep.example.com", "", ROUTE_ADDRESS, "192.0.2.7", 25,
      true },
    { "not the pattern itself", "deep.example.com", "", ROUTE_HOST,
      "below.test", 25, true },
    { "no dot before", "anexample.com", "", ROUTE_MX, "anexample.com", 25,
      false },
    { "IPv6 and port", "six.test", "", ROUTE_ADDRESS, "2001:db8::1", 26, true },
    { "bare IPv6", "bare.test", "", ROUTE_ADDRESS, "::1", 25, true },
    { "LMTP: no MX", "box.test", "", ROUTE_HOST, "mail.test", 24, true },
    { "LMTP on this host", "near.test", "", ROUTE_LOOPBACK, "localhost", 24,
      true },
    { "a Unix socket", "sock.test", "smart.test", ROUTE_UNIX,
      "/run/Dovecot/lmtp", 0, true },
    { "A-label for a U-label", "XN--bcher-kva.test", "", ROUTE_MX, "books.test",
      25, true },
    { "U-label", "b\303\274cher.test", "", ROUTE_MX, "books.test", 25, true },
    { "U-label without a rule", "B\303\234cher.Other.test", "", ROUTE_MX,
      "xn--bcher-kva.other.test", 25, false },
    { "the same in A-labels", "xn--BCHER-kva.other.test", "", ROUTE_MX,
      "xn--bcher-kva.other.test", 25, false },
    { "no U-label", "b\303.other.test", "", ROUTE_BAD, "", 25, false },
    { "no U-label, but a relay", "b\303.other.test", "smart.test", ROUTE_MX,
      "smart.test", 25, true },
    { "local", "here.test", "", ROUTE_LOCAL, "", 25, false },
    { "local before relay", "here.test", "smart.test", ROUTE_LOCAL, "", 25,
      false },
    { "relay", "other.test", "smart.test:587", ROUTE_MX, "smart.test", 587,
      true },
    { "relay without MX", "other.test", "[Smart.test]", ROUTE_HOST,
      "smart.test", 25, true },
    { "route before relay", "example.com", "smart.test", ROUTE_MX, "relay.test",
      2525, true },
    { "the first of relays", "other.test", "[one.test],two.test", ROUTE_HOST,
      "one.test", 25, true },
    { "literal", "[192.0.2.9]", "", ROUTE_ADDRESS, "192.0.2.9", 25, false },
    { "IPv6 literal", "[IPv6:2001:DB8::2]", "", ROUTE_ADDRESS, "2001:db8::2",
      25, false },
    { "literal over the relay", "[192.0.2.9]", "smart.test", ROUTE_MX,
      "smart.test", 25, true },
    { "no literal", "[junk]", "", ROUTE_BAD, "", 25, false },
    { "not an address", " ", "", ROUTE_BAD, "", 25, false },
    { "label too long",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test",
      "", ROUTE_BAD, "", 25, false },
    { "localhost", "other.test", "localhost:1025", ROUTE_LOOPBACK, "localhost",
      1025, true },
    { "localhost without MX", "other.test", "[LocalHost]", ROUTE_LOOPBACK,
      "localhost", 25, true },
    { "below localhost", "other.test", "mail.localhost", ROUTE_LOOPBACK,
      "mail.localhost", 25, true },
    { "ends alike", "other.test", "notlocalhost", ROUTE_MX, "notlocalhost", 25,
      true },
    { "localhost of a recipient", "localhost", "", ROUTE_MX, "localhost", 25,
      false },
};

START_TEST(route_is)
{
    static struct conf c;
    struct route r;

    memset(&c, 0, sizeof c);
    c.send.port = 25;
    ck_assert_int_eq(conf_set(&c, conf_find(SPAN_LIT("send.routes")),
                              span_of(entries), NULL),
                     0);
    ck_assert_int_eq(conf_set(&c, conf_find(SPAN_LIT("send.relay_host")),
                              span_of(routes[_i].relay), NULL),
                     0);
    struct span domain = span_of(routes[_i].domain);
    route_find(&r, &c, domain, SPAN_LIT(""),
               span_is_nocase(domain, "here.test"));
    ck_assert_msg(r.kind == routes[_i].kind, "%s: kind %d", routes[_i].name,
                  r.kind);
    ck_assert_msg(strcmp(r.host, routes[_i].host) == 0, "%s: host %s",
                  routes[_i].name, r.host);
    ck_assert_msg((r.path != NULL) == (r.kind == ROUTE_UNIX), "%s: path",
                  routes[_i].name);
    ck_assert_msg(r.configured == routes[_i].configured, "%s: configured %d",
                  routes[_i].name, r.configured);
    ck_assert_msg(r.port == routes[_i].port || r.kind == ROUTE_BAD,
                  "%s: port %u", routes[_i].name, r.port);
    conf_free(&c);
}
END_TEST

/* The sender is from from.test, or from below it. */
static const struct {
    const char *name, *domain, *sender, *relay, *key;
} by_sender[] = {
    { "sender's", "other.test", "From.Test", "smart.test",
      "setting/host/hop.test/26" },
    { "below it", "other.test", "a.from.test", "smart.test",
      "setting/host/below.test/25" },
    { "recipient's before it", "to.test", "from.test", "smart.test",
      "setting/host/to.test/25" },
    { "no route of the recipient's", "from.test", "other.test", "",
      "mx/from.test/25" },
    { "another sender", "other.test", "xfrom.test", "smart.test",
      "relay/mx/smart.test/25" },
    { "no sender", "other.test", "", "smart.test", "relay/mx/smart.test/25" },
    { "U-label", "other.test", "B\303\234cher.test", "",
      "setting/host/books.test/25" },
    { "local all the same", "here.test", "from.test", "", "local//25" },
};

START_TEST(route_by_sender_is)
{
    static const char rules[] = "to.test=[to.test],@from.test=[hop.test]:26,"
                                "@.from.test=[below.test],"
                                "@xn--bcher-kva.test=[books.test]";
    static struct conf c;
    char key[ROUTE_KEY_MAX];
    struct route r;

    memset(&c, 0, sizeof c);
    c.send.port = 25;
    ck_assert_int_eq(
        conf_set(&c, conf_find(SPAN_LIT("send.routes")), span_of(rules), NULL),
        0);
    ck_assert_int_eq(conf_set(&c, conf_find(SPAN_LIT("send.relay_host")),
                              span_of(by_sender[_i].relay), NULL),
                     0);
    struct span domain = span_of(by_sender[_i].domain);
    route_find(&r, &c, domain, span_of(by_sender[_i].sender),
               span_is_nocase(domain, "here.test"));
    route_key(key, &r);
    ck_assert_msg(strcmp(key, by_sender[_i].key) == 0, "%s: %s",
                  by_sender[_i].name, key);
    conf_free(&c);
}
END_TEST

/* --- ranks -----------------------------------------------------------------*/

static bool always(const struct addr *a)
{
    (void)a;
    return true;
}

static bool only_v4(const struct addr *a)
{
    return !addr_is_v6(a);
}

/* "PREF NAME ADDR[,ADDR]; ..." */
static void parse_mx(struct mx_result *mx, const char *text)
{
    char copy[400], *rest = copy, *one;

    memset(mx, 0, sizeof *mx);
    snprintf(copy, sizeof copy, "%s", text);
    while ((one = strsep(&rest, ";")) != NULL) {
        struct mx_host *h = &mx->host[mx->nhost++];
        char addrs[200], *a = addrs, *ip;
        unsigned pref;
        ck_assert_int_eq(sscanf(one, " %u %255s %199s", &pref, h->name, addrs),
                         3);
        h->preference = (uint16_t)pref;
        while ((ip = strsep(&a, ",")) != NULL)
            ck_assert(addr_parse_ip(&h->addr[h->naddr++], span_of(ip), 0));
    }
}

static const struct {
    const char *name, *mx, *ranks; /* "TIER:ADDR ..." */
    bool v6;
} ranks[] = {
    { "one", "10 a 192.0.2.1", "0:192.0.2.1", true },
    { "equal", "10 a 192.0.2.1; 10 b 192.0.2.2", "0:192.0.2.1 0:192.0.2.2",
      true },
    { "two addresses", "10 a 192.0.2.1,192.0.2.2", "0:192.0.2.1 0:192.0.2.2",
      true },
    { "preferences", "10 a 192.0.2.1; 20 b 192.0.2.2",
      "0:192.0.2.1 2:192.0.2.2", true },
    { "both families", "10 a 2001:db8::1,192.0.2.1",
      "0:2001:db8::1 1:192.0.2.1", true },
    { "no route for IPv6", "10 a 2001:db8::1,192.0.2.1", "0:192.0.2.1", false },
    { "IPv6 alone, no route", "10 a 2001:db8::1", "0:2001:db8::1", false },
    { "both, then worse", "10 a 2001:db8::1,192.0.2.1; 20 b 192.0.2.2",
      "0:2001:db8::1 1:192.0.2.1 2:192.0.2.2", true },
    { "self by name", "10 a 192.0.2.1; 20 ME.test 192.0.2.2", "0:192.0.2.1",
      true },
    { "self by address", "10 a 192.0.2.1; 20 b 192.0.2.99; 30 c 192.0.2.3",
      "0:192.0.2.1", true },
    { "equal to self", "10 a 192.0.2.1; 20 b 192.0.2.2; 20 me.test 192.0.2.3",
      "0:192.0.2.1", true },
    { "only self", "10 me.test 192.0.2.1; 20 b 192.0.2.2", "5.4.6", true },
    { "loopback, where we listen", "10 a 127.0.0.77", "5.4.6", true },
    { "IPv6 loopback", "10 a ::1", "5.4.6", true },
    { "loopback is worse", "10 a 192.0.2.1; 20 b 127.0.0.1", "0:192.0.2.1",
      true },
    { "the end of loopback", "10 a 127.255.255.254", "5.4.6", true },
    { "IPv4-mapped loopback", "10 a ::ffff:127.0.0.1", "5.4.6", true },
    { "our address, IPv4-mapped", "10 a ::ffff:192.0.2.99", "5.4.6", true },
    { "the name of ours with a capital", "10 Me.Test 192.0.2.1", "5.4.6",
      true },
    { "no name of ours", "10 notme.test 192.0.2.1", "0:192.0.2.1", true },
    { "one of two addresses is ours", "10 a 192.0.2.1,127.0.0.1", "5.4.6",
      true },
    { "this host, IPv4-mapped", "10 a ::ffff:0.0.0.0", "5.4.6", true },
    { "this host is worse", "10 a 192.0.2.1; 20 b ::", "0:192.0.2.1", true },
    { "this host", "10 a 0.0.0.0", "5.4.6", true },
    { "this network", "10 a 0.1.2.3", "5.4.6", true },
    { "IPv6 for this host", "10 a ::", "5.4.6", true },
    { "multicast", "10 a 224.0.0.1", "5.4.4", true },
    { "multicast beside a host", "10 a 239.1.2.3,192.0.2.1", "0:192.0.2.1",
      true },
    { "multicast, IPv4-mapped", "10 a ::ffff:224.0.0.1", "5.4.4", true },
    { "broadcast beside a host", "10 a 255.255.255.255; 20 b 192.0.2.1",
      "2:192.0.2.1", true },
    { "broadcast", "10 a 255.255.255.255", "5.4.4", true },
    { "class E", "10 a 240.0.0.1", "5.4.4", true },
    { "IPv6 multicast", "10 a ff02::1", "5.4.4", true },
    { "link-local", "10 a fe80::1", "5.4.4", true },
    { "link-local beside IPv4", "10 a febf::1,192.0.2.1", "0:192.0.2.1", true },
};

START_TEST(ranks_are)
{
    struct mx_candidate e[MX_CANDIDATES_MAX];
    struct mx_result mx;
    struct addr mine;
    struct answer why;
    char got[400];
    struct buf b = BUF_ON(got);

    buf_adds(&b, "");
    ck_assert(addr_parse_ip(&mine, span_of("192.0.2.99"), 25));
    struct own_host self = { "me.test", 1, &mine };
    struct mx_ranks_rules rules = { &self, false, 25,
                                    ranks[_i].v6 ? always : only_v4 };
    parse_mx(&mx, ranks[_i].mx);
    size_t n = mx_ranks_build(e, &mx, &rules, &why);
    for (size_t i = 0; i < n; i++) {
        char text[ADDR_TEXT];
        addr_text(text, &e[i].addr);
        buf_addf(&b, "%s%u:%s", i > 0 ? " " : "", e[i].rank, text);
        ck_assert_uint_eq(addr_port(&e[i].addr), 25);
    }
    if (n == 0)
        buf_addf(&b, "%u.%u.%u", why.status.class, why.status.subject,
                 why.status.detail);
    ck_assert_msg(strcmp(got, ranks[_i].ranks) == 0, "%s: %s", ranks[_i].name,
                  got);
}
END_TEST

/* Another program on loopback may be the next hop of a setting; a listener of
 * ours may not. */
static const struct {
    const char *name, *listen, *hop;
    unsigned port;
    bool mx, setting; /* ours as an MX host, as a setting */
} own[] = {
    { "our listener", "127.0.0.1:25", "127.0.0.1", 25, true, true },
    { "another of loopback", "127.0.0.1:25", "127.0.0.77", 25, true, false },
    { "wildcard", "0.0.0.0:25", "127.0.0.77", 25, true, true },
    { "wildcard of IPv6 alone", "[::]:25", "127.0.0.77", 25, true, false },
    { "IPv6 wildcard", "[::]:25", "::1", 25, true, true },
    { "mapped listener", "[::ffff:127.0.0.1]:25", "127.0.0.1", 25, true, true },
    { "mapped hop", "127.0.0.1:25", "::ffff:127.0.0.1", 25, true, true },
    { "IPv6 listener", "[::1]:25", "::1", 25, true, true },
    { "IPv6 for this host", "[::1]:25", "::", 26, true, false },
    { "IPv6 for this host by a wildcard", "[::]:25", "::", 25, true, true },
    { "this network", "192.0.2.1:25", "0.1.2.3", 26, true, false },
    { "another port of loopback", "0.0.0.0:25", "127.0.0.1", 26, false, false },
    { "not loopback", "192.0.2.1:25", "127.0.0.1", 25, true, false },
    { "another host", "192.0.2.1:25", "192.0.2.2", 25, false, false },
    { "this host", "192.0.2.1:25", "0.0.0.0", 26, true, false },
    { "this host by a wildcard", "0.0.0.0:25", "0.0.0.0", 25, true, true },
};

START_TEST(own_host_is_known)
{
    static struct conf c;
    struct own_host self;
    struct addr a;

    memset(&c, 0, sizeof c);
    snprintf(c.hostname, sizeof c.hostname, "me.test");
    ck_assert_int_eq(conf_set(&c, conf_find(SPAN_LIT("serve.listen")),
                              span_of(own[_i].listen), NULL),
                     0);
    ck_assert_int_eq(own_host_load(&self, &c, NULL), 0);
    ck_assert(addr_parse_ip(&a, span_of(own[_i].hop), (uint16_t)own[_i].port));
    ck_assert_msg(own_host_has(&self, &a, false) == own[_i].mx, "%s: MX",
                  own[_i].name);
    ck_assert_msg(own_host_has(&self, &a, true) == own[_i].setting,
                  "%s: setting", own[_i].name);
    own_host_done(&self);
    conf_free(&c);
}
END_TEST

static const struct {
    const char *name;
    enum mx_status status;
    enum outcome outcome;
    unsigned code, enh_class, subject, detail;
    bool configured, unusable;
} verdicts[] = {
    { "null MX", MX_NULL, OUTCOME_FAILED, 0, 5, 1, 10, false, false },
    { "no domain", MX_NO_DOMAIN, OUTCOME_FAILED, 0, 5, 1, 2, false, false },
    { "no host", MX_NO_HOST, OUTCOME_FAILED, 0, 5, 4, 4, false, false },
    { "DNS fails", MX_TEMP, OUTCOME_DEFERRED, 0, 4, 4, 3, false, false },
    { "setting: null MX", MX_NULL, OUTCOME_NONE, 0, 4, 3, 5, true, false },
    { "setting: no domain", MX_NO_DOMAIN, OUTCOME_NONE, 0, 4, 3, 5, true,
      false },
    { "setting: no host", MX_NO_HOST, OUTCOME_NONE, 0, 4, 3, 5, true, false },
    { "setting: no usable address", MX_OK, OUTCOME_NONE, 0, 4, 3, 5, true,
      false },
    { "setting: DNS fails", MX_TEMP, OUTCOME_DEFERRED, 0, 4, 4, 3, true,
      false },
    { "DNS refuses", MX_TEMP, OUTCOME_DEFERRED, 0, 4, 4, 3, false, true },
    { "setting: DNS refuses", MX_TEMP, OUTCOME_NONE, 0, 4, 3, 5, true, true },
};

START_TEST(verdict_is)
{
    struct mx_candidate e[MX_CANDIDATES_MAX];
    struct own_host self = { "me.test", 0, NULL };
    struct mx_ranks_rules rules = { &self, verdicts[_i].configured, 25,
                                    always };
    static struct mx_result mx;
    struct answer a;

    mx.status = verdicts[_i].status;
    mx.unusable = verdicts[_i].unusable;
    ck_assert_uint_eq(mx_ranks_build(e, &mx, &rules, &a), 0);
    ck_assert_msg(a.outcome == verdicts[_i].outcome &&
                      a.status.code == verdicts[_i].code &&
                      a.status.class == verdicts[_i].enh_class &&
                      a.status.subject == verdicts[_i].subject &&
                      a.status.detail == verdicts[_i].detail,
                  "%s: %d %u %u.%u.%u", verdicts[_i].name, a.outcome,
                  a.status.code, a.status.class, a.status.subject,
                  a.status.detail);
}
END_TEST

/* --- retry queue -----------------------------------------------------------*/

static unsigned take_all(struct retry_queue *c, uint32_t now)
{
    struct list due;
    unsigned n = 0;

    list_init(&due);
    retry_queue_due(c, now, &due);
    while (list_pop(&due) != NULL)
        n++;
    return n;
}

START_TEST(retry_queue_keeps_time)
{
    static struct retry_queue c;
    static const uint32_t when[] = { 5,    11, 11, 12, 11 + RETRY_QUEUE_SECONDS,
                                     99999 };
    struct rcpt r[6] = { { .when = 0 } };

    retry_queue_init(&c, 10);
    ck_assert_uint_eq(retry_queue_next(&c), UINT32_MAX);
    for (size_t i = 0; i < 6; i++) {
        r[i].when = when[i];
        retry_queue_add(&c, &r[i]);
    }
    ck_assert_uint_eq(retry_queue_next(&c), 1);
    ck_assert_uint_eq(take_all(&c, 10), 0);
    ck_assert_uint_eq(take_all(&c, 11), 3); /* what was past is due too */
    ck_assert_uint_eq(take_all(&c, 12), 1);
    ck_assert_uint_eq(take_all(&c, 10 + RETRY_QUEUE_SECONDS), 0);
    ck_assert_uint_eq(take_all(&c, 11 + RETRY_QUEUE_SECONDS), 1);
    ck_assert_uint_eq(take_all(&c, 200000), 1);
    ck_assert_uint_eq(c.n, 0);
}
END_TEST

#define LOOP(t, fn, table)                                                     \
    tcase_add_loop_test(t, fn, 0, (int)(sizeof table / sizeof table[0]))

Suite *send_tables_suite(void);
Suite *send_tables_suite(void)
{
    Suite *s = suite_create("send.tables");
    TCase *t = tcase_create("tables");
    tcase_add_test(t, table_is_total);
    tcase_add_test(t, table_is_connected);
    LOOP(t, delay_is_within, delays);
    LOOP(t, greylisting_has_its_waits, greys);
    LOOP(t, left_is_clamped, lefts);
    LOOP(t, age_is_of_attempts, ages);
    tcase_add_test(t, backoff_grows);
    LOOP(t, route_is, routes);
    LOOP(t, route_by_sender_is, by_sender);
    LOOP(t, ranks_are, ranks);
    LOOP(t, own_host_is_known, own);
    LOOP(t, verdict_is, verdicts);
    tcase_add_test(t, retry_queue_keeps_time);
    suite_add_tcase(s, t);
    return s;
}
