#include "queue/counters.h"

#include "base/clock.h"
#include "base/map.h"
#include "queue/select.h"
#include "smtp/address.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 256,
    CANDIDATES = 1024,
    CLEARLY = 16, /* events more than the least of those with a name */
    HALVE_MS = 3600 * 1000,
    LINE_TEXT = 1024
};

const uint32_t counters_bounds[COUNTERS_BOUNDS] = { 1,    5,     30,
                                                    60,   300,   1800,
                                                    3600, 14400, 86400 };

struct numbers {
    uint64_t messages, rcpts[COUNTERS_BOUNCED + 1], octets, latency_us;
    uint64_t bucket[COUNTERS_BOUNDS + 1];
};

struct cell {
    struct map_link link;
    uint32_t weight; /* of recent events */
    struct numbers n;
    char name[SMTP_ADDRESS_MAX];
};

/* A name without a cell; another one in its place takes from its events. */
struct candidate {
    uint64_t hash;
    uint32_t events;
};

struct table {
    struct map map;
    struct cell *cell[COUNTERS_NAMES];
    unsigned n;
    uint32_t least; /* weight, at most that of any cell */
    struct numbers others;
    struct candidate candidate[CANDIDATES];
};

struct counters {
    uint64_t halved; /* ms */
    struct numbers all;
    struct table destinations, senders;
};

struct counters *counters_new(void)
{
    struct counters *c = calloc(1, sizeof *c);

    if (c != NULL && (map_init(&c->destinations.map, BUCKETS) != 0 ||
                      map_init(&c->senders.map, BUCKETS) != 0))
        counters_free(&c);
    if (c != NULL)
        c->halved = clock_mono_ms();
    return c;
}

static void free_table(struct table *t)
{
    for (unsigned i = 0; i < t->n; i++)
        free(t->cell[i]);
    map_done(&t->map);
}

void counters_free(struct counters **c)
{
    if (*c == NULL)
        return;
    free_table(&(*c)->destinations);
    free_table(&(*c)->senders);
    free(*c);
    *c = NULL;
}

/* --- names ---------------------------------------------------------------- */

static struct cell *find(const struct table *t, struct span name, uint64_t hash)
{
    for (struct map_link *l = map_first(&t->map, hash); l != NULL;
         l = map_next(l)) {
        struct cell *x = MAP_ENTRY(l, struct cell, link);
        if (span_is_nocase(name, x->name))
            return x;
    }
    return NULL;
}

/* NULL: it is too long, or there is no memory. */
static struct cell *begin(struct table *t, struct cell *x, struct span name,
                          uint64_t hash)
{
    memset(x, 0, sizeof *x);
    if (!span_copy(x->name, sizeof x->name, name))
        x->name[0] = '\0'; /* its part of the others, under no name */
    ascii_lower_str(x->name);
    map_add(&t->map, &x->link, hash);
    return x;
}

static struct cell *least_of(struct table *t)
{
    struct cell *least = t->cell[0];

    for (unsigned i = 1; i < t->n; i++)
        if (t->cell[i]->weight < least->weight)
            least = t->cell[i];
    t->least = least->weight;
    return least;
}

/* A name that has no cell.  NULL: it is counted with the others. */
static struct cell *newcomer(struct table *t, struct span name, uint64_t hash)
{
    struct candidate *k = &t->candidate[hash % CANDIDATES];

    if (t->n < COUNTERS_NAMES) {
        struct cell *x = malloc(sizeof *x);
        if (x == NULL)
            return NULL;
        t->cell[t->n++] = x;
        return begin(t, x, name, hash);
    }
    if (k->hash != hash && k->events > 0) {
        k->events--;
        return NULL;
    }
    k->hash = hash;
    if (++k->events < t->least + CLEARLY)
        return NULL;
    struct cell *x = least_of(t);
    if (k->events < x->weight + CLEARLY)
        return NULL;
    uint32_t weight = k->events;
    k->events = 0;
    map_remove(&t->map, &x->link);
    begin(t, x, name, hash)->weight = weight;
    return x;
}

static void halve(struct table *t)
{
    for (unsigned i = 0; i < t->n; i++)
        t->cell[i]->weight /= 2;
    for (unsigned i = 0; i < CANDIDATES; i++)
        t->candidate[i].events /= 2;
    t->least /= 2;
}

/* --- events --------------------------------------------------------------- */

static unsigned bucket_of(uint64_t latency_us)
{
    unsigned i = 0;

    while (i < COUNTERS_BOUNDS && latency_us > counters_bounds[i] * 1000000ull)
        i++;
    return i;
}

static void add(struct numbers *n, const struct counters_event *e)
{
    n->rcpts[e->what]++;
    if (e->what != COUNTERS_DELIVERED)
        return;
    n->messages += e->message;
    n->octets += e->size;
    n->latency_us += e->latency_us;
    n->bucket[bucket_of(e->latency_us)]++;
}

static void count_in(struct table *t, struct span name,
                     const struct counters_event *e)
{
    if (name.n >= SMTP_ADDRESS_MAX) {
        add(&t->others, e);
        return;
    }
    uint64_t hash = map_hash_nocase(name.p, name.n);
    struct cell *x = find(t, name, hash);
    if (x == NULL)
        x = newcomer(t, name, hash);
    if (x != NULL)
        x->weight++;
    add(x != NULL ? &x->n : &t->others, e);
}

void counters_count(struct counters *c, const struct counters_event *e)
{
    if (c == NULL)
        return;
    uint64_t now = clock_mono_ms();
    if (now - c->halved >= HALVE_MS) {
        c->halved = now;
        halve(&c->destinations);
        halve(&c->senders);
    }
    add(&c->all, e);
    count_in(&c->destinations, queue_domain_of(e->address), e);
    count_in(&c->senders, e->sender, e);
}

/* --- the answer ----------------------------------------------------------- */

static void add_line(struct buf *answer, const char *kind,
                     const struct numbers *n, const char *name)
{
    buf_addf(answer,
             " counter %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
             " %" PRIu64 " %" PRIu64 " ",
             kind, n->messages, n->rcpts[COUNTERS_DELIVERED],
             n->rcpts[COUNTERS_DEFERRED], n->rcpts[COUNTERS_BOUNCED], n->octets,
             n->latency_us);
    for (unsigned i = 0; i <= COUNTERS_BOUNDS; i++)
        buf_addf(answer, "%s%" PRIu64, i > 0 ? "," : "", n->bucket[i]);
    buf_addf(answer, " %s\n", name);
}

/* Line i of the table; false: there is none. */
static bool table_line(const struct table *t, const char *kind, unsigned i,
                       struct buf *answer)
{
    if (i > t->n)
        return false;
    if (i == t->n)
        add_line(answer, kind, &t->others, "*");
    else
        add_line(answer, kind, &t->cell[i]->n, t->cell[i]->name);
    return true;
}

bool counters_answer(const struct counters *c, unsigned *at, struct buf *answer)
{
    for (; c != NULL && answer->cap - answer->n > 2 * LINE_TEXT; ++*at) {
        unsigned i = *at;
        if (i == 0) {
            add_line(answer, "all", &c->all, "*");
        } else if (i <= c->destinations.n + 1) {
            (void)table_line(&c->destinations, "destination", i - 1, answer);
        } else if (!table_line(&c->senders, "sender", i - c->destinations.n - 2,
                               answer)) {
            return false;
        }
    }
    return c != NULL;
}
