/* send/own_host.h - name and addresses of this system, to detect mail that
 * loops back to it (RFC 5321 5.1). */
#ifndef MTA_SEND_OWN_HOST_H
#define MTA_SEND_OWN_HOST_H

#include "base/addr.h"
#include "base/err.h"
#include "base/host_port.h"
#include "config/conf.h"

/* The name of this system, the addresses of serve.listen, and those of all
 * interfaces for a wildcard, which stands in the list too. */
struct own_host {
    const char *hostname;
    size_t n;
    const struct addr *addr; /* with ports */
};

/* own_host_done() accepts a zeroed struct. */
int own_host_load(struct own_host *self, const struct conf *c, struct err *e);

/* Does a connection to that address and port end here?  At a port of
 * serve.listen all of loopback is this system, and 0.0.0.0/8 and :: are at
 * each port.  configured: the next hop is a setting, which may name another
 * program on loopback; then only what one of serve.listen covers counts. */
bool own_host_has(const struct own_host *self, const struct addr *a,
                  bool configured);

bool own_host_has_port(const struct own_host *self, uint16_t port);

/* Is this next hop one of serve.listen, as far as the names and addresses of
 * this host tell? */
bool own_host_is(const struct own_host *self, const struct conf *c,
                 const struct host_port *to);
void own_host_done(struct own_host *self);
#endif
