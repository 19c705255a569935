/* handover.c - steps of the hand-over.
 *
 * Between two calls of its owner a hand-over is in one of three stages:
 *
 *   IDLE       all that is published is marked
 *   ADDED      children wait in the writers' turns
 *   PUBLISHED  they are durable and visible; parents' slots are to be marked
 *
 * and perhaps lost: a failed sync left it unknown what a power cut brings back.
 * Another try could hand over twice; what is unconfirmed then waits for the
 * next start. */
#include "spool/handover_private.h"

#include "base/fs.h"
#include "spool/segments_private.h"
#include "spool/submit.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

struct spool_handover {
    struct spool_queue *q;
    struct spool_writer *to[SPOOL_QUEUES];
    enum { IDLE, ADDED, PUBLISHED } stage;
    struct list children; /* of this step */
    uint32_t n[SPOOL_QUEUES], unconfirmed;
    bool failed[SPOOL_QUEUES]; /* the last commit */
};

int spool_handover_open(struct spool_handover **hp, struct spool_queue *q,
                        struct spool_writer *const to[SPOOL_QUEUES],
                        struct err *e)
{
    struct spool_handover *h = calloc(1, sizeof *h);

    *hp = h;
    if (h == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to hand over");
    h->q = q;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        h->to[i] = to[i];
    list_init(&h->children);
    return 0;
}

void spool_handover_close(struct spool_handover **hp)
{
    if (*hp == NULL)
        return;
    (void)spool_handover_confirm(*hp, NULL);
    free(*hp);
    *hp = NULL;
}

bool spool_handover_lost(const struct spool_handover *h)
{
    bool lost = h->q->unsynced;

    for (int i = 0; i < SPOOL_QUEUES; i++)
        lost |= h->to[i] != NULL && h->to[i]->unsure;
    return lost;
}

static int refuse_lost(const struct spool_handover *h, struct err *e)
{
    return spool_handover_lost(h)
               ? err_set(e, ERR_BUG, 0,
                         "hand over after a sync that failed: the next start "
                         "finds out what is on the disk")
               : 0;
}

/* --- a step --------------------------------------------------------------- */

int spool_handover_append(struct spool_handover *h, struct spool_child *c,
                          const struct body *body, struct err *e)
{
    const struct spool_record *parent = &c->parent->rec;

    if (refuse_lost(h, e) != 0)
        return -1;
    if (h->stage == PUBLISHED)
        return err_set(e, ERR_BUG, 0, "hand over before the marks of a step");
    if (h->unconfirmed >= SPOOL_UNCONFIRMED_MAX)
        return err_set(e, ERR_TEMP, 0, "%d children are not confirmed",
                       (int)SPOOL_UNCONFIRMED_MAX);
    if (spool_part_child(&c->m.part, parent->part, c->slots[0], e) != 0)
        return 1;
    if (!spool_replaces_add(c->envelope, c->blocks, c->slots, c->nslots))
        return err_set(e, ERR_TEMP, ENOMEM, "no blocks for a child");
    c->m.id = parent->id;
    c->m.envelope = c->envelope;
    if (spool_submit(h->to[c->to], &c->m, body, e) != 0)
        return -1;
    c->failed = false;
    list_push(&h->children, &c->link);
    h->n[c->to]++;
    h->unconfirmed++;
    h->stage = ADDED;
    return 0;
}

static void fail_children(struct spool_handover *h, enum spool_name to)
{
    for (struct list *l = h->children.next, *next; l != &h->children;
         l = next) {
        struct spool_child *c = LIST_ENTRY(l, struct spool_child, link);
        next = l->next;
        if (c->to != to)
            continue;
        c->failed = true;
        list_remove(l);
        h->unconfirmed--;
    }
}

/* The turn must be whole: marks for a child that its writer has rolled back
 * would lose mail. */
static int commit_writer(struct spool_handover *h, enum spool_name to,
                         struct err *e)
{
    uint32_t n = h->n[to];

