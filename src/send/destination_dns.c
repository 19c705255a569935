/* destination_dns.c - find the hosts of a destination: DNS, ranks, lanes. */
#include "send/destination_dns.h"

#include "base/host_port.h"
#include "log/log.h"
#include "send/hop_state.h"
#include "send/next_mx.h"
#include "send/pace.h"
#include "send/ready.h"
#include "send/route_addresses.h"
#include "send/sched.h"

#include <stdlib.h>
#include <string.h>

enum {
    SETTING_SECONDS = 5,  /* and one that a person may be repairing */
    REPORT_SECONDS = 60,  /* between two lines about a setting */
    VERDICT_SECONDS = 30, /* for how long a failed look-up is kept */
    TTL_MIN = 10,
    TTL_MAX = 3600
};

/* --- hops --------------------------------------------------------------- */

static void drop_hops(struct sched *s, struct hops **h)
{
    for (size_t i = 0; *h != NULL && i < (*h)->n; i++) {
        list_remove(&(*h)->hop[i].wait);
        list_remove(&(*h)->hop[i].park);
        next_mx_give_up(s, &(*h)->hop[i]);
        hop_open(s, &(*h)->hop[i]);
        lane_put(s, (*h)->hop[i].lane);
    }
    free(*h);
    *h = NULL;
}

void destination_drop_hops(struct sched *s, struct destination *d)
{
    drop_hops(s, &d->hops);
}

static size_t names_size(const struct mx_candidate *e, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += strlen(e[i].name) + 1;
    return size;
}

/* TLS with a host has not become better because the DNS was asked again. */
static void keep_state(const struct destination *d, struct hops *new)
{
    for (size_t i = 0; i < new->n; i++) {
        struct hop *old =
            destination_hop_by_name(d, new->hop[i].lane, new->hop[i].name);
        if (old != NULL)
            hop_move(&new->hop[i], old);
    }
}

/* Take the new lanes before releasing the old ones, so that a lane in both
 * keeps its session.  The hosts' names stand behind the hops. */
static int set_hops(struct sched *s, struct destination *d,
                    const struct mx_candidate *e, size_t n)
{
    size_t hops = sizeof(struct hops) + n * sizeof(struct hop);
    struct hops *h = calloc(1, hops + names_size(e, n));
    char *at = (char *)h + hops;

    for (size_t i = 0; h != NULL && i < n; i++) {
        size_t size = strlen(e[i].name) + 1;
        struct lane *l = lane_get(s, &e[i].addr);
        if (l == NULL) {
            drop_hops(s, &h);
            break;
        }
        pace_join(s, l, e[i].name);
        memcpy(at, e[i].name, size);
        h->hop[h->n++] = (struct hop){ .destination = d,
                                       .lane = l,
                                       .name = at,
                                       .rank = e[i].rank,
                                       .host = e[i].host };
        list_init(&h->hop[i].apart);
        at += size;
    }
    if (h == NULL)
        return -1;
    keep_state(d, h);
    drop_hops(s, &d->hops);
    d->hops = h;
    return 0;
}

/* --- look-up ------------------------------------------------------------ */

static void set_outcome(struct destination *d, const struct answer *a)
{
    if (d->outcome == NULL)
        d->outcome = malloc(sizeof *d->outcome);
    if (d->outcome != NULL)
        *d->outcome = *a;
    d->expires = sched_seconds(d->sched) + VERDICT_SECONDS;
}

static void no_memory(struct destination *d)
{
    struct answer a;

    answer_set(&a, OUTCOME_NONE, "4.3.0", "no memory for a destination");
    set_outcome(d, &a);
    LOG(LOG_WARN, "send.unreachable", LS("mx", d->host), LS("error", a.text),
        LN("pause", VERDICT_SECONDS));
}

static uint32_t clamp(uint32_t n, uint32_t min, uint32_t max)
{
    return n < min ? min : n > max ? max : n;
}

/* Once a minute for a next hop, however much mail waits for it. */
static void report_setting(struct destination *d, const struct answer *why)
{
    char hop[HOST_PORT_TEXT];
    uint32_t now = sched_seconds(d->sched);

    if (d->reported != 0 && now < d->reported + REPORT_SECONDS)
        return;
    d->reported = now;
    if (d->kind == ROUTE_UNIX)
        snprintf(hop, sizeof hop, "unix:%s", d->host);
    else
        snprintf(hop, sizeof hop, "%s:%u", d->host, d->port);
    LOG(LOG_ERROR, "send.next_hop", LS("host", hop), LS("status", "4.3.5"),
        LS("error", why->text), LN("queued", d->nrcpt));
}

static void set_reason(struct destination *d, const struct answer *why)
{
    set_outcome(d, why);
    if (why->misconfigured) {
        d->expires = sched_seconds(d->sched) + SETTING_SECONDS;
        report_setting(d, why);
    }
}

void destination_set_looped(struct destination *d)
{
    struct answer why;

    mx_ranks_looped(&why, &d->sched->self, d->configured);
    set_reason(d, &why);
    ready_destination(d);
}

