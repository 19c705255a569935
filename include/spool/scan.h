/* spool/scan.h - walk the records of one segment file.
 *
 * Private to the spool; used by the store, which recovers, and by tools,
 * which only look.  Trusts nothing: headers by their checksum, and where the
 * caller asks for it contents too. */
#ifndef MTA_SPOOL_SCAN_H
#define MTA_SPOOL_SCAN_H

#include "base/err.h"
#include "spool/format.h"

#include <stdbool.h>
#include <sys/types.h>

enum { SCAN_BUFFER = 128 * 1024 };

struct scan {
    int fd;
    uint64_t segment; /* records of another segment end the walk */
    uint64_t at, end; /* of the next record; look no further */
    bool verify;      /* read and check envelope and body too */
    uint64_t sure;    /* a bad record before this is damage: skipped if its
                         header is good; after it, a tear: the end */
    bool damaged;
    uint64_t buf_at;
    size_t buf_n;
    unsigned char buf[SCAN_BUFFER]; /* what was read from buf_at on */
};

/* fd stays the caller's. */
void scan_begin(struct scan *s, int fd, uint64_t segment, uint64_t from,
                uint64_t to);

/* The next record and where it stands.  1: one; 0: no more; -1 with *e. */
int scan_next(struct scan *s, struct spool_record *r, uint64_t *at,
              struct err *e);

/* Does the record need a sender: a slot that is pending or held?  Uses what
 * the walk has in memory. */
int scan_is_live(struct scan *s, const struct spool_record *r, uint64_t at,
                 bool *live, struct err *e);

/* Open and read the header of a segment.  -1 with *e; ERR_PERM: not one of
 * ours, or of a newer version. */
int scan_open(const char *path, int flags, struct spool_segment_header *h,
              struct err *e);

/* File names in segments/ with that suffix, one id at a time.  Returns what
 * fn returned when not 0, else 0; -1 with *e. */
typedef int scan_dir_fn(void *ctx, uint64_t id);
int scan_dir(const char *queue_dir, const char *suffix, scan_dir_fn *fn,
             void *ctx, struct err *e);

/* Does what was read of envelope and body fit the record's checksum? */
int scan_verify(int fd, const struct spool_record *r, uint64_t at, bool *good,
                struct err *e);

#endif
