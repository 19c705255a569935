#include "spool/recent_private.h"

#include <stdlib.h>
#include <string.h>

enum { MANY = 8 };

bool spool_recent_fits(const struct spool_record *r)
{
    return r->nrcpt >= MANY && r->envelope_size <= SPOOL_RECENT_MAX;
}

struct span spool_recent_find(const struct spool_recent *k, uint64_t segment,
                              uint64_t at)
{
    for (size_t i = 0; i < SPOOL_RECENT; i++)
        if (k->kept[i].at == at && k->kept[i].segment == segment)
            return (struct span){ k->kept[i].envelope, k->kept[i].n };
    return (struct span){ NULL, 0 };
}

static void drop(struct spool_recent *k, size_t i)
{
    free(k->kept[i].envelope);
    memset(&k->kept[i], 0, sizeof k->kept[i]);
}

void spool_recent_keep(struct spool_recent *k, uint64_t segment, uint64_t at,
                       struct span envelope)
{
    size_t i = k->next;
    char *copy = malloc(envelope.n);

    if (copy == NULL)
        return;
    memcpy(copy, envelope.p, envelope.n);
    k->next = (k->next + 1) % SPOOL_RECENT;
    drop(k, i);
    k->kept[i].segment = segment;
    k->kept[i].at = at;
    k->kept[i].envelope = copy;
    k->kept[i].n = envelope.n;
}

void spool_recent_free(struct spool_recent *k)
{
    for (size_t i = 0; i < SPOOL_RECENT; i++)
        drop(k, i);
}
