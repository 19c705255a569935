/* refusal.c - the texts and codes by which hosts slow a sender down. */
#include "send/refusal.h"

#include "base/span.h"
#include "send/provider.h"

#include <string.h>

enum {
    FOLDED_MAX = 2048, /* what a host has to say stands at the front */
    WORDS_MAX = 512,
    LONGEST_SECONDS = 24 * 3600
};

/* --- the text, on one line ------------------------------------------------ */

struct folded {
    char text[FOLDED_MAX];
    unsigned short word[WORDS_MAX]; /* where each begins */
    unsigned words;
};

/* Lower case, one blank between words, no enhanced code at the begin of a
 * line: so a phrase is found across lines. */
static void fold(struct folded *f, const char *text)
{
    const char *end = text + strlen(text);
    char *out = f->text;
    size_t n = 0;
    bool begins = true;

    while (*text != '\0' && n + 1 < FOLDED_MAX) {
        struct smtp_status code;
        struct span rest = { text, (size_t)(end - text) };
        if (begins && ascii_is_digit(*text) && smtp_status_take(&code, &rest)) {
            text = rest.p;
            begins = false;
            continue;
        }
        begins = *text == '\n';
        if (!begins && *text != ' ' && *text != '\t')
            out[n++] = ascii_lower(*text);
        else if (n > 0 && out[n - 1] != ' ')
            out[n++] = ' ';
        text++;
    }
    out[n] = '\0';
}

static void find_words(struct folded *f)
{
    bool inside = false;

    f->words = 0;
    for (size_t i = 0; f->text[i] != '\0' && f->words < WORDS_MAX; i++) {
        if (!inside && f->text[i] != ' ')
            f->word[f->words++] = (unsigned short)i;
        inside = ascii_is_alnum(f->text[i]);
    }
}

/* It ends in a word's end unless it ends in "*". */
static bool begins_with(const char *text, const char *phrase)
{
    while (*phrase != '\0' && *phrase != '*' && *text == *phrase) {
        text++;
        phrase++;
    }
    return *phrase == '*' || (*phrase == '\0' && !ascii_is_alnum(*text));
}

static bool has_phrase(const struct folded *f, const char *phrase)
{
    for (unsigned i = 0; i < f->words; i++)
        if (begins_with(f->text + f->word[i], phrase))
            return true;
    return false;
}

static bool has_any(const struct folded *f, const char *const *phrases)
{
    for (; *phrases != NULL; phrases++)
        if (has_phrase(f, *phrases))
            return true;
    return false;
}

/* Four numbers with dots between, or what stands for them in brackets. */
static bool has_address(const char *text)
{
    unsigned dots = 0;
    bool digit = false;

    if (strstr(text, "[ipv6:") != NULL)
        return true;
    for (; *text != '\0'; text++) {
        if (ascii_is_digit(*text)) {
            digit = true;
            if (dots == 3)
                return true;
        } else if (*text == '.' && digit) {
            dots++;
            digit = false;
        } else {
            dots = 0;
            digit = false;
        }
    }
    return false;
}

/* --- phrases ---------------------------------------------------------------
 * With the software or receiver that was seen to use them. */

static const char *const greylisted[] = {
    "greylist*", /* postgrey, milter-greylist, sqlgrey, Exim's greylistd */
    "graylist*", "grey-list*", "gray-list*", "grey listed", "gray listed", NULL
};

/* With 4.7.1 they are greylisting: rspamd, Yandex, filters of OpenSMTPD. */
static const char *const later[] = { "try again",   "try later", "please retry",
                                     "retry later", "come back", "retry in",
                                     NULL };

static const char *const sessions[] = {
    "too many connections", /* Postfix, Exim, OpenSMTPD */
    "too many concurrent*",
    "too many simultaneous*",
    "too many sessions",
    "too many open*",
    "too many smtp connections",
    "too many new tls sessions",     /* Postfix */
    "maximum number of connections", /* Microsoft, 4.7.652 */
    "maximum number of concurrent*", /* Microsoft, 4.3.2 */
    "concurrent connection*",
    "connection limit*",
    "connection rate*", /* Postfix, Gmail */
    "connections per*",
    NULL
};

