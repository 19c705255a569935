/* message.c - one message of the store: envelope, body, slots, its end. */
#include "spool/segments.h"

#include "base/fs.h"

#include <errno.h>

void spool_item_place(struct spool_store *s, struct spool_segment *g,
                      struct spool_item *it, uint64_t at)
{
    it->segment = g;
    it->at = at;
    list_push(&g->items, &it->link);
    g->live++;
    g->live_bytes += it->rec.length;
    s->live_bytes += it->rec.length;
}

void spool_item_remove(struct spool_store *s, struct spool_item *it)
{
    list_remove(&it->link);
    it->segment->live--;
    it->segment->live_bytes -= it->rec.length;
    s->live_bytes -= it->rec.length;
    it->segment = NULL;
}

int spool_item_view(struct spool_store *s, const struct spool_item *it,
                    struct spool_view *v, struct err *e)
{
    *v = (struct spool_view){ .rec = &it->rec,
                              .fd = spool_shelf_fd(s, it->segment, e),
                              .at = it->at };
    return v->fd < 0 ? -1 : 0;
}

int spool_item_envelope(struct spool_store *s, const struct spool_item *it,
                        spool_field_fn *fn, void *ctx, struct err *e)
{
    const struct spool_segment *g = it->segment;
    struct spool_view v;

    if (spool_item_view(s, it, &v, e) != 0)
        return -1;
    const uint64_t place[2] = { it->at + spool_envelope_at(&it->rec),
                                it->rec.envelope_size };
    spool_walk_ahead(&s->ahead, v.fd, g->id, place, g->end);
    v.walk = &s->ahead;
    return spool_view_envelope(&v, fn, ctx, e);
}

int spool_item_pin(struct spool_store *s, struct spool_item *it,
                   struct body *body, struct err *e)
{
    struct spool_view v;

    if (spool_item_view(s, it, &v, e) != 0)
        return -1;
    *body = spool_view_body(&v);
    it->segment->pins++;
    return 0;
}

void spool_item_unpin(struct spool_store *s, struct spool_segment *pinned)
{
    if (--pinned->pins == 0)
        spool_shelf_settle(s, pinned);
}

int spool_slot_get(struct spool_store *s, const struct spool_item *it,
                   uint32_t index, struct spool_slot *slot, struct err *e)
{
    struct spool_view v;

    return spool_item_view(s, it, &v, e) != 0
               ? -1
               : spool_view_slot(&v, index, slot, e);
}

int spool_slot_put(struct spool_store *s, struct spool_item *it, uint32_t index,
                   const struct spool_slot *slot, struct err *e)
{
    unsigned char out[SPOOL_SLOT];
    struct spool_segment *g = it->segment;

    if (index >= it->rec.nrcpt)
        return err_set(e, ERR_BUG, 0, "recipient %u of %u", (unsigned)index,
                       (unsigned)it->rec.nrcpt);
    if (spool_shelf_fd(s, g, e) < 0)
        return -1;
    spool_slot_encode(out, index, slot);
    if (fs_pwrite_all(g->fd, out, sizeof out,
                      (off_t)(it->at + spool_slot_at(index))) != 0)
        return err_set(e, ERR_TEMP, errno, "mark a recipient");
    if (!list_linked(&g->dirty))
        list_push(&s->dirty, &g->dirty);
    return 0;
}

static int sync_marks(struct spool_store *s, struct spool_segment *g,
                      struct err *e)
{
    if (spool_shelf_fd(s, g, e) < 0)
        return -1;
    if (fs_fdatasync(g->fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync the marks of recipients");
    return 0;
}

/* A mark that is lost is a duplicate at worst, so one segment that fails does
 * not keep the others from their sync. */
int spool_store_sync(struct spool_store *s, struct err *e)
{
    struct list failed, *l;
    int rc = 0;

    list_init(&failed);
    while ((l = list_pop(&s->dirty)) != NULL) {
        if (sync_marks(s, LIST_ENTRY(l, struct spool_segment, dirty), e) == 0)
            continue;
        list_push(&failed, l);
        rc = -1;
    }
    list_splice(&s->dirty, &failed);
    return spool_shelf_sync_dir(s, e) != 0 ? -1 : rc;
}

void spool_item_done(struct spool_store *s, struct spool_item *it)
{
    struct spool_segment *g = it->segment;

    spool_item_remove(s, it);
    s->messages--;
    spool_shelf_settle(s, g);
}
