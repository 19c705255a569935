/* queue_text.c - one message of the queue as text for people. */
#include "cli/queue_private.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static size_t plain_length(struct span s)
{
    size_t n = 0, len = 1;

    while (n < s.n && len > 0) {
        if (s.p[n] >= ' ' && s.p[n] <= '~') {
            n++;
            continue;
        }
        len = utf8_length(s.p + n, s.n - n);
        if (len > 0 && utf8_control(s.p + n, len) != UTF8_NO_CONTROL)
            return n;
        n += len;
    }
    return n;
}

static struct span after(struct span s, size_t n)
{
    return (struct span){ s.p + n, s.n - n };
}

void queue_put_plain(FILE *out, struct span s)
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

/* Cheaper than fprintf(), for lists of 100,000 messages. */
static void put_number(FILE *out, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    fwrite(digits + at, 1, sizeof digits - at, out);
}

enum { WHEN_TEXT = sizeof "2026-01-31 10:00:00" };

static void format_when(char out[WHEN_TEXT], struct tm *tm, time_t t)
{
    if (localtime_r(&t, tm) == NULL ||
        strftime(out, WHEN_TEXT, "%Y-%m-%d %H:%M:%S", tm) == 0)
        snprintf(out, WHEN_TEXT, "?");
}

static void put_two(char *to, unsigned n)
{
    to[0] = (char)('0' + n / 10);
    to[1] = (char)('0' + n % 10);
}

/* Formatting a time costs as much as all the rest of a line.  Quarters of an
 * hour begin everywhere at once: keep the last ones. */
static const char *when_text(uint64_t wall_us)
{
    enum { QUARTER = 15 * 60, KEPT = 64 };
    static struct quarter {
        time_t from;
        unsigned minute;
        bool plain; /* it begins with a minute */
        char text[WHEN_TEXT];
    } kept[KEPT];
    time_t t = (time_t)(wall_us / 1000000u), from = t - t % QUARTER;
    struct quarter *k = &kept[t / QUARTER % KEPT];
    unsigned past = (unsigned)(t - from);
    struct tm tm = { 0 };

    if (k->text[0] == '\0' || k->from != from) {
        k->from = from;
        format_when(k->text, &tm, from);
        k->minute = (unsigned)tm.tm_min;
        k->plain = tm.tm_min % 15 == 0 && tm.tm_sec == 0;
    }
    if (k->plain) {
        put_two(k->text + sizeof "2026-01-31 10:" - 1, k->minute + past / 60);
        put_two(k->text + sizeof "2026-01-31 10:00:" - 1, past % 60);
        return k->text;
    }
    static char odd[WHEN_TEXT];
    format_when(odd, &tm, t);
    return odd;
}

static void put_when(FILE *out, uint64_t wall_us)
{
    fputs(when_text(wall_us), out);
}

/* "12:34:56", and the day in front when it is another one. */
static void put_time(FILE *out, uint64_t wall_us)
{
    static const size_t day = sizeof "2026-01-31 " - 1;
    static char today[32];

    if (today[0] == '\0')
        snprintf(today, sizeof today, "%s", when_text(clock_wall_us()));
    const char *text = when_text(wall_us);
    fputs(strncmp(text, today, day) == 0 ? text + day : text, out);
}

static void tint(const struct queue_style *st, const char *code)
{
    if (st->colour)
        fputs(code, st->out);
}

/* All mail of a dead host has its address: keep the one before. */
static const char *address_text(const struct addr *a)
{
    static struct addr last;
    static char text[ADDR_PORT_TEXT];

    if (text[0] == '\0' || !addr_eq(&last, a)) {
        last = *a;
        addr_port_text(text, a);
    }
    return text;
}

