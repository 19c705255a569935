/* spf_term.c - the terms of an SPF record (RFC 7208 4.6.1, 5, 6). */
#include "cli/spf_private.h"

#include <arpa/inet.h>
#include <string.h>

enum { V4_BITS = 32, V6_BITS = 128 };

/* Behind the name of a mechanism. */
enum form { FORM_NONE, FORM_DOMAIN, FORM_MAYBE_DOMAIN, FORM_HOSTS, FORM_IP };

static const struct {
    const char *name;
    enum spf_kind kind;
    enum form form;
} mechanisms[] = {
    { "all", SPF_ALL, FORM_NONE },
    { "include", SPF_INCLUDE, FORM_DOMAIN },
    { "a", SPF_A, FORM_HOSTS },
    { "mx", SPF_MX, FORM_HOSTS },
    { "ptr", SPF_PTR, FORM_MAYBE_DOMAIN },
    { "ip4", SPF_IP4, FORM_IP },
    { "ip6", SPF_IP6, FORM_IP },
    { "exists", SPF_EXISTS, FORM_DOMAIN },
};

/* --- values --------------------------------------------------------------- */

/* The length of a prefix at the end, behind the slashes; true also without
 * one. */
static bool take_prefix(struct span *s, size_t slashes, unsigned most,
                        unsigned *out)
{
    unsigned long long bits;
    size_t n = s->n, k = 0;

    while (n > 0 && ascii_is_digit(s->p[n - 1]))
        n--;
    struct span digits = { s->p + n, s->n - n };
    while (k < n && s->p[n - 1 - k] == '/')
        k++;
    if (digits.n == 0 || k != slashes)
        return true;
    if ((digits.n > 1 && digits.p[0] == '0') || !span_u64(digits, most, &bits))
        return false;
    *out = (unsigned)bits;
    s->n = n - slashes;
    return true;
}

/* ":DOMAIN" */
static bool take_domain(struct spf_term *t, struct span value)
{
    if (value.n == 0 || value.p[0] != ':')
        return false;
    t->domain = (struct span){ value.p + 1, value.n - 1 };
    return spf_domain_valid(t->domain);
}

/* "[:DOMAIN][/BITS][//BITS]" */
static bool take_hosts(struct spf_term *t, struct span value)
{
    return take_prefix(&value, 2, V6_BITS, &t->v6) &&
           take_prefix(&value, 1, V4_BITS, &t->v4) &&
           (value.n == 0 || take_domain(t, value));
}

/* ":ADDRESS[/BITS]" */
static bool take_ip(struct spf_term *t, struct span value)
{
    bool v6 = t->kind == SPF_IP6;
    unsigned char octets[16];
    char text[ADDR_TEXT];

    if (value.n == 0 || value.p[0] != ':' ||
        !take_prefix(&value, 1, v6 ? V6_BITS : V4_BITS, v6 ? &t->v6 : &t->v4) ||
        !span_copy(text, sizeof text,
                   (struct span){ value.p + 1, value.n - 1 }) ||
        inet_pton(v6 ? AF_INET6 : AF_INET, text, octets) != 1)
        return false;
    if (v6)
        addr_from_v6(&t->ip, octets, 0);
    else
        addr_from_v4(&t->ip, octets, 0);
    return true;
}

static bool take_value(struct spf_term *t, enum form form, struct span value)
{
    switch (form) {
    case FORM_NONE: return value.n == 0;
    case FORM_DOMAIN: return take_domain(t, value);
    case FORM_MAYBE_DOMAIN: return value.n == 0 || take_domain(t, value);
    case FORM_HOSTS: return take_hosts(t, value);
    case FORM_IP: return take_ip(t, value);
    }
    return false;
}

/* --- terms ---------------------------------------------------------------- */

static bool take_mechanism(struct spf_term *t)
{
    size_t n = 0;

    while (n < t->whole.n && t->whole.p[n] != ':' && t->whole.p[n] != '/')
        n++;
    struct span name = { t->whole.p, n };
    struct span value = { t->whole.p + n, t->whole.n - n };
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++)
        if (span_is_nocase(name, mechanisms[i].name)) {
            t->kind = mechanisms[i].kind;
            return take_value(t, mechanisms[i].form, value);
        }
    return false;
}

/* The length of "NAME="; 0: it is no modifier. */
static size_t modifier_name(struct span s)
{
    size_t n = 0;

    while (n < s.n && (ascii_is_alnum(s.p[n]) ||
                       (s.p[n] != '\0' && strchr("-_.", s.p[n]) != NULL)))
        n++;
    return n < s.n && s.p[n] == '=' && ascii_is_alpha(s.p[0]) ? n + 1 : 0;
}

static bool take_modifier(struct spf_term *t, size_t n)
{
    struct span name = { t->whole.p, n };

    t->domain = (struct span){ t->whole.p + n, t->whole.n - n };
    t->kind = span_is_nocase(name, "redirect=") ? SPF_REDIRECT
              : span_is_nocase(name, "exp=")    ? SPF_EXP
                                                : SPF_UNKNOWN_MODIFIER;
    return t->kind == SPF_UNKNOWN_MODIFIER
               ? spf_macros_valid(t->domain, "slodiphcrtv")
               : spf_domain_valid(t->domain);
}

static void take_qualifier(struct spf_term *t)
{
    switch (t->whole.p[0]) {
    case '+': break;
    case '-': t->result = SPF_FAIL; break;
    case '~': t->result = SPF_SOFTFAIL; break;
    case '?': t->result = SPF_NEUTRAL; break;
    default: return;
    }
    t->whole.p++;
    t->whole.n--;
}

static bool is_printable(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return true;
}

int spf_next_term(struct spf_term *t, struct span *rest)
{
    while (rest->n > 0 && rest->p[0] == ' ') {
        rest->p++;
        rest->n--;
    }
    size_t n = span_find(*rest, ' ');
    *t = (struct spf_term){ .whole = { rest->p, n },
                            .result = SPF_PASS,
                            .v4 = V4_BITS,
                            .v6 = V6_BITS };
    rest->p += n;
    rest->n -= n;
    if (n == 0)
        return 0;
    if (!is_printable(t->whole))
        return -1;
    n = modifier_name(t->whole);
    if (n > 0)
        return take_modifier(t, n) ? 1 : -1;
    take_qualifier(t);
    return take_mechanism(t) ? 1 : -1;
}
