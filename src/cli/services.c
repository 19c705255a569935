#include "cli/services.h"

#include "base/os.h"
#include "log/collector.h"
#include "log/log.h"
#include "serve/master.h"
#include "spool/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int fail(const char *service, const struct err *e)
{
    fprintf(stderr, "mta %s: %s\n", service, e->text);
    return e->kind == ERR_USAGE  ? EX_CONFIG
           : e->kind == ERR_PERM ? EX_NOPERM
           : e->kind == ERR_TEMP ? EX_TEMPFAIL
                                 : EX_SOFTWARE;
}

/* --- the collector --------------------------------------------------- */

/* As root, make the file while we may, for the user we are about to be. */
static void prepare_log_file(const struct conf *c)
{
    uid_t uid;
    gid_t gid;
    struct err e;

    if (geteuid() != 0 || strcmp(c->log.file, "-") == 0 ||
        os_find_ids(c->user, c->group, &uid, &gid, &e) != 0)
        return;
    int fd = open(c->log.file,
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return; /* the collector will say why */
    (void)!fchown(fd, uid, gid);
    close(fd);
}

int services_prepare_log(const struct conf *c, struct err *e)
{
    prepare_log_file(c);
    if (os_drop_privileges(c->user, c->group, e) != 0)
        return -1;
    log_style((enum log_level)c->log.level, (enum log_format)c->log.format);
    return 0;
}

static int run_log(void *ctx)
{
    const struct conf *c = &((struct services *)ctx)->options->conf;
    struct err e;

    if (services_prepare_log(c, &e) != 0)
        return fail("log", &e);
    if (log_collect(c->queue_dir, c->log.file, &e) == 0)
        return EX_OK;
    /* Somebody else's collector was quicker: that one serves us too. */
    return e.sys == EWOULDBLOCK ? EX_OK : fail("log", &e);
}

static bool log_wanted(void *ctx)
{
    const struct conf *c = &((struct services *)ctx)->options->conf;

    return !log_collector_alive(c->queue_dir);
}

/* For services that are started from now on, as the sender is after SIGHUP.
 * The server reads them by itself. */
static void reload_settings(void *ctx)
{
    const struct services *s = ctx;
    struct options *o = s->options;
    struct conf next;
    struct err e;

    if (options_reload(o, &next, &e) != 0) {
        fprintf(stderr, "mta %s: the settings stay as they were: %s\n",
                s->command, e.text);
        return;
    }
    conf_free(&o->conf);
    o->conf = next;
}

struct service service_log(struct services *s)
{
    return (struct service){ .name = "log",
                             .run = run_log,
                             .ctx = s,
                             .wanted = log_wanted,
                             .reload = reload_settings,
                             .last = true };
}

/* --- server and sender ----------------------------------------------- */

static int run_serve(void *ctx)
{
    struct services *s = ctx;
    struct err e;

    return serve_run(&s->options->conf, options_reload, s->options, &e) == 0
               ? EX_OK
               : fail("serve", &e);
}

struct service service_serve(struct services *s)
{
    return (struct service){ .name = "serve", .run = run_serve, .ctx = s };
}

static int run_send(void *ctx)
{
    struct services *s = ctx;
    struct err e;
    int rc = send_run(&s->options->conf, &s->send, &e);

    if (rc < 0 && e.sys == EWOULDBLOCK) { /* not to be taken for "mail left" */
        fprintf(stderr, "mta send: %s\n", e.text);
        return EX_UNAVAILABLE;
    }
    if (rc < 0)
        return fail("send", &e);
    return rc > 0 && (s->send.once || s->send.drain) ? EX_TEMPFAIL : EX_OK;
}

struct service service_send(struct services *s)
{
    return (struct service){ .name = "send",
                             .run = run_send,
                             .ctx = s,
                             .ends = s->send.once || s->send.drain };
}

static int may_become(const struct conf *c, uid_t uid, struct err *e)
{
    if (uid == (uid_t)-1 || geteuid() == 0 || geteuid() == uid)
        return 0;
    return err_set(e, ERR_PERM, 0, "only root can start as user %s", c->user);
}

int services_run(struct services *s, const struct service *list, size_t n)
{
    const struct conf *c = &s->options->conf;
    struct err e;
    uid_t uid;
    gid_t gid;
    int status;

    if (os_find_ids(c->user, c->group, &uid, &gid, &e) != 0 ||
        may_become(c, uid, &e) != 0 ||
        spool_dirs_make(c->queue_dir, uid, gid, &e) != 0)
        status = fail(s->command, &e);
    else
        status = supervise(list, n);
    options_done(s->options);
    return status;
}
