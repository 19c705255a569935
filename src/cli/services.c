#include "cli/services.h"

#include "base/os.h"
#include "base/sandbox.h"
#include "base/stop.h"
#include "base/title.h"
#include "cli/setup.h"
#include "cli/start_check.h"
#include "cli/supervise.h"
#include "deliver/deliver.h"
#include "deliver/master.h"
#include "log/collector.h"
#include "log/log.h"
#include "log/run.h"
#include "recipient/full_page.h"
#include "send/token.h"
#include "serve/master.h"
#include "signer/signer.h"
#include "spool/reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { LOOKS = 3 };

struct services {
    struct options *options;
    struct services_options with;
    struct setup now, next; /* next: checked, not yet adopted */
    bool has_next;
    bool log_due;    /* reopening the log file failed */
    bool looks;      /* for mail in local/ without a consumer, which ... */
    unsigned looked; /* ... has been there at so many looks */
    struct serve_tables tables;
    struct full_page *full;        /* what deliver reports to workers */
    unsigned masters;              /* started so far */
    struct signer_channel channel; /* with keys of DKIM, and a sender */
};

static int fail(const char *service, const struct err *e)
{
    fprintf(stderr, "mta %s: %s\n", service, e->text);
    return err_status(e);
}

/* --- the collector --------------------------------------------------- */

static struct log_collect collect_options(const struct services *s, int line)
{
    const struct conf *c = &s->now.conf;

    return (struct log_collect){ .queue_dir = c->queue_dir,
                                 .file = c->log.file,
                                 .fd = s->now.log_fd,
                                 .line = line,
                                 .linger_ms =
                                     (unsigned)stop_ms(c->stop_timeout, 2) };
}

static int run_log(void *ctx, int line)
{
    const struct services *s = ctx;
    const struct conf *c = &s->now.conf;
    const struct sandbox_paths files = { .queue_dir = c->queue_dir };
    struct log_collect o = collect_options(s, line);
    struct sandbox_report report;
    struct err e;

    title_set("log");
    if (os_drop_privileges(c->user, c->group, &e) != 0)
        return fail("log", &e);
    sandbox_enter(SANDBOX_COLLECTOR, &files, &report);
    o.sandbox = &report;
    log_style((enum log_level)c->log.level, (enum log_format)c->log.format);
    return log_collect(&o, &e) == 0 ? EX_OK : fail("log", &e);
}

/* Run the collector, unless another one holds the lock; that one serves this
 * process tree too. */
static int run_log_if_wanted(void *ctx, int line)
{
    const struct services *s = ctx;
    int status = run_log(ctx, line);

    return status == EX_TEMPFAIL && log_collector_alive(s->now.conf.queue_dir)
               ? EX_OK
               : status;
}

static bool log_wanted(void *ctx)
{
    const struct services *s = ctx;

    return !log_collector_alive(s->now.conf.queue_dir);
}

static int send_log(void *ctx, int line, struct err *e)
{
    const struct services *s = ctx;
    const struct conf *c = &s->now.conf;
    const struct log_collect o = collect_options(s, line);

    return log_hand_over(line, &o, (enum log_level)c->log.level,
                         (enum log_format)c->log.format, e);
}

/* --- server and sender ----------------------------------------------- */

/* Give each master its own rows of the table of clients, because workers of
 * earlier masters may still run. */
static int run_serve(void *ctx, int line)
{
    const struct services *s = ctx;
    const struct serve_options o = { .conf = &s->now.conf,
                                     .listen = s->now.listeners.item,
                                     .nlisten = s->now.listeners.n,
                                     .tables = &s->tables,
                                     .full = s->full,
                                     .master = s->masters % SERVE_MASTERS_MAX,
                                     .line = line };
    struct err e;

    title_set("serve master");
    return serve_run(&o, &e) == 0 ? EX_OK : fail("serve", &e);
}

static bool count_master(void *ctx)
{
    ((struct services *)ctx)->masters++;
    return true;
}

