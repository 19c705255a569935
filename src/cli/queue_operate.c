/* queue_operate.c - hold, release, retry, delete and flush mail of the queue:
 * through its consumers, or instead of them when none runs. */
#include "cli/queue_operate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"
#include "cli/queue.h"
#include "cli/queue_live.h"
#include "control/client.h"
#include "log/log.h"
#include "net/loop.h"
#include "queue/handover.h"
#include "queue/operate.h"
#include "queue/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { SHOW_AFTER_MS = 200, COMMAND_MAX = 480, PATIENCE = 5 };

static const struct verb {
    const char *word, *done, *would;
} verbs[] = { { "hold", "held", "hold" },
              { "release", "released", "release" },
              { "retry", "due now", "be due" },
              { "delete", "deleted", "delete" },
              { "flush", "due now", "be due" } };
enum { NVERBS = sizeof verbs / sizeof verbs[0] };

struct operating {
    const struct options *o;
    const struct queue_operate_flags *f;
    const struct verb *verb;
    uint64_t before;          /* recipients of earlier answers */
    uint64_t rcpts, messages; /* that it was for */
    uint64_t began;           /* ms */
    uint64_t failed;          /* that stay as they are */
    bool shown, incomplete;   /* shown: a line of progress */
    int next_id;              /* of the operands */
};

/* --- the command ---------------------------------------------------------- */
static const struct verb *find_verb(const char *word)
{
    for (size_t i = 0; i < NVERBS; i++)
        if (strcmp(verbs[i].word, word) == 0)
            return &verbs[i];
    return NULL;
}

/* Ids, as many as a command takes.  False: all had their turn. */
static bool add_ids(struct operating *p, struct buf *b)
{
    int n = 0;

    if (p->o->nargs == 1)
        return p->next_id++ == 1;
    for (; p->next_id < p->o->nargs && n < QUEUE_SELECT_IDS; n++)
        buf_addf(b, "%s%s", n == 0 ? " id " : ",", p->o->args[p->next_id++]);
    return n > 0;
}

/* The next command; false: that was the last. */
static bool next_command(struct operating *p, char out[COMMAND_MAX])
{
    const struct queue_operate_flags *f = p->f;
    struct buf b;

    buf_init(&b, out, COMMAND_MAX);
    buf_adds(&b, p->verb->word);
    if (f->dry_run)
        buf_adds(&b, " dry-run");
    if (!add_ids(p, &b))
        return false;
    if (f->domain != NULL)
        buf_addf(&b, " domain %s", f->domain);
    if (f->sender != NULL)
        buf_addf(&b, " sender %s", f->sender);
    if (p->o->nargs == 1 && f->domain == NULL && f->sender == NULL)
        buf_adds(&b, " all");
    return true;
}

