/* cli/services.h - the services that `mta run`, `serve`, `deliver`, `send` and
 * `log` put together: the collector of the log, the server, local delivery, the
 * sender. */
#ifndef MTA_CLI_SERVICES_H
#define MTA_CLI_SERVICES_H

#include "cli/options.h"
#include "send/send.h"

enum {
    SERVICE_LOG = 1, /* unless another tree has one */
    SERVICE_SERVE = 2,
    SERVICE_SEND = 4,
    SERVICE_LOG_ONLY = 8, /* fails if another tree has one */
    SERVICE_DELIVER = 16
};

/* All zeros: all services go on until they are to stop. */
struct services_options {
    struct send_options send; /* for SERVICE_SEND */
    bool deliver_once;        /* for SERVICE_DELIVER: see deliver/deliver.h */
};

/* Check the settings, open what they name, make the queue directory, then
 * supervise the services until they are to stop.  with NULL: all zeros.  Takes
 * the settings from o, and calls options_done().  Returns the exit status. */
int services_run(struct options *o, unsigned services,
                 const struct services_options *with);
#endif