/* The exit status of a consumer of a queue, which returned rc. */
static int consumer_status(const char *service, int rc, bool once,
                           const struct err *e)
{
    if (rc < 0 && e->sys == EWOULDBLOCK) { /* distinguish it from "mail left" */
        fprintf(stderr, "mta %s: %s\n", service, e->text);
        return EX_UNAVAILABLE;
    }
    if (rc < 0)
        return fail(service, e);
    return rc > 0 && once ? EX_TEMPFAIL : EX_OK;
}

static int run_send(void *ctx, int line)
{
    struct services *s = ctx;
    struct send_options *o = &s->with.send;
    struct err e;

    title_set("sender");
    o->line = line;
    o->signer = s->channel.sender;
    int rc = send_run(&s->now.conf, o, &e);
    return consumer_status("send", rc, o->once || o->drain, &e);
}

static bool token_wanted(void *ctx)
{
    const struct conf *c = &((const struct services *)ctx)->now.conf;

    return c->send.relay_token.source == CONF_TOKEN_COMMAND;
}

static int run_token(void *ctx, int line)
{
    const struct services *s = ctx;
    struct err e;

    title_set("token");
    return token_run(&s->now.conf, line, &e) == 0 ? EX_OK : fail("token", &e);
}

static int run_signer(void *ctx, int line)
{
    const struct services *s = ctx;
    struct err e;

    title_set("signer");
    return signer_run(&s->now.conf, &s->channel, line, &e) == 0
               ? EX_OK
               : fail("signer", &e);
}

static bool signer_wanted(void *ctx)
{
    return ((const struct services *)ctx)->now.conf.dkim.keys.n > 0;
}

static bool signer_stuck(void *ctx)
{
    return signer_is_stuck(&((struct services *)ctx)->channel);
}

static int deliver(void *ctx, int line, const struct mailbox_progress *progress)
{
    const struct services *s = ctx;
    const struct deliver_options o = { .conf = &s->now.conf,
                                       .line = line,
                                       .once = s->with.deliver_once,
                                       .progress = progress,
                                       .full = s->full };
    struct err e;

    return consumer_status("deliver", deliver_run(&o, &e), o.once, &e);
}

static int run_deliver(void *ctx, int line)
{
    struct services *s = ctx;
    const struct deliver_master_options o = {
        .conf = &s->now.conf, .line = line, .deliver = deliver, .ctx = s
    };
    struct err e;

    title_set("deliver master");
    int status = deliver_master_run(&o, &e);
    return status >= 0 ? status : fail("deliver", &e);
}

static int send_files(void *ctx, int line, struct err *e)
{
    return handdown_send(((struct services *)ctx)->now.files, 0, line, e);
}

static int send_sender_files(void *ctx, int line, struct err *e)
{
    return handdown_send(((struct services *)ctx)->now.files, SETUP_FOR_SEND,
                         line, e);
}

static int send_server_files(void *ctx, int line, struct err *e)
{
    return handdown_send(((struct services *)ctx)->now.files, SETUP_FOR_SERVE,
                         line, e);
}

static int send_signer_files(void *ctx, int line, struct err *e)
{
    return handdown_send(((struct services *)ctx)->now.files, SETUP_FOR_SIGNER,
                         line, e);
}

/* --- for the supervisor ------------------------------------------------ */

static long long stop_timeout(void *ctx)
{
    return ((struct services *)ctx)->now.conf.stop_timeout;
}

/* Bits of the files with secrets that a service is for. */
static unsigned secrets_of(const struct service *service)
{
    return service->run == run_serve    ? SETUP_FOR_SERVE
           : service->run == run_signer ? SETUP_FOR_SIGNER
           : service->run == run_send   ? SETUP_FOR_SEND
                                        : 0;
}

static void in_child(void *ctx, const struct service *service)
{
    struct services *s = ctx;

    if (s->has_next) /* its sockets and log are not in use */
        setup_free(&s->next, &s->now, NULL);
    handdown_drop_others(s->now.files, secrets_of(service));
    signer_channel_keep(&s->channel, service->run == run_send,
                        service->run == run_signer);
    if (service->run != run_serve)
        listeners_close(&s->now.listeners, &s->now.conf, NULL, NULL);
    if (!service->last)
        setup_close_log(&s->now);
    if (service->run != run_send)
        conf_wipe(&s->now.conf);
}

