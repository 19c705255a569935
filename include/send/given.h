/* send/given.h - the place of a delivery among those that workers have, by
 * time.  For the main thread alone. */
#ifndef MTA_SEND_GIVEN_H
#define MTA_SEND_GIVEN_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

/* A reader of the list marks its place with one of its own. */
struct given {
    struct list link;
    uint64_t since; /* ms of the loop */
    bool is_mark;
};
#endif
