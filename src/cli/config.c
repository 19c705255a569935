/* config.c - `mta config`: look at the settings. */
#include "base/os.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "spool/dirs.h"
#include "spool/space.h"

#include <sysexits.h>

static int show(struct options *o)
{
    struct err e;

    if (conf_show(stdout, &o->source, o->json, &e) == 0)
        return EX_OK;
    fprintf(stderr, "mta config: %s\n", e.text);
    return e.kind == ERR_USAGE ? EX_USAGE : EX_CONFIG;
}

/* What a start would say of the disk, too. */
static int check_queue(const struct conf *c)
{
    struct err e;
    uid_t uid;
    gid_t gid;

    if (os_find_ids(c->user, c->group, &uid, &gid, &e) != 0 ||
        spool_dirs_check(c->queue_dir, uid, gid, &e) != 0) {
        fprintf(stderr, "mta config: %s\n", e.text);
        return EX_CONFIG;
    }
    if (spool_space_warn(c->queue_dir, &e) != 0)
        fprintf(stderr, "mta config: warning: %s\n", e.text);
    return EX_OK;
}

static int check(struct options *o)
{
    if (!options_load(o))
        return o->status;
    int status = check_queue(&o->conf);
    options_done(o);
    return status;
}

int cmd_config(int argc, char **argv)
{
    bool checks = false, dumps = false, shows = false, man = false;
    const struct option flags[] = { OPTION_ON("--check", &checks),
                                    OPTION_ON("--dump", &dumps),
                                    OPTION_ON("--show", &shows),
                                    OPTION_ON("--man", &man) };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0 };
    struct options o;

    if (!options_parse(&o, &spec, argc, argv))
        return o.status;
    if (checks + dumps + shows + man > 1) {
        fputs("mta config: only one of --check, --dump, --show and --man\n",
              stderr);
        return EX_USAGE;
    }
    if (dumps)
        conf_dump(stdout);
    else if (man)
        conf_man(stdout);
    else
        return checks ? check(&o) : show(&o);
    return EX_OK;
}
