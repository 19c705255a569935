/* send/pace.h - how much mail hosts take, learned from what they reply.  For
 * the main thread, src/send alone.
 *
 * One pace belongs to all lanes of a provider (provider.h), because it counts
 * a sender's mail over all its hosts and domains; any other lane has one of
 * its own from its first sign on.  Without a sign a pace delays nothing.
 *
 * A pace that is held keeps the lines in front of its lanes, for a minute; for
 * longer its lanes are shut (lane_state.h), so that mail parks, or goes to
 * hosts that are not the provider's.  Lanes that wait for their pace take
 * turns. */
#ifndef MTA_SEND_PACE_H
#define MTA_SEND_PACE_H

#include "send/lane.h"

struct send_session_end;

/* Read what the sender before has left, and keep that file up to date.  -1: no
 * memory. */
int pace_open(struct sched *s);
void pace_close(struct sched *s);

/* The lane leads to a host of that name; it is freed; its session begins and
 * is over. */
void pace_join(struct sched *s, struct lane *l, const char *host);
void pace_leave(struct lane *l);
void pace_opened(struct lane *l);
void pace_closed(struct lane *l);

/* May a message be given to the lane now?  If not, and mail is in line, it has
 * to wait for its turn. */
bool pace_allows(const struct lane *l);
bool pace_is_held(const struct lane *l);
void pace_wait(struct lane *l);
void pace_given(struct lane *l);

/* A delivery is back from the lane, with its results. */
void pace_back_from(struct lane *l, const struct delivery *j);

/* Its session ended: with a sign, or an answer to stop, or the host refused to
 * be connected to. */
void pace_take_sign(struct lane *l, const struct send_session_end *end);
void pace_take_stop(struct lane *l, const struct send_session_end *end);
void pace_take_refused(struct lane *l);

/* SIGUSR1: what is held or shut is not any more; the rates stay. */
void pace_flush(struct sched *s);

/* Does mail wait that its pace lets go within a minute? */
bool pace_any_awaited(const struct sched *s);

/* Why the lane may not send now, and when it may (ms of the loop; 0: when a
 * session of another lane has ended).  False: its pace is no reason. */
enum { PACE_REASON_MAX = DELIVERY_TEXT_MAX + 160 };
bool pace_reason(const struct lane *l, uint64_t *until,
                 char out[PACE_REASON_MAX]);
#endif
