/* log.c - `mta log`: collect lines, or show those in the file. */
#include "log/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/services.h"
#include "log/collector.h"

#include <string.h>
#include <sysexits.h>

static int show(const struct conf *c, const char *id, const char *sid,
                bool follow)
{
    struct err e;

    if (strcmp(c->log.file, "-") == 0) {
        fputs("mta log: log.file is \"-\", standard output: set it to a file, "
              "or search where your service manager keeps the lines\n",
              stderr);
        return EX_CONFIG;
    }
    if (log_show(c->log.file, id, sid, follow, &e) == 0)
        return EX_OK;
    fprintf(stderr, "mta log: %s\n", e.text);
    return e.kind == ERR_USAGE ? EX_NOINPUT : EX_IOERR;
}

int cmd_log(int argc, char **argv)
{
    bool follow = false;
    const char *id = NULL, *sid = NULL;
    const struct option flags[] = { OPTION_ON("-f", &follow),
                                    OPTION_TEXT("--id", &id),
                                    OPTION_TEXT("--sid", &sid),
                                    OPTION_SETTING("--queue-dir", "queue_dir"),
                                    OPTION_SETTING("--log-file", "log.file") };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, false };
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    if (!follow && id == NULL && sid == NULL)
        return services_run(&o, SERVICE_LOG_ONLY, NULL);
    int status = show(&o.conf, id, sid, follow);
    options_done(&o);
    return status;
}