__attribute__((format(printf, 1, 2))) static int misuse(const char *fmt, ...)
{
    va_list ap;

    fputs("mta queue: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return EX_USAGE;
}

/* Before anything changes. */
static int check(struct operating *p)
{
    const struct queue_operate_flags *f = p->f;
    struct queue_operation op;
    char command[COMMAND_MAX];
    struct msg_id id;
    struct err e;
    bool some = p->o->nargs > 1 || f->domain != NULL || f->sender != NULL;

    if (f->all && some)
        return misuse("--all goes with no id, --domain or --sender");
    if (!some && !f->all && strcmp(p->verb->word, "flush") != 0)
        return misuse("'%s' needs ids, --domain, --sender, or --all",
                      p->verb->word);
    for (int i = 1; i < p->o->nargs; i++)
        if (!msg_id_parse(&id, span_of(p->o->args[i])))
            return misuse("'%.40s' is not a message id", p->o->args[i]);
    p->next_id = 1;
    if (next_command(p, command) && operate_parse(&op, command, &e) != 0)
        return misuse("%s", e.text);
    return 0;
}

/* --- progress ------------------------------------------------------------- */
static void show_progress(struct operating *p, uint64_t n)
{
    if (p->f->dry_run || !isatty(STDERR_FILENO) ||
        clock_mono_ms() - p->began < SHOW_AFTER_MS)
        return;
    p->shown = true;
    fprintf(stderr, "\r%s: %" PRIu64 " recipients", p->verb->word,
            p->before + n);
}

static void end_progress(const struct operating *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
}

/* --- through the consumer ------------------------------------------------- */
static bool number(struct span *rest, unsigned long long *n)
{
    size_t len = span_find(*rest, ' ');
    struct span word = { rest->p, len };

    len += len < rest->n;
    rest->p += len;
    rest->n -= len;
    return span_u64(word, UINT64_MAX, n);
}

/* A word in front of the rest, which it is taken off. */
static bool begins(struct span *rest, const char *word)
{
    size_t n = strlen(word);

    if (!span_starts_nocase(*rest, word))
        return false;
    rest->p += n;
    rest->n -= n;
    return true;
}

static int on_line(void *ctx, struct span line)
{
    struct operating *p = ctx;
    struct span rest = line;
    unsigned long long n, messages;

    if (begins(&rest, "progress ")) {
        if (number(&rest, &n))
            show_progress(p, n);
    } else if (begins(&rest, "failed ")) {
        if (number(&rest, &n))
            p->failed += n;
    } else if (begins(&rest, "matched ")) {
        if (!number(&rest, &n) || !begins(&rest, "recipients ") ||
            !number(&rest, &messages))
            return 0;
        p->rcpts += n;
        p->before += n;
        p->messages += messages;
        p->incomplete |= span_is(rest, "messages incomplete");
    }
    return 0;
}

/* 0; 1: no consumer runs; -1 with *e. */
static int ask(struct operating *p, enum spool_name name, struct err *e)
{
    char command[COMMAND_MAX];
    struct control_ask a = { .queue_dir = p->o->conf.queue_dir,
                             .name = queue_consumer(name),
                             .command = command,
                             .fn = on_line,
                             .ctx = p,
                             .patience = PATIENCE };

    p->next_id = 1;
    while (next_command(p, command)) {
        if (control_ask(&a, e) == 0)
            continue;
        if (e->sys == EAGAIN)
            err_set(e, ERR_TEMP, 0,
                    "the process of run/%s.sock does not answer; what it has "
                    "done stays",
                    a.name);
        return e->sys == ENOENT || e->sys == ECONNREFUSED ? 1 : -1;
    }
    return 0;
}

/* --- without one ---------------------------------------------------------- */
static void *place(struct queue *q, struct span sender, struct span address)
{
    (void)sender;
    (void)address;
    return q;
}

static void release(struct queue *q, void *of)
{
    (void)q;
    (void)of;
}

static struct list due_now;

static void due(struct queue *q, struct rcpt *r)
{
    (void)q;
    r->state = RCPT_DUE;
    list_push(&due_now, &r->link);
}

static bool take(struct queue *q, struct rcpt *r)
{
    (void)q;
    list_remove(&r->link);
    return true;
}

/* Nothing is offered to anybody, so nothing comes back. */
static const struct queue_owner owner = {
    .place = place, .release = release, .due = due, .take = take
};
static const struct queue_events events = {
    "queue.operation", "queue.operation", "queue.operation", "queue.operation"
};

static int carry_out(struct operating *p, struct queue *q, struct err *e)
{
    char command[COMMAND_MAX];
    struct queue_operation op;

    if (queue_scan(q, e) < 0)
        return -1;
    p->next_id = 1;
    while (next_command(p, command)) {
        if (operate_parse(&op, command, e) != 0)
            return -1;
        op.uid = getuid();
        while (operate_piece(q, &op))
            show_progress(p, op.rcpts);
        operate_end(q, &op);
        p->rcpts += op.rcpts;
        p->before += op.rcpts;
        p->messages += op.messages;
        p->failed += op.failed;
    }
    return queue_confirm(q, e);
}

/* With the lock of the queue.  A consumer that starts now waits a second for
 * it. */
static int do_it_here(struct operating *p, enum spool_name name, struct err *e)
{
    struct queue q = { .owner = &owner,
                       .events = &events,
                       .conf = &p->o->conf };
    int rc = -1;

    list_init(&due_now);
    if (loop_new(&q.loop, NULL, e) != 0)
        return -1;
    if (queue_open(&q, name, e) == 0)
        rc = carry_out(p, &q, e);
    else if (e->sys == ENOENT)
        rc = 0; /* there is no such queue yet */
    else if (e->sys == EWOULDBLOCK)
        err_set(e, ERR_TEMP, 0,
                "the process that has %s/ does not answer on run/%s.sock",
                spool_name_text(name), queue_consumer(name));
    queue_close(&q);
    loop_free(&q.loop);
    return rc;
}

/* Files that are made belong to the owner of the queue. */
static int do_those_here(struct operating *p, const bool here[SPOOL_QUEUES],
                         struct err *e)
{
    const struct conf *c = &p->o->conf;

    if (os_drop_privileges(c->user, c->group, e) != 0)
        return -1;
    log_style(LOG_WARN, LOG_TEXT);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (here[i] && do_it_here(p, (enum spool_name)i, e) != 0)
            return -1;
    return 0;
}

/* --- the whole ------------------------------------------------------------ */
/* First local/: what it hands over meanwhile is in remote/ then. */
static int run(struct operating *p, struct err *e)
{
    bool here[SPOOL_QUEUES] = { false }, any = false;

    p->began = clock_mono_ms();
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        int rc = ask(p, (enum spool_name)i, e);
        if (rc < 0)
            return -1;
        here[i] = rc > 0;
        any |= here[i];
    }
    return any ? do_those_here(p, here, e) : 0;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static int report(const struct operating *p)
{
    bool dry = p->f->dry_run;

    if (p->o->json)
        printf("{\"operation\":\"%s\",\"dry_run\":%s,\"recipients\":%" PRIu64
               ",\"messages\":%" PRIu64 "}\n",
               p->verb->word, dry ? "true" : "false", p->rcpts, p->messages);
    else
        printf("%s%s: %" PRIu64 " recipient%s of %" PRIu64 " message%s\n",
               dry ? "would " : "", dry ? p->verb->would : p->verb->done,
               p->rcpts, plural(p->rcpts), p->messages, plural(p->messages));
    if (p->failed > 0) {
        fprintf(stderr,
                "mta queue: %" PRIu64 " recipient%s stay%s as before: the disk "
                "failed (queue.slot in the log)\n",
                p->failed, plural(p->failed), p->failed == 1 ? "s" : "");
        return EX_TEMPFAIL;
    }
    if (p->incomplete) {
        fputs("mta queue: the queue is not read in full yet (memory, or a "
              "disk error): do it again later\n",
              stderr);
        return EX_TEMPFAIL;
    }
    if (p->rcpts > 0 || p->o->nargs == 1)
        return EX_OK;
    fputs("mta queue: no recipient of these messages is like that\n", stderr);
    return EX_NOINPUT;
}

int queue_operate(const struct options *o, const struct queue_operate_flags *f)
{
    struct operating p = { .o = o, .f = f, .verb = find_verb(o->args[0]) };
    struct err e = { ERR_NONE, 0, "" };
    int rc = check(&p);

    if (rc != 0)
        return rc;
    rc = run(&p, &e);
    end_progress(&p);
    if (rc == 0)
        return report(&p);
    queue_complain(o, &e);
    return e.sys == EACCES || e.sys == EPERM ? EX_NOPERM : EX_TEMPFAIL;
}