/* Print a reply only if a peer sent it. */
static void text_reply(FILE *out, const struct spool_slot *slot)
{
    char status[SMTP_STATUS_TEXT], tls[QUEUE_TLS_TEXT];

    smtp_status_text(status, &slot->status);
    fputs("        ", out);
    if (status[0] != '\0') {
        fputs(status, out);
        fputs("  ", out);
    }
    queue_put_plain(out, span_of(slot->mx));
    if (slot->tried.u.sa.sa_family != 0) {
        fputs(slot->mx[0] != '\0' ? " (" : "(", out);
        fputs(address_text(&slot->tried), out);
        fputs(", tls ", out);
        fputs(queue_tls(tls, slot->tls_version, slot->tls_cipher), out);
        putc(')', out);
    }
    if (slot->status.code != 0) {
        fputs(" replied: ", out);
        put_number(out, slot->status.code);
        putc(' ', out);
    } else if (slot->mx[0] != '\0')
        fputs(": ", out);
    queue_put_plain(out, span_of(slot->reply));
    putc('\n', out);
}

/* RFC 3463: the delivery time expired. */
static bool is_expired(const struct smtp_status *s)
{
    return s->class == 5 && s->subject == 4 && s->detail == 7;
}

static const struct {
    const char *behind, *name;
} shut_words[] = {
    [QUEUE_SHUT] = { ", host shut until ", "shut" },
    [QUEUE_PAUSED] = { ", reconnects at ", "paused" },
    [QUEUE_PACED] = { ", paced until ", "paced" },
    [QUEUE_TRIAL] = { ", host on trial", "on trial" },
};

static void text_state(const struct queue_style *st,
                       const struct spool_slot *slot,
                       const struct queue_present *now)
{
    const char *hue = slot->state == SPOOL_FAILED      ? "\033[31m"
                      : slot->state == SPOOL_DELIVERED ? "\033[32m"
                                                       : "\033[33m";

    fputs("  ", st->out);
    tint(st, hue);
    fputs(now->delivering != NULL ? "being delivered"
                                  : queue_state_name(slot->state),
          st->out);
    tint(st, "\033[0m");
    if (slot->state == SPOOL_FAILED && is_expired(&slot->status))
        fputs(", expired", st->out);
    if (slot->state == SPOOL_HELD)
        fputs(slot->by_sender ? " until the fault here is repaired"
                              : " by an operator",
              st->out);
    if (now->delivering != NULL) {
        fputs(" since ", st->out);
        put_time(st->out, now->delivering->since);
    }
    if (now->shut != NULL) {
        bool soon = now->shut->is == QUEUE_PACED && now->shut->until == 0;
        fputs(soon ? ", paced" : shut_words[now->shut->is].behind, st->out);
        if (now->shut->until > 0)
            put_time(st->out, now->shut->until);
    }
}

/* Behind the recipient's own line, for `show`. */
static void text_present(FILE *out, const struct queue_present *now, bool local)
{
    const struct queue_delivering *d = now->delivering;

    if (d != NULL && local) {
        fputs("        now at mailbox ", out);
        queue_put_plain(out, span_of(d->host));
        putc('\n', out);
    } else if (d != NULL && d->address[0] != '\0') {
        fputs("        now at ", out);
        queue_put_plain(out, span_of(d->host));
        fprintf(out, "%s(", d->host[0] != '\0' ? " " : "");
        queue_put_plain(out, span_of(d->address));
        fputs("), session ", out);
        queue_put_plain(out, span_of(d->session));
        putc('\n', out);
    }
    if (now->shut != NULL) {
        fprintf(out, "        %s: ", shut_words[now->shut->is].name);
        queue_put_plain(out, span_of(now->shut->reason));
        putc('\n', out);
    }
}

static void text_times(const struct queue_printing *p,
                       const struct spool_slot *slot)
{
    uint64_t next = queue_next_attempt(p, slot);
    FILE *out = p->style->out;

    if (slot->first_attempt > 0 && slot->first_attempt != slot->last_attempt) {
        fputs(", first ", out);
        put_when(out, slot->first_attempt);
    }
    if (slot->last_attempt > 0) {
        fputs(", last ", out);
        put_when(out, slot->last_attempt);
    }
    if (slot->state == SPOOL_PENDING && next > 0) {
        fputs(", next ", out);
        put_when(out, next);
    }
}

