/* reader.c - read the queue without a lock and without changing it.  A record
 * that moves meanwhile may be seen twice or not at all. */
#include "spool/reader.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "base/os.h"
#include "spool/dirs.h"
#include "spool/segments_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Octets of an address or of a parameter; RFC 3461 has one of 500. */
enum { TEXT_MAX = 600 };

struct queue_read {
    char dir[SPOOL_DIR];
    enum spool_name name;
    bool all;
    const struct msg_id *id; /* only its records; NULL: all */
    spool_read_fn *fn;       /* NULL: only collect the newest */
    void *ctx;
    struct spool_newest newest;
    struct err other; /* kind is set: there was such a segment */
    struct spool_records records;
};

/* The readable length: what is committed if there is a writer or it has closed
 * the segment; else as far as the checksums match, as in recovery. */
static int readable(int fd, const struct spool_segment_header *h, uint64_t *end,
                    bool *verify, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "look at a segment");
    *end = (uint64_t)st.st_size;
    *verify = !h->closed && fs_lock(fd, LOCK_SH | LOCK_NB) == 0;
    if (*verify)
        fs_lock(fd, LOCK_UN);
    else if (*end > h->committed)
        *end = h->committed;
    return 0;
}

/* 1: show it; 0: pass; -1 with *e. */
static int wanted(struct queue_read *k, const struct spool_record *r,
                  uint64_t at, bool verify, struct err *e)
{
    uint64_t where;
    int rc;

    if ((k->id != NULL && !msg_id_eq(r->id, *k->id)) ||
        (r->flags & SPOOL_TORN) != 0 ||
        spool_newest_beats(&k->newest, r, at, &where))
        return 0;
    if (verify && (rc = spool_records_verify(&k->records, r, at, e)) != 1)
        return rc;
    if (k->fn == NULL)
        return r->generation > 0;
    return k->all ? 1 : spool_records_waits(&k->records, r, at, e);
}

static int show(struct queue_read *k, const struct spool_record *r, uint64_t at,
                struct err *e)
{
    struct spool_reader v = { r, k->name, k->records.fd, at, &k->records };

    if (k->fn != NULL)
        return k->fn(k->ctx, &v);
    if (!spool_newest_note(&k->newest, r, at))
        return err_set(e, ERR_TEMP, 0, "no memory for moved messages");
    return 0;
}

/* Recovery has cut the segment meanwhile: what stood behind was no record. */
static bool was_cut(int fd, uint64_t end)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (uint64_t)st.st_size < end;
}

static int walk_records(struct queue_read *k, int fd,
                        const struct spool_segment_header *h, struct err *e)
{
    struct spool_record r;
    uint64_t at, end = 0;
    bool verify = false;
    int rc;

    if (readable(fd, h, &end, &verify, e) != 0)
        return -1;
    if (k->fn == NULL && !h->moved && !verify && !h->damaged)
        return 0; /* it has a writer, which would have set that flag */
    spool_records_start(&k->records, fd, h->id, SPOOL_SEGMENT_HEADER, end);
    while ((rc = spool_records_next(&k->records, &r, &at, e)) == 1) {
        if ((rc = wanted(k, &r, at, verify, e)) < 0)
            break;
        if (rc == 1 && (rc = show(k, &r, at, e)) != 0)
            return rc;
    }
    return rc < 0 && verify && was_cut(fd, end) ? 0 : rc;
}

static int on_segment(void *ctx, uint64_t id, enum spool_kind kind,
                      struct err *e)
{
    struct queue_read *k = ctx;
    struct spool_segment_header h;
    enum spool_check check;
    char path[SPOOL_PATH];
    int rc = 0;

    if (kind != SPOOL_SEG)
        return 0;
    spool_path(path, k->dir, id, kind);
    int fd = fs_open(path, O_RDONLY | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0) /* removed meanwhile: its messages were done or moved */
        return errno == ENOENT ? 0
                               : err_set(e, ERR_TEMP, errno, "open %s", path);
    if (spool_header_read(fd, &h, &check) != 0) {
        rc = err_set(e, ERR_TEMP, errno, "read %s", path);
    } else if (check == SPOOL_OTHER) {
        spool_err_other(&h, id, &k->other);
    } else if (k->fn != NULL || h.moved || !h.closed) {
        h.id = id;
        if (check == SPOOL_BROKEN)
            h.committed = SPOOL_SEGMENT_HEADER;
        rc = walk_records(k, fd, &h, e);
    }
    fs_close(fd);
    return rc;
}