static const char *const rates[] = {
    "too much mail", /* Postfix */
    "too many messages",
    "too many emails",
    "too many mails",
    "too many recipients from", /* Postfix, of a client */
    "rate limit*",              /* Microsoft, 4.7.650 */
    "rate-limit*",
    "ratelimit*",     /* rspamd, Mail.ru */
    "rate overlimit", /* Exim */
    "throttl*",
    "slow down",
    "try again slower",
    "sending too fast",
    "too fast",
    "sending rate",
    "message rate",
    "unusual rate",      /* Gmail */
    "unexpected volume", /* Yahoo */
    "excessive volume",
    "mail volume",
    "temporarily deferred", /* Yahoo */
    "due to user complaints",
    "exceeded the rate",
    "exceeded the maximum number of messages",
    "server busy", /* Gmail 4.4.5, Microsoft 4.7.500 */
    NULL
};

/* Of the mailbox, not of this system: Gmail's 4.2.1, Mail.ru, Exchange. */
static const char *const of_recipient[] = {
    "the user", "this user",  "mailbox", "recipient", "inbox",
    "user is",  "over quota", "user's",  "account",   NULL
};

/* Of the message in hand, its sender or its domain; or of what this session
 * did before. */
static const char *const of_message[] = { "this message",
                                          "the message",
                                          "your message",
                                          "message content*",
                                          "authenticat*",
                                          "unauthenticated",
                                          "starttls",
                                          "tls required",
                                          "spf",
                                          "dkim",
                                          "dmarc",
                                          "sender address",
                                          "sender domain",
                                          "sending domain",
                                          "from domain",
                                          "your domain",
                                          "the domain",
                                          "url",
                                          "urls",
                                          "link",
                                          "attachment*",
                                          "helo",
                                          "ehlo",
                                          "too many errors",
                                          "syntax error",
                                          "too many hops",
                                          "whitelist*",
                                          "not in whitelist",
                                          NULL };

static const char *const blocks[] = { "blocked",
                                      "block list",
                                      "block-list",
                                      "blocklist*",
                                      "blacklist*",
                                      "black list*",
                                      "black-list*",
                                      "deny list",
                                      "denylist*",
                                      "dnsbl*",
                                      "rbl",
                                      "rbls",
                                      "spamhaus*",
                                      "banned",
                                      "not be accepted from",
                                      "will be permanently deferred",
                                      NULL };

static const char *const of_us[] = {
    "client host", "ip address",  "your ip",         "sending ip",
    "the ip",      "ip is",       "their network",   "your network",
    "your host",   "your server", "the mail server", NULL
};

/* The list of one customer of the host, or a rule of one. */
static const char *const of_tenant[] = {
    "customer block list", "transport.rules*",  "tenant allow*",
    "organization policy", "your organization", NULL
};

/* Texts that a provider alone writes. */
static const struct {
    const char *group, *phrase;
    bool soft; /* with a 4xx as well */
} own[] = {
    { "google", "originating from your ip address", false },
    { "microsoft", "(s3140)", true },
    { "microsoft", "(s3150)", true },
    { "microsoft", "(as3130)", false }, /* listed by Spamhaus */
    { "microsoft", "banned sender", false },
    { "yahoo", "will be permanently deferred", true }, /* [TS03] */
    { "yandex", "blocked by spam statistics", true },
    { "proofpoint", "ipcheck.proofpoint.com", false },
    { "mimecast", "csi.mimecast.org", false }, /* poor reputation */
};

/* --- the time that it names ----------------------------------------------- */

