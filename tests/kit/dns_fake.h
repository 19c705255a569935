/* dns_fake.h - a DNS server that misbehaves as told, on the loop of the
 * resolver it is to mislead. */
#ifndef MTA_TESTS_UNIT_DNS_FAKE_H
#define MTA_TESTS_UNIT_DNS_FAKE_H

#include "base/addr.h"
#include "dns_packet.h"
#include "net/loop.h"

#include <stdbool.h>

/* One letter for each question over UDP, in order; the last one stays:
 *   g  good: A 192.0.2.1 (AAAA: nothing)     . silent
 *   i  wrong id, then nothing      q  wrong question, then nothing
 *   p  good, from another port     b  i, q, p and nonsense, then good
 *   l  the answer to the question before, now, then good
 *   t  truncated                   s  SERVFAIL     r  REFUSED
 *   f  FORMERR when there is EDNS, else good
 *   x  NXDOMAIN with SOA           n  no such records, with SOA
 *   c  CNAME to a new name, nothing more
 *   o  CNAME ring                  m  malformed    h  half a header
 * and over TCP, in order of connections:
 *   g  good      1  good, one byte at a time    c  closes without a word
 *   e  closes in the middle        0  length 0  L  length 65535, then closes
 *   i  wrong id                    t  truncated .  silent */
struct fake {
    struct loop *loop;
    struct addr addr;
    char text[ADDR_PORT_TEXT];
    struct loop_io udp, listen, tcp;
    const char *script, *tcp_script;
    unsigned asked, asked_tcp; /* questions so far */
    struct addr last_peer;
    struct packet last;  /* question before this one */
    struct packet reply; /* what TCP still has to say */
    size_t sent;
    bool in_bytes;
};

void fake_start(struct fake *f, struct loop *l, const char *ip,
                const char *script, const char *tcp_script);
/* Answer the last question by UDP now, in the way of that letter. */
void fake_answer_last(struct fake *f, char how);
void fake_stop(struct fake *f);

/* "127.0.0.1:PORT" of a port that is closed. */
void fake_closed_port(char out[ADDR_PORT_TEXT]);
#endif
