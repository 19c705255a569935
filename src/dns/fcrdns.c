#include "dns/fcrdns.h"

#include "base/network.h"
#include "dns/query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAMES_MAX = 4,
    ZONE_MAX = 8 /* concurrent look-ups for one reverse zone */
};

struct name_query {
    struct fcrdns_query *owner;
    struct dns_request *query; /* NULL: not open */
    char name[DNS_NAME_MAX];
};

struct fcrdns_query {
    struct list link; /* in dns->reverse, in the order of arrival */
    struct dns *dns;
    bool waiting; /* no place in the zone yet */
    struct addr client;
    fcrdns_fn *fn;
    void *ctx;
    struct dns_request *query; /* for the PTR; NULL: not open */
    size_t names, open;
    bool temp;
    struct name_query forward[NAMES_MAX];
};

/* --- zones ---------------------------------------------------------------- */

/* Reverse zones are delegated by /24 (RFC 2317 aside) and by /48.  Look-ups are
 * limited per zone, so that a zone whose servers do not reply cannot block the
 * others. */
static bool same_zone(const struct fcrdns_query *a,
                      const struct fcrdns_query *b)
{
    struct net_cidr zone = { a->client, addr_is_v6(&a->client) ? 48 : 24 };

    return net_cidr_has(&zone, &b->client);
}

static bool zone_is_full(const struct fcrdns_query *q)
{
    unsigned n = 0;

    for (struct list *l = q->dns->reverse.next; l != &q->dns->reverse;
         l = l->next) {
        struct fcrdns_query *other = LIST_ENTRY(l, struct fcrdns_query, link);
        n += !other->waiting && same_zone(q, other);
    }
    return n >= ZONE_MAX;
}

static struct fcrdns_query *next_of_zone(const struct fcrdns_query *q)
{
    for (struct list *l = q->dns->reverse.next; l != &q->dns->reverse;
         l = l->next) {
        struct fcrdns_query *other = LIST_ENTRY(l, struct fcrdns_query, link);
        if (other->waiting && same_zone(q, other))
            return other;
    }
    return NULL;
}

static int ask_ptr(struct fcrdns_query *q, struct err *e);

/* --- the end -------------------------------------------------------------- */

static void free_query(struct fcrdns_query *q)
{
    dns_cancel(q->query);
    for (size_t i = 0; i < q->names; i++)
        dns_cancel(q->forward[i].query);
    list_remove(&q->link);
    free(q);
}

/* Finish with the first confirmed name and cancel the other look-ups.  The name
 * is in q, so the callback comes first. */
static void give_answer(struct fcrdns_query *q, enum fcrdns_status status,
                        const char *name)
{
    q->fn(q->ctx, status, name);
    free_query(q);
}

/* Give the place of `left`, which is out of all lists, to the next look-up of
 * its zone.  If the servers of the zone do not reply, all that wait fail
 * now. */
static void pass_place_on(const struct fcrdns_query *left, bool silent)
{
    struct fcrdns_query *next;

    while ((silent || !zone_is_full(left)) &&
           (next = next_of_zone(left)) != NULL) {
        next->waiting = false;
        if (silent || ask_ptr(next, NULL) != 0)
            give_answer(next, FCRDNS_TEMP, "");
    }
}

static void finish(struct fcrdns_query *q, enum fcrdns_status status,
                   const char *name)
{
    struct fcrdns_query left = { .dns = q->dns, .client = q->client };
    bool silent = status == FCRDNS_TEMP && q->names == 0;

    list_remove(&q->link);
    give_answer(q, status, name);
    pass_place_on(&left, silent);
}

/* Every forward look-up is over and none confirmed a name. */
static void conclude(struct fcrdns_query *q)
{
    finish(q, q->temp ? FCRDNS_TEMP : FCRDNS_MISMATCH, q->forward[0].name);
}

static void on_forward(void *ctx, const struct dns_answer *a)
{
    struct name_query *f = ctx;
    struct fcrdns_query *q = f->owner;

    f->query = NULL;
    q->open--;
    for (size_t i = 0; i < a->n; i++)
        if (addr_same_host(&a->rr[i].addr, &q->client)) {
            finish(q, FCRDNS_OK, f->name);
            return;
        }
    if (a->status == DNS_FAILED)
        q->temp = true;
    if (q->open == 0)
        conclude(q);
}

static void ask_forward(struct fcrdns_query *q, const struct dns_answer *a)
{
    enum dns_type type = addr_is_v6(&q->client) ? DNS_AAAA : DNS_A;

    for (size_t i = 0; i < a->n && q->names < NAMES_MAX; i++) {
        struct name_query *f = &q->forward[q->names++];
        memcpy(f->name, a->rr[i].name, sizeof f->name);
        f->owner = q;
        f->query = dns_ask(q->dns, f->name, type, on_forward, f, NULL);
        if (f->query != NULL)
            q->open++;
        else
            q->temp = true;
    }
    if (q->open == 0)
        conclude(q);
}

static void on_ptr(void *ctx, const struct dns_answer *a)
{
    struct fcrdns_query *q = ctx;

    q->query = NULL;
    if (a->status == DNS_OK)
        ask_forward(q, a);
    else if (a->status == DNS_FAILED)
        finish(q, FCRDNS_TEMP, "");
    else
        finish(q, FCRDNS_NO_PTR, "");
}

static int ask_ptr(struct fcrdns_query *q, struct err *e)
{
    char name[80];

    addr_reverse_name(name, sizeof name, &q->client);
    q->query = dns_ask(q->dns, name, DNS_PTR, on_ptr, q, e);
    return q->query != NULL ? 0 : -1;
}

struct fcrdns_query *fcrdns_ask(struct dns *d, const struct addr *client,
                                fcrdns_fn *fn, void *ctx, struct err *e)
{
    struct fcrdns_query *q = calloc(1, sizeof *q);

    if (q == NULL) {
        err_set(e, ERR_TEMP, errno, "look for the name of a client");
        return NULL;
    }
    q->dns = d;
    q->client = *client;
    q->fn = fn;
    q->ctx = ctx;
    q->waiting = zone_is_full(q);
    if (!q->waiting && ask_ptr(q, e) != 0) {
        free(q);
        return NULL;
    }
    list_push(&d->reverse, &q->link);
    return q;
}

void fcrdns_cancel(struct fcrdns_query *q)
{
    if (q == NULL)
        return;
    struct fcrdns_query left = { .dns = q->dns, .client = q->client };
    bool had_place = !q->waiting;
    free_query(q);
    if (had_place)
        pass_place_on(&left, false);
}
