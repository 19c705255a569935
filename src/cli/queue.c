/* queue.c - `mta queue`: show the queue on disk, with or without a daemon. */
#include "cli/queue.h"

#include "base/os.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/mailq.h"
#include "cli/options.h"
#include "cli/queue_operate.h"
#include "cli/queue_show.h"
#include "cli/queue_stats.h"
#include "control/client.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { LIST_BUFFER = 256 * 1024 };

struct search {
    const struct queue_style *style;
    struct queue_sorter *sorter; /* NULL: as they are found */
    uint64_t found, octets;
    struct err *e;
};

static int visit(void *ctx, const struct spool_reader *v)
{
    struct search *s = ctx;

    s->found++;
    s->octets += v->rec->body_size + v->rec->front;
    return queue_print(v, s->style, s->e);
}

/* For a list that is filtered or sorted. */
static int visit_chosen(void *ctx, const struct spool_reader *v)
{
    struct search *s = ctx;
    struct queue_key key;
    int rc = queue_look(v, s->style, &key, s->e);

    if (rc == 1)
        rc = visit(ctx, v);
    else
        return rc;
    if (rc == 0 && s->sorter != NULL &&
        queue_sorter_end_text(s->sorter, &key) != 0)
        return err_set(s->e, ERR_TEMP, ENOMEM, "memory for a sorted list");
    return rc;
}

struct queue_style queue_style_of(const struct options *o)
{
    return (struct queue_style){ .out = stdout,
                                 .json = o->json,
                                 .lifetime = o->conf.send.queue_lifetime,
                                 .retry_min = o->conf.send.retry_min,
                                 .colour = isatty(STDOUT_FILENO) &&
                                           getenv("NO_COLOR") == NULL };
}

/* False: it does not run, or does not answer, which is said. */
static bool ask_one(const struct options *o, struct queue_live *live,
                    enum spool_name name, const char *command)
{
    static const char *const who[] = {
        [SPOOL_LOCAL] = "the delivery process", [SPOOL_REMOTE] = "the sender"
    };
    struct control_ask ask = { .queue_dir = o->conf.queue_dir,
                               .name = queue_consumer(name),
                               .command = command,
                               .fn = queue_live_line,
                               .ctx = live };
    struct err e;

    if (control_ask(&ask, &e) == 0)
        return true;
    if (e.sys != ENOENT && e.sys != ECONNREFUSED)
        fprintf(stderr,
                "mta queue: %s does not answer (%s): what it is doing is not "
                "shown\n",
                who[name], e.text);
    return false;
}

struct queue_live *queue_ask_consumers(const struct options *o,
                                       const char *command)
{
    struct queue_live *live = queue_live_new(&o->conf);

    if (live == NULL) {
        fputs("mta queue: no memory for what the processes do\n", stderr);
        return NULL;
    }
    bool delivers = ask_one(o, live, SPOOL_LOCAL, command);
    bool sends = ask_one(o, live, SPOOL_REMOTE, command);
    queue_live_has_sender(live, sends);
    if (!delivers && !sends)
        queue_live_free(&live);
    return live;
}

void queue_complain(const struct options *o, const struct err *e)
{
    bool forbidden = e->sys == EACCES || e->sys == EPERM;

    fprintf(stderr, "mta queue: %s%s%s\n", e->text,
            forbidden ? ": this is for root and for the user "
            : e->sys == ENOENT || e->sys == ENOTDIR
                ? ": 'mta run' makes a queue, --queue-dir or -c names another"
                : "",
            forbidden ? o->conf.user : "");
}

/* One directory is enough: a sender alone makes both, a kill may leave one. */
int queue_find(const struct options *o)
{
    const char *queue_dir = o->conf.queue_dir;
    char path[PATH_MAX];
    struct stat st;
    struct err e;
    int why = ENOTDIR;

    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (!os_path(path, sizeof path, queue_dir,
                     spool_name_text((enum spool_name)i)))
            why = ENAMETOOLONG;
        else if (stat(path, &st) != 0)
            why = errno;
        else if (S_ISDIR(st.st_mode))
            return EX_OK;
    err_set(&e, ERR_USAGE, why, "no queue in %s", queue_dir);
    return queue_fail(o, &e);
}

