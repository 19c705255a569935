#include "cli/queue_story.h"

#include "base/clock.h"
#include "base/json.h"
#include "cli/queue_private.h"
#include "net/tls.h"
#include "queue/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One event, printed; the two queues are merged by time. */
struct line {
    uint64_t when, order;
    char *text;
};

struct story {
    bool json;
    struct line *line;
    size_t n, room;
    struct err *e;
};

enum { FIRST_ROOM = 64 };

/* --- one event -------------------------------------------------------- */

static void text_peer(FILE *out, const struct history_event *ev)
{
    char at[ADDR_PORT_TEXT], tls[QUEUE_TLS_TEXT];

    if (ev->host.n > 0) {
        fputs(ev->local ? "  mailbox " : "  ", out);
        queue_put_plain(out, ev->host);
    }
    if (ev->peer.u.sa.sa_family != AF_UNSPEC) {
        addr_port_text(at, &ev->peer);
        fprintf(out, " %s", at);
    }
    if (ev->tls_version != 0)
        fprintf(out, " %s%s", queue_tls(tls, ev->tls_version, ev->tls_cipher),
                ev->verified ? " verified" : "");
    if (ev->sid.n > 0)
        fprintf(out, " session %.*s", (int)ev->sid.n, ev->sid.p);
}

static void text_rest(FILE *out, const struct history_event *ev)
{
    char status[SMTP_STATUS_TEXT];
    struct span rest = ev->reply;

    smtp_status_text(status, &ev->status);
    if (ev->reply.n > 0 || ev->status.code != 0) {
        fputs("\n        ", out);
        if (ev->status.code != 0)
            fprintf(out, "%u ", ev->status.code);
        if (status[0] != '\0')
            fprintf(out, "%s ", status);
    }
    while (rest.n > 0) {
        size_t n = span_find(rest, '\n');
        queue_put_plain(out, (struct span){ rest.p, n });
        n += n < rest.n;
        rest = (struct span){ rest.p + n, rest.n - n };
        if (rest.n > 0)
            fputs("\n        ", out);
    }
    if (ev->cut)
        fputs(" ...", out);
}

/* An operator's: for a number of recipients. */
static bool is_operation(const struct history_event *ev)
{
    return ev->kind == HISTORY_HELD || ev->kind == HISTORY_RELEASED ||
           ev->kind == HISTORY_DELETED;
}

static void text_event(FILE *out, const struct history_event *ev)
{
    char next[CLOCK_RFC3339_MAX], part[SPOOL_PART_TEXT];

    clock_rfc3339(next, ev->when);
    fprintf(out, "    %s %s ", next, history_kind_text(ev->kind));
    queue_put_plain(out, ev->rcpt);
    if (is_operation(ev))
        fprintf(out, "%" PRIu32 " recipient%s by %.*s", ev->slot,
                ev->slot == 1 ? "" : "s", (int)ev->other.n, ev->other.p);
    if (ev->kind == HISTORY_EXPANDED)
        fprintf(out, "  to part %s of %.*s", spool_part_text(part, ev->child),
                (int)ev->other.n, ev->other.p);
    text_peer(out, ev);
    if (ev->attempts + ev->rounds > 0)
        fprintf(out, "  attempt %" PRIu32, ev->attempts);
    if (ev->rounds > 0)
        fprintf(out, ", %" PRIu32 " without an offer", ev->rounds);
    text_rest(out, ev);
    if (ev->next != 0) {
        clock_rfc3339(next, ev->next);
        fprintf(out, "\n        next attempt %s", next);
    }
    if (ev->kind == HISTORY_BOUNCED && ev->other.n > 0)
        fprintf(out, "\n        notice %.*s", (int)ev->other.n, ev->other.p);
    putc('\n', out);
}

static void json_text(FILE *out, const char *name, struct span s)
{
    if (s.n == 0)
        return;
    fprintf(out, ",\"%s\":", name);
    json_string(out, s);
}

static void json_when(FILE *out, const char *name, uint64_t when)
{
    if (when == 0)
        return;
    fprintf(out, ",\"%s\":", name);
    json_time(out, when);
}

