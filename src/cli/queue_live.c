/* queue_live.c - the answer of a running sender, to be looked up by recipient.
 *
 * The sender names destinations, not recipients: a list of 100,000 recipients
 * behind one host that is shut costs one line.  The route of a recipient is
 * found here again. */
#include "cli/queue_live.h"

#include "base/map.h"
#include "recipient/resolve.h"
#include "send/route.h"
#include "smtp/address.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 16 * 1024, SLOTS_MAX = 100, MEMOS = 1024 };

struct delivering {
    struct map_link link;
    struct msg_id id;
    uint64_t part;
    struct queue_delivering what;
    size_t n;
    uint32_t slot[SLOTS_MAX];
    char text[];
};

struct shut {
    struct map_link link;
    struct queue_shut what;
    char *key, text[];
};

struct memo {
    const struct queue_shut *shut;
    uint8_t n; /* 0: empty */
    char domain[55];
};

struct queue_live {
    const struct conf *conf;
    struct map delivering, shut;
    struct local *local;
    bool looked_for_local, by_sender, sends;
    struct memo memo[MEMOS]; /* of recent domains */
};

struct queue_live *queue_live_new(const struct conf *c)
{
    struct queue_live *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->conf = c;
    l->sends = true;
    l->by_sender = route_by_sender(c);
    if (map_init(&l->delivering, BUCKETS) != 0 ||
        map_init(&l->shut, BUCKETS) != 0)
        queue_live_free(&l);
    return l;
}

void queue_live_has_sender(struct queue_live *l, bool runs)
{
    l->sends = runs;
}

bool queue_live_sends(const struct queue_live *l)
{
    return l->sends;
}

const char *queue_consumer(enum spool_name name)
{
    return name == SPOOL_LOCAL ? "deliver" : "send";
}

/* The link is the first member of every element. */
static void free_elements(struct map *m)
{
    for (size_t i = 0; m->bucket != NULL && i <= m->mask; i++)
        for (struct map_link *l = m->bucket[i], *next; l != NULL; l = next) {
            next = l->next;
            free(l);
        }
    map_done(m);
}

void queue_live_free(struct queue_live **l)
{
    if (*l == NULL)
        return;
    free_elements(&(*l)->delivering);
    free_elements(&(*l)->shut);
    local_close(&(*l)->local);
    free(*l);
    *l = NULL;
}

/* --- lines -------------------------------------------------------------- */

static struct span word(struct span *rest)
{
    size_t n = span_find(*rest, ' ');
    struct span w = { rest->p, n };

    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return w;
}

/* Copy the text to *at, which moves behind its NUL; "-" is "". */
static const char *keep(char **at, struct span text)
{
    char *p = *at;

    if (span_is(text, "-"))
        text.n = 0;
    memcpy(p, text.p, text.n);
    p[text.n] = '\0';
    *at += text.n + 1;
    return p;
}

static bool take_number(struct span text, uint64_t most, uint64_t *out)
{
    unsigned long long n;

    if (!span_u64(text, most, &n))
        return false;
    *out = n;
    return true;
}

static size_t take_slots(uint32_t out[SLOTS_MAX], struct span list)
{
    uint64_t slot;
    size_t n = 0;

    while (list.n > 0 && n < SLOTS_MAX) {
        size_t k = span_find(list, ',');
        if (take_number((struct span){ list.p, k }, UINT32_MAX, &slot))
            out[n++] = (uint32_t)slot;
        k += k < list.n;
        list.p += k;
        list.n -= k;
    }
    return n;
}

static uint64_t hash_of(struct msg_id id)
{
    uint64_t key[2] = { id.base, id.n };

    return map_hash(key, sizeof key);
}

static int add_delivering(struct queue_live *l, struct span rest)
{
    struct delivering *d = calloc(1, sizeof *d + rest.n + 3);

    if (d == NULL)
        return -1;
    char *at = d->text;
    bool known = msg_id_parse(&d->id, word(&rest)) &&
                 take_number(word(&rest), UINT64_MAX, &d->part);
    d->n = take_slots(d->slot, word(&rest));
    if (!known || !take_number(word(&rest), UINT64_MAX, &d->what.since)) {
        free(d);
        return 0;
    }
    d->what.session = keep(&at, word(&rest));
    d->what.address = keep(&at, word(&rest));
    d->what.host = keep(&at, rest);
    map_add(&l->delivering, &d->link, hash_of(d->id));
    return 0;
}

