/* base/host_port.h - the text host:port of settings and flags.  The only
 * parser of it in the tree. */
#ifndef MTA_BASE_HOST_PORT_H
#define MTA_BASE_HOST_PORT_H

#include "base/addr.h"
#include "base/err.h"
#include "base/idn.h"

/* A host and, perhaps, a port. */
struct host_port {
    char host[IDN_MAX]; /* in its one form (base/idn.h); "": none */
    uint16_t port;      /* 0: none was given */
    bool bracketed;     /* [host]: no look-up of the MX of this name */
    bool numeric;       /* host is an address: addr, with the port */
    struct addr addr;
};

enum { HOST_PORT_TEXT = IDN_MAX + 8 };

/* "host", "host:25", "[host]:25", "192.0.2.1:25", "[2001:db8::1]:25",
 * "[IPv6:::1]", "2001:db8::1".  Never asks the DNS.  0, or -1 with *e. */
int host_port_parse(struct host_port *h, struct span text, struct err *e);
void host_port_text(char out[HOST_PORT_TEXT], const struct host_port *h);

/* The same for addresses alone; without a port: default_port. */
int addr_parse(struct addr *a, struct span text, uint16_t default_port,
               struct err *e);
#endif
