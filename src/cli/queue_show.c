/* queue_show.c - `mta queue show` and `cat`: one message, in all its parts.
 *
 * Its records and the history have the whole story of a message in the queue.
 * The log, which may be long, is read only for what they have no more: where a
 * message that is gone came from, events that the ring has forgotten. */
#include "cli/queue_show.h"

#include "base/json.h"
#include "cli/log_story.h"
#include "cli/queue.h"
#include "cli/queue_private.h"
#include "cli/queue_story.h"
#include "queue/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define SESSION_US (24 * 3600 * UINT64_C(1000000)) /* longer than any */

struct showing {
    const struct options *o;
    struct queue_style style;
    unsigned found; /* records */
    bool whole;     /* that of the accepted message is one of them */
    bool forgotten; /* the history has not all of their events */
    struct err e;
};

static bool take_id(const struct options *o, struct msg_id *id)
{
    if (msg_id_parse(id, span_of(o->args[1])))
        return true;
    fprintf(stderr,
            "mta queue: '%s' is not a message id; 'mta queue list' has them\n",
            o->args[1]);
    return false;
}

static int no_such_message(const struct options *o)
{
    const char *id = o->args[1];

    fprintf(stderr,
            "mta queue: no message %s in the queue; 'mta log --id %s' shows "
            "what became of it\n",
            id, id);
    return EX_NOINPUT;
}

/* --- cat ------------------------------------------------------------------ */

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

/* All parts have the same text. */
static int on_record(void *ctx, const struct spool_reader *v)
{
    struct showing *s = ctx;

    s->found++;
    return put_body(v, &s->e) == 0 ? 1 : -1;
}

int queue_cat(const struct options *o)
{
    struct showing s = { .o = o };
    struct msg_id id;

    if (!take_id(o, &id))
        return EX_USAGE;
    if (spool_read_id(o->conf.queue_dir, id, on_record, &s, &s.e) < 0)
        return queue_fail(o, &s.e);
    return s.found > 0 ? EX_OK : no_such_message(o);
}

/* --- the records ---------------------------------------------------------- */

static int look_at_slots(struct showing *s, const struct spool_reader *v)
{
    struct spool_slot slot;

    for (uint32_t i = 0; i < v->rec->nrcpt && !s->forgotten; i++) {
        if (spool_reader_slot(v, i, &slot, &s->e) != 0)
            return -1;
        if (slot.attempts + slot.rounds == 0)
            continue;
        uint64_t since = history_since(s->o->conf.queue_dir, v->queue);
        s->forgotten = since > v->rec->arrival;
        break;
    }
    return 0;
}

static int on_part(void *ctx, const struct spool_reader *v)
{
    struct showing *s = ctx;

    if (s->found++ > 0)
        s->style.history = NULL;
    s->whole |= v->rec->part == 0;
    return look_at_slots(s, v) != 0 || queue_print(v, &s->style, &s->e) != 0
               ? -1
               : 0;
}

/* --- the log -------------------------------------------------------------- */

struct lines {
    FILE *out;
    bool json;
    unsigned n;
};

static int on_line(void *ctx, struct span line, struct err *e)
{
    struct lines *l = ctx;

    (void)e;
    if (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (l->json) {
        fputs(l->n > 0 ? "," : "[", l->out);
        json_string(l->out, line);
    } else {
        fputs(l->n > 0 ? "    " : "    log:\n    ", l->out);
        queue_put_plain(l->out, line);
        putc('\n', l->out);
    }
    l->n++;
    return 0;
}

static void report_left_out(void *ctx, const char *file)
{
    (void)ctx;
    fprintf(stderr, "mta queue: %s is compressed and left out\n", file);
}

/* Lines about the message and its session, to be freed; NULL: there are none.
 * The time of the id is that of the first message of its segment; the session
 * may have begun before. */
static char *read_log(const struct options *o, struct msg_id id)
{
    uint64_t born = id.base >> 8;
    const char *file = o->conf.log.file;
    struct lines l = { NULL, o->json, 0 };
    struct log_show what = {
        .file = file,
        .filter = { .id = o->args[1],
                    .since = born > SESSION_US ? born - SESSION_US : 0 },
        .rotated = true,
        .line = on_line,
        .left_out = report_left_out,
        .ctx = &l
    };
    char *text = NULL;
    size_t n;
    struct err e;

    if (strcmp(file, "-") == 0 || strncmp(file, "/dev/", 5) == 0 ||
        (l.out = open_memstream(&text, &n)) == NULL)
        return NULL;
    int rc = log_story(&what, &e);
    if (rc > 0 && l.json)
        putc(']', l.out);
    if (fclose(l.out) == 0 && rc > 0)
        return text;
    if (rc < 0)
        fprintf(stderr, "mta queue: %s: the log is left out\n", e.text);
    free(text);
    return NULL;
}

/* --- all of it ------------------------------------------------------------ */

/* JSON has one more object for what stands in no record's. */
static void print_rest(const struct showing *s, const char *history,
                       const char *lines)
{
    bool json = s->o->json;

    if (s->found > 0 && json)
        history = NULL; /* it is in the first record's */
    if (json && (history != NULL || lines != NULL))
        printf("{\"id\":\"%s\"%s%s%s%s}\n", s->o->args[1],
               history != NULL ? ",\"history\":" : "",
               history != NULL ? history : "", lines != NULL ? ",\"log\":" : "",
               lines != NULL ? lines : "");
    if (!json)
        printf("%s%s", history != NULL ? history : "",
               lines != NULL ? lines : "");
}

static int show(struct showing *s, struct msg_id id, const char *history)
{
    char *lines = NULL;

    s->style.history = s->o->json ? history : NULL;
    if (spool_read_id(s->o->conf.queue_dir, id, on_part, s, &s->e) < 0)
        return queue_fail(s->o, &s->e);
    if (!s->whole || s->forgotten)
        lines = read_log(s->o, id);
    print_rest(s, history, lines);
    bool known = s->found > 0 || history != NULL || lines != NULL;
    free(lines);
    return known ? EX_OK : no_such_message(s->o);
}

int queue_show(const struct options *o)
{
    struct showing s = { .o = o, .style = queue_style_of(o) };
    char command[MSG_ID_TEXT + sizeof "show "];
    char *history = NULL;
    struct msg_id id;

    if (!take_id(o, &id))
        return EX_USAGE;
    s.style.all_recipients = true;
    snprintf(command, sizeof command, "show %s", o->args[1]);
    s.style.live = queue_ask_consumers(o, command);
    if (queue_story(&history, o->json, o->conf.queue_dir, id, &s.e) != 0)
        fprintf(stderr, "mta queue: no history: %s\n", s.e.text);
    int status = show(&s, id, history);
    queue_live_free(&s.style.live);
    free(history);
    return status;
}