/* Without a filter a list has what waits. */
static bool is_shown(const struct queue_printing *p, struct span address,
                     const struct spool_slot *slot,
                     const struct queue_present *now)
{
    const struct queue_filter *f = p->style->filter;

    if (f != NULL && f->on)
        return queue_is_shown(p, address, slot, now);
    return p->style->all_recipients || slot->state == SPOOL_PENDING ||
           slot->state == SPOOL_HELD;
}

static void text_times_tried(FILE *out, const char *what, uint64_t n)
{
    if (n == 0)
        return;
    fputs(what, out);
    put_number(out, n);
    fputs(n == 1 ? " time" : " times", out);
}

static void text_rcpt(struct queue_printing *p, struct span address,
                      const struct spool_slot *slot)
{
    const struct queue_style *st = p->style;
    struct queue_present now = queue_present_of(p, address, slot);

    if (!is_shown(p, address, slot, &now))
        return;
    fputs("    ", st->out);
    queue_put_plain(st->out, address);
    text_state(st, slot, &now);
    text_times_tried(st->out, ", offered ", slot->attempts);
    text_times_tried(st->out, ", not offered ", slot->rounds);
    text_times(p, slot);
    putc('\n', st->out);
    if (slot->reply[0] != '\0' || slot->mx[0] != '\0' || slot->status.code != 0)
        text_reply(st->out, slot);
    if (st->all_recipients)
        text_present(st->out, &now, p->view->queue == SPOOL_LOCAL);
}

static void text_replaces(struct queue_printing *p, struct span rows)
{
    FILE *out = p->style->out;
    uint32_t first, last;

    fprintf(out, "    in place of recipients of part %" PRIu64 ":",
            spool_part_parent(p->view->rec->part));
    while (spool_replaces_next(&rows, &first, &last)) {
        fprintf(out, " %u", (unsigned)first);
        if (last > first)
            fprintf(out, "-%u", (unsigned)last);
    }
    putc('\n', out);
}

static int text_field(void *ctx, enum spool_field type, struct span s)
{
    struct queue_printing *p = ctx;
    const struct queue_origin *o = queue_origin_of(type);
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        (void)span_copy(p->sender, sizeof p->sender, s);
        putc('<', p->style->out);
        queue_put_plain(p->style->out, s);
        fputs(">\n", p->style->out);
    } else if (type == SPOOL_F_RCPT) {
        if (p->index >= p->view->rec->nrcpt)
            return err_set(p->e, ERR_PERM, 0, "more recipients than slots");
        if (spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
            return -1;
        text_rcpt(p, s, &slot);
        p->index++;
    } else if (type == SPOOL_F_REPLACES && p->style->all_recipients) {
        text_replaces(p, s);
    } else if (o != NULL && p->style->all_recipients) {
        fprintf(p->style->out, "%s%s ", o->of_recipient ? "        " : "    ",
                o->words);
        queue_put_plain(p->style->out, s);
        putc('\n', p->style->out);
    }
    return 0;
}

static int text_late(void *ctx, enum spool_field type, struct span s)
{
    struct queue_printing *p = ctx;

    for (size_t n; type == SPOOL_F_REWRITTEN && s.n > 0; s.p += n, s.n -= n) {
        n = span_find(s, '\n');
        fputs("    rewritten: ", p->style->out);
        queue_put_plain(p->style->out, (struct span){ s.p, n });
        putc('\n', p->style->out);
        n += n < s.n;
    }
    if (type == SPOOL_F_REWRITTEN)
        return 0;
    fprintf(p->style->out, "    late field %d, %zu octets\n", (int)type, s.n);
    return 0;
}

int queue_print_text(struct queue_printing *p, struct err *e)
{
    const struct queue_style *st = p->style;
    const struct spool_record *rec = p->view->rec;
    char id[MSG_ID_TEXT];

    msg_id_text(id, rec->id);
    tint(st, "\033[1m");
    fputs(id, st->out);
    tint(st, "\033[0m");
    fputs("  ", st->out);
    put_when(st->out, rec->arrival);
    fputs("  ", st->out);
    put_number(st->out, rec->body_size + rec->front);
    fputs(" octets  ", st->out);
    fputs(spool_name_text(p->view->queue), st->out);
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
