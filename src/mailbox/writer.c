#include "mailbox/writer.h"

#include "base/fs.h"

#include <errno.h>
#include <string.h>

enum { FROM_N = 5, IN_LINE = 255 }; /* of `match` */
static const char from_word[] = "From ";

void mailbox_write_begin(struct mailbox_writer *o,
                         struct mailbox_writer_memory *m, int fd, bool append)
{
    *o = (struct mailbox_writer){ .m = m, .fd = fd, .append = append };
}

static void flush(struct mailbox_writer *o)
{
    if (o->n == 0 || o->error != 0)
        return;
    int rc = o->append ? fs_write_all(o->fd, o->m->out, o->n)
                       : fs_pwrite_all(o->fd, o->m->out, o->n,
                                       (off_t)(o->size - o->n));
    if (rc != 0)
        o->error = errno;
    o->n = 0;
}

void mailbox_write_raw(struct mailbox_writer *o, const char *p, size_t n)
{
    if (n > 0)
        o->last = p[n - 1];
    while (n > 0 && o->error == 0) {
        size_t part = MAILBOX_WRITER_BUFFER - o->n;
        part = n < part ? n : part;
        memcpy(o->m->out + o->n, p, part);
        o->n += part;
        o->size += part;
        p += part;
        n -= part;
        if (o->n == MAILBOX_WRITER_BUFFER)
            flush(o);
    }
}

/* One octet at a time, only while the line may still be ">>>From ".  The run of
 * ">" is written at once: the place of the added one within it does not matter.
 */
static void match_from(struct mailbox_writer *o, char c)
{
    if (c == from_word[o->match]) {
        if (++o->match == FROM_N) {
            mailbox_write_raw(o, ">From ", FROM_N + 1);
            o->match = IN_LINE;
        }
        return;
    }
    mailbox_write_raw(o, from_word, o->match);
    o->match = c == '\n' ? 0 : c == '>' && o->match == 0 ? 0 : IN_LINE;
    mailbox_write_raw(o, &c, 1);
}

static void put_lines(struct mailbox_writer *o, const char *p, size_t n)
{
    if (!o->quote) {
        mailbox_write_raw(o, p, n);
        return;
    }
    while (n > 0) {
        if (o->match != IN_LINE) {
            match_from(o, *p);
            p++;
            n--;
            continue;
        }
        const char *end = memchr(p, '\n', n);
        size_t part = end == NULL ? n : (size_t)(end - p) + 1;
        mailbox_write_raw(o, p, part);
        o->match = end == NULL ? IN_LINE : 0;
        p += part;
        n -= part;
    }
}

void mailbox_write_wire(struct mailbox_writer *o, const char *p, size_t n)
{
    while (n > 0) {
        if (o->cr && *p != '\n')
            put_lines(o, "\r", 1);
        const char *cr = memchr(p, '\r', n);
        size_t part = cr == NULL ? n : (size_t)(cr - p);
        put_lines(o, p, part);
        o->cr = cr != NULL;
        part += o->cr;
        p += part;
        n -= part;
    }
}

static void file_body(struct mailbox_writer *o, const struct body *b)
{
    struct body_cursor c = { 0 };
    ssize_t n = 0;

    while (o->error == 0 &&
           (n = body_next(b, &c, o->m->in, MAILBOX_WRITER_INPUT)) > 0)
        mailbox_write_wire(o, o->m->in, (size_t)n);
    if (n < 0) {
        o->error = errno;
        o->unreadable = true;
    }
}

void mailbox_write_body(struct mailbox_writer *o, const struct body *b)
{
    if (b->chain == NULL)
        file_body(o, b);
    else
        for (const struct chain_block *k = b->chain->head; k != NULL;
             k = k->next)
            mailbox_write_wire(o, k->data + k->from, k->to - k->from);
}

/* Octets held back by the automata are content when nothing follows. */
static void let_go(struct mailbox_writer *o)
{
    if (o->match != IN_LINE && o->match > 0) {
        mailbox_write_raw(o, from_word, o->match);
        o->match = IN_LINE;
    }
    if (o->cr)
        put_lines(o, "\r", 1);
    o->cr = false;
}

void mailbox_write_end_line(struct mailbox_writer *o)
{
    let_go(o);
    if (o->last != '\n' && o->last != '\0')
        put_lines(o, "\n", 1);
}

int mailbox_write_finish(struct mailbox_writer *o)
{
    let_go(o);
    flush(o);
    errno = o->error;
    return o->error == 0 ? 0 : -1;
}
