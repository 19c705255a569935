/* send/profile_turns.h - how long a lane's session goes on while mail waits
 * that it cannot take: it is in clear and that mail demands TLS, or the
 * certificate is that of another name.  For src/send alone.
 *
 * It takes 100 more messages, for 10 s at the most, and leaves; at once if none
 * waits that it can take.  The mail that waited longest opens the next one. */
#ifndef MTA_SEND_PROFILE_TURNS_H
#define MTA_SEND_PROFILE_TURNS_H

#include "send/lane.h"

void profile_turn_init(struct lane *l);
void profile_turn_done(struct lane *l);

/* Mail that the session cannot take is in line; a message was given. */
void profile_turn_limit(struct lane *l);
void profile_turn_count(struct lane *l);

/* No more may be given to the session. */
bool profile_turn_is_over(const struct lane *l);

/* Send the session away when it is time, or when it has to yield to another
 * lane of its pace; the session has ended. */
void profile_turn_see(struct lane *l);
void profile_turn_next(struct lane *l);
#endif
