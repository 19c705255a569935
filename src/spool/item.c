/* item.c - one message of the store: envelope, body, slots, its end. */
#include "spool/store_state.h"

#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>

int spool_item_envelope(struct spool_store *s, const struct spool_item *it,
                        spool_field_fn *fn, void *ctx, struct err *e)
{
    int fd = store_fd(s, it->segment, e);
    struct spool_view v = { &it->rec, fd, it->at };

    return fd < 0 ? -1 : spool_view_envelope(&v, fn, ctx, e);
}

int spool_item_pin(struct spool_store *s, struct spool_item *it,
                   struct body *body, struct err *e)
{
    int fd = store_fd(s, it->segment, e);

    if (fd < 0)
        return -1;
    it->segment->pins++;
    *body = body_of_file(fd, (off_t)(it->at + spool_body_at(&it->rec)),
                         it->rec.body_size);
    return 0;
}

void spool_item_unpin(struct spool_store *s, struct spool_segment *pinned)
{
    pinned->pins--;
    store_drop_if_dead(s, pinned);
}

int spool_slot_get(struct spool_store *s, const struct spool_item *it,
                   uint32_t index, struct spool_slot *slot, struct err *e)
{
    int fd = store_fd(s, it->segment, e);
    struct spool_view v = { &it->rec, fd, it->at };

    return fd < 0 ? -1 : spool_view_slot(&v, index, slot, e);
}

int spool_slot_put(struct spool_store *s, struct spool_item *it, uint32_t index,
                   const struct spool_slot *slot, struct err *e)
{
    unsigned char raw[SPOOL_SLOT];
    struct spool_segment *g = it->segment;

    if (index >= it->rec.nrcpt)
        return err_set(e, ERR_BUG, 0, "slot %u of %u", index, it->rec.nrcpt);
    if (store_fd(s, g, e) < 0)
        return -1;
    spool_slot_encode(raw, slot);
    if (fs_pwrite_all(g->fd, raw, sizeof raw,
                      (off_t)(it->at + spool_slot_at(index))) != 0)
        return err_set(e, ERR_TEMP, errno, "mark a recipient");
    if (!list_linked(&g->dirty))
        list_push(&s->dirty, &g->dirty);
    return 0;
}

int spool_store_sync(struct spool_store *s, struct err *e)
{
    struct list *l;

    while ((l = s->dirty.next) != &s->dirty) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, dirty);
        if (store_fd(s, g, e) < 0)
            return -1;
        if (fs_fdatasync(g->fd) != 0)
            return err_set(e, ERR_TEMP, errno, "sync marks");
        list_remove(&g->dirty);
    }
    return 0;
}

void spool_item_done(struct spool_store *s, struct spool_item *it)
{
    struct spool_segment *g = it->segment;
    struct moved *m = store_find_moved(s, it->rec.id);

    if (m != NULL && m->placed) { /* nothing older of it is left */
        map_remove(&s->moved, &m->link);
        free(m);
    }
    store_displace_item(it);
    s->messages--;
    store_drop_if_dead(s, g);
}
