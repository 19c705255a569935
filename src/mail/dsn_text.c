/* dsn_text.c - the part of a notice for people: first a paragraph for readers
 * without knowledge of mail systems, then the facts of each recipient. */
#include "mail/dsn_private.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { PARAGRAPH_MAX = 3 * DSN_VALUE_MAX, LENGTH_MAX = 32, ANY = 0xffff };

/* Plain words for enhanced status codes (RFC 3463), and what the sender can do;
 * first row that fits.  Class 0: any. */
/* clang-format off */
static const struct meaning {
    unsigned class, subject, detail;
    const char *words, *advice;
} meanings[] = {
    { 0, 1, 1,   "There is no such mailbox.",
      "Please check the address: it may be misspelt." },
    { 0, 1, 2,   "The domain (the part behind the @) does not exist.",
      "Please check the address: it may be misspelt." },
    { 0, 1, 3,   "The address is not written as an address must be.",
      "Please check it." },
    { 0, 1, 6,   "The mailbox has moved, and its new address is not known.",
      "Please ask the recipient for it." },
    { 0, 1, 10,  "The domain (the part behind the @) accepts no mail.",
      "Please check the address, or reach the recipient in another way." },
    { 0, 2, 1,   "The mailbox is closed.",
      "Please reach the recipient in another way." },
    { 0, 2, 2,   "The mailbox is full.",
      "Please send the message again later, or reach the recipient in another"
      " way." },
    { 0, 2, 3,   "The message is too large.",
      "Please send a smaller one." },
    { 0, 3, 4,   "The message is too large.",
      "Please send a smaller one." },
    { 0, 4, 1,   "The mail host of the recipient could not be reached.",
      "Please check the address. If it is right, send the message again"
      " later." },
    { 0, 4, 2,   "The connection to the mail host of the recipient was lost.",
      "Please send the message again later." },
    { 0, 4, 3,   "The mail host of the recipient could not be looked up.",
      "Please check the address. If it is right, send the message again"
      " later." },
    { 0, 4, 4,   "No mail host of the recipient was found.",
      "Please check the address: it may be misspelt." },
    { 0, 4, 6,   "The message goes round in a loop.",
      "This is a mistake in the set-up of mail for that domain. Please reach"
      " the recipient in another way." },
    { 4, 7, ANY, "The mail host of the recipient does not take the message for"
                 " now.",
      "Please send the message again later." },
    { 0, 7, ANY, "The mail host of the recipient has rules against this"
                 " message or its sender.",
      "What it replied may say what to change; your postmaster can help." },
};
/* clang-format on */

static const struct meaning *meaning_of(const struct smtp_status *s)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        const struct meaning *m = &meanings[i];
        if (s->class >= 4 && (m->class == 0 || m->class == s->class) &&
            m->subject == s->subject &&
            (m->detail == s->detail || m->detail == ANY))
            return m;
    }
    return NULL;
}

