#include "queue/retry_rule.h"

#include <stdbool.h>

enum {
    BACKOFF_MIN = 60,
    BACKOFF_MAX = 1800,
    GREYLIST_FIRST = 300,
    GREYLIST_NEXT = 600,
    GREYLIST_MOST = 4 * 3600,
    GREYLIST_PATIENCE = 3 /* attempts; then it is no usual greylisting */
};

static uint32_t doubled(uint32_t min, uint32_t max, unsigned times)
{
    uint32_t d = min;

    while (times-- > 0 && d < max)
        d = d > max / 2 ? max : d * 2;
    return d < max ? d : max;
}

uint32_t retry_delay(const struct retry_rule *r, unsigned attempts,
                     uint32_t chance)
{
    uint64_t d = doubled(r->min, r->max, attempts > 0 ? attempts - 1 : 0);
    uint64_t spread = d / 2;

    d = d - d / 4 + (spread * chance >> 32);
    return d == 0 ? 1 : d < UINT32_MAX ? (uint32_t)d : UINT32_MAX;
}

/* A moment longer than the host asks for: its clock is not ours, and to come a
 * second early costs the whole wait. */
static uint32_t a_little_more(uint32_t seconds, uint32_t chance)
{
    uint64_t spread = seconds / 16;

    return seconds + 1 + (uint32_t)(spread * chance >> 32);
}

uint32_t retry_greylisted(const struct retry_rule *r, unsigned attempts,
                          uint32_t named, uint32_t chance)
{
    uint32_t wait = attempts <= 1 ? GREYLIST_FIRST : GREYLIST_NEXT;
    uint32_t usual = retry_delay(r, attempts, chance);

    if (named > 0)
        wait = named < GREYLIST_MOST ? named : GREYLIST_MOST;
    if (attempts > GREYLIST_PATIENCE && wait < usual)
        return usual;
    return a_little_more(wait, chance);
}

uint64_t retry_next(const struct spool_record *rec,
                    const struct spool_slot *slot, uint32_t min)
{
    bool untried = slot->attempts + slot->rounds == 0;

    if (slot->next_attempt == 0 && slot->state == SPOOL_PENDING && untried &&
        (rec->flags & SPOOL_LATER) != 0)
        return rec->arrival + min * UINT64_C(1000000);
    return slot->next_attempt;
}

uint32_t retry_left(uint64_t until_us, uint64_t now_us, uint32_t most)
{
    if (until_us <= now_us)
        return 0;
    uint64_t left = (until_us - now_us + 999999u) / 1000000u;
    return left < most ? (uint32_t)left : most;
}

/* The waits after so many attempts, each as long as chance may make it. */
static uint64_t longest_waits(const struct retry_rule *r, unsigned attempts)
{
    uint64_t sum = 0, d = r->min < r->max ? r->min : r->max;

    for (; attempts > 0 && d < r->max; attempts--) {
        sum += d;
        d = doubled((uint32_t)d, r->max, 1);
    }
    sum += d * attempts;
    return sum + sum / 4;
}

uint32_t retry_age(const struct retry_rule *r, unsigned attempts,
                   uint64_t arrival_us, uint64_t now_us)
{
    uint64_t most = longest_waits(r, attempts);
    uint64_t age = now_us > arrival_us ? (now_us - arrival_us) / 1000000u : 0;

    age = age < most ? age : most;
    return age < UINT32_MAX ? (uint32_t)age : UINT32_MAX;
}

/* Never slower than the messages' own retries, else a short retry_min would
 * only find the door closed. */
uint32_t retry_backoff(const struct retry_rule *r, unsigned failures)
{
    uint32_t min = r->min < BACKOFF_MIN ? r->min : BACKOFF_MIN;
    uint32_t max = r->max < BACKOFF_MAX ? r->max : BACKOFF_MAX;

    return doubled(min, max, failures > 0 ? failures - 1 : 0);
}