static void before_stop(void *ctx)
{
    struct services *s = ctx;

    if (s->has_next)
        setup_free(&s->next, &s->now, NULL);
    s->has_next = false;
    listeners_close(&s->now.listeners, &s->now.conf, NULL, NULL);
}

static int as_user(void *ctx, struct err *e)
{
    return setup_as_user(&((struct services *)ctx)->now, e);
}

static void as_started(void *ctx)
{
    (void)ctx;
    setup_as_started();
}

static void reopen(void *ctx)
{
    struct services *s = ctx;
    struct err e;

    s->log_due = setup_open_log(&s->now, &e) != 0;
    if (s->log_due)
        fprintf(stderr, "mta: %s\n", e.text);
}

static int check(void *ctx, struct err *e)
{
    struct services *s = ctx;
    struct setup next;

    if (setup_reload(&next, s->options, &s->now, s->has_next ? &s->next : NULL,
                     e) != 0)
        return -1;
    if (s->has_next)
        setup_free(&s->next, &s->now, &next);
    s->has_next = false;
    if (setup_is_same(&s->now, &next) >= 0)
        return SUPERVISE_OTHERS; /* also for what is not in the files: a held
                                  * message is tried again */
    s->next = next;
    s->has_next = true;
    return SUPERVISE_NEXT;
}

/* Passwords and tokens, or what leads to them. */
static void keep_secrets(const struct services *s)
{
    const struct conf *c = &s->now.conf;

    if (c->send.relay_user[0] != '\0' || c->send.logins.n > 0)
        sandbox_no_core();
}

static bool adopt(void *ctx)
{
    struct services *s = ctx;
    const struct conf *a = &s->now.conf, *b = &s->next.conf;
    bool log_too = strcmp(a->log.file, b->log.file) != 0 ||
                   a->log.level != b->log.level ||
                   a->log.format != b->log.format;

    setup_adopt(&s->now, &s->next);
    keep_secrets(s);
    s->has_next = false;
    return log_too;
}

/* Attach to the log for this event alone: a permanent writer would keep the
 * collector from ending. */
static bool open_log(struct services *s)
{
    const struct conf *c = &s->now.conf;
    struct err e;

    if (as_user(s, &e) == 0 &&
        log_open(c->queue_dir, (enum log_level)c->log.level,
                 (enum log_format)c->log.format, &e) == 0)
        return true;
    fprintf(stderr, "mta: %s\n", e.text);
    return false;
}

static void close_log(struct services *s)
{
    log_close();
    as_started(s);
}

static void report(void *ctx, unsigned generation, const struct err *e)
{
    bool open = open_log(ctx);

    if (open && e != NULL)
        LOG(LOG_ERROR, "config.reload", LN("generation", generation),
            LS("error", e->text));
    else if (open)
        LOG(LOG_INFO, "config.reload", LN("generation", generation));
    close_log(ctx);
}

/* A sender alone leaves mail for local users to another service: warn once if
 * there is none.  Not at the first looks, because both may be starting. */
static void look_at_local(struct services *s)
{
    static const char text[] =
        "mail for local users waits and nothing delivers it: run mta deliver";
    struct err e;

    if (!s->looks || as_user(s, &e) != 0)
        return;
    bool alone = spool_is_unattended(s->now.conf.queue_dir, SPOOL_LOCAL);
    as_started(s);
    s->looked = alone ? s->looked + 1 : 0;
    if (s->looked < LOOKS)
        return;
    s->looks = false;
    fprintf(stderr, "mta: warning: %s\n", text);
    if (open_log(s))
        LOG(LOG_WARN, "queue.unattended", LS("queue", "local"),
            LS("error", text));
    close_log(s);
}

static int watch(void *ctx, struct err *e)
{
    struct services *s = ctx;
    int changed = 0;

    look_at_local(s);
    if (s->log_due && setup_open_log(&s->now, e) == 0) {
        s->log_due = false;
        changed = SUPERVISE_LAST;
    }
    int rc = setup_watch(&s->now, e);
    return rc < 0 ? -1 : changed | (rc > 0 ? SUPERVISE_OTHERS : 0);
}

