/* sendmail_other.c - the modes of sendmail(8) that other commands serve. */
#include "cli/sendmail.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "control/client.h"
#include "recipient/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { WORDS = 8, RELOAD_SECONDS = 30 }; /* it reads all tables */

/* Run a command, its words up to a NULL, with the configuration of -C. */
static int run(const struct sendmail_options *o,
               int (*command)(int argc, char **argv), char **words)
{
    static char c[] = "-c";
    char *argv[WORDS + 3];
    int argc = 0;

    for (; words[argc] != NULL && argc < WORDS; argc++)
        argv[argc] = words[argc];
    if (o->config != NULL) {
        argv[argc++] = c;
        argv[argc++] = (char *)(uintptr_t)o->config;
    }
    argv[argc] = NULL;
    return command(argc, argv);
}

/* --- newaliases -------------------------------------------------------- */

/* There is no database to build: the server reads the file itself, and its
 * supervisor notices a change within seconds. */
static int ignore_line(void *ctx, struct span line)
{
    (void)ctx;
    (void)line;
    return 0;
}

static int reload(const struct conf *c)
{
    const struct control_ask ask = { .queue_dir = c->queue_dir,
                                     .name = "control",
                                     .command = "reload",
                                     .patience = RELOAD_SECONDS,
                                     .fn = ignore_line };
    struct err e;

    if (control_ask(&ask, &e) == 0)
        return EX_OK;
    if (e.sys == ENOENT || e.sys == ECONNREFUSED) /* none runs */
        return EX_OK;
    if (e.sys == EACCES || e.sys == EPERM) {
        fputs("mta newaliases: only root and the owner of the queue may ask "
              "for a reload; the change is noticed by itself\n",
              stderr);
        return EX_OK;
    }
    fprintf(stderr, "mta newaliases: reload: %s\n", e.text);
    return EX_TEMPFAIL;
}

static int newaliases(int argc, char **argv)
{
    static const struct options_spec spec = { NULL, 0, 0, 0, false };
    struct local *local = NULL;
    struct options o;
    struct err e;
    int status;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    if (local_open(&local, &o.conf.local, &e) != 0) {
        fprintf(stderr, "mta newaliases: %s\n", e.text);
        status = e.kind == ERR_TEMP ? EX_TEMPFAIL : EX_DATAERR;
    } else {
        status = reload(&o.conf);
    }
    local_close(&local);
    options_done(&o);
    return status;
}

/* --- all of them ------------------------------------------------------- */

/* The status of the first address that is not all right. */
static int verify(const struct sendmail_options *o)
{
    static char route[] = "route", end[] = "--";
    int status = EX_OK;

    if (o->nargs == 0)
        return sendmail_fail(EX_USAGE, "no address to verify");
    for (int i = 0; i < o->nargs; i++) {
        char *words[] = { route, NULL, NULL, NULL };
        words[1] = o->args[i];
        if (o->args[i][0] == '-') {
            words[1] = end;
            words[2] = o->args[i];
        }
        int one = run(o, cmd_route, words);
        status = status == EX_OK ? one : status;
    }
    return status;
}

/* What -qI, -qR and -qS select, as mta queue flush has it. */
static int flush_queue(const struct sendmail_options *o)
{
    static char queue[] = "queue", verb[] = "flush", all[] = "--all",
                domain[] = "--domain", sender[] = "--sender";
    char *words[] = { queue, verb, all, NULL, NULL };
    char *text = (char *)(uintptr_t)o->queued_text;

    switch (o->queued) {
    case 'I': words[2] = text; break;
    case 'R': words[2] = domain; break;
    case 'S': words[2] = sender; break;
    default: return run(o, cmd_queue, words);
    }
    if (o->queued != 'I')
        words[3] = text;
    return run(o, cmd_queue, words);
}

int sendmail_other(const struct sendmail_options *o)
{
    static char mailq[] = "mailq", serve[] = "serve", aliases[] = "newaliases";
    char *queue_list[] = { mailq, NULL }, *server[] = { serve, NULL },
         *check[] = { aliases, NULL };

    switch (o->mode) {
    case SENDMAIL_LIST: return run(o, cmd_queue, queue_list);
    case SENDMAIL_VERIFY: return verify(o);
    case SENDMAIL_ALIASES: return run(o, newaliases, check);
    case SENDMAIL_DAEMON: return run(o, cmd_serve, server);
    case SENDMAIL_HELP: command_usage(stdout, command_find("sendmail")); break;
    case SENDMAIL_FLUSH: return flush_queue(o);
    case SENDMAIL_NOTHING:
    case SENDMAIL_SUBMIT:
    case SENDMAIL_SMTP: break;
    }
    return EX_OK;
}
