/* test_spool_format.c - bytes of the queue: there and back, and refused. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/host_port.h"
#include "spool/envelope.h"
#include "spool/format_private.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct spool_record record = {
    .id = { 0x123456789abcdef, 77 },
    .segment = 0x0fedcba98765432,
    .arrival = 1700000000000000,
    .length = 256 + 3 * 256 + 1280,
    .body_size = 1000,
    .envelope_size = 100,
    .nrcpt = 3,
    .late_size = 60,
    .front = 40,
    .generation = 2,
    .part = 0x0001ffff00030001,
    .flags = SPOOL_8BIT | SPOOL_LARGE,
    .envelope_crc = 0xdeadbeef,
    .body_crc = 0xfeedface,
    .late_crc = 0xcafef00d,
};

START_TEST(record_round_trip)
{
    unsigned char bytes[SPOOL_RECORD_HEADER], again[SPOOL_RECORD_HEADER];
    struct spool_record r = record, back;

    ck_assert_uint_eq(spool_record_length(&r), r.length);
    spool_record_encode(bytes, &r);
    ck_assert(spool_record_decode(&back, bytes));
    spool_record_encode(again, &back);
    ck_assert_mem_eq(bytes, again, sizeof bytes);
    ck_assert_uint_eq(back.length % SPOOL_ALIGN, 0);
    ck_assert_uint_eq(back.id.base, r.id.base);
    ck_assert_uint_eq(back.generation, 2);
    ck_assert_uint_eq(back.part, r.part);
    ck_assert(back.front == 40 && back.late_crc == 0xcafef00d);
    ck_assert_uint_eq(spool_late_at(&back), 256 + 3 * 256 + 1100);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        ck_assert_msg(!spool_record_decode(&back, bytes), "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
END_TEST

static const struct {
    const char *name;
    uint32_t nrcpt, envelope, late, front;
    uint64_t body, length;
} wrong_sizes[] = {
    { "no recipient", 0, 10, 0, 0, 10, 512 },
    { "too many recipients", 65536, 0, 0, 0, 0, 256 + 65536 * 256 },
    { "length too small", 1, 10, 0, 0, 10, 512 },
    { "length not aligned", 1, 10, 0, 0, 10, 600 },
    { "length too large", 1, 10, 0, 0, 10, 1024 },
    { "body that wraps", 1, 10, 0, 0, UINT64_MAX - 521, 0 },
    { "body that wraps less", 1, 10, 0, 0, (uint64_t)1 << 60,
      ((uint64_t)1 << 60) + 768 },
    { "late fields not counted", 1, 10, 300, 0, 10, 768 },
    { "late fields too long", 1, 10, SPOOL_LATE_MAX + 1, 0, 0,
      512 + SPOOL_LATE_MAX + 256 },
    { "front larger than late fields", 1, 10, 5, 6, 10, 768 },
};

START_TEST(sizes_must_fit)
{
    unsigned char bytes[SPOOL_RECORD_HEADER];
    struct spool_record r = record, back;

    r.nrcpt = wrong_sizes[_i].nrcpt & SPOOL_NRCPT_MASK;
    r.envelope_size = wrong_sizes[_i].envelope;
    r.body_size = wrong_sizes[_i].body;
    r.late_size = wrong_sizes[_i].late;
    r.front = wrong_sizes[_i].front;
    r.length = wrong_sizes[_i].length;
    spool_record_encode(bytes, &r);
    ck_assert_msg(!spool_record_decode(&back, bytes), "%s",
                  wrong_sizes[_i].name);
}
END_TEST

/* The bits that no field in memory has are not cut off. */
START_TEST(no_bit_is_lost)
{
    static const size_t at[] = { 28, 60 }; /* flags, recipients */
    unsigned char bytes[SPOOL_RECORD_HEADER];
    struct spool_record back;

    for (size_t i = 0; i < 2; i++) {
        spool_record_encode(bytes, &record);
        bytes[at[i] + 3] = 1;
        put_le32(bytes + 252, crc32c(0, bytes, 252));
        ck_assert(!spool_record_decode(&back, bytes));
    }
}
END_TEST

static const struct {
    uint64_t parent;
    uint32_t lowest;
    uint64_t part; /* 0: refused */
} parts[] = {
    { 0, 0, 1 },
    { 0, 65534, 65535 },
    { 1, 0, 0x10001 },
    { 65535, 65534, 0xffffffff },
    { 0xffffffffffff, 65534, UINT64_MAX },
    { 0x1000000000000, 0, 0 },
    { UINT64_MAX, 0, 0 },
};

START_TEST(a_part_names_its_parent)
{
    uint64_t part = 0;
    struct err e;

    int rc = spool_part_child(&part, parts[_i].parent, parts[_i].lowest, &e);
    ck_assert_uint_eq(part, parts[_i].part);
    ck_assert_int_eq(rc, part == 0 ? -1 : 0);
    if (rc == 0)
        ck_assert_uint_eq(spool_part_parent(part), parts[_i].parent);
    else
        ck_assert(e.kind == ERR_PERM && strstr(e.text, "level 4") != NULL);
}
END_TEST

