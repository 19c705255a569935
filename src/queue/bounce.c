/* bounce.c - notify senders of failure, delay or delivery (RFC 3464).
 *
 * A notice is a message in the queue of its recipient.  The recipients it reports are
 * marked only when the notice is durable, so a crash repeats a notice rather
 * than losing it.  Many notices share one commit. */
#include "queue/bounce.h"

#include "base/body.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "log/log.h"
#include "mail/dsn.h"
#include "mail/rewrite.h"
#include "queue/handover.h"
#include "queue/recipients.h"
#include "queue/result.h"
#include "spool/submit.h"

#include <errno.h>
#include <string.h>

enum {
    GROUPS_MAX = 32,  /* messages reported in one commit */
    LOOK_AHEAD = 200, /* deliveries searched for others of the same message */
    RCPTS_MAX = 400,  /* recipients in one notice */
    PARTS_MAX = 5,    /* as in parts */
    FULL_MAX = 1024 * 1024, /* a larger message is returned with its header
                             * alone, RET=FULL or not */
    BLOCKS_MIN = QUEUE_BLOCKS / 8 /* for one more message */
};

struct group {
    struct list deliveries;
    char bounce[MSG_ID_TEXT];
    enum spool_name to; /* of its notices */
    bool failed;
    struct {
        struct msg_id id;
        size_t nrcpt; /* 0: there is none */
    } sent[PARTS_MAX];
};

/* Kept until the commit. */
struct batch {
    struct group group[GROUPS_MAX];
    size_t ngroups;
    struct chain env[GROUPS_MAX * PARTS_MAX], body[GROUPS_MAX * PARTS_MAX];
    size_t nchains;
};

static struct delivery *delivery_at(struct list *l)
{
    return LIST_ENTRY(l, struct delivery, link);
}

/* --- pieces of a message ------------------------------------------------ */

static bool add_field(struct queue *q, struct chain *env, enum spool_field type,
                      const char *text)
{
    return spool_envelope_add(env, q->notice.blocks, type, span_of(text));
}

struct sink {
    struct queue *q;
    struct chain *to;
    struct rewrite_header *rewrite; /* NULL: it is not wanted */
    bool eight_bit;
    uint32_t crc;
};

static int keep(void *ctx, const char *p, size_t n)
{
    struct sink *k = ctx;

    for (size_t i = 0; i < n && !k->eight_bit; i++)
        k->eight_bit = (unsigned char)p[i] >= 0x80;
    k->crc = crc32c(k->crc, p, n);
    return chain_add(k->to, k->q->notice.blocks, p, n) ? 0 : -1;
}

static bool put(void *ctx, const char *p, size_t n)
{
    struct sink *k = ctx;

    return (k->rewrite != NULL ? rewrite_header_feed(k->rewrite, p, n)
                               : keep(k, p, n)) == 0;
}

/* The From of a notice is of this host, which a smarthost may not take. */
static int write_text(struct sink *k, const struct dsn *d, struct err *e)
{
    const struct rewrite_job job = { .conf = k->q->conf,
                                     .put = keep,
                                     .ctx = k };

    if (rewrite_wanted(job.conf) && rewrite_header_new(&k->rewrite, &job, e))
        return -1;
    int rc = dsn_write(d, put, k, e);
    rewrite_header_free(&k->rewrite);
    return rc;
}

static bool no_room(struct err *e)
{
    err_set(e, ERR_TEMP, ENOMEM, "no blocks for a notice");
    return false;
}

/* --- a notice ----------------------------------------------------------- */

/* clang-format off */
static const struct {
    enum notice notice;
    enum dsn_action action;
    const char *name;
} parts[PARTS_MAX] = {
    { NOTICE_FAILED,    DSN_FAILED,    "failed" },
    { NOTICE_DELAYED,   DSN_DELAYED,   "delayed" },
    { NOTICE_RELAYED,   DSN_RELAYED,   "relayed" },
    { NOTICE_DELIVERED, DSN_DELIVERED, "delivered" },
    { NOTICE_EXPANDED,  DSN_EXPANDED,  "expanded" },
};
/* clang-format on */

