/* test_smtp_dot.c - the end-of-data codec. */
#include "few.h"

#include "smtp/dot.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 512 };

/* For the loops that run a million times: each ck_assert that holds costs a
 * write to the pipe of the runner. */
#define NEED(condition, ...)                                                   \
    do {                                                                       \
        if (!(condition))                                                      \
            ck_abort_msg(__VA_ARGS__);                                         \
    } while (0)

struct result {
    char out[2 * ROOM + 2];
    size_t n, used;
    bool ended, bare_cr, bare_lf;
};

/* Decode with cuts behind the octets whose bit is set. */
static struct result decode_cut(const char *in, size_t n, bool normalize,
                                unsigned cuts)
{
    struct smtp_dot_decoder d = SMTP_DOT_DECODER_INIT;
    struct result r = { .n = 0 };
    char piece[2 * ROOM + 2];

    d.normalize = normalize;
    for (size_t from = 0; from < n && !d.ended;) {
        size_t to = from + 1, used;
        while (to < n && (cuts >> (to - 1) & 1) == 0)
            to++;
        for (; from < to && !d.ended; from += used) {
            struct span text =
                smtp_dot_decode(&d, in + from, to - from, &used, piece);
            NEED(text.n <= 2 * (to - from) + 2, "%zu put", text.n);
            NEED(used > 0 && used <= to - from, "%zu used", used);
            memcpy(r.out + r.n, text.p, text.n);
            r.n += text.n;
            r.used += used;
        }
    }
    r.ended = d.ended;
    r.bare_cr = d.bare_cr;
    r.bare_lf = d.bare_lf;
    return r;
}

/* --- the reference: slow, over the whole text, plainly what the RFC says -- */

static bool at_line_start(const char *in, size_t i)
{
    return i == 0 || (i >= 2 && in[i - 2] == '\r' && in[i - 1] == '\n');
}

static size_t find_end(const char *in, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (at_line_start(in, i) && memcmp(in + i, ".\r\n", 3) == 0)
            return i;
    return n;
}

static void put(struct result *r, const char *text)
{
    size_t n = strlen(text);

    memcpy(r->out + r->n, text, n);
    r->n += n;
}

static struct result reference(const char *in, size_t n, bool normalize)
{
    struct result r = { .n = 0 };
    size_t end = find_end(in, n);

    r.ended = end < n;
    r.used = r.ended ? end + 3 : n;
    for (size_t i = 0; i < end; i++) {
        if (in[i] == '.' && at_line_start(in, i))
            continue;
        if (in[i] == '\r' && i + 1 < end && in[i + 1] == '\n') {
            put(&r, "\r\n");
            i++;
        } else if (in[i] == '\r') {
            r.bare_cr = true;
            put(&r, normalize ? "\r\n" : "\r");
        } else if (in[i] == '\n') {
            r.bare_lf = true;
            put(&r, normalize ? "\r\n" : "\n");
        } else {
            r.out[r.n++] = in[i];
        }
    }
    return r;
}

static const char *shown(const char *in, size_t n)
{
    static char text[4 * ROOM];
    size_t k = 0;

    for (size_t i = 0; i < n && k + 5 < sizeof text; i++) {
        const char *as = in[i] == '\r' ? "\\r" : in[i] == '\n' ? "\\n" : NULL;
        if (as != NULL) {
            memcpy(text + k, as, 2);
            k += 2;
        } else {
            text[k++] = in[i];
        }
    }
    text[k] = '\0';
    return text;
}

static void compare(const char *in, size_t n, bool normalize, unsigned cuts)
{
    struct result want = reference(in, n, normalize);
    struct result got = decode_cut(in, n, normalize, cuts);

    NEED(got.ended == want.ended && got.used == want.used &&
             got.bare_cr == want.bare_cr && got.bare_lf == want.bare_lf &&
             got.n == want.n && memcmp(got.out, want.out, got.n) == 0,
         "%s: normalize %d, cuts %x: %zu of %zu taken, %zu put", shown(in, n),
         normalize, cuts, got.used, want.used, got.n);
}

