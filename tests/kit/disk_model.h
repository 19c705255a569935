/* disk_model.h - what a disk may hold after the power went.
 *
 * Records the file-system calls made through base/fs.h below one directory,
 * while they are carried out (disk_record.c).  Then, for any number of calls
 * made, builds the directory as a power cut at that moment may leave it
 * (disk_model.c): what was synced is there; what was not may be there, or
 * not, or in part (sectors of 512 octets), in any order; entries of each
 * directory likewise, and a rename may be half done.  Data that a
 * failed sync did not write stays unsure for good, whatever is synced later. */
#ifndef MTA_TESTS_DISK_MODEL_H
#define MTA_TESTS_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    MODEL_OPS = 8192,
    MODEL_NODES = 1024,          /* files and directories */
    MODEL_FILE_MAX = 336 * 1024, /* of data; behind it are only zeros */
    MODEL_NAME = 96,
    MODEL_SECTOR = 512
};

enum model_kind {
    MODEL_CREATE,
    MODEL_MKDIR,
    MODEL_WRITE,
    MODEL_SIZE, /* truncate or allocate */
    MODEL_SYNC,
    MODEL_SYNC_DIR,
    MODEL_SYNC_FAILED, /* of a file or a directory */
    MODEL_RENAME,
    MODEL_UNLINK,
    MODEL_FIRST_NAME /* of a file that was created without: dir is -1 */
};

struct model_op {
    enum model_kind kind;
    int node;        /* the file or directory it is about */
    int dir, to_dir; /* in which names stand; -1: none */
    bool data_only;  /* fdatasync, not fsync */
    bool grow_only;  /* allocate, not truncate */
    uint64_t at, n;  /* of a write; n alone: a size */
    unsigned char *data;
    char name[MODEL_NAME], to[MODEL_NAME];
};

/* Start to record calls below root.  What is there now is on the disk for
 * sure; directories named "run" are none of ours.  One at a time. */
void model_start(const char *root);
void model_stop(void); /* the system's own calls again; the record stays */
void model_free(void);
size_t model_count(void); /* calls recorded so far */
const struct model_op *model_op(size_t i);
void model_print(FILE *out);      /* the record, for a person */
bool model_has_room(int node);    /* was it preallocated? */
bool model_has_no_name(int node); /* made without one, which it still lacks */
/* Where it was made, from the root; "" is the root. */
const char *model_path(int node);

/* Asked before each call is made: an errno makes it fail, MODEL_SHORT makes a
 * write do less than it should, MODEL_KILLED says that the process is dead and
 * makes no calls any more.  It may itself make calls: those of another
 * process, that come first.  NULL: never. */
enum { MODEL_SHORT = -1, MODEL_KILLED = -2 };
extern int (*model_fail)(const struct model_op *op);
/* The process that makes the calls, 0 to 31: each hears of a failed sync. */
extern unsigned model_who;
/* Asked for each sync: true, it is made but not recorded. */
extern bool (*model_lie)(const struct model_op *op);
/* The file system is none that keeps files without names. */
extern bool model_named;

/* The ways in which unsynced calls can end, for the first `count` calls. */
size_t model_ways(size_t count, bool thorough);
/* Build way number `way` in dir, which is emptied first except for "run".
 * False: the same as a way of this count that was built before; nothing was
 * done. */
bool model_build(size_t count, size_t way, const char *dir);
void model_rebuild(size_t count, size_t way, const char *dir); /* in any case */

/* Calls that sync nothing, for those who look at what was built. */
void model_fast_calls(void);

/* Of disk_record.c, for disk_model.c: what was there at the start. */
struct model_base {
    int node, dir;
    char name[MODEL_NAME];
    bool is_dir;
    uint64_t size;
    unsigned char *data; /* MODEL_FILE_MAX at the most; NULL: of a directory */
};
size_t model_base_count(void);
const struct model_base *model_base(size_t i);
int model_node_count(void);
unsigned model_epoch(void); /* counts calls of model_start() */
#endif
