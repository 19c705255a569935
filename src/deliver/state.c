/* state.c - open and close the delivery process's state; its turns. */
#include "deliver/state.h"

#include "base/handdown.h"
#include "base/line.h"
#include "deliver/mailboxes.h"
#include "deliver/schedule.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/held.h"
#include "smtp/address.h"

#include <string.h>
#include <unistd.h>

/* --- the owner of the queue ----------------------------------------------- */

static struct deliver *of_queue(struct queue *q)
{
    return QUEUE_ENTRY(q, struct deliver, queue);
}

/* Resolved when it is due: until then all have the same place. */
static void *place(struct queue *q, struct span sender, struct span address)
{
    (void)sender;
    (void)address;
    return q;
}

static void release(struct queue *q, void *of)
{
    (void)q;
    (void)of;
}

static void due(struct queue *q, struct rcpt *r)
{
    schedule_due(of_queue(q), r);
}

static void back(struct queue *q, struct delivery *j, struct delivery_rcpt *r)
{
    (void)j;
    due(q, r->rcpt);
}

static bool goes_on(struct queue *q, struct delivery *j,
                    struct delivery_rcpt *r)
{
    (void)q;
    (void)j;
    (void)r;
    return false;
}

static bool keep(struct queue *q, struct delivery *j, struct delivery_rcpt *r,
                 uint32_t *seconds)
{
    (void)seconds;
    return goes_on(q, j, r);
}

static bool is_local(struct queue *q, struct span address)
{
    struct smtp_address a;
    enum smtp_address_error why = smtp_address_parse(&a, address);

    return why == SMTP_ADDRESS_NO_DOMAIN ||
           (why == SMTP_ADDRESS_OK &&
            local_has_domain(of_queue(q)->local, a.domain));
}

/* In whichever line it stands. */
static bool take(struct queue *q, struct rcpt *r)
{
    (void)q;
    list_remove(&r->link);
    return true;
}

static const struct queue_owner owner = { place, release,  due,  back, goes_on,
                                          keep,  is_local, take, NULL };
static const struct queue_events events = { "deliver.delivered",
                                            "deliver.deferred",
                                            "deliver.bounced",
                                            "deliver.expanded" };

/* --- users of the system -------------------------------------------------- */

static void on_answered(void *ctx)
{
    schedule_answered(ctx);
}

static void on_helper_lost(void *ctx)
{
    struct deliver *d = ctx;
    struct err e;

    if (line_send(d->o->line, DELIVER_REPLACE_HELPER, -1, &e) != 0)
        log_err(LOG_ERROR, "deliver.line", &e);
}

static int open_users(struct deliver *d, struct err *e)
{
    if (d->conf->local.users.source != CONF_USERS_PASSWD)
        return 0;
    if (user_asker_new(&d->asker, d->loop, on_answered, on_helper_lost, d, e) !=
        0)
        return -1;
    local_use_asker(d->local, d->asker);
    return 0;
}

/* --- the line ------------------------------------------------------------- */

/* The supervisor has checked the tables: a failure is one of memory, and those
 * that are there go on. */
static void renew_tables(struct deliver *d)
{
    struct local *l = NULL;
    struct err e;

    if (local_open(&l, &d->conf->local, &e) != 0) {
        log_err(LOG_ERROR, "deliver.tables", &e);
        return;
    }
    local_close(&d->local);
    d->local = l;
    if (d->asker != NULL)
        local_use_asker(l, d->asker);
    schedule_answered(d); /* what the old tables asked for may be another */
    queue_tables_renewed(&d->queue);
}

/* A message with a descriptor. */
static void take_end(struct deliver *d, const char *text, int fd)
{
    const size_t n = sizeof DELIVER_MAILBOX - 1;
    unsigned long long number;

    if (strncmp(text, DELIVER_MAILBOX, n) == 0 &&
        span_u64(span_of(text + n), DELIVER_MAILBOXES_MAX, &number))
        mailboxes_connect(d, (unsigned)number, fd);
    else if (strcmp(text, DELIVER_HELPER) == 0 && d->asker != NULL)
        user_asker_connect(d->asker, fd);
    else
        close(fd);
}

int deliver_take_line(struct deliver *d, int line)
{
    char text[LINE_MAX_TEXT];
    bool renewed = false;
    int fd, rc;

    while ((rc = line_receive(line, text, &fd)) > 0)
        if (handdown_accept(text, fd))
            renewed = true;
        else if (fd >= 0)
            take_end(d, text, fd);
    if (renewed)
        renew_tables(d);
    return rc < 0;
}

/* --- a turn --------------------------------------------------------------- */

/* A predecessor may have been killed behind a copy and before its mark: each
 * copy of what was found at the start is looked for. */
static void end_start(struct deliver *d)
{
    struct retry_queue *retry = &d->queue.memory.retry;

    if (d->queue.scan.incomplete || d->queue.scan.unread != NULL)
        return;
    d->starting = false;
    for (size_t i = 0; i < RETRY_QUEUE_SECONDS; i++)
        for (struct list *l = retry->second[i].next; l != &retry->second[i];
             l = l->next)
            LIST_ENTRY(l, struct rcpt, link)->suspect = 1;
}

int deliver_turn(struct deliver *d, bool flush, struct err *e)
{
    struct queue *q = &d->queue;

    q->scan.wanted |= flush; /* mail not scanned yet is due as well */
    if (housekeeping_run(&d->housekeeping, q, e) != 0)
        return -1;
    if (d->starting)
        end_start(d);
    if (flush || !d->o->once)
        schedule_retries(d, flush);
    if (flush)
        held_release(q);
    mailboxes_let_in(d);
    schedule_turn(d);
    queue_flush(q);
    mailboxes_flush(d);
    return 0;
}

bool deliver_is_busy(const struct deliver *d)
{
    return !list_empty(&d->schedule.due) || !list_empty(&d->schedule.asking) ||
           mailboxes_are_busy(d) || !list_empty(&d->queue.notice.deliveries) ||
           d->queue.scan.wanted;
}

/* --- open and close ------------------------------------------------------- */

int deliver_open(struct deliver *d, const struct deliver_options *o,
                 const sigset_t *wait_mask, struct err *e)
{
    *d = (struct deliver){ .o = o, .conf = o->conf, .starting = true };
    list_init(&d->schedule.due);
    list_init(&d->schedule.asking);
    if (loop_new(&d->loop, wait_mask, e) != 0)
        return -1;
    d->queue = (struct queue){
        .owner = &owner, .events = &events, .conf = d->conf, .loop = d->loop
    };
    if (mailboxes_open(d, e) != 0 ||
        local_open(&d->local, &d->conf->local, e) != 0 || open_users(d, e) != 0)
        return -1;
    return queue_open(&d->queue, SPOOL_LOCAL, e);
}

void deliver_close(struct deliver *d)
{
    mailboxes_close(d);
    queue_close(&d->queue);
    local_close(&d->local);
    user_asker_free(&d->asker);
    loop_free(&d->loop);
}