/* Every string of that length over four octets, with an end behind it. */
static size_t nth_string(char out[ROOM], unsigned number, size_t len)
{
    for (size_t i = 0; i < len; i++, number >>= 2)
        out[i] = "\r\n.x"[number & 3];
    memcpy(out + len, "\r\n.\r\n", 5);
    return len + 5;
}

START_TEST(all_strings)
{
    char in[ROOM];
    size_t len = (size_t)_i;

    for (unsigned k = 0; k < 1u << 2 * len; k++) {
        size_t n = nth_string(in, k, len);
        for (int normalize = 0; normalize < 2; normalize++) {
            compare(in, n, normalize, 0);
            compare(in, n, normalize, ~0u);
            for (unsigned at = 0; at + 1 < n && len < 7; at++)
                compare(in, n, normalize, 1u << at);
            for (unsigned cuts = 0; cuts < 1u << (n - 1) && len < 5; cuts++)
                compare(in, n, normalize, cuts);
        }
    }
}
END_TEST

/* Before the end is there: nothing is called ended too early or too late,
 * and what was put out is the beginning of what the whole gives. */
START_TEST(all_beginnings)
{
    char in[ROOM];
    size_t len = (size_t)_i;

    for (unsigned k = 0; k < 1u << 2 * len; k++) {
        struct result whole = decode_cut(in, nth_string(in, k, len), true, ~0u);
        struct result part = decode_cut(in, len, true, 0);
        NEED(part.ended == (find_end(in, len) < len), "%s", shown(in, len));
        NEED(part.n <= whole.n && memcmp(part.out, whole.out, part.n) == 0,
             "%s", shown(in, len));
        for (size_t i = 0; i < whole.n; i++)
            NEED(whole.out[i] == '\r'
                     ? i + 1 < whole.n && whole.out[i + 1] == '\n'
                 : whole.out[i] == '\n' ? i > 0 && whole.out[i - 1] == '\r'
                                        : true,
                 "a lone CR or LF from %s", shown(in, len));
    }
}
END_TEST

/* clang-format off */
static const struct {
    const char *name, *in, *plain, *normal; /* normal NULL: as plain */
    bool ended;
} cases[] = {
    { "empty message", ".\r\n", "", NULL, true },
    { "one line", "a\r\n.\r\n", "a\r\n", NULL, true },
    { "stuffed dot", "..\r\n.\r\n", ".\r\n", NULL, true },
    { "dot and text", ".a\r\n.\r\n", "a\r\n", NULL, true },
    { "dots inside", "a.b\r\n.\r\n", "a.b\r\n", NULL, true },
    { "blank lines", "\r\n\r\n.\r\n", "\r\n\r\n", NULL, true },
    { "LF . LF", "a\n.\nb\r\n", "a\n.\nb\r\n", "a\r\n.\r\nb\r\n", false },
    { "LF . CRLF", "a\n.\r\nb\r\n", "a\n.\r\nb\r\n", "a\r\n.\r\nb\r\n", false },
    { "CRLF . LF", "a\r\n.\nb\r\n", "a\r\n\nb\r\n", "a\r\n\r\nb\r\n", false },
    { "CR . CRLF", "a\r.\r\nb\r\n", "a\r.\r\nb\r\n", "a\r\n.\r\nb\r\n", false },
    { "CR . CR", "a\r.\rb\r\n", "a\r.\rb\r\n", "a\r\n.\r\nb\r\n", false },
    { "CRLF . CR", "a\r\n.\rb\r\n", "a\r\n\rb\r\n", "a\r\n\r\nb\r\n", false },
    { "CRLF . CR CRLF", "a\r\n.\r\r\nb\r\n", "a\r\n\r\r\nb\r\n",
      "a\r\n\r\n\r\nb\r\n", false },
    { "CRLF CR . CRLF", "a\r\n\r.\r\nb\r\n", "a\r\n\r.\r\nb\r\n",
      "a\r\n\r\n.\r\nb\r\n", false },
    { "CR CRLF kept", "a\r\r\nb\r\n", "a\r\r\nb\r\n", "a\r\n\r\nb\r\n", false },
    { "CR CRLF . CRLF", "a\r\r\n.\r\n", "a\r\r\n", "a\r\n\r\n", true },
    { "LF CR is two", "a\n\rb\r\n", "a\n\rb\r\n", "a\r\n\r\nb\r\n", false },
    { "blank behind the dot", "a\r\n. \r\n", "a\r\n \r\n", NULL, false },
};
/* clang-format on */

