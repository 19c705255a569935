#include "serve/tickets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "ticket keys ";

void serve_tickets_make(struct serve_tickets *t, uint64_t now)
{
    arc4random_buf(t->keys, sizeof t->keys);
    t->renew_at = now + SERVE_TICKETS_MS;
}

bool serve_tickets_renew(struct serve_tickets *t, uint64_t now)
{
    if (now < t->renew_at)
        return false;
    for (size_t i = sizeof t->keys; i-- > TLS_TICKET_KEY;)
        t->keys[i] = t->keys[i - TLS_TICKET_KEY];
    arc4random_buf(t->keys, TLS_TICKET_KEY);
    t->renew_at = now + SERVE_TICKETS_MS;
    return true;
}

void serve_tickets_message(char text[SERVE_TICKETS_TEXT],
                           const struct serve_tickets *t)
{
    static const char digits[] = "0123456789abcdef";
    char *p = text + sizeof prefix - 1;

    memcpy(text, prefix, sizeof prefix);
    for (size_t i = 0; i < sizeof t->keys; i++) {
        *p++ = digits[t->keys[i] >> 4];
        *p++ = digits[t->keys[i] & 15];
    }
    *p = '\0';
}

bool serve_tickets_accept(struct serve_tickets *t, const char *message)
{
    const char *p = message + sizeof prefix - 1;
    unsigned octet;

    if (strncmp(message, prefix, sizeof prefix - 1) != 0 ||
        strlen(p) != 2 * sizeof t->keys)
        return false;
    for (size_t i = 0; i < sizeof t->keys; i++)
        if (sscanf(p + 2 * i, "%2x", &octet) == 1)
            t->keys[i] = (unsigned char)octet;
    return true;
}

void serve_tickets_use(const struct serve_tickets *t, struct tls_context *tls)
{
    if (tls != NULL)
        tls_server_ticket_keys(tls, t->keys, sizeof t->keys);
}

/* The compiler must not leave it out. */
void serve_tickets_forget(struct serve_tickets *t)
{
    volatile unsigned char *p = t->keys;

    for (size_t i = 0; i < sizeof t->keys; i++)
        p[i] = 0;
}
