/* spool/segment.h - make, name and leave segment files; wake the sender.
 *
 * Private to the spool.  A segment is made under the name ID.new, locked by
 * its writer, synced and then renamed to ID.seg: whoever sees a .seg that
 * nobody has locked sees one whose writer is gone. */
#ifndef MTA_SPOOL_SEGMENT_H
#define MTA_SPOOL_SEGMENT_H

#include "base/err.h"
#include "spool/format.h"

#include <limits.h>
#include <sys/types.h>

enum { SPOOL_DIR_MAX = PATH_MAX - 64 };

struct segment_file {
    int fd; /* -1: none */
    uint64_t id, created;
};

/* PATH of segments/ID.SUFFIX. */
void segment_path(char out[PATH_MAX], const char *queue_dir, uint64_t id,
                  const char *suffix);

/* A fresh file, claimed, locked, `size` octets allocated (0: none), still
 * called .new.  segment_publish() gives it its name; the directory must be
 * synced by the caller. */
int segment_create(struct segment_file *f, const char *queue_dir, off_t size,
                   struct err *e);
int segment_publish(const struct segment_file *f, const char *queue_dir,
                    struct err *e);

/* The fixed header and its state, at once. */
int segment_write_header(const struct segment_file *f, uint64_t committed,
                         bool closed);
int segment_write_state(const struct segment_file *f, uint64_t committed,
                        bool closed);
int segment_sync_dir(const char *queue_dir, struct err *e);

/* Remove the file under either name; closes. */
void segment_discard(struct segment_file *f, const char *queue_dir,
                     const char *suffix);

/* The FIFO run/wake: 'c' something was committed, 's' a segment is new. */
struct wake {
    int fd;            /* -1: not open */
    uint64_t next_try; /* ms */
};
void wake_sender(struct wake *w, const char *queue_dir, char what);
void wake_close(struct wake *w);
int wake_listen(const char *queue_dir, struct err *e); /* the sender's end */
#endif
