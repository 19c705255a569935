#include "spool/writer.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "base/os.h"
#include "spool/segment.h"
#include "spool/solo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    TURN_MAX = 1024, /* messages of one turn */
    IOV_BATCH = 1024,
    RESERVE_BYTES = 32 * 1024 * 1024,
    RESERVE_INODES = 100
};

/* A message of this turn: what is not in the caller's chains. */
struct added {
    struct spool_record rec;
    const struct chain *envelope, *body;
    unsigned char *slots; /* encoded; NULL: all pending, which is zeros */
    uint64_t at;          /* where it stands, once written */
    unsigned char head[SPOOL_RECORD_HEADER];
};

struct spool_writer {
    char dir[SPOOL_DIR_MAX];
    struct segment_file file; /* fd -1: open one before the next commit */
    uint64_t size, committed; /* of the file: allocated, synced */
    uint64_t base;            /* of the ids given out */
    uint32_t next_n;
    size_t nadded;
    uint64_t added_bytes;
    struct list solos; /* finished in this turn */
    struct wake wake;
    uint64_t room_asked; /* ms */
    uint64_t room_bytes, room_inodes;
    struct iovec iov[IOV_BATCH];
    struct added added[TURN_MAX];
};

int spool_make_dirs(const char *queue_dir, uid_t uid, gid_t gid, struct err *e)
{
    static const char *const names[] = { "", "segments", "run" };
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(queue_dir) >= SPOOL_DIR_MAX ||
            !os_path(path, sizeof path, queue_dir, names[i]))
            return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory %s",
                           queue_dir);
        if (os_mkdirs(path, 0700, e) != 0)
            return -1;
        if ((uid != (uid_t)-1 || gid != (gid_t)-1) && geteuid() == 0 &&
            chown(path, uid, gid) != 0)
            return err_set(e, ERR_TEMP, errno, "give %s to its user", path);
    }
    return 0;
}

/* --- the segment ----------------------------------------------------- */

static int open_segment(struct spool_writer *w, uint64_t need, struct err *e)
{
    uint64_t size = need + SPOOL_SEGMENT_HEADER;

    if (size < SPOOL_SEGMENT_SIZE)
        size = SPOOL_SEGMENT_SIZE;
    if (segment_create(&w->file, w->dir, (off_t)size, e) != 0)
        return -1;
    if (fs_fsync(w->file.fd) != 0) {
        err_set(e, ERR_TEMP, errno, "sync a new segment");
        segment_discard(&w->file, w->dir, "new");
        return -1;
    }
    if (segment_publish(&w->file, w->dir, e) != 0) {
        segment_discard(&w->file, w->dir, "new");
        return -1;
    }
    if (segment_sync_dir(w->dir, e) != 0) {
        segment_discard(&w->file, w->dir, "seg");
        return -1;
    }
    w->size = size;
    w->committed = SPOOL_SEGMENT_HEADER;
    if (w->base == 0 || w->next_n > MSG_ID_N_MAX) {
        w->base = w->file.id;
        w->next_n = 0;
    }
    wake_sender(&w->wake, w->dir, 's');
    return 0;
}

/* Leave the segment in order: what is beyond the committed length (room, or
 * the remains of a turn that failed) goes, the lock with it. */
static void leave_segment(struct spool_writer *w)
{
    if (w->file.fd < 0)
        return;
    if (w->committed == SPOOL_SEGMENT_HEADER) {
        segment_discard(&w->file, w->dir, "seg");
        return;
    }
    /* Advisory, both: recovery comes to the same result without them. */
    if (fs_truncate(w->file.fd, (off_t)w->committed) == 0)
        (void)segment_write_state(&w->file, w->committed, true);
    fs_close(w->file.fd);
    w->file.fd = -1;
    wake_sender(&w->wake, w->dir, 's');
}

int spool_writer_open(struct spool_writer **out, const char *queue_dir,
                      struct err *e)
{
    struct spool_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the queue's writer");
    w->file.fd = w->wake.fd = -1;
    list_init(&w->solos);
    if (!span_copy(w->dir, sizeof w->dir, span_of(queue_dir))) {
        free(w);
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory %s",
                       queue_dir);
    }
    if (open_segment(w, 0, e) != 0) {
        free(w);
        return -1;
    }
    *out = w;
    return 0;
}

void spool_writer_close(struct spool_writer **w)
{
    if (*w == NULL)
        return;
    spool_writer_rollback(*w);
    leave_segment(*w);
    wake_close(&(*w)->wake);
    free(*w);
    *w = NULL;
}

/* --- adding ---------------------------------------------------------- */

