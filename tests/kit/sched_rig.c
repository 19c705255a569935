#include "sched_rig.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/scan.h"
#include "queue/slots.h"
#include "send/assign.h"
#include "send/destination_dns.h"
#include "send/hop_state.h"
#include "send/pace_private.h"
#include "send/ready.h"
#include "send/session_private.h"
#include "send/signing.h"
#include "spool/dirs.h"
#include "spool/envelope.h"
#include "spool/submit.h"
#include "spool_kit.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sched_rig *rig; /* the calls have no context: one at a time */

/* --- the calls that are played -------------------------------------------- */

static void on_give(struct send_worker *w, struct work_item *n)
{
    (void)w;
    if (n->kind == WORK_DELIVERY) {
        list_push(&rig->given, &n->link);
        return;
    }
    if (n->kind == WORK_LEAVE) {
        list_push(&rig->leaving, &n->link);
        return;
    }
    ck_assert_int_eq(n->kind, WORK_OPEN);
    list_push(&rig->sessions, &n->link);
    rig->opened++;
}

static void on_hurry(struct send_worker *w, bool on)
{
    (void)w;
    (void)on;
}

struct mx_query {
    struct list link;
    char domain[256];
    mx_fn *fn;
    void *ctx;
};
static struct list queries, unanswered;

static struct mx_query *on_ask(struct dns *d, const char *domain, unsigned want,
                               mx_fn *fn, void *ctx, struct err *e)
{
    struct mx_query *q = calloc(1, sizeof *q);

    (void)d;
    (void)want;
    (void)e;
    ck_assert_ptr_nonnull(q);
    snprintf(q->domain, sizeof q->domain, "%s", domain);
    q->fn = fn;
    q->ctx = ctx;
    list_push(&queries, &q->link);
    rig->asked++;
    return q;
}

static void on_cancel(struct mx_query *q)
{
    list_remove(&q->link);
    free(q);
}

static const struct sched_calls played = { on_give, on_hurry, on_ask,
                                           on_cancel };

static bool is_of(const struct sched_rig_mx *m, const char *domain)
{
    size_t n = strlen(m->domain), k = strlen(domain);

    if (m->domain[0] == '.')
        return k > n && strcmp(domain + k - n, m->domain) == 0;
    return strcmp(domain, m->domain) == 0;
}

static void answer_query(struct mx_query *q)
{
    static struct mx_result x; /* large */
    const struct sched_rig_mx *m = rig->mx;

    for (size_t i = 0; i < rig->nmx && !is_of(m, q->domain); i++)
        m++;
    if (m != rig->mx + rig->nmx && m->status == MX_OK && m->host[0] == NULL) {
        list_push(&unanswered, &q->link);
        return;
    }
    memset(&x, 0, sizeof x);
    x.ttl = 300;
    x.status = m == rig->mx + rig->nmx ? MX_NO_DOMAIN : m->status;
    for (size_t i = 0; x.status == MX_OK && i < 4 && m->host[i] != NULL; i++) {
        struct mx_host *h = &x.host[x.nhost++];
        h->preference = (uint16_t)(10 * i);
        snprintf(h->name, sizeof h->name, "%s", m->host[i]);
        h->naddr = 1;
        ck_assert(addr_parse_ip(&h->addr[0], span_of(m->addr[i]), 25));
    }
    q->fn(q->ctx, &x);
    free(q);
}

/* --- a life --------------------------------------------------------------- */

