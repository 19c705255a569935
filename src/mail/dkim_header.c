#include "mail/dkim_header.h"

#include <string.h>

/* Where in the header: behind CRLF, behind that and CR, in the name of a field,
 * in its value or any other line, behind the CR of one. */
enum { LINE_START, EMPTY_CR, IN_NAME, IN_VALUE, VALUE_CR, ENDED };

/* Not signed is what hosts on the way add or change: Received, Return-Path,
 * Sender, and signatures. */
static const char *const names[] = {
    "reply-to", /* of these another one breaks the signature: */
    "subject",
    "date",
    "to",
    "cc",
    "message-id", /* DKIM_OVERSIGNED */
    "resent-date",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
};
enum { NNAMES = sizeof names / sizeof names[0] };

const char *dkim_header_name(unsigned i)
{
    return i < NNAMES ? names[i] : NULL;
}

/* The field's value begins behind the octet in hand. */
static void begin_field(struct dkim_header *h)
{
    struct span name = span_trim((struct span){ h->scan.name, h->scan.n });
    struct dkim_field *f = NULL;
    unsigned char i = 0;

    if (span_is_nocase(name, "from")) {
        f = h->nfrom++ == 0 ? &h->from : NULL;
    } else {
        while (i < NNAMES && !span_is_nocase(name, names[i]))
            i++;
        if (i < NNAMES)
            f = &h->field[h->nfields++ % DKIM_FIELDS_MAX];
    }
    if (f != NULL)
        *f = (struct dkim_field){ .at = h->at + 1, .name = i };
    h->scan.field = f;
}

static void end_field(struct dkim_header *h)
{
    if (h->scan.field != NULL)
        h->scan.field->n = h->at - h->scan.field->at;
    h->scan.field = NULL;
}

static void begin_line(struct dkim_header *h, char c)
{
    if (c == ' ' || c == '\t') {
        h->scan.state = IN_VALUE;
        return;
    }
    end_field(h);
    h->scan.n = 1;
    h->scan.name[0] = c;
    h->scan.state = IN_NAME;
}

/* Blanks may stand before the colon (RFC 5322 4.5), of which one is kept. */
static void add_to_name(struct dkim_header *h, char c)
{
    char last = h->scan.name[h->scan.n - 1];

    if ((c == ' ' || c == '\t') && (last == ' ' || last == '\t'))
        return;
    if (c == ':')
        begin_field(h);
    if (c == ':' || c == '\r' || h->scan.n == DKIM_NAME_MAX)
        h->scan.state = c == '\r' ? VALUE_CR : IN_VALUE;
    else
        h->scan.name[h->scan.n++] = c;
}

static void take(struct dkim_header *h, char c)
{
    switch (h->scan.state) {
    case LINE_START:
        if (c == '\r')
            h->scan.state = EMPTY_CR;
        else
            begin_line(h, c);
        break;
    case EMPTY_CR:
        h->at--; /* the line began with that CR */
        if (c == '\n')
            end_field(h);
        else
            begin_line(h, '\r');
        h->at++;
        h->scan.state = c == '\n' ? ENDED : c == '\r' ? VALUE_CR : IN_VALUE;
        break;
    case IN_NAME: add_to_name(h, c); break;
    case IN_VALUE: h->scan.state = c == '\r' ? VALUE_CR : IN_VALUE; break;
    case VALUE_CR:
        h->scan.state = c == '\n'   ? LINE_START
                        : c == '\r' ? VALUE_CR
                                    : IN_VALUE;
        break;
    }
    h->at++;
}

size_t dkim_header_scan(struct dkim_header *h, const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && h->scan.state != ENDED) {
        if (h->scan.state == IN_VALUE) {
            const char *cr = memchr(p + i, '\r', n - i);
            size_t rest = cr != NULL ? (size_t)(cr - p) - i : n - i;
            h->at += rest;
            i += rest;
            if (i == n)
                break;
        }
        take(h, p[i++]);
    }
    h->ended = h->scan.state == ENDED;
    return i;
}

void dkim_header_end(struct dkim_header *h)
{
    if (!h->ended)
        end_field(h);
}

/* --- the domain of From --------------------------------------------------- */

/* Octets up to the end of a quoted string or of a comment, which may have
 * others within it. */
static size_t skip_quoted(struct span s)
{
    size_t i = 1;

    for (; i < s.n && s.p[i] != '"'; i++)
        i += s.p[i] == '\\';
    return i < s.n ? i + 1 : s.n;
}

static size_t skip_comment(struct span s)
{
    size_t i = 0, depth = 0;

    for (; i < s.n; i++) {
        i += s.p[i] == '\\';
        if (i < s.n && s.p[i] == '(')
            depth++;
        else if (i < s.n && s.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return s.n;
}

struct from {
    char *out;
    const char *why;          /* it is not good */
    char domain[2 * IDN_MAX]; /* of the address in hand, as it is written */
    size_t n;
    bool at;    /* its "@" was seen */
    bool angle; /* within <> */
};

/* The end of an address. */
static void take_domain(struct from *f)
{
    char one[IDN_MAX];

    if (!f->at)
        return;
    f->domain[f->n] = '\0';
    f->at = false;
    if (f->n == 0 || !idn_ascii(one, f->domain)) {
        f->why = "an address without a valid domain";
        return;
    }
    ascii_lower_str(one);
    size_t n = strlen(one);
    if (n > 0 && one[n - 1] == '.')
        one[--n] = '\0';
    if (f->out[0] == '\0')
        memcpy(f->out, one, n + 1);
    else if (strcmp(f->out, one) != 0)
        f->why = "addresses of several domains";
}

static void take_octet(struct from *f, char c)
{
    if (c == '<') {
        f->angle = true;
        f->at = false; /* what stood before it is a name */
    } else if (c == '>' || c == ',' || c == ';' || c == ':') {
        /* "," and ":" within <> end a source route (RFC 5322 4.4). */
        if (f->angle && c != '>')
            f->at = false;
        else
            take_domain(f);
        f->angle &= c != '>';
    } else if (c == '@') {
        f->at = true;
        f->n = 0;
    } else if (f->at && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        if (f->n + 1 < sizeof f->domain)
            f->domain[f->n++] = c;
        else
            f->why = "a domain that is too long";
    }
}

const char *dkim_from_domain(char out[IDN_MAX], struct span s)
{
    struct from f = { .out = out };

    out[0] = '\0';
    while (s.n > 0 && f.why == NULL) {
        size_t n = *s.p == '"'   ? skip_quoted(s)
                   : *s.p == '(' ? skip_comment(s)
                                 : 1;
        if (n == 1)
            take_octet(&f, *s.p);
        s.p += n;
        s.n -= n;
    }
    if (f.why == NULL)
        take_domain(&f);
    if (f.why != NULL)
        out[0] = '\0';
    return f.why != NULL ? f.why : out[0] == '\0' ? "no address" : NULL;
}