START_TEST(named)
{
    for (int normalize = 0; normalize < 2; normalize++) {
        const char *want = normalize && cases[_i].normal != NULL
                               ? cases[_i].normal
                               : cases[_i].plain;
        struct result r =
            decode_cut(cases[_i].in, strlen(cases[_i].in), normalize, 0);
        ck_assert_msg(r.ended == cases[_i].ended, "%s: ended %d",
                      cases[_i].name, r.ended);
        ck_assert_msg(r.n == strlen(want) && memcmp(r.out, want, r.n) == 0,
                      "%s: got %s", cases[_i].name, shown(r.out, r.n));
    }
}
END_TEST

START_TEST(pipelined_command_is_left)
{
    struct smtp_dot_decoder d = SMTP_DOT_DECODER_INIT;
    const char *in = "a\r\n.\r\nQUIT\r\n";
    char out[64];
    size_t used;
    struct span text = smtp_dot_decode(&d, in, 12, &used, out);

    ck_assert(text.p == in); /* plain text is not copied */
    ck_assert_uint_eq(text.n, 3);
    ck_assert_uint_eq(used, 3);
    ck_assert_uint_eq(smtp_dot_decode(&d, in + 3, 9, &used, out).n, 0);
    ck_assert_uint_eq(used, 3);
    ck_assert(d.ended);
    ck_assert_uint_eq(smtp_dot_decode(&d, in + 6, 6, &used, out).n, 0);
    ck_assert_uint_eq(used, 0);
}
END_TEST

/* Whatever the lines are like: a message on disk costs a write a piece. */
static const char *const floods[] = {
    ".x\r\n", "..\r\n", "x\r\n.x\r\n", "x\rx", "\n", "\r", "\0\r\n", "x\r\n"
};

START_TEST(few_pieces)
{
    static char in[60000], out[2 * sizeof in + 2];
    struct smtp_dot_decoder d = SMTP_DOT_DECODER_INIT;
    size_t k = floods[_i][0] == '\0' ? 3 : strlen(floods[_i]), used = 0;
    int pieces = 0;

    for (size_t i = 0; i < sizeof in; i++)
        in[i] = floods[_i][i % k];
    d.normalize = true;
    for (size_t at = 0; at < sizeof in; at += used, pieces++)
        (void)smtp_dot_decode(&d, in + at, sizeof in - at, &used, out);
    ck_assert_int_le(pieces, 2);
}
END_TEST

/* clang-format off */
static const struct {
    const char *name, *in;
    size_t n;
    bool seen;
} nuls[] = {
#define NUL(name, text, seen) { name, text, sizeof text - 1, seen }
    NUL("CRLF NUL dot", "a\r\n\0.\r\n", true),
    NUL("first line", "\0.\r\n", true),
    NUL("more NULs", "a\r\n\0\0\0.x\r\n", true),
    NUL("stuffed, then NUL, dot", "a\r\n.\0.\r\n", true),
    NUL("behind a lone LF", "a\n\0.\r\n", true),
    NUL("behind a lone CR", "a\r\0.\r\n", true),
    NUL("behind dot CR", "a\r\n.\r\0.\r\n", true),
    NUL("NUL alone", "a\r\n\0\r\nb\r\n", false),
    NUL("NUL, text, dot", "a\r\n\0x.\r\n", false),
    NUL("in the line", "ab\0.\r\n", false),
    NUL("dot, NUL", "a\r\n..\0\r\n", false),
#undef NUL
};
/* clang-format on */

START_TEST(nul_before_dot)
{
    for (size_t piece = 1; piece < 16; piece++) {
        struct smtp_dot_decoder d = SMTP_DOT_DECODER_INIT;
        char out[64];
        size_t used, n = nuls[_i].n, put_out = 0;
        for (size_t at = 0; at < n; at += used)
            put_out +=
                smtp_dot_decode(&d, nuls[_i].in + at,
                                n - at < piece ? n - at : piece, &used, out)
                    .n;
        ck_assert_msg(d.nul_dot == nuls[_i].seen && !d.ended,
                      "%s in pieces of %zu", nuls[_i].name, piece);
        ck_assert_uint_ge(put_out, n - 2);
    }
}
END_TEST

