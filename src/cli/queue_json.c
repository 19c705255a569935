/* queue_json.c - one message of the queue as JSON, on one line. */
#include "cli/queue_private.h"

#include "base/json.h"

#include <inttypes.h>

static void json_host(FILE *out, const struct spool_slot *slot)
{
    char address[ADDR_TEXT], tls[QUEUE_TLS_TEXT];

    fputs(",\"mx\":", out);
    json_string(out, span_of(slot->mx));
    if (slot->tried.u.sa.sa_family == 0) {
        fputs(",\"address_tried\":null,\"tls\":null", out);
        return;
    }
    addr_text(address, &slot->tried);
    fprintf(out, ",\"address_tried\":\"%s\",\"port\":%u,\"tls\":\"%s\"",
            address, (unsigned)addr_port(&slot->tried),
            queue_tls(tls, slot->tls_version, slot->tls_cipher));
}

/* To a mailbox there is no session. */
static void json_delivering(FILE *out, const struct queue_delivering *d,
                            bool local)
{
    fputs(",\"delivering\":{\"since\":", out);
    json_time(out, d->since);
    if (local) {
        fputs(",\"mailbox\":", out);
        json_string(out, span_of(d->host));
        putc('}', out);
        return;
    }
    fputs(",\"session\":", out);
    json_string(out, span_of(d->session));
    fputs(",\"mx\":", out);
    json_string(out, span_of(d->host));
    fputs(",\"address\":", out);
    json_string(out, span_of(d->address));
    putc('}', out);
}

/* Only while a sender runs. */
static void json_shut(FILE *out, const struct queue_shut *shut)
{
    fputs(",\"shut_until\":", out);
    json_time(out, shut != NULL && shut->is == QUEUE_SHUT ? shut->until : 0);
    if (shut != NULL && shut->is == QUEUE_PAUSED) {
        fputs(",\"reconnects_at\":", out);
        json_time(out, shut->until);
    }
    if (shut != NULL && shut->is == QUEUE_PACED) {
        fputs(",\"paced_until\":", out);
        json_time(out, shut->until);
    }
    if (shut != NULL && shut->is == QUEUE_TRIAL)
        fputs(",\"on_trial\":true", out);
    fputs(",\"host_state\":", out);
    if (shut != NULL)
        json_string(out, span_of(shut->reason));
    else
        fputs("null", out);
}

static void json_rcpt(const struct queue_printing *p, struct span address,
                      const struct spool_slot *slot, struct queue_present now)
{
    char status[SMTP_STATUS_TEXT];
    FILE *out = p->style->out;

    smtp_status_text(status, &slot->status);
    fputs("{\"address\":", out);
    json_string(out, address);
    fprintf(out, ",\"state\":\"%s\",\"attempts\":%u,\"rounds\":%u",
            now.delivering != NULL ? "delivering"
                                   : queue_state_name(slot->state),
            slot->attempts, slot->rounds);
    if (slot->state == SPOOL_HELD)
        fprintf(out, ",\"held_by\":\"%s\"",
                slot->by_sender ? "sender" : "operator");
    fputs(",\"first_attempt\":", out);
    json_time(out, slot->first_attempt);
    fputs(",\"last_attempt\":", out);
    json_time(out, slot->last_attempt);
    fputs(",\"next_attempt\":", out);
    json_time(out, queue_next_attempt(p, slot));
    json_host(out, slot);
    fprintf(out, ",\"code\":%u,\"status\":\"%s\",\"reply\":",
            (unsigned)slot->status.code, status);
    json_string(out, span_of(slot->reply));
    if (p->style->live != NULL && queue_live_sends(p->style->live))
        json_shut(out, now.shut);
    if (now.delivering != NULL)
        json_delivering(out, now.delivering, p->view->queue == SPOOL_LOCAL);
}

/* Recipients stand together in the envelope, and what is said of a recipient
 * stands behind it: its object stays open until the next field. */
