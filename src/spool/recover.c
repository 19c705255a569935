/* recover.c - bring a segment without a writer into order.
 *
 * Boundaries of records are never guessed: from the first record on, each
 * header says where the next one stands, and a body is never searched for
 * headers.  So no sender of mail can smuggle a record in inside of a body. */
#include "spool/recover_private.h"

#include "base/fs.h"
#include "spool/records_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Content that is not whole, with a header that is: marked, so that its
 * checksum is not computed again. */
static int mark_torn(struct spool_file *f, struct spool_record *r, uint64_t at,
                     struct err *e)
{
    unsigned char header[SPOOL_RECORD_HEADER];

    r->flags |= SPOOL_TORN;
    spool_record_encode(header, r);
    if (fs_pwrite_all(f->fd, header, sizeof header, (off_t)at) != 0)
        return err_set(e, ERR_TEMP, errno, "mark a torn record");
    return 0;
}

/* A child in a segment that cannot hold any: the flag was lost with the header,
 * and most parents stand in local/.
 *
 * Check every record up to the end of the file; *good becomes the end of the
 * last whole one.  All records before `committed` were synced, so one that is
 * not whole there is damaged; behind it, it is the torn end of a turn that was
 * never acknowledged. */
static int check_records(struct spool_file *f, struct spool_records *w,
                         uint64_t *good, struct err *e)
{
    uint64_t committed = f->h.committed, at;
    struct spool_record r;
    int rc;

    while ((rc = spool_records_next(w, &r, &at, e)) == 1) {
        int whole = (r.flags & SPOOL_TORN) == 0;
        if (whole && (whole = spool_records_verify(w, &r, at, e)) < 0)
            return -1;
        if (whole) {
            *good = w->at;
            f->h.moved |= r.generation > 0;
            if (spool_record_is_child(&r) && f->h.children == 0)
                f->h.children = SPOOL_CHILDREN_OF(SPOOL_LOCAL);
            continue;
        }
        f->h.damaged |= w->at <= committed;
        if ((r.flags & SPOOL_TORN) == 0 && mark_torn(f, &r, at, e) != 0)
            return -1;
    }
    f->h.damaged |= w->at < committed;
    return rc;
}

/* Sync the data before the segment is marked as closed, because readers of a
 * closed segment do not verify checksums; and its entry, because a writer may
 * have been killed between a rename and the sync of the directory.  The
 * confirmed word is not ours to write. */
static int close_recovered(struct spool_file *f, uint64_t end, struct err *e)
{
    unsigned char header[SPOOL_SEGMENT_HEADER];

    f->h.committed = end;
    f->h.closed = true;
    if (!f->h.damaged && fs_truncate(f->fd, (off_t)end) != 0)
        return err_set(e, ERR_TEMP, errno, "cut off a torn tail");
    if (fs_fdatasync(f->fd) != 0)
        return err_set(e, ERR_TEMP, errno, "sync a recovered segment");
    if (spool_dir_sync(f->dir, e) != 0)
        return -1;
    spool_segment_header_encode(header, &f->h);
    if (fs_pwrite_all(f->fd, header, SPOOL_STATE_AT + SPOOL_STATE, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "close a recovered segment");
    return 0;
}

int spool_recover(struct spool_file *f, struct err *e)
{
    struct spool_records *w = malloc(sizeof *w);
    uint64_t end = SPOOL_SEGMENT_HEADER;
    struct stat st;
    int rc = -1;

    if (w == NULL || fstat(f->fd, &st) != 0) {
        err_set(e, ERR_TEMP, errno, "recover a segment");
        goto out;
    }
    spool_records_start(w, f->fd, f->h.id, end, (uint64_t)st.st_size);
    if (check_records(f, w, &end, e) == 0 && close_recovered(f, end, e) == 0)
        rc = 0;
out:
    free(w);
    return rc;
}
