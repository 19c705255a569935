/* queue/retry_rule.h - when to try again.  Pure. */
#ifndef MTA_QUEUE_RETRY_RULE_H
#define MTA_QUEUE_RETRY_RULE_H

#include <stdint.h>

struct retry_rule {
    uint32_t min, max, lifetime; /* seconds */
};

/* Seconds to wait after so many attempts (1: after the first): min, doubled
 * with each, at most max, then up to a quarter more or less by chance (any
 * number), so that what failed together does not come back together. */
uint32_t retry_delay(const struct retry_rule *r, unsigned attempts,
                     uint32_t chance);

/* What is left of a wall-clock delay, for a clock that may have jumped:
 * never more than `most` seconds. */
uint32_t retry_left(uint64_t until_us, uint64_t now_us, uint32_t most);

/* For how many seconds a message has been tried: since its arrival by the
 * wall clock, but no longer than so many attempts can have taken.  So time
 * during which nobody tried, or that a clock jumped over, does not count. */
uint32_t retry_age(const struct retry_rule *r, unsigned attempts,
                   uint64_t arrival_us, uint64_t now_us);

/* Seconds for which a peer that could not be reached is left alone. */
uint32_t retry_backoff(const struct retry_rule *r, unsigned failures);
#endif
