/* send/pace_rate.h - how fast mail goes to hosts that asked for less: half as
 * fast after each sign, a little faster after each good minute, as TCP does.
 * Pure.
 *
 * A sign halves the messages a minute and stops all mail for 1, 2, 4 ... 60
 * minutes, doubling while no good minute lies between.  One about connections
 * halves the sessions at once.  A good minute, in which the hosts took what the
 * pace allowed and gave no sign, adds 1/32 of the rate that was too much, and a
 * session.  At twice what was too much the limit is lifted.
 *
 * An answer to stop shuts the hosts for 1, 2, 4, 8 hours; then a message a
 * minute and one session are the begin. */
#ifndef MTA_SEND_PACE_RATE_H
#define MTA_SEND_PACE_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_RATE_MAX = 1000000,  /* messages a minute */
    PACE_SESSIONS_MAX = 1000, /* at once */
    PACE_PAUSE_MIN = 60,      /* seconds */
    PACE_PAUSE_MAX = 3600,    /* also of a time that a reply names */
    PACE_STOP_MIN = 3600,     /* after an answer to stop */
    PACE_STOP_MAX = 8 * 3600,
    PACE_FORGET = 24 * 3600 /* without a sign nothing is left of it */
};

struct pace_rate {
    uint32_t rate, too_much;     /* messages a minute; rate 0: no limit */
    uint32_t sessions, too_many; /* at once; sessions 0: no limit */
    uint32_t signs, stops;       /* in a row */
};

/* A sign: seconds for which to send nothing.  recent: messages a minute that
 * were sent of late; named: seconds that the reply asks for, or 0. */
uint32_t pace_slow(struct pace_rate *r, uint32_t recent, uint32_t named);

/* The same, but it is not the rate that is too much. */
uint32_t pace_pause(struct pace_rate *r, uint32_t named);

/* So many sessions were one too many: of these half are left, or all but it. */
void pace_fewer(struct pace_rate *r, uint32_t open, bool halve);

/* An answer to stop: the same. */
uint32_t pace_stop(struct pace_rate *r, uint32_t recent);

/* Were so many messages in a minute what the pace allowed? */
bool pace_was_used(const struct pace_rate *r, uint32_t taken);

/* A good minute. */
void pace_grow(struct pace_rate *r);

/* Is there any limit?  Is all of it within its bounds (of a file)? */
bool pace_is_limited(const struct pace_rate *r);
bool pace_is_sane(const struct pace_rate *r);

/* Messages of one rate, evenly in time, with as many at once as it has in a
 * second.  *next: when the next one would be due, in us of any clock. */
bool pace_may(const struct pace_rate *r, uint64_t next, uint64_t now);
uint64_t pace_after(const struct pace_rate *r, uint64_t next, uint64_t now);
uint64_t pace_when(const struct pace_rate *r, uint64_t next);
uint64_t pace_back(const struct pace_rate *r, uint64_t next);
#endif
