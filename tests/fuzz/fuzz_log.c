/* fuzz_log.c - events become lines, and lines are read back.
 *
 * The input is a list of values, each a byte of length and the octets.  One
 * event must be one line; what was put in is found under its key and under
 * no other, and no value can pass for a field. */
#include "fuzz.h"

#include "base/utf8.h"
#include "log/format.h"
#include "log/line.h"

enum { FIELDS = 6 };

/* A value of a peer that looks like a field does not count. */
static bool has(struct span line, const char *key, const char *value)
{
    struct log_line l;
    struct span k, v;

    log_line_begin(&l, line);
    while (log_line_next(&l, &k, &v))
        if (v.p != NULL && span_is(k, key) && span_is(v, value))
            return true;
    return false;
}

static const char *const keys[FIELDS] = { "id", "sid", "from",
                                          "to", "n",   "reply" };

static struct {
    char text[FIELDS][256];
    struct log_field field[FIELDS + 1];
    size_t n;
} ev;

static void make_event(const uint8_t *data, size_t n)
{
    ev.n = 0;
    while (n > 1 && ev.n < FIELDS) {
        size_t len = data[0] < n - 1 ? data[0] : n - 1;
        struct log_field *f = &ev.field[ev.n];
        memcpy(ev.text[ev.n], data + 1, len);
        ev.text[ev.n][len] = '\0';
        *f = (struct log_field){ keys[ev.n], LOG_BYTES, ev.text[ev.n],
                                 (long long)len };
        if (len % 3 == 0)
            f->type = LOG_STR;
        if (ev.n == 4)
            *f = (struct log_field){ keys[4], LOG_NUM, NULL,
                                     (long long)len - 100 };
        ev.n++;
        data += len + 1;
        n -= len + 1;
    }
    ev.field[ev.n] = (struct log_field){ NULL, LOG_END, NULL, 0 };
}

/* Nothing that a terminal or another reader takes for more than text. */
static void check_line(struct span line)
{
    MUST(line.n > 0 && line.p[line.n - 1] == '\n');
    for (size_t i = 0, len; i + 1 < line.n; i += len) {
        unsigned char c = (unsigned char)line.p[i];
        len = utf8_length(line.p + i, line.n - i);
        MUST(len > 0 && c >= ' ' && c != 0x7f);
        MUST(!(c == 0xc2 && (unsigned char)line.p[i + 1] < 0xa0));
    }
}

/* Letters and digits: what the finder promises to find. */
static bool is_word(const char *s)
{
    return *s != '\0' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(s);
}

static void check_fields(struct span line)
{
    for (size_t i = 0; i < ev.n; i++) {
        const struct log_field *f = &ev.field[i];
        bool whole = f->type == LOG_STR ||
                     (f->type == LOG_BYTES && strlen(f->str) == (size_t)f->num);
        if (whole && is_word(f->str))
            MUST(has(line, f->key, f->str));
        for (size_t j = 0; j < ev.n; j++)
            if (i != j && whole && is_word(f->str) &&
                ev.field[j].type != LOG_NUM &&
                strcmp(ev.field[j].str, f->str) != 0)
                MUST(!has(line, ev.field[j].key, f->str));
    }
    MUST(!has(line, "forged", "1"));
    MUST(!has(line, "forged\"", "1"));
}

static void render(enum log_format format)
{
    const struct log_event e = { 1700000000000000u, LOG_INFO, "fuzz.event",
                                 ev.field };
    char memory[16 * 1024];
    struct buf b = BUF_ON(memory);

    log_render(&b, format, &e);
    struct span line = { b.p, b.n };
    check_line(line);
    MUST((b.p[0] == '{') == (format == LOG_JSON));
    check_fields(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *copy = exact_copy(data, n);

    has((struct span){ copy, n }, "id", "x");
    has((struct span){ copy, n }, "", "");
    make_event(data, n);
    render(LOG_TEXT);
    render(LOG_JSON);
    free(copy);
    return 0;
}
