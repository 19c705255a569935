#include "mail/dsn.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "mail/dsn_returned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_MAX = 800, LINE = 76, BOUNDARY_MAX = 64 };

struct out {
    const struct dsn *d;
    struct dsn_out to;
    struct dsn_original original;
    bool whole;      /* the original is returned with its body */
    bool eight_text; /* the text part has octets above ASCII */
    char boundary[BOUNDARY_MAX];
};

/* What to write for each action; the index is enum dsn_action. */
/* clang-format off */
static const struct action {
    const char *name;
    unsigned class;
    const char *subject, *what;
} actions[] = {
    { "failed", 5, "Your message could not be delivered",
      "Your message could not be delivered to" },
    { "delayed", 4, "Your message is delayed",
      "Your message has not been delivered yet to" },
    { "delivered", 2, "Your message was delivered",
      "As you asked to be told: your message was delivered to" },
    { "relayed", 2, "Your message was passed on",
      "Your message was passed on, to a mail system that does not confirm"
      " delivery, for" },
};
/* clang-format on */

/* --- making values harmless --------------------------------------------- */

/* One line of printable text: line ends and controls become blanks.  Valid
 * UTF-8 stays when asked for; any other octet above ASCII becomes "?". */
static void harmless(char out[VALUE_MAX], const char *text, bool utf8)
{
    struct buf b;
    size_t left = text == NULL ? 0 : strlen(text), n;

    buf_init(&b, out, VALUE_MAX);
    for (const char *p = text; left > 0; p += n, left -= n) {
        n = utf8_length(p, left);
        if (n == 0 || (n > 1 && !utf8)) {
            buf_addc(&b, '?');
            n = n == 0 ? 1 : n;
        } else if (utf8_control(p, n) != UTF8_NO_CONTROL) {
            buf_addc(&b, ' ');
        } else {
            buf_add(&b, p, n);
        }
    }
}

static bool is_ascii(const char *s)
{
    for (; s != NULL && *s != '\0'; s++)
        if (((unsigned char)*s & 0x80) != 0)
            return false;
    return true;
}

static bool has_text(const char *s)
{
    return s != NULL && *s != '\0';
}

/* --- lines -------------------------------------------------------------- */

static void put(struct out *o, const char *text)
{
    dsn_put(&o->to, text, strlen(text));
}

/* A line, or several: folded between words, each but the first behind
 * `indent`. */
static void put_folded(struct out *o, const char *first, const char *indent,
                       const char *value)
{
    size_t column = strlen(first);
    bool fresh = true;

    put(o, first);
    for (struct span rest = span_trim(span_of(value)); rest.n > 0;) {
        size_t n = span_find(rest, ' ');
        if (!fresh && column + 1 + n > LINE) {
            put(o, "\r\n");
            put(o, indent);
            column = strlen(indent);
            fresh = true;
        }
        if (!fresh)
            put(o, " ");
        dsn_put(&o->to, rest.p, n);
        column += n + !fresh;
        fresh = false;
        rest = span_trim((struct span){ rest.p + n, rest.n - n });
    }
    put(o, "\r\n");
}

static void put_field(struct out *o, const char *name, const char *value)
{
    char text[VALUE_MAX];

    harmless(text, value, false);
    put_folded(o, name, " ", text);
}

static void put_date(struct out *o, const char *name, uint64_t when)
{
    char date[CLOCK_RFC5322_MAX];

    clock_rfc5322(date, when);
    put_field(o, name, date);
}

static void start_part(struct out *o, const char *type, const char *encoding)
{
    put(o, "\r\n--");
    put(o, o->boundary);
    put(o, "\r\nContent-Type: ");
    put(o, type);
    put(o, "\r\nContent-Transfer-Encoding: ");
    put(o, encoding);
    put(o, "\r\n\r\n");
}

static const char *encoding_of(bool eight_bit)
{
    return eight_bit ? "8bit" : "7bit";
}

static bool original_is_eight_bit(const struct out *o)
{
    return o->original.header_eight_bit ||
           (o->whole && o->original.body_eight_bit);
}

/* --- the header --------------------------------------------------------- */

static void new_boundary(struct out *o)
{
    unsigned char chance[16];
    struct buf b = BUF_ON(o->boundary);

    /* Random, so that no message can contain it. */
    arc4random_buf(chance, sizeof chance);
    buf_adds(&b, "=_mta_");
    for (size_t i = 0; i < sizeof chance; i++)
        buf_addf(&b, "%02x", chance[i]);
}

