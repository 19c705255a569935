/* queue/retry_rule.h - when to try again.  Pure. */
#ifndef MTA_QUEUE_RETRY_RULE_H
#define MTA_QUEUE_RETRY_RULE_H

#include "spool/format.h"

#include <stdint.h>

struct retry_rule {
    uint32_t min, max, lifetime; /* seconds */
};

/* Seconds to wait after so many attempts (1: after the first): min, doubled
 * with each, at most max, then up to a quarter more or less at random, so that
 * recipients which failed together do not return together. */
uint32_t retry_delay(const struct retry_rule *r, unsigned attempts,
                     uint32_t chance);

/* The same for a message that a host has greylisted: 5 minutes after its first
 * attempt, 10 after its second, and never less later; or what the reply names,
 * if it does (0: no), at most 4 hours. */
uint32_t retry_greylisted(const struct retry_rule *r, unsigned attempts,
                          uint32_t named, uint32_t chance);

/* When a recipient is to be tried, by its slot, wall clock, us; 0: now. */
uint64_t retry_next(const struct spool_record *rec,
                    const struct spool_slot *slot, uint32_t min);

/* The rest of a wall-clock delay, for a clock that may have jumped: never more
 * than `most` seconds. */
uint32_t retry_left(uint64_t until_us, uint64_t now_us, uint32_t most);

/* For how many seconds a message has been tried: since its arrival by the wall
 * clock, but never longer than so many attempts can have taken.  So time while
 * no sender ran, or that a clock skipped, does not count. */
uint32_t retry_age(const struct retry_rule *r, unsigned attempts,
                   uint64_t arrival_us, uint64_t now_us);

/* Seconds for which an unreachable peer is not tried. */
uint32_t retry_backoff(const struct retry_rule *r, unsigned failures);
#endif
