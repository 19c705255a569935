/* name.c - which octets can name a mailbox. */
#include "mailbox/request.h"

#include <string.h>

enum { NAME_MOST = 64, DOMAIN_MOST = 255 };

/* The name of one entry of a directory, and not a hidden one. */
static bool is_entry(struct span s, size_t most)
{
    if (s.n == 0 || s.n > most || s.p[0] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < ' ' || c == 0x7f || c == '/')
            return false;
    }
    return true;
}

bool mailbox_name_valid(struct span user)
{
    static const char lock[] = ".lock"; /* names a lock, not a mailbox */
    size_t n = sizeof lock - 1;

    return is_entry(user, NAME_MOST) &&
           (user.n < n || memcmp(user.p + user.n - n, lock, n) != 0);
}

bool mailbox_key_valid(struct span key)
{
    size_t at = key.n;

    while (at > 0 && key.p[at - 1] != '@')
        at--;
    if (at == 0)
        return mailbox_name_valid(key);
    struct span domain = { key.p + at, key.n - at };
    return mailbox_name_valid((struct span){ key.p, at - 1 }) &&
           is_entry(domain, DOMAIN_MOST);
}
