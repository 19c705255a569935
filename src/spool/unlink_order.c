#include "spool/unlink_order_private.h"

#include <stdlib.h>

bool spool_unlink_order_note(struct spool_segment *from,
                             struct spool_segment *to)
{
    struct spool_move *m;

    for (struct list *l = from->moved_out.next; l != &from->moved_out;
         l = l->next)
        if (LIST_ENTRY(l, struct spool_move, out)->to == to)
            return true;
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return false;
    m->to = to;
    list_push(&from->moved_out, &m->out);
    list_push(&to->moved_in, &m->in);
    return true;
}

bool spool_unlink_order_waits(const struct spool_queue *q,
                              const struct spool_segment *g)
{
    return !list_empty(&g->moved_in) || (g->moved && !q->settled);
}

void spool_unlink_order_gone(struct spool_queue *q, struct spool_segment *g)
{
    struct list *l;

    while ((l = list_pop(&g->moved_in)) != NULL) {
        struct spool_move *m = LIST_ENTRY(l, struct spool_move, in);
        list_remove(&m->out);
        free(m);
    }
    q->dir_dirty |= !list_empty(&g->moved_out);
    list_splice(&q->unlinked, &g->moved_out);
}

/* Take the list first: an unlink in this loop is not synced yet, so its moves
 * wait for the next sync. */
void spool_unlink_order_synced(struct spool_queue *q)
{
    struct list synced, *l;

    list_init(&synced);
    list_splice(&synced, &q->unlinked);
    while ((l = list_pop(&synced)) != NULL) {
        struct spool_move *m = LIST_ENTRY(l, struct spool_move, out);
        struct spool_segment *to = m->to;
        list_remove(&m->in);
        free(m);
        if (to->pins == 0)
            spool_segments_settle(q, to);
    }
}
