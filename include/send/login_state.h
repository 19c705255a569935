/* send/login_state.h - what a login means for mail to a next hop: it waits for
 * the token, and is not offered for a while when the host refuses the login.
 * For src/send alone.
 *
 * Our settings are at fault then: the destination is misconfigured (4.3.5) for
 * 1, 2, 4 ... 30 minutes.  A token of a command that is refused is fetched anew
 * first. */
#ifndef MTA_SEND_LOGIN_STATE_H
#define MTA_SEND_LOGIN_STATE_H

#include "send/sched.h"

/* Call it when the sender's loop is there. */
void login_state_attach(struct sched *s);

/* May mail of d be offered, as far as its login is concerned?  If not, the
 * destination becomes ready again when that is known. */
bool login_state_ready(struct sched *s, struct destination *d);

/* The host refused the login, or asks for one (530); it took mail. */
void login_state_refused(struct destination *d, const struct answer *why);
void login_state_accepted(struct destination *d);

/* Files of the settings are new: try all again.  -1 with *e: they cannot be
 * used. */
int login_state_renew(struct sched *s, struct err *e);
#endif
