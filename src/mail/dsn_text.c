/* dsn_text.c - the part of a notice for people: first a paragraph for readers
 * without knowledge of mail systems, then the facts of each recipient. */
#include "mail/dsn_private.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { PARAGRAPH_MAX = 3 * DSN_VALUE_MAX, LENGTH_MAX = 32, ANY = 0xffff };

/* Plain words for enhanced status codes (RFC 3463), first row that fits. */
/* clang-format off */
static const struct meaning {
    unsigned subject, detail;
    const char *words;
} meanings[] = {
    { 1, 1,   "There is no such mailbox. The address may be misspelt." },
    { 1, 2,   "The domain (the part behind the @) does not exist. The address"
              " may be misspelt." },
    { 1, 3,   "The address is not written as an address must be." },
    { 1, 6,   "The mailbox has moved, and its new address is not known." },
    { 1, 10,  "The domain (the part behind the @) accepts no mail." },
    { 2, 1,   "The mailbox is closed." },
    { 2, 2,   "The mailbox is full." },
    { 2, 3,   "The message is too large." },
    { 3, 4,   "The message is too large." },
    { 4, 1,   "The mail host of the recipient could not be reached." },
    { 4, 2,   "The connection to the mail host of the recipient was lost." },
    { 4, 3,   "The mail host of the recipient could not be looked up." },
    { 4, 4,   "No mail host of the recipient was found." },
    { 4, 6,   "The message goes round in a loop." },
    { 7, ANY, "The mail host of the recipient has rules against this message"
              " or its sender." },
};
/* clang-format on */

static const char *meaning_of(const struct smtp_status *s)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (s->class != 0 && meanings[i].subject == s->subject &&
            (meanings[i].detail == s->detail || meanings[i].detail == ANY))
            return meanings[i].words;
    return NULL;
}

