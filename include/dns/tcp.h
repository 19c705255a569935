/* dns/tcp.h - one question and one answer over TCP (RFC 7766).
 *
 * For the resolver alone.  The caller keeps the time and closes; the callback
 * comes from the loop, at most once, and may close. */
#ifndef MTA_DNS_TCP_H
#define MTA_DNS_TCP_H

#include "dns/message.h"

struct dns_tcp {
    struct loop_io io; /* fd -1: not open */
    struct loop *loop;
    /* msg NULL: the stream failed; why has the reason. */
    void (*fn)(struct dns_tcp *t, const unsigned char *msg, size_t n,
               const char *why);
    unsigned char query[2 + DNS_QUERY_BYTES];
    size_t query_len, sent;
    unsigned char head[2];
    unsigned char *msg; /* of the length in the first two octets */
    size_t msg_len, got;
};

#define DNS_TCP_CLOSED                                                         \
    {                                                                          \
        .io = {.fd = -1 }                                                      \
    }

/* t is closed; query has n bytes.  -1 with *e and t still closed. */
int dns_tcp_ask(struct dns_tcp *t, struct loop *l, const struct addr *server,
                const unsigned char *query, size_t n, struct err *e);
void dns_tcp_close(struct dns_tcp *t);

/* Shared with the UDP side: a non-blocking socket that connect()s (or has
 * begun to) to the server; -1 with *e. */
int dns_socket(const struct addr *server, int kind, struct err *e);
#endif