int queue_fail(const struct options *o, const struct err *e)
{
    queue_complain(o, e);
    return e->sys == 0                           ? EX_SOFTWARE
           : e->sys == EACCES || e->sys == EPERM ? EX_NOPERM
                                                 : EX_OSFILE;
}

/* To standard output, or to the sorter and from there. */
static int print_list(const struct options *o, struct queue_style *style,
                      enum queue_order order, struct search *s, struct err *e)
{
    bool plain = order == QUEUE_AS_FOUND && !style->filter->on;

    if (order != QUEUE_AS_FOUND) {
        if ((s->sorter = queue_sorter_new(order)) == NULL)
            return err_set(e, ERR_TEMP, ENOMEM, "memory for a sorted list");
        style->out = queue_sorter_out(s->sorter);
    }
    int rc = spool_read_all(o->conf.queue_dir,
                            queue_filter_wants_done(style->filter),
                            plain ? visit : visit_chosen, s, e);
    if (rc == 0 && s->sorter != NULL)
        rc = queue_sorter_print(s->sorter, stdout, e);
    queue_sorter_free(&s->sorter);
    return rc;
}

static void print_sum(const struct search *s)
{
    bool filtered = s->style->filter->on;

    if (s->found == 0)
        puts(filtered ? "No message in the queue is like that."
                      : "The queue is empty.");
    else
        printf("%" PRIu64 " message%s, %" PRIu64 " octets.\n", s->found,
               s->found == 1 ? "" : "s", s->octets);
}

