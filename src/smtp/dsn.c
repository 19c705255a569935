#include "smtp/dsn.h"

#include "base/utf8.h"

#include <string.h>

enum { POINT_MAX = 0x10ffff };

static bool is_printable(unsigned c)
{
    return c >= ' ' && c <= '~';
}

/* --- xtext -------------------------------------------------------------- */

static int hex(char c)
{
    return ascii_is_digit(c)      ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The octet at the front, and its length there; 0: malformed. */
static size_t xtext_octet(struct span x, unsigned *octet)
{
    if (x.p[0] != '+') {
        *octet = (unsigned char)x.p[0];
        return *octet > ' ' && *octet <= '~' && *octet != '=';
    }
    if (x.n < 3 || hex(x.p[1]) < 0 || hex(x.p[2]) < 0)
        return 0;
    *octet = (unsigned)(hex(x.p[1]) * 16 + hex(x.p[2]));
    return 3;
}

static const char *check_xtext(struct span x)
{
    unsigned octet;

    for (size_t n; x.n > 0; x.p += n, x.n -= n) {
        n = xtext_octet(x, &octet);
        if (n == 0)
            return "not valid xtext";
        if (!is_printable(octet))
            return "encodes an unprintable character";
    }
    return NULL;
}

static void put_xtext(struct buf *b, struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c > ' ' && c <= '~' && c != '+' && c != '=')
            buf_addc(b, (char)c);
        else
            buf_addf(b, "+%02X", c);
    }
}

void smtp_xtext_decode(struct buf *b, struct span x)
{
    unsigned octet;

    for (size_t n; x.n > 0; x.p += n, x.n -= n) {
        n = xtext_octet(x, &octet);
        if (n == 0) {
            octet = (unsigned char)x.p[0];
            n = 1;
        }
        buf_addc(b, is_printable(octet) ? (char)octet : '?');
    }
}

/* --- RET and ENVID ------------------------------------------------------ */

const char *smtp_dsn_check_ret(struct span value)
{
    return span_is_nocase(value, "FULL") || span_is_nocase(value, "HDRS")
               ? NULL
               : "not FULL or HDRS";
}

const char *smtp_dsn_check_envid(struct span value)
{
    if (value.n == 0)
        return "no value";
    if (value.n > SMTP_ENVID_MAX)
        return "longer than 100 characters";
    return check_xtext(value);
}

/* --- NOTIFY ------------------------------------------------------------- */

static const struct {
    const char *word;
    unsigned bit;
} words[] = { { "NEVER", SMTP_NOTIFY_NEVER },
              { "SUCCESS", SMTP_NOTIFY_SUCCESS },
              { "FAILURE", SMTP_NOTIFY_FAILURE },
              { "DELAY", SMTP_NOTIFY_DELAY } };

static unsigned bit_of(struct span word)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_is_nocase(word, words[i].word))
            return words[i].bit;
    return 0;
}

const char *smtp_dsn_check_notify(struct span value, unsigned *bits)
{
    bool more = true;

    *bits = 0;
    while (more) {
        size_t n = span_find(value, ',');
        unsigned bit = bit_of((struct span){ value.p, n });
        if (bit == 0)
            return "not NEVER, or of SUCCESS, FAILURE and DELAY";
        if ((*bits & bit) != 0)
            return "a keyword is given twice";
        *bits |= bit;
        more = n < value.n;
        value.p += n + more;
        value.n -= n + more;
    }
    return (*bits & SMTP_NOTIFY_NEVER) != 0 && *bits != SMTP_NOTIFY_NEVER
               ? "NEVER does not stand alone"
               : NULL;
}

unsigned smtp_dsn_notify_bits(const char *notify)
{
    unsigned bits = 0;

    if (notify != NULL)
        (void)smtp_dsn_check_notify(span_of(notify), &bits);
    return bits;
}

const char *smtp_dsn_notify_text(unsigned bits)
{
    static const char *const texts[] = {
        "",      "SUCCESS",       "FAILURE",       "SUCCESS,FAILURE",
        "DELAY", "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"
    };

    return (bits & SMTP_NOTIFY_NEVER) != 0 ? "NEVER" : texts[bits >> 1 & 7];
}

