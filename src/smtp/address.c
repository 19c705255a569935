#include "smtp/address.h"

#include "base/utf8.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_atext(char c)
{
    return ascii_is_alnum(c) ||
           (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* The length of the next character of a dot-atom, 0 when it is none. */
static size_t atom_char(struct span s, bool *utf8)
{
    if ((unsigned char)s.p[0] < 0x80)
        return is_atext(s.p[0]);
    size_t n = utf8_length(s.p, s.n);
    *utf8 = *utf8 || n > 0;
    return n;
}

/* Dot-string = Atom *("." Atom); the length, 0 when malformed. */
static size_t dot_string(struct span s, bool *utf8)
{
    size_t i = 0, atom = 0;

    while (i < s.n && s.p[i] != '@') {
        if (s.p[i] == '.') {
            if (atom == 0)
                return 0;
            atom = 0;
            i++;
            continue;
        }
        size_t n = atom_char((struct span){ s.p + i, s.n - i }, utf8);
        if (n == 0)
            return 0;
        i += n;
        atom += n;
    }
    return atom == 0 ? 0 : i;
}

/* Quoted-string, both quotes included; the length, 0 when malformed. */
static size_t quoted_string(struct span s, bool *utf8)
{
    for (size_t i = 1; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"')
            return i + 1;
        if (c == '\\') {
            if (i + 1 == s.n || (unsigned char)s.p[i + 1] < ' ' ||
                (unsigned char)s.p[i + 1] > '~')
                return 0;
            i += 2;
        } else if (c >= 0x80) {
            size_t n = utf8_length(s.p + i, s.n - i);
            if (n == 0)
                return 0;
            *utf8 = true;
            i += n;
        } else if (c < ' ' || c > '~') {
            return 0;
        } else {
            i++;
        }
    }
    return 0;
}

/* A U-label may have more than the 63 octets of its A-label, which the sender
 * makes and looks at. */
static bool label_valid(struct span s, bool *utf8)
{
    bool ascii = true;

    if (s.n == 0 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n;) {
        size_t n = 1;
        if ((unsigned char)s.p[i] >= 0x80) {
            n = utf8_length(s.p + i, s.n - i);
            ascii = false;
        } else if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') {
            return false;
        }
        if (n == 0)
            return false;
        i += n;
    }
    *utf8 |= !ascii;
    return !ascii || s.n <= 63;
}

static bool domain_valid(struct span d, bool *utf8)
{
    if (d.n == 0 || d.n > SMTP_DOMAIN_MAX)
        return false;
    for (;;) {
        size_t n = span_find(d, '.');
        if (!label_valid((struct span){ d.p, n }, utf8))
            return false;
        if (n == d.n)
            return true;
        d.p += n + 1;
        d.n -= n + 1;
    }
}

bool smtp_domain_valid(struct span domain)
{
    bool utf8 = false;

    return domain_valid(domain, &utf8) && !utf8;
}

bool smtp_literal_valid(struct span d)
{
    char text[64];
    unsigned char raw[16];
    int family = AF_INET;

    if (d.n < 3 || d.p[0] != '[' || d.p[d.n - 1] != ']')
        return false;
    struct span ip = { d.p + 1, d.n - 2 };
    if (span_starts_nocase(ip, "IPv6:")) {
        family = AF_INET6;
        ip.p += 5;
        ip.n -= 5;
    }
    return span_copy(text, sizeof text, ip) &&
           inet_pton(family, text, raw) == 1;
}

/* RFC 5321 4.1.1.3, appendix C: "@one,@two:" in front; dropped. */
static bool drop_route(struct span *path)
{
    bool utf8 = false;

    while (path->n > 0 && path->p[0] == '@') {
        size_t n = 1;
        while (n < path->n && path->p[n] != ',' && path->p[n] != ':')
            n++;
        if (n == path->n ||
            !domain_valid((struct span){ path->p + 1, n - 1 }, &utf8))
            return false;
        bool more = path->p[n] == ',';
        path->p += n + 1;
        path->n -= n + 1;
        if (!more)
            return true;
        if (path->n == 0 || path->p[0] != '@')
            return false;
    }
    return true;
}

static enum smtp_address_error take_domain(struct smtp_address *a,
                                           struct span rest)
{
    if (rest.n == 0)
        return SMTP_ADDRESS_NO_DOMAIN;
    if (rest.p[0] != '@')
        return SMTP_ADDRESS_LOCAL;
    rest.p++;
    rest.n--;
    if (rest.n > SMTP_DOMAIN_MAX)
        return SMTP_ADDRESS_TOO_LONG;
    a->domain = rest;
    a->is_literal = rest.n > 0 && rest.p[0] == '[';
    if (a->is_literal ? !smtp_literal_valid(rest)
                      : !domain_valid(rest, &a->is_utf8))
        return SMTP_ADDRESS_DOMAIN;
    return SMTP_ADDRESS_OK;
}

enum smtp_address_error smtp_address_parse(struct smtp_address *a,
                                           struct span path)
{
    memset(a, 0, sizeof *a);
    if (path.n == 0)
        return SMTP_ADDRESS_EMPTY;
    if (!drop_route(&path))
        return SMTP_ADDRESS_ROUTE;
    a->text = path;
    if (path.n == 0)
        return SMTP_ADDRESS_ROUTE;
    size_t n = path.p[0] == '"' ? quoted_string(path, &a->is_utf8)
                                : dot_string(path, &a->is_utf8);
    if (n == 0)
        return SMTP_ADDRESS_LOCAL;
    a->local = (struct span){ path.p, n };
    enum smtp_address_error e =
        take_domain(a, (struct span){ path.p + n, path.n - n });
    if ((e == SMTP_ADDRESS_OK || e == SMTP_ADDRESS_NO_DOMAIN) &&
        path.n > SMTP_PATH_MAX - 2)
        return SMTP_ADDRESS_TOO_LONG;
    return e;
}

const char *smtp_address_why(enum smtp_address_error e)
{
    switch (e) {
    case SMTP_ADDRESS_OK: return "Ok";
    case SMTP_ADDRESS_EMPTY: return "Empty address";
    case SMTP_ADDRESS_LOCAL: return "Malformed local part";
    case SMTP_ADDRESS_DOMAIN: return "Malformed domain";
    case SMTP_ADDRESS_NO_DOMAIN: return "Address without a domain";
    case SMTP_ADDRESS_TOO_LONG: return "Address too long";
    case SMTP_ADDRESS_ROUTE: return "Malformed source route";
    }
    return "Malformed address";
}

bool smtp_local_unquote(char *out, size_t size, struct span local)
{
    bool fits = size > 0;
    size_t n = 0;

    if (local.n < 2 || local.p[0] != '"')
        return span_copy(out, size, local);
    for (size_t i = 1; fits && i + 1 < local.n; i++) {
        if (local.p[i] == '\\' && i + 2 < local.n)
            i++;
        fits = n + 1 < size && local.p[i] != '\0';
        if (fits)
            out[n++] = local.p[i];
    }
    if (size > 0)
        out[fits ? n : 0] = '\0';
    return fits;
}
