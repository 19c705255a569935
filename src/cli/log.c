/* log.c - `mta log`: collect lines, or look into those of the files. */
#include "cli/commands.h"
#include "cli/log_story.h"
#include "cli/options.h"
#include "cli/services.h"

#include "base/clock.h"
#include "config/value.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct look {
    struct log_filter filter;
    bool follow, raw;
    const char *since, *until;
};

/* A moment, or how long ago. */
static bool take_time(uint64_t *out, const char *flag, const char *text)
{
    long long ago;
    struct err e;

    if (text == NULL || clock_parse(out, text))
        return true;
    if (conf_parse_time(span_of(text), &ago, &e) == 0) {
        *out = clock_wall_us() - (uint64_t)ago * 1000000u;
        return true;
    }
    fprintf(stderr,
            "mta log: %s '%s' is neither a time (2026-01-31T10:00:00Z, "
            "2026-01-31) nor so long ago (30m, 2h, 5d)\n",
            flag, text);
    return false;
}

static bool take_event(const char *name)
{
    const char *near;

    if (name == NULL || log_event_known(name, &near))
        return true;
    fprintf(stderr, "mta log: no event '%s'%s%s%s\n", name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : " (a name is as send.deferred)");
    return false;
}

static bool check(struct look *l)
{
    if (l->follow && l->until != NULL) {
        fputs("mta log: -f waits for what comes, --until ends before it: use "
              "one of them\n",
              stderr);
        return false;
    }
    return take_time(&l->filter.since, "--since", l->since) &&
           take_time(&l->filter.until, "--until", l->until) &&
           take_event(l->filter.event);
}

static void report_left_out(void *ctx, const char *file)
{
    (void)ctx;
    fprintf(stderr,
            "mta log: %s is compressed and left out: zcat %s | mta log "
            "--log-file /dev/stdin ... looks into it\n",
            file, file);
}

/* Only the id: the story of the message. */
static bool is_story(const struct look *l)
{
    const struct log_filter *f = &l->filter;

    return f->id != NULL && f->sid == NULL && f->address == NULL &&
           f->event == NULL && f->since == 0 && f->until == 0 && !l->follow &&
           !l->raw;
}

/* A pipe can be read but once. */
static bool is_pipe(const char *file)
{
    return strncmp(file, "/dev/", 5) == 0;
}

static int show(const struct conf *c, const struct look *l)
{
    const struct log_show s = { .file = c->log.file,
                                .filter = l->filter,
                                .follow = l->follow,
                                .rotated = log_filter_is_set(&l->filter) &&
                                           !is_pipe(c->log.file),
                                .left_out = report_left_out };
    struct err e;

    if (strcmp(c->log.file, "-") == 0) {
        fputs("mta log: log.file is \"-\", standard output: set it to a file, "
              "or pipe in what your service manager keeps: journalctl -u mta "
              "-o cat | mta log --log-file /dev/stdin ...\n",
              stderr);
        return EX_CONFIG;
    }
    bool story = is_story(l) && !is_pipe(c->log.file);
    int rc = story ? log_story(&s, &e) : log_show(&s, &e);
    if (rc < 0) {
        fprintf(stderr, "mta log: %s%s\n", e.text,
                e.sys == ENOENT ? "; log.file or --log-file name another" : "");
        return e.kind == ERR_USAGE ? EX_NOINPUT : EX_IOERR;
    }
    if (!story || rc > 0)
        return EX_OK;
    fprintf(stderr,
            "mta log: no line of message %s in %s; 'mta queue show %s' has what"
            " the history keeps\n",
            l->filter.id, c->log.file, l->filter.id);
    return EX_NOINPUT;
}

int cmd_log(int argc, char **argv)
{
    struct look l = { .follow = false };
    const struct option flags[] = { OPTION_ON("-f", &l.follow),
                                    OPTION_ON("--raw", &l.raw),
                                    OPTION_TEXT("--id", &l.filter.id),
                                    OPTION_TEXT("--sid", &l.filter.sid),
                                    OPTION_TEXT("--address", &l.filter.address),
                                    OPTION_TEXT("--event", &l.filter.event),
                                    OPTION_TEXT("--since", &l.since),
                                    OPTION_TEXT("--until", &l.until),
                                    OPTION_SETTING("--queue-dir", "queue_dir"),
                                    OPTION_SETTING("--log-file", "log.file") };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, false };
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    int status = EX_USAGE;
    if (!check(&l))
        options_done(&o);
    else if (l.follow || l.raw || log_filter_is_set(&l.filter)) {
        status = show(&o.conf, &l);
        options_done(&o);
    } else {
        if (isatty(STDIN_FILENO))
            fputs("mta log: collecting the lines of all processes; 'mta log "
                  "-f' shows them\n",
                  stderr);
        status = services_run(&o, SERVICE_LOG_ONLY, NULL);
    }
    return status;
}
