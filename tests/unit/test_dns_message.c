/* test_dns_message.c - names, queries, and answers good and bad. */
#include "dns/message.h"
#include "dns_packet.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define L61 "1234567890123456789012345678901234567890123456789012345678901"
#define L63 L61 "23"

/* clang-format off */
static const struct {
    const char *name, *in, *out; /* out NULL: refused */
} names[] = {
    { "plain", "example.test", "example.test" },
    { "upper case", "Example.TEST", "example.test" },
    { "dot at the end", "example.test.", "example.test" },
    { "one label", "localhost", "localhost" },
    { "underscore and slash", "_25._tcp.0/25.test", "_25._tcp.0/25.test" },
    { "label of 63", L63 ".test", L63 ".test" },
    { "name of 253", L63 "." L63 "." L63 "." L61,
      L63 "." L63 "." L63 "." L61 },
    { "label of 64", L63 "4.test", NULL },
    { "name of 254", L63 "." L63 "." L63 "." L61 "2", NULL },
    { "empty", "", NULL },
    { "root", ".", NULL },
    { "two dots at the end", "a..", NULL },
    { "empty label", "a..b", NULL },
    { "dot in front", ".a", NULL },
    { "blank", "a b.test", NULL },
    { "control", "a\001b.test", NULL },
    { "DEL", "a\177.test", NULL },
    { "line feed", "a\nb.test", NULL },
    { "eight bits", "b\303\274cher.test", NULL },
    { "backslash", "a\\.b", NULL },
    { "at sign", "a@b.test", NULL },
};
/* clang-format on */

START_TEST(name_is_checked)
{
    char out[DNS_NAME_MAX];
    bool ok = dns_name_normal(out, names[_i].in);

    ck_assert_msg(ok == (names[_i].out != NULL), "%s", names[_i].name);
    if (ok)
        ck_assert_msg(strcmp(out, names[_i].out) == 0, "%s: %s", names[_i].name,
                      out);
}
END_TEST

START_TEST(query_is_built)
{
    static const unsigned char want[] = { 0xab, 0xcd, 1,   0,   0,   1,  0,
                                          0,    0,    0,   0,   1,   1,  'a',
                                          4,    't',  'e', 's', 't', 0,  0,
                                          15,   0,    1,   0,   0,   41, 0x04,
                                          0xd0, 0,    0,   0,   0,   0,  0 };
    unsigned char out[DNS_QUERY_BYTES];
    struct dns_question q = { "a.test", DNS_MX, 0xabcd, true, 0 };

    ck_assert_int_eq(dns_message_query(out, &q), (int)sizeof want);
    ck_assert_mem_eq(out, want, sizeof want);
    q.edns = false;
    ck_assert_int_eq(dns_message_query(out, &q), (int)sizeof want - 11);
    ck_assert_uint_eq(out[11], 0);
}
END_TEST

START_TEST(longest_query_fits)
{
    char name[DNS_NAME_MAX];
    unsigned char out[DNS_QUERY_BYTES];
    struct dns_question q = { name, DNS_MX, 1, true, 0 };

    ck_assert(dns_name_normal(name, L63 "." L63 "." L63 "." L61));
    ck_assert_int_eq(dns_message_query(out, &q), 12 + 255 + 4 + 11);
}
END_TEST