static int list(const struct options *o, const struct queue_flags *flags)
{
    static char buffer[LIST_BUFFER];
    struct err e = { ERR_NONE, 0, "" };
    struct queue_style style = queue_style_of(o);
    struct search s = { .style = &style, .e = &e };
    struct queue_filter filter;
    enum queue_order order;

    if (queue_filter_set(&filter, flags, &e) != 0 ||
        queue_order_set(&order, flags->sort, &e) != 0) {
        fprintf(stderr, "mta queue: %s\n", e.text);
        return EX_USAGE;
    }
    style.filter = &filter;
    if (!isatty(STDOUT_FILENO)) /* a long list: few writes */
        (void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    style.live = queue_ask_consumers(o, "list");
    int rc = print_list(o, &style, order, &s, &e);
    queue_live_free(&style.live);
    if (rc < 0)
        return queue_fail(o, &e);
    if (!o->json)
        print_sum(&s);
    return EX_OK;
}

/* --- words and their flags ----------------------------------------------- */

struct all_flags {
    struct queue_flags list;
    struct queue_operate_flags operate;
    bool openmetrics;
    const char *timeout;
};

enum {
    CHOICE = 1, /* --domain, --sender */
    FILTER = 2, /* --state, --older, --reply, --sort */
    CHANGE = 4, /* --all, --dry-run */
    METRICS = 8,
    TIMEOUT = 16
};

static unsigned given(const struct all_flags *f)
{
    unsigned g = 0;

    if (f->list.domain != NULL || f->list.sender != NULL)
        g |= CHOICE;
    if (f->list.state != NULL || f->list.older != NULL ||
        f->list.reply != NULL || f->list.sort != NULL)
        g |= FILTER;
    if (f->operate.all || f->operate.dry_run)
        g |= CHANGE;
    return g | (f->openmetrics ? METRICS : 0) |
           (f->timeout != NULL ? TIMEOUT : 0);
}

static int do_list(const struct options *o, struct all_flags *f)
{
    return list(o, &f->list);
}

static int do_show(const struct options *o, struct all_flags *f)
{
    (void)f;
    return queue_show(o);
}

static int do_cat(const struct options *o, struct all_flags *f)
{
    (void)f;
    return queue_cat(o);
}

static int do_operate(const struct options *o, struct all_flags *f)
{
    f->operate.domain = f->list.domain;
    f->operate.sender = f->list.sender;
    return queue_operate(o, &f->operate);
}

static int do_stats(const struct options *o, struct all_flags *f)
{
    return queue_stats(o, f->openmetrics);
}

static int do_drain(const struct options *o, struct all_flags *f)
{
    return queue_drain(o, f->timeout);
}

static const struct word {
    const char *word;
    unsigned may;    /* have these flags */
    int least, most; /* operands */
    int (*fn)(const struct options *o, struct all_flags *f);
} words[] = {
    { "list", CHOICE | FILTER, 0, 0, do_list },
    { "show", 0, 1, 1, do_show },
    { "cat", 0, 1, 1, do_cat },
    { "hold", CHOICE | CHANGE, 0, INT_MAX, do_operate },
    { "release", CHOICE | CHANGE, 0, INT_MAX, do_operate },
    { "retry", CHOICE | CHANGE, 0, INT_MAX, do_operate },
    { "delete", CHOICE | CHANGE, 0, INT_MAX, do_operate },
    { "flush", CHOICE | CHANGE, 0, INT_MAX, do_operate },
    { "drain", TIMEOUT, 0, 0, do_drain },
    { "stats", METRICS, 0, 0, do_stats },
};

enum { NWORDS = sizeof words / sizeof words[0] };

static int no_such_word(const struct options *o, const char *word)
{
    const char *near = NULL;
    unsigned least = 3; /* with more edits it is another word */

    for (size_t i = 0; i < NWORDS; i++) {
        unsigned d = edit_distance(word, words[i].word);
        if (d < least) {
            least = d;
            near = words[i].word;
        }
    }
    return near != NULL
               ? options_refuse(o, "no action '%s'; did you mean '%s'?", word,
                                near)
               : options_refuse(o,
                                "no action '%s', but list, show, cat, hold,"
                                " release, retry, delete, flush, drain"
                                " and stats",
                                word);
}

static const char *name_of_flag(unsigned flags)
{
    return flags & CHOICE    ? "--domain or --sender"
           : flags & FILTER  ? "--state, --older, --reply or --sort"
           : flags & CHANGE  ? "--all or --dry-run"
           : flags & METRICS ? "--openmetrics"
                             : "--timeout";
}

static int run(const struct options *o, struct all_flags *f)
{
    const char *word = o->nargs > 0 ? o->args[0] : "list";
    int operands = o->nargs > 0 ? o->nargs - 1 : 0;
    const struct word *w = words;

    while (w < words + NWORDS && strcmp(w->word, word) != 0)
        w++;
    if (w == words + NWORDS)
        return no_such_word(o, word);
    if (operands < w->least)
        return options_refuse(o, "'%s' needs an id; 'mta queue list' has them",
                              word);
    if (operands > w->most)
        return options_refuse(o, "'%s' is not expected behind '%s'",
                              o->args[1 + w->most], word);
    unsigned wrong = given(f) & ~w->may;
    return wrong == 0 ? w->fn(o, f)
                      : options_refuse(o, "'%s' takes no %s", word,
                                       name_of_flag(wrong));
}

int cmd_queue(int argc, char **argv)
{
    struct all_flags all = { { NULL, NULL, NULL, NULL, NULL, NULL },
                             { NULL, NULL, false, false },
                             false,
                             NULL };
    struct queue_flags *flags = &all.list;
    const struct option table[] = {
        OPTION_SETTING("--queue-dir", "queue_dir"),
        OPTION_TEXT("--domain", &flags->domain),
        OPTION_TEXT("--sender", &flags->sender),
        OPTION_TEXT("--state", &flags->state),
        OPTION_TEXT("--older", &flags->older),
        OPTION_TEXT("--reply", &flags->reply),
        OPTION_TEXT("--sort", &flags->sort),
        OPTION_ON("--all", &all.operate.all),
        OPTION_ON("--dry-run", &all.operate.dry_run),
        OPTION_ON("--openmetrics", &all.openmetrics),
        OPTION_TEXT("--timeout", &all.timeout),
    };
    const struct options_spec spec = { table, sizeof table / sizeof table[0], 0,
                                       -1, false };
    struct options o;

    bool as_mailq = mailq_is_wanted(argc, argv);
    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    int status = as_mailq ? mailq_print(&o) : run(&o, &all);
    options_done(&o);
    return status;
}