/* Read twice: the first pass finds the newest copy of each moved record. */
static int read_queue(struct queue_read *k, const char *queue_dir,
                      spool_read_fn *fn, struct err *e)
{
    int rc = -1;

    k->fn = NULL;
    if (spool_dir(k->dir, queue_dir, k->name, e) == 0)
        rc = spool_each(k->dir, on_segment, k, e);
    k->fn = fn;
    if (rc == 0)
        rc = spool_each(k->dir, on_segment, k, e);
    spool_newest_free(&k->newest);
    return rc;
}

/* --- the records of one message ------------------------------------------ */

/* A writer counts its ids, so the segment whose first record has the nearest
 * one before that of the message is likely to have it. */
struct place {
    uint64_t id;
    uint32_t distance;
    enum spool_name name;
    bool moved; /* to be looked through for newer copies */
    bool parts; /* it may hold children of the message, or copies */
};
static const uint32_t FAR_AWAY = UINT32_MAX;

struct places {
    struct queue_read *k;
    FILE *out; /* of struct place */
};

static uint32_t distance(int fd, const struct spool_segment_header *h,
                         const struct msg_id *id)
{
    unsigned char in[SPOOL_RECORD_HEADER];
    struct spool_record r;

    if (fs_pread_all(fd, in, sizeof in, SPOOL_SEGMENT_HEADER) != 0 ||
        !spool_record_decode(&r, in) || r.segment != h->id ||
        r.id.base != id->base || r.id.n > id->n)
        return FAR_AWAY;
    return id->n - r.id.n;
}

static int on_place(void *ctx, uint64_t id, enum spool_kind kind, struct err *e)
{
    struct places *p = ctx;
    struct spool_segment_header h = { .id = id };
    enum spool_check check;
    char path[SPOOL_PATH];

    if (kind != SPOOL_SEG)
        return 0;
    spool_path(path, p->k->dir, id, kind);
    int fd = fs_open(path, O_RDONLY | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0 || spool_header_read(fd, &h, &check) != 0)
        check = SPOOL_BROKEN; /* reported when it is read */
    struct place x = { .id = id,
                       .name = p->k->name,
                       .distance =
                           fd < 0 ? FAR_AWAY : distance(fd, &h, p->k->id),
                       .moved = check != SPOOL_GOOD || h.moved || !h.closed,
                       .parts =
                           check != SPOOL_GOOD || h.moved || h.children != 0 };
    if (fd >= 0)
        fs_close(fd);
    return fwrite(&x, sizeof x, 1, p->out) == 1
               ? 0
               : err_set(e, ERR_TEMP, ENOMEM, "memory for segments");
}

static int by_distance(const void *va, const void *vb)
{
    const struct place *a = va, *b = vb;

    return a->distance != b->distance ? (a->distance < b->distance ? -1 : 1)
           : a->name != b->name       ? (a->name < b->name ? -1 : 1)
                                      : (a->id > b->id) - (a->id < b->id);
}

static int list_places(struct queue_read *k, const char *queue_dir, FILE *out,
                       struct err *e)
{
    struct places p = { k, out };
    int rc = 0;

    for (int i = 0; rc == 0 && i < SPOOL_QUEUES; i++) {
        k->name = (enum spool_name)i;
        rc = spool_dir(k->dir, queue_dir, k->name, e) != 0
                 ? -1
                 : spool_each(k->dir, on_place, &p, e);
    }
    if (rc == 0 && fflush(out) != 0)
        rc = err_set(e, ERR_TEMP, errno, "memory for segments");
    return rc;
}

struct finding {
    spool_read_fn *fn;
    void *ctx;
    bool found; /* the accepted message itself */
};

static int on_part(void *ctx, const struct spool_reader *v)
{
    struct finding *f = ctx;

    f->found |= v->rec->part == 0;
    return f->fn(f->ctx, v);
}

/* Once the record with part 0 is found, only children are left. */
static int read_places(struct queue_read *k, const char *queue_dir,
                       const struct place *x, size_t n, struct err *e)
{
    struct finding *f = k->ctx;
    int rc = 0;

    for (int pass = 0; pass < 2; pass++) {
        k->fn = pass == 0 ? NULL : on_part;
        for (size_t i = 0; rc == 0 && i < n; i++) {
            if (pass == 0 ? !x[i].moved : f->found && !x[i].parts)
                continue;
            k->name = x[i].name;
            rc = spool_dir(k->dir, queue_dir, k->name, e) != 0
                     ? -1
                     : on_segment(k, x[i].id, SPOOL_SEG, e);
        }
    }
    return rc;
}