/* The question is always "a.test", of the type given. */
/* clang-format off */
static const struct answer_case {
    const char *name;
    enum dns_type type;
    unsigned flags;
    const char *records;
    enum dns_verdict verdict;
    enum dns_status status; /* the rest only when it is an answer */
    size_t n;
    unsigned ttl;
    const char *first; /* name of the first record, or end of the chain */
} answers[] = {
    { "one address", DNS_A, RC_OK, "an a.test A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "other case", DNS_A, RC_OK, "an A.TEST A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "least TTL counts", DNS_A, RC_OK,
      "an a.test A 60 192.0.2.1; an a.test A 50 192.0.2.2",
      DNS_MSG_ANSWER, DNS_OK, 2, 50, NULL },
    { "long TTL", DNS_A, RC_OK, "an a.test A 604800 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, DNS_TTL_MAX, NULL },
    { "negative TTL is zero", DNS_A, RC_OK, "an a.test A 2147483648 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 0, NULL },
    { "IPv6", DNS_AAAA, RC_OK, "an a.test AAAA 60 2001:db8::1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "mail host", DNS_MX, RC_OK, "an a.test MX 60 10 Mx.Test",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, "mx.test" },
    { "null MX", DNS_MX, RC_OK, "an a.test MX 60 0 .",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, "" },
    { "mail host with an impossible name", DNS_MX, RC_OK,
      "an a.test MX 60 10 a(b.test",
      DNS_MSG_ANSWER, DNS_OK, 0, 60, NULL },
    { "one of two with an impossible name", DNS_MX, RC_OK,
      "an a.test MX 60 10 a(b.test; an a.test MX 60 20 b.test",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, "b.test" },
    { "name of a client", DNS_PTR, RC_OK, "an a.test PTR 60 host.test",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, "host.test" },
    { "names that are none are left out", DNS_PTR, RC_OK,
      "an a.test PTR 60 a(b.test; an a.test PTR 60 a\tb; an a.test PTR 60 .; "
      "an a.test PTR 60 ok.test",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, "ok.test" },
    { "none that is a name", DNS_PTR, RC_OK, "an a.test PTR 60 a b",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 0, NULL },
    { "address of 3 octets", DNS_A, RC_OK, "an a.test HEX 60 c00002",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 0, NULL },
    { "address of 5 octets", DNS_A, RC_OK, "an a.test HEX 60 c000020101",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 0, NULL },
    { "records of others are not ours", DNS_A, RC_OK,
      "an b.test A 60 192.0.2.9; an a.test A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "records of other types are not ours", DNS_A, RC_OK,
      "an a.test AAAA 60 ::1; an a.test A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "other sections do not count", DNS_A, RC_OK,
      "ns test SOA 300 60; ar a.test A 60 192.0.2.9",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 60, NULL },

    { "alias and its address", DNS_A, RC_OK,
      "an a.test CNAME 30 b.test; an b.test A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 30, NULL },
    { "chain in the wrong order", DNS_A, RC_OK,
      "an c.test A 60 192.0.2.1; an b.test CNAME 60 c.test; "
      "an a.test CNAME 60 b.test",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "address beside the chain", DNS_A, RC_OK,
      "an a.test CNAME 60 b.test; an x.test A 60 192.0.2.9; "
      "an b.test A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "alias alone", DNS_A, RC_OK, "an a.test CNAME 40 B.test",
      DNS_MSG_ALIAS, DNS_OK, 0, 40, "b.test" },
    { "alias to nothing", DNS_A, RC_NXDOMAIN,
      "an a.test CNAME 40 b.test; ns test SOA 300 20",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, 20, NULL },
    { "alias without such records", DNS_A, RC_OK,
      "an a.test CNAME 40 b.test; ns test SOA 300 200",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 40, NULL },
    { "alias of itself", DNS_A, RC_OK, "an a.test CNAME 60 a.test",
      DNS_MSG_LOOP, DNS_OK, 0, 0, NULL },
    { "ring of aliases", DNS_A, RC_OK,
      "an a.test CNAME 60 b.test; an b.test CNAME 60 a.test",
      DNS_MSG_LOOP, DNS_OK, 0, 0, NULL },
    { "8 aliases", DNS_A, RC_OK,
      "an a.test CNAME 60 b; an b CNAME 60 c; an c CNAME 60 d; "
      "an d CNAME 60 e; an e CNAME 60 f; an f CNAME 60 g; an g CNAME 60 h; "
      "an h CNAME 60 i; an i A 60 192.0.2.1",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "9 aliases", DNS_A, RC_OK,
      "an a.test CNAME 60 b; an b CNAME 60 c; an c CNAME 60 d; "
      "an d CNAME 60 e; an e CNAME 60 f; an f CNAME 60 g; an g CNAME 60 h; "
      "an h CNAME 60 i; an i CNAME 60 j; an j A 60 192.0.2.1",
      DNS_MSG_LOOP, DNS_OK, 0, 0, NULL },
    { "alias of the root", DNS_A, RC_OK, "an a.test CNAME 60 .",
      DNS_MSG_BROKEN, DNS_OK, 0, 0, NULL },

    { "no such name", DNS_MX, RC_NXDOMAIN, "ns test SOA 300 60",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, 60, NULL },
    { "TTL of the SOA itself", DNS_MX, RC_NXDOMAIN, "ns test SOA 30 60",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, 30, NULL },
    { "long negative TTL", DNS_MX, RC_NXDOMAIN, "ns . SOA 90000 90000",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, DNS_NEGATIVE_TTL_MAX, NULL },
    { "no such name, no SOA", DNS_MX, RC_NXDOMAIN, "",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, 0, NULL },
    { "SOA of another zone", DNS_MX, RC_NXDOMAIN, "ns est SOA 300 60",
      DNS_MSG_ANSWER, DNS_NXDOMAIN, 0, 0, NULL },
    { "no such records", DNS_MX, RC_OK, "ns a.test SOA 300 60",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 60, NULL },
    { "nothing at all", DNS_MX, RC_OK, "",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 0, NULL },
    { "referral", DNS_MX, RC_OK, "ns test NS 300 ns.test",
      DNS_MSG_REFUSED, DNS_OK, 0, 0, NULL },
    { "no records, says the zone itself", DNS_MX, RC_OK_AA,
      "ns test NS 300 ns.test",
      DNS_MSG_ANSWER, DNS_NODATA, 0, 0, NULL },

    { "truncated", DNS_A, RC_OK_TC, "an a.test A 60 192.0.2.1",
      DNS_MSG_TRUNCATED, DNS_OK, 0, 0, NULL },
    { "SERVFAIL", DNS_A, RC_SERVFAIL, "", DNS_MSG_SERVFAIL, DNS_OK, 0, 0, NULL },
    { "REFUSED", DNS_A, RC_REFUSED, "", DNS_MSG_REFUSED, DNS_OK, 0, 0, NULL },
    { "FORMERR", DNS_A, RC_FORMERR, "", DNS_MSG_NO_EDNS, DNS_OK, 0, 0, NULL },
    { "NOTIMP", DNS_A, RC_NOTIMP, "", DNS_MSG_NO_EDNS, DNS_OK, 0, 0, NULL },
    { "BADVERS", DNS_A, RC_OK, "ar . OPT 16777216",
      DNS_MSG_NO_EDNS, DNS_OK, 0, 0, NULL },
    { "OPT is no harm", DNS_A, RC_OK, "an a.test A 60 192.0.2.1; ar . OPT 0",
      DNS_MSG_ANSWER, DNS_OK, 1, 60, NULL },
    { "YXDOMAIN", DNS_A, 0x8186, "", DNS_MSG_BROKEN, DNS_OK, 0, 0, NULL },
    { "a query", DNS_A, 0x0100, "an a.test A 60 192.0.2.1",
      DNS_MSG_ALIEN, DNS_OK, 0, 0, NULL },
    { "another opcode", DNS_A, 0xa180, "an a.test A 60 192.0.2.1",
      DNS_MSG_ALIEN, DNS_OK, 0, 0, NULL },
};
/* clang-format on */

static struct dns_parsed parsed;

static void check_found(const struct answer_case *c)
{
    const struct dns_found *f = &parsed.found;

    ck_assert_msg(f->ttl == c->ttl, "%s: TTL %u", c->name, (unsigned)f->ttl);
    if (parsed.verdict == DNS_MSG_ALIAS) {
        ck_assert_msg(strcmp(parsed.name, c->first) == 0, "%s: to %s", c->name,
                      parsed.name);
        return;
    }
    ck_assert_msg(f->status == c->status, "%s: status %d", c->name, f->status);
    ck_assert_msg(f->n == c->n, "%s: %zu records", c->name, f->n);
    if (c->first != NULL)
        ck_assert_msg(strcmp(f->rr[0].name, c->first) == 0, "%s: name %s",
                      c->name, f->rr[0].name);
}

START_TEST(answer_is_judged)
{
    const struct answer_case *c = &answers[_i];
    struct dns_question q = { "a.test", c->type, 77, true, 0 };
    struct packet p;

    packet_start(&p, 77, c->flags);
    packet_question(&p, "a.test", c->type);
    packet_records(&p, c->records);
    dns_message_parse(&parsed, &q, p.b, p.n);
    ck_assert_msg(parsed.verdict == c->verdict, "%s: verdict %d", c->name,
                  parsed.verdict);
    if (c->verdict >= DNS_MSG_ALIAS)
        check_found(c);
}
END_TEST

START_TEST(address_is_read)
{
    struct dns_question q = { "a.test", DNS_AAAA, 1, true, 0 };
    struct packet p;
    char ip[ADDR_TEXT];

    packet_start(&p, 1, RC_OK);
    packet_question(&p, "a.test", DNS_AAAA);
    packet_records(&p, "an a.test AAAA 60 2001:db8::1");
    dns_message_parse(&parsed, &q, p.b, p.n);
    ck_assert_uint_eq(parsed.found.n, 1);
    addr_text(ip, &parsed.found.rr[0].addr);
    ck_assert_str_eq(ip, "2001:db8::1");
}
END_TEST

/* The question of the answer, where we asked 77 a.test A. */
static const struct {
    const char *name, *question;
    unsigned id, type, flags, repeat;
    enum dns_verdict verdict;
} aliens[] = {
    { "ours", "A.test", 77, DNS_A, RC_OK, 1, DNS_MSG_ANSWER },
    { "wrong id", "a.test", 78, DNS_A, RC_OK, 1, DNS_MSG_ALIEN },
    { "wrong name", "b.test", 77, DNS_A, RC_OK, 1, DNS_MSG_ALIEN },
    { "longer name", "a.test.b", 77, DNS_A, RC_OK, 1, DNS_MSG_ALIEN },
    { "wrong type", "a.test", 77, DNS_MX, RC_OK, 1, DNS_MSG_ALIEN },
    { "two questions", "a.test", 77, DNS_A, RC_OK, 2, DNS_MSG_ALIEN },
    { "no question", "a.test", 77, DNS_A, RC_OK, 0, DNS_MSG_ALIEN },
    { "no question, SERVFAIL", "", 77, DNS_A, RC_SERVFAIL, 0,
      DNS_MSG_SERVFAIL },
    { "no question, FORMERR", "", 77, DNS_A, RC_FORMERR, 0, DNS_MSG_NO_EDNS },
    { "no question, NXDOMAIN", "", 77, DNS_A, RC_NXDOMAIN, 0, DNS_MSG_ALIEN },
};

START_TEST(question_must_fit)
{
    struct dns_question q = { "a.test", DNS_A, 77, true, 0 };
    struct packet p;

    packet_start(&p, aliens[_i].id, aliens[_i].flags);
    for (unsigned i = 0; i < aliens[_i].repeat; i++)
        packet_question(&p, aliens[_i].question, aliens[_i].type);
    dns_message_parse(&parsed, &q, p.b, p.n);
    ck_assert_msg(parsed.verdict == aliens[_i].verdict, "%s: %d",
                  aliens[_i].name, parsed.verdict);
}
END_TEST

/* After id, flags and counts: bytes that no sane server sends. */
static const struct {
    const char *name;
    unsigned char counts[8];
    const char *bytes;
    size_t n;
    enum dns_verdict verdict;
} broken[] = {
    { "only a header", { 0, 1 }, "", 0, DNS_MSG_ALIEN },
    { "question points to itself",
      { 0, 1 },
      "\300\014\0\1\0\1",
      6,
      DNS_MSG_ALIEN },
    { "question points in a ring",
      { 0, 1 },
      "\300\016\300\014\0\1\0\1",
      8,
      DNS_MSG_ALIEN },
    { "question points beyond the end",
      { 0, 1 },
      "\300\377\0\1\0\1",
      6,
      DNS_MSG_ALIEN },
    { "question cut in its name", { 0, 1 }, "\1a\4te", 5, DNS_MSG_ALIEN },
    { "question cut in its type",
      { 0, 1 },
      "\1a\4test\0\0\1\0",
      11,
      DNS_MSG_ALIEN },
    { "strange label", { 0, 1 }, "\101a\0\0\1\0\1", 7, DNS_MSG_ALIEN },
    { "no answer where one is said to be",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1",
      12,
      DNS_MSG_BROKEN },
    { "65535 answers",
      { 0, 1, 255, 255 },
      "\1a\4test\0\0\1\0\1",
      12,
      DNS_MSG_BROKEN },
    { "record longer than the message",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1\300\014\0\1\0\1\0\0\0\1\377\377\1\2\3\4",
      28,
      DNS_MSG_BROKEN },
    { "record cut in its head",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1\300\014\0\1\0\1\0\0",
      20,
      DNS_MSG_BROKEN },
    { "owner points to itself",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1\300\030\0\1\0\1\0\0\0\1\0\4\1\2\3\4",
      28,
      DNS_MSG_BROKEN },
    { "alias that points to itself",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1\300\014\0\5\0\1\0\0\0\1\0\2\300\044",
      26,
      DNS_MSG_BROKEN },
    { "alias without a name",
      { 0, 1, 0, 1 },
      "\1a\4test\0\0\1\0\1\300\014\0\5\0\1\0\0\0\1\0\0",
      24,
      DNS_MSG_BROKEN },
};

START_TEST(broken_bytes)
{
    struct dns_question q = { "a.test", DNS_A, 77, true, 0 };
    struct packet p;

    packet_start(&p, 77, RC_OK);
    memcpy(p.b + 4, broken[_i].counts, sizeof broken[_i].counts);
    packet_bytes(&p, broken[_i].bytes, broken[_i].n);
    dns_message_parse(&parsed, &q, p.b, p.n);
    ck_assert_msg(parsed.verdict == broken[_i].verdict, "%s: %d",
                  broken[_i].name, parsed.verdict);
}
END_TEST

/* Whatever is cut off or turned over, the parser comes back and promises
 * nothing impossible.  Valgrind and the sanitizers watch the reads. */
START_TEST(any_damage_is_survived)
{
    struct dns_question q = { "a.test", DNS_MX, 77, true, 0 };
    struct packet p;

    packet_start(&p, 77, RC_OK);
    packet_question(&p, "a.test", DNS_MX);
    packet_records(&p, "an a.test CNAME 60 b.test; an b.test MX 60 10 c.test; "
                       "an b.test MX 60 0 .; ns test SOA 300 60; ar . OPT 0");
    for (size_t n = 0; n <= p.n; n++) {
        unsigned char *copy = malloc(n == 0 ? 1 : n);
        memcpy(copy, p.b, n);
        dns_message_parse(&parsed, &q, copy, n);
        ck_assert_uint_le(parsed.found.n, DNS_RR_MAX);
        free(copy);
    }
    for (size_t bit = 0; bit < p.n * 8; bit++) {
        p.b[bit / 8] ^= (unsigned char)(1 << bit % 8);
        dns_message_parse(&parsed, &q, p.b, p.n);
        ck_assert_uint_le(parsed.found.n, DNS_RR_MAX);
        p.b[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
END_TEST

START_TEST(records_are_bounded)
{
    struct dns_question q = { "a.test", DNS_A, 77, true, 0 };
    struct packet p;

    packet_start(&p, 77, RC_OK);
    packet_question(&p, "a.test", DNS_A);
    for (int i = 0; i < DNS_RR_MAX + 10; i++)
        packet_records(&p, "an a.test A 60 192.0.2.1");
    dns_message_parse(&parsed, &q, p.b, p.n);
    ck_assert_int_eq(parsed.verdict, DNS_MSG_ANSWER);
    ck_assert_uint_eq(parsed.found.n, DNS_RR_MAX);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

Suite *dns_message_suite(void);
Suite *dns_message_suite(void)
{
    Suite *s = suite_create("dns_message");
    TCase *t = tcase_create("message");

    tcase_add_loop_test(t, name_is_checked, 0, COUNT(names));
    tcase_add_test(t, query_is_built);
    tcase_add_test(t, longest_query_fits);
    tcase_add_loop_test(t, answer_is_judged, 0, COUNT(answers));
    tcase_add_test(t, address_is_read);
    tcase_add_loop_test(t, question_must_fit, 0, COUNT(aliens));
    tcase_add_loop_test(t, broken_bytes, 0, COUNT(broken));
    tcase_add_test(t, any_damage_is_survived);
    tcase_add_test(t, records_are_bounded);
    suite_add_tcase(s, t);
    return s;
}
