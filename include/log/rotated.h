/* log/rotated.h - files that the log was written to before, by the names that
 * logrotate gives them.  For src/log alone. */
#ifndef MTA_LOG_ROTATED_H
#define MTA_LOG_ROTATED_H

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { ROTATED_MAX = 400, ROTATED_PATH_MAX = 1280 };

struct rotated_file {
    char path[ROTATED_PATH_MAX];
    uint64_t changed; /* us since 1970: the time of its last line */
    bool packed;      /* compressed */
};

struct rotated {
    size_t n;
    struct rotated_file file[ROTATED_MAX]; /* the oldest first */
};

void rotated_find(struct rotated *r, const char *file);
#endif
