/* send/lane_state.h - whether a lane may be used: shut after a fault of the
 * host, on trial when it opens again, paused between sessions that were lost.
 * For src/send alone.
 *
 * A shut lane is given no mail, and destinations turn to their other hops; if
 * none is left, their mail is parked (parked.h).  A paused lane keeps its
 * lines. */
#ifndef MTA_SEND_LANE_STATE_H
#define MTA_SEND_LANE_STATE_H

#include "send/lane.h"

enum lane_is {
    LANE_IS_UP,
    LANE_IS_PACED, /* it waits for its pace: pace_reason() */
    LANE_IS_PAUSED,
    LANE_IS_SHUT,
    LANE_IS_ON_TRIAL
};

struct lane_state {
    enum lane_is is;
    uint64_t until;           /* of a pause or shut: ms of the loop */
    const struct answer *why; /* the same; else NULL */
};

struct lane_state lane_state(const struct sched *s, const struct lane *l);

void lane_state_init(struct lane *l);
void lane_state_done(struct lane *l);

/* Without a hop: keep it, for an hour after it opened, if it knows anything of
 * its host.  It has a hop again. */
bool lane_state_keep(struct sched *s, struct lane *l);
void lane_state_use_again(struct sched *s, struct lane *l);

/* Not shut; not paused either. */
bool lane_is_up(const struct sched *s, const struct lane *l);
bool lane_is_clear(const struct sched *s, const struct lane *l);

/* Its session ended: what follows for the lane. */
void lane_state_judge(struct sched *s, struct lane *l);

/* Its pace shuts it until then (ms of the loop), for that reason; NULL: it has
 * its own. */
void lane_state_shut_until(struct sched *s, struct lane *l, uint64_t until,
                           const char *why);

/* The host replied to a command of a message: the trial is over. */
void lane_state_replied(struct sched *s, struct lane *l);

/* Nothing could be offered in a trial: again in a moment. */
void lane_state_wait(struct sched *s, struct lane *l);

/* Does mail wait for the end of a pause? */
bool lane_state_any_awaited(const struct sched *s);

/* Lift all pauses. */
void lane_state_flush(struct sched *s);
#endif
