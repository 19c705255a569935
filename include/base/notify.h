/* base/notify.h - report the state of a service to the manager of services.
 *
 * systemd and others name a datagram socket in $NOTIFY_SOCKET, a path or, with
 * "@" in front, an abstract name, and read lines like READY=1 from it
 * (sd_notify(3)). */
#ifndef MTA_BASE_NOTIFY_H
#define MTA_BASE_NOTIFY_H

#include "base/err.h"

/* Send the lines as one datagram.  Without $NOTIFY_SOCKET nothing is done.
 * Waits a second at most for a manager that does not read.  0, or -1 with
 * *e. */
int notify_send(const char *lines, struct err *e);

/* The same for a reload that begins, with the time that managers compare. */
int notify_reloading(struct err *e);
#endif
