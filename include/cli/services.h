/* cli/services.h - the services that `mta run`, `serve`, `send` and `log` put
 * together: the collector of the log, the server, the sender. */
#ifndef MTA_CLI_SERVICES_H
#define MTA_CLI_SERVICES_H

#include "cli/options.h"
#include "send/send.h"

enum {
    SERVICE_LOG = 1, /* unless another tree has one */
    SERVICE_SERVE = 2,
    SERVICE_SEND = 4,
    SERVICE_LOG_ONLY = 8 /* fails if another tree has one */
};

/* Check the settings, open what they name, make the queue directory, then
 * supervise the services until they are to stop.  `send` is for
 * SERVICE_SEND.  Takes the settings from o, and calls options_done().
 * Returns the exit status. */
int services_run(struct options *o, unsigned services,
                 const struct send_options *send);
#endif