static int read_id(struct queue_read *k, const char *queue_dir, struct err *e)
{
    char *memory = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&memory, &size);

    if (out == NULL)
        return err_set(e, ERR_TEMP, errno, "memory for segments");
    int rc = list_places(k, queue_dir, out, e);
    fclose(out);
    if (rc == 0) {
        struct place *x = (struct place *)(void *)memory;
        if (size > 0)
            qsort(x, size / sizeof *x, sizeof *x, by_distance);
        rc = read_places(k, queue_dir, x, size / sizeof *x, e);
    }
    free(memory);
    return rc;
}

int spool_read_id(const char *queue_dir, struct msg_id id, spool_read_fn *fn,
                  void *ctx, struct err *e)
{
    struct queue_read *k = calloc(1, sizeof *k);
    struct finding f = { fn, ctx, false };

    if (k == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to look at the queue");
    k->all = true;
    k->id = &id;
    k->ctx = &f;
    int rc = spool_dirs_refuse_old(queue_dir, e) != 0
                 ? -1
                 : read_id(k, queue_dir, e);
    if (rc == 0 && k->other.kind != ERR_NONE) {
        if (e != NULL)
            *e = k->other;
        rc = -1;
    }
    spool_newest_free(&k->newest);
    free(k);
    return rc;
}

int spool_read_all(const char *queue_dir, bool all, spool_read_fn *fn,
                   void *ctx, struct err *e)
{
    struct queue_read *k = calloc(1, sizeof *k);
    int rc = 0;

    if (k == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to look at the queue");
    k->all = all;
    k->ctx = ctx;
    if (spool_dirs_refuse_old(queue_dir, e) != 0)
        rc = -1;
    for (int i = 0; rc == 0 && i < SPOOL_QUEUES; i++) {
        k->name = (enum spool_name)i;
        rc = read_queue(k, queue_dir, fn, e);
    }
    if (rc == 0 && k->other.kind != ERR_NONE) {
        if (e != NULL)
            *e = k->other;
        rc = -1;
    }
    free(k);
    return rc;
}

static int is_there(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return 1;
}

/* Does a process hold the lock, or cannot that be known? */
static bool has_consumer(const char *dir)
{
    char path[SPOOL_PATH];

    if (!os_path(path, sizeof path, dir, "lock"))
        return true;
    int fd = fs_open(path, O_RDONLY | SPOOL_OPEN_SAFELY, 0);
    if (fd < 0)
        return errno != ENOENT;
    bool held = fs_lock(fd, LOCK_SH | LOCK_NB) != 0;
    fs_close(fd);
    return held;
}

bool spool_has_consumer(const char *queue_dir, enum spool_name name)
{
    char path[SPOOL_PATH];
    struct err e;

    return spool_dir(path, queue_dir, name, &e) == 0 &&
           access(path, X_OK) == 0 && has_consumer(path);
}

bool spool_is_unattended(const char *queue_dir, enum spool_name name)
{
    struct queue_read *k = calloc(1, sizeof *k);
    struct err e;

    if (k == NULL)
        return false;
    k->name = name;
    int rc =
        spool_dir(k->dir, queue_dir, name, &e) == 0 && !has_consumer(k->dir)
            ? read_queue(k, queue_dir, is_there, &e)
            : 0;
    free(k);
    return rc > 0;
}

/* --- one record ----------------------------------------------------------- */

int spool_reader_slot(const struct spool_reader *v, uint32_t index,
                      struct spool_slot *slot, struct err *e)
{
    uint64_t at = v->at + spool_slot_at(index);
    const unsigned char *seen =
        v->records == NULL ? NULL
                           : spool_records_peek(v->records, at, SPOOL_SLOT);
    unsigned char in[SPOOL_SLOT];

    if (index >= v->rec->nrcpt)
        return err_set(e, ERR_BUG, 0, "recipient %u of %u", (unsigned)index,
                       (unsigned)v->rec->nrcpt);
    if (seen == NULL && fs_pread_all(v->fd, in, sizeof in, (off_t)at) != 0)
        return err_set(e, ERR_TEMP, errno, "read a recipient");
    spool_slot_decode(slot, index, seen != NULL ? seen : in);
    return 0;
}

static int damaged(struct err *e)
{
    return err_set(e, ERR_PERM, 0, "message damaged on disk");
}

/* An address, or a parameter of one: never with octets that end a line. */
static bool is_text(enum spool_field type)
{
    return type == SPOOL_F_SENDER || type == SPOOL_F_RCPT ||
           (type >= SPOOL_F_ENVID && type <= SPOOL_F_NOTIFY);
}

static bool makes_sense(enum spool_field type, struct span content)
{
    return !is_text(type) ||
           (content.n <= TEXT_MAX && !span_has_control(content));
}

/* Give fn all whole fields of *rest.  One that no writer of this program wrote
 * is not given on: it would become a command of another's session. */
static int each_field(struct span *rest, spool_field_fn *fn, void *ctx,
                      struct err *e)
{
    enum spool_field type;
    struct span content;
    int rc = 0;

    while (rc == 0 && spool_field_next(rest, &type, &content))
        rc = makes_sense(type, content) ? fn(ctx, type, content) : damaged(e);
    return rc;
}

/* A part of a record, in the segment's file. */
struct part {
    uint64_t at, n;
    uint32_t crc;
};

/* Check the CRC before the first field is shown. */
static int check_part(int fd, const struct part *p, struct err *e)
{
    char piece[4096];
    uint64_t at = p->at, left = p->n;
    uint32_t crc = 0;

    while (left > 0) {
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        if (fs_pread_all(fd, piece, n, (off_t)at) != 0)
            return err_set(e, ERR_TEMP, errno, "read a message");
        crc = crc32c(crc, piece, n);
        at += n;
        left -= n;
    }
    return crc == p->crc ? 0 : damaged(e);
}

/* Read through a window that holds the longest field, because envelopes may be
 * large. */
static int read_fields(int fd, struct part p, spool_field_fn *fn, void *ctx,
                       struct err *e)
{
    char window[SPOOL_FIELD_HEAD + SPOOL_FIELD_MAX];

    while (p.n > 0) {
        size_t n = p.n < sizeof window ? (size_t)p.n : sizeof window;
        if (fs_pread_all(fd, window, n, (off_t)p.at) != 0)
            return err_set(e, ERR_TEMP, errno, "read a message");
        struct span rest = { window, n };
        int rc = each_field(&rest, fn, ctx, e);
        if (rc != 0)
            return rc;
        if (rest.n == n)
            return damaged(e);
        p.at += n - rest.n;
        p.n -= n - rest.n;
    }
    return 0;
}

int spool_reader_fields(struct span fields, spool_field_fn *fn, void *ctx,
                        struct err *e)
{
    int rc = each_field(&fields, fn, ctx, e);

    return rc == 0 && fields.n > 0 ? damaged(e) : rc;
}

int spool_reader_envelope(const struct spool_reader *v, spool_field_fn *fn,
                          void *ctx, struct err *e)
{
    const struct part p = { v->at + spool_envelope_at(v->rec),
                            v->rec->envelope_size, v->rec->envelope_crc };
    const unsigned char *seen =
        v->records == NULL ? NULL : spool_records_peek(v->records, p.at, p.n);

    if (seen == NULL)
        return check_part(v->fd, &p, e) != 0
                   ? -1
                   : read_fields(v->fd, p, fn, ctx, e);
    struct span rest = { (const char *)seen, (size_t)p.n };
    return crc32c(0, rest.p, rest.n) != p.crc
               ? damaged(e)
               : spool_reader_fields(rest, fn, ctx, e);
}

static struct part late_of(const struct spool_reader *v)
{
    return (struct part){ v->at + spool_late_at(v->rec), v->rec->late_size,
                          v->rec->late_crc };
}

int spool_reader_late(const struct spool_reader *v, spool_field_fn *fn,
                      void *ctx, struct err *e)
{
    struct part p = late_of(v);

    if (check_part(v->fd, &p, e) != 0)
        return -1;
    p.at += v->rec->front;
    p.n -= v->rec->front;
    return read_fields(v->fd, p, fn, ctx, e);
}

int spool_reader_body(const struct spool_reader *v, struct body *body,
                      struct err *e)
{
    const struct spool_record *r = v->rec;
    const struct part late = late_of(v);

    if (r->front > 0 && check_part(v->fd, &late, e) != 0)
        return -1;
    *body = body_of_file(v->fd, (off_t)(v->at + spool_body_at(r)),
                         r->body_size + r->front, r->body_crc);
    body->front = r->front;
    return 0;
}
