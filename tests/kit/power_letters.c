/* power_letters.c - messages that can be told apart, and what was promised. */
#include "power.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 64 };

struct letter letters[LETTERS];
size_t nletters;

uint32_t letter_new(uint32_t size, unsigned nremote, unsigned nlocal)
{
    ck_assert_uint_lt(nletters, LETTERS);
    struct letter *l = &letters[nletters];
    memset(l, 0, sizeof *l);
    l->begun = NEVER;
    l->size = size / LINE * LINE;
    l->nremote = nremote;
    l->nrcpt = nremote + nlocal;
    for (unsigned r = 0; r < LETTER_RCPTS; r++)
        l->rcpt[r].promised = NEVER;
    return (uint32_t)nletters++;
}

bool letter_is_local(uint32_t number, unsigned r)
{
    return r >= letters[number].nremote;
}

enum spool_name letter_queue(uint32_t number)
{
    return letters[number].nremote < letters[number].nrcpt ? SPOOL_LOCAL
                                                           : SPOOL_REMOTE;
}

const char *letter_box(uint32_t number, unsigned r)
{
    static const char *const names[BOXES] = { "ann", "bob", "eve" };

    return names[(number + r) % BOXES];
}

/* --- content --------------------------------------------------------------- */

void letter_sender(char out[64], uint32_t number)
{
    snprintf(out, 64, "%u.%u@example.org", (unsigned)number,
             (unsigned)letters[number].size);
}

void letter_rcpt(char out[64], unsigned r)
{
    snprintf(out, 64, "r%u@example.com", r);
}

/* Some lines begin with "From ", some are blank: what an mbox must bear. */
static void make_line(uint32_t number, uint32_t line, char out[LINE + 1])
{
    uint32_t x = (number * 2654435761u) ^ (line * 40503u);

    snprintf(out, LINE + 1, "%s%08x", x % 5 == 0 ? "From " : "", (unsigned)x);
    for (size_t i = strlen(out); i < LINE - 2; i++) {
        x = x * 1664525u + 1013904223u;
        out[i] = (char)('a' + (x >> 24) % 26);
    }
    if (x % 7 == 0)
        memcpy(out + 20, "\r\n\r\n", 4);
    memcpy(out + LINE - 2, "\r\n", 3);
}

void letter_body(uint32_t number, uint32_t at, char *out, uint32_t n)
{
    char line[LINE + 1];

    for (uint32_t i = 0; i < n; i++, at++) {
        if (i == 0 || at % LINE == 0)
            make_line(number, at / LINE, line);
        out[i] = line[at % LINE];
    }
}

size_t letter_stored(char out[2 * LETTER_SIZE], uint32_t number, unsigned r,
                     bool mbox)
{
    char sender[64], rcpt[64], body[LETTER_SIZE];
    uint32_t size = letters[number].size;

    letter_sender(sender, number);
    letter_rcpt(rcpt, r);
    letter_body(number, 0, body, size);
    size_t n =
        (size_t)snprintf(out, 2 * LETTER_SIZE,
                         "Return-Path: <%s>\nDelivered-To: %s\n", sender, rcpt);
    for (uint32_t i = 0; i < size; i++) {
        if (mbox && out[n - 1] == '\n' && strncmp(body + i, "From ", 5) == 0)
            out[n++] = '>';
        if (body[i] != '\r')
            out[n++] = body[i];
    }
    if (mbox)
        out[n++] = '\n';
    return n;
}

/* --- records ---------------------------------------------------------------- */

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    struct record *rec = ctx;
    char text[64], want[64];
    unsigned number, size, r;

    if (!span_copy(text, sizeof text, s))
        return -1;
    if (rec->number == UINT32_MAX) {
        if (type != SPOOL_F_SENDER ||
            sscanf(text, "%u.%u@example.org", &number, &size) != 2 ||
            number >= nletters || size != letters[number].size)
            return -1;
        rec->number = number;
        return 0;
    }
    if (type != SPOOL_F_RCPT || sscanf(text, "r%u@", &r) != 1 ||
        r >= letters[rec->number].nrcpt || rec->n == LETTER_RCPTS)
        return -1;
    letter_rcpt(want, r);
    rec->rcpt[rec->n++] = r;
    return strcmp(text, want) == 0 ? 0 : -1;
}

static bool body_is(const struct spool_reader *v, uint32_t number)
{
    struct body_cursor c = { 0 };
    struct body b;
    struct err e;
    char got[1024], want[1024];
    ssize_t n;

    if (spool_reader_body(v, &b, &e) != 0 || b.size != letters[number].size)
        return false;
    for (uint64_t at = 0; (n = body_next(&b, &c, got, sizeof got)) > 0;
         at = c.at) {
        letter_body(number, (uint32_t)at, want, (uint32_t)n);
        if (memcmp(got, want, (size_t)n) != 0)
            return false;
    }
    return n == 0 && c.at == b.size;
}

int letter_read(struct record *out, const struct spool_reader *v, bool body)
{
    struct err e;

    *out = (struct record){ .number = UINT32_MAX };
    if (spool_reader_envelope(v, on_field, out, &e) != 0 ||
        out->number == UINT32_MAX || out->n == 0 || out->n != v->rec->nrcpt)
        return -1;
    return !body || body_is(v, out->number) ? 0 : -1;
}

/* --- promises ----------------------------------------------------------------- */

void promise_kept_from(uint32_t number, size_t when)
{
    for (unsigned r = 0; r < letters[number].nrcpt; r++)
        if (letters[number].rcpt[r].promised == NEVER)
            letters[number].rcpt[r].promised = when;
}

bool state_is_final(enum spool_state s)
{
    return s != SPOOL_PENDING && s != SPOOL_HELD;
}

/* The last mark that was synced, or any that was made after it. */
static bool find_state(const struct promise *p, size_t cut,
                       bool (*fits)(enum spool_state s, enum spool_state want),
                       enum spool_state want)
{
    for (size_t i = p->nmarks; i-- > 0;) {
        if (p->mark[i].made > cut)
            continue;
        if (fits(p->mark[i].state, want))
            return true;
        if (p->mark[i].synced <= cut)
            return false;
    }
    return fits(p->start, want);
}

static bool same(enum spool_state s, enum spool_state want)
{
    return s == want;
}

static bool final(enum spool_state s, enum spool_state want)
{
    (void)want;
    return state_is_final(s);
}

bool promise_allows(const struct promise *p, enum spool_state s, size_t cut)
{
    return find_state(p, cut, same, s);
}

bool promise_may_be_over(const struct promise *p, size_t cut)
{
    return find_state(p, cut, final, SPOOL_PENDING);
}