    h->n[to] = 0;
    if (h->to[to] == NULL)
        return 0;
    if (h->to[to]->nchildren != n)
        return err_set(e, ERR_BUG, 0, "a turn lost its children");
    return spool_writer_commit(h->to[to], e);
}

int spool_handover_commit(struct spool_handover *h, struct err *e)
{
    struct err why;
    int rc = 0;

    if (h->stage == PUBLISHED)
        return err_set(e, ERR_BUG, 0, "commit before the marks of a step");
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        enum spool_name to = (enum spool_name)i;
        h->failed[i] = commit_writer(h, to, &why) != 0;
        if (!h->failed[i])
            continue;
        fail_children(h, to);
        if (rc == 0 && e != NULL)
            *e = why;
        rc = -1;
    }
    h->stage = list_empty(&h->children) ? IDLE : PUBLISHED;
    return rc;
}

bool spool_handover_failed(const struct spool_handover *h, enum spool_name to)
{
    return h->failed[to];
}

int spool_handover_mark_slot(struct spool_queue *q, struct spool_message *m,
                             uint32_t index, struct err *e)
{
    struct spool_slot slot;

    if (spool_slot_get(q, m, index, &slot, e) != 0)
        return -1;
    if (slot.state != SPOOL_PENDING && slot.state != SPOOL_HELD &&
        slot.state != SPOOL_EXPANDED)
        return 0;
    slot.state = SPOOL_EXPANDED;
    return spool_slot_put(q, m, index, &slot, e);
}

int spool_handover_mark(struct spool_handover *h, struct err *e)
{
    if (h->stage != PUBLISHED)
        return 0;
    while (!list_empty(&h->children)) {
        struct spool_child *c =
            LIST_ENTRY(h->children.next, struct spool_child, link);
        for (uint32_t i = 0; i < c->nslots; i++)
            if (spool_handover_mark_slot(h->q, c->parent, c->slots[i], e) != 0)
                return -1;
        list_remove(&c->link);
    }
    h->stage = IDLE;
    return 0;
}

/* --- confirmed words ------------------------------------------------------ */

int spool_handover_write_word(const char *dir, uint64_t id, uint64_t end,
                              struct err *e)
{
    char path[SPOOL_PATH];

    spool_path(path, dir, id, SPOOL_SEG);
    int fd = fs_open(path, O_RDWR | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    int rc = spool_confirmed_write(fd, id, end);
    if (rc != 0)
        err_set(e, ERR_TEMP, errno, "confirm the children in %s", path);
    fs_close(fd);
    return rc;
}

int spool_handover_write_words(struct spool_writer *w, struct err *e)
{
    uint64_t end = w->f.h.committed;

    while (!list_empty(&w->behind)) {
        struct spool_behind *b =
            LIST_ENTRY(w->behind.next, struct spool_behind, link);
        if (spool_handover_write_word(w->dir, b->id, b->end, e) != 0)
            return -1;
        list_remove(&b->link);
        free(b);
    }
    if (w->children == 0 || w->f.fd < 0 || w->confirmed >= end)
        return 0;
    if (spool_confirmed_write(w->f.fd, w->f.h.id, end) != 0)
        return err_set(e, ERR_TEMP, errno, "confirm children");
    w->confirmed = end;
    return 0;
}

/* Nothing is published between the sync and the words, so they cover what was
 * marked before it and no more.  After a sync that failed, a later one may
 * succeed without the marks that the first lost: then there is none. */
int spool_handover_confirm(struct spool_handover *h, struct err *e)
{
    int rc = 0;

    if (spool_handover_mark(h, e) != 0 || spool_queue_sync(h->q, e) != 0 ||
        (h->q->unsynced && refuse_lost(h, e) != 0))
        return -1;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (h->to[i] != NULL && spool_handover_write_words(h->to[i], e) != 0)
            rc = -1;
    if (rc == 0 && h->stage == IDLE)
        h->unconfirmed = 0;
    return rc;
}
