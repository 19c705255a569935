/* cli/services.h - the services that `mta run`, `serve` and `send` put
 * together: the collector of the log, the server, the sender. */
#ifndef MTA_CLI_SERVICES_H
#define MTA_CLI_SERVICES_H

#include "cli/options.h"
#include "cli/supervise.h"
#include "send/send.h"

/* What the services of one command share. */
struct services {
    struct options *options;
    struct send_options send;
    const char *command; /* for messages on stderr */
};

struct service service_log(struct services *s);
struct service service_serve(struct services *s);
struct service service_send(struct services *s);

/* In the process that is to be the collector: make its file, as root for the
 * user that it then becomes, and set the style of its own lines.  0, or -1
 * with *e. */
int services_prepare_log(const struct conf *c, struct err *e);

/* Make the queue directory, then supervise.  Returns the exit status. */
int services_run(struct services *s, const struct service *list, size_t n);
#endif
