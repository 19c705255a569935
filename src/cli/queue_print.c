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
    uint32_t index;       /* of the next recipient */
    bool recipients_done; /* of JSON: their array is closed */
    unsigned nlate;
    struct err *e;
};

/* What the running sender knows of a recipient; NULL: nothing. */
struct present {
    const struct queue_delivering *delivering;
    const struct queue_shut *shut;
};

static struct present present_of(const struct printing *p, struct span address,
                                 const struct spool_slot *slot, uint32_t index)
{
    struct present now = { NULL, NULL };

    if (p->style->live == NULL || slot->state != SPOOL_PENDING)
        return now;
    now.delivering =
        queue_live_delivering(p->style->live, p->view->rec->id, index);
    if (now.delivering == NULL)
        now.shut = queue_live_shut(p->style->live, address);
    return now;
}

static const char *const states[] = { "pending",  "delivered", "failed",
                                      "expanded", "held",      "deleted" };

static const char *state_name(enum spool_state s)
{
    return (unsigned)s < sizeof states / sizeof states[0] ? states[s]
                                                          : "unknown";
}

static void json_host(FILE *out, const struct spool_slot *slot)
{
    char address[ADDR_TEXT];

    fputs(",\"mx\":", out);
    json_string(out, span_of(slot->mx));
    if (slot->tried.u.sa.sa_family == 0) {
        fputs(",\"address_tried\":null,\"tls\":null", out);
        return;
    }
    addr_text(address, &slot->tried);
    fprintf(out, ",\"address_tried\":\"%s\",\"port\":%u,\"tls\":\"none\"",
            address, (unsigned)addr_port(&slot->tried));
}

static void json_delivering(FILE *out, const struct queue_delivering *d)
{
    fputs(",\"delivering\":{\"since\":", out);
    json_time(out, d->since);
    fputs(",\"session\":", out);
    json_string(out, span_of(d->session));
    fputs(",\"mx\":", out);
    json_string(out, span_of(d->host));
    fputs(",\"address\":", out);
    json_string(out, span_of(d->address));
    putc('}', out);
}

/* Only while a sender runs. */
static void json_present(FILE *out, const struct present *now)
{
    const struct queue_shut *shut = now->shut;

    fputs(",\"shut_until\":", out);
    json_time(out, shut != NULL && !shut->paused ? shut->until : 0);
    if (shut != NULL && shut->paused) {
        fputs(",\"reconnects_at\":", out);
        json_time(out, shut->until);
    }
    fputs(",\"host_state\":", out);
    if (shut != NULL)
        json_string(out, span_of(shut->reason));
    else
        fputs("null", out);
    if (now->delivering != NULL)
        json_delivering(out, now->delivering);
}

static void json_rcpt(const struct printing *p, struct span address,
                      const struct spool_slot *slot)
{
    struct present now = present_of(p, address, slot, p->index);
    char status[SMTP_STATUS_TEXT];
    FILE *out = p->style->out;

    smtp_status_text(status, &slot->status);
    fputs("{\"address\":", out);
    json_string(out, address);
    fprintf(out, ",\"state\":\"%s\",\"attempts\":%u,\"rounds\":%u",
            now.delivering != NULL ? "delivering" : state_name(slot->state),
            slot->attempts, slot->rounds);
    if (slot->state == SPOOL_HELD)
        fprintf(out, ",\"held_by\":\"%s\"",
                slot->for_setting ? "setting" : "operator");
    fputs(",\"first_attempt\":", out);
    json_time(out, slot->first_attempt);
    fputs(",\"last_attempt\":", out);
    json_time(out, slot->last_attempt);
    fputs(",\"next_attempt\":", out);
    json_time(out, slot->next_attempt);
    json_host(out, slot);
    fprintf(out, ",\"code\":%u,\"status\":\"%s\",\"reply\":",
            (unsigned)slot->status.code, status);
    json_string(out, span_of(slot->reply));
    if (p->style->live != NULL)
        json_present(out, &now);
}

