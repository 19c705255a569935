/* disk_model.h - what a disk may hold after the power went.
 *
 * Records the file-system calls made through base/fs.h below one directory,
 * while they are carried out.  Then, for any number of calls made, builds the
 * directory as a power cut at that moment may leave it: what was synced is
 * there; what was not may be there, or not, or in part (sectors of 512
 * octets), in any order; entries of the directory likewise. */
#ifndef MTA_TESTS_DISK_MODEL_H
#define MTA_TESTS_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MODEL_OPS = 8192,
    MODEL_FILES = 128,
    MODEL_FILE_MAX = 64 * 1024,
    MODEL_NAME = 32,
    MODEL_SECTOR = 512
};

enum model_kind {
    MODEL_CREATE,
    MODEL_WRITE,
    MODEL_SIZE, /* truncate or allocate */
    MODEL_SYNC,
    MODEL_RENAME,
    MODEL_UNLINK,
    MODEL_SYNC_DIR
};

struct model_op {
    enum model_kind kind;
    int file;
    bool data_only; /* fdatasync, not fsync */
    bool grow_only; /* allocate, not truncate */
    uint64_t at, n; /* of a write; n alone: a size */
    unsigned char *data;
    char name[MODEL_NAME], to[MODEL_NAME];
};

/* Start to record calls below dir, which is empty.  One at a time. */
void model_start(const char *dir);
void model_stop(void); /* the system's own calls again; the record stays */
void model_free(void);
size_t model_count(void); /* calls recorded so far */
const struct model_op *model_op(size_t i);
bool model_has_room(int file); /* was it preallocated? */

/* Asked before each call is made: an errno makes it fail, MODEL_SHORT makes a
 * write do less than it should.  NULL: never. */
enum { MODEL_SHORT = -1 };
extern int (*model_fail)(const struct model_op *op);
/* Asked for each sync: true, it is made but not recorded. */
extern bool (*model_lie)(const struct model_op *op);

/* The ways in which unsynced calls can end, for the first `count` calls. */
size_t model_ways(size_t count, bool thorough);
/* Build way number `way` in dir, which is emptied first.  False: the same as
 * a way with a lower number, nothing was built. */
bool model_build(size_t count, size_t way, const char *dir);

/* Calls that sync nothing, for those who look at what was built. */
void model_fast_calls(void);
#endif
