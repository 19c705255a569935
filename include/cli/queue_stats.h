/* cli/queue_stats.h - `mta queue stats`: how much waits, for which domains and
 * since when; and what became of mail, from the memory of running processes. */
#ifndef MTA_CLI_QUEUE_STATS_H
#define MTA_CLI_QUEUE_STATS_H

#include "base/map.h"
#include "base/span.h"
#include "cli/options.h"
#include "queue/counters.h"
#include "spool/format.h"

#include <stdint.h>
#include <stdio.h>

/* Seconds: a bucket up to each, and one beyond. */
enum { QUEUE_AGES = 8 };
extern const uint32_t queue_ages[QUEUE_AGES];

/* Recipients that wait. */
struct queue_waiting {
    uint64_t rcpts, age_us; /* age_us: of all together */
    uint64_t age[QUEUE_AGES + 1];
    uint64_t oldest, next; /* wall clock, us: arrival; attempt; 0: none */
};

struct queue_domain {
    struct map_link link;
    struct queue_waiting w;
    size_t n;
    char name[];
};

struct queue_stats {
    uint64_t now; /* wall clock, us */
    struct {
        uint64_t messages, bytes, pending, held, failed, oldest;
        uint64_t segments, disk_bytes;
    } queue[SPOOL_QUEUES];
    struct queue_waiting all;
    struct map map;
    struct queue_domain **domain; /* the most recipients first */
    size_t ndomains;
};

/* What a running process has counted; queue/counters.h. */
struct queue_counter {
    char kind; /* 'a', 'd' or 's' */
    uint64_t messages, delivered, deferred, bounced, octets, latency_us;
    uint64_t bucket[COUNTERS_BOUNDS + 1];
    const char *name;
};

/* Returns the exit status. */
int queue_stats(const struct options *o, bool openmetrics);

/* The text of OpenMetrics 1.0; -1 with *e. */
int queue_metrics_print(const struct options *o, const struct queue_stats *s,
                        FILE *out, struct err *e);
#endif
