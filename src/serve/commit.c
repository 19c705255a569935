#include "serve/commit.h"

#include "log/log.h"
#include "mail/trace.h"
#include "smtp/address.h"
#include "spool/submit.h"

#include <stdio.h>
#include <stdlib.h>

/* A queue, with the transactions that wait for its commit. */
struct queue_turn {
    struct spool_writer *writer;
    struct list transactions;
};

struct serve_commit {
    struct queue_turn queue[SPOOL_QUEUES];
    serve_commit_done_fn *done;
    unsigned waiting; /* transactions of all queues */
};

int serve_commit_open(struct serve_commit **sp, const char *queue_dir,
                      serve_commit_done_fn *done, struct err *e)
{
    struct serve_commit *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the commit");
    s->done = done;
    for (int q = 0; q < SPOOL_QUEUES; q++)
        list_init(&s->queue[q].transactions);
    for (int q = 0; q < SPOOL_QUEUES; q++)
        if (spool_writer_open(&s->queue[q].writer, queue_dir,
                              (enum spool_name)q, e) != 0) {
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
    for (int q = 0; q < SPOOL_QUEUES; q++) {
        while ((l = list_pop(&s->queue[q].transactions)) != NULL) {
            struct serve_transaction *t =
                LIST_ENTRY(l, struct serve_transaction, link);
            serve_transaction_free(&t);
        }
        spool_writer_close(&s->queue[q].writer);
    }
    free(s);
    *sp = NULL;
}

struct spool_writer *serve_commit_writer(struct serve_commit *s,
                                         enum spool_name queue)
{
    return s->queue[queue].writer;
}

void serve_commit_submit(struct serve_commit *s, struct serve_transaction *t)
{
    t->in_commit = true;
    s->waiting++;
    list_push(&s->queue[serve_transaction_queue(t)].transactions, &t->link);
}

unsigned serve_commit_waiting(const struct serve_commit *s)
{
    return s->waiting;
}

/* Log the reply that the client gets next. */
static void log_answer(const struct serve_transaction *t, const struct err *why)
{
    char id[MSG_ID_TEXT], first[1024], tls[TRACE_TLS_TEXT];
    struct span path = spool_envelope_sender(&t->envelope, first, sizeof first);
    char from[SMTP_PATH_MAX + 3];

    snprintf(from, sizeof from, "<%.*s>", (int)path.n, path.p);
    msg_id_text(id, t->id);
    trace_tls(tls, t->tls_version, t->tls_cipher);
    if (why != NULL)
        LOG(LOG_WARN, "serve.unstored", LS("id", id), LS("sid", t->sid),
            LS("error", why->text));
    else
        LOG(LOG_INFO, "serve.accepted", LS("id", id), LS("sid", t->sid),
            LS("from", from), LN("nrcpt", t->nlocal + t->nremote),
            LN("local", t->nlocal), LN("remote", t->nremote),
            LN("size", t->size), LS("tls", tls));
}

static void answer(struct serve_commit *s, struct serve_transaction *t,
                   const struct err *why)
{
    list_remove(&t->link);
    s->waiting--;
    log_answer(t, why);
    s->done(t, why);
    serve_transaction_free(&t);
}

static int add_record(struct spool_writer *w, struct serve_transaction *t,
                      struct err *e)
{
    serve_transaction_end(t);
    struct spool_submission m = serve_transaction_submission(t);

    if (t->large != NULL) {
        spool_large_add_flags(t->large, t->flags);
        return spool_large_finish(w, &t->large, &t->late, e);
    }
    struct body body = body_of_chain(&t->body, t->body_crc);
    return spool_submit(w, &m, &body, e);
}

/* A message that cannot be added fails alone, all of the queue fail with its
 * sync. */
static void commit_queue(struct serve_commit *s, struct queue_turn *q)
{
    struct err e;
    struct list *l, *next;

    for (l = q->transactions.next; l != &q->transactions; l = next) {
        struct serve_transaction *t =
            LIST_ENTRY(l, struct serve_transaction, link);
        next = l->next;
        if (add_record(q->writer, t, &e) != 0)
            answer(s, t, &e);
    }
    if (list_empty(&q->transactions))
        return;
    int rc = spool_writer_commit(q->writer, &e);
    if (rc != 0)
        log_err(LOG_ERROR, "serve.spool", &e);
    while ((l = q->transactions.next) != &q->transactions)
        answer(s, LIST_ENTRY(l, struct serve_transaction, link),
               rc == 0 ? NULL : &e);
}

void serve_commit_run(struct serve_commit *s)
{
    for (int q = 0; q < SPOOL_QUEUES; q++)
        commit_queue(s, &s->queue[q]);
}
