#include "mail/dsn.h"

#include "base/buf.h"
#include "base/clock.h"
#include "mail/dsn_private.h"
#include "smtp/dsn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNDARY_BYTES = 16 };

/* The index is enum dsn_action. */
/* clang-format off */
static const struct action {
    const char *name;
    unsigned class;
    const char *subject;
} actions[] = {
    { "failed",    5, "Your message could not be delivered" },
    { "delayed",   4, "Your message is delayed" },
    { "delivered", 2, "Your message was delivered" },
    { "relayed",   2, "Your message was passed on" },
    { "expanded",  2, "Your message was passed on to several recipients" },
};
/* clang-format on */

/* --- fields ------------------------------------------------------------- */

static bool is_ascii(const char *s)
{
    for (; s != NULL && *s != '\0'; s++)
        if (((unsigned char)*s & 0x80) != 0)
            return false;
    return true;
}

static void put_field(struct dsn_notice *o, const char *name, const char *value)
{
    char text[DSN_VALUE_MAX];

    dsn_harmless(text, value, false);
    dsn_put_folded(o, name, " ", text);
}

static void put_date(struct dsn_notice *o, const char *name, uint64_t when)
{
    char date[CLOCK_RFC5322_MAX];

    clock_rfc5322(date, when);
    put_field(o, name, date);
}

/* What stands there as it is: any other part beyond ASCII is written as
 * quoted-printable, so that it passes everywhere. */
static bool is_eight_bit(const struct dsn_notice *o)
{
    return o->global || (o->whole && (o->original.header_eight_bit ||
                                      o->original.body_eight_bit));
}

/* --- the header --------------------------------------------------------- */

static void new_boundary(struct dsn_notice *o)
{
    unsigned char chance[BOUNDARY_BYTES];
    struct buf b = BUF_ON(o->boundary);

    /* Random, so that no message can contain it. */
    arc4random_buf(chance, sizeof chance);
    buf_adds(&b, "=_mta_");
    for (size_t i = 0; i < sizeof chance; i++)
        buf_addf(&b, "%02x", chance[i]);
}

/* RFC 3834: auto-replied, so that no responder answers it. */
static void put_header(struct dsn_notice *o)
{
    const struct dsn *d = o->d;
    char id[MSG_ID_TEXT], host[DSN_VALUE_MAX], value[DSN_VALUE_MAX];
    char line[2 * DSN_VALUE_MAX];

    msg_id_text(id, d->own_id);
    dsn_harmless(host, d->hostname, false);
    put_date(o, "Date: ", d->now);
    dsn_put_string(o, "From: Mail Delivery System <MAILER-DAEMON@");
    dsn_put_folded(o, host, " ", ">");
    dsn_harmless(value, d->to, true);
    snprintf(line, sizeof line, "<%s>", value);
    dsn_put_folded(o, "To: ", " ", line);
    put_field(o, "Subject: ", actions[d->action].subject);
    snprintf(line, sizeof line, "<%s@%s>", id, host);
    dsn_put_folded(o, "Message-ID: ", " ", line);
    dsn_put_string(
        o, "Auto-Submitted: auto-replied\r\n"
           "MIME-Version: 1.0\r\n"
           "Content-Type: multipart/report; report-type=delivery-status;\r\n"
           "\tboundary=\"");
    dsn_put_string(o, o->boundary);
    dsn_put_string(o, "\"\r\nContent-Transfer-Encoding: ");
    dsn_put_string(o, is_eight_bit(o) ? "8bit" : "7bit");
    dsn_put_string(
        o, "\r\n\r\nThis is a delivery status notification in MIME format."
           "\r\n");
}

/* --- the part for programs (RFC 3464) ----------------------------------- */

/* RFC 6533 3: in a notice that travels with SMTPUTF8 as it is, in any other in
 * ASCII. */
static void put_address(struct dsn_notice *o, const char *name,
                        const char *type_and_address)
{
    char value[DSN_VALUE_MAX], harmless[DSN_VALUE_MAX];
    struct buf b = BUF_ON(value);

    if (o->global)
        buf_adds(&b, type_and_address);
    else
        smtp_dsn_put_ascii(&b, span_of(type_and_address));
    dsn_harmless(harmless, value, o->global);
    dsn_put_folded(o, name, " ", harmless);
}

static void put_final_recipient(struct dsn_notice *o, const char *address)
{
    static const char name[] = "Final-Recipient: ";
    char value[DSN_VALUE_MAX];
    struct buf b = BUF_ON(value);

    if (is_ascii(address)) {
        put_field(o, "Final-Recipient: rfc822;", address);
        return;
    }
    if (o->global)
        buf_addf(&b, "utf-8;%s", address);
    else
        smtp_dsn_put_orcpt(&b, span_of(address));
    put_address(o, name, value);
}

/* RFC 3464 2.3.1: the address without its xtext.  That of the type utf-8 has
 * none (RFC 6533 3). */
static void put_original_recipient(struct dsn_notice *o, const char *orcpt)
{
    struct span rest = span_of(orcpt);
    size_t type = span_find(rest, ';');
    char value[DSN_VALUE_MAX];
    struct buf b = BUF_ON(value);

    if (!dsn_has_text(orcpt) || type == rest.n)
        return;
    buf_add(&b, orcpt, type + 1);
    if (span_starts_nocase(rest, "utf-8;"))
        buf_adds(&b, orcpt + type + 1);
    else
        smtp_xtext_decode(&b, span_of(orcpt + type + 1));
    put_address(o, "Original-Recipient: ", value);
}

