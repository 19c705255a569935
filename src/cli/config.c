/* config.c - `mta config`: show and check the settings. */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/start_check.h"

#include <sysexits.h>

static int show(struct options *o)
{
    struct err e;

    if (conf_show(stdout, &o->source, o->json, &e) == 0)
        return EX_OK;
    fprintf(stderr, "mta config: %s\n", e.text);
    return e.kind == ERR_USAGE ? EX_USAGE : EX_CONFIG;
}

/* Report all errors that a start would find. */
static int check(struct options *o, bool offline)
{
    struct start_check all = {
        .conf = &o->conf, .serves = true, .warn = options_warn, .warn_ctx = o
    };
    struct err e;
    int status = EX_OK;

    if (!options_load(o))
        return o->status;
    if (!offline && start_check(&all, &e) != 0) {
        fprintf(stderr, "mta config: %s\n", e.text);
        status = err_status(&e);
    }
    options_done(o);
    return status;
}

int cmd_config(int argc, char **argv)
{
    bool checks = false, offline = false, dumps = false, shows = false,
         man = false;
    const struct option flags[] = { OPTION_ON("--check", &checks),
                                    OPTION_ON("--offline", &offline),
                                    OPTION_ON("--dump", &dumps),
                                    OPTION_ON("--show", &shows),
                                    OPTION_ON("--man", &man) };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, true };
    struct options o;

    if (!options_parse(&o, &spec, argc, argv))
        return o.status;
    if (checks + dumps + shows + man > 1) {
        fputs("mta config: only one of --check, --dump, --show and --man\n",
              stderr);
        return EX_USAGE;
    }
    if (offline && !checks) {
        fputs("mta config: --offline goes with --check\n", stderr);
        return EX_USAGE;
    }
    if (dumps)
        conf_dump(stdout);
    else if (man)
        conf_man(stdout);
    else
        return checks ? check(&o, offline) : show(&o);
    return EX_OK;
}