int spool_writer_new_id(struct spool_writer *w, struct msg_id *id,
                        struct err *e)
{
    if (w->next_n > MSG_ID_N_MAX) { /* the name of a new segment is needed */
        leave_segment(w);
        if (open_segment(w, 0, e) != 0)
            return -1;
    }
    *id = (struct msg_id){ w->base, w->next_n++ };
    return 0;
}

int spool_writer_has_room(struct spool_writer *w, uint64_t size, struct err *e)
{
    uint64_t now = clock_mono_ms();
    struct statvfs v;

    if (w->room_asked == 0 || now - w->room_asked >= 1000) {
        if (statvfs(w->dir, &v) != 0)
            return err_set(e, ERR_TEMP, errno, "ask for room in %s", w->dir);
        w->room_asked = now;
        w->room_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        w->room_inodes = v.f_files == 0 ? UINT64_MAX : v.f_favail;
    }
    if (w->room_bytes < RESERVE_BYTES || w->room_bytes - RESERVE_BYTES < size)
        return err_set(e, ERR_TEMP, ENOSPC, "%s has %llu octets left", w->dir,
                       (unsigned long long)w->room_bytes);
    if (w->room_inodes < RESERVE_INODES)
        return err_set(e, ERR_TEMP, ENOSPC, "%s has %llu inodes left", w->dir,
                       (unsigned long long)w->room_inodes);
    return 0;
}

static int encode_slots(struct added *a, const struct spool_message *m,
                        struct err *e)
{
    a->slots = NULL;
    if (m->slots == NULL)
        return 0;
    a->slots = malloc((size_t)m->nrcpt * SPOOL_SLOT);
    if (a->slots == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for %u slots", m->nrcpt);
    for (uint32_t i = 0; i < m->nrcpt; i++)
        spool_slot_encode(a->slots + (size_t)i * SPOOL_SLOT, &m->slots[i]);
    return 0;
}

int spool_writer_add(struct spool_writer *w, const struct spool_message *m,
                     const struct chain *body, struct err *e)
{
    if (w->nadded == TURN_MAX)
        return err_set(e, ERR_TEMP, 0, "more than %d messages in a turn",
                       TURN_MAX);
    if (m->nrcpt == 0 || m->nrcpt > SPOOL_RCPT_MAX ||
        m->envelope->n > UINT32_MAX)
        return err_set(e, ERR_BUG, 0, "a message with %u recipients", m->nrcpt);
    struct added *a = &w->added[w->nadded];
    if (encode_slots(a, m, e) != 0)
        return -1;
    a->envelope = m->envelope;
    a->body = body;
    a->rec = (struct spool_record){ .id = m->id,
                                    .arrival = m->arrival,
                                    .body_size = body->n,
                                    .envelope_size = (uint32_t)m->envelope->n,
                                    .nrcpt = m->nrcpt,
                                    .generation = m->generation,
                                    .flags = m->flags };
    a->rec.length =
        spool_record_length(m->nrcpt, a->rec.envelope_size, a->rec.body_size);
    w->added_bytes += a->rec.length;
    w->nadded++;
    return 0;
}

void spool_writer_take_solo(struct spool_writer *w, struct spool_solo *s)
{
    list_push(&w->solos, &s->link);
}

const char *spool_writer_dir(const struct spool_writer *w)
{
    return w->dir;
}

uint64_t spool_writer_segment(const struct spool_writer *w)
{
    return w->file.id;
}

uint64_t spool_writer_placed(const struct spool_writer *w, size_t i)
{
    return w->added[i].at;
}

static void forget_turn(struct spool_writer *w)
{
    for (size_t i = 0; i < w->nadded; i++)
        free(w->added[i].slots);
    w->nadded = 0;
    w->added_bytes = 0;
}

static struct spool_solo *pop_solo(struct spool_writer *w)
{
    struct list *l = list_pop(&w->solos);

