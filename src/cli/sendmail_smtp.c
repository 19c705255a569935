/* sendmail_smtp.c - the client of the submission socket.
 *
 * The commands go out together (RFC 2920), and none waits for the greeting,
 * which the server allows to programs of this host: two waits a message. */
#include "cli/sendmail.h"

#include "smtp/dot.h"
#include "smtp/reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    INPUT = 16 * 1024,
    PIECE = 16 * 1024,
    WINDOW = 100 /* RCPT commands before their replies are read: more could
                  * fill both directions */
};

struct client {
    const struct sendmail_job *j;
    int fd;
    struct smtp_reply reply;
    char in[INPUT];
    size_t n; /* octets in it */
    char room[2 * PIECE + 64];
    struct buf out;
    int status; /* of the recipients that were refused */
    unsigned accepted;
    bool refused, broken;
};

/* --- octets ------------------------------------------------------------ */

static int write_all(struct client *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = send(c->fd, p, n, 0);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* After a failure nothing more is sent, and the server waits for nothing. */
static int flush(struct client *c)
{
    if (!c->broken && write_all(c, c->out.p, c->out.n) != 0) {
        c->broken = true;
        (void)shutdown(c->fd, SHUT_WR);
    }
    c->out.n = 0;
    return c->broken ? -1 : 0;
}

static void show(const struct client *c, const char *prefix, const char *text)
{
    if (c->j->o->verbose)
        fprintf(stderr, "%s%s\n", prefix, text);
}

/* Add a command to those to be sent.  A connection that breaks shows at the
 * next reply: the server may have said why. */
__attribute__((format(printf, 2, 3))) static void put(struct client *c,
                                                      const char *fmt, ...)
{
    char line[1536];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    show(c, ">>> ", line);
    if (c->out.n + sizeof line + 2 >= c->out.cap)
        (void)flush(c);
    buf_addf(&c->out, "%s\r\n", line);
}

static int fill(struct client *c)
{
    ssize_t n;

    do
        n = recv(c->fd, c->in + c->n, sizeof c->in - c->n, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -1;
    c->n += (size_t)n;
    return 0;
}

/* The code of the next reply; -1: the connection is broken. */
static int next_reply(struct client *c)
{
    enum smtp_reply_result rc;
    struct span line;
    size_t used;

    smtp_reply_clear(&c->reply);
    do {
        rc = smtp_reply_take(&c->reply, (struct span){ c->in, c->n }, &used,
                             &line);
        memmove(c->in, c->in + used, c->n - used);
        c->n -= used;
        if (rc == SMTP_REPLY_BROKEN ||
            (rc == SMTP_REPLY_MORE && used == 0 && fill(c) != 0))
            return -1;
    } while (rc == SMTP_REPLY_MORE);
    if (c->j->o->verbose)
        fprintf(stderr, "%03u %s\n", (unsigned)c->reply.status.code,
                c->reply.text);
    return c->reply.status.code;
}

/* --- what a reply means ------------------------------------------------ */

/* The exit status of a refusal, by RFC 3463 where the reply has a status. */
static int status_of(const struct smtp_status *s)
{
    if (s->code < 500)
        return EX_TEMPFAIL;
    if (s->class == 5 && s->subject == 1 && (s->detail == 1 || s->detail == 6))
        return EX_NOUSER;
    if (s->class == 5 && s->subject == 1 && (s->detail == 2 || s->detail == 10))
        return EX_NOHOST;
    if (s->class == 5 && s->subject == 7)
        return EX_NOPERM;
    if (s->class == 5 && s->subject == 3)
        return EX_UNAVAILABLE;
    return EX_DATAERR;
}

static int refuse(struct client *c, const char *what)
{
    return sendmail_fail(status_of(&c->reply.status), "%s: %u %s", what,
                         (unsigned)c->reply.status.code, c->reply.text);
}

/* --- the envelope ------------------------------------------------------ */

static void put_xtext(struct buf *b, const char *text)
{
    for (; *text != '\0'; text++)
        if (*text > ' ' && *text < 0x7f && *text != '+' && *text != '=')
            buf_addc(b, *text);
        else
            buf_addf(b, "+%02X", (unsigned char)*text);
}

/* The log of the server gets a line about it. */
static void put_note(struct client *c, const char *option)
{
    char word[64];
    size_t n = 0;

    for (; option[n] != '\0' && n + 1 < sizeof word; n++)
        word[n] = option[n] > ' ' && option[n] < 0x7f ? option[n] : '?';
    word[n] = '\0';
    put(c, "NOOP sendmail: unknown option %s", word);
}

static void put_mail(struct client *c)
{
    const struct sendmail_options *o = c->j->o;
    char envid[3 * 128 + 1] = "";
    struct buf b = BUF_ON(envid);
    unsigned long long size = sendmail_text_size(&c->j->text) + c->j->fields.n;

    if (o->envid != NULL)
        put_xtext(&b, o->envid);
    put(c, "MAIL FROM:<%s> SIZE=%llu%s%s%s%s%s%s%s", c->j->sender, size,
        o->eight_bit || c->j->text.eight_bit ? " BODY=8BITMIME" : "",
        c->j->utf8 ? " SMTPUTF8" : "", o->queue_only ? " XQUEUEONLY" : "",
        o->ret != NULL ? " RET=" : "", o->ret != NULL ? o->ret : "",
        envid[0] != '\0' ? " ENVID=" : "", envid);
}

/* A temporary refusal of one is one of the whole message: nothing is sent to
 * some now and, at the next try, to all. */
static enum sendmail_end take_rcpt(struct client *c, const char *address)
{
    int code = next_reply(c);

    if (code < 0 || code == 421)
        return SENDMAIL_LOST;
    c->accepted += code / 100 == 2;
    if (code / 100 == 2)
        return SENDMAIL_SENT;
    int status = refuse(c, address);
    if (status == EX_TEMPFAIL || c->status == EX_OK)
        c->status = status;
    c->refused |= status == EX_TEMPFAIL;
    return SENDMAIL_SENT;
}

static void put_rcpts(struct client *c, struct list **next, unsigned *n)
{
    const struct list *all = &c->j->rcpts;
    const char *notify = c->j->o->notify;

    for (*n = 0; *n < WINDOW && *next != all; ++*n, *next = (*next)->next) {
        const struct sendmail_rcpt *r =
            LIST_ENTRY(*next, struct sendmail_rcpt, link);
        put(c, "RCPT TO:<%s>%s%s", r->address, notify != NULL ? " NOTIFY=" : "",
            notify != NULL ? notify : "");
    }
    if (*next == all)
        put(c, "DATA");
    (void)flush(c);
}

/* --- the text ---------------------------------------------------------- */

static int put_text(struct client *c, struct smtp_dot_encoder *dot,
                    const char *p, size_t n)
{
    while (n > 0) {
        size_t part = n < PIECE ? n : PIECE;
        if (c->out.n + 2 * part >= c->out.cap && flush(c) != 0)
            return -1;
        c->out.n += smtp_dot_encode(dot, p, part, c->out.p + c->out.n);
        p += part;
        n -= part;
    }
    return 0;
}

static int put_file(struct client *c, struct smtp_dot_encoder *dot)
{
    const struct sendmail_text *t = &c->j->text;
    char piece[PIECE];

    for (uint64_t at = 0; at < t->file_n;) {
        ssize_t n = pread(t->file, piece, sizeof piece, (off_t)at);
        if (n <= 0 || put_text(c, dot, piece, (size_t)n) != 0)
            return -1;
        at += (uint64_t)n;
    }
    return 0;
}

/* All but what ends it: without the final dot no server takes a message. */
static int send_text(struct client *c, struct smtp_dot_encoder *dot)
{
    const struct sendmail_text *t = &c->j->text;

    return put_text(c, dot, c->j->fields.p, c->j->fields.n) == 0 &&
                   put_text(c, dot, t->mem + t->head, t->head_end - t->head) ==
                       0 &&
                   (!t->blank || put_text(c, dot, "\r\n", 2) == 0) &&
                   put_text(c, dot, t->mem + t->body, t->n - t->body) == 0 &&
                   put_file(c, dot) == 0
               ? 0
               : -1;
}

static enum sendmail_end finish(struct client *c, struct smtp_dot_encoder *dot)
{
    char end[5];
    size_t n = smtp_dot_finish(dot, end);

    show(c, ">>> ", ".");
    if (c->out.n + n + 8 >= c->out.cap && flush(c) != 0)
        return SENDMAIL_LOST;
    buf_add(&c->out, end, n);
    buf_adds(&c->out, "QUIT\r\n");
    if (flush(c) != 0)
        return SENDMAIL_UNKNOWN;
    int code = next_reply(c);
    if (code < 0)
        return SENDMAIL_UNKNOWN;
    if (code / 100 != 2)
        c->status = refuse(c, "message not accepted");
    return SENDMAIL_SENT;
}

/* --- all of it --------------------------------------------------------- */

/* The greeting, replies to EHLO, a note, and MAIL. */
static enum sendmail_end open_mail(struct client *c)
{
    int code = next_reply(c), n = c->j->o->unknown != NULL ? 3 : 2;

    if (code == 421)
        return SENDMAIL_BUSY;
    for (int i = 0; i < n && code / 100 == 2; i++)
        code = next_reply(c);
    if (code < 0 || code == 421)
        return SENDMAIL_LOST;
    if (code / 100 != 2) {
        c->status = refuse(c, c->j->sender[0] != '\0' ? c->j->sender : "<>");
        c->refused = true;
    }
    return SENDMAIL_SENT;
}

static enum sendmail_end take_rcpts(struct client *c, struct list *from,
                                    unsigned n)
{
    enum sendmail_end end = SENDMAIL_SENT;

    for (; n > 0 && end == SENDMAIL_SENT; n--, from = from->next)
        end =
            take_rcpt(c, LIST_ENTRY(from, struct sendmail_rcpt, link)->address);
    return end;
}

static enum sendmail_end send_envelope(struct client *c)
{
    struct list *next = c->j->rcpts.next, *from;
    bool first = true;
    unsigned n;

    put(c, "EHLO %s", c->j->conf->hostname);
    if (c->j->o->unknown != NULL)
        put_note(c, c->j->o->unknown);
    put_mail(c);
    do {
        from = next;
        put_rcpts(c, &next, &n);
        enum sendmail_end end = first ? open_mail(c) : SENDMAIL_SENT;
        first = false;
        if (end == SENDMAIL_SENT && !c->refused)
            end = take_rcpts(c, from, n);
        if (end != SENDMAIL_SENT)
            return end;
    } while (!c->refused && next != &c->j->rcpts);
    return SENDMAIL_SENT;
}

static enum sendmail_end converse(struct client *c)
{
    struct smtp_dot_encoder dot = SMTP_DOT_ENCODER_INIT;
    enum sendmail_end end = send_envelope(c);

    if (end != SENDMAIL_SENT || c->refused || c->accepted == 0)
        return end;
    int code = next_reply(c);
    if (code < 0 || code == 421)
        return SENDMAIL_LOST;
    if (code != 354) {
        c->status = refuse(c, "message not accepted");
        return SENDMAIL_SENT;
    }
    return send_text(c, &dot) == 0 ? finish(c, &dot) : SENDMAIL_LOST;
}

enum sendmail_end sendmail_smtp(const struct sendmail_job *j, int fd,
                                int *status)
{
    struct client *c = calloc(1, sizeof *c);
    enum sendmail_end end = SENDMAIL_SENT;

    *status = EX_OK;
    if (c == NULL) {
        *status = sendmail_fail(EX_TEMPFAIL, "no memory");
    } else {
        c->j = j;
        c->fd = fd;
        buf_init(&c->out, c->room, sizeof c->room);
        end = converse(c);
        *status = c->status;
    }
    free(c);
    close(fd);
    return end;
}
