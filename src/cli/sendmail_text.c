/* sendmail_text.c - the message on standard input: line ends, end, header.
 *
 * All of it is read before a server is asked, because the caller may take hours
 * to write it, as cron does for a long job.  Every LF ends a line, and takes
 * the CRs in front of it along: lines of both kinds become CRLF, in any
 * mixture, and never CR CR LF.  A CR elsewhere would be refused by the server,
 * as by other hosts; it becomes a blank, as Postfix has it. */
#include "cli/sendmail.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

struct reader {
    struct sendmail_text *t;
    uint64_t max;
    bool dots, ended;
    bool inside; /* of a line */
    bool dot;    /* of which one dot, which is not kept yet, is all */
    size_t crs;  /* CRs whose meaning the next octet shows */
    int status;
};

/* --- where it is kept -------------------------------------------------- */

static int open_file(struct sendmail_text *t)
{
    const char *dir = getenv("TMPDIR");
    char path[1024];

    if (dir == NULL || *dir != '/')
        dir = "/tmp";
    if (snprintf(path, sizeof path, "%s/sendmail.XXXXXX", dir) >=
        (int)sizeof path)
        snprintf(path, sizeof path, "/tmp/sendmail.XXXXXX");
    t->file = mkstemp(path);
    if (t->file < 0)
        return sendmail_fail(EX_TEMPFAIL, "make a file in %s: %s", dir,
                             strerror(errno));
    (void)unlink(path);
    return EX_OK;
}

static void keep(struct reader *r, const char *p, size_t n)
{
    struct sendmail_text *t = r->t;

    if (r->status != EX_OK || n == 0)
        return;
    if (n > r->max - t->n - t->file_n) {
        r->status = sendmail_fail(EX_UNAVAILABLE,
                                  "message too large: serve.max_message_size "
                                  "is %llu octets",
                                  (unsigned long long)r->max);
        return;
    }
    size_t fits = SENDMAIL_MEMORY - t->n;
    if (t->file < 0 && n <= fits) {
        memcpy(t->mem + t->n, p, n);
        t->n += n;
        return;
    }
    if (t->file < 0 && (r->status = open_file(t)) != EX_OK)
        return;
    if (fs_write_all(t->file, p, n) != 0)
        r->status =
            sendmail_fail(EX_TEMPFAIL, "keep the message: %s", strerror(errno));
    t->file_n += n;
}

/* --- line by line ------------------------------------------------------ */

static void end_line(struct reader *r)
{
    if (r->dot) {
        r->ended = true;
        return;
    }
    keep(r, "\r\n", 2);
    r->inside = false;
    r->crs = 0;
}

static void keep_crs(struct reader *r)
{
    for (; r->crs > 0; r->crs--)
        keep(r, " ", 1);
}

/* Octets within a line, none of which is LF. */
static void take_inside(struct reader *r, const char *p, size_t n)
{
    while (n > 0) {
        const char *cr = memchr(p, '\r', n);
        size_t part = cr != NULL ? (size_t)(cr - p) : n;
        if (part > 0) {
            if (r->dot)
                keep(r, ".", 1);
            r->dot = false;
            keep_crs(r);
            keep(r, p, part);
        }
        r->crs += cr != NULL;
        n -= part + (cr != NULL);
        p += part + (cr != NULL);
    }
}

static void take(struct reader *r, const char *p, size_t n)
{
    while (n > 0 && !r->ended) {
        const char *lf = memchr(p, '\n', n);
        size_t part = lf != NULL ? (size_t)(lf - p) : n, skip = 0;
        if (!r->inside && part > 0 && *p == '.' && !r->dots) {
            r->dot = true;
            skip = 1;
        }
        r->inside |= part > 0;
        take_inside(r, p + skip, part - skip);
        if (lf != NULL)
            end_line(r);
        n -= part + (lf != NULL);
        p += part + (lf != NULL);
    }
}

static void finish(struct reader *r)
{
    if (r->ended || r->dot || (!r->inside && r->crs == 0))
        return;
    r->crs = 0;
    end_line(r);
}

