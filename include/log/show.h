/* log/show.h - look into the log: lines of the file, of files that were rotated
 * away, and those to come. */
#ifndef MTA_LOG_SHOW_H
#define MTA_LOG_SHOW_H

#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* A line has to fit all that is set.  NULL, 0: not set. */
struct log_filter {
    const char *id, *sid;
    const char *address;   /* from or to; or a client's, or a host's, of IP */
    const char *event;     /* "send.delivered"; or "send", all of its events */
    uint64_t since, until; /* us since 1970 */
};

bool log_filter_is_set(const struct log_filter *f);
bool log_filter_takes(const struct log_filter *f, struct span line);

struct log_show {
    const char *file;
    struct log_filter filter;
    bool follow;  /* wait for more until interrupted; without a filter, begin
                     with the last ten lines */
    bool rotated; /* FILE.1, FILE-20260131 and so on first, oldest first */
    /* A line, with its end; NULL: print it. */
    int (*line)(void *ctx, struct span line, struct err *e);
    /* A rotated file is compressed; NULL: none is reported. */
    void (*left_out)(void *ctx, const char *file);
    void *ctx;
};

/* 0; -1 with *e, of the file or of `line`. */
int log_show(const struct log_show *s, struct err *e);

/* A field of a line, text or JSON: still escaped, without quotes; time, level
 * and event are fields too.  Empty: it has none. */
struct span log_field_of(struct span line, const char *key);

/* All of them. */
typedef void log_field_fn(void *ctx, struct span key, struct span value);
void log_each_field(struct span line, log_field_fn *fn, void *ctx);

/* Is there such an event, or group of events, in docs/log.md?  If not, *near
 * is the one with the nearest name, or NULL. */
bool log_event_known(const char *name, const char **near);
#endif