static int add_shut(struct queue_live *l, struct span rest,
                    enum queue_shut_is is)
{
    struct shut *d = calloc(1, sizeof *d + rest.n + 2);

    if (d == NULL)
        return -1;
    char *at = d->text;
    struct span key = word(&rest);
    d->what.is = is;
    if (!take_number(word(&rest), UINT64_MAX, &d->what.until)) {
        free(d);
        return 0;
    }
    d->key = at;
    (void)keep(&at, key);
    d->what.reason = keep(&at, rest);
    map_add(&l->shut, &d->link, map_hash_nocase(key.p, key.n));
    return 0;
}

int queue_live_line(void *live, struct span line)
{
    static const char *const kinds[] = { [QUEUE_SHUT] = "shut",
                                         [QUEUE_PAUSED] = "paused",
                                         [QUEUE_PACED] = "paced",
                                         [QUEUE_TRIAL] = "trial" };
    struct span kind = word(&line);

    if (span_is(kind, "delivering"))
        return add_delivering(live, line);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (span_is(kind, kinds[i]))
            return add_shut(live, line, (enum queue_shut_is)i);
    return 0;
}

/* --- look-ups ----------------------------------------------------------- */

const struct queue_delivering *
queue_live_delivering(const struct queue_live *l,
                      const struct spool_record *rec, uint32_t slot)
{
    if (l->delivering.n == 0)
        return NULL;
    for (struct map_link *m = map_first(&l->delivering, hash_of(rec->id));
         m != NULL; m = map_next(m)) {
        const struct delivering *d = MAP_ENTRY(m, struct delivering, link);
        if (!msg_id_eq(d->id, rec->id) || d->part != rec->part)
            continue;
        for (size_t i = 0; i < d->n; i++)
            if (d->slot[i] == slot)
                return &d->what;
    }
    return NULL;
}

/* Files of the settings that cannot be read: then no domain is local but those
 * that the sender sees as such, for which it names no host. */
static bool is_local(struct queue_live *l, struct span domain)
{
    if (!l->looked_for_local)
        (void)local_open(&l->local, &l->conf->local, NULL);
    l->looked_for_local = true;
    return l->local != NULL && local_has_domain(l->local, domain);
}

static const struct queue_shut *find_route(const struct queue_live *l,
                                           const struct route *r)
{
    char key[ROUTE_KEY_MAX];

    route_key(key, r);
    for (struct map_link *m =
             map_first(&l->shut, map_hash_nocase(key, strlen(key)));
         m != NULL; m = map_next(m)) {
        const struct shut *d = MAP_ENTRY(m, struct shut, link);
        if (strcmp(d->key, key) == 0)
            return &d->what;
    }
    return NULL;
}

/* Of send.relay_host all must be shut, and any of them may have the mail. */
static const struct queue_shut *
find_shut(struct queue_live *l, struct span sender, struct span domain)
{
    const struct queue_shut *shut = NULL;
    struct route r;

    route_find(&r, l->conf, domain, sender, is_local(l, domain));
    if (r.relay == 0)
        return find_route(l, &r);
    enum conf_tls tls = r.mail_tls;
    for (unsigned i = 1; shut == NULL && i <= l->conf->send.relay_host.n; i++) {
        route_relay(&r, l->conf, i, tls);
        shut = find_route(l, &r);
    }
    return shut;
}

/* A domain has no "@". */
static struct span domain_of(struct span address)
{
    size_t n = address.n;

    while (n > 0 && address.p[n - 1] != '@')
        n--;
    return (struct span){ address.p + n, n > 0 ? address.n - n : 0 };
}

const struct queue_shut *
queue_live_shut(struct queue_live *l, struct span sender, struct span address)
{
    struct span domain = domain_of(address);

    if (l->shut.n == 0 || domain.n == 0)
        return NULL;
    if (l->by_sender)
        return find_shut(l, domain_of(sender), domain);
    if (domain.n > sizeof l->memo[0].domain)
        return find_shut(l, SPAN_LIT(""), domain);
    uint64_t hash = map_hash_nocase(domain.p, domain.n);
    struct memo *m = &l->memo[hash % MEMOS];
    if (!span_eq_nocase((struct span){ m->domain, m->n }, domain)) {
        m->shut = find_shut(l, SPAN_LIT(""), domain);
        memcpy(m->domain, domain.p, domain.n);
        m->n = (uint8_t)domain.n;
    }
    return m->shut;
}
