/* copy.c - from a recipient to a request, from an answer to the queue. */
#include "deliver/copy.h"

#include "log/log.h"
#include "queue/result.h"
#include "recipient/full_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_MS = 30 * 1000, FAULT_LOG_SECONDS = 60 };

/* --- make one ------------------------------------------------------------- */

static size_t room_for(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *put(char **at, const char *text)
{
    size_t n = room_for(text);

    if (n == 0)
        return NULL;
    memcpy(*at, text, n);
    *at += n;
    return *at - n;
}

static bool is_utf8(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return true;
    return false;
}

static void fill(struct copy *c, const struct work *w,
                 const struct work_item *i)
{
    char *at = (char *)(c + 1);
    const struct spool_record *rec = &w->msg->stored.rec;

    c->delivery = (struct delivery){ .local = true,
                                     .msg = w->msg,
                                     .id = rec->id,
                                     .arrival = rec->arrival,
                                     .flags = rec->flags,
                                     .sender = put(&at, w->sender),
                                     .envid = put(&at, w->envid),
                                     .ret = put(&at, w->ret),
                                     .nrcpt = 1,
                                     .rcpt = &c->rcpt };
    c->rcpt.rcpt = i->rcpt;
    c->rcpt.address = put(&at, i->address);
    c->rcpt.orcpt = put(&at, i->orcpt);
    c->rcpt.notify = put(&at, i->notify);
    c->rcpt.utf8 = is_utf8(c->rcpt.address);
    c->delivery.sender_utf8 = is_utf8(c->delivery.sender);
    c->look_first = i->rcpt->suspect;
    if (w->sid != NULL)
        snprintf(c->delivery.sid, sizeof c->delivery.sid, "%s", w->sid);
    if (i->key != NULL)
        snprintf(c->delivery.host, sizeof c->delivery.host, "%.*s",
                 (int)sizeof c->delivery.host - 1, i->key);
}

static struct copy *make(struct work *w, const struct work_item *i,
                         struct err *e)
{
    struct queue *q = &w->d->queue;
    size_t text = room_for(w->sender) + room_for(w->envid) + room_for(w->ret) +
                  room_for(i->address) + room_for(i->orcpt) +
                  room_for(i->notify);
    struct copy *c = calloc(1, sizeof *c + text);

    if (c == NULL) {
        err_set(e, ERR_TEMP, ENOMEM, "memory for a copy");
        return NULL;
    }
    fill(c, w, i);
    if (spool_message_pin_read_only(q->spool, &w->msg->stored,
                                    &c->delivery.body, e) != 0) {
        free(c);
        return NULL;
    }
    c->delivery.pinned = w->msg->stored.segment;
    return c;
}

struct copy *copy_new(struct work *w, const struct work_item *i)
{
    struct err e;
    struct copy *c = make(w, i, &e);

    if (c != NULL)
        return c;
    work_report(w, &e);
    work_put_off(w, i, &e);
    return NULL;
}

struct copy *copy_of_replaced(struct work *w, const struct work_item *i,
                              struct err *e)
{
    struct copy *c = make(w, i, e);

    if (c == NULL)
        return NULL;
    c->rcpt.notice = (unsigned char)i->notice;
    answer_set(&c->rcpt.answer, OUTCOME_DELIVERED, "2.0.0", "%s",
               i->notice == NOTICE_DELIVERED ? "delivered to a mailing list"
                                             : "passed on to several "
                                               "recipients");
    return c;
}

struct mailbox_request copy_request(const struct copy *c, const char *key)
{
    const struct delivery *j = &c->delivery;

    return (struct mailbox_request){ .tag = c->tag,
                                     .key = key,
                                     .reverse_path = span_of(j->sender),
                                     .delivered_to = span_of(c->rcpt.address),
                                     .body = j->body,
                                     .id = j->id,
                                     .part = j->msg->stored.rec.part,
                                     .slot = (uint16_t)c->rcpt.rcpt->slot,
                                     .arrival = j->arrival,
                                     .look_first = c->look_first };
}

/* --- why, for the administrator ------------------------------------------- */

/* One line a minute for each mailbox; two that share a place take turns. */
static void report(struct deliver *d, const struct mailbox_answer *a,
                   const char *key)
{
    uint64_t hash = map_hash(key, strlen(key));
    uint32_t now = queue_seconds(&d->queue);
    size_t at = hash % DELIVER_FAULTS;
    char status[SMTP_STATUS_TEXT];

    if (d->fault[at].key == hash && d->fault[at].logged != 0 &&
        now < d->fault[at].logged + FAULT_LOG_SECONDS)
        return;
    d->fault[at].key = hash;
    d->fault[at].logged = now;
    smtp_status_text(status, &a->status);
    LOG(a->outcome == MAILBOX_ADMIN ? LOG_ERROR : LOG_WARN, "deliver.mailbox",
        LS("mailbox", key), LS("status", status),
        LS("error", a->why[0] != '\0' ? a->why : a->text));
}

static void note_room(struct deliver *d, const struct mailbox_answer *a,
                      const char *key)
{
    struct full_page *p = d->o->full;
    uint64_t now = loop_now(d->loop);

    if (a->disk_full)
        full_page_set_disk(p, now + FULL_MS);
    if (a->over_quota)
        full_page_set_mailbox(p, key, now + FULL_MS);
    if (a->outcome != MAILBOX_DELIVERED)
        return;
    if (full_page_disk(p, now))
        full_page_clear_disk(p);
    if (full_page_mailbox(p, key, now))
        full_page_clear_mailbox(p, key);
}

/* --- the answer ----------------------------------------------------------- */

static enum outcome outcome_of(const struct mailbox_answer *a)
{
    switch (a->outcome) {
    case MAILBOX_DELIVERED: return OUTCOME_DELIVERED;
    case MAILBOX_DEFERRED: return OUTCOME_DEFERRED;
    case MAILBOX_FAILED: return OUTCOME_FAILED;
    case MAILBOX_ADMIN: break;
    }
    return OUTCOME_NONE;
}

void copy_settled(struct deliver *d, struct copy *c, const struct answer *a)
{
    c->rcpt.answer = *a;
    result_apply(&d->queue, &c->delivery);
}

void copy_answered(struct deliver *d, struct copy *c,
                   const struct mailbox_answer *a, const char *key)
{
    struct answer own = { .outcome = outcome_of(a), .status = a->status };

    c->delivery.offered = true;
    /* It may have failed before anything was looked for, or behind a rename
     * that could not be taken back, because the reader had moved the file. */
    c->rcpt.rcpt->suspect = 1;
    answer_set_text(&own, a->outcome == MAILBOX_DELIVERED
                              ? "delivered to mailbox"
                              : a->text);
    if (a->damaged)
        answer_set_unreadable(&own, EBADMSG);
    /* Neither an attempt nor a reason to return the mail. */
    if (a->damaged || a->disk_full || a->over_quota)
        own.outcome = OUTCOME_NONE;
    own.misconfigured = own.outcome == OUTCOME_NONE;
    if (a->outcome != MAILBOX_DELIVERED && !a->damaged && a->why[0] != '\0')
        report(d, a, key);
    note_room(d, a, key);
    copy_settled(d, c, &own);
}

void copy_unanswered(struct deliver *d, struct copy *c, const char *status,
                     const char *text)
{
    struct answer own;

    answer_set(&own, OUTCOME_DEFERRED, status, "%s", text);
    c->delivery.offered = true;
    c->rcpt.rcpt->suspect = 1;
    copy_settled(d, c, &own);
}

void copy_drop(struct deliver *d, struct copy *c)
{
    struct delivery *j = &c->delivery;

    spool_message_unpin(d->queue.spool, j->pinned);
    delivery_free(&j);
}
