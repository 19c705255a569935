/* run.c - `mta run` and `mta serve`. */
#include "cli/commands.h"
#include "cli/services.h"

/* clang-format off */
static const struct option serve_flags[] = {
    OPTION_SETTING("--port", "serve.listen"),
    OPTION_SETTING("--bind", "serve.listen"),
    OPTION_SETTING("--mail-dir", "local.mail_dir"),
    OPTION_SETTING("--queue-dir", "queue_dir"),
    OPTION_SETTING("--user", "user"),
    OPTION_SETTING("--group", "group"),
    OPTION_SETTING("--log-file", "log.file"),
    OPTION_SETTING("--relay-network", "serve.relay_networks"),
    OPTION_SETTING("--workers", "serve.workers"),
};
/* clang-format on */

static const struct options_spec spec = {
    serve_flags, sizeof serve_flags / sizeof serve_flags[0], 0, 0, true
};

int cmd_serve(int argc, char **argv)
{
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    return services_run(&o, SERVICE_LOG | SERVICE_SERVE | SERVICE_DELIVER,
                        NULL);
}

int cmd_run(int argc, char **argv)
{
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    return services_run(
        &o, SERVICE_LOG | SERVICE_SERVE | SERVICE_DELIVER | SERVICE_SEND, NULL);
}
