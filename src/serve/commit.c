#include "serve/commit.h"

#include "log/log.h"
#include "mailbox/batch.h"
#include "spool/submit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct serve_commit {
    struct spool_writer *writer;
    struct mailbox_batch *boxes;
    struct pool *blocks;
    serve_commit_done_fn *done;
    struct list turn; /* transactions that wait for the commit */
    unsigned waiting; /* transactions in turn */
    struct list kept; /* struct retry, freed after the second commit */
};

/* A record that is queued for local recipients whose copy failed. */
struct retry {
    struct list link;
    struct chain envelope;
};

int serve_commit_open(struct serve_commit **sp, const struct conf *c,
                      struct pool *blocks, serve_commit_done_fn *done,
                      struct err *e)
{
    struct mailbox_options o;
    struct serve_commit *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the commit");
    s->blocks = blocks;
    s->done = done;
    list_init(&s->turn);
    list_init(&s->kept);
    mailbox_options_conf(&o, c, 65536);
    if (spool_writer_open(&s->writer, c->queue_dir, SPOOL_REMOTE, e) != 0 ||
        mailbox_batch_new(&s->boxes, &o, e) != 0) {
        serve_commit_close(&s);
        return -1;
    }
    *sp = s;
    return 0;
}

void serve_commit_close(struct serve_commit **sp)
{
    struct serve_commit *s = *sp;
    struct list *l;

    if (s == NULL)
        return;
    while ((l = list_pop(&s->turn)) != NULL) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        serve_transaction_free(&t);
    }
    mailbox_batch_free(&s->boxes);
    spool_writer_close(&s->writer);
    free(s);
    *sp = NULL;
}

struct spool_writer *serve_commit_writer(struct serve_commit *s)
{
    return s->writer;
}

void serve_commit_submit(struct serve_commit *s, struct serve_transaction *t)
{
    t->in_commit = true;
    s->waiting++;
    list_push(&s->turn, &t->link);
}

unsigned serve_commit_waiting(const struct serve_commit *s)
{
    return s->waiting;
}

static void log_mailbox(const struct serve_transaction *t,
                        const struct serve_local *local, const struct err *e)
{
    char id[MSG_ID_TEXT];

    msg_id_text(id, t->id);
    LOG(LOG_WARN, "serve.mailbox", LS("id", id), LS("sid", t->sid),
        LS("user", local->name), LS("error", e->text));
}

/* Step 1 for the local copies of one message. */
static void write_copies(struct serve_commit *s, struct serve_transaction *t)
{
    struct mailbox_message m = { .body = serve_transaction_body(t) };
    char first[1024];
    struct err e;

    m.reverse_path = spool_envelope_sender(&t->envelope, first, sizeof first);
    for (struct list *l = t->locals.next; l != &t->locals; l = l->next) {
        struct serve_local *local = LIST_ENTRY(l, struct serve_local, link);
        m.user = local->name;
        m.delivered_to = (struct span){ serve_transaction_local_address(local),
                                        local->address_n };
        local->copy = mailbox_add(s->boxes, &m, &e);
        if (local->copy == NULL) {
            local->failed = true;
            log_mailbox(t, local, &e);
        }
    }
}

static void note_failures(struct serve_transaction *t)
{
    struct err e;

    for (struct list *l = t->locals.next; l != &t->locals; l = l->next) {
        struct serve_local *local = LIST_ENTRY(l, struct serve_local, link);
        if (local->copy == NULL || mailbox_status(local->copy, &e) == 0)
            continue;
        local->failed = true;
        local->copy = NULL;
        log_mailbox(t, local, &e);
    }
}

static unsigned count_failed(const struct serve_transaction *t)
{
    unsigned n = 0;

    for (struct list *l = t->locals.next; l != &t->locals; l = l->next)
        n += LIST_ENTRY(l, struct serve_local, link)->failed;
    return n;
}

static void log_copies(const struct serve_transaction *t, const char *id)
{
    for (struct list *l = t->locals.next; l != &t->locals; l = l->next) {
        struct serve_local *local = LIST_ENTRY(l, struct serve_local, link);
        if (!local->failed)
            LOG(LOG_INFO, "serve.delivered", LS("id", id), LS("sid", t->sid),
                LS("to", serve_transaction_local_address(local)),
                LS("user", local->name));
    }
}

/* Log the reply that the client gets next. */
static void log_answer(const struct serve_transaction *t, enum commit_result r,
                       const struct err *why)
{
    char id[MSG_ID_TEXT], first[1024];
    struct span path = spool_envelope_sender(&t->envelope, first, sizeof first);
    char from[SMTP_PATH_MAX + 3];

    snprintf(from, sizeof from, "<%.*s>", (int)path.n, path.p);
    msg_id_text(id, t->id);
    if (r == COMMIT_FAILED) {
        LOG(LOG_WARN, "serve.unstored", LS("id", id), LS("sid", t->sid),
            LS("error", why->text));
        return;
    }
    LOG(LOG_INFO, "serve.accepted", LS("id", id), LS("sid", t->sid),
        LS("from", from), LN("nrcpt", t->nrcpt), LN("local", t->nlocal),
        LN("remote", t->nremote), LN("size", t->size));
    log_copies(t, id);
}

static void answer(struct serve_commit *s, struct serve_transaction *t,
                   enum commit_result r, const struct err *why)
{
    list_remove(&t->link);
    s->waiting--;
    log_answer(t, r, why);
    s->done(t, r, why);
    serve_transaction_free(&t);
}

/* Fail a message before any part of it is visible, so that it leaves no
 * trace. */
