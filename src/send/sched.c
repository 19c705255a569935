/* sched.c - open and close the sender's scheduler. */
#include "send/sched.h"

#include "send/destination_dns.h"
#include "send/fault.h"
#include "send/lane_state.h"
#include "send/login.h"
#include "send/login_state.h"
#include "send/next_mx.h"
#include "send/own_host.h"
#include "send/pace.h"
#include "send/parked.h"
#include "smtp/address.h"

#include <errno.h>
#include <string.h>

enum { DESTINATION_BUCKETS = 64 * 1024, LANE_BUCKETS = 8 * 1024 };

static const struct sched_calls real = { send_worker_give, send_worker_hurry,
                                         mx_ask, mx_cancel };

/* --- the owner of the queue --------------------------------------------- */

static struct sched *of_queue(struct queue *q)
{
    return QUEUE_ENTRY(q, struct sched, queue);
}

static struct span domain_of(struct span address)
{
    struct smtp_address a;
    enum smtp_address_error why = smtp_address_parse(&a, address);

    if (why == SMTP_ADDRESS_NO_DOMAIN)
        return (struct span){ "", 0 };
    /* a malformed address gets a domain that has no route */
    return why == SMTP_ADDRESS_OK ? a.domain : SPAN_LIT(" ");
}

static void *find_place(struct queue *q, struct span sender,
                        struct span address)
{
    struct sched *s = of_queue(q);
    struct span from = s->by_sender ? domain_of(sender) : SPAN_LIT("");

    return destination_for(s, domain_of(address), from);
}

static void release_place(struct queue *q, void *place)
{
    (void)q;
    destination_release(place);
}

static void make_due(struct queue *q, struct rcpt *r)
{
    (void)q;
    destination_add(r);
}

static void take_back(struct queue *q, struct delivery *j,
                      struct delivery_rcpt *r)
{
    const struct lane *l = send_delivery_of(j)->lane;

    if (r->effect == MAIL_LOOPS)
        destination_loops(r->rcpt->place, l);
    if (r->effect == MAIL_SHUT_OUT || r->effect == MAIL_MISFIT)
        destination_misfits(r->rcpt->place, send_delivery_of(j), r);
    if (r->effect == MAIL_NO_LOGIN)
        login_state_refused(r->rcpt->place, &r->answer);
    if (send_delivery_of(j)->again)
        next_mx_back(of_queue(q), j, r->rcpt,
                     r->effect == MAIL_UNTOUCHED || r->effect == MAIL_AGAIN ||
                         r->effect == MAIL_MISFIT);
    else
        destination_add_untouched(r->rcpt);
}

/* From one opening to the next, a shut host costs the log one line. */
static void count_line(struct delivery *j, struct shut_log *shut)
{
    j->quiet = shut->said;
    j->others = shut->said ? 0 : shut->others;
    shut->others = shut->said ? shut->others + 1 : 0;
    shut->said = true;
}

static void park(struct sched *s, struct rcpt *r, uint32_t *seconds)
{
    uint64_t opens = destination_opens(r->place), now = loop_now(s->loop);

    r->when = sched_seconds(s) + *seconds;
    *seconds = opens > now ? (uint32_t)((opens - now + 999) / 1000) : 0;
    parked_add(r);
}

static bool keep(struct queue *q, struct delivery *j, struct delivery_rcpt *r,
                 uint32_t *seconds)
{
    struct send_delivery *sd = send_delivery_of(j);
    struct sched *s = of_queue(q);

    if (sd->shut != NULL) {
        count_line(j, sd->shut);
        park(s, r->rcpt, seconds);
        return true;
    }
    if (j->offered)
        r->rcpt->suspect = 0;
    if (r->effect == MAIL_SUSPECT)
        destination_suspect(r->rcpt);
    return false;
}