    return l == NULL ? NULL : LIST_ENTRY(l, struct spool_solo, link);
}

void spool_writer_rollback(struct spool_writer *w)
{
    struct spool_solo *s;

    forget_turn(w);
    while ((s = pop_solo(w)) != NULL)
        spool_solo_abort(&s);
}

/* --- committing ------------------------------------------------------ */

/* Where the next octets go, and the vectors that wait for one pwritev(). */
struct output {
    struct spool_writer *w;
    uint64_t at; /* of the first vector */
    uint64_t bytes;
    int n;
};

static int put_out(struct output *o)
{
    int rc = o->n == 0
                 ? 0
                 : fs_pwritev_all(o->w->file.fd, o->w->iov, o->n, (off_t)o->at);
    o->at += o->bytes;
    o->bytes = 0;
    o->n = 0;
    return rc;
}

static int put(struct output *o, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    if (o->n == IOV_BATCH && put_out(o) != 0)
        return -1;
    o->w->iov[o->n].iov_base = (void *)(uintptr_t)p;
    o->w->iov[o->n].iov_len = n;
    o->n++;
    o->bytes += n;
    return 0;
}

static int put_zeros(struct output *o, uint64_t n)
{
    static const unsigned char zeros[4096];
    int rc = 0;

    for (; n > 0 && rc == 0; n -= n < sizeof zeros ? n : sizeof zeros)
        rc = put(o, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros);
    return rc;
}

static int put_chain(struct output *o, const struct chain *c)
{
    int rc = 0;

    for (const struct chain_block *b = c->head; b != NULL && rc == 0;
         b = b->next)
        rc = put(o, b->data + b->from, b->to - b->from);
    return rc;
}

static uint32_t crc_of_chain(uint32_t crc, const struct chain *c)
{
    for (const struct chain_block *b = c->head; b != NULL; b = b->next)
        crc = crc32c(crc, b->data + b->from, b->to - b->from);
    return crc;
}

static int put_record(struct output *o, struct added *a)
{
    struct spool_record *r = &a->rec;
    uint64_t slots = (uint64_t)r->nrcpt * SPOOL_SLOT;
    uint64_t used = spool_body_at(r) + r->body_size;

    r->segment = o->w->file.id;
    a->at = o->at + o->bytes;
    r->crc = crc_of_chain(crc_of_chain(0, a->envelope), a->body);
    spool_record_seal(a->head, r);
    if (put(o, a->head, sizeof a->head) != 0 ||
        (a->slots != NULL ? put(o, a->slots, (size_t)slots)
                          : put_zeros(o, slots)) != 0 ||
        put_chain(o, a->envelope) != 0 || put_chain(o, a->body) != 0)
        return -1;
    return put_zeros(o, r->length - used);
}

static int write_records(struct spool_writer *w, struct err *e)
{
    struct output o = { .w = w, .at = w->committed };
    int rc = 0;

    if (w->nadded == 0)
        return 0;
    for (size_t i = 0; i < w->nadded && rc == 0; i++)
        rc = put_record(&o, &w->added[i]);
    if (rc != 0 || put_out(&o) != 0)
        return err_set(e, ERR_TEMP, errno, "write to the queue");
    if (fs_fdatasync(w->file.fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync the queue");
    return 0;
}

static int make_place(struct spool_writer *w, struct err *e)
{
    if (w->nadded == 0)
        return 0;
    if (w->file.fd >= 0 && w->committed + w->added_bytes <= w->size)
        return 0;
    leave_segment(w);
    return open_segment(w, w->added_bytes, e);
}

static int sync_solos(struct spool_writer *w, struct err *e)
{
    for (struct list *l = w->solos.next; l != &w->solos; l = l->next)
        if (spool_solo_sync(LIST_ENTRY(l, struct spool_solo, link), e) != 0)
            return -1;
    return 0;
}

static int publish_solos(struct spool_writer *w, struct err *e)
{
    if (list_empty(&w->solos))
        return 0;
    for (struct list *l = w->solos.next; l != &w->solos; l = l->next)
        if (spool_solo_publish(LIST_ENTRY(l, struct spool_solo, link), e) != 0)
            return -1;
    return segment_sync_dir(w->dir, e);
}

/* Nothing of the turn may exist.  After a failed sync the kernel may have
 * dropped the pages or not, so the segment is left behind, cut to what was
 * synced before. */
static void fail_turn(struct spool_writer *w)
{
    if (w->nadded > 0 && w->file.fd >= 0) {
        /* Best effort: a complete record that a crash brings back was not
         * acknowledged, and so can only be a duplicate. */
        if (fs_truncate(w->file.fd, (off_t)w->committed) == 0)
            (void)fs_fsync(w->file.fd);
        leave_segment(w);
    }
    spool_writer_rollback(w);
}

int spool_writer_commit(struct spool_writer *w, struct err *e)
{
    struct spool_solo *s;
    bool new_segments = !list_empty(&w->solos);

    if (w->nadded == 0 && !new_segments)
        return 0;
    if (make_place(w, e) != 0 || sync_solos(w, e) != 0 ||
        write_records(w, e) != 0 || publish_solos(w, e) != 0) {
        fail_turn(w);
        return -1;
    }
    while ((s = pop_solo(w)) != NULL)
        spool_solo_release(&s);
    if (w->nadded > 0) {
        w->committed += w->added_bytes;
        /* Tells readers how far to look; not synced, recovery needs it not.
         * If it cannot be written they see the messages when we leave. */
        (void)segment_write_state(&w->file, w->committed, false);
    }
    forget_turn(w);
    wake_sender(&w->wake, w->dir, new_segments ? 's' : 'c');
    return 0;
}
