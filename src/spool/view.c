/* view.c - the queue for those who only look. */
#include "spool/store.h"

#include "base/fs.h"
#include "base/map.h"
#include "spool/scan.h"
#include "spool/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Ids of which reclaim made a copy, with the latest generation seen: both
 * the copy and the original are there for a moment. */
struct copied {
    struct map_link link;
    struct copied *next;
    struct msg_id id;
    uint32_t generation;
};

struct looking {
    const char *dir;
    spool_view_fn *fn;
    void *ctx;
    bool all, counting; /* counting: only collect copies */
    struct map copies;
    struct copied *list;
    struct scan scan;
    struct err *e;
};

static struct copied *find_copy(struct looking *k, struct msg_id id)
{
    uint64_t h = map_hash(&(uint64_t[2]){ id.base, id.n }, 16);

    for (struct map_link *l = map_first(&k->copies, h); l != NULL;
         l = map_next(l))
        if (msg_id_eq(MAP_ENTRY(l, struct copied, link)->id, id))
            return MAP_ENTRY(l, struct copied, link);
    return NULL;
}

static int note_copy(struct looking *k, const struct spool_record *r)
{
    if (r->generation == 0)
        return 0;
    struct copied *c = find_copy(k, r->id);
    if (c == NULL) {
        c = calloc(1, sizeof *c);
        if (c == NULL)
            return err_set(k->e, ERR_TEMP, 0, "no memory");
        c->id = r->id;
        c->next = k->list;
        k->list = c;
        map_add(&k->copies, &c->link,
                map_hash(&(uint64_t[2]){ r->id.base, r->id.n }, 16));
    }
    if (r->generation > c->generation)
        c->generation = r->generation;
    return 0;
}

static int show(struct looking *k, const struct spool_record *r, uint64_t at)
{
    struct spool_view v = { r, k->scan.fd, at };
    const struct copied *c = find_copy(k, r->id);
    bool live;

    if (c != NULL && c->generation != r->generation)
        return 0;
    if (!k->all) {
        if (scan_is_live(&k->scan, r, at, &live, k->e) != 0)
            return -1;
        if (!live)
            return 0;
    }
    return k->fn(k->ctx, &v);
}

/* How far records are certain: up to the committed length while a writer
 * lives or left in order; else as far as checksums carry. */
static uint64_t certain_end(int fd, const struct spool_segment_header *h,
                            bool *verify)
{
    struct stat st;

    *verify = false;
    if (fstat(fd, &st) != 0)
        return h->committed;
    uint64_t size = (uint64_t)st.st_size;
    if (h->closed || fs_lock(fd, LOCK_SH | LOCK_NB) != 0)
        return h->committed < size ? h->committed : size;
    (void)fs_lock(fd, LOCK_UN);
    *verify = true;
    return size;
}

static int look_into(void *ctx, uint64_t id)
{
    struct looking *k = ctx;
    struct spool_segment_header h;
    struct spool_record r;
    char path[PATH_MAX];
    uint64_t at;
    bool verify;
    int rc;

    segment_path(path, k->dir, id, "seg");
    int fd = scan_open(path, O_RDONLY, &h, k->e);
    if (fd < 0) /* gone meanwhile: its messages are done or were moved */
        return k->e->sys == ENOENT ? 0 : -1;
    uint64_t end = certain_end(fd, &h, &verify);
    scan_begin(&k->scan, fd, h.id, SPOOL_SEGMENT_HEADER, end);
    k->scan.verify = verify;
    while ((rc = scan_next(&k->scan, &r, &at, k->e)) > 0) {
        rc = k->counting ? note_copy(k, &r) : show(k, &r, at);
        if (rc != 0)
            break;
    }
    fs_close(fd);
    return rc;
}

int spool_look(const char *queue_dir, bool all, spool_view_fn *fn, void *ctx,
               struct err *e)
{
    struct looking *k = calloc(1, sizeof *k);
    int rc = -1;

    if (k == NULL || map_init(&k->copies, 1024) != 0) {
        free(k);
        return err_set(e, ERR_TEMP, 0, "no memory");
    }
    k->dir = queue_dir;
    k->fn = fn;
    k->ctx = ctx;
    k->all = all;
    k->e = e;
    k->counting = true;
    if (scan_dir(queue_dir, "seg", look_into, k, e) == 0) {
        k->counting = false;
        rc = scan_dir(queue_dir, "seg", look_into, k, e);
    }
    for (struct copied *c = k->list, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    map_done(&k->copies);
    free(k);
    return rc;
}

int spool_view_slot(const struct spool_view *v, uint32_t index,
                    struct spool_slot *slot, struct err *e)
{
    unsigned char raw[SPOOL_SLOT];

    if (index >= v->rec->nrcpt)
        return err_set(e, ERR_BUG, 0, "slot %u of %u", index, v->rec->nrcpt);
    if (fs_pread_all(v->fd, raw, sizeof raw,
                     (off_t)(v->at + spool_slot_at(index))) != 0)
        return err_set(e, ERR_TEMP, errno, "read a slot");
    spool_slot_decode(slot, raw);
    return 0;
}

/* Field by field through a window: envelopes may be large, memory not. */
int spool_view_envelope(const struct spool_view *v, spool_field_fn *fn,
                        void *ctx, struct err *e)
{
    char window[4096]; /* fields are names and addresses */
    uint64_t at = v->at + spool_envelope_at(v->rec);
    uint64_t end = at + v->rec->envelope_size;
    enum spool_field type;
    struct span content;

    while (at < end) {
        size_t n =
            end - at < sizeof window ? (size_t)(end - at) : sizeof window;
        if (fs_pread_all(v->fd, window, n, (off_t)at) != 0)
            return err_set(e, ERR_TEMP, errno, "read an envelope");
        struct span rest = { window, n };
        while (spool_field_next(&rest, &type, &content)) {
            int rc = fn(ctx, type, content);
            if (rc != 0)
                return rc;
        }
        if (rest.n == n)
            return err_set(e, ERR_PERM, 0, "malformed envelope");
        at += n - rest.n;
    }
    return 0;
}

struct body spool_view_body(const struct spool_view *v)
{
    return body_of_file(v->fd, (off_t)(v->at + spool_body_at(v->rec)),
                        v->rec->body_size);
}