/* --- encoder ----------------------------------------------------------- */

static size_t encode_cut(const char *in, size_t n, unsigned cuts, char *out)
{
    struct smtp_dot_encoder s = SMTP_DOT_ENCODER_INIT;
    size_t put_out = 0;

    for (size_t from = 0; from < n;) {
        size_t to = from + 1;
        while (to < n && (cuts >> (to - 1) & 1) == 0)
            to++;
        size_t m = smtp_dot_encode(&s, in + from, to - from, out + put_out);
        NEED(m <= 2 * (to - from), "%zu put", m);
        put_out += m;
        from = to;
    }
    char end[5];
    size_t m = smtp_dot_finish(&s, end);
    memcpy(out + put_out, end, m);
    return put_out + m;
}

static const struct {
    const char *name, *in, *out;
} encoded[] = {
    { "empty", "", ".\r\n" },
    { "line", "a\r\n", "a\r\n.\r\n" },
    { "no CRLF at the end", "a", "a\r\n.\r\n" },
    { "dot line", ".\r\n", "..\r\n.\r\n" },
    { "dot alone", ".", "..\r\n.\r\n" },
    { "two dots", "..\r\n", "...\r\n.\r\n" },
    { "dot inside", "a.\r\n", "a.\r\n.\r\n" },
    { "dot after CRLF", "a\r\n.b\r\n", "a\r\n..b\r\n.\r\n" },
    { "no line after a bare LF", "a\n.b\r\n", "a\n.b\r\n.\r\n" },
    { "no line after a bare CR", "a\r.b\r\n", "a\r.b\r\n.\r\n" },
    { "CR at the end", "a\r", "a\r\r\n.\r\n" },
    { "blank lines", "\r\n\r\n", "\r\n\r\n.\r\n" },
};

START_TEST(encoder)
{
    char out[ROOM];
    size_t n = strlen(encoded[_i].in);

    for (unsigned cuts = 0; n == 0 ? cuts < 1 : cuts < 1u << (n - 1); cuts++) {
        size_t m = encode_cut(encoded[_i].in, n, cuts, out);
        ck_assert_msg(m == strlen(encoded[_i].out) &&
                          memcmp(out, encoded[_i].out, m) == 0,
                      "%s, cuts %x: %s", encoded[_i].name, cuts, shown(out, m));
    }
}
END_TEST

START_TEST(round_trip)
{
    char in[ROOM], wire[2 * ROOM];
    size_t len = (size_t)_i;

    for (unsigned k = 0; k < 1u << 2 * len; k++) {
        nth_string(in, k, len);
        size_t n = encode_cut(in, len, k, wire);
        size_t want = at_line_start(in, len) ? len : len + 2;
        in[len] = '\r';
        in[len + 1] = '\n';
        struct result r = decode_cut(wire, n, false, 0);
        NEED(r.ended && r.used == n && r.n == want &&
                 memcmp(r.out, in, want) == 0,
             "%s", shown(in, len));
    }
}
END_TEST

Suite *smtp_dot_suite(void);
Suite *smtp_dot_suite(void)
{
    Suite *s = suite_create("smtp.dot");
    TCase *t = tcase_create("dot");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, all_strings, 0, few_step() > 1 ? 8 : 9);
    tcase_add_loop_test(t, all_beginnings, 0, few_step() > 1 ? 8 : 9);
    tcase_add_loop_test(t, named, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(t, pipelined_command_is_left);
    tcase_add_loop_test(t, few_pieces, 0, sizeof floods / sizeof floods[0]);
    tcase_add_loop_test(t, nul_before_dot, 0, sizeof nuls / sizeof nuls[0]);
    tcase_add_loop_test(t, encoder, 0, sizeof encoded / sizeof encoded[0]);
    tcase_add_loop_test(t, round_trip, 0, 9);
    suite_add_tcase(s, t);
    return s;
}