/* Of the lowest level, of one between, of the highest but one. */
static const uint64_t no_parts[] = { 0x10000, 0x100000001, 0x1000000010001 };

START_TEST(a_part_has_no_empty_level)
{
    unsigned char bytes[SPOOL_RECORD_HEADER];
    struct spool_record r = record, back;

    r.part = no_parts[_i];
    spool_record_encode(bytes, &r);
    ck_assert(!spool_record_decode(&back, bytes));
}
END_TEST

START_TEST(part_as_text)
{
    char text[SPOOL_PART_TEXT];

    ck_assert_ptr_null(spool_part_text(text, 0));
    ck_assert_str_eq(spool_part_text(text, UINT64_MAX), "18446744073709551615");
}
END_TEST

START_TEST(a_torn_confirmed_word_counts_as_nothing)
{
    static unsigned char bytes[SPOOL_CONFIRMED];

    ck_assert_uint_eq(spool_confirmed_decode(bytes, 7), 0);
    spool_confirmed_encode(bytes, 7, 123456);
    ck_assert_uint_eq(spool_confirmed_decode(bytes, 7), 123456);
    ck_assert_uint_eq(spool_confirmed_decode(bytes, 8), 0);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        ck_assert_msg(spool_confirmed_decode(bytes, 7) == 0, "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
END_TEST

START_TEST(segment_round_trip)
{
    static unsigned char bytes[SPOOL_SEGMENT_HEADER];
    struct spool_segment_header h = { .id = 0x123456789abcdef,
                                      .created = 99,
                                      .children =
                                          SPOOL_CHILDREN_OF(SPOOL_LOCAL),
                                      .committed = 123456,
                                      .closed = true,
                                      .moved = true,
                                      .damaged = true },
                                back;

    spool_segment_header_encode(bytes, &h);
    ck_assert_int_eq(spool_segment_header_decode(&back, bytes), SPOOL_GOOD);
    ck_assert(back.id == h.id && back.created == 99 && back.children == 1 &&
              back.committed == 123456 && back.closed && back.moved &&
              back.damaged);
    for (size_t bit = 0; bit < (SPOOL_STATE_AT + SPOOL_STATE) * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        enum spool_check c = spool_segment_header_decode(&back, bytes);
        if (bit >= SPOOL_STATE_AT * 8)
            ck_assert_int_eq(c, SPOOL_STATELESS);
        else
            ck_assert_msg(c == SPOOL_BROKEN || c == SPOOL_OTHER, "bit %zu",
                          bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    bytes[8]++;
    ck_assert_int_eq(spool_segment_header_decode(&back, bytes), SPOOL_OTHER);
    ck_assert_uint_eq(back.version, SPOOL_VERSION + 1);
}
END_TEST

START_TEST(state_belongs_to_its_segment)
{
    static unsigned char bytes[SPOOL_SEGMENT_HEADER];
    struct spool_segment_header a = { .id = 1, .committed = 4096 }, b = a, back;

    b.id = 2;
    b.committed = 9000;
    spool_segment_header_encode(bytes, &a);
    spool_state_encode(bytes + SPOOL_STATE_AT, &b);
    ck_assert_int_eq(spool_segment_header_decode(&back, bytes),
                     SPOOL_STATELESS);
}
END_TEST

static const char *const tried[] = { "192.0.2.1:25", "[2001:db8::1]:587" };

START_TEST(slot_round_trip)
{
    unsigned char bytes[SPOOL_SLOT];
    struct spool_slot s = { .state = SPOOL_FAILED,
                            .attempts = 70000,
                            .rounds = 3,
                            .first_attempt = 7,
                            .last_attempt = 1,
                            .next_attempt = UINT64_MAX,
                            .status = { 550, 5, 7, 999 },
                            .warned = true,
                            .by_sender = true,
                            .waits = 100000,
                            .tls_version = 0x304,
                            .tls_cipher = 0x1301,
                            .mx = "mx.example.com",
                            .reply = "no" },
                      back;

    ck_assert(addr_parse(&s.tried, span_of(tried[_i]), 25, NULL) == 0);
    spool_slot_encode(bytes, 5, &s);
    spool_slot_decode(&back, 5, bytes);
    ck_assert(addr_eq(&back.tried, &s.tried));
    ck_assert(back.rounds == 3 && back.first_attempt == 7 &&
              back.tls_version == 0x304 && back.tls_cipher == 0x1301);
    ck_assert_int_eq(back.state, SPOOL_FAILED);
    ck_assert_uint_eq(back.attempts, 65535);
    ck_assert(back.next_attempt == UINT64_MAX && back.status.code == 550 &&
              back.status.class == 5 && back.status.subject == 7 &&
              back.status.detail == 999 && back.warned);
    ck_assert(back.by_sender && back.waits == 100000);
    ck_assert_str_eq(back.mx, "mx.example.com");
    ck_assert_str_eq(back.reply, "no");
    spool_slot_decode(&back, 6, bytes);
    ck_assert_msg(back.state == SPOOL_PENDING && back.attempts == 0,
                  "a slot in a wrong place");
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        spool_slot_decode(&back, 5, bytes);
        ck_assert_msg(back.state == SPOOL_PENDING && back.mx[0] == '\0',
                      "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    memset(bytes, 0, sizeof bytes);
    spool_slot_decode(&back, 0, bytes);
    ck_assert_int_eq(back.state, SPOOL_PENDING);
}
END_TEST

/* Texts of n times 'a' and a tail, and what of them comes back. */
static const struct {
    const char *name;
    size_t mx;
    const char *mx_tail;
    size_t mx_back, reply;
    const char *reply_tail;
    size_t reply_back;
    const char *reply_end;
} texts[] = {
    { "empty", 0, "", 0, 0, "", 0, "" },
    { "only a reply", 0, "", 0, 1, "", 1, "" },
    { "full", SPOOL_MX_MAX, "", SPOOL_MX_MAX, SPOOL_REPLY_MAX, "",
      SPOOL_REPLY_MAX, "" },
    { "too long", SPOOL_MX_MAX, "b", SPOOL_MX_MAX, SPOOL_REPLY_MAX, "b",
      SPOOL_REPLY_MAX - 3, "..." },
    { "a character is not cut", 3, "", 3, SPOOL_REPLY_MAX - 4, "\xc3\xa4xyz",
      SPOOL_REPLY_MAX - 4, "..." },
};

static void fill(char *out, size_t size, size_t n, const char *tail)
{
    memset(out, 0, size);
    memset(out, 'a', n);
    strncpy(out + n, tail, size - n - 1);
}

START_TEST(texts_are_cut)
{
    unsigned char bytes[SPOOL_SLOT];
    struct spool_slot s = { .state = SPOOL_PENDING }, back;
    char reply[2 * SPOOL_SLOT], mx[2 * SPOOL_SLOT];

    fill(mx, sizeof mx, texts[_i].mx, texts[_i].mx_tail);
    fill(reply, sizeof reply, texts[_i].reply, texts[_i].reply_tail);
    snprintf(s.mx, sizeof s.mx, "%.*s", SPOOL_MX_MAX, mx);
    snprintf(s.reply, sizeof s.reply, "%.*s", SPOOL_REPLY_MAX + 1, reply);
    spool_slot_encode(bytes, 0, &s);
    spool_slot_decode(&back, 0, bytes);
    fill(mx, sizeof mx, texts[_i].mx_back, "");
    fill(reply, sizeof reply, texts[_i].reply_back, texts[_i].reply_end);
    ck_assert_msg(strcmp(back.mx, mx) == 0, "%s: %s", texts[_i].name, back.mx);
    ck_assert_msg(strcmp(back.reply, reply) == 0, "%s: %s", texts[_i].name,
                  back.reply);
}
END_TEST

static const struct {
    const char *name, *bytes;
    size_t n;
    int fields;
    size_t rest;
} envelopes[] = {
    { "empty", "", 0, 0, 0 },
    { "one", "\1\0\0", 3, 1, 0 },
    { "two", "\1\1\0a\2\2\0bc", 9, 2, 0 },
    { "unknown type", "\376\1\0a\2\0\0", 7, 2, 0 },
    { "head is cut", "\1\0\0\2\0", 5, 1, 2 },
    { "content is cut", "\1\3\0ab", 5, 0, 5 },
};

START_TEST(fields)
{
    struct span rest = { envelopes[_i].bytes, envelopes[_i].n }, content;
    enum spool_field type;
    int n = 0;

    while (spool_field_next(&rest, &type, &content))
        n++;
    ck_assert_msg(n == envelopes[_i].fields && rest.n == envelopes[_i].rest,
                  "%s: %d fields, %zu left", envelopes[_i].name, n, rest.n);
}
END_TEST

Suite *spool_format_suite(void);
Suite *spool_format_suite(void)
{
    Suite *s = suite_create("spool_format");
    TCase *t = tcase_create("spool_format");

    tcase_add_test(t, record_round_trip);
    tcase_add_loop_test(t, sizes_must_fit, 0,
                        (int)(sizeof wrong_sizes / sizeof wrong_sizes[0]));
    tcase_add_test(t, no_bit_is_lost);
    tcase_add_loop_test(t, a_part_names_its_parent, 0,
                        (int)(sizeof parts / sizeof parts[0]));
    tcase_add_loop_test(t, a_part_has_no_empty_level, 0,
                        (int)(sizeof no_parts / sizeof no_parts[0]));
    tcase_add_test(t, part_as_text);
    tcase_add_test(t, a_torn_confirmed_word_counts_as_nothing);
    tcase_add_test(t, segment_round_trip);
    tcase_add_test(t, state_belongs_to_its_segment);
    tcase_add_loop_test(t, slot_round_trip, 0, 2);
    tcase_add_loop_test(t, texts_are_cut, 0,
                        (int)(sizeof texts / sizeof texts[0]));
    tcase_add_loop_test(t, fields, 0,
                        (int)(sizeof envelopes / sizeof envelopes[0]));
    suite_add_tcase(s, t);
    return s;
}
