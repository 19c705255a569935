/* rewrite_header.c - addresses of a header while it streams by. */
#include "base/buf.h"
#include "base/clock.h"
#include "mail/address_list.h"
#include "mail/rewrite_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AT_LINE,   /* a line begins */
    AT_CR,     /* ... with CR: the empty line, if LF follows */
    IN_NAME,   /* of a field; held */
    IN_LIST,   /* the value of a field with addresses */
    LIST_LINE, /* ... behind a line end */
    IN_OTHER,  /* any other value */
    IN_BODY
};
enum { FIELD_NAME = 32, LINE_LENGTH = 998 }; /* RFC 5322 2.1.1 */

/* clang-format off */
static const struct field {
    const char *name;
    enum conf_rewrite_of of;
    bool forced; /* rewrite.from is for it */
} fields[] = {
    { "From",                        CONF_REWRITE_SENDER,    true },
    { "Sender",                      CONF_REWRITE_SENDER,    true },
    { "Resent-From",                 CONF_REWRITE_SENDER,    true },
    { "Resent-Sender",               CONF_REWRITE_SENDER,    true },
    { "Reply-To",                    CONF_REWRITE_SENDER,    false },
    { "Resent-Reply-To",             CONF_REWRITE_SENDER,    false },
    { "Errors-To",                   CONF_REWRITE_SENDER,    false },
    { "Return-Receipt-To",           CONF_REWRITE_SENDER,    false },
    { "Disposition-Notification-To", CONF_REWRITE_SENDER,    false },
    { "To",                          CONF_REWRITE_RECIPIENT, false },
    { "Cc",                          CONF_REWRITE_RECIPIENT, false },
    { "Bcc",                         CONF_REWRITE_RECIPIENT, false },
    { "Apparently-To",               CONF_REWRITE_RECIPIENT, false },
    { "Mail-Followup-To",            CONF_REWRITE_RECIPIENT, false },
    { "Resent-To",                   CONF_REWRITE_RECIPIENT, false },
    { "Resent-Cc",                   CONF_REWRITE_RECIPIENT, false },
    { "Resent-Bcc",                  CONF_REWRITE_RECIPIENT, false },
};
/* clang-format on */

struct rewrite_header {
    struct rewrite_job job;
    unsigned char state;
    const struct field *field; /* of the list */
    bool has_date, has_id, has_from;
    size_t name_n, column; /* of the output, in a list */
    char name[FIELD_NAME];
    struct address_list list;
};

int rewrite_header_new(struct rewrite_header **out,
                       const struct rewrite_job *job, struct err *e)
{
    struct rewrite_header *h = calloc(1, sizeof *h);

    if (h == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory to rewrite a header");
    h->job = *job;
    *out = h;
    return 0;
}

void rewrite_header_free(struct rewrite_header **h)
{
    free(*h);
    *h = NULL;
}

static int put(struct rewrite_header *h, const char *p, size_t n)
{
    return n == 0 ? 0 : h->job.put(h->job.ctx, p, n);
}

static int put_text(struct rewrite_header *h, const char *text)
{
    return put(h, text, strlen(text));
}

/* --- addresses -------------------------------------------------------- */

/* Fold in front of an element that would make its line too long. */
static int put_element(struct rewrite_header *h, const struct span part[3])
{
    size_t n = part[0].n + part[1].n + part[2].n;
    const char *lf = NULL;
    int rc = 0;

    if (h->column > 0 && h->column + n > LINE_LENGTH && part[0].n > 0 &&
        (part[0].p[0] == ' ' || part[0].p[0] == '\t')) {
        rc = put_text(h, "\r\n");
        h->column = 0;
    }
    for (size_t i = 0; i < 3 && rc == 0; i++)
        rc = put(h, part[i].p, part[i].n);
    for (size_t i = part[2].n; i > 0 && lf == NULL; i--)
        if (part[2].p[i - 1] == '\n')
            lf = part[2].p + i;
    h->column =
        lf != NULL ? (size_t)(part[2].p + part[2].n - lf) : h->column + n;
    return rc;
}

/* A From without an address, "Cron Daemon" or "<>", gets that of rewrite.from:
 * hosts refuse it otherwise. */
static int put_no_address(struct rewrite_header *h,
                          const struct address_element *el)
{
    const char *from = h->job.conf->rewrite.from;
    struct span text = el->text, whole[3] = { text, { "", 0 }, { "", 0 } };
    char address[SMTP_ADDRESS_MAX + 4];

    if (!h->field->forced || from[0] == '\0')
        return put_element(h, whole);
    if (el->angle && el->spec.p != NULL) {
        size_t at = (size_t)(el->spec.p - text.p);
        return put_element(h, (struct span[3]){ { text.p, at },
                                                span_of(from),
                                                { text.p + at, text.n - at } });
    }
    size_t n = text.n;
    while (n > 0 && strchr(" \t\r\n,", text.p[n - 1]) != NULL)
        n--;
    if (!el->phrase || n == 0)
        return put_element(h, whole);
    snprintf(address, sizeof address, " <%s>", from);
    return put_element(h, (struct span[3]){ { text.p, n },
                                            span_of(address),
                                            { text.p + n, text.n - n } });
}

static int on_element(void *ctx, const struct address_element *el)
{
    struct rewrite_header *h = ctx;
    struct rewrite_case k = { .of = h->field->of,
                              .forced = h->field->forced,
                              .given = el->addr,
                              .what = h->field->name };
    struct span text = el->text;

    if (el->spec.n == 0)
        return put_no_address(h, el);
    if (!rewrite_one(&k, h->job.conf, h->job.notes))
        return put_element(h, (struct span[3]){ text, { "", 0 }, { "", 0 } });
    size_t at = (size_t)(el->spec.p - text.p), end = at + el->spec.n;
    return put_element(h, (struct span[3]){ { text.p, at },
                                            span_of(k.out),
                                            { text.p + end, text.n - end } });
}

/* --- fields ----------------------------------------------------------- */

static const struct field *find_field(struct span name)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (span_is_nocase(name, fields[i].name))
            return &fields[i];
    return NULL;
}

