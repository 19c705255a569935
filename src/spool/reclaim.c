/* reclaim.c - few live messages must not pin a large file for days. */
#include "spool/segments.h"
#include "spool/writer_private.h"

#include <stdlib.h>

enum { STEP_ITEMS = 64, STEP_BYTES = 1024 * 1024 };

/* What one call moves. */
struct step {
    struct spool_segment *from;
    int n;
    uint64_t bytes;
    struct spool_item *item[STEP_ITEMS];
    struct spool_record rec[STEP_ITEMS];
    uint64_t at[STEP_ITEMS];
};

/* A segment with one large message is dead or alive as a whole. */
static bool worth_it(const struct spool_segment *g)
{
    return g->closed && !g->solo && !g->stuck && g->live > 0 &&
           g->scanned >= g->end && g->live_bytes < g->size / 2;
}

static struct spool_segment *choose(struct spool_store *s)
{
    for (struct list *l = s->all.next; l != &s->all; l = l->next)
        if (worth_it(LIST_ENTRY(l, struct spool_segment, link)))
            return LIST_ENTRY(l, struct spool_segment, link);
    return NULL;
}

/* Those that could not be removed when their last message was done. */
static void settle_again(struct spool_store *s)
{
    for (struct list *l = s->all.next, *next; l != &s->all; l = next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        next = l->next;
        if (g->pins == 0)
            spool_shelf_settle(s, g);
    }
}

static void pick(struct step *t)
{
    for (struct list *l = t->from->items.next;
         l != &t->from->items && t->n < STEP_ITEMS; l = l->next) {
        struct spool_item *it = LIST_ENTRY(l, struct spool_item, link);
        if (t->n > 0 && t->bytes + it->rec.length > STEP_BYTES)
            break;
        t->item[t->n] = it;
        t->rec[t->n] = it->rec;
        t->at[t->n] = it->at;
        t->bytes += it->rec.length;
        t->n++;
    }
}

static int copy_all(struct spool_store *s, struct step *t,
                    struct spool_writer *w, struct err *e)
{
    int fd = spool_shelf_fd(s, t->from, e);

    if (fd < 0 || spool_writer_reserve(w, t->bytes, e) != 0)
        return -1;
    for (int i = 0; i < t->n; i++)
        if (spool_writer_copy(w, &t->rec[i], fd, &t->at[i], e) != 0)
            return -1;
    return 0;
}

/* From here on the copies are what counts. */
static void settle(struct spool_store *s, struct step *t,
                   struct spool_segment *to, struct spool_range *own)
{
    struct spool_range **last = &to->own;

    while (*last != NULL)
        last = &(*last)->next;
    *last = own;
    if (own->to > to->end)
        to->end = own->to;
    to->copies = true;
    for (int i = 0; i < t->n; i++) {
        spool_item_remove(s, t->item[i]);
        t->item[i]->rec = t->rec[i];
        spool_item_place(s, to, t->item[i], t->at[i]);
    }
    spool_shelf_settle(s, t->from);
}

static int move(struct spool_store *s, struct step *t, struct spool_writer *w,
                struct err *e)
{
    struct spool_range *own = calloc(1, sizeof *own);
    struct spool_segment *to = NULL;

    if (own == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to reclaim");
    if (copy_all(s, t, w, e) != 0)
        goto out;
    own->from = t->at[0];
    own->to = own->from + t->bytes;
    if ((to = spool_shelf_add(s, w->f.h.id)) == NULL)
        err_set(e, ERR_TEMP, 0, "no memory to reclaim");
out:
    if (to == NULL || spool_writer_commit(w, e) != 0) {
        spool_writer_rollback(w);
        free(own);
        return -1;
    }
    settle(s, t, to, own);
    return 0;
}

/* A segment with a record that has rotted is left alone until the next start,
 * or the work would be tried again every second. */
int spool_store_reclaim(struct spool_store *s, struct spool_writer *w,
                        struct err *e)
{
    struct err why;

    if (!list_empty(&w->turn) || !list_empty(&w->solos))
        return 1;
    settle_again(s);
    struct spool_segment *from = choose(s);
    if (from == NULL)
        return 0;
    struct step *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to reclaim");
    t->from = from;
    pick(t);
    int rc = move(s, t, w, &why);
    free(t);
    if (rc == 0)
        return choose(s) != NULL;
    if (why.kind == ERR_PERM)
        from->stuck = from->damaged = true;
    if (e != NULL)
        *e = why;
    return -1;
}
