/* queue_operate.c - hold, release, retry, delete and flush mail of the queue:
 * through its consumers, or instead of them when none runs. */
#include "cli/queue_operate_private.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"
#include "cli/queue.h"
#include "cli/queue_live.h"
#include "control/client.h"
#include "log/log.h"
#include "queue/operate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    SHOW_AFTER_MS = 200,
    PATIENCE = 5, /* seconds without an answer, or for a lock */
    LOOK_US = 20 * 1000
};

static const struct queue_verb_words verbs[] = {
    { "hold", "held", "hold" },
    { "release", "released", "release" },
    { "retry", "due now", "be due" },
    { "delete", "deleted", "delete" },
    { "flush", "due now", "be due" }
};
enum { NVERBS = sizeof verbs / sizeof verbs[0] };

/* --- the command ---------------------------------------------------------- */
static const struct queue_verb_words *find_verb(const char *word)
{
    for (size_t i = 0; i < NVERBS; i++)
        if (strcmp(verbs[i].word, word) == 0)
            return &verbs[i];
    return NULL;
}

/* Ids, as many as a command takes.  False: all had their turn. */
static bool add_ids(struct queue_operating *p, struct buf *b)
{
    int n = 0;

    if (p->o->nargs == 1)
        return p->next_id++ == 1;
    for (; p->next_id < p->o->nargs && n < QUEUE_SELECT_IDS; n++)
        buf_addf(b, "%s%s", n == 0 ? " id " : ",", p->o->args[p->next_id++]);
    return n > 0;
}

bool queue_operate_next(struct queue_operating *p,
                        char out[QUEUE_OPERATE_COMMAND])
{
    const struct queue_operate_flags *f = p->f;
    struct buf b;

    buf_init(&b, out, QUEUE_OPERATE_COMMAND);
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
static int check(struct queue_operating *p)
{
    const struct queue_operate_flags *f = p->f;
    struct queue_operation op;
    char command[QUEUE_OPERATE_COMMAND];
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
    if (queue_operate_next(p, command) && operate_parse(&op, command, &e) != 0)
        return misuse("%s", e.text);
    return 0;
}

/* --- progress ------------------------------------------------------------- */
void queue_operate_show(struct queue_operating *p, uint64_t n)
{
    if (p->f->dry_run || !isatty(STDERR_FILENO) ||
        clock_mono_ms() - p->began < SHOW_AFTER_MS)
        return;
    p->shown = true;
    fprintf(stderr, "\r%s: %" PRIu64 " recipients", p->verb->word,
            p->before + n);
}

static void end_progress(const struct queue_operating *p)
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
    struct queue_operating *p = ctx;
    struct span rest = line;
    unsigned long long n, messages;

    if (begins(&rest, "progress ")) {
        if (number(&rest, &n))
            queue_operate_show(p, n);
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
static int ask(struct queue_operating *p, enum spool_name name, struct err *e)
{
    char command[QUEUE_OPERATE_COMMAND];
    struct control_ask a = { .queue_dir = p->o->conf.queue_dir,
                             .name = queue_consumer(name),
                             .command = command,
                             .fn = on_line,
                             .ctx = p,
                             .patience = PATIENCE };

    p->next_id = 1;
    while (queue_operate_next(p, command)) {
        if (control_ask(&a, e) == 0)
            continue;
        if (e->sys == EAGAIN)
            err_set(e, ERR_TEMP, 0,
                    "the process of run/%s.sock does not answer; what it has "
                    "done stays",
                    a.name);
        if (e->sys == EPROTO || e->sys == ECONNRESET)
            err_set(e, ERR_TEMP, 0,
                    "the process of run/%s.sock has ended before the command; "
                    "what it has done stays: give it again",
                    a.name);
        return e->sys == ENOENT || e->sys == ECONNREFUSED ? 1 : -1;
    }
    return 0;
}

/* --- the whole ------------------------------------------------------------ */
/* In a queue without a consumer.  Another command may have the lock, or a
 * consumer that has just started: then it is asked. */
static int do_it_here(struct queue_operating *p, enum spool_name name,
                      struct err *e)
{
    uint64_t until = clock_mono_ms() + PATIENCE * 1000;
    int rc = queue_operate_here(p, name, e);

    while (rc != 0 && e->sys == EWOULDBLOCK && clock_mono_ms() < until) {
        os_pause(LOOK_US);
        rc = ask(p, name, e);
        if (rc > 0)
            rc = queue_operate_here(p, name, e);
    }
    if (rc != 0 && e->sys == EWOULDBLOCK)
        err_set(e, ERR_TEMP, 0,
                "the process that has %s/ does not answer on run/%s.sock",
                spool_name_text(name), queue_consumer(name));
    return rc;
}

/* First local/: what it hands over meanwhile is in remote/ then. */
static int run(struct queue_operating *p, struct err *e)
{
    bool here[SPOOL_QUEUES] = { false }, any = false;
    int rc = 0;

    p->began = clock_mono_ms();
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        rc = ask(p, (enum spool_name)i, e);
        if (rc < 0)
            return -1;
        here[i] = rc > 0;
        any |= here[i];
    }
    if (!any)
        return 0;
    rc = queue_operate_begin_here(p, e);
    for (int i = 0; rc == 0 && i < SPOOL_QUEUES; i++)
        if (here[i])
            rc = do_it_here(p, (enum spool_name)i, e);
    log_close();
    return rc;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static int report(const struct queue_operating *p)
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
    if (p->unlogged > 0 && !dry && strcmp(p->o->conf.log.file, "-") == 0)
        fputs("mta queue: the log has no line of it: log.file is \"-\", and no "
              "process of mta runs that writes there\n",
              stderr);
    if (p->rcpts > 0 || p->o->nargs == 1)
        return EX_OK;
    fputs("mta queue: no recipient of these messages is like that\n", stderr);
    return EX_NOINPUT;
}

int queue_operate(const struct options *o, const struct queue_operate_flags *f)
{
    struct queue_operating p = {
        .o = o, .f = f, .verb = find_verb(o->args[0]), .uid = getuid()
    };
    struct err e = { ERR_NONE, 0, "" };
    int rc = check(&p);

    if (rc != 0 || (rc = queue_find(o)) != EX_OK)
        return rc;
    rc = run(&p, &e);
    end_progress(&p);
    if (rc == 0)
        return report(&p);
    queue_complain(o, &e);
    return e.sys == EACCES || e.sys == EPERM ? EX_NOPERM : EX_TEMPFAIL;
}
