/* queue.c - `mta queue`: show the queue on disk, with or without a daemon. */
#include "cli/queue.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "control/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { LIST_BUFFER = 256 * 1024 };

struct search {
    const struct queue_style *style;
    struct msg_id id;
    bool any, body; /* any: all messages; body: print the text */
    uint64_t found, octets;
    struct err *e;
};

static int put_body(const struct spool_reader *v, struct err *e)
{
    struct body_cursor c = { 0 };
    struct body b;
    char piece[64 * 1024];
    ssize_t n;

    if (spool_reader_body(v, &b, e) != 0)
        return -1;
    while ((n = body_next(&b, &c, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EBADMSG)
            return err_set(e, ERR_PERM, 0, "message damaged on disk");
        if (n < 0)
            return err_set(e, ERR_TEMP, errno, "read the message");
        if (fwrite(piece, 1, (size_t)n, stdout) != (size_t)n)
            return err_set(e, ERR_TEMP, 0, "write to standard output");
    }
    return 0;
}

static int visit(void *ctx, const struct spool_reader *v)
{
    struct search *s = ctx;

    if (!s->any && !msg_id_eq(v->rec->id, s->id))
        return 0;
    s->found++;
    s->octets += v->rec->body_size + v->rec->front;
    if (s->body)
        return put_body(v, s->e) == 0 ? 1 : -1;
    if (queue_print(v, s->style, s->e) != 0)
        return -1;
    return 0; /* there may be other parts of it */
}

static struct queue_style style_of(const struct options *o)
{
    return (struct queue_style){ .out = stdout,
                                 .json = o->json,
                                 .lifetime = o->conf.send.queue_lifetime,
                                 .colour = isatty(STDOUT_FILENO) &&
                                           getenv("NO_COLOR") == NULL };
}

/* Without a running sender the result is NULL and no error: the slots hold all
 * but what is under way. */
static struct queue_live *ask_sender(const struct options *o,
                                     const char *command)
{
    struct queue_live *live = queue_live_new(&o->conf);
    struct control_ask ask = { .queue_dir = o->conf.queue_dir,
                               .name = "send",
                               .command = command,
                               .fn = queue_live_line,
                               .ctx = live };
    struct err e = { ERR_TEMP, ENOMEM, "no memory for its answer" };

    if (live != NULL && control_ask(&ask, &e) == 0)
        return live;
    queue_live_free(&live);
    if (e.sys != ENOENT && e.sys != ECONNREFUSED)
        fprintf(stderr,
                "mta queue: the sender does not answer (%s): what it is doing "
                "is not shown\n",
                e.text);
    return NULL;
}

static int say(const struct err *e)
{
    fprintf(stderr, "mta queue: %s\n", e->text);
    return e->sys == 0 ? EX_SOFTWARE : EX_OSFILE;
}

static int list(const struct options *o)
{
    struct err e = { ERR_NONE, 0, "" };
    struct queue_style style = style_of(o);
    struct search s = { .style = &style, .any = true, .e = &e };

    if (!isatty(STDOUT_FILENO)) /* a long list: few writes */
        (void)setvbuf(stdout, NULL, _IOFBF, LIST_BUFFER);
    style.live = ask_sender(o, "list");
    int rc = spool_read_all(o->conf.queue_dir, false, visit, &s, &e);
    queue_live_free(&style.live);
    if (rc < 0)
        return say(&e);
    if (!o->json && s.found == 0)
        puts("The queue is empty.");
    else if (!o->json)
        printf("%" PRIu64 " message%s, %" PRIu64 " octets.\n", s.found,
               s.found == 1 ? "" : "s", s.octets);
    return EX_OK;
}

static int one(const struct options *o, bool body)
{
    struct err e = { ERR_NONE, 0, "" };
    struct queue_style style = style_of(o);
    struct search s = { .style = &style, .body = body, .e = &e };
    char command[MSG_ID_TEXT + sizeof "show "];

    style.all_recipients = true;
    if (!msg_id_parse(&s.id, span_of(o->args[1]))) {
        fprintf(stderr, "mta queue: '%s' is not a message id\n", o->args[1]);
        return EX_USAGE;
    }
    snprintf(command, sizeof command, "show %s", o->args[1]);
    if (!body)
        style.live = ask_sender(o, command);
    int rc = spool_read_all(o->conf.queue_dir, true, visit, &s, &e);
    queue_live_free(&style.live);
    if (rc < 0)
        return say(&e);
    if (s.found > 0)
        return EX_OK;
    fprintf(stderr,
            "mta queue: no message %s in the queue; "
            "'mta log --id %s' tells what became of it\n",
            o->args[1], o->args[1]);
    return EX_NOINPUT;
}

int cmd_queue(int argc, char **argv)
{
    static const struct option flags[] = {
        OPTION_SETTING("--queue-dir", "queue_dir"),
    };
    static const struct options_spec spec = { flags, 1, 0, -1, false };
    struct options o;
    int status = EX_USAGE;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    const char *verb = o.nargs > 0 ? o.args[0] : "list";
    if (strcmp(verb, "list") == 0 && o.nargs <= 1)
        status = list(&o);
    else if (strcmp(verb, "show") == 0 && o.nargs == 2)
        status = one(&o, false);
    else if (strcmp(verb, "cat") == 0 && o.nargs == 2)
        status = one(&o, true);
    else if (command_unbuilt("queue", verb))
        fprintf(stderr, "mta queue: '%s' is not in this version\n", verb);
    else
        fputs("usage: mta queue list | show ID | cat ID\n", stderr);
    options_done(&o);
    return status;
}
