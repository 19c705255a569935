/* base/clock.h - the two clocks, and how times are written.
 *
 * Deadlines use the monotonic clock, so a jump of the wall clock moves none
 * of them; the wall clock is for people, for the disk and for message ids. */
#ifndef MTA_BASE_CLOCK_H
#define MTA_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
uint64_t clock_wall_us(void); /* microseconds since 1970, UTC */

enum {
    CLOCK_RFC3339_MAX = 28, /* 2026-01-31T10:00:00.123456Z and a NUL */
    CLOCK_RFC5322_MAX = 40  /* Sat, 31 Jan 2026 10:00:00 +0000 and a NUL */
};

/* Both return the length.  RFC 3339 is UTC with microseconds; RFC 5322 has
 * the local offset.  Formatting a second that was just formatted is cheap. */
size_t clock_rfc3339(char out[CLOCK_RFC3339_MAX], uint64_t wall_us);
size_t clock_rfc5322(char out[CLOCK_RFC5322_MAX], uint64_t wall_us);

/* "2026-01-31T10:00:00.123456Z", also with "+01:00" in place of Z; without a
 * zone it is local time, without seconds or a time of day these are 0, and a
 * blank may stand for T. */
bool clock_parse(uint64_t *wall_us, const char *text);
#endif
