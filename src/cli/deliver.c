/* deliver.c - `mta deliver`: deliver queued mail into mailboxes. */
#include "cli/commands.h"
#include "cli/services.h"

int cmd_deliver(int argc, char **argv)
{
    struct options o;
    struct services_options with = { .deliver_once = false };
    const struct option flags[] = {
        OPTION_ON("--once", &with.deliver_once),
        OPTION_SETTING("--mail-dir", "local.mail_dir"),
        OPTION_SETTING("--queue-dir", "queue_dir"),
        OPTION_SETTING("--log-file", "log.file"),
        OPTION_SETTING("--workers", "deliver.workers"),
        OPTION_SETTING("--user", "user"),
        OPTION_SETTING("--group", "group"),
    };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, true };

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    return services_run(&o, SERVICE_LOG | SERVICE_DELIVER, &with);
}
