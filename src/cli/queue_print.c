/* queue_print.c - one message of the queue, as text or as JSON. */
#include "cli/queue.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct printing {
    const struct spool_reader *view;
    const struct queue_style *style;
    uint32_t index; /* of the next recipient */
    struct err *e;
};

static const char *const states[] = { "pending", "delivered", "failed", "held",
                                      "deleted" };

const char *queue_state_name(enum spool_state s)
{
    return (unsigned)s < sizeof states / sizeof states[0] ? states[s]
                                                          : "unknown";
}

static void json_rcpt(FILE *out, struct span address,
                      const struct spool_slot *slot, bool first)
{
    fputs(first ? "{\"address\":" : ",{\"address\":", out);
    json_string(out, address);
    fprintf(out, ",\"state\":\"%s\",\"attempts\":%u,\"last_attempt\":",
            queue_state_name(slot->state), slot->attempts);
    json_time(out, slot->last_attempt);
    fputs(",\"next_attempt\":", out);
    json_time(out, slot->next_attempt);
    fputs(",\"mx\":", out);
    json_string(out, span_of(slot->host));
    fprintf(out, ",\"code\":%u,\"reply\":", slot->status.code);
    json_string(out, span_of(slot->reply));
    putc('}', out);
}

static int json_field(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;
    FILE *out = p->style->out;
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        fputs(",\"sender\":", out);
        json_string(out, s);
        fprintf(out, ",\"size\":%" PRIu64 ",\"recipients\":[",
                p->view->rec->body_size);
    } else if (type == SPOOL_F_RCPT) {
        if (spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
            return -1;
        json_rcpt(out, s, &slot, p->index == 0);
        p->index++;
    }
    return 0;
}

static int print_json(struct printing *p, struct err *e)
{
    FILE *out = p->style->out;
    char id[MSG_ID_TEXT];

    msg_id_text(id, p->view->rec->id);
    fprintf(out, "{\"id\":\"%s\",\"arrival\":", id);
    json_time(out, p->view->rec->arrival);
    int rc = spool_reader_envelope(p->view, json_field, p, e);
    fputs("]}\n", out);
    return rc < 0 ? -1 : 0;
}

/* --- for people ------------------------------------------------------ */

static size_t plain_length(struct span s)
{
    size_t n = 0, len;

    while (n < s.n && (len = utf8_length(s.p + n, s.n - n)) > 0 &&
           utf8_control(s.p + n, len) == UTF8_NO_CONTROL)
        n += len;
    return n;
}

static struct span after(struct span s, size_t n)
{
    return (struct span){ s.p + n, s.n - n };
}

/* Octets from the network must not steer a terminal. */
static void put_plain(FILE *out, struct span s)
{
    for (;;) {
        size_t n = plain_length(s);
        fwrite(s.p, 1, n, out);
        s = after(s, n);
        if (s.n == 0)
            return;
        putc('?', out);
        n = utf8_length(s.p, s.n);
        s = after(s, n == 0 ? 1 : n);
    }
}

static void put_when(FILE *out, uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000u);
    struct tm tm;
    char text[32] = "?";

    if (localtime_r(&t, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    fputs(text, out);
}

static const char *tint(const struct queue_style *st, const char *code)
{
    return st->colour ? code : "";
}

static void text_rcpt(struct printing *p, struct span address,
                      const struct spool_slot *slot)
{
    const struct queue_style *st = p->style;
    const char *hue = slot->state == SPOOL_FAILED      ? "\033[31m"
                      : slot->state == SPOOL_DELIVERED ? "\033[32m"
                                                       : "\033[33m";

    fputs("    ", st->out);
    put_plain(st->out, address);
    fprintf(st->out, "  %s%s%s", tint(st, hue), queue_state_name(slot->state),
            tint(st, "\033[0m"));
    if (slot->attempts > 0)
        fprintf(st->out, ", tried %u time%s, last ", slot->attempts,
                slot->attempts == 1 ? "" : "s");
    if (slot->attempts > 0)
        put_when(st->out, slot->last_attempt);
    if (slot->state == SPOOL_PENDING && slot->next_attempt > 0) {
        fputs(", next ", st->out);
        put_when(st->out, slot->next_attempt);
    }
    putc('\n', st->out);
    if (slot->reply[0] == '\0')
        return;
    fputs("        ", st->out);
    if (slot->host[0] != '\0')
        fputs("said by ", st->out);
    put_plain(st->out, span_of(slot->host));
    fputs(slot->host[0] != '\0' ? ": " : "", st->out);
    if (slot->status.code != 0)
        fprintf(st->out, "%u ", slot->status.code);
    put_plain(st->out, span_of(slot->reply));
    putc('\n', st->out);
}

static int text_field(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        putc('<', p->style->out);
        put_plain(p->style->out, s);
        fputs(">\n", p->style->out);
    } else if (type == SPOOL_F_RCPT) {
        if (spool_reader_slot(p->view, p->index++, &slot, p->e) != 0)
            return -1;
        if (p->style->all_recipients || slot.state == SPOOL_PENDING ||
            slot.state == SPOOL_HELD)
            text_rcpt(p, s, &slot);
    } else if (p->style->all_recipients &&
               (type == SPOOL_F_CLIENT || type == SPOOL_F_HELO ||
                type == SPOOL_F_SID)) {
        fprintf(p->style->out, "    %s ",
                type == SPOOL_F_CLIENT ? "received from"
                : type == SPOOL_F_HELO ? "which called itself"
                                       : "in session");
        put_plain(p->style->out, s);
        putc('\n', p->style->out);
    }
    return 0;
}

static int print_text(struct printing *p, struct err *e)
{
    const struct queue_style *st = p->style;
    char id[MSG_ID_TEXT];

    msg_id_text(id, p->view->rec->id);
    fprintf(st->out, "%s%s%s  ", tint(st, "\033[1m"), id, tint(st, "\033[0m"));
    put_when(st->out, p->view->rec->arrival);
    fprintf(st->out, "  %" PRIu64 " octets  from ", p->view->rec->body_size);
    return spool_reader_envelope(p->view, text_field, p, e) < 0 ? -1 : 0;
}

int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e)
{
    struct printing p = { .view = v, .style = style, .e = e };

    return style->json ? print_json(&p, e) : print_text(&p, e);
}