/* A failure is marked only when its notice is durable: this try is counted on
 * top of the slot's.  A delay stands in the slot already. */
static void add_tries(struct queue *q, const struct delivery *j,
                      const struct delivery_rcpt *r, struct dsn_rcpt *out)
{
    struct spool_slot slot = { 0 };
    struct err e;

    if (r->notice == NOTICE_FAILED)
        result_count(q, j, r->rcpt, &slot);
    else if (r->notice != NOTICE_DELAYED)
        return;
    else if (spool_slot_get(q->spool, &j->msg->stored, r->rcpt->slot, &slot,
                            &e) != 0)
        queue_log_fault(q, "queue.slot", &e);
    out->attempts = slot.attempts;
    out->rounds = slot.rounds;
    out->first_attempt = slot.first_attempt;
    out->last_attempt = slot.last_attempt;
}

static size_t collect(struct queue *q, struct dsn_rcpt *out,
                      struct list *deliveries, enum notice notice)
{
    size_t n = 0;

    for (struct list *l = deliveries->next; l != deliveries; l = l->next) {
        struct delivery *j = delivery_at(l);
        for (size_t i = 0; i < j->nrcpt && n < RCPTS_MAX; i++) {
            const struct delivery_rcpt *r = &j->rcpt[i];
            if (r->notice != notice)
                continue;
            out[n] = (struct dsn_rcpt){ .address = r->address,
                                        .orcpt = r->orcpt,
                                        .status = r->answer.status,
                                        .reply = delivery_reply(j, &r->answer),
                                        .expired = r->expired,
                                        .waits = r->answer.misconfigured };
            if (!j->local) {
                out[n].host = delivery_host(j, r);
                out[n].peer = j->peer;
            }
            add_tries(q, j, r, &out[n++]);
        }
    }
    return n;
}

static int write_notice(struct queue *q, struct batch *b, struct group *g,
                        struct dsn *d, struct err *e)
{
    const struct delivery *j = delivery_at(g->deliveries.next);
    struct sink k = { .q = q, .to = &b->body[b->nchains] };
    struct spool_submission m = { .arrival = clock_wall_us(), .nrcpt = 1 };
    struct spool_writer *to = q->writer[g->to];
    static const struct chain empty = CHAIN_INIT;
    struct body nothing = body_of_chain(&empty, 0);

    if (spool_writer_new_id(to, &m.id, e) != 0)
        return -1;
    d->hostname = q->conf->hostname;
    d->to = j->sender;
    d->id = j->id;
    d->own_id = m.id;
    d->envid = j->envid;
    d->arrival = j->arrival;
    d->now = m.arrival;
    d->expires = m.arrival + message_left(q, j->msg) * 1000000ull;
    d->lifetime = q->rule.lifetime;
    d->original = j->body.size > 0 ? &j->body : &nothing;
    d->return_full = j->ret != NULL &&
                     span_is_nocase(span_of(j->ret), "FULL") &&
                     j->body.size <= FULL_MAX;
    d->utf8_header = (j->flags & SPOOL_UTF8_HEADER) != 0;
    if (write_text(&k, d, e) != 0)
        return -1;
    m.flags = SPOOL_BOUNCE | SPOOL_SIGN | (k.eight_bit ? SPOOL_8BIT : 0u) |
              (j->sender_utf8 ? SPOOL_UTF8 | SPOOL_UTF8_HEADER : 0u);
    if (!add_field(q, &b->env[b->nchains], SPOOL_F_SENDER, "") ||
        !add_field(q, &b->env[b->nchains], SPOOL_F_RCPT, j->sender))
        return no_room(e) - 1;
    if (d->action == DSN_FAILED)
        msg_id_text(g->bounce, m.id);
    struct body text = body_of_chain(&b->body[b->nchains], k.crc);
    m.envelope = &b->env[b->nchains++]; /* cleared with the others anyhow */
    return spool_submit(to, &m, &text, e);
}

static int write_notices(struct queue *q, struct batch *b, struct group *g,
                         struct err *e)
{
    struct dsn_rcpt rcpt[RCPTS_MAX];