static void put_envelope_id(struct dsn_notice *o, const char *envid)
{
    char value[DSN_VALUE_MAX];
    struct buf b = BUF_ON(value);

    if (!dsn_has_text(envid))
        return;
    smtp_xtext_decode(&b, span_of(envid));
    put_field(o, "Original-Envelope-Id: ", value);
}

/* RFC 3463 2: a failure has class 5, a delay 4, whatever the host replied
 * last; 4.7 is an expired delivery. */
static void put_status(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char status[64];
    struct smtp_status s = r->status;

    if (s.class == 0)
        s.subject = s.detail = 0;
    if (r->expired) {
        s.subject = 4;
        s.detail = 7;
    }
    snprintf(status, sizeof status, "Status: %u.%u.%u\r\n",
             actions[o->d->action].class, s.subject % 1000u, s.detail % 1000u);
    dsn_put_string(o, status);
}

/* RFC 3464 2.1.2: a name, or an address in brackets. */
static void put_mta(struct dsn_notice *o, const char *name, const char *host)
{
    char text[ADDR_PORT_TEXT];
    struct addr a;

    if (addr_parse_ip(&a, span_of(host), 0)) {
        addr_literal(text, &a);
        host = text;
    }
    put_field(o, name, host);
}

static void put_diagnostic(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char text[DSN_REPLY_MAX];

    if (r->status.code != 0) {
        dsn_reply_text(text, r, span_of(r->reply), false);
        dsn_put_folded(o, "Diagnostic-Code: smtp; ", " ", text);
    } else if (dsn_has_text(r->reply)) {
        put_field(o, "Diagnostic-Code: x-mta; ", r->reply);
    }
}

static void put_recipient(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    dsn_put_string(o, "\r\n");
    put_original_recipient(o, r->orcpt);
    put_final_recipient(o, r->address);
    put_field(o, "Action: ", actions[o->d->action].name);
    put_status(o, r);
    if (dsn_has_text(r->host))
        put_mta(o, "Remote-MTA: dns; ", r->host);
    put_diagnostic(o, r);
    put_date(o, "Last-Attempt-Date: ",
             r->last_attempt != 0 ? r->last_attempt : o->d->now);
    if (o->d->action == DSN_DELAYED && o->d->expires != 0 && !r->waits)
        put_date(o, "Will-Retry-Until: ", o->d->expires);
}

static void put_report(struct dsn_notice *o)
{
    const struct dsn *d = o->d;

    if (o->global)
        dsn_start_part(o, "message/global-delivery-status", "8bit");
    else
        dsn_start_part(o, "message/delivery-status", "7bit");
    put_envelope_id(o, d->envid);
    put_mta(o, "Reporting-MTA: dns; ", d->hostname);
    put_date(o, "Arrival-Date: ", d->arrival);
    for (size_t i = 0; i < d->nrcpt; i++)
        put_recipient(o, &d->rcpt[i]);
}

/* ---------------------------------------------------------------------- */

static int put_whole(struct dsn_notice *o)
{
    bool global = o->d->utf8_header && o->original.header_eight_bit;

    dsn_start_part(o, global ? "message/global" : "message/rfc822",
                   is_eight_bit(o) ? "8bit" : "7bit");
    return dsn_put_whole(&o->to, o->d->original);
}

/* RFC 6533 5: message/global-headers where the notice may be eight-bit. */
static int put_headers(struct dsn_notice *o)
{
    bool eight_bit = o->original.header_eight_bit;
    bool utf8 = o->d->utf8_header && eight_bit;

    if (o->global)
        dsn_start_part(
            o, utf8 ? "message/global-headers" : "text/rfc822-headers", "8bit");
    else
        dsn_start_part(o,
                       utf8 ? "text/rfc822-headers; charset=utf-8"
                            : "text/rfc822-headers",
                       eight_bit ? "quoted-printable" : "7bit");
    dsn_quote(&o->to, eight_bit && !o->global);
    int rc = dsn_put_header(&o->to, o->d->original, &o->original);
    dsn_quote(&o->to, false);
    return rc;
}

static int put_original(struct dsn_notice *o, struct err *e)
{
    int rc = o->whole ? put_whole(o) : put_headers(o);

    return rc == 0 ? 0 : err_set(e, ERR_TEMP, errno, "read the original");
}

static void look_at_addresses(struct dsn_notice *o)
{
    for (size_t i = 0; i < o->d->nrcpt; i++)
        if (!is_ascii(o->d->rcpt[i].address))
            o->eight_text = true;
}

int dsn_write(const struct dsn *d, dsn_sink *sink, void *ctx, struct err *e)
{
    struct dsn_notice o;

    if (!dsn_has_text(d->to)) /* RFC 5321 4.5.5: no notice about a notice */
        return err_set(e, ERR_BUG, 0, "a notice for the null sender");
    memset(&o, 0, sizeof o);
    o.d = d;
    o.global = !is_ascii(d->to);
    o.to.sink = sink;
    o.to.ctx = ctx;
    /* RFC 3461 4.3: only for a failure. */
    bool full = d->return_full && d->action == DSN_FAILED;
    if (dsn_look(&o.original, d->original, full) != 0)
        return err_set(e, ERR_TEMP, errno, "read the original");
    o.whole = full && o.original.whole_fits;
    new_boundary(&o);
    look_at_addresses(&o);
    put_header(&o);
    dsn_put_text(&o);
    put_report(&o);
    if (put_original(&o, e) != 0)
        return -1;
    dsn_put_string(&o, "\r\n--");
    dsn_put_string(&o, o.boundary);
    dsn_put_string(&o, "--\r\n");
    if (!dsn_flush(&o.to))
        return err_set(e, ERR_TEMP, 0, "no room for the notice");
    return 0;
}
