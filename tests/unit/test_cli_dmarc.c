/* test_cli_dmarc.c - RFC 9989: which record, which wish, which signature. */
#include "cli/dmarc.h"
#include "cli/tag_list.h"
#include "zone.h"

#include <check.h>
#include <string.h>

/* clang-format off */

/* --- the record, and what it wishes for mail of the domain ---------------- */

static const struct {
    const char *name, *domain, *zone;
    enum dmarc_status status;
    enum dmarc_wish wish;
    const char *where, *org; /* the record's domain, the Organizational one */
} policies[] = {
    /* whose record (4.10.1, 4.10.2) */
    { "none", "a.b.test", "", DMARC_NO_RECORD, DMARC_NONE, "", "a.b.test" },
    { "its own", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "of the domain above", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "its own goes before that above", "a.b.test",
      "_dmarc.a.b.test TXT v=DMARC1; p=none\n"
      "_dmarc.b.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_NONE, "a.b.test", "b.test" },
    { "the shortest of those above", "a.b.c.test",
      "_dmarc.b.c.test TXT v=DMARC1; p=quarantine\n"
      "_dmarc.c.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "c.test", "c.test" },
    { "of a top level domain", "a.test",
      "_dmarc.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "test", "test" },

    /* psd= */
    { "psd=n ends it", "a.b.c.test",
      "_dmarc.b.c.test TXT v=DMARC1; p=quarantine; psd=n\n"
      "_dmarc.c.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_QUARANTINE, "b.c.test", "b.c.test" },
    { "psd=n at its own", "b.c.test",
      "_dmarc.b.c.test TXT v=DMARC1; p=quarantine; psd=n\n"
      "_dmarc.c.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_QUARANTINE, "b.c.test", "b.c.test" },
    { "below psd=y", "a.b.test",
      "_dmarc.test TXT v=DMARC1; p=reject; psd=y",
      DMARC_FOUND, DMARC_REJECT, "test", "b.test" },
    { "the record below psd=y goes first", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=quarantine\n"
      "_dmarc.test TXT v=DMARC1; p=reject; psd=y",
      DMARC_FOUND, DMARC_QUARANTINE, "b.test", "b.test" },
    { "one in between is not that", "a.x.b.test",
      "_dmarc.x.b.test TXT v=DMARC1; p=none\n"
      "_dmarc.test TXT v=DMARC1; p=reject; psd=y",
      DMARC_FOUND, DMARC_REJECT, "test", "b.test" },
    { "psd=y at its own counts as any", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=quarantine; psd=y",
      DMARC_FOUND, DMARC_QUARANTINE, "b.test", "b.test" },
    { "psd=u", "a.b.test",
      "_dmarc.a.b.test TXT v=DMARC1; p=reject; psd=u\n"
      "_dmarc.b.test TXT v=DMARC1; p=none; psd=u",
      DMARC_FOUND, DMARC_REJECT, "a.b.test", "b.test" },
    { "psd that begins with n", "a.b.test",
      "_dmarc.a.b.test TXT v=DMARC1; p=reject; psd=nope\n"
      "_dmarc.b.test TXT v=DMARC1; p=none",
      DMARC_FOUND, DMARC_REJECT, "a.b.test", "b.test" },

    /* p, sp, np */
    { "sp of the domain above", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "sp is not for itself", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=reject; np=reject",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
    { "np of a domain that does not exist", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=quarantine; np=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "not of one that exists", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=quarantine; np=reject\n"
      "a.b.test A 192.0.2.1",
      DMARC_FOUND, DMARC_QUARANTINE, "b.test", "b.test" },
    { "without np sp", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; sp=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "np without sp", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=quarantine; np=none\n"
      "a.b.test A 192.0.2.1",
      DMARC_FOUND, DMARC_QUARANTINE, "b.test", "b.test" },
    { "no p", "b.test", "_dmarc.b.test TXT v=DMARC1; rua=mailto:x@y.test",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
    { "a faulty p", "b.test", "_dmarc.b.test TXT v=DMARC1; p=rejct",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
    { "a long one", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=rejectrejectrejectrejectreject",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
    { "a faulty sp spoils all", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; sp=x",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
    { "capitals and blanks", "b.test",
      "_dmarc.b.test TXT v = DMARC1 ; p = ReJect ;",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },

    /* which texts are records (4.10 step 2) */
    { "several are none", "a.b.test",
      "_dmarc.a.b.test TXT v=DMARC1; p=none\n"
      "_dmarc.a.b.test TXT v=DMARC1; p=none\n"
      "_dmarc.b.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "beside other texts", "b.test",
      "_dmarc.b.test TXT hello\n_dmarc.b.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "b.test", "b.test" },
    { "another version", "b.test", "_dmarc.b.test TXT v=DMARC2; p=reject",
      DMARC_NO_RECORD, DMARC_NONE, "", "b.test" },
    { "version in another case", "b.test",
      "_dmarc.b.test TXT v=dmarc1; p=reject",
      DMARC_NO_RECORD, DMARC_NONE, "", "b.test" },
    { "version not first", "b.test",
      "_dmarc.b.test TXT p=reject; v=DMARC1",
      DMARC_NO_RECORD, DMARC_NONE, "", "b.test" },
    { "another tag first", "b.test",
      "_dmarc.b.test TXT vx=1; v=DMARC1; p=reject",
      DMARC_NO_RECORD, DMARC_NONE, "", "b.test" },

    /* 8 labels and more: the domain, then the last 7 labels */
    { "8 labels: the next is asked for", "1.2.3.4.5.6.7.test",
      "_dmarc.2.3.4.5.6.7.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "2.3.4.5.6.7.test", "2.3.4.5.6.7.test" },
    { "9 labels: the next is not", "0.1.2.3.4.5.6.7.test",
      "_dmarc.1.2.3.4.5.6.7.test TXT v=DMARC1; p=reject",
      DMARC_NO_RECORD, DMARC_NONE, "", "0.1.2.3.4.5.6.7.test" },
    { "9 labels: the one above that is", "0.1.2.3.4.5.6.7.test",
      "_dmarc.2.3.4.5.6.7.test TXT v=DMARC1; p=reject",
      DMARC_FOUND, DMARC_REJECT, "2.3.4.5.6.7.test", "2.3.4.5.6.7.test" },
    { "the top of a long one", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.test",
      "_dmarc.n.test TXT v=DMARC1; p=none; sp=reject",
      DMARC_FOUND, DMARC_REJECT, "n.test", "n.test" },
    { "psd=y below a leap", "0.1.2.3.4.5.6.7.8.test",
      "_dmarc.3.4.5.6.7.8.test TXT v=DMARC1; p=reject; psd=y",
      DMARC_FOUND, DMARC_REJECT, "3.4.5.6.7.8.test", "2.3.4.5.6.7.8.test" },

    { "cannot be looked up", "b.test", "_dmarc.b.test FAIL",
      DMARC_FAILED, DMARC_NONE, "", "" },
    { "the one above cannot", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none\n_dmarc.test FAIL",
      DMARC_FAILED, DMARC_NONE, "", "" },
    { "psd=n asks no further", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=none; psd=n\n_dmarc.test FAIL",
      DMARC_FOUND, DMARC_NONE, "b.test", "b.test" },
};

/* --- signatures ----------------------------------------------------------- */

static const struct {
    const char *name, *domain, *signer, *zone;
    enum dmarc_status status;
} signatures[] = {
    { "the same domain", "b.test", "B.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; adkim=s", DMARC_FOUND },
    { "relaxed: below", "b.test", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_FOUND },
    { "relaxed, written out: below", "b.test", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; adkim=r", DMARC_FOUND },
    { "relaxed: above", "a.b.test", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_FOUND },
    { "relaxed: beside it", "a.b.test", "c.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_FOUND },
    { "relaxed: another", "b.test", "c.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_NO_RECORD },
    { "relaxed: the end of a name is no domain", "b.test", "ab.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_NO_RECORD },
    { "relaxed: a domain without a record", "b.test", "test",
      "_dmarc.b.test TXT v=DMARC1; p=reject", DMARC_NO_RECORD },
    { "strict: below", "b.test", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; adkim=s", DMARC_NO_RECORD },
    { "strict: above", "a.b.test", "b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; adkim=s", DMARC_NO_RECORD },
    { "the own record says how strict", "a.b.test", "b.test",
      "_dmarc.a.b.test TXT v=DMARC1; p=none\n"
      "_dmarc.b.test TXT v=DMARC1; p=reject; adkim=s", DMARC_FOUND },
    { "a strict SPF says nothing about it", "b.test", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject; aspf=s", DMARC_FOUND },
    { "below, but with psd=n of its own", "b.test", "a.b.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject\n"
      "_dmarc.a.b.test TXT v=DMARC1; p=none; psd=n", DMARC_NO_RECORD },
    { "two below one psd=y", "a.psd.test", "b.psd.test",
      "_dmarc.psd.test TXT v=DMARC1; p=reject; psd=y", DMARC_NO_RECORD },
    { "one below psd=y, and one below that", "a.psd.test", "x.a.psd.test",
      "_dmarc.psd.test TXT v=DMARC1; p=reject; psd=y", DMARC_FOUND },
    { "the signer's cannot be looked up", "b.test", "c.test",
      "_dmarc.b.test TXT v=DMARC1; p=reject\n_dmarc.c.test FAIL",
      DMARC_FAILED },
};
/* clang-format on */

START_TEST(policy_is_found)
{
    struct zone zone = { policies[_i].zone, 0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct dmarc_policy p;

    dmarc_find(&p, &lookup, policies[_i].domain);
    ck_assert_msg(p.status == policies[_i].status &&
                      p.wish == policies[_i].wish &&
                      strcmp(p.domain, policies[_i].where) == 0 &&
                      strcmp(p.org, policies[_i].org) == 0,
                  "%s: %d, wish %d of '%s', org '%s'", policies[_i].name,
                  (int)p.status, (int)p.wish, p.domain, p.org);
    ck_assert_uint_le(zone.asked, 8 + 1); /* and whether it exists */
}
END_TEST

START_TEST(signature_is_judged)
{
    struct zone zone = { signatures[_i].zone, 0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct dmarc_policy p;

    dmarc_find(&p, &lookup, signatures[_i].domain);
    ck_assert_int_eq(p.status, DMARC_FOUND);
    enum dmarc_status s =
        dmarc_judge(&p, &lookup, signatures[_i].domain, signatures[_i].signer);
    ck_assert_msg(s == signatures[_i].status, "%s: %d", signatures[_i].name,
                  (int)s);
}
END_TEST

START_TEST(test_mode)
{
    struct zone zone = { "_dmarc.b.test TXT v=DMARC1; p=reject; t=y\n"
                         "_dmarc.c.test TXT v=DMARC1; p=reject; t=n\n",
                         0 };
    const struct check_lookup lookup = zone_lookup(&zone);
    struct dmarc_policy p;

    dmarc_find(&p, &lookup, "b.test");
    ck_assert(p.testing && p.wish == DMARC_REJECT);
    dmarc_find(&p, &lookup, "c.test");
    ck_assert(!p.testing);
}
END_TEST

START_TEST(tags)
{
    static const char record[] = "v=DKIM1; k = rsa ;p=AB\t C D;t;=x;t=y";
    char out[8];

    ck_assert(tag_list_find(out, sizeof out, record, "k"));
    ck_assert_str_eq(out, "rsa");
    ck_assert(tag_list_find(out, sizeof out, record, "p"));
    ck_assert_str_eq(out, "ABCD");
    ck_assert(tag_list_find(out, sizeof out, record, "t"));
    ck_assert_str_eq(out, ""); /* the first one */
    ck_assert(!tag_list_find(out, sizeof out, record, "s"));
    ck_assert(!tag_list_find(out, sizeof out, "", "s"));
    ck_assert(tag_list_find(out, 5, record, "p"));
    ck_assert_str_eq(out, "ABCD");
    ck_assert(tag_list_find(out, 4, record, "p"));
    ck_assert_str_eq(out, "");
    ck_assert(tag_list_begins(record, "v", "DKIM1"));
    ck_assert(!tag_list_begins(record, "k", "rsa"));
    ck_assert(!tag_list_begins("", "v", "DKIM1"));
}
END_TEST

Suite *cli_dmarc_suite(void);
Suite *cli_dmarc_suite(void)
{
    Suite *s = suite_create("cli.dmarc");
    TCase *t = tcase_create("rfc9989");

    tcase_add_loop_test(t, policy_is_found, 0,
                        sizeof policies / sizeof policies[0]);
    tcase_add_loop_test(t, signature_is_judged, 0,
                        sizeof signatures / sizeof signatures[0]);
    tcase_add_test(t, test_mode);
    tcase_add_test(t, tags);
    suite_add_tcase(s, t);
    return s;
}