/* --- start ------------------------------------------------------------- */

static size_t choose(struct service list[SUPERVISE_MAX], unsigned services,
                     const struct services_options *with)
{
    size_t n = 0;

    if (services & SERVICE_LOG)
        list[n++] = (struct service){ .name = "log",
                                      .run = run_log_if_wanted,
                                      .wanted = log_wanted,
                                      .send = send_log,
                                      .last = true };
    if (services & SERVICE_LOG_ONLY)
        list[n++] = (struct service){
            .name = "log", .run = run_log, .send = send_log, .last = true
        };
    if (services & SERVICE_SERVE)
        list[n++] = (struct service){ .name = "serve",
                                      .run = run_serve,
                                      .wanted = count_master,
                                      .send = send_server_files,
                                      .drain = SERVE_DRAIN };
    if (services & SERVICE_DELIVER)
        list[n++] = (struct service){ .name = "deliver",
                                      .run = run_deliver,
                                      .send = send_files,
                                      .ends = with->deliver_once };
    if (services & SERVICE_SEND)
        list[n++] = (struct service){ .name = "token",
                                      .run = run_token,
                                      .wanted = token_wanted,
                                      .serves = "send" };
    if (services & SERVICE_SEND)
        list[n++] =
            (struct service){ .name = "send",
                              .run = run_send,
                              .send = send_sender_files,
                              .ends = with->send.once || with->send.drain };
    if (services & SERVICE_SEND)
        list[n++] = (struct service){ .name = "signer",
                                      .run = run_signer,
                                      .wanted = signer_wanted,
                                      .send = send_signer_files,
                                      .stuck = signer_stuck };
    return n;
}

static int open_all(struct services *s, unsigned services, struct err *e)
{
    bool serves = (services & SERVICE_SERVE) != 0;

    unsigned consumes =
        ((services & SERVICE_DELIVER) != 0 ? 1u << SPOOL_LOCAL : 0) |
        ((services & SERVICE_SEND) != 0 ? 1u << SPOOL_REMOTE : 0);

    if (setup_start(&s->now, s->options, serves, consumes, e) != 0 ||
        full_page_new(&s->full, e) != 0 ||
        ((services & SERVICE_SEND) != 0 &&
         signer_channel_open(&s->channel, e) != 0))
        return -1;
    return serves ? serve_tables_new(&s->tables, e) : 0;
}

int services_run(struct options *o, unsigned services,
                 const struct services_options *with)
{
    static struct services s; /* static: the children use it, too */
    struct service list[SUPERVISE_MAX];
    struct supervise plan = { .service = list,
                              .ctx = &s,
                              .stop_timeout = stop_timeout,
                              .in_child = in_child,
                              .before_stop = before_stop,
                              .reopen = reopen,
                              .check = check,
                              .adopt = adopt,
                              .watch = watch,
                              .report = report,
                              .as_user = as_user,
                              .as_started = as_started };
    struct err e;
    int status;

    s.options = o;
    s.channel = (struct signer_channel){ .sender = -1, .signer = -1 };
    if (with != NULL)
        s.with = *with;
    plan.n = choose(list, services, &s.with);
    if (supervise_signals(&e) != 0 || open_all(&s, services, &e) != 0) {
        status = consumer_status(o->command, -1, false, &e);
    } else {
        plan.queue_dir = s.now.conf.queue_dir;
        keep_secrets(&s);
        (void)sandbox_no_new_privileges(); /* processes report it */
        s.looks = (services & SERVICE_SEND) && !(services & SERVICE_DELIVER);
        if (s.with.send.once || s.with.send.drain) { /* it ends soon */
            s.looked = LOOKS;
            look_at_local(&s);
        }
        status = supervise(&plan);
    }
    setup_free(&s.now, NULL, NULL);
    serve_tables_free(&s.tables);
    full_page_free(&s.full);
    signer_channel_close(&s.channel);
    options_done(o);
    return status;
}