/* --- ORCPT -------------------------------------------------------------- */

static bool is_atom(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) &&
            (s.p[i] == '\0' || strchr("!#$%&'*+-/?^_`{|}~", s.p[i]) == NULL))
            return false;
    return s.n > 0 && s.n <= SMTP_ADDR_TYPE_MAX;
}

/* Only those that xtext or a header field cannot hold are written so. */
static bool may_be_embedded(unsigned long code, size_t digits)
{
    if (code > POINT_MAX || (code >= 0xd800 && code < 0xe000))
        return false;
    return code >= 0x80
               ? code >> 4 * (digits - 1) != 0
               : digits == 2 &&
                     (code == '+' || code == '=' || code == '\\' ||
                      code == ' ' || code == 0x7f || (code > 0 && code < ' '));
}

/* The length of "\x{C4}" at the front; 0: malformed. */
static size_t embedded(struct span x)
{
    unsigned long code = 0;
    size_t i = 3;

    if (x.n < 6 || memcmp(x.p, "\\x{", 3) != 0)
        return 0;
    for (; i < x.n && i < 9 && hex(x.p[i]) >= 0; i++)
        code = code * 16 + (unsigned long)hex(x.p[i]);
    if (i == x.n || x.p[i] != '}' || i < 5 || !may_be_embedded(code, i - 3))
        return 0;
    return i + 1;
}

/* RFC 6533 3: utf-8-addr-xtext, or with SMTPUTF8 utf-8-addr-unitext. */
static const char *check_utf8(struct span x, bool utf8)
{
    for (size_t n; x.n > 0; x.p += n, x.n -= n) {
        unsigned char c = (unsigned char)x.p[0];
        if (c >= 0x80 && !utf8)
            return "holds UTF-8 without SMTPUTF8";
        n = c >= 0x80   ? utf8_length(x.p, x.n)
            : c == '\\' ? embedded(x)
                        : c > ' ' && c != 0x7f && c != '+' && c != '=';
        if (n == 0)
            return "not a valid utf-8 address";
    }
    return NULL;
}

const char *smtp_dsn_check_orcpt(struct span value, bool utf8)
{
    size_t n = span_find(value, ';');
    struct span type = { value.p, n };

    if (n == value.n)
        return "no address type and \";\"";
    if (value.n > SMTP_ORCPT_MAX)
        return "longer than 500 characters";
    if (!is_atom(type))
        return "not an address type";
    struct span address = { value.p + n + 1, value.n - n - 1 };
    if (address.n == 0)
        return "no address";
    return span_is_nocase(type, "utf-8") ? check_utf8(address, utf8)
                                         : check_xtext(address);
}

static unsigned long code_of(const char *p, size_t n)
{
    unsigned long code = (unsigned char)*p;

    if (n > 1)
        code &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)p[i] & 0x3f);
    return code;
}

void smtp_dsn_put_ascii(struct buf *b, struct span s)
{
    for (size_t n; s.n > 0; s.p += n, s.n -= n) {
        n = utf8_length(s.p, s.n);
        n = n == 0 ? 1 : n;
        if (((unsigned char)s.p[0] & 0x80) == 0)
            buf_addc(b, s.p[0]);
        else
            buf_addf(b, "\\x{%lX}", code_of(s.p, n));
    }
}

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] & 0x80) != 0)
            return false;
    return true;
}

void smtp_dsn_put_orcpt(struct buf *b, struct span a)
{
    if (is_ascii(a)) {
        buf_adds(b, "rfc822;");
        put_xtext(b, a);
        return;
    }
    buf_adds(b, "utf-8;");
    for (size_t n; a.n > 0; a.p += n, a.n -= n) {
        n = utf8_length(a.p, a.n);
        n = n == 0 ? 1 : n;
        unsigned char c = (unsigned char)a.p[0];
        if (n == 1 && c > ' ' && c < 0x7f && strchr("+=\\", c) == NULL)
            buf_addc(b, (char)c);
        else
            buf_addf(b, "\\x{%02lX}", code_of(a.p, n));
    }
}