static void refuse(struct serve_commit *s, struct serve_transaction *t,
                   const struct err *why)
{
    for (struct list *l = t->locals.next; l != &t->locals; l = l->next)
        mailbox_abort(LIST_ENTRY(l, struct serve_local, link)->copy);
    answer(s, t, COMMIT_FAILED, why);
}

static bool retry_envelope(struct serve_commit *s,
                           const struct serve_transaction *t, struct retry *r)
{
    char first[1024];
    struct span from = spool_envelope_sender(&t->envelope, first, sizeof first);
    bool ok = spool_envelope_add(&r->envelope, s->blocks, SPOOL_F_SENDER, from);

    for (struct list *l = t->locals.next; l != &t->locals && ok; l = l->next) {
        struct serve_local *local = LIST_ENTRY(l, struct serve_local, link);
        struct span to = { serve_transaction_local_address(local),
                           local->address_n };
        if (local->failed)
            ok = spool_envelope_add(&r->envelope, s->blocks, SPOOL_F_RCPT, to);
    }
    return ok;
}

/* Queue a separate message for the local recipients that failed.  It has the
 * same id unless a record with that id is in the queue for remote
 * recipients. */
static int add_retry(struct serve_commit *s, struct serve_transaction *t,
                     struct err *e)
{
    struct retry *r = calloc(1, sizeof *r);
    struct spool_submission m = { .id = t->id,
                                  .arrival = t->arrival,
                                  .nrcpt = count_failed(t),
                                  .flags = t->flags };
    struct body body = serve_transaction_body(t);
    char id[MSG_ID_TEXT], of[MSG_ID_TEXT];

    if (r == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to queue for retry");
    list_push(&s->kept, &r->link);
    m.envelope = &r->envelope;
    if (!retry_envelope(s, t, r))
        return err_set(e, ERR_TEMP, 0, "no memory to queue for retry");
    if ((t->nremote > 0 && spool_writer_new_id(s->writer, &m.id, e) != 0) ||
        spool_submit(s->writer, &m, &body, e) != 0)
        return -1;
    msg_id_text(id, m.id);
    msg_id_text(of, t->id);
    LOG(LOG_INFO, "serve.retry", LS("id", id), LS("of", of),
        LN("nrcpt", m.nrcpt));
    return 0;
}

static void forget_retries(struct serve_commit *s)
{
    struct list *l;

    while ((l = list_pop(&s->kept)) != NULL) {
        struct retry *r = LIST_ENTRY(l, struct retry, link);
        chain_clear(&r->envelope, s->blocks);
        free(r);
    }
}

static int add_record(struct serve_commit *s, struct serve_transaction *t,
                      struct err *e)
{
    struct spool_submission m = { .id = t->id,
                                  .arrival = t->arrival,
                                  .nrcpt = t->nremote,
                                  .flags = t->flags,
                                  .envelope = &t->envelope };
    struct body body = serve_transaction_body(t);

    if (t->nremote == 0)
        return 0;
    if (t->large != NULL && t->nlocal > 0 &&
        serve_transaction_keep_body(t) != 0)
        return err_set(e, ERR_TEMP, errno, "copy the message body");
    if (t->large != NULL) {
        spool_large_add_flags(t->large, t->flags);
        return spool_large_finish(s->writer, &t->large, NULL, e);
    }
    return spool_submit(s->writer, &m, &body, e);
}

/* Steps 1 and 2: a message that fails here gets its reply at once and leaves
 * the turn. */
static void prepare(struct serve_commit *s)
{
    struct err e = { ERR_TEMP, 0, "mailbox temporarily unavailable" };
    struct list *l, *next;

    for (l = s->turn.next; l != &s->turn; l = l->next)
        write_copies(s, LIST_ENTRY(l, struct serve_transaction, link));
    mailbox_sync(s->boxes);
    for (l = s->turn.next; l != &s->turn; l = next) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        next = l->next;
        note_failures(t);
        if (t->nremote == 0 && count_failed(t) == t->nlocal)
            refuse(s, t, &e);
        else if (add_record(s, t, &e) != 0)
            refuse(s, t, &e);
    }
}

static void commit_records(struct serve_commit *s)
{
    struct err e;
    struct list *l, *next;

    if (spool_writer_commit(s->writer, &e) == 0)
        return;
    log_err(LOG_ERROR, "serve.spool", &e);
    for (l = s->turn.next; l != &s->turn; l = next) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        next = l->next;
        if (t->nremote > 0)
            refuse(s, t, &e);
    }
}

/* Queue failed copies of messages whose other recipients are stored.  If that
 * fails too, the client gets 451 and keeps the message: the other recipients
 * get a duplicate, but nothing is lost. */
static void rescue_failed(struct serve_commit *s)
{
    struct err e = { ERR_TEMP, 0, "" };
    bool added = false;
    struct list *l, *next;

    for (l = s->turn.next; l != &s->turn; l = next) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        next = l->next;
        note_failures(t);
        if (count_failed(t) == 0)
            continue;
        added = true;
        if (add_retry(s, t, &e) != 0)
            answer(s, t, COMMIT_FAILED, &e);
    }
    bool failed = added && spool_writer_commit(s->writer, &e) != 0;
    forget_retries(s);
    for (l = s->turn.next; failed && l != &s->turn; l = next) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        next = l->next;
        if (count_failed(t) > 0)
            answer(s, t, COMMIT_FAILED, &e);
    }
}

void serve_commit_run(struct serve_commit *s)
{
    struct list *l;

    prepare(s);
    commit_records(s);
    mailbox_publish(s->boxes);
    rescue_failed(s);
    while ((l = s->turn.next) != &s->turn) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        bool queued = t->nremote > 0 || count_failed(t) > 0;
        answer(s, t, queued ? COMMIT_QUEUED : COMMIT_DELIVERED, NULL);
    }
    mailbox_reset(s->boxes);
}
