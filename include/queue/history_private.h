/* queue/history_private.h - the format of the ring; for src/queue/history*.c.
 *
 * The file is blocks of 4 KiB.  The first one has the number of those behind
 * it; block n of a life stands at place (n - 1) % number + 1.  A block: magic,
 * CRC-32C of all behind it that is used, its number, the time of its first
 * record, the octets used; then whole records. */
#ifndef MTA_QUEUE_HISTORY_PRIVATE_H
#define MTA_QUEUE_HISTORY_PRIVATE_H

#include "queue/history.h"

enum {
    HISTORY_BLOCK = 4096,
    HISTORY_HEAD = 32, /* magic 4, CRC 4, number 8, time 8, used 2, 0 6 */
    HISTORY_ROOM = HISTORY_BLOCK - HISTORY_HEAD,
    HISTORY_FIXED = 120, /* of a record, before its texts */
    HISTORY_REPLY_MAX = 2048,
    HISTORY_PATH = 1280
};
#define HISTORY_MAGIC 0x4168746du     /* "mthA" */
#define HISTORY_MAGIC_TOP 0x5068746du /* "mthP" */

/* The number of the newest block; 0: the ring is empty. */
uint64_t history_newest(int fd, uint64_t blocks);
/* The number of blocks of an open ring; 0: it is none. */
uint64_t history_blocks(int fd);
int history_path(char out[HISTORY_PATH], const char *queue_dir,
                 enum spool_name name, struct err *e);

/* Of a block that was not checked yet; false: all of its records, whole or not,
 * are of other messages.  A tenth of what the check costs. */
bool history_may_have(const unsigned char *block, struct msg_id id);

/* Octets of the record, at most HISTORY_ROOM. */
size_t history_encode(unsigned char out[HISTORY_ROOM],
                      const struct history_event *ev);
/* The length of the record at the front; 0: malformed.  The event's spans are
 * in p. */
size_t history_decode(const unsigned char *p, size_t n,
                      struct history_event *ev);
#endif