static void end_recipients(struct queue_printing *p)
{
    if (p->nshown > 0 && !p->recipients_done)
        fputs("}]", p->style->out);
    else if (!p->recipients_done)
        fputs(",\"recipients\":[]", p->style->out);
    p->recipients_done = true;
}

static int json_next_rcpt(struct queue_printing *p, struct span address)
{
    struct spool_slot slot;

    if (p->recipients_done)
        return err_set(p->e, ERR_PERM, 0, "the envelope is not in order");
    if (p->index >= p->view->rec->nrcpt)
        return err_set(p->e, ERR_PERM, 0, "more recipients than slots");
    if (spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
        return -1;
    struct queue_present now = queue_present_of(p, address, &slot);
    p->index++;
    p->shows = queue_is_shown(p, address, &slot, &now);
    if (!p->shows)
        return 0;
    fputs(p->nshown++ == 0 ? ",\"recipients\":[" : "},", p->style->out);
    json_rcpt(p, address, &slot, now);
    return 0;
}

static void end_replaces(struct queue_printing *p)
{
    if (p->nreplaced > 0 && !p->replaces_done)
        putc(']', p->style->out);
    p->replaces_done = p->nreplaced > 0;
}

/* The last fields of a child. */
static void json_replaces(struct queue_printing *p, struct span rows)
{
    uint32_t first, last;

    end_recipients(p);
    while (!p->replaces_done && spool_replaces_next(&rows, &first, &last)) {
        if (p->nreplaced++ == 0)
            fprintf(p->style->out, ",\"parent\":%" PRIu64 ",\"replaces\":[",
                    spool_part_parent(p->view->rec->part));
        else
            putc(',', p->style->out);
        fprintf(p->style->out, "[%u,%u]", (unsigned)first, (unsigned)last);
    }
}

static int json_field(void *ctx, enum spool_field type, struct span s)
{
    struct queue_printing *p = ctx;
    const struct queue_origin *o = queue_origin_of(type);

    if (type != SPOOL_F_REPLACES)
        end_replaces(p);
    if (type == SPOOL_F_RCPT)
        return json_next_rcpt(p, s);
    if (type == SPOOL_F_REPLACES && p->style->all_recipients)
        json_replaces(p, s);
    if (type == SPOOL_F_SENDER) {
        (void)span_copy(p->sender, sizeof p->sender, s);
        fputs(",\"sender\":", p->style->out);
        json_string(p->style->out, s);
    } else if (o != NULL && p->style->all_recipients &&
               (p->shows || !o->of_recipient)) {
        if (!o->of_recipient && p->index > 0)
            end_recipients(p);
        fprintf(p->style->out, ",\"%s\":", o->name);
        json_string(p->style->out, s);
    }
    return 0;
}

static int json_late(void *ctx, enum spool_field type, struct span s)
{
    struct queue_printing *p = ctx;

    fprintf(p->style->out, "%s{\"type\":%d,\"size\":%zu",
            p->nlate++ > 0 ? "," : "", (int)type, s.n);
    if (type == SPOOL_F_REWRITTEN) {
        fputs(",\"rewritten\":", p->style->out);
        json_string(p->style->out, s);
    }
    putc('}', p->style->out);
    return 0;
}

int queue_print_json(struct queue_printing *p, struct err *e)
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
    end_replaces(p);
    if (rc >= 0 && p->style->all_recipients) {
        fprintf(out, ",\"front\":%u,\"late\":[", (unsigned)rec->front);
        rc = spool_reader_late(p->view, json_late, p, e);
        putc(']', out);
    }
    bool damaged = rc < 0 && e->kind == ERR_PERM;
    if (p->style->history != NULL)
        fprintf(out, ",\"history\":%s", p->style->history);
    fputs(damaged ? ",\"damaged\":true}\n" : "}\n", out);
    return rc < 0 && !damaged ? -1 : 0;
}
