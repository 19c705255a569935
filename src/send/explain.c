/* explain.c - report on run/send.sock what only the memory of the sender knows.
 *
 * An answer is made in pieces, one in a turn of the loop, and each looks at a
 * bounded number of deliveries and destinations: a long queue does not hold up
 * the sender.  What changes between two pieces is reported as it is then. */
#include "send/explain.h"

#include "base/clock.h"
#include "queue/operate.h"
#include "send/explain_lane.h"
#include "send/hop_state.h"
#include "send/pace.h"
#include "send/session.h"
#include "send/work_item.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    DELIVERIES_PER_PIECE = 256,
    DESTINATIONS_PER_PIECE = 1024,
    BUCKETS_PER_PIECE = 8192,
    SLOTS_PER_LINE = 64
};

struct walk {
    struct sched *s;
    struct given mark; /* behind the deliveries reported so far */
    uint64_t began;    /* ms of the loop */
    bool one;          /* only deliveries of id */
    struct msg_id id;
    size_t bucket, skip; /* of the destinations: the next */
    bool operates;       /* it is an operation on the queue */
    bool counts;         /* it reports counters; ... */
    unsigned line;       /* ... this one next */
    struct queue_operation op;
};

/* The difference of the clocks is kept, so that one moment is the same in every
 * answer; a jump of the wall clock replaces it. */
static void compare_clocks(struct sched *s)
{
    enum { SAME_US = 20000 };
    uint64_t ahead = clock_wall_us() - loop_now(s->loop) * 1000;

    if (s->explain.wall_ahead + SAME_US < ahead ||
        s->explain.wall_ahead > ahead + SAME_US)
        s->explain.wall_ahead = ahead;
}

static uint64_t wall_of(const struct walk *w, uint64_t loop_ms)
{
    return loop_ms * 1000 + w->s->explain.wall_ahead;
}

/* --- deliveries --------------------------------------------------------- */

/* Recipients that follow each other and know the host by the same name share a
 * line.  Where the piece has little room left, the names are left out: the rest
 * of 100 recipients fits in any case. */
static void add_run(struct buf *answer, const struct walk *w,
                    const struct send_delivery *d, size_t *at)
{
    const struct delivery *j = &d->delivery;
    const char *host =
        control_has_room(answer) ? delivery_host(j, &j->rcpt[*at]) : "";
    char id[MSG_ID_TEXT], memory[SLOTS_PER_LINE * 6 + 1];
    struct buf slots = BUF_ON(memory);
    int n = 0;

    for (; *at < j->nrcpt && n < SLOTS_PER_LINE; ++*at) {
        if (host[0] != '\0' &&
            strcmp(host, delivery_host(j, &j->rcpt[*at])) != 0)
            break;
        buf_addf(&slots, "%s%u", n++ > 0 ? "," : "",
                 (unsigned)j->rcpt[*at].rcpt->slot);
    }
    msg_id_text(id, j->id);
    control_add(answer, "delivering %s %" PRIu64 " %s %" PRIu64 " %s %s %s", id,
                j->msg->stored.rec.part, slots.p, wall_of(w, d->given.since),
                d->session != NULL ? send_session_id(d->session) : "-",
                j->address[0] != '\0' ? j->address : "-",
                host[0] != '\0' ? host : "-");
}

/* The next delivery behind the mark, which moves behind it; NULL: none is left
 * that was given before the walk began. */
static const struct send_delivery *next_delivery(struct walk *w)
{
    struct list *all = &w->s->lane.given, *l = w->mark.link.next;

    while (l != all && LIST_ENTRY(l, struct given, link)->is_mark)
        l = l->next;
    list_remove(&w->mark.link);
    if (l == all || LIST_ENTRY(l, struct given, link)->since > w->began)
        return NULL;
    list_push(l->next, &w->mark.link);
    struct given *g = LIST_ENTRY(l, struct given, link);
    return LIST_ENTRY(g, struct send_delivery, given);
}

static void add_deliveries(struct buf *answer, struct walk *w)
{
    const struct send_delivery *d;

    for (int n = 0;
         n < DELIVERIES_PER_PIECE && control_has_room(answer) &&
         list_linked(&w->mark.link) && (d = next_delivery(w)) != NULL;
         n++) {
        if (w->one && !msg_id_eq(d->delivery.id, w->id))
            continue;
        for (size_t i = 0; i < d->delivery.nrcpt;)
            add_run(answer, w, d, &i);
    }
}

/* --- destinations ------------------------------------------------------- */

/* The hop that can be used first, when none can be now; else NULL.  On trial it
 * can be, by a single message. */
static const struct hop *first_to_open(const struct sched *s,
                                       const struct destination *d,
                                       struct lane_state *state)
{
    const struct hop *first = NULL;

    if (d->nrcpt == 0 || d->hops == NULL || d->outcome != NULL)
        return NULL;
    for (size_t i = 0; i < d->hops->n; i++) {
        const struct hop *h = &d->hops->hop[i];
        struct lane_state now = hop_state(s, h);
        if (h->looped)
            continue;
        if (now.is == LANE_IS_UP)
            return NULL;
        if (first == NULL || now.until < state->until) {
            first = h;
            *state = now;
        }
    }
    return first;
}