/* What holds for all recipients, or NULL. */
static const struct meaning *common_meaning(const struct dsn *d)
{
    const struct meaning *m = meaning_of(&d->rcpt[0].status);

    for (size_t i = 1; i < d->nrcpt; i++)
        if (meaning_of(&d->rcpt[i].status) != m)
            return NULL;
    return m;
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

static void say_failed(char text[PARAGRAPH_MAX], const struct dsn *d,
                       const char *to)
{
    static const char any[] = "Please check the address. If it is right, send "
                              "the message again later, or reach the recipient "
                              "in another way.";
    const struct meaning *m = common_meaning(d);
    char within[LENGTH_MAX + 8] = "", length[LENGTH_MAX];
    bool expired = d->lifetime > 0;

    for (size_t i = 0; i < d->nrcpt; i++)
        expired &= d->rcpt[i].expired;
    length_text(length, d->lifetime);
    if (expired)
        snprintf(within, sizeof within, " within %s", length);
    snprintf(text, PARAGRAPH_MAX,
             "Your message to %s could not be delivered%s, and will not be "
             "tried again. %s%s%s The details stand below.",
             to, within, m != NULL ? m->words : "", m != NULL ? " " : "",
             m != NULL ? m->advice : any);
}

static void say_delayed(char text[PARAGRAPH_MAX], const struct dsn *d,
                        const char *to)
{
    const struct meaning *m = common_meaning(d);
    char date[CLOCK_RFC5322_MAX];

    clock_rfc5322(date, d->expires);
    if (all_wait(d))
        snprintf(text, PARAGRAPH_MAX,
                 "Your message to %s has not been delivered yet. You need not "
                 "send it again: this mail system keeps it until its operator "
                 "has repaired what is wrong there.",
                 to);
    else
        snprintf(text, PARAGRAPH_MAX,
                 "Your message to %s has not been delivered yet. %s%sYou need "
                 "not send it again: it will be tried until %s. If that does "
                 "not help, you will get another notice.",
                 to, m != NULL ? m->words : "", m != NULL ? " " : "",
                 d->expires != 0 ? date : "it gets too old");
}

static void put_first_paragraph(struct dsn_notice *o)
{
    const struct dsn *d = o->d;
    char to[DSN_VALUE_MAX + 16], text[PARAGRAPH_MAX];

    name_recipients(to, d);
    switch (d->action) {
    case DSN_FAILED: say_failed(text, d, to); break;
    case DSN_DELAYED: say_delayed(text, d, to); break;
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
    case DSN_EXPANDED:
        snprintf(text, sizeof text,
                 "Your message to %s was delivered to that address, which "
                 "passes mail on to several recipients. They are not "
                 "confirmed one by one. You need not do anything.",
                 to);
        break;
    }
    dsn_put_folded(o, "", "", text);
}

/* --- the facts ---------------------------------------------------------- */

static void times_text(char out[LENGTH_MAX], unsigned n)
{
    snprintf(out, LENGTH_MAX, "%u time%s", n, n == 1 ? "" : "s");
}

/* A single round that failed for good is the end, and no wait. */
static void put_tries(struct dsn_notice *o, const struct dsn_rcpt *r)
{
    char line[400], length[LENGTH_MAX], times[LENGTH_MAX];
    char first[CLOCK_RFC5322_MAX], last[CLOCK_RFC5322_MAX];
    unsigned tries = r->attempts + r->rounds;
    struct buf b = BUF_ON(line);

    if (tries == 0)
        return;
    length_text(length, o->d->lifetime);
    if (r->expired)
        buf_addf(&b, "Not delivered within %s, and given up. ", length);
    times_text(times, r->attempts);
    if (r->attempts > 0)
        buf_addf(&b, "Offered to a mail host %s", times);
    else
        buf_adds(&b, "Never offered to a mail host");
    times_text(times, r->rounds);
    bool waited = r->rounds > 0 && (tries > 1 || r->expired);
    if (waited)
        buf_addf(&b, ", waited without one %s", times);
    clock_rfc5322(first, r->first_attempt);
    clock_rfc5322(last, r->last_attempt);
    if (tries > 1)
        buf_addf(&b, ", from %s to %s.", first, last);
    else if (r->attempts > 0 || waited)
        buf_addf(&b, ", on %s.", last);
    else
        buf_addc(&b, '.');
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

/* told: what the status means stands in the first paragraph. */
static void put_facts(struct dsn_notice *o, const struct dsn_rcpt *r, bool told)
{
    char value[DSN_VALUE_MAX], line[DSN_VALUE_MAX + 16];
    const struct meaning *m = meaning_of(&r->status);

    dsn_harmless(value, r->address, true);
    snprintf(line, sizeof line, "<%s>", value);
    dsn_put_string(o, "\r\n");
    dsn_put_folded(o, "  ", "    ", line);
    if (m != NULL && !told)
        dsn_put_folded(o, "    ", "    ", m->words);
    put_reason(o, r);
    put_tries(o, r);
}

void dsn_put_text(struct dsn_notice *o)
{
    const struct dsn *d = o->d;
    char id[MSG_ID_TEXT], host[DSN_VALUE_MAX], text[PARAGRAPH_MAX];

    dsn_start_part(o, "text/plain; charset=utf-8",
                   o->eight_text ? "quoted-printable" : "7bit");
    dsn_quote(&o->to, o->eight_text);
    put_first_paragraph(o);
    bool told = common_meaning(d) != NULL;
    for (size_t i = 0; i < d->nrcpt; i++)
        put_facts(o, &d->rcpt[i], told);
    msg_id_text(id, d->id);
    dsn_harmless(host, d->hostname, false);
    snprintf(text, sizeof text,
             "The %s of your message stands below. If you ask your postmaster "
             "about it, name this id: %s. This notice was written by the mail "
             "system at %s.",
             o->whole ? "whole" : "header", id, host);
    dsn_put_string(o, "\r\n");
    dsn_put_folded(o, "", "", text);
    dsn_quote(&o->to, false);
}
