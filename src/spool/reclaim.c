/* reclaim.c - move the few live messages of a large segment, so that it can be
 * removed. */
#include "spool/reclaim.h"

#include "spool/move_record_private.h"
#include "spool/unlink_order_private.h"
#include "spool/writer_private.h"

#include <stdlib.h>

enum { STEP_BYTES = 1024 * 1024 };

/* The records that one call moves. */
struct step {
    struct spool_segment *from;
    int n;
    uint64_t bytes;
    struct spool_message *message[SPOOL_RECLAIM_ITEMS];
    struct spool_record rec[SPOOL_RECLAIM_ITEMS];
    uint64_t at[SPOOL_RECLAIM_ITEMS];
};

/* Not a segment with one large message, which is dead or alive as a whole; nor
 * one with an unconfirmed child, which is looked for there. */
static bool worth_it(struct spool_queue *q, struct spool_segment *g)
{
    return g->closed && !g->large && !g->stuck && g->live > 0 &&
           g->scanned >= g->end && g->live_bytes < g->size / 2 &&
           !spool_segments_unconfirmed(q, g);
}

static struct spool_segment *choose(struct spool_queue *q)
{
    for (struct list *l = q->all.next; l != &q->all; l = l->next)
        if (worth_it(q, LIST_ENTRY(l, struct spool_segment, link)))
            return LIST_ENTRY(l, struct spool_segment, link);
    return NULL;
}

static void pick(struct step *t, int max)
{
    for (struct list *l = t->from->messages.next;
         l != &t->from->messages && t->n < max; l = l->next) {
        struct spool_message *m = LIST_ENTRY(l, struct spool_message, link);
        if (t->n > 0 && t->bytes + m->rec.length > STEP_BYTES)
            break;
        t->message[t->n] = m;
        t->rec[t->n] = m->rec;
        t->at[t->n] = m->at;
        t->bytes += m->rec.length;
        t->n++;
    }
}

static int copy_all(struct spool_queue *q, struct step *t,
                    struct spool_writer *w, struct err *e)
{
    int fd = spool_segments_fd(q, t->from, e);

    if (fd < 0 || spool_writer_reserve(w, t->bytes, e) != 0)
        return -1;
    for (int i = 0; i < t->n; i++)
        if (spool_move_record(w, &t->rec[i], fd, &t->at[i], e) != 0)
            return -1;
    return 0;
}

/* Switch to the copies, which count from here on. */
static void settle(struct spool_queue *q, struct step *t,
                   struct spool_segment *to, struct spool_range *own)
{
    struct spool_range **last = &to->own;

    while (*last != NULL)
        last = &(*last)->next;
    *last = own;
    if (own->to > to->end)
        to->end = own->to;
    to->moved = true;
    for (int i = 0; i < t->n; i++) {
        spool_message_remove(q, t->message[i]);
        t->message[i]->rec = t->rec[i];
        spool_message_place(q, to, t->message[i], t->at[i]);
    }
    spool_segments_settle(q, t->from);
}

static int move(struct spool_queue *q, struct step *t, struct spool_writer *w,
                struct err *e)
{
    struct spool_range *own = calloc(1, sizeof *own);
    struct spool_segment *to = NULL;

    if (own == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to reclaim");
    if (copy_all(q, t, w, e) != 0)
        goto out;
    own->from = t->at[0];
    own->to = own->from + t->bytes;
    to = spool_segments_add(q, w->f.h.id);
    if (to == NULL || !spool_unlink_order_note(t->from, to)) {
        err_set(e, ERR_TEMP, 0, "no memory to reclaim");
        to = NULL;
    }
out:
    if (to == NULL || spool_writer_commit(w, e) != 0) {
        spool_writer_rollback(w);
        free(own);
        return -1;
    }
    settle(q, t, to, own);
    return 0;
}

/* A segment with a damaged record is left until the next start, so that the
 * move is not tried every second. */
int spool_queue_reclaim(struct spool_queue *q, struct spool_writer *w,
                        struct err *e)
{
    struct err why;

    if (!list_empty(&w->turn) || !list_empty(&w->larges))
        return 1;
    if (!list_empty(&q->cursors))
        return 0; /* what moved would be passed by, or met twice */
    spool_segments_settle_all(q);
    struct spool_segment *from = choose(q);
    if (from == NULL)
        return 0;
    struct step *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to reclaim");
    t->from = from;
    pick(t, q->reclaim_items);
    int rc = move(q, t, w, &why);
    free(t);
    if (rc == 0)
        return choose(q) != NULL;
    if (why.kind == ERR_PERM)
        from->stuck = from->damaged = true;
    if (e != NULL)
        *e = why;
    return -1;
}
