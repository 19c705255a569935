/* reclaim.c - few live messages must not pin a large file for days. */
#include "spool/store_state.h"

#include "base/chain.h"
#include "base/fs.h"
#include "spool/solo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_ITEMS = 64, STEP_BLOCKS = 1024 };

/* One message on its way into another segment. */
struct passenger {
    struct spool_item *item;
    struct chain envelope, body;
    struct spool_slot *slots;
};

struct step {
    struct pool *blocks;
    size_t n;
    struct passenger p[STEP_ITEMS];
};

/* Mostly dead, and worth the work. */
static bool worth_it(const struct spool_segment *g)
{
    return g->closed && !g->damaged && g->pins == 0 && g->live_items > 0 &&
           g->scanned >= g->end && g->live_bytes * 2 < g->disk_bytes &&
           g->disk_bytes > 64 * 1024;
}

static struct spool_segment *choose(struct spool_store *s)
{
    for (struct list *l = s->all.next; l != &s->all; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        if (worth_it(g))
            return g;
    }
    return NULL;
}

static int load(struct step *t, int fd, uint64_t at, uint64_t n,
                struct chain *to, struct err *e)
{
    unsigned char piece[16 * 1024];

    while (n > 0) {
        size_t part = n < sizeof piece ? (size_t)n : sizeof piece;
        if (fs_pread_all(fd, piece, part, (off_t)at) != 0)
            return err_set(e, ERR_TEMP, errno, "read a message to move it");
        if (!chain_add(to, t->blocks, piece, part))
            return 1; /* the step is full */
        at += part;
        n -= part;
    }
    return 0;
}

/* 0: on board; 1: no place in this step; -1 with *e. */
static int board(struct spool_store *s, struct step *t, struct spool_item *it,
                 struct err *e)
{
    struct passenger *p = &t->p[t->n];
    const struct spool_record *r = &it->rec;
    int fd = store_fd(s, it->segment, e);
    int rc = 0;

    if (fd < 0)
        return -1;
    *p = (struct passenger){ .item = it };
    p->slots = calloc(r->nrcpt, sizeof *p->slots);
    if (p->slots == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to move a message");
    t->n++;
    for (uint32_t i = 0; i < r->nrcpt && rc == 0; i++)
        rc = spool_slot_get(s, it, i, &p->slots[i], e);
    if (rc == 0)
        rc = load(t, fd, it->at + spool_envelope_at(r), r->envelope_size,
                  &p->envelope, e);
    if (rc == 0)
        rc = load(t, fd, it->at + spool_body_at(r), r->body_size, &p->body, e);
    if (rc > 0) { /* leaves again */
        t->n--;
        free(p->slots);
        chain_clear(&p->envelope, t->blocks);
        chain_clear(&p->body, t->blocks);
    }
    return rc;
}

static int add_all(struct step *t, struct spool_writer *w, struct err *e)
{
    for (size_t i = 0; i < t->n; i++) {
        struct passenger *p = &t->p[i];
        const struct spool_record *r = &p->item->rec;
        struct spool_message m = { .id = r->id,
                                   .arrival = r->arrival,
                                   .nrcpt = r->nrcpt,
                                   .flags = r->flags,
                                   .generation = r->generation + 1,
                                   .envelope = &p->envelope,
                                   .slots = p->slots };
        if (spool_writer_add(w, &m, &p->body, e) != 0)
            return -1;
    }
    return 0;
}

/* They are durable in their new place: from now on that is where they are. */
static int settle(struct spool_store *s, struct step *t, struct spool_writer *w,
                  struct err *e)
{
    uint64_t id = spool_writer_segment(w);
    struct spool_segment *g = store_segment(s, id, e);

    if (g == NULL)
        return -1;
    for (size_t i = 0; i < t->n; i++) {
        struct spool_item *it = t->p[i].item;
        struct spool_record r = it->rec;
        struct moved *m = store_note_moved(s, r.id, r.generation + 1, e);
        if (m == NULL)
            return -1;
        m->placed = true;
        r.generation++;
        r.segment = id;
        store_displace_item(it);
        store_place_item(g, it, &r, spool_writer_placed(w, i));
    }
    return 0;
}

static void free_step(struct step *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->p[i].slots);
    pool_free(&t->blocks); /* with all chains */
    free(t);
}

static int fill(struct spool_store *s, struct step *t,
                struct spool_segment *from, struct err *e)
{
    int rc = 0;

    for (struct list *l = from->items.next;
         l != &from->items && t->n < STEP_ITEMS && rc == 0; l = l->next)
        rc = board(s, t, LIST_ENTRY(l, struct spool_item, link), e);
    return rc < 0 ? -1 : 0;
}

int spool_store_reclaim(struct spool_store *s, struct spool_writer *w,
                        struct err *e)
{
    struct spool_segment *from = choose(s);
    int rc = -1;

    if (from == NULL)
        return 0;
    struct step *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to reclaim");
    t->blocks = chain_pool_new(STEP_BLOCKS);
    if (t->blocks == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory to reclaim");
        goto out;
    }
    if (fill(s, t, from, e) != 0)
        goto out;
    if (t->n == 0) { /* one message larger than a step: let it be */
        rc = 0;
        goto out;
    }
    if (add_all(t, w, e) != 0) {
        spool_writer_rollback(w);
        goto out;
    }
    if (spool_writer_commit(w, e) != 0 || settle(s, t, w, e) != 0)
        goto out;
    rc = 1;
    if (from->live_items == 0) {
        store_drop_if_dead(s, from);
        /* The old copy must be gone for good before the new one may go. */
        rc = segment_sync_dir(s->dir, e) == 0 ? 1 : -1;
    }
out:
    free_step(t);
    return rc;
}