static void note_eight_bit(struct sendmail_text *t, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !t->eight_bit; i++)
        t->eight_bit = ((unsigned char)p[i] & 0x80) != 0;
}

/* Mail has none (RFC 5322 4), and hosts refuse it. */
static void blank_nuls(char *p, size_t n)
{
    for (char *end = p + n; (p = memchr(p, '\0', (size_t)(end - p))) != NULL;)
        *p++ = ' ';
}

/* The caller may have left it in a mode in which reads do not wait. */
static ssize_t read_input(char *p, size_t n)
{
    struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
    ssize_t got;

    while ((got = read(STDIN_FILENO, p, n)) < 0 &&
           (errno == EINTR || errno == EAGAIN))
        (void)poll(&in, 1, -1);
    return got;
}

int sendmail_text_read(struct sendmail_text *t, bool dots, uint64_t max)
{
    struct reader r = { .t = t, .max = max, .dots = dots };
    char piece[PIECE];
    ssize_t n = 1;

    *t = (struct sendmail_text){ .mem = malloc(SENDMAIL_MEMORY), .file = -1 };
    if (t->mem == NULL)
        return sendmail_fail(EX_TEMPFAIL, "no memory for the message");
    while (r.status == EX_OK && !r.ended && n != 0) {
        n = read_input(piece, sizeof piece);
        if (n < 0)
            return sendmail_fail(EX_DATAERR, "error reading input: %s",
                                 strerror(errno));
        note_eight_bit(t, piece, (size_t)n);
        blank_nuls(piece, (size_t)n);
        take(&r, piece, (size_t)n);
    }
    finish(&r);
    return r.status;
}

void sendmail_text_free(struct sendmail_text *t)
{
    free(t->mem);
    t->mem = NULL;
    if (t->file >= 0)
        close(t->file);
    t->file = -1;
}

/* --- the header -------------------------------------------------------- */

struct field {
    struct span all, name, value; /* all: with its line end */
};

static size_t line_of(const struct sendmail_text *t, size_t at)
{
    const char *lf = memchr(t->mem + at, '\n', t->n - at);

    return lf == NULL ? 0 : (size_t)(lf - t->mem) + 1 - at;
}

/* RFC 5322 3.6.8: printable octets without a colon; blanks in front of the
 * colon are of old programs. */
static size_t name_of(struct span line)
{
    size_t n = 0;

    while (n < line.n && line.p[n] > ' ' && line.p[n] < 0x7f &&
           line.p[n] != ':')
        n++;
    size_t colon = n;
    while (colon < line.n && (line.p[colon] == ' ' || line.p[colon] == '\t'))
        colon++;
    return n > 0 && colon < line.n && line.p[colon] == ':' ? n : 0;
}

/* The field at that place, with its continuation lines; false: there is none,
 * or it does not end in memory. */
static bool field_at(const struct sendmail_text *t, size_t at, struct field *f)
{
    size_t n = line_of(t, at), more;

    f->name =
        (struct span){ t->mem + at, name_of((struct span){ t->mem + at, n }) };
    if (n == 0 || f->name.n == 0)
        return false;
    while (at + n < t->n && (t->mem[at + n] == ' ' || t->mem[at + n] == '\t')) {
        if ((more = line_of(t, at + n)) == 0)
            return false;
        n += more;
    }
    f->all = (struct span){ t->mem + at, n };
    size_t colon = span_find(f->all, ':') + 1;
    f->value = (struct span){ f->all.p + colon, n - 2 - colon };
    return true;
}

/* A line in front of the header that mailboxes have; more than one, where a
 * message was taken from one twice. */
static size_t skip_from(const struct sendmail_text *t)
{
    size_t at = 0;

    while ((t->n - at > 5 && memcmp(t->mem + at, "From ", 5) == 0) ||
           (t->n - at > 6 && memcmp(t->mem + at, ">From ", 6) == 0))
        at += line_of(t, at) > 0 ? line_of(t, at) : t->n - at;
    return at;
}