    for (size_t i = 0; i < PARTS_MAX; i++) {
        struct dsn d = { .action = parts[i].action, .rcpt = rcpt };
        d.nrcpt = collect(q, rcpt, &g->deliveries, parts[i].notice);
        if (d.nrcpt > 0 && write_notice(q, b, g, &d, e) != 0)
            return -1;
        g->sent[i].id = d.own_id;
        g->sent[i].nrcpt = d.nrcpt;
    }
    return 0;
}

/* --- a commit ----------------------------------------------------------- */

/* The first delivery in line and others of its message. */
static void gather(struct queue *q, struct group *g)
{
    struct delivery *first = delivery_at(list_pop(&q->notice.deliveries));
    size_t looked = 0, rcpts = first->nrcpt;

    list_init(&g->deliveries);
    snprintf(g->bounce, sizeof g->bounce, "none");
    g->to = q->owner->is_local(q, span_of(first->sender)) ? SPOOL_LOCAL
                                                          : SPOOL_REMOTE;
    g->failed = false;
    list_push(&g->deliveries, &first->link);
    for (struct list *l = q->notice.deliveries.next, *next;
         l != &q->notice.deliveries && looked++ < LOOK_AHEAD; l = next) {
        struct delivery *j = delivery_at(l);
        next = l->next;
        if (j->msg != first->msg || rcpts + j->nrcpt > RCPTS_MAX)
            continue;
        rcpts += j->nrcpt;
        list_remove(l);
        list_push(&g->deliveries, l);
    }
}

static void write_group(struct queue *q, struct batch *b, struct group *g)
{
    struct err e;

    if (write_notices(q, b, g, &e) == 0)
        return;
    queue_log_fault(q, "queue.notice", &e);
    g->failed = true;
    b->nchains++; /* what was begun there is cleared with the others */
}

/* A failure is named by the line of its recipient. */
static void say_notices(const struct queue *q, const struct group *g)
{
    const struct delivery *j = delivery_at(g->deliveries.next);
    char id[MSG_ID_TEXT], notice[MSG_ID_TEXT];

    msg_id_text(id, j->id);
    for (size_t i = 0; i < PARTS_MAX; i++) {
        if (g->sent[i].nrcpt == 0 || parts[i].action == DSN_FAILED)
            continue;
        msg_id_text(notice, g->sent[i].id);
        LOG(LOG_INFO, "queue.notified", LS("queue", spool_name_text(q->name)),
            LS("id", id), LS("action", parts[i].name), LS("to", j->sender),
            LN("nrcpt", (long long)g->sent[i].nrcpt), LS("notice", notice));
    }
}

static void end_batch(struct queue *q, struct batch *b)
{
    bool failed[SPOOL_QUEUES];
    struct list *l;

    queue_commit(q, failed);
    for (size_t i = 0; i < GROUPS_MAX * PARTS_MAX; i++) {
        chain_clear(&b->env[i], q->notice.blocks);
        chain_clear(&b->body[i], q->notice.blocks);
    }
    for (size_t i = 0; i < b->ngroups; i++) {
        struct group *g = &b->group[i];
        g->failed |= failed[g->to];
        if (!g->failed)
            say_notices(q, g);
        while ((l = list_pop(&g->deliveries)) != NULL)
            result_settled(q, delivery_at(l), g->failed ? NULL : g->bounce);
    }
    q->scan.wanted |= !failed[q->name];
}

void bounce_flush(struct queue *q)
{
    if (!list_empty(&q->notice.unwritten) &&
        queue_seconds(q) >= q->notice.again)
        list_splice(&q->notice.deliveries, &q->notice.unwritten);
    while (!list_empty(&q->notice.deliveries) && queue_may_commit(q)) {
        struct batch b;
        memset(&b, 0, sizeof b);
        while (!list_empty(&q->notice.deliveries) && b.ngroups < GROUPS_MAX &&
               (b.ngroups == 0 || pool_left(q->notice.blocks) >= BLOCKS_MIN) &&
               b.nchains + PARTS_MAX + 2 < GROUPS_MAX * PARTS_MAX) {
            struct group *g = &b.group[b.ngroups++];
            gather(q, g);
            write_group(q, &b, g);
        }
        end_batch(q, &b);
    }
}
