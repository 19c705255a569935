#include "recipient/domain.h"

#include "base/idn.h"

#include <stdbool.h>
#include <string.h>

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

struct span domain_ascii(char out[DOMAIN_MAX], struct span domain)
{
    char text[DOMAIN_MAX];

    if (is_ascii(domain) || !span_copy(text, sizeof text, domain) ||
        !idn_ascii(out, text))
        return domain;
    return span_of(out);
}

struct span domain_ascii_address(char out[DOMAIN_ADDRESS_MAX],
                                 struct span address)
{
    char ascii[DOMAIN_MAX];
    size_t at = address.n;

    while (at > 0 && address.p[at - 1] != '@')
        at--;
    struct span domain = { address.p + at, address.n - at };
    if (at == 0 || is_ascii(domain))
        return address;
    domain = domain_ascii(ascii, domain);
    if (at + domain.n > DOMAIN_ADDRESS_MAX)
        return address;
    memcpy(out, address.p, at);
    memcpy(out + at, domain.p, domain.n);
    return (struct span){ out, at + domain.n };
}
