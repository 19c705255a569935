/* sendmail.c - `mta sendmail`: submit a message as programs expect it from
 * sendmail(8).
 *
 * Exit status 0 means that the message is in the queue, on the disk, and
 * nothing else does. */
#include "cli/sendmail.h"

#include "base/clock.h"
#include "base/os.h"
#include "cli/commands.h"
#include "smtp/dsn.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    WAIT_MS = 60 * 1000, /* a user has all connections that it may have */
    PAUSE_US = 50 * 1000,
    PAUSE_MAX_US = 1000 * 1000,
    LOST_MAX = 3 /* connections that broke, before it is given up */
};

/* --- settings ---------------------------------------------------------- */

/* A caller may have no right to read the configuration, which may hold secrets,
 * and it may be broken just now: the socket of a server may be where it usually
 * is. *e then has what is wrong. */
static int load(struct conf *c, const char *file, struct err *e)
{
    /* Its default would be measured, at the cost of all the rest. */
    static const struct conf_override memory = { "serve.body_memory", "64M",
                                                 "sendmail" };
    struct conf_source from = { .file = file, .over = &memory, .nover = 1 };
    struct err again;

    *e = (struct err){ ERR_NONE, 0, "" };
    if (conf_load(c, &from, e) == 0)
        return 0;
    if (file != NULL)
        return -1;
    from.file = "/dev/null";
    return conf_load(c, &from, &again);
}

/* --- the message ------------------------------------------------------- */

static int check_dsn(const struct sendmail_options *o)
{
    const char *why;
    unsigned bits;

    if (o->notify != NULL &&
        (why = smtp_dsn_check_notify(span_of(o->notify), &bits)) != NULL)
        return sendmail_fail(EX_USAGE, "-N %s: %s", o->notify, why);
    if (o->ret != NULL && (why = smtp_dsn_check_ret(span_of(o->ret))) != NULL)
        return sendmail_fail(EX_USAGE, "-R %s: %s", o->ret, why);
    if (o->envid != NULL && strlen(o->envid) > SMTP_ENVID_MAX / 3)
        return sendmail_fail(EX_USAGE, "-V: longer than %d characters",
                             SMTP_ENVID_MAX / 3);
    return EX_OK;
}

static int take_field(void *ctx, struct span value)
{
    return sendmail_add(ctx, value);
}

/* Recipients of arguments come beside those of the text, as Postfix has it. */
static int collect(struct sendmail_job *j)
{
    const struct sendmail_options *o = j->o;
    int status = check_dsn(o);

    if (status == EX_OK)
        status = sendmail_sender(j);
    for (int i = 0; i < o->nargs && status == EX_OK; i++)
        status = sendmail_add(j, span_of(o->args[i]));
    if (status == EX_OK && !o->from_text && j->nrcpt == 0)
        status = j->status != EX_OK
                     ? j->status
                     : sendmail_fail(EX_DATAERR,
                                     "no recipients: name them on the command "
                                     "line, or use -t");
    if (status == EX_OK)
        status = sendmail_text_read(&j->text, o->dots, j->max_size);
    if (status == EX_OK)
        status =
            sendmail_text_header(&j->text, o->from_text ? take_field : NULL, j);
    if (status == EX_OK && j->nrcpt == 0)
        status = j->status != EX_OK
                     ? j->status
                     : sendmail_fail(EX_DATAERR,
                                     "no recipient addresses found in message "
                                     "header");
    if (status == EX_OK)
        sendmail_complete(j);
    return status;
}

static void job_free(struct sendmail_job *j)
{
    struct list *l;

    while ((l = list_pop(&j->rcpts)) != NULL)
        free(LIST_ENTRY(l, struct sendmail_rcpt, link));
    map_done(&j->by_address);
    sendmail_text_free(&j->text);
}

/* --- the ways into the queue ------------------------------------------- */

static int no_way(const struct conf *c, const struct err *e,
                  const struct err *settings)
{
    const struct passwd *pw = getpwuid(geteuid());

    if (settings->kind != ERR_NONE)
        return sendmail_fail(EX_CONFIG, "%s", settings->text);
    return sendmail_fail(EX_TEMPFAIL,
                         "mail system is down: %s; %s may not write to the "
                         "queue %s: start it with mta run",
                         e->text, pw != NULL ? pw->pw_name : "this user",
                         c->queue_dir);
}

static int not_known(void)
{
    return sendmail_fail(EX_TEMPFAIL, "no answer to the end of the message: it "
                                      "may have been accepted");
}

static int send_directly(const struct sendmail_job *j)
{
    int fd, status;
    struct err e;

    if ((fd = sendmail_serve(j->conf, &e)) < 0)
        return sendmail_fail(EX_TEMPFAIL, "%s", e.text);
    enum sendmail_end end = sendmail_smtp(j, fd, &status);
    while (wait(NULL) < 0 && errno == EINTR)
        ;
    if (end == SENDMAIL_SENT)
        return status;
    return end == SENDMAIL_UNKNOWN
               ? not_known()
               : sendmail_fail(EX_TEMPFAIL, "the message is not in the queue");
}

struct attempt {
    unsigned lost;
    uint64_t busy_until, away_until; /* 0: it was not */
    long pause;
};

/* Is there another try?  A server that is started again is away for at most as
 * long as its stop may take. */
