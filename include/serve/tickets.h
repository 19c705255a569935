/* serve/tickets.h - the keys of session tickets (RFC 5077, RFC 8446 4.6.1).
 *
 * All workers share them, so that a client may resume its session at any.  The
 * master makes them, and in time a new one in the place of the oldest; workers
 * have them from the fork, or from a message of their line.  A ticket is good
 * for a client while its key is one of them. */
#ifndef MTA_SERVE_TICKETS_H
#define MTA_SERVE_TICKETS_H

#include "net/tls.h"

#include <stdbool.h>
#include <stdint.h>

struct serve_tickets {
    unsigned char keys[TLS_TICKET_KEYS * TLS_TICKET_KEY]; /* newest first */
    uint64_t renew_at;                                    /* ms, monotonic */
};

enum {
    SERVE_TICKETS_TEXT = 2 * TLS_TICKET_KEYS * TLS_TICKET_KEY + 16,
    SERVE_TICKETS_MS = 6 * 3600 * 1000 /* a key is the newest for so long */
};

void serve_tickets_make(struct serve_tickets *t, uint64_t now_ms);

/* False, with nothing changed: the newest key is not old yet. */
bool serve_tickets_renew(struct serve_tickets *t, uint64_t now_ms);

/* The message, and its receiver: false, it is of another kind. */
void serve_tickets_message(char text[SERVE_TICKETS_TEXT],
                           const struct serve_tickets *t);
bool serve_tickets_accept(struct serve_tickets *t, const char *message);

/* Accepts NULL. */
void serve_tickets_use(const struct serve_tickets *t, struct tls_context *tls);

/* In a process that serves no client. */
void serve_tickets_forget(struct serve_tickets *t);
#endif