/* RFC 3834: auto-replied, so that no responder answers it. */
static void put_header(struct out *o)
{
    const struct dsn *d = o->d;
    char id[MSG_ID_TEXT], host[VALUE_MAX], value[VALUE_MAX];
    char line[2 * VALUE_MAX];

    msg_id_text(id, d->own_id);
    harmless(host, d->hostname, false);
    put_date(o, "Date: ", d->now);
    put(o, "From: Mail Delivery System <MAILER-DAEMON@");
    put_folded(o, host, " ", ">");
    harmless(value, d->to, true);
    snprintf(line, sizeof line, "<%s>", value);
    put_folded(o, "To: ", " ", line);
    put_field(o, "Subject: ", actions[d->action].subject);
    snprintf(line, sizeof line, "<%s@%s>", id, host);
    put_folded(o, "Message-ID: ", " ", line);
    put(o, "Auto-Submitted: auto-replied\r\n"
           "MIME-Version: 1.0\r\n"
           "Content-Type: multipart/report; report-type=delivery-status;\r\n"
           "\tboundary=\"");
    put(o, o->boundary);
    put(o, "\"\r\nContent-Transfer-Encoding: ");
    put(o, encoding_of(o->eight_text || original_is_eight_bit(o)));
    put(o, "\r\n\r\nThis is a delivery status notification in MIME format."
           "\r\n");
}

/* --- the part for people ------------------------------------------------ */

static void tell_recipient(struct out *o, const struct dsn_rcpt *r)
{
    char value[VALUE_MAX], line[2 * VALUE_MAX];

    harmless(value, r->address, true);
    snprintf(line, sizeof line, "<%s>", value);
    put_folded(o, "  ", "    ", line);
    harmless(value, r->reply, false);
    if (!has_text(value))
        return;
    if (has_text(r->host)) {
        char host[VALUE_MAX];
        harmless(host, r->host, false);
        put_folded(o, "    ", "    ", host);
        put_folded(o, "    answered: ", "      ", value);
    } else {
        put_folded(o, "    ", "    ", value);
    }
}

static void tell_next(struct out *o)
{
    const struct dsn *d = o->d;
    char date[CLOCK_RFC5322_MAX], line[160];

    switch (d->action) {
    case DSN_FAILED:
        put_folded(o, "", "",
                   "It will not be tried again for these recipients. Please "
                   "check the address, or send the message again when the "
                   "reason is gone.");
        break;
    case DSN_DELAYED:
        clock_rfc5322(date, d->expires);
        snprintf(line, sizeof line,
                 "You need not send it again: it will be tried until %s. If "
                 "that does not help you will be told.",
                 d->expires != 0 ? date : "it gets too old");
        put_folded(o, "", "", line);
        break;
    case DSN_DELIVERED:
    case DSN_RELAYED: put_folded(o, "", "", "You need not do anything."); break;
    }
}

static void put_text(struct out *o)
{
    const struct dsn *d = o->d;
    char id[MSG_ID_TEXT], value[VALUE_MAX];

    start_part(o, "text/plain; charset=utf-8", encoding_of(o->eight_text));
    harmless(value, d->hostname, false);
    put(o, "This is the mail system at ");
    put_folded(o, value, "", "");
    put(o, "\r\n");
    put_folded(o, "", "", actions[d->action].what);
    put(o, "\r\n");
    for (size_t i = 0; i < d->nrcpt; i++)
        tell_recipient(o, &d->rcpt[i]);
    put(o, "\r\n");
    tell_next(o);
    msg_id_text(id, d->id);
    snprintf(value, sizeof value,
             "The %s of your message %s below. If you ask your postmaster "
             "about it, name this id: %s.",
             o->whole ? "whole" : "header", "stands", id);
    put(o, "\r\n");
    put_folded(o, "", "", value);
}

/* --- the part for programs (RFC 3464) ----------------------------------- */

/* RFC 6533 3: an address beyond ASCII, written in ASCII. */
static void put_utf8_address(struct out *o, const char *name, const char *text)
{
    char value[VALUE_MAX];
    struct buf b = BUF_ON(value);
    size_t left = strlen(text), n;

    for (const char *p = text; left > 0; p += n, left -= n) {
        n = utf8_length(p, left);
        unsigned long code = (unsigned char)*p;
        if (n > 1)
            code &= 0x7fu >> n;
        for (size_t i = 1; i < n; i++)
            code = code << 6 | ((unsigned char)p[i] & 0x3f);
        n = n == 0 ? 1 : n;
        if (code > ' ' && code < 0x7f && strchr("+=\\", (int)code) == NULL)
            buf_addc(&b, (char)code);
        else
            buf_addf(&b, "\\x{%02lX}", code);
    }
    put(o, name);
    put_folded(o, "utf-8;", " ", value);
}