static bool again(struct attempt *a, enum sendmail_end end,
                  const struct conf *c)
{
    uint64_t now = clock_mono_ms(), ms = WAIT_MS;
    uint64_t *until = end == SENDMAIL_BUSY ? &a->busy_until : &a->away_until;

    if (end == SENDMAIL_LOST)
        return ++a->lost < LOST_MAX;
    if (end == SENDMAIL_AWAY && c->stop_timeout < WAIT_MS / 1000)
        ms = (uint64_t)c->stop_timeout * 1000;
    if (*until == 0) {
        *until = now + ms;
        a->pause = PAUSE_US;
    }
    os_pause(a->pause);
    a->pause = 2 * a->pause < PAUSE_MAX_US ? 2 * a->pause : PAUSE_MAX_US;
    return now < *until;
}

static bool may_directly(const struct conf *c, const struct err *settings)
{
    return settings->kind == ERR_NONE && sendmail_may_write(c);
}

/* Nothing is tried again once the final dot was sent: it may be there. */
static int submit_job(const struct sendmail_job *j, const struct err *settings)
{
    struct attempt a = { .lost = 0 };
    enum sendmail_end end;
    int status;
    struct err e;

    do {
        int fd = sendmail_connect(j->conf, &e);
        end = fd >= 0 ? sendmail_smtp(j, fd, &status) : SENDMAIL_AWAY;
        if (end == SENDMAIL_SENT)
            return status;
        if (end == SENDMAIL_UNKNOWN)
            return not_known();
        if (end != SENDMAIL_AWAY)
            err_set(&e, ERR_TEMP, 0, "the server closes the connection");
        else if (may_directly(j->conf, settings) ||
                 (e.sys != ENOENT && e.sys != ECONNREFUSED))
            break;
    } while (again(&a, end, j->conf));
    if (end == SENDMAIL_BUSY)
        return sendmail_fail(EX_TEMPFAIL, "too many connections");
    return may_directly(j->conf, settings) ? send_directly(j)
                                           : no_way(j->conf, &e, settings);
}

/* Without the settings the server knows better: names and limits are left to
 * it. */
static void take_settings(struct sendmail_job *j, const struct conf *c,
                          bool known)
{
    bool named = strcmp(conf_place(c, "hostname"), "default") != 0;

    j->conf = c;
    j->hostname = known || named ? c->hostname : "";
    j->max_size = known ? (uint64_t)c->serve.max_message_size : UINT64_MAX;
    j->max_rcpts = known ? (unsigned)c->serve.max_recipients : UINT16_MAX;
}

static int submit(const struct sendmail_options *o, const struct conf *c,
                  const struct err *settings)
{
    struct sendmail_job *j = calloc(1, sizeof *j);
    int status = EX_TEMPFAIL;

    if (j == NULL)
        return sendmail_fail(EX_TEMPFAIL, "no memory");
    j->o = o;
    take_settings(j, c, settings->kind == ERR_NONE);
    j->text.file = -1;
    list_init(&j->rcpts);
    buf_init(&j->fields, j->fields_room, sizeof j->fields_room);
    if (map_init(&j->by_address, 64) != 0)
        sendmail_fail(EX_TEMPFAIL, "no memory");
    else if ((status = collect(j)) == EX_OK &&
             (status = submit_job(j, settings)) == EX_OK)
        status = j->status;
    job_free(j);
    free(j);
    return status;
}

/* SMTP on standard input and output. */
static int speak(const struct conf *c, const struct err *settings)
{
    struct err e;
    int fd = sendmail_connect(c, &e);

    if (fd < 0 && !may_directly(c, settings))
        return no_way(c, &e, settings);
    if (fd < 0 && (fd = sendmail_serve(c, &e)) < 0)
        return sendmail_fail(EX_TEMPFAIL, "%s", e.text);
    int status = sendmail_relay(fd);
    while (wait(NULL) < 0 && errno == EINTR)
        ;
    return status;
}

/* A caller may have closed them: no file that is opened later takes the place
 * of standard input, output or error. */
static int hold_places(void)
{
    int fd;

    do
        fd = open("/dev/null", O_WRONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return sendmail_fail(EX_OSERR, "open /dev/null: %s", strerror(errno));
    close(fd);
    return EX_OK;
}

int cmd_sendmail(int argc, char **argv)
{
    struct sendmail_options o;
    struct err settings;
    struct conf c;

    int status = hold_places();
    if (status == EX_OK)
        status = sendmail_options(&o, argc, argv);
    if (status != EX_OK)
        return status;
    if (strcmp(os_base_name(argv[0]), "newaliases") == 0)
        o.mode = SENDMAIL_ALIASES;
    if (o.mode != SENDMAIL_SUBMIT && o.mode != SENDMAIL_SMTP)
        return sendmail_other(&o);
    /* A message on a closed standard error, and a limit of the caller's, end
     * nothing half-way. */
    os_signal(SIGPIPE, SIG_IGN);
    os_signal(SIGXFSZ, SIG_IGN);
    if (load(&c, o.config, &settings) != 0)
        return sendmail_fail(EX_CONFIG, "%s", settings.text);
    status = o.mode == SENDMAIL_SMTP ? speak(&c, &settings)
                                     : submit(&o, &c, &settings);
    conf_free(&c);
    return status;
}
