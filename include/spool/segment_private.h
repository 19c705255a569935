/* spool/segment_private.h - one segment file: its name, its header, its life.
 *
 * For src/spool only.  States and the order of operations are in
 * docs/spool.md.  A segment is written by the one process that holds its
 * flock; it is claimed under the name .new and renamed to .seg.  Functions
 * return 0, or -1 with *e (or errno where there is no e). */
#ifndef MTA_SPOOL_SEGMENT_PRIVATE_H
#define MTA_SPOOL_SEGMENT_PRIVATE_H

#include "base/err.h"
#include "spool/format_private.h"

enum { SPOOL_PATH = 1280, SPOOL_DIR = 1200 };

enum spool_kind {
    SPOOL_NEW, /* being made, or left by a crash: without content */
    SPOOL_SEG,
    SPOOL_BAD, /* kept for an operator: it has damaged content */
    SPOOL_KINDS
};

/* The directory of a queue, "queue_dir/remote". */
int spool_dir(char out[SPOOL_DIR], const char *queue_dir, enum spool_name name,
              struct err *e);
void spool_path(char out[SPOOL_PATH], const char *dir, uint64_t id,
                enum spool_kind kind);

/* A link or a FIFO in the place of a segment must neither redirect tools that
 * root runs nor block them. */
#define SPOOL_OPEN_SAFELY (O_NOFOLLOW | O_NONBLOCK)

/* Move the descriptor above those for select() where that is possible. */
int spool_fd_high(int fd);

struct spool_file {
    const char *dir; /* of the queue, the owner's copy */
    int fd;          /* -1: none; the lock lives as long as it */
    uint64_t size;   /* preallocated */
    struct spool_segment_header h;
};

struct spool_birth {
    const char *dir; /* stays */
    enum spool_name name;
    uint32_t children; /* of the header */
    uint64_t size;     /* bytes to preallocate; 0: none */
};

/* A name of our own, .new, locked, with its header, not synced. */
int spool_file_claim(struct spool_file *f, const struct spool_birth *b,
                     struct err *e);
/* .new to .seg.  Sync the file before and the directory after. */
int spool_file_rename(struct spool_file *f, struct err *e);
int spool_dir_sync(const char *dir, struct err *e);

/* Write the state of f->h; not synced. */
int spool_file_publish(struct spool_file *f);

/* The confirmed word of an open segment.  Only the holder of the parents' queue
 * writes it, with or without the segment's lock.  0, or -1 with errno. */
int spool_confirmed_write(int fd, uint64_t id, uint64_t confirmed);
int spool_confirmed_read(int fd, uint64_t id, uint64_t *confirmed);

/* Close it: truncate it to what is committed, mark it as closed, unlock it. */
void spool_file_close(struct spool_file *f);
/* Unlink the name, unlock.  -1 with errno: the name is still there. */
int spool_file_remove(struct spool_file *f, enum spool_kind kind);
/* Unlock and forget. */
void spool_file_drop(struct spool_file *f);

/* Read the header of an open segment, a few times if needed, because its writer
 * may be changing it. */
int spool_header_read(int fd, struct spool_segment_header *h,
                      enum spool_check *check);

/* Set *e for a segment of another format. */
int spool_err_other(const struct spool_segment_header *h, uint64_t id,
                    struct err *e);

/* Call fn for every file of that kind, in any order.  Stops when it returns
 * non-zero and returns that. */
typedef int spool_each_fn(void *ctx, uint64_t id, enum spool_kind kind,
                          struct err *e);
int spool_each(const char *dir, spool_each_fn *fn, void *ctx, struct err *e);
#endif