static void put_final_recipient(struct out *o, const char *address)
{
    if (is_ascii(address))
        put_field(o, "Final-Recipient: rfc822;", address);
    else
        put_utf8_address(o, "Final-Recipient: ", address);
}

/* The class follows the action: a "4" that expired is a failure. */
static void put_status(struct out *o, const struct dsn_rcpt *r)
{
    char status[64];
    const struct smtp_status *s = &r->status;
    bool given = s->class != 0;

    snprintf(status, sizeof status, "Status: %u.%u.%u\r\n",
             actions[o->d->action].class, given ? s->subject % 1000u : 0,
             given ? s->detail % 1000u : 0);
    put(o, status);
}

static void put_diagnostic(struct out *o, const struct dsn_rcpt *r)
{
    char text[VALUE_MAX + 16], code[16];

    if (r->status.code == 0) {
        if (has_text(r->reply))
            put_field(o, "Diagnostic-Code: x-mta; ", r->reply);
        return;
    }
    snprintf(code, sizeof code, "%03d", r->status.code);
    if (has_text(r->reply) && strncmp(r->reply, code, 3) == 0)
        snprintf(text, sizeof text, "%.*s", VALUE_MAX, r->reply);
    else
        snprintf(text, sizeof text, "%s %.*s", code, VALUE_MAX,
                 has_text(r->reply) ? r->reply : "");
    put_field(o, "Diagnostic-Code: smtp; ", text);
}

static void put_recipient(struct out *o, const struct dsn_rcpt *r)
{
    put(o, "\r\n");
    if (has_text(r->orcpt))
        put_field(o, "Original-Recipient: ", r->orcpt);
    put_final_recipient(o, r->address);
    put_field(o, "Action: ", actions[o->d->action].name);
    put_status(o, r);
    if (has_text(r->host))
        put_field(o, "Remote-MTA: dns; ", r->host);
    put_diagnostic(o, r);
    put_date(o, "Last-Attempt-Date: ", o->d->now);
    if (o->d->action == DSN_DELAYED && o->d->expires != 0)
        put_date(o, "Will-Retry-Until: ", o->d->expires);
}

static void put_report(struct out *o)
{
    const struct dsn *d = o->d;

    start_part(o, "message/delivery-status", "7bit");
    if (has_text(d->envid))
        put_field(o, "Original-Envelope-Id: ", d->envid);
    put_field(o, "Reporting-MTA: dns; ", d->hostname);
    put_date(o, "Arrival-Date: ", d->arrival);
    for (size_t i = 0; i < d->nrcpt; i++)
        put_recipient(o, &d->rcpt[i]);
}

/* ---------------------------------------------------------------------- */

static int put_original(struct out *o, struct err *e)
{
    const char *encoding = encoding_of(original_is_eight_bit(o));
    int rc;

    start_part(o, o->whole ? "message/rfc822" : "text/rfc822-headers",
               encoding);
    rc = o->whole ? dsn_put_whole(&o->to, o->d->original)
                  : dsn_put_header(&o->to, o->d->original, &o->original);
    return rc == 0 ? 0 : err_set(e, ERR_TEMP, errno, "read the original");
}

/* Only for an address that needs it: a 7-bit notice passes everywhere. */
static void look_at_addresses(struct out *o)
{
    for (size_t i = 0; i < o->d->nrcpt; i++)
        if (!is_ascii(o->d->rcpt[i].address))
            o->eight_text = true;
}

int dsn_write(const struct dsn *d, dsn_sink *sink, void *ctx, struct err *e)
{
    struct out o;

    if (!has_text(d->to)) /* RFC 5321 4.5.5: no notice about a notice */
        return err_set(e, ERR_BUG, 0, "a notice for the null sender");
    memset(&o, 0, sizeof o);
    o.d = d;
    o.to.sink = sink;
    o.to.ctx = ctx;
    if (dsn_look(&o.original, d->original, d->return_full) != 0)
        return err_set(e, ERR_TEMP, errno, "read the original");
    o.whole = d->return_full && o.original.whole_fits;
    new_boundary(&o);
    look_at_addresses(&o);
    put_header(&o);
    put_text(&o);
    put_report(&o);
    if (put_original(&o, e) != 0)
        return -1;
    put(&o, "\r\n--");
    put(&o, o.boundary);
    put(&o, "--\r\n");
    if (!dsn_flush(&o.to))
        return err_set(e, ERR_TEMP, 0, "no room for the notice");
    return 0;
}
