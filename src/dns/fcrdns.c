#include "dns/fcrdns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 4 };

struct forward {
    struct fcrdns_query *owner;
    struct dns_request *query; /* NULL: not open */
    char name[DNS_NAME_MAX];
};

struct fcrdns_query {
    struct dns *dns;
    struct addr client;
    fcrdns_fn *fn;
    void *ctx;
    struct dns_request *query; /* for the PTR; NULL: not open */
    size_t names, open;
    bool temp;
    struct forward forward[NAMES_MAX];
};

static void drop(struct fcrdns_query *q)
{
    dns_cancel(q->query);
    for (size_t i = 0; i < q->names; i++)
        dns_cancel(q->forward[i].query);
    free(q);
}

/* The first confirmed name will do; the other look-ups are dropped.  The name
 * lives in q, so the callback comes first. */
static void finish(struct fcrdns_query *q, enum fcrdns_status status,
                   const char *name)
{
    q->fn(q->ctx, status, name);
    drop(q);
}

/* Every forward look-up is over and none led back. */
static void conclude(struct fcrdns_query *q)
{
    finish(q, q->temp ? FCRDNS_TEMP : FCRDNS_MISMATCH, q->forward[0].name);
}

static void on_forward(void *ctx, const struct dns_answer *a)
{
    struct forward *f = ctx;
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
        struct forward *f = &q->forward[q->names++];
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

struct fcrdns_query *fcrdns_ask(struct dns *d, const struct addr *client,
                                fcrdns_fn *fn, void *ctx, struct err *e)
{
    char name[80];
    struct fcrdns_query *q = calloc(1, sizeof *q);

    if (q == NULL) {
        err_set(e, ERR_TEMP, errno, "look for the name of a client");
        return NULL;
    }
    q->dns = d;
    q->client = *client;
    q->fn = fn;
    q->ctx = ctx;
    addr_reverse_name(name, sizeof name, client);
    q->query = dns_ask(d, name, DNS_PTR, on_ptr, q, e);
    if (q->query != NULL)
        return q;
    free(q);
    return NULL;
}

void fcrdns_cancel(struct fcrdns_query *q)
{
    if (q != NULL)
        drop(q);
}
