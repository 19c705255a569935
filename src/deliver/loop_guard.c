/* loop_guard.c - Delivered-To fields of a message, read once. */
#include "deliver/loop_guard.h"

#include "smtp/address.h"

#include <errno.h>

enum {
    PIECE = 16 * 1024,
    LINE = 32 + SMTP_ADDRESS_MAX, /* as much of one as matters */
    FIELDS_MAX = 1000
};

struct work_field {
    struct work_field *next;
    const char *address;
};

struct header {
    struct work *w;
    char line[LINE];
    size_t n, length; /* kept of the line, and how long it is */
    unsigned fields;
    bool ended, short_of_memory;
};

static void end_line(struct header *h)
{
    static const char name[] = "Delivered-To:";
    struct span line = { h->line, h->n };

    h->ended = h->length == 0;
    h->n = h->length = 0;
    if (!span_starts_nocase(line, name) || h->fields++ == FIELDS_MAX)
        return;
    line.p += sizeof name - 1;
    line.n -= sizeof name - 1;
    struct work_field *f = work_alloc(h->w, sizeof *f);
    if (f != NULL)
        f->address = work_keep(h->w, span_trim(line));
    h->short_of_memory |= f == NULL || f->address == NULL;
    if (h->short_of_memory)
        return;
    f->next = h->w->delivered_to;
    h->w->delivered_to = f;
}

static void scan(struct header *h, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !h->ended; i++) {
        if (p[i] == '\n') {
            end_line(h);
        } else if (p[i] != '\r') {
            h->length++;
            if (h->n < sizeof h->line)
                h->line[h->n++] = p[i];
        }
    }
}

static int read_header(struct work *w, const struct body *b, struct err *e)
{
    struct header h = { .w = w };
    char piece[PIECE];
    uint64_t at = 0;
    ssize_t n;

    while (!h.ended && (n = body_read(b, at, piece, sizeof piece)) != 0) {
        if (n < 0)
            return err_set(e, ERR_TEMP, errno, "read the header of a message");
        scan(&h, piece, (size_t)n);
        at += (uint64_t)n;
    }
    if (h.short_of_memory)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a header");
    w->header_read = true;
    return 0;
}

int loop_guard_has(struct work *w, const char *address, struct err *e)
{
    struct spool_reader v;
    struct body body;

    if (!w->header_read &&
        (spool_message_reader(w->d->queue.spool, &w->msg->stored, &v, e) != 0 ||
         spool_reader_body(&v, &body, e) != 0 || read_header(w, &body, e) != 0))
        return -1;
    for (const struct work_field *f = w->delivered_to; f != NULL; f = f->next)
        if (span_eq_nocase(span_of(f->address), span_of(address)))
            return 1;
    return 0;
}