/* The name is over, and its colon is c. */
static int begin_value(struct rewrite_header *h)
{
    struct span name = span_trim((struct span){ h->name, h->name_n });

    h->has_date |= span_is_nocase(name, "Date");
    h->has_id |= span_is_nocase(name, "Message-ID");
    h->has_from |= span_is_nocase(name, "From");
    h->field = find_field(name);
    h->state = h->field != NULL ? IN_LIST : IN_OTHER;
    if (h->field != NULL)
        address_list_start(&h->list);
    h->column = h->name_n + 1;
    return put(h, h->name, h->name_n) != 0 ? -1 : put(h, ":", 1);
}

static int end_list(struct rewrite_header *h)
{
    return address_list_end(&h->list, on_element, h);
}

/* "Name <user@domain>"; the name in quotes, for it may hold anything. */
static int put_from(struct rewrite_header *h)
{
    const struct rewrite_job *j = &h->job;
    char line[2 * SMTP_ADDRESS_MAX + 512];
    struct buf b = BUF_ON(line);
    struct rewrite_case k = { .of = CONF_REWRITE_SENDER,
                              .forced = true,
                              .given = j->sender.n > 0
                                           ? j->sender
                                           : SPAN_LIT("MAILER-DAEMON"),
                              .what = "From" };
    struct span address = k.given;

    if (rewrite_one(&k, j->conf, j->notes))
        address = span_of(k.out);
    buf_adds(&b, "From: ");
    if (j->name != NULL && j->name[0] != '\0' && strlen(j->name) < 400) {
        buf_addc(&b, '"');
        for (const char *p = j->name; *p != '\0'; p++) {
            if (*p == '"' || *p == '\\')
                buf_addc(&b, '\\');
            buf_addc(&b, (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
        }
        buf_addf(&b, "\" <%.*s>\r\n", (int)address.n, address.p);
    } else {
        buf_addf(&b, "%.*s\r\n", (int)address.n, address.p);
    }
    return b.full ? 0 : put(h, b.p, b.n);
}

/* RFC 5322 3.6: Date and From are mandatory, Message-ID should be there; RFC
 * 6409 8 lets the host of the submission add them. */
static int complete(struct rewrite_header *h)
{
    char line[512], id[MSG_ID_TEXT], date[CLOCK_RFC5322_MAX];
    int rc = 0;

    if (!h->job.complete)
        return 0;
    if (!h->has_from)
        rc = put_from(h);
    if (rc == 0 && !h->has_date) {
        clock_rfc5322(date, h->job.when);
        snprintf(line, sizeof line, "Date: %s\r\n", date);
        rc = put_text(h, line);
    }
    if (rc == 0 && !h->has_id) {
        msg_id_text(id, h->job.id);
        snprintf(line, sizeof line, "Message-ID: <%s@%s>\r\n", id,
                 h->job.conf->hostname);
        rc = put_text(h, line);
    }
    return rc;
}

/* No field: the body follows, without the empty line that should stand there
 * when fields were added. */
static int not_a_field(struct rewrite_header *h)
{
    h->state = IN_BODY;
    if (complete(h) != 0 || (h->job.complete && put_text(h, "\r\n") != 0))
        return -1;
    return put(h, h->name, h->name_n);
}

static int take_name(struct rewrite_header *h, char c)
{
    bool blank = h->name_n > 0 && (c == ' ' || c == '\t');

    if (c == ':' && h->name_n > 0)
        return begin_value(h);
    if (!blank && (c <= ' ' || c > '~'))
        return not_a_field(h) != 0 ? -1 : put(h, &c, 1);
    if (!blank && h->name_n > 0 && strchr(" \t", h->name[h->name_n - 1]))
        return not_a_field(h) != 0 ? -1 : put(h, &c, 1);
    if (h->name_n == sizeof h->name) { /* too long to be one of ours */
        h->state = IN_OTHER;
        return put(h, h->name, h->name_n) != 0 ? -1 : put(h, &c, 1);
    }
    h->name[h->name_n++] = c;
    return 0;
}

/* c is the first octet of a line. */
static int begin_line(struct rewrite_header *h, char c)
{
    bool list = h->state == LIST_LINE;

    if ((c == ' ' || c == '\t') && list) {
        h->state = IN_LIST;
        return address_list_feed(&h->list, (struct span){ &c, 1 }, on_element,
                                 h);
    }
    if (list && end_list(h) != 0)
        return -1;
    h->name_n = 0;
    if (c == '\r') {
        h->state = AT_CR;
        return 0;
    }
    if (c == ' ' || c == '\t') {
        h->state = IN_OTHER;
        return put(h, &c, 1);
    }
    h->state = IN_NAME;
    return take_name(h, c);
}

static int at_cr(struct rewrite_header *h, char c)
{
    h->state = IN_BODY;
    if (complete(h) != 0)
        return -1;
    return put(h, "\r", 1) != 0 ? -1 : put(h, &c, 1);
}

/* A piece of a value, up to the end of its line; *used octets. */
static int take_value(struct rewrite_header *h, const char *p, size_t n,
                      size_t *used)
{
    const char *lf = memchr(p, '\n', n);
    bool list = h->state == IN_LIST;

    *used = lf == NULL ? n : (size_t)(lf - p) + 1;
    if (lf != NULL)
        h->state = list ? LIST_LINE : AT_LINE;
    return list ? address_list_feed(&h->list, (struct span){ p, *used },
                                    on_element, h)
                : put(h, p, *used);
}

int rewrite_header_feed(struct rewrite_header *h, const char *p, size_t n)
{
    int rc = 0;

    while (n > 0 && rc == 0) {
        size_t used = 1;
        switch (h->state) {
        case AT_LINE:
        case LIST_LINE: rc = begin_line(h, *p); break;
        case AT_CR: rc = at_cr(h, *p); break;
        case IN_NAME: rc = take_name(h, *p); break;
        case IN_BODY:
            used = n;
            rc = put(h, p, n);
            break;
        default: rc = take_value(h, p, n, &used); break;
        }
        p += used;
        n -= used;
    }
    return rc;
}

int rewrite_header_end(struct rewrite_header *h)
{
    int rc = 0;

    switch (h->state) {
    case IN_BODY: return 0;
    case IN_NAME: rc = not_a_field(h); break;
    case IN_LIST:
    case LIST_LINE: rc = end_list(h); break;
    default: break;
    }
    if (rc == 0 && h->job.complete &&
        (h->state == IN_OTHER || h->state == IN_LIST))
        rc = put_text(h, "\r\n");
    if (rc == 0 && h->state != IN_BODY)
        rc = complete(h);
    if (rc == 0 && h->state == AT_CR)
        rc = put(h, "\r", 1);
    h->state = IN_BODY;
    return rc;
}