static void add_destination(struct buf *answer, const struct walk *w,
                            const struct destination *d)
{
    static const char *const names[] = { [LANE_IS_PACED] = "paced",
                                         [LANE_IS_PAUSED] = "paused",
                                         [LANE_IS_SHUT] = "shut",
                                         [LANE_IS_ON_TRIAL] = "trial" };
    struct lane_state state;
    const struct hop *h = first_to_open(w->s, d, &state);
    char key[ROUTE_KEY_MAX], address[ADDR_PORT_TEXT], pace[PACE_REASON_MAX];
    struct route r = { .kind = d->kind,
                       .port = d->port,
                       .configured = d->configured,
                       .lmtp = d->lmtp,
                       .relay = d->relay,
                       .tls = (enum conf_tls)d->tls };

    if (h == NULL || (state.is == LANE_IS_PACED &&
                      !pace_reason(h->lane, &state.until, pace)))
        return;
    snprintf(r.host, sizeof r.host, "%s", d->host);
    route_key(key, &r);
    addr_port_text(address, &h->lane->peer);
    control_add(answer, "%s %s %" PRIu64 " %s (%s): %s", names[state.is], key,
                state.until > 0 ? wall_of(w, state.until) : 0, h->name, address,
                state.is == LANE_IS_PACED ? pace : hop_why(h)->text);
}

/* A bucket that does not fit into the piece is gone on with in the next. */
static bool add_bucket(struct buf *answer, struct walk *w, int *n)
{
    size_t i = 0;

    for (const struct map_link *m = w->s->destination.all.bucket[w->bucket];
         m != NULL; m = m->next, i++) {
        if (i < w->skip)
            continue;
        if (!control_has_room(answer) || *n == 0)
            return false;
        add_destination(answer, w, MAP_ENTRY(m, struct destination, link));
        w->skip = i + 1;
        --*n;
    }
    w->skip = 0;
    w->bucket++;
    return true;
}

static bool add_destinations(struct buf *answer, struct walk *w)
{
    int n = DESTINATIONS_PER_PIECE;

    for (int i = 0; w->bucket <= w->s->destination.all.mask; i++)
        if (i == BUCKETS_PER_PIECE || !add_bucket(answer, w, &n))
            return false;
    return true;
}

/* --- commands ----------------------------------------------------------- */

static int begin_walk(struct walk *w, const char *command, struct err *e)
{
    static const char show[] = "show ";

    w->one = strncmp(command, show, strlen(show)) == 0;
    if (w->one && !msg_id_parse(&w->id, span_of(command + strlen(show))))
        return err_set(e, ERR_USAGE, 0, "'%.40s' is not a message id",
                       command + strlen(show));
    if (!w->one && strcmp(command, "list") != 0)
        return err_set(e, ERR_USAGE, 0, "no command '%.40s'", command);
    w->began = loop_now(w->s->loop);
    w->mark.is_mark = true;
    list_push_front(&w->s->lane.given, &w->mark.link);
    return 0;
}

static int begin(struct walk **out, struct sched *s,
                 const struct control_call *call, struct err *e)
{
    struct walk *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for an answer");
    w->s = s;
    w->counts = strcmp(call->command, "counters") == 0;
    int rc = w->counts ? 0 : operate_parse(&w->op, call->command, e);
    w->operates = rc == 0 && !w->counts;
    w->op.uid = call->uid;
    if (rc > 0)
        rc = begin_walk(w, call->command, e);
    if (rc != 0) {
        free(w);
        return -1;
    }
    *out = w;
    return 0;
}

static int run(void *ctx, struct control_call *call, struct buf *answer,
               struct err *e)
{
    static const char lane[] = "lane ";
    struct walk *w = call->state;
    struct sched *s = ctx;

    if (w == NULL && strncmp(call->command, lane, strlen(lane)) == 0)
        return explain_lane(answer, s, call->command + strlen(lane), e);
    if (strcmp(call->command, "ping") == 0)
        return CONTROL_DONE;
    if (strcmp(call->command, "waiting") == 0) {
        operate_waiting(&s->queue, answer);
        return CONTROL_DONE;
    }
    if (w == NULL && begin(&w, s, call, e) != 0)
        return -1;
    call->state = w;
    if (w->operates)
        return operate_answer(&s->queue, &w->op, answer) > 0 ? CONTROL_MORE
                                                             : CONTROL_DONE;
    if (w->counts)
        return counters_answer(s->queue.counters, &w->line, answer)
                   ? CONTROL_MORE
                   : CONTROL_DONE;
    compare_clocks(s);
    add_deliveries(answer, w);
    if (list_linked(&w->mark.link))
        return CONTROL_MORE;
    return add_destinations(answer, w) ? CONTROL_DONE : CONTROL_MORE;
}

static void end(void *ctx, struct control_call *call)
{
    struct walk *w = call->state;
    struct sched *s = ctx;

    if (w->operates)
        operate_end(&s->queue, &w->op);
    list_remove(&w->mark.link);
    free(w);
}

int explain_open(struct control **c, struct sched *s, struct err *e)
{
    const struct control_service service = { "send", run, end, s };

    return control_listen(c, s->loop, s->conf->queue_dir, &service, e);
}
