/* dns_packet.h - DNS messages made by hand, for the dns suites. */
#ifndef MTA_TESTS_UNIT_DNS_PACKET_H
#define MTA_TESTS_UNIT_DNS_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum {
    RC_OK = 0x8180, /* QR RD RA */
    RC_OK_AA = 0x8580,
    RC_OK_TC = 0x8380,
    RC_NXDOMAIN = 0x8183,
    RC_FORMERR = 0x8181,
    RC_SERVFAIL = 0x8182,
    RC_NOTIMP = 0x8184,
    RC_REFUSED = 0x8185
};

struct packet {
    size_t n;
    unsigned char b[4096];
};

void packet_start(struct packet *p, unsigned id, unsigned flags);
void packet_question(struct packet *p, const char *name, unsigned type);
void packet_bytes(struct packet *p, const void *data, size_t n);

/* Records by text, "; " between them: "SECTION NAME TYPE TTL DATA" with the
 * section an, ns or ar, "." for the root, and as data: A and AAAA an address,
 * MX "10 host", CNAME PTR NS a name, SOA the minimum, HEX bytes of type A,
 * OPT (TTL is then flags) nothing. */
void packet_records(struct packet *p, const char *text);
#endif
