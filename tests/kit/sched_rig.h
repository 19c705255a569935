/* sched_rig.h - the sender's scheduler with fake workers and a fake DNS: no
 * socket, no thread, and a clock that the test moves.
 *
 * Messages go into a real queue in a directory of its own.  What the scheduler
 * gives to a worker waits in `given` until the test answers it. */
#ifndef MTA_TEST_SCHED_RIG_H
#define MTA_TEST_SCHED_RIG_H

#include "send/fault.h"
#include "send/lane_state.h"
#include "send/sched.h"
#include "send/session.h"

enum { RIG_MX_MAX = 64 };

/* A domain of the fake DNS, or with a dot in front all below it: one host a
 * rank, "name address" each.  MX_OK without a host: no answer until
 * sched_rig_time_out(). */
struct sched_rig_mx {
    const char *domain;
    enum mx_status status;
    const char *host[4];
    const char *addr[4];
};

struct sched_rig {
    struct sched s;
    struct conf conf;
    char dir[64];
    struct list given;    /* deliveries, in the order they were given */
    struct list taken;    /* by sched_rig_next() and not answered */
    struct list sessions; /* opened and not ended */
    struct list leaving;  /* are to QUIT, so that others can begin */
    unsigned opened;      /* sessions, in all */
    unsigned flags;       /* of the messages that are added */
    const struct sched_rig_mx *mx;
    size_t nmx;
    unsigned asked; /* look-ups, in all */
};

/* Extra settings as "key=value", NULL at the end; may be NULL. */
struct sched_rig *sched_rig_open(const char *const *settings);
void sched_rig_close(struct sched_rig **r);

/* A message to `rcpts`, separated by commas. */
void sched_rig_add(struct sched_rig *r, const char *sender, const char *rcpts);

/* Scan, take what is due, work until nothing is ready. */
void sched_rig_turn(struct sched_rig *r);

/* The clock goes on so many seconds, for pauses and retries alike; then a
 * turn. */
void sched_rig_wait(struct sched_rig *r, unsigned seconds);

/* So many ms pass for the look-ups under way. */
void sched_rig_slow(struct sched_rig *r, unsigned ms);

/* The questions without an answer end with MX_TEMP; then a turn. */
void sched_rig_time_out(struct sched_rig *r);

/* The next delivery that was given, or NULL; it is the test's until it is
 * answered. */
struct delivery *sched_rig_next(struct sched_rig *r);

/* All recipients of it get that answer; then a turn. */
void sched_rig_back(struct sched_rig *r, struct delivery *j, enum outcome o,
                    const char *status, const char *text);

/* The same as a session answers it: what follows, and the reply with its code,
 * or what else happened.  No turn: the end of the session may come with it. */
void sched_rig_effect(struct sched_rig *r, struct delivery *j,
                      enum fault_mail effect, const char *reply);

/* Its recipients have their answers.  No turn. */
void sched_rig_answered(struct sched_rig *r, struct delivery *j);

/* The session of the lane ends; NULL: none of its deliveries did. */
void sched_rig_end(struct sched_rig *r, struct send_session *session,
                   const struct send_session_end *end);

/* The first session that is to leave does; false: none is to. */
bool sched_rig_leave(struct sched_rig *r);

/* Recipients in memory, for asserts. */
uint64_t sched_rig_pending(const struct sched_rig *r);
#endif
