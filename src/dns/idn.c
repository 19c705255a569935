#include "dns/idn.h"

#include "base/span.h"

#include <idn2.h>
#include <stdint.h>

static bool is_ascii(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s >= 0x80)
            return false;
    return true;
}

bool dns_idn_ascii(char out[DNS_NAME_MAX], const char *domain)
{
    uint8_t *ascii = NULL;

    out[0] = '\0';
    if (is_ascii(domain))
        return span_copy(out, DNS_NAME_MAX, span_of(domain));
    if (idn2_lookup_u8((const uint8_t *)domain, &ascii,
                       IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return false;
    bool fits = span_copy(out, DNS_NAME_MAX, span_of((char *)ascii));
    idn2_free(ascii);
    return fits;
}