static void json_event(FILE *out, const struct history_event *ev)
{
    char at[ADDR_PORT_TEXT] = "", status[SMTP_STATUS_TEXT];
    char tls[QUEUE_TLS_TEXT];

    if (ev->peer.u.sa.sa_family != AF_UNSPEC)
        addr_port_text(at, &ev->peer);
    smtp_status_text(status, &ev->status);
    fprintf(out, "{\"event\":\"%s\"", history_kind_text(ev->kind));
    json_when(out, "time", ev->when);
    fprintf(out, ",\"part\":%" PRIu64 ",\"%s\":%" PRIu32, ev->part,
            is_operation(ev) ? "nrcpt" : "slot", ev->slot);
    json_text(out, "sender", ev->sender);
    json_text(out, "address", ev->rcpt);
    json_text(out, ev->local ? "mailbox" : "mx", ev->host);
    json_text(out, "address_tried", span_of(at));
    if (ev->tls_version != 0)
        fprintf(out, ",\"tls\":\"%s\",\"verified\":%s",
                queue_tls(tls, ev->tls_version, ev->tls_cipher),
                ev->verified ? "true" : "false");
    json_text(out, "session", ev->sid);
    if (ev->status.code != 0)
        fprintf(out, ",\"code\":%u", ev->status.code);
    json_text(out, "status", span_of(status));
    json_text(out, "reply", ev->reply);
    if (ev->cut)
        fputs(",\"cut\":true", out);
    fprintf(out, ",\"attempts\":%" PRIu32 ",\"rounds\":%" PRIu32, ev->attempts,
            ev->rounds);
    json_when(out, "next_attempt", ev->next);
    if (ev->kind == HISTORY_EXPANDED)
        fprintf(out, ",\"child\":%" PRIu64, ev->child);
    json_text(out,
              ev->kind == HISTORY_EXPANDED  ? "queue"
              : ev->kind == HISTORY_BOUNCED ? "notice"
                                            : "by",
              ev->other);
    putc('}', out);
}

/* --- all of them ------------------------------------------------------ */

static int no_memory(struct story *s)
{
    return err_set(s->e, ERR_TEMP, ENOMEM, "memory for the history");
}

/* A buffer of twice the size, as it is made; the old one is copied. */
static int make_room(struct story *s)
{
    size_t room = s->room == 0 ? FIRST_ROOM : 2 * s->room;
    struct line *more = calloc(room, sizeof *more);

    if (more == NULL)
        return no_memory(s);
    if (s->n > 0)
        memcpy(more, s->line, s->n * sizeof *more);
    free(s->line);
    s->line = more;
    s->room = room;
    return 0;
}

static int take(void *ctx, const struct history_event *ev)
{
    struct story *s = ctx;
    size_t n;

    if (s->n == s->room && make_room(s) != 0)
        return -1;
    struct line *l = &s->line[s->n];
    FILE *out = open_memstream(&l->text, &n);
    if (out == NULL)
        return no_memory(s);
    if (s->json)
        json_event(out, ev);
    else
        text_event(out, ev);
    l->when = ev->when;
    l->order = s->n++;
    return fclose(out) == 0 ? 0 : no_memory(s);
}

static int by_time(const void *pa, const void *pb)
{
    const struct line *a = pa, *b = pb;

    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static char *join(const struct story *s)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    if (out == NULL)
        return NULL;
    fputs(s->json ? "[" : "    history:\n", out);
    for (size_t i = 0; i < s->n; i++)
        fprintf(out, "%s%s", s->json && i > 0 ? "," : "", s->line[i].text);
    if (s->json)
        putc(']', out);
    return fclose(out) == 0 ? text : NULL;
}

int queue_story(char **text, bool json, const char *queue_dir, struct msg_id id,
                struct err *e)
{
    /* The id's time is that of the first message of its segment. */
    const struct history_query q = { .id = &id, .since = id.base >> 8 };
    struct story s = { .json = json, .e = e };
    int rc = 0;

    *text = NULL;
    for (int i = 0; i < SPOOL_QUEUES && rc == 0; i++)
        rc = history_read(queue_dir, (enum spool_name)i, &q, take, &s, e);
    if (s.n > 0)
        qsort(s.line, s.n, sizeof *s.line, by_time);
    if (rc == 0 && s.n > 0 && (*text = join(&s)) == NULL)
        rc = no_memory(&s);
    for (size_t i = 0; i < s.n; i++)
        free(s.line[i].text);
    free(s.line);
    return rc;
}
