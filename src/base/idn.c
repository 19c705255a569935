#include "base/idn.h"

#include <idn2.h>
#include <stdint.h>
#include <string.h>

static bool is_ascii(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s >= 0x80)
            return false;
    return true;
}

bool idn_ascii(char out[IDN_MAX], const char *domain)
{
    uint8_t *ascii = NULL;

    out[0] = '\0';
    if (is_ascii(domain))
        return span_copy(out, IDN_MAX, span_of(domain));
    if (idn2_lookup_u8((const uint8_t *)domain, &ascii,
                       IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return false;
    bool fits = span_copy(out, IDN_MAX, span_of((char *)ascii));
    idn2_free(ascii);
    return fits;
}

static const char *label_fault(struct span s)
{
    if (s.n == 0)
        return "has an empty label (two dots, or one at the start)";
    if (s.n > 63)
        return "has a label of more than 63 octets";
    if (s.p[0] == '-' || s.p[s.n - 1] == '-')
        return "has a label that begins or ends with a hyphen";
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return s.p[i] == ' ' ? "has a blank in it"
                                 : "has a character that no name of a host has";
    return NULL;
}

static const char *fault_of(struct span s)
{
    const char *fault = NULL;

    if (s.n > 253)
        return "is longer than 253 octets";
    for (;;) {
        size_t n = span_find(s, '.');
        fault = label_fault((struct span){ s.p, n });
        if (fault != NULL || n == s.n)
            return fault;
        s.p += n + 1;
        s.n -= n + 1;
    }
}

const char *idn_normal(char out[IDN_MAX], struct span name)
{
    char text[4 * IDN_MAX];

    out[0] = '\0';
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0)
        return "is empty";
    if (!span_copy(text, sizeof text, name))
        return "is longer than 253 octets";
    const char *fault = NULL;
    if (!idn_ascii(out, text))
        fault = is_ascii(text) ? "is longer than 253 octets"
                               : "is not a name that IDNA allows";
    else
        fault = fault_of(span_of(out));
    if (fault != NULL)
        out[0] = '\0';
    else
        ascii_lower_str(out);
    return fault;
}
