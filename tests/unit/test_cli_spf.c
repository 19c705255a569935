/* test_cli_spf.c - RFC 7208, a record at a time. */
#include "base/buf.h"
#include "cli/spf.h"
#include "zone.h"

#include <check.h>
#include <string.h>

/* The record of d.test, other lines of the zone, and what comes of it for
 * 192.0.2.1, or for 2001:db8::1 with v6.  why: a part of it. */
#define D "d.test TXT v=spf1"
static const struct {
    const char *name, *zone;
    enum spf_result result;
    const char *why;
    bool v6;
} cases[] = {
    /* clang-format off */
    /* records (4.4, 4.5) */
    { "no name", "", SPF_NONE, "", false },
    { "another text", "d.test TXT hello", SPF_NONE, "", false },
    { "another version", "d.test TXT v=spf10 -all", SPF_NONE, "", false },
    { "none but a version", D, SPF_NEUTRAL, "no term", false },
    { "version in capitals", "d.test TXT V=SPF1 +ALL", SPF_PASS, "by: ALL", false },
    { "two records", D " -all\n" D " +all", SPF_PERMERROR, "more than one", false },
    { "beside other texts", "d.test TXT x\n" D " +all\nd.test TXT y", SPF_PASS, "by: all", false },
    { "cannot be looked up", "d.test FAIL", SPF_TEMPERROR, "times out", false },
    { "many blanks", D "   ip4:192.0.2.1   -all  ", SPF_PASS, "by: ip4", false },

    /* qualifiers */
    { "fail", D " -all", SPF_FAIL, "by: all", false },
    { "softfail", D " ~all", SPF_SOFTFAIL, "by: all", false },
    { "neutral", D " ?all", SPF_NEUTRAL, "by: all", false },
    { "plus", D " +all", SPF_PASS, "by: all", false },
    { "the first that matches", D " ?ip4:192.0.2.1 -all", SPF_NEUTRAL, "ip4", false },

    /* syntax (4.6): also behind what would match */
    { "unknown mechanism", D " +all nonsense", SPF_PERMERROR, "malformed: nonsense", false },
    { "all with a value", D " all:x.test", SPF_PERMERROR, "malformed", false },
    { "all with a length", D " all/8", SPF_PERMERROR, "malformed", false },
    { "a tab", D " ip4:192.0.2.1\t-all", SPF_PERMERROR, "malformed", false },
    { "not ASCII", D " a:\303\251.test -all", SPF_PERMERROR, "malformed", false },
    { "a modifier without name", D " =x -all", SPF_PERMERROR, "malformed", false },
    { "a name that begins with a digit", D " 1x=y -all", SPF_PERMERROR, "malformed", false },
    { "an unknown modifier", D " x-1.y_z=man:dog/cat -all", SPF_FAIL, "by: all", false },
    { "its macros", D " x=%{c}%{r}%{t}%% -all", SPF_FAIL, "by: all", false },
    { "its faulty macro", D " x=%{q} -all", SPF_PERMERROR, "malformed", false },
    { "a modifier with qualifier", D " ?x=y -all", SPF_PERMERROR, "malformed", false },
    { "a single percent", D " x=10% -all", SPF_PERMERROR, "malformed", false },

    /* ip4, ip6 */
    { "ip4", D " ip4:192.0.2.1 -all", SPF_PASS, "ip4:192.0.2.1", false },
    { "ip4, another", D " ip4:192.0.2.2 -all", SPF_FAIL, "all", false },
    { "ip4, network", D " ip4:192.0.2.127/25 -all", SPF_PASS, "ip4", false },
    { "ip4, beside it", D " ip4:192.0.2.128/25 -all", SPF_FAIL, "all", false },
    { "ip4/0", D " ip4:1.2.3.4/0 -all", SPF_PASS, "ip4", false },
    { "ip4/33", D " ip4:192.0.2.1/33 -all", SPF_PERMERROR, "malformed", false },
    { "ip4/032", D " ip4:192.0.2.1/032 -all", SPF_PERMERROR, "malformed", false },
    { "ip4/", D " ip4:192.0.2.1/ -all", SPF_PERMERROR, "malformed", false },
    { "ip4//32", D " ip4:192.0.2.1//32 -all", SPF_PERMERROR, "malformed", false },
    { "ip4 of three parts", D " ip4:192.0.2 -all", SPF_PERMERROR, "malformed", false },
    { "ip4 with a port", D " ip4:192.0.2.1:25 -all", SPF_PERMERROR, "malformed", false },
    { "ip4 without address", D " ip4 -all", SPF_PERMERROR, "malformed", false },
    { "ip4 with an ip6", D " ip4:2001:db8::1 -all", SPF_PERMERROR, "malformed", false },
    { "ip4 for an ip6 client", D " ip4:0.0.0.0/0 -all", SPF_FAIL, "all", true },
    { "ip6", D " ip6:2001:db8::/32 -all", SPF_PASS, "ip6", true },
    { "ip6, another", D " ip6:2001:db9::/32 -all", SPF_FAIL, "all", true },
    { "ip6/129", D " ip6:2001:db8::/129 -all", SPF_PERMERROR, "malformed", true },
    { "ip6 for an ip4 client", D " ip6:::/0 -all", SPF_FAIL, "all", false },
    { "ip6 that maps ip4", D " ip6:::ffff:192.0.2.1 -all", SPF_FAIL, "all", false },
    { "ip6 with an ip4", D " ip6:192.0.2.1 -all", SPF_PERMERROR, "malformed", false },

    /* a */
    { "a", D " a -all\nd.test A 192.0.2.1", SPF_PASS, "by: a", false },
    { "a, another", D " a -all\nd.test A 192.0.2.9", SPF_FAIL, "all", false },
    { "a of many", D " a -all\nd.test A 192.0.2.9\nd.test A 192.0.2.1", SPF_PASS, "a", false },
    { "a/24", D " a/24 -all\nd.test A 192.0.2.9", SPF_PASS, "a/24", false },
    { "a//64 is of ip6", D " a//64 -all\nd.test A 192.0.2.9", SPF_FAIL, "all", false },
    { "a//64", D " a//64 -all\nd.test AAAA 2001:db8::9", SPF_PASS, "a//64", true },
    { "a/24//64", D " a:h.test/24//64 -all\nh.test AAAA 2001:db8::9", SPF_PASS, "a:h.test", true },
    { "a/0", D " a/0 -all\nd.test A 1.2.3.4", SPF_PASS, "a/0", false },
    { "a/33", D " a/33 -all", SPF_PERMERROR, "malformed", false },
    { "a//129", D " a//129 -all", SPF_PERMERROR, "malformed", false },
    { "a//", D " a// -all", SPF_PERMERROR, "malformed", false },
    { "a:", D " a: -all", SPF_PERMERROR, "malformed", false },
    { "a without a dot", D " a:museum -all", SPF_PERMERROR, "malformed", false },
    { "a with a dot at its end only", D " a:museum. -all", SPF_PERMERROR, "malformed", false },
    { "a, absolute", D " a:h.test. -all\nh.test A 192.0.2.1", SPF_PASS, "a:h.test.", false },
    { "a with digits at its end", D " a:192.0.2.1 -all", SPF_PERMERROR, "malformed", false },
    { "a with a port", D " a:h.test:25 -all", SPF_PERMERROR, "malformed", false },
    { "a with colon and slash", D " a:x:y/z.h.test -all\nx:y/z.h.test A 192.0.2.1", SPF_PASS, "a:x:y/z.h.test", false },
    { "a with a hyphen at its end", D " a:h.test- -all", SPF_PERMERROR, "malformed", false },
    { "a, an impossible name", D " a:x..test ip4:192.0.2.1 -all", SPF_PASS, "ip4", false },
    { "a that fails", D " a:h.test -all\nh.test FAIL", SPF_TEMPERROR, "h.test times out", false },

    /* mx */
    { "mx", D " mx -all\nd.test MX h.test\nh.test A 192.0.2.1", SPF_PASS, "by: mx", false },
    { "mx, the second", D " mx -all\nd.test MX g.test\nd.test MX h.test\ng.test A 192.0.2.7\nh.test A 192.0.2.1", SPF_PASS, "mx", false },
    { "mx/24", D " mx:m.test/24 -all\nm.test MX h.test\nh.test A 192.0.2.9", SPF_PASS, "mx:m.test/24", false },
    { "mx//64", D " mx//64 -all\nd.test MX h.test\nh.test AAAA 2001:db8::9", SPF_PASS, "mx//64", true },
    { "no mx: its address does not count", D " mx -all\nd.test A 192.0.2.1", SPF_FAIL, "all", false },
    { "null mx", D " mx -all\nd.test MX .", SPF_FAIL, "all", false },
    { "10 mx", D " mx -all\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\n"
      "d.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX g.test\n"
      "h.test A 192.0.2.9\ng.test A 192.0.2.1", SPF_PASS, "mx", false },
    { "11 mx", D " mx -all\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\n"
      "d.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\nd.test MX h.test\n"
      "h.test A 192.0.2.1", SPF_PERMERROR, "more than 10 MX", false },
    { "mx that fails", D " mx -all\nd.test MX h.test\nh.test FAIL", SPF_TEMPERROR, "times out", false },

    /* ptr (5.5) */
    { "ptr", D " ptr -all\n1.2.0.192.in-addr.arpa PTR h.d.test\nh.d.test A 192.0.2.1", SPF_PASS, "by: ptr", false },
    { "ptr:", D " ptr:p.test -all\n1.2.0.192.in-addr.arpa PTR p.test\np.test A 192.0.2.1", SPF_PASS, "ptr:p.test", false },
    { "ptr that does not lead back", D " ptr -all\n1.2.0.192.in-addr.arpa PTR h.d.test\nh.d.test A 192.0.2.9", SPF_FAIL, "all", false },
    { "ptr of another domain", D " ptr -all\n1.2.0.192.in-addr.arpa PTR xd.test\nxd.test A 192.0.2.1", SPF_FAIL, "all", false },
    { "ptr that fails", D " ptr -all\n1.2.0.192.in-addr.arpa FAIL", SPF_FAIL, "all", false },
    { "ptr/24", D " ptr/24 -all", SPF_PERMERROR, "malformed", false },

    /* exists */
    { "exists", D " exists:e.test -all\ne.test A 127.0.0.2", SPF_PASS, "exists:e.test", false },
    { "exists, for ip6 too", D " exists:e.test -all\ne.test A 127.0.0.2", SPF_PASS, "exists", true },
    { "exists by AAAA alone", D " exists:e.test -all\ne.test AAAA 2001:db8::1", SPF_FAIL, "all", true },
    { "exists not", D " exists:e.test -all", SPF_FAIL, "all", false },
    { "exists without value", D " exists -all", SPF_PERMERROR, "malformed", false },
    { "exists/24", D " exists:e.test/24 -all", SPF_PERMERROR, "malformed", false },
    { "exists that fails", D " exists:e.test -all\ne.test FAIL", SPF_TEMPERROR, "times out", false },

    /* include (5.2) */
    { "include", D " include:i.test -all\ni.test TXT v=spf1 ip4:192.0.2.1 -all", SPF_PASS, "include:i.test", false },
    { "its fail is no match", D " include:i.test ~all\ni.test TXT v=spf1 -all", SPF_SOFTFAIL, "all", false },
    { "its softfail is no match", D " include:i.test -all\ni.test TXT v=spf1 ~all", SPF_FAIL, "all", false },
    { "its neutral is no match", D " include:i.test -all\ni.test TXT v=spf1", SPF_FAIL, "all", false },
    { "its qualifier", D " -include:i.test +all\ni.test TXT v=spf1 +all", SPF_FAIL, "include", false },
    { "its permerror", D " include:i.test +all\ni.test TXT v=spf1 x", SPF_PERMERROR, "malformed: x", false },
    { "its temperror", D " include:i.test +all\ni.test FAIL", SPF_TEMPERROR, "times out", false },
    { "of none", D " include:i.test +all", SPF_PERMERROR, "includes a domain without SPF", false },
    { "include without value", D " include +all", SPF_PERMERROR, "malformed", false },
    { "include/24", D " include:i.test/24 +all", SPF_PERMERROR, "malformed", false },
    { "includes itself", D " include:d.test -all", SPF_PERMERROR, "more than 10 look-ups", false },
    { "in a ring", D " include:i.test -all\ni.test TXT v=spf1 include:d.test -all", SPF_PERMERROR, "more than 10", false },

    /* redirect (6.1) */
    { "redirect", D " redirect=r.test\nr.test TXT v=spf1 ip4:192.0.2.1 -all", SPF_PASS, "ip4", false },
    { "behind what does not match", D " redirect=r.test a:x.test\nr.test TXT v=spf1 -all", SPF_FAIL, "all", false },
    { "not with all", D " redirect=r.test ?all\nr.test TXT v=spf1 -all", SPF_NEUTRAL, "all", false },
    { "to none", D " redirect=r.test", SPF_PERMERROR, "redirects to a domain without SPF", false },
    { "to one that fails", D " redirect=r.test\nr.test FAIL", SPF_TEMPERROR, "times out", false },
    { "redirect twice", D " redirect=r.test redirect=r.test", SPF_PERMERROR, "a second time", false },
    { "redirect without value", D " redirect=", SPF_PERMERROR, "malformed", false },
    { "to itself", D " redirect=d.test", SPF_PERMERROR, "more than 10 look-ups", false },
    { "in an include", D " include:i.test -all\ni.test TXT v=spf1 redirect=r.test\nr.test TXT v=spf1 ip4:192.0.2.1", SPF_PASS, "include", false },
    { "exp", D " exp=e.test -all", SPF_FAIL, "all", false },
    { "exp twice", D " exp=e.test exp=e.test -all", SPF_PERMERROR, "a second time", false },
    { "exp without value", D " exp= -all", SPF_PERMERROR, "malformed", false },

    /* macros (7): sender postmaster@d.test, HELO mx.d.test */
    { "s has an @, which is never asked for", D " exists:%{s}.e.test -all", SPF_CANNOT_SAY, "exists:%{s}.e.test", false },
    { "s in an include", D " include:i.test -all\ni.test TXT v=spf1 exists:%{s}.e.test", SPF_CANNOT_SAY, "exists:%{s}.e.test", false },
    { "l, o, h", D " exists:%{l}.%{o}.%{h}.e.test -all\npostmaster.d.test.mx.d.test.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "d in an include", D " include:i.test -all\ni.test TXT v=spf1 exists:%{d}.%{o}.e.test\ni.test.d.test.e.test A 127.0.0.2", SPF_PASS, "include", false },
    { "ir, v", D " exists:%{ir}.%{v}.e.test -all\n1.2.0.192.in-addr.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "ir, v of ip6", D " exists:%{ir}.%{v}.e.test -all\n1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.e.test A 127.0.0.2", SPF_PASS, "exists", true },
    { "parts from the right", D " exists:%{i2}.e.test -all\n2.1.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "turned, then from the right", D " exists:%{i2r}.e.test -all\n0.192.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "more parts than there are", D " exists:%{i200}.e.test -all\n192.0.2.1.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "another delimiter", D " exists:%{hr/-.}.e.test -all\ntest.d.mx.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "parts without delimiter", D " exists:%{d-}.e.test -all\nd.test.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "capitals are escaped", D " exists:%{S}.e.test -all\npostmaster%40d.test.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "percents", D " exists:%%.%-.e.test -all\n%.%20.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "at the end", D " include:%{d1}.%{o} -all\ntest.d.test TXT v=spf1 +all", SPF_PASS, "include", false },
    { "p", D " exists:%{p}.e.test -all\n1.2.0.192.in-addr.arpa PTR z.test\n1.2.0.192.in-addr.arpa PTR x.d.test\n"
      "1.2.0.192.in-addr.arpa PTR bad.test\nz.test A 192.0.2.1\nx.d.test A 192.0.2.1\nx.d.test.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "p without a name", D " exists:%{p}.e.test -all\nunknown.e.test A 127.0.0.2", SPF_PASS, "exists", false },
    { "an unknown letter", D " exists:%{q}.e.test -all", SPF_PERMERROR, "malformed", false },
    { "a letter of exp alone", D " exists:%{c}.e.test -all", SPF_PERMERROR, "malformed", false },
    { "no parts", D " exists:%{i0}.e.test -all", SPF_PERMERROR, "malformed", false },
    { "turned twice", D " exists:%{irr}.e.test -all", SPF_PERMERROR, "malformed", false },
    { "an open brace", D " exists:%{i.e.test -all", SPF_PERMERROR, "malformed", false },
    { "a macro and a label", D " exists:%{d}com -all", SPF_PERMERROR, "malformed", false },

    /* limits (4.6.4) */
    { "10 look-ups", D " a a a a a a a a a exists:d.test -all\nd.test A 192.0.2.9", SPF_PASS, "exists:d.test", false },
    { "11 look-ups", D " a a a a a a a a a a a -all\nd.test A 192.0.2.9", SPF_PERMERROR, "more than 10 look-ups", false },
    { "10 and redirect", D " a a a a a a a a a a redirect=r.test\nd.test A 192.0.2.9\nr.test TXT v=spf1 +all", SPF_PERMERROR, "more than 10 look-ups", false },
    { "9 and redirect", D " a a a a a a a a a redirect=r.test\nd.test A 192.0.2.9\nr.test TXT v=spf1 +all", SPF_PASS, "all", false },
    { "those of an include", D " include:i.test a a a a a -all\nd.test A 192.0.2.9\ni.test TXT v=spf1 a a a a a\ni.test A 192.0.2.9", SPF_PERMERROR, "more than 10", false },
    { "ip4 and all are none", D " ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 ip4:1.1.1.1 -all", SPF_FAIL, "all", false },
    { "2 void", D " a:x.test exists:y.test ip4:192.0.2.1 -all", SPF_PASS, "ip4", false },
    { "3 void", D " a:x.test exists:y.test mx:z.test ip4:192.0.2.1 -all", SPF_PERMERROR, "more than 2 look-ups find nothing: z.test", false },
    { "void without records", D " a a:e.test exists:d.test ip4:192.0.2.1 -all\nd.test AAAA 2001:db8::1\ne.test AAAA 2001:db8::1", SPF_PERMERROR, "find nothing", false },
    { "hosts of one mx are one", D " mx ip6:2001:db8::1 -all\nd.test MX g.test\nd.test MX h.test\nd.test MX i.test\ng.test A 192.0.2.1\nh.test A 192.0.2.1\ni.test A 192.0.2.1", SPF_PASS, "ip6", true },
    { "void in an include", D " include:i.test a:x.test a:y.test -all\ni.test TXT v=spf1 a:z.test", SPF_PERMERROR, "find nothing: y.test", false },
    { "void of ptr", D " a:x.test a:y.test ptr -all", SPF_PERMERROR, "find nothing", false },
    /* clang-format on */
};

START_TEST(evaluates)
{
    struct zone zone = { cases[_i].zone, 0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct spf_why why;
    struct addr ip;

    ck_assert(addr_parse_ip(
        &ip, span_of(cases[_i].v6 ? "2001:db8::1" : "192.0.2.1"), 0));
    enum spf_result r = spf_check(&lookup, &ip, "d.test", "mx.d.test", &why);
    ck_assert_msg(r == cases[_i].result &&
                      strstr(why.text, cases[_i].why) != NULL,
                  "%s: %d (%s)", cases[_i].name, (int)r, why.text);
}
END_TEST

/* A name that is too long loses labels on its left (7.3): of 64 short ones
 * three. */
START_TEST(long_names)
{
    static char zone_text[4096];
    struct buf zone_buf = BUF_ON(zone_text);
    struct zone zone = { zone_text, 0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct spf_why why;
    struct addr ip;

    buf_adds(&zone_buf, D " exists:");
    for (int i = 0; i < 64; i++)
        buf_adds(&zone_buf, "abc.");
    buf_adds(&zone_buf, "e.test -all\n");
    for (int i = 0; i < 61; i++)
        buf_adds(&zone_buf, "abc.");
    buf_adds(&zone_buf, "e.test A 127.0.0.2\n");
    ck_assert(!zone_buf.full);
    ck_assert(addr_parse_ip(&ip, SPAN_LIT("192.0.2.1"), 0));
    ck_assert_int_eq(spf_check(&lookup, &ip, "d.test", "mx.d.test", &why),
                     SPF_PASS);
}
END_TEST

/* Whatever the records are, the number of look-ups is bounded. */
START_TEST(look_ups_are_bounded)
{
    static const char *const worst[] = {
        "d.test TXT v=spf1 mx mx mx mx mx mx mx mx mx mx -all\n"
        "d.test MX 1.test\nd.test MX 2.test\nd.test MX 3.test\n"
        "d.test MX 4.test\nd.test MX 5.test\nd.test MX 6.test\n"
        "d.test MX 7.test\nd.test MX 8.test\nd.test MX 9.test\n"
        "d.test MX d.test\nd.test A 192.0.2.9\n1.test A 192.0.2.9\n"
        "2.test A 192.0.2.9\n3.test A 192.0.2.9\n4.test A 192.0.2.9\n"
        "5.test A 192.0.2.9\n6.test A 192.0.2.9\n7.test A 192.0.2.9\n"
        "8.test A 192.0.2.9\n9.test A 192.0.2.9\n",
        "d.test TXT v=spf1 include:%{p}%{p}%{p}.d.test ptr ptr ptr ptr -all\n"
        "d.test A 192.0.2.9\n",
    };
    struct zone zone = { worst[_i], 0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct spf_why why;
    struct addr ip;

    ck_assert(addr_parse_ip(&ip, SPAN_LIT("192.0.2.1"), 0));
    (void)spf_check(&lookup, &ip, "d.test", "mx.d.test", &why);
    ck_assert_uint_le(zone.asked, 1 + 10 * 11);
}
END_TEST

Suite *cli_spf_suite(void);
Suite *cli_spf_suite(void)
{
    Suite *s = suite_create("cli.spf");
    TCase *t = tcase_create("rfc7208");

    tcase_add_loop_test(t, evaluates, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, long_names);
    tcase_add_loop_test(t, look_ups_are_bounded, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
