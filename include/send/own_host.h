/* send/own_host.h - name and addresses of this system, to detect mail that
 * loops back to it (RFC 5321 5.1). */
#ifndef MTA_SEND_OWN_HOST_H
#define MTA_SEND_OWN_HOST_H

#include "base/err.h"
#include "config/conf.h"
#include "send/mx_order.h"

/* The addresses of serve.listen; a wildcard stands for those of all
 * interfaces.  own_host_done() accepts a zeroed struct. */
int own_host_load(struct own_host *self, const struct conf *c, struct err *e);
/* Is this next hop one of serve.listen, as far as the names and addresses of
 * this host tell? */
bool own_host_is(const struct own_host *self, const struct conf *c,
                 const struct host_port *to);
void own_host_done(struct own_host *self);
#endif