void destination_set_misconfigured(struct destination *d,
                                   const struct answer *why)
{
    set_reason(d, why);
    destination_detach(d);
    ready_destination(d);
}

static void use_result(struct destination *d, const struct mx_result *mx)
{
    struct sched *s = d->sched;
    struct mx_candidate *e = malloc(MX_CANDIDATES_MAX * sizeof *e);
    struct mx_ranks_rules rules = { &s->self, d->configured, d->port,
                                    route_is_reachable };
    struct answer why;

    if (e == NULL) {
        no_memory(d);
        return;
    }
    size_t n = mx_ranks_build(e, mx, &rules, &why);
    if (n == 0) {
        set_reason(d, &why);
    } else if (set_hops(s, d, e, n) != 0) {
        no_memory(d);
    } else {
        free(d->outcome);
        d->outcome = NULL;
        d->expires = sched_seconds(s) + clamp(mx->ttl, TTL_MIN, TTL_MAX);
    }
    free(e);
}

static void resolve_more(struct sched *s);

static void on_mx(void *ctx, const struct mx_result *mx)
{
    struct destination *d = ctx;

    d->query = NULL;
    d->look_up_failed = mx->status == MX_TEMP;
    lookup_done(&d->sched->destination.lookups, d);
    use_result(d, mx);
    ready_destination(d);
    resolve_more(d->sched);
}

static size_t known_addresses(const struct destination *d,
                              struct addr out[MX_ADDRS_MAX])
{
    struct route r = { .kind = (enum route_kind)d->kind,
                       .configured = d->configured,
                       .path = d->path };

    snprintf(r.host, sizeof r.host, "%s", d->host);
    return route_addresses(&r, &d->sched->hosts, out);
}

static void use_addresses(struct destination *d, const struct addr *a, size_t n)
{
    struct mx_result *mx = calloc(1, sizeof *mx);

    if (mx == NULL) {
        no_memory(d);
        return;
    }
    struct mx_host *h = &mx->host[0];
    mx->status = MX_OK;
    mx->ttl = TTL_MAX;
    mx->nhost = 1;
    snprintf(h->name, sizeof h->name, "%s", d->host);
    h->naddr = n;
    memcpy(h->addr, a, n * sizeof *a);
    use_result(d, mx);
    free(mx);
}

static void begin(struct sched *s, struct destination *d)
{
    unsigned want = route_mx_want((enum route_kind)d->kind);
    struct err e;

    d->query = s->calls->ask_mx(s->dns, d->host, want, on_mx, d, &e);
    if (d->query != NULL)
        return;
    lookup_done(&s->destination.lookups, d);
    no_memory(d);
    ready_destination(d);
}

/* It begins again among those that failed. */
static void give_way(struct sched *s, struct destination *d)
{
    s->calls->cancel_mx(d->query);
    d->query = NULL;
    d->look_up_failed = true;
    lookup_done(&s->destination.lookups, d);
    if (!lookup_wait(&s->destination.lookups, d)) {
        no_memory(d);
        ready_destination(d);
    }
}

static void resolve_more(struct sched *s)
{
    struct lookup_turns *t = &s->destination.lookups;
    uint64_t now = loop_now(s->loop);
    struct destination *d = NULL;

    if (s->stopping)
        return;
    do {
        if (d != NULL)
            give_way(s, d);
        while ((d = lookup_next(t, now)) != NULL)
            begin(s, d);
        d = lookup_slow(t, now);
    } while (d != NULL);
    uint64_t ms = lookup_slow_in(t, now);
    if (ms != UINT64_MAX)
        loop_timer_set(s->loop, &s->destination.slow, ms);
}

void destination_on_slow(struct loop_timer *t)
{
    resolve_more(LOOP_ENTRY(t, struct sched, destination.slow));
}

static void ask(struct sched *s, struct destination *d)
{
    if (lookup_wait(&s->destination.lookups, d)) {
        resolve_more(s);
    } else {
        no_memory(d);
        ready_destination(d);
    }
}

void destination_look_up(struct sched *s, struct destination *d)
{
    struct addr known[MX_ADDRS_MAX];
    size_t n = known_addresses(d, known);
    struct answer a;

    if (n > 0) {
        use_addresses(d, known, n);
    } else if (d->kind == ROUTE_BAD) {
        answer_set(&a, OUTCOME_FAILED, "5.1.2", "%s", d->why);
        set_outcome(d, &a);
    } else {
        ask(s, d);
        return;
    }
    if (d->hops == NULL && d->outcome == NULL)
        no_memory(d);
    ready_destination(d);
}

void destination_forget_settings(struct sched *s)
{
    for (size_t i = 0; i <= s->destination.all.mask; i++)
        for (struct map_link *l = s->destination.all.bucket[i]; l != NULL;
             l = l->next) {
            struct destination *d = MAP_ENTRY(l, struct destination, link);
            if (!d->configured)
                continue;
            d->expires = 0;
            ready_destination(d); /* its mail may be parked */
        }
}