/* What the envelope has of a message besides sender and recipients, or of the
 * recipient before; `show` has it, under the same names in both forms. */
static const struct origin {
    enum spool_field type;
    bool of_recipient;
    const char *name, *words;
} origins[] = {
    { SPOOL_F_CLIENT, false, "client", "received from" },
    { SPOOL_F_HELO, false, "helo", "which called itself" },
    { SPOOL_F_SID, false, "sid", "in session" },
    { SPOOL_F_ENVID, false, "envid", "envelope id" },
    { SPOOL_F_RET, false, "ret", "to return in a bounce:" },
    { SPOOL_F_ORCPT, true, "orcpt", "original recipient" },
    { SPOOL_F_NOTIFY, true, "notify", "to notify of" },
};

static const struct origin *origin_of(enum spool_field type)
{
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++)
        if (origins[i].type == type)
            return &origins[i];
    return NULL;
}

/* Recipients stand together in the envelope, and what is said of a recipient
 * stands behind it: its object stays open until the next field. */
static void end_recipients(struct printing *p)
{
    if (p->index > 0 && !p->recipients_done)
        fputs("}]", p->style->out);
    else if (!p->recipients_done)
        fputs(",\"recipients\":[]", p->style->out);
    p->recipients_done = true;
}

static int json_next_rcpt(struct printing *p, struct span address)
{
    struct spool_slot slot;

    if (p->recipients_done)
        return err_set(p->e, ERR_PERM, 0, "the envelope is not in order");
    if (spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
        return -1;
    fputs(p->index == 0 ? ",\"recipients\":[" : "},", p->style->out);
    json_rcpt(p, address, &slot);
    p->index++;
    return 0;
}

static int json_field(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;
    const struct origin *o = origin_of(type);

    if (type == SPOOL_F_RCPT)
        return json_next_rcpt(p, s);
    if (type == SPOOL_F_SENDER) {
        fputs(",\"sender\":", p->style->out);
        json_string(p->style->out, s);
    } else if (o != NULL && p->style->all_recipients) {
        if (!o->of_recipient && p->index > 0)
            end_recipients(p);
        fprintf(p->style->out, ",\"%s\":", o->name);
        json_string(p->style->out, s);
    }
    return 0;
}

static int json_late(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;

    fprintf(p->style->out, "%s{\"type\":%d,\"size\":%zu}",
            p->nlate++ > 0 ? "," : "", (int)type, s.n);
    return 0;
}

static int print_json(struct printing *p, struct err *e)
{
    const struct spool_record *rec = p->view->rec;
    FILE *out = p->style->out;
    char id[MSG_ID_TEXT];

    msg_id_text(id, rec->id);
    fprintf(out,
            "{\"id\":\"%s\",\"part\":%" PRIu64 ",\"queue\":\"%s\",\"arrival\":",
            id, rec->part, spool_name_text(p->view->queue));
    json_time(out, rec->arrival);
    fputs(",\"expires\":", out);
    json_time(out, rec->arrival + (uint64_t)p->style->lifetime * 1000000u);
    fprintf(out, ",\"size\":%" PRIu64, rec->body_size + rec->front);
    int rc = spool_reader_envelope(p->view, json_field, p, e);
    end_recipients(p);
    if (rc >= 0 && p->style->all_recipients) {
        fprintf(out, ",\"front\":%u,\"late\":[", (unsigned)rec->front);
        rc = spool_reader_late(p->view, json_late, p, e);
        putc(']', out);
    }
    bool damaged = rc < 0 && e->kind == ERR_PERM;
    fputs(damaged ? ",\"damaged\":true}\n" : "}\n", out);
    return rc < 0 && !damaged ? -1 : 0;
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

/* Print without control characters, which would control a terminal. */
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

/* Messages of a long queue share their seconds of arrival and expiry, and
 * formatting a time costs as much as all the rest of a line: keep some. */
static void put_when(FILE *out, uint64_t wall_us)
{
    enum { KEPT = 61 };
    static struct {
        time_t second;
        char text[32];
    } kept[KEPT];
    time_t t = (time_t)(wall_us / 1000000u);
    size_t i = (size_t)(wall_us / 1000000u % KEPT);
    struct tm tm;

    if (kept[i].text[0] == '\0' || kept[i].second != t) {
        kept[i].second = t;
        if (localtime_r(&t, &tm) == NULL ||
            strftime(kept[i].text, sizeof kept[i].text, "%Y-%m-%d %H:%M:%S",
                     &tm) == 0)
            snprintf(kept[i].text, sizeof kept[i].text, "?");
    }
    fputs(kept[i].text, out);
}

static const char *tint(const struct queue_style *st, const char *code)
{
    return st->colour ? code : "";
}

/* Print a reply only if a peer sent it. */
static void text_reply(FILE *out, const struct spool_slot *slot)
{
    char address[ADDR_PORT_TEXT];
    char status[SMTP_STATUS_TEXT];

    smtp_status_text(status, &slot->status);
    fputs("        ", out);
    if (status[0] != '\0')
        fprintf(out, "%s  ", status);
    put_plain(out, span_of(slot->mx));
    if (slot->tried.u.sa.sa_family != 0) {
        addr_port_text(address, &slot->tried);
        fprintf(out, "%s(%s, tls none)", slot->mx[0] != '\0' ? " " : "",
                address);
    }
    if (slot->status.code != 0)
        fprintf(out, " replied: %u ", (unsigned)slot->status.code);
    else if (slot->mx[0] != '\0')
        fputs(": ", out);
    put_plain(out, span_of(slot->reply));
    putc('\n', out);
}

/* "12:34:56", and the day with it when it is another one. */
static void put_time(FILE *out, uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000u), now = time(NULL);
    struct tm tm, today;
    char text[32] = "?";

    if (localtime_r(&t, &tm) != NULL && localtime_r(&now, &today) != NULL)
        (void)strftime(text, sizeof text,
                       tm.tm_yday == today.tm_yday ? "%H:%M:%S"
                                                   : "%Y-%m-%d %H:%M:%S",
                       &tm);
    fputs(text, out);
}

static void text_state(const struct queue_style *st,
                       const struct spool_slot *slot, const struct present *now)
{
    const char *hue = slot->state == SPOOL_FAILED      ? "\033[31m"
                      : slot->state == SPOOL_DELIVERED ? "\033[32m"
                                                       : "\033[33m";

    fprintf(st->out, "  %s%s%s", tint(st, hue),
            now->delivering != NULL ? "being delivered"
                                    : state_name(slot->state),
            tint(st, "\033[0m"));
    if (slot->state == SPOOL_HELD)
        fputs(slot->for_setting ? " until a setting changes"
                                : " by an operator",
              st->out);
    if (now->delivering != NULL) {
        fputs(" since ", st->out);
        put_time(st->out, now->delivering->since);
    }
    if (now->shut != NULL) {
        fputs(now->shut->paused ? ", reconnects at " : ", host shut until ",
              st->out);
        put_time(st->out, now->shut->until);
    }
}

/* Behind the recipient's own line, for `show`. */
static void text_present(FILE *out, const struct present *now)
{
    const struct queue_delivering *d = now->delivering;

    if (d != NULL && d->address[0] != '\0') {
        fputs("        now at ", out);
        put_plain(out, span_of(d->host));
        fprintf(out, "%s(", d->host[0] != '\0' ? " " : "");
        put_plain(out, span_of(d->address));
        fputs("), session ", out);
        put_plain(out, span_of(d->session));
        putc('\n', out);
    }
    if (now->shut != NULL) {
        fprintf(out, "        %s: ", now->shut->paused ? "paused" : "shut");
        put_plain(out, span_of(now->shut->reason));
        putc('\n', out);
    }
}

static void text_times(FILE *out, const struct spool_slot *slot)
{
    if (slot->first_attempt > 0 && slot->first_attempt != slot->last_attempt) {
        fputs(", first ", out);
        put_when(out, slot->first_attempt);
    }
    if (slot->last_attempt > 0) {
        fputs(", last ", out);
        put_when(out, slot->last_attempt);
    }
    if (slot->state == SPOOL_PENDING && slot->next_attempt > 0) {
        fputs(", next ", out);
        put_when(out, slot->next_attempt);
    }
}

static void text_rcpt(struct printing *p, struct span address,
                      const struct spool_slot *slot)
{
    const struct queue_style *st = p->style;
    struct present now = present_of(p, address, slot, p->index);

    fputs("    ", st->out);
    put_plain(st->out, address);
    text_state(st, slot, &now);
    if (slot->attempts > 0)
        fprintf(st->out, ", offered %u time%s", slot->attempts,
                slot->attempts == 1 ? "" : "s");
    if (slot->rounds > 0)
        fprintf(st->out, ", no host %u time%s", slot->rounds,
                slot->rounds == 1 ? "" : "s");
    text_times(st->out, slot);
    putc('\n', st->out);
    if (slot->reply[0] != '\0' || slot->mx[0] != '\0' || slot->status.code != 0)
        text_reply(st->out, slot);
    if (st->all_recipients)
        text_present(st->out, &now);
}

static int text_field(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;
    const struct origin *o = origin_of(type);
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        putc('<', p->style->out);
        put_plain(p->style->out, s);
        fputs(">\n", p->style->out);
    } else if (type == SPOOL_F_RCPT) {
        if (spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
            return -1;
        if (p->style->all_recipients || slot.state == SPOOL_PENDING ||
            slot.state == SPOOL_HELD)
            text_rcpt(p, s, &slot);
        p->index++;
    } else if (o != NULL && p->style->all_recipients) {
        fprintf(p->style->out, "%s%s ", o->of_recipient ? "        " : "    ",
                o->words);
        put_plain(p->style->out, s);
        putc('\n', p->style->out);
    }
    return 0;
}

static int text_late(void *ctx, enum spool_field type, struct span s)
{
    struct printing *p = ctx;

    fprintf(p->style->out, "    late field %d, %zu octets\n", (int)type, s.n);
    return 0;
}

static int print_text(struct printing *p, struct err *e)
{
    const struct queue_style *st = p->style;
    const struct spool_record *rec = p->view->rec;
    char id[MSG_ID_TEXT];

    msg_id_text(id, rec->id);
    fprintf(st->out, "%s%s%s  ", tint(st, "\033[1m"), id, tint(st, "\033[0m"));
    put_when(st->out, rec->arrival);
    fprintf(st->out, "  %" PRIu64 " octets  %s", rec->body_size + rec->front,
            spool_name_text(p->view->queue));
    if (rec->part != 0)
        fprintf(st->out, "  part %" PRIu64, rec->part);
    fputs("  expires ", st->out);
    put_when(st->out, rec->arrival + (uint64_t)st->lifetime * 1000000u);
    fputs("  from ", st->out);
    int rc = spool_reader_envelope(p->view, text_field, p, e);
    if (rc < 0 && e->kind == ERR_PERM)
        fputs("?\n", st->out);
    if (rc >= 0 && st->all_recipients) {
        if (rec->front > 0)
            fprintf(st->out, "    adds header fields, %u octets\n",
                    (unsigned)rec->front);
        rc = spool_reader_late(p->view, text_late, p, e);
    }
    bool damaged = rc < 0 && e->kind == ERR_PERM;
    if (damaged)
        fputs("    damaged on disk\n", st->out);
    return rc < 0 && !damaged ? -1 : 0;
}

int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e)
{
    struct printing p = { .view = v, .style = style, .e = e };

    return style->json ? print_json(&p, e) : print_text(&p, e);
}