static bool take_digits(const char **p, uint32_t *out)
{
    uint32_t n = 0;

    if (!ascii_is_digit(**p))
        return false;
    for (; ascii_is_digit(**p); ++*p)
        n = n < LONGEST_SECONDS ? n * 10 + (uint32_t)(**p - '0') : n;
    *out = n;
    return true;
}

static uint32_t unit_of(const char *p)
{
    static const struct {
        const char *word;
        uint32_t seconds;
    } units[] = { { "second*", 1 },  { "sec*", 1 },   { "s", 1 },
                  { "minute*", 60 }, { "min*", 60 },  { "m", 60 },
                  { "hour*", 3600 }, { "hr*", 3600 }, { "h", 3600 } };

    p += *p == ' ';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (begins_with(p, units[i].word))
            return units[i].seconds;
    return 0;
}

/* "300 seconds", "5 minutes", "00:05:00"; 0: none of them. */
static uint32_t time_at(const char *p)
{
    uint32_t n, sum = 0;
    int parts = 0;

    while (parts < 3 && take_digits(&p, &n)) {
        sum = sum * 60 + n;
        if (sum > LONGEST_SECONDS)
            sum = LONGEST_SECONDS;
        parts++;
        if (*p != ':')
            break;
        p++;
    }
    if (parts == 1) {
        uint32_t unit = unit_of(p);
        sum = unit > 0 && sum > LONGEST_SECONDS / unit ? LONGEST_SECONDS
                                                       : sum * unit;
    }
    return sum;
}

static uint32_t named_time(const char *text)
{
    static const char *const before[] = { "in ", "for ", "after ", "wait " };

    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
        for (const char *p = text; (p = strstr(p, before[i])) != NULL; p++) {
            uint32_t n = 0;
            if (p == text || !ascii_is_alnum(p[-1]))
                n = time_at(p + strlen(before[i]));
            if (n > 0)
                return n;
        }
    return 0;
}

/* --- verdicts ------------------------------------------------------------- */

static bool is_soft(const struct smtp_status *s)
{
    return s->code < 500 || s->class == 4;
}

static bool is_of(const struct smtp_status *s, unsigned subject,
                  unsigned detail)
{
    return s->class != 0 && s->subject == subject && s->detail == detail;
}

/* In its own words the provider takes nothing from us; from any other host they
 * are what a customer has copied. */
static bool has_own(const struct smtp_status *s, const struct folded *text,
                    const char *group)
{
    for (size_t i = 0; group != NULL && i < sizeof own / sizeof own[0]; i++)
        if (strcmp(own[i].group, group) == 0 && (own[i].soft || !is_soft(s)) &&
            has_phrase(text, own[i].phrase))
            return true;
    return false;
}

/* The provider's own words; Gmail's 5.7.28, Microsoft's banned addresses
 * (5.7.606 to 649); else a text that speaks of our address and a list, unless
 * customers of the provider may have written it. */
static bool is_blocked(const struct smtp_status *s, const struct folded *text,
                       const char *group, enum refusal_at at)
{
    enum provider_kind kind =
        at == REFUSAL_AT_RCPT ? provider_kind(group) : PROVIDER_ONE;

    if (has_any(text, of_tenant))
        return false;
    if (has_own(s, text, group))
        return true;
    if (is_soft(s) || kind == PROVIDER_FRONT)
        return false;
    if (is_of(s, 7, 28) || (s->class == 5 && s->subject == 7 &&
                            s->detail >= 606 && s->detail <= 649))
        return true;
    if (is_of(s, 1, 1) || (s->class != 0 && s->subject == 2))
        return false; /* of a mailbox, whatever its text has */
    if (kind == PROVIDER_TENANTS || !has_any(text, blocks) ||
        has_any(text, of_message) || has_any(text, of_recipient))
        return false;
    return at == REFUSAL_AT_HELLO || has_any(text, of_us) ||
           has_address(text->text);
}