static bool is_empty(struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (strchr(" \t\r\n", value.p[i]) == NULL)
            return false;
    return true;
}

static bool is_resent(struct span name)
{
    return span_starts_nocase(name, "Resent-");
}

static bool names_recipients(struct span name, bool resent)
{
    if (resent != is_resent(name))
        return false;
    if (resent)
        name = (struct span){ name.p + 7, name.n - 7 };
    return span_is_nocase(name, "To") || span_is_nocase(name, "Cc") ||
           span_is_nocase(name, "Bcc");
}

static void note(struct sendmail_text *t, const struct field *f)
{
    static const char *const words[] = { "From", "Date", "Message-ID" };
    struct span rest = f->name;

    t->resent |= is_resent(f->name);
    t->has_from |= span_is_nocase(f->name, "From") && !is_empty(f->value);
    if (is_resent(f->name))
        rest = (struct span){ rest.p + 7, rest.n - 7 };
    for (size_t i = 0; is_resent(f->name) && i < 3; i++)
        t->has_resent[i] |= span_is_nocase(rest, words[i]);
}

/* Is it left out?  Bcc is for the envelope alone, Return-Path for the delivery
 * of another time (RFC 5321 4.4); an empty From says nothing. */
static bool is_dropped(const struct field *f)
{
    return span_is_nocase(f->name, "Bcc") ||
           span_is_nocase(f->name, "Resent-Bcc") ||
           span_is_nocase(f->name, "Return-Path") ||
           (span_is_nocase(f->name, "From") && is_empty(f->value));
}

/* RFC 5322 3.6.6: of a message that was resent more than once the first group
 * of Resent- fields is the newest. */
static int each_recipient_field(const struct sendmail_text *t, bool first_group,
                                sendmail_field_fn *fn, void *ctx, bool *any)
{
    bool in_group = false;
    struct field f;

    for (size_t at = t->head; at < t->head_end && field_at(t, at, &f);
         at += f.all.n) {
        if (first_group && in_group && !is_resent(f.name))
            break;
        in_group |= is_resent(f.name);
        if (!names_recipients(f.name, t->resent))
            continue;
        *any = true;
        int status = fn(ctx, f.value);
        if (status != EX_OK)
            return status;
    }
    return EX_OK;
}

static void drop_fields(struct sendmail_text *t)
{
    size_t to = t->head;
    struct field f;

    for (size_t at = t->head, n; at < t->head_end && field_at(t, at, &f);
         at += n) {
        n = f.all.n;
        if (is_dropped(&f))
            continue;
        memmove(t->mem + to, t->mem + at, n);
        to += n;
    }
    t->head_end = to;
}

/* The header ends at an empty line, or at one that is no field. */
static int find_end(struct sendmail_text *t)
{
    size_t at = t->head = skip_from(t);
    struct field f;

    for (; at < t->n && field_at(t, at, &f); at += f.all.n)
        note(t, &f);
    size_t n = t->n - at;
    if (t->file >= 0 &&
        (n == 0 || name_of((struct span){ t->mem + at, n }) > 0))
        return sendmail_fail(EX_DATAERR, "the header is longer than %d octets",
                             SENDMAIL_MEMORY);
    t->head_end = t->body = at;
    t->blank = t->n - at < 2 || memcmp(t->mem + at, "\r\n", 2) != 0;
    return EX_OK;
}

int sendmail_text_header(struct sendmail_text *t, sendmail_field_fn *fn,
                         void *ctx)
{
    bool any = false;
    int status = find_end(t);

    if (status == EX_OK && fn != NULL)
        status = each_recipient_field(t, true, fn, ctx, &any);
    if (status == EX_OK && fn != NULL && !any)
        status = each_recipient_field(t, false, fn, ctx, &any);
    drop_fields(t);
    return status;
}

uint64_t sendmail_text_size(const struct sendmail_text *t)
{
    return t->head_end - t->head + (t->blank ? 2 : 0) + t->n - t->body +
           t->file_n;
}