static void load(struct sched_rig *r, const char *const *settings)
{
    static const char *const fixed[] = { "hostname=rig.test",
                                         "user=root",
                                         "serve.listen=127.0.0.1:2525",
                                         "dns.servers=127.0.0.1",
                                         "local.users=any",
                                         "local.aliases=" };
    struct conf_override over[32];
    char text[32][256], queue[128];
    size_t n = 0;
    struct err e;

    snprintf(queue, sizeof queue, "queue_dir=%s", r->dir);
    snprintf(text[n++], sizeof text[0], "%s", queue);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        snprintf(text[n++], sizeof text[0], "%s", fixed[i]);
    for (; settings != NULL && *settings != NULL && n < 32; settings++)
        snprintf(text[n++], sizeof text[0], "%s", *settings);
    for (size_t i = 0; i < n; i++) {
        char *eq = strchr(text[i], '=');
        ck_assert_ptr_nonnull(eq);
        *eq = '\0';
        over[i] = (struct conf_override){ text[i], eq + 1, "-o" };
    }
    struct conf_source from = { .file = "/dev/null", .over = over, .nover = n };
    ck_assert_msg(conf_load(&r->conf, &from, &e) == 0, "%s", e.text);
}

struct sched_rig *sched_rig_open(const char *const *settings)
{
    struct sched_rig *r = calloc(1, sizeof *r);
    sigset_t none;
    struct err e;