/* "5 days": in the largest unit that gives a whole number. */
static void length_text(char out[LENGTH_MAX], uint32_t seconds)
{
    static const struct {
        uint32_t seconds;
        const char *name;
    } units[] = {
        { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" }
    };
    size_t i = 0;

    while (seconds % units[i].seconds != 0 || seconds < units[i].seconds) {
        if (units[i].seconds == 1)
            break;
        i++;
    }
    uint32_t n = seconds / units[i].seconds;
    snprintf(out, LENGTH_MAX, "%u %s%s", (unsigned)n, units[i].name,
             n == 1 ? "" : "s");
}

/* --- the first paragraph ------------------------------------------------ */

static void name_recipients(char out[DSN_VALUE_MAX + 16], const struct dsn *d)
{
    char value[DSN_VALUE_MAX];

    if (d->nrcpt > 1) {
        snprintf(out, DSN_VALUE_MAX + 16, "the %zu recipients named below",
                 d->nrcpt);
        return;
    }
    dsn_harmless(value, d->rcpt[0].address, true);
    if (strchr(value, ' ') != NULL)
        snprintf(out, DSN_VALUE_MAX + 16, "the recipient named below");
    else
        snprintf(out, DSN_VALUE_MAX + 16, "<%s>", value);
}

static bool all_wait(const struct dsn *d)
{
    for (size_t i = 0; i < d->nrcpt; i++)
        if (!d->rcpt[i].waits)
            return false;
    return d->nrcpt > 0;
}

static void put_first_paragraph(struct dsn_notice *o)
{
    const struct dsn *d = o->d;
    char to[DSN_VALUE_MAX + 16], date[CLOCK_RFC5322_MAX], text[PARAGRAPH_MAX];

    name_recipients(to, d);
    clock_rfc5322(date, d->expires);
    switch (d->action) {
    case DSN_FAILED:
        snprintf(text, sizeof text,
                 "Your message to %s could not be delivered, and will not be "
                 "tried again. Please check the address. If it is right, send "
                 "the message again later, or reach the recipient in another "
                 "way. The reason stands below.",
                 to);
        break;
    case DSN_DELAYED:
        if (all_wait(d))
            snprintf(text, sizeof text,
                     "Your message to %s has not been delivered yet. You need "
                     "not send it again: this mail system keeps it until its "
                     "operator has repaired its settings.",
                     to);
        else
            snprintf(text, sizeof text,
                     "Your message to %s has not been delivered yet. You need "
                     "not send it again: it will be tried until %s. If that "
                     "does not help, you will get another notice.",
                     to, d->expires != 0 ? date : "it gets too old");
        break;
    case DSN_DELIVERED:
        snprintf(text, sizeof text,
                 "Your message to %s was delivered. You get this notice "
                 "because you asked for it, and need not do anything.",
                 to);
        break;
    case DSN_RELAYED:
        snprintf(text, sizeof text,
                 "Your message to %s was passed on to a mail system that does "
                 "not confirm delivery. You need not do anything.",
                 to);
        break;
    }
    dsn_put_folded(o, "", "", text);
}

/* --- the facts ---------------------------------------------------------- */

static void put_tries(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char line[400], length[LENGTH_MAX], waited[48] = "";
    char first[CLOCK_RFC5322_MAX], last[CLOCK_RFC5322_MAX];
    unsigned tries = r->attempts + r->rounds;

    if (r->expired) {
        length_text(length, o->d->lifetime);
        snprintf(line, sizeof line, "Not delivered within %s, %u attempt%s.",
                 length, tries, tries == 1 ? "" : "s");
        dsn_put_folded(o, "    ", "    ", line);
    }
    if (tries == 0)
        return;
    clock_rfc5322(first, r->first_attempt);
    clock_rfc5322(last, r->last_attempt);
    if (r->rounds > 0)
        snprintf(waited, sizeof waited, ", waited without one %u time%s",
                 r->rounds, r->rounds == 1 ? "" : "s");
    snprintf(line, sizeof line, "Offered to a mail host %u time%s%s, %s%s%s%s.",
             r->attempts, r->attempts == 1 ? "" : "s", waited,
             tries == 1 ? "on " : "from ", first, tries == 1 ? "" : " to ",
             tries == 1 ? "" : last);
    dsn_put_folded(o, "    ", "    ", line);
}

static void host_text(char out[2 * DSN_VALUE_MAX], const struct dsn_rcpt *r)
{
    char host[DSN_VALUE_MAX], address[ADDR_TEXT];

    dsn_harmless(host, r->host, false);
    if (r->peer.u.sa.sa_family != 0)
        addr_text(address, &r->peer);
    if (r->peer.u.sa.sa_family == 0 || strcmp(host, address) == 0)
        snprintf(out, 2 * DSN_VALUE_MAX, "%s", host);
    else
        snprintf(out, 2 * DSN_VALUE_MAX, "%s (%s)", host, address);
}

/* All lines; the last one may be our count of those that were not kept. */
static void put_reply(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char text[DSN_REPLY_MAX];
    struct span rest = span_of(r->reply);

    for (bool more = true; more;) {
        size_t n = span_find(rest, '\n');
        struct span line = { rest.p, n };
        more = n < rest.n;
        rest.p += n + more;
        rest.n -= n + more;
        if (!more && line.p != r->reply &&
            span_starts_nocase(line, "... and ")) {
            dsn_put_string(o, "      ");
            dsn_put(&o->to, line.p, line.n);
            dsn_put_string(o, "\r\n");
            return;
        }
        dsn_reply_text(text, r, line, more);
        dsn_put_folded(o, "      ", "        ", text);
    }
}

/* Only a reply is quoted as one: a code comes from nowhere else. */
static void put_reason(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char host[2 * DSN_VALUE_MAX], line[2 * DSN_VALUE_MAX + 32];
    char text[DSN_VALUE_MAX];
    bool known = dsn_has_text(r->host);

    host_text(host, r);
    if (r->status.code != 0) {
        snprintf(line, sizeof line,
                 "%s replied:", known ? host : "The mail host");
        dsn_put_folded(o, "    ", "    ", line);
        put_reply(o, r);
        return;
    }
    dsn_harmless(text, r->reply, false);
    if (text[0] == '\0')
        return;
    snprintf(line, sizeof line, known ? "Reason, at %s:" : "Reason:%s",
             known ? host : "");
    dsn_put_folded(o, "    ", "    ", line);
    dsn_put_folded(o, "      ", "      ", text);
}

static void put_facts(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char value[DSN_VALUE_MAX], line[DSN_VALUE_MAX + 16];
    const char *words = meaning_of(&r->status);

    dsn_harmless(value, r->address, true);
    snprintf(line, sizeof line, "<%s>", value);
    dsn_put_string(o, "\r\n");
    dsn_put_folded(o, "  ", "    ", line);
    if (words != NULL && r->status.class >= 4)
        dsn_put_folded(o, "    ", "    ", words);
    put_reason(o, r);
    put_tries(o, r);
}

void dsn_put_text(struct dsn_notice *o)
{
    const struct dsn *d = o->d;
    char id[MSG_ID_TEXT], host[DSN_VALUE_MAX], text[PARAGRAPH_MAX];

    dsn_start_part(o, "text/plain; charset=utf-8",
                   dsn_encoding_of(o->eight_text));
    put_first_paragraph(o);
    for (size_t i = 0; i < d->nrcpt; i++)
        put_facts(o, &d->rcpt[i]);
    msg_id_text(id, d->id);
    dsn_harmless(host, d->hostname, false);
    snprintf(text, sizeof text,
             "The %s of your message stands below. If you ask your postmaster "
             "about it, name this id: %s. This notice was written by the mail "
             "system at %s.",
             o->whole ? "whole" : "header", id, host);
    dsn_put_string(o, "\r\n");
    dsn_put_folded(o, "", "", text);
}
