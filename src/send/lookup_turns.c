#include "send/lookup_turns.h"

#include "queue/message.h"
#include "send/destination.h"

#include <stdlib.h>

enum { BUCKETS = 1024, SLOW_MS = 1000 };

/* One sender's messages; all that failed before are one more. */
struct lookup_sender {
    struct map_link link;
    struct list turn; /* in the line */
    struct list line; /* its messages with destinations that wait */
    uint64_t key;
    unsigned running;
};

struct lookup_message {
    struct map_link link;
    struct list turn;    /* in the line of its sender */
    struct list waiting; /* destinations, by turn */
    struct lookup_sender *sender;
    const struct message *owner; /* only compared; NULL: of those that failed */
};

#define FAILED (UINT64_C(1) << 32) /* a key beyond those of senders */

int lookup_turns_init(struct lookup_turns *t)
{
    list_init(&t->line);
    list_init(&t->fresh);
    return map_init(&t->senders, BUCKETS) != 0 ||
                   map_init(&t->messages, BUCKETS) != 0
               ? -1
               : 0;
}

static void free_message(struct lookup_turns *t, struct lookup_message *m)
{
    list_remove(&m->turn);
    map_remove(&t->messages, &m->link);
    free(m);
}

static void free_sender(struct lookup_turns *t, struct lookup_sender *x)
{
    list_remove(&x->turn);
    map_remove(&t->senders, &x->link);
    free(x);
}

void lookup_turns_free(struct lookup_turns *t)
{
    for (size_t i = 0; t->messages.bucket != NULL && i <= t->messages.mask; i++)
        while (t->messages.bucket[i] != NULL)
            free_message(t, MAP_ENTRY(t->messages.bucket[i],
                                      struct lookup_message, link));
    for (size_t i = 0; t->senders.bucket != NULL && i <= t->senders.mask; i++)
        while (t->senders.bucket[i] != NULL)
            free_sender(
                t, MAP_ENTRY(t->senders.bucket[i], struct lookup_sender, link));
    map_done(&t->messages);
    map_done(&t->senders);
}

/* --- find or make --------------------------------------------------------- */

static struct lookup_sender *sender_of(struct lookup_turns *t, uint64_t key)
{
    uint64_t hash = map_hash(&key, sizeof key);

    for (struct map_link *l = map_first(&t->senders, hash); l != NULL;
         l = map_next(l)) {
        struct lookup_sender *x = MAP_ENTRY(l, struct lookup_sender, link);
        if (x->key == key)
            return x;
    }
    struct lookup_sender *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->key = key;
    list_init(&x->line);
    map_add(&t->senders, &x->link, hash);
    return x;
}

static struct lookup_message *message_of(struct lookup_turns *t,
                                         const struct message *owner)
{
    uint64_t hash = map_hash(&owner, sizeof owner);

    for (struct map_link *l = map_first(&t->messages, hash); l != NULL;
         l = map_next(l)) {
        struct lookup_message *m = MAP_ENTRY(l, struct lookup_message, link);
        if (m->owner == owner)
            return m;
    }
    struct lookup_message *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->sender = sender_of(t, owner != NULL ? owner->u.sender : FAILED);
    if (m->sender == NULL) {
        free(m);
        return NULL;
    }
    m->owner = owner;
    list_init(&m->waiting);
    map_add(&t->messages, &m->link, hash);
    return m;
}

/* --- turns ---------------------------------------------------------------- */

/* NULL: it is among those that failed.  A look-up may have expired while its
 * mail is parked. */
static const struct message *owner_of(struct destination *d)
{
    const struct rcpt *first = destination_next(d);

    if (d->look_up_failed)
        return NULL;
    return first != NULL ? first->msg
                         : LIST_ENTRY(d->parked.next, struct rcpt, link)->msg;
}

bool lookup_wait(struct lookup_turns *t, struct destination *d)
{
    struct lookup_message *m = message_of(t, owner_of(d));

    if (m == NULL)
        return false;
    list_push(&m->waiting, &d->turn);
    if (!list_linked(&m->turn))
        list_push(&m->sender->line, &m->turn);
    if (!list_linked(&m->sender->turn))
        list_push(&t->line, &m->sender->turn);
    return true;
}

/* The next one of a sender.  A destination without recipients left its message
 * by itself, so there may be none. */
static struct destination *pop(struct lookup_turns *t, struct lookup_sender *x)
{
    struct list *l, *first = NULL;

    while (first == NULL && (l = list_pop(&x->line)) != NULL) {
        struct lookup_message *m = LIST_ENTRY(l, struct lookup_message, turn);
        first = list_pop(&m->waiting);
        if (list_empty(&m->waiting))
            free_message(t, m);
        else
            list_push(&x->line, &m->turn);
    }
    return first != NULL ? LIST_ENTRY(first, struct destination, turn) : NULL;
}

static void start(struct lookup_turns *t, struct lookup_sender *x,
                  struct destination *d, uint64_t now)
{
    d->lookup.sender = x;
    d->lookup.began = now;
    x->running++;
    t->running++;
    if (x->key != FAILED)
        list_push(&t->fresh, &d->turn);
}

static void free_if_done(struct lookup_turns *t, struct lookup_sender *x)
{
    if (x->running == 0 && list_empty(&x->line))
        free_sender(t, x);
}

/* A sender that may not begin has a look-up under way, so there are never more
 * than LOOKUPS_MAX of them to pass. */
struct destination *lookup_next(struct lookup_turns *t, uint64_t now)
{
    struct list *at = t->line.next;

    while (at != &t->line && t->running < LOOKUPS_MAX) {
        struct lookup_sender *x = LIST_ENTRY(at, struct lookup_sender, turn);
        at = at->next;
        if (x->running >= 2 * (LOOKUPS_MAX - t->running))
            continue;
        list_remove(&x->turn);
        struct destination *d = pop(t, x);
        if (d != NULL)
            start(t, x, d, now);
        if (!list_empty(&x->line))
            list_push(&t->line, &x->turn);
        if (d != NULL)
            return d;
        free_if_done(t, x);
    }
    return NULL;
}

void lookup_done(struct lookup_turns *t, struct destination *d)
{
    struct lookup_sender *x = d->lookup.sender;

    if (x == NULL)
        return;
    list_remove(&d->turn); /* of the fresh ones */
    d->lookup.sender = NULL;
    x->running--;
    t->running--;
    free_if_done(t, x);
}

/* --- slow ones ------------------------------------------------------------ */

/* Does one wait that has not failed before? */
static bool one_waits(const struct lookup_turns *t)
{
    const struct list *first = t->line.next;

    return first != &t->line &&
           (first->next != &t->line ||
            LIST_ENTRY(first, struct lookup_sender, turn)->key != FAILED);
}

uint64_t lookup_slow_in(const struct lookup_turns *t, uint64_t now)
{
    if (!one_waits(t) || list_empty(&t->fresh))
        return UINT64_MAX;
    const struct destination *d =
        LIST_ENTRY(t->fresh.next, struct destination, turn);
    uint64_t end = d->lookup.began + SLOW_MS;
    return end > now ? end - now : 0;
}

struct destination *lookup_slow(struct lookup_turns *t, uint64_t now)
{
    return lookup_slow_in(t, now) == 0
               ? LIST_ENTRY(t->fresh.next, struct destination, turn)
               : NULL;
}