/* X.7.28 (RFC 7372's registry), X.4.5 (congestion), 4.7.500 to 4.7.699 of
 * Microsoft; 4.3.2, "not accepting messages" (RFC 3463); 421 4.7.0. */
static bool has_rate_code(const struct smtp_status *s,
                          const struct folded *text)
{
    if (is_of(s, 7, 28) || is_of(s, 4, 5))
        return true;
    if (is_of(s, 3, 2))
        return !has_any(text, of_recipient);
    if (s->class == 4 && s->subject == 7 && s->detail == 0 && s->code == 421)
        return has_any(text, rates) ||
               (!has_any(text, of_message) && !has_any(text, of_recipient));
    return s->class == 4 && s->subject == 7 && s->detail >= 500 &&
           s->detail < 700 && s->detail != 515;
}

/* 4.7.20 to 4.7.49 but 28: what the message lacks, not how many there are
 * (RFC 7372 and Gmail's). */
static bool is_of_authentication(const struct smtp_status *s)
{
    return s->class == 4 && s->subject == 7 && s->detail >= 20 &&
           s->detail < 50 && s->detail != 28;
}

static bool is_greylisted(const struct smtp_status *s,
                          const struct folded *text)
{
    return has_any(text, greylisted) ||
           (is_of(s, 7, 1) && s->code != 421 && has_any(text, later));
}

static struct refusal judge(const struct smtp_status *s,
                            const struct folded *text, const char *group,
                            enum refusal_at at)
{
    struct refusal r = { .by_code = has_rate_code(s, text) };

    if (is_blocked(s, text, group, at)) {
        r.kind = REFUSAL_BLOCKED;
        return r;
    }
    if (!is_soft(s))
        return r;
    bool sparing = is_of(s, 5, 3) || is_of_authentication(s) ||
                   has_any(text, of_recipient);
    if (!sparing && has_any(text, sessions))
        r.kind = REFUSAL_SESSIONS;
    else if (r.by_code || (!sparing && has_any(text, rates)))
        r.kind = REFUSAL_RATE;
    else if (is_greylisted(s, text))
        r.kind = REFUSAL_GREYLISTED;
    return r;
}

struct refusal refusal_read(const struct smtp_status *status, const char *text,
                            const char *group, enum refusal_at at)
{
    struct folded folded;

    fold(&folded, text);
    find_words(&folded);
    struct refusal r = judge(status, &folded, group, at);
    r.of_recipient =
        at == REFUSAL_AT_RCPT && provider_kind(group) == PROVIDER_FRONT;
    r.seconds = r.kind != REFUSAL_OTHER ? named_time(folded.text) : 0;
    return r;
}

/* --- what to do ----------------------------------------------------------- */

const char *refusal_hint(const struct smtp_status *s)
{
    static const struct {
        unsigned first, last;
        const char *hint;
    } hints[] = {
        { 20, 22, "sign mail with DKIM by the domain of its From" },
        { 23, 24, "let the SPF record of the sender's domain name this host" },
        { 25, 25,
          "give the address of this host a PTR record whose name leads"
          " back to it, and use that name as hostname" },
        { 26, 27, "let SPF or DKIM pass: an SPF record, dkim.keys" },
        { 28, 28,
          "less mail, and only such as is asked for; mta slows down by"
          " itself" },
        { 29, 29, "allow TLS: send.tls = may" },
        { 30, 30, "sign mail with DKIM (dkim.keys)" },
        { 31, 40,
          "align the From domain with SPF or DKIM, and publish a DMARC"
          " record" },
        { 500, 599,
          "see the receiver's page for senders; mta slows down by"
          " itself" },
        { 600, 649, "ask the receiver to take this address from its list" },
        { 650, 699,
          "see the receiver's page for senders; mta slows down by"
          " itself" },
    };

    if (s->class == 0 || s->subject != 7)
        return NULL;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (s->detail >= hints[i].first && s->detail <= hints[i].last)
            return hints[i].hint;
    return NULL;
}
