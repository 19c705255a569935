/* base/msg_id.h - ids of messages and sessions.
 *
 * A message id is `base` (from the clock and random bits, claimed as the name
 * of a segment, so that the file system settles collisions) and a number
 * counted by the writer that claimed it.  Its text is 16 characters of 0-9 a-z
 * without i l o u, in the order of time.  It never depends on host, uid or pid.
 * A session id has the same alphabet and 12 characters. */
#ifndef MTA_BASE_MSG_ID_H
#define MTA_BASE_MSG_ID_H

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct msg_id {
    uint64_t base; /* 60 bits */
    uint32_t n;    /* 20 bits */
};

enum {
    MSG_ID_TEXT = 17,      /* with NUL */
    MSG_ID_BASE_TEXT = 13, /* base alone, with NUL */
    SESSION_ID_TEXT = 13,
    MSG_ID_N_MAX = (1 << 20) - 1
};

/* A fresh base: microseconds of the wall clock and 8 random bits. */
uint64_t msg_id_new_base(void);
void msg_id_text(char out[MSG_ID_TEXT], struct msg_id id);
bool msg_id_parse(struct msg_id *id, struct span text);
void msg_id_base_text(char out[MSG_ID_BASE_TEXT], uint64_t base);
bool msg_id_base_parse(uint64_t *base, struct span text);
bool msg_id_eq(struct msg_id a, struct msg_id b);

/* Different in every process and for every call; not a secret. */
void session_id_new(char out[SESSION_ID_TEXT]);
#endif
