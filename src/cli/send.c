/* send.c - `mta send`: deliver queued mail. */
#include "cli/commands.h"
#include "cli/services.h"

#include "config/value.h"

#include <sysexits.h>

int cmd_send(int argc, char **argv)
{
    struct options o;
    struct services_options with = { .deliver_once = false };
    const char *timeout = NULL;
    struct err e;
    const struct option flags[] = {
        OPTION_ON("--once", &with.send.once),
        OPTION_ON("--drain", &with.send.drain),
        OPTION_TEXT("--timeout", &timeout),
        OPTION_SETTING("--queue-dir", "queue_dir"),
        OPTION_SETTING("--log-file", "log.file"),
        OPTION_SETTING("--queue-lifetime", "send.queue_lifetime"),
        OPTION_SETTING("--retry-min", "send.retry_min"),
        OPTION_SETTING("--retry-max", "send.retry_max"),
        OPTION_SETTING("--workers", "send.workers"),
        OPTION_SETTING("--user", "user"),
        OPTION_SETTING("--group", "group"),
    };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, true };

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    if (timeout != NULL &&
        conf_parse_time(span_of(timeout), &with.send.drain_timeout, &e) != 0) {
        fprintf(stderr, "mta send: --timeout: %s\n", e.text);
        options_done(&o);
        return EX_USAGE;
    }
    return services_run(&o, SERVICE_LOG | SERVICE_SEND, &with);
}