static bool goes_on(struct queue *q, struct delivery *j,
                    struct delivery_rcpt *r)
{
    return r->effect == MAIL_NEXT_MX && !send_delivery_of(j)->again &&
           next_mx_try(of_queue(q), j, r);
}

static bool is_local(struct queue *q, struct span address)
{
    return local_has_domain(of_queue(q)->local, domain_of(address));
}

/* What waits apart for a second host comes back from there. */
static bool take(struct queue *q, struct rcpt *r)
{
    (void)q;
    if (r->state == RCPT_DUE)
        destination_take(r);
    else if (r->state == RCPT_PARKED)
        list_remove(&r->link);
    else
        return false;
    return true;
}

static void forget_faults(struct queue *q)
{
    sched_forget_faults(of_queue(q));
}

static const struct queue_owner owner = {
    find_place, release_place, make_due, take_back,    goes_on,
    keep,       is_local,      take,     forget_faults
};
static const struct queue_events events = { "send.delivered", "send.deferred",
                                            "send.bounced", "send.expanded" };

void sched_forget_faults(struct sched *s)
{
    lane_state_flush(s);
    pace_flush(s);
    dns_forget_negative(s->dns);
    destination_flush(s);
}

/* --- open and close ----------------------------------------------------- */

static int make_maps(struct sched *s, struct err *e)
{
    if (map_init(&s->destination.all, DESTINATION_BUCKETS) != 0 ||
        lookup_turns_init(&s->destination.lookups) != 0 ||
        due_groups_init(&s->destination.groups) != 0 ||
        learned_init(&s->lane.learned) != 0 ||
        map_init(&s->lane.all, LANE_BUCKETS) != 0 || pace_open(s) != 0)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the sender");
    return 0;
}

int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e)
{
    memset(s, 0, sizeof *s);
    s->calls = &real;
    s->conf = c;
    s->by_sender = route_by_sender(c);
    s->destination.slow.fn = destination_on_slow;
    list_init(&s->ready.destinations);
    list_init(&s->ready.lanes);
    list_init(&s->destination.idle);
    list_init(&s->lane.opening);
    list_init(&s->lane.given);
    list_init(&s->lane.pausing);
    list_init(&s->pace.known);
    list_init(&s->pace.busy);
    s->pace.dir_fd = -1;
    list_init(&s->next_mx.failed);
    if (loop_new(&s->loop, wait_mask, e) != 0)
        return -1;
    s->queue = (struct queue){
        .owner = &owner, .events = &events, .conf = c, .loop = s->loop
    };
    if (make_maps(s, e) != 0 || logins_open(&s->logins, c, e) != 0 ||
        own_host_load(&s->self, c, e) != 0 ||
        local_open(&s->local, &s->conf->local, e) != 0 ||
        dns_open_conf(&s->dns, s->loop, s->conf, e) != 0 ||
        (route_has_settings(c) &&
         dns_hosts_load(&s->hosts, DNS_HOSTS_FILE, e) != 0))
        return -1;
    return queue_open(&s->queue, SPOOL_REMOTE, e);
}

void sched_close(struct sched *s)
{
    if (s->destination.all.bucket != NULL && s->lane.all.bucket != NULL)
        destination_free_all(s);
    if (s->loop != NULL)
        loop_timer_clear(s->loop, &s->destination.slow);
    if (s->lane.all.bucket != NULL)
        lane_free_unused(s);
    pace_close(s);
    if (s->next_mx.n > 0)
        next_mx_forget(s, &s->next_mx.failed);
    lookup_turns_free(&s->destination.lookups);
    due_groups_done(&s->destination.groups);
    map_done(&s->destination.all);
    map_done(&s->lane.all);
    learned_done(&s->lane.learned);
    if (s->dns != NULL)
        dns_close(&s->dns);
    dns_hosts_free(&s->hosts);
    logins_close(&s->logins);
    queue_close(&s->queue);
    local_close(&s->local);
    own_host_done(&s->self);
    loop_free(&s->loop);
}
