/* log.c - `mta log`: collect lines, or look at those that are there. */
#include "log/log.h"
#include "base/os.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/services.h"
#include "log/collector.h"
#include "spool/dirs.h"

#include <string.h>
#include <sysexits.h>

static int fail(const struct err *e)
{
    fprintf(stderr, "mta log: %s\n", e->text);
    return e->kind == ERR_USAGE  ? EX_USAGE
           : e->kind == ERR_PERM ? EX_NOPERM
                                 : EX_TEMPFAIL;
}

static int collect(const struct conf *c)
{
    struct err e;
    uid_t uid;
    gid_t gid;

    if (os_find_ids(c->user, c->group, &uid, &gid, &e) != 0 ||
        spool_dirs_make(c->queue_dir, uid, gid, &e) != 0 ||
        services_prepare_log(c, &e) != 0 ||
        log_collect(c->queue_dir, c->log.file, &e) != 0)
        return fail(&e);
    return EX_OK;
}

static int show(const struct conf *c, const char *id, const char *sid,
                bool follow)
{
    struct err e;

    if (strcmp(c->log.file, "-") == 0) {
        fputs("mta log: log.file is standard output: there is no file to "
              "look into\n",
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
                                       0 };
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    int status = follow || id != NULL || sid != NULL
                     ? show(&o.conf, id, sid, follow)
                     : collect(&o.conf);
    options_done(&o);
    return status;
}