    ck_assert_ptr_nonnull(r);
    rig = r;
    snprintf(r->dir, sizeof r->dir, "%s/sched-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    list_init(&r->given);
    list_init(&r->taken);
    list_init(&r->sessions);
    list_init(&r->leaving);
    list_init(&queries);
    list_init(&unanswered);
    load(r, settings);
    log_style(LOG_ERROR, LOG_TEXT);
    ck_assert_msg(spool_dirs_make(r->dir, (uid_t)-1, (gid_t)-1, &e) == 0, "%s",
                  e.text);
    sigemptyset(&none);
    ck_assert_msg(sched_open(&r->s, &r->conf, &none, &e) == 0, "%s", e.text);
    r->s.calls = &played;
    r->s.nworkers = 1;
    return r;
}

/* Bring back all that the test left with the worker. */
static void answer_rest(struct sched_rig *r)
{
    list_splice(&r->taken, &r->given);
    while (!list_empty(&r->taken))
        sched_rig_back(
            r,
            delivery_of_note(LIST_ENTRY(r->taken.next, struct work_item, link)),
            OUTCOME_NONE, "4.3.0", "the test is over");
}

void sched_rig_close(struct sched_rig **rp)
{
    struct sched_rig *r = *rp;
    struct list *l;

    r->s.stopping = true;
    answer_rest(r);
    while (sched_rig_leave(r))
        ;
    while ((l = r->sessions.next) != &r->sessions)
        sched_rig_end(
            r, send_session_of_note(LIST_ENTRY(l, struct work_item, link)),
            NULL);
    signing_free(&r->s);
    sched_close(&r->s);
    conf_free(&r->conf);
    kit_remove_tree(r->dir);
    free(r);
    *rp = rig = NULL;
}

void sched_rig_add(struct sched_rig *r, const char *sender, const char *rcpts)
{
    static const char text[] = "From: s@here.test\r\n\r\nx\r\n";
    struct chain env = CHAIN_INIT, body = CHAIN_INIT;
    struct pool *blocks = r->s.queue.notice.blocks;
    struct spool_submission m = { .arrival = clock_wall_us(),
                                  .envelope = &env,
                                  .flags = r->flags };
    struct err e;

    ck_assert(
        spool_envelope_add(&env, blocks, SPOOL_F_SENDER, span_of(sender)));
    for (struct span rest = span_of(rcpts); rest.n > 0; m.nrcpt++) {
        size_t n = span_find(rest, ',');
        ck_assert(spool_envelope_add(&env, blocks, SPOOL_F_RCPT,
                                     (struct span){ rest.p, n }));
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    ck_assert(chain_add(&body, blocks, text, sizeof text - 1));
    struct body b = body_of_chain(&body, crc32c(0, text, sizeof text - 1));
    ck_assert_msg(
        spool_writer_new_id(r->s.queue.writer[SPOOL_REMOTE], &m.id, &e) == 0 &&
            spool_submit(r->s.queue.writer[SPOOL_REMOTE], &m, &b, &e) == 0 &&
            spool_writer_commit(r->s.queue.writer[SPOOL_REMOTE], &e) == 0,
        "%s", e.text);
    chain_clear(&env, blocks);
    chain_clear(&body, blocks);
}

static void take_due(struct sched *s)
{
    struct list due, *l;

    list_init(&due);
    retry_queue_due(&s->queue.memory.retry, sched_seconds(s), &due);
    while ((l = list_pop(&due)) != NULL)
        destination_add(LIST_ENTRY(l, struct rcpt, link));
}

void sched_rig_turn(struct sched_rig *r)
{
    struct list *l;
    struct err e;

    ck_assert_msg(queue_scan(&r->s.queue, &e) == 0, "%s", e.text);
    take_due(&r->s);
    do {
        assign_work(&r->s);
        while ((l = list_pop(&queries)) != NULL)
            answer_query(LIST_ENTRY(l, struct mx_query, link));
    } while (ready_any(&r->s));
    queue_flush(&r->s.queue);
}

void sched_rig_slow(struct sched_rig *r, unsigned ms)
{
    struct list *all = &r->s.destination.lookups.fresh;

    for (struct list *l = all->next; l != all; l = l->next)
        LIST_ENTRY(l, struct destination, turn)->lookup.began -= ms;
    destination_on_slow(&r->s.destination.slow);
    sched_rig_turn(r);
}

void sched_rig_time_out(struct sched_rig *r)
{
    static const struct mx_result failed = { .status = MX_TEMP };
    struct list over, *l;

    list_init(&over);
    list_splice(&over, &unanswered);
    while ((l = list_pop(&over)) != NULL) {
        struct mx_query *q = LIST_ENTRY(l, struct mx_query, link);
        q->fn(q->ctx, &failed);
        free(q);
    }
    sched_rig_turn(r);
}

static void be_older(struct list *notes, uint64_t ms)
{
    for (struct list *l = notes->next; l != notes; l = l->next) {
        struct work_item *n = LIST_ENTRY(l, struct work_item, link);
        send_delivery_of(delivery_of_note(n))->given.since -= ms;
    }
}

static void be_earlier(uint64_t *at, uint64_t ms)
{
    *at -= *at < ms ? *at : ms;
}

static void pass_timer(struct sched_rig *r, struct loop_timer *t, uint64_t ms)
{
    uint64_t now = loop_now(r->s.loop);

    if (!loop_timer_is_set(t))
        return;
    if (t->due > now + ms) {
        loop_timer_set(r->s.loop, t, t->due - now - ms);
    } else {
        loop_timer_clear(r->s.loop, t);
        t->fn(t);
    }
}

/* Lanes wait on the loop's clock, which is real: bring their times nearer. */
static void pass_time(struct sched_rig *r, struct lane *l, uint64_t ms)
{
    be_earlier(&l->shut_until, ms);
    be_earlier(&l->paused_until, ms);
    pass_timer(r, &l->turn, ms);
    pass_timer(r, &l->opens, ms); /* may free the lane */
}

static void pass_paces(struct sched_rig *r, uint64_t ms)
{
    struct list *all = &r->s.pace.known, *next;

    for (struct list *l = all->next; l != all; l = l->next) {
        struct pace *p = LIST_ENTRY(l, struct pace, known);
        be_earlier(&p->held_until, ms);
        be_earlier(&p->shut_until, ms);
        be_earlier(&p->next, ms * 1000);
        be_earlier(&p->slots_since, ms);
        be_earlier(&p->closed_at, ms);
        be_earlier(&p->forget_at, ms);
    }
    for (struct list *l = all->next; l != all; l = next) {
        struct pace *p = LIST_ENTRY(l, struct pace, known);
        next = l->next;
        pass_timer(r, &p->minute, ms);
        pass_timer(r, &p->wake, ms);
    }
}

static void pass_time_of_hops(struct sched_rig *r, const struct destination *d,
                              uint64_t ms)
{
    for (size_t i = 0; d->hops != NULL && i < d->hops->n; i++) {
        struct hop_shut *x = d->hops->hop[i].shut;
        if (x == NULL)
            continue;
        be_earlier(&x->until, ms);
        pass_timer(r, &x->opens, ms);
    }
}

void sched_rig_wait(struct sched_rig *r, unsigned seconds)
{
    uint64_t ms = (uint64_t)seconds * 1000;

    r->s.queue.start_ms -= ms;
    be_older(&r->given, ms);
    be_older(&r->taken, ms);
    for (size_t i = 0; i <= r->s.lane.all.mask; i++)
        for (struct map_link *m = r->s.lane.all.bucket[i], *next; m != NULL;
             m = next) {
            next = m->next;
            pass_time(r, MAP_ENTRY(m, struct lane, link), ms);
        }
    pass_paces(r, ms);
    for (size_t i = 0; i <= r->s.destination.all.mask; i++)
        for (struct map_link *m = r->s.destination.all.bucket[i]; m != NULL;
             m = m->next)
            pass_time_of_hops(r, MAP_ENTRY(m, struct destination, link), ms);
    sched_rig_turn(r);
}

/* --- the worker ----------------------------------------------------------- */

struct delivery *sched_rig_next(struct sched_rig *r)
{
    struct list *l = list_pop(&r->given);

    if (l == NULL)
        return NULL;
    list_push(&r->taken, l);
    return delivery_of_note(LIST_ENTRY(l, struct work_item, link));
}

void sched_rig_back(struct sched_rig *r, struct delivery *j, enum outcome o,
                    const char *status, const char *text)
{
    struct answer a;

    answer_set(&a, o, status, "%s", text);
    delivery_answer_all(j, &a);
    sched_rig_answered(r, j);
    sched_rig_turn(r);
}

void sched_rig_effect(struct sched_rig *r, struct delivery *j,
                      enum fault_mail effect, const char *reply)
{
    static const enum outcome outcomes[] = {
        [MAIL_MOVES_ON] = OUTCOME_NONE,    [MAIL_LOOPS] = OUTCOME_NONE,
        [MAIL_UNTOUCHED] = OUTCOME_NONE,   [MAIL_AGAIN] = OUTCOME_NONE,
        [MAIL_SHUT_OUT] = OUTCOME_NONE,    [MAIL_MISFIT] = OUTCOME_NONE,
        [MAIL_NEXT_MX] = OUTCOME_DEFERRED, [MAIL_ATTEMPT] = OUTCOME_DEFERRED,
        [MAIL_SUSPECT] = OUTCOME_DEFERRED, [MAIL_WAITS] = OUTCOME_NONE,
        [MAIL_BOUNCES] = OUTCOME_FAILED
    };
    struct answer a;

    answer_set(&a, outcomes[effect], NULL, "%s", reply);
    a.misconfigured = effect == MAIL_WAITS;
    if (reply[0] >= '2' && reply[0] <= '5')
        a.status.code = (unsigned short)strtoul(reply, NULL, 10);
    for (size_t i = 0; i < j->nrcpt; i++)
        j->rcpt[i].effect = (unsigned char)effect;
    delivery_answer_all(j, &a);
    sched_rig_answered(r, j);
}

void sched_rig_answered(struct sched_rig *r, struct delivery *j)
{
    list_remove(&send_delivery_of(j)->note.link);
    assign_take_back(&r->s, j);
}

void sched_rig_end(struct sched_rig *r, struct send_session *session,
                   const struct send_session_end *end)
{
    static const struct send_session_end fine;

    list_remove(&send_session_note(session)->link);
    session->end = end != NULL ? *end : fine;
    lane_ended(&r->s, send_session_lane(session));
    sched_rig_turn(r);
}

bool sched_rig_leave(struct sched_rig *r)
{
    struct list *l = list_pop(&r->leaving);

    if (l == NULL)
        return false;
    struct send_session *session =
        send_session_of_leave(LIST_ENTRY(l, struct work_item, link));
    struct lane *lane = send_session_lane(session);
    sched_rig_end(r, session, NULL);
    lane_left(&r->s, lane);
    sched_rig_turn(r);
    return true;
}

uint64_t sched_rig_pending(const struct sched_rig *r)
{
    return r->s.queue.memory.pending;
}
