/* send/session_fault.h - what a session makes of its failures, by the table of
 * send/fault.h.  For src/send/session*.c and transaction.c. */
#ifndef MTA_SEND_SESSION_FAULT_H
#define MTA_SEND_SESSION_FAULT_H

#include "send/session_private.h"

/* Has it an answer?  (One that waits for us has no outcome, but a reason.) */
bool send_session_has_answer(const struct delivery_rcpt *r);

/* The rule for the event in hand, which is a refusal or a loss, and its reason
 * in *why.  The second form also does to the session as the rule says: it
 * learns, or begins nothing more. */
const struct fault_rule *send_session_judge(const struct send_session *s,
                                            struct answer *why);
const struct fault_rule *send_session_blame(struct send_session *s,
                                            struct answer *why);

/* The same for what is no event of the stream. */
void send_session_follow(struct send_session *s, const struct fault_rule *rule,
                         const struct answer *why);

/* The rule and its reason are the answer of a recipient. */
void send_session_answer(struct delivery_rcpt *r, const struct fault_rule *rule,
                         const struct answer *why);

/* The session is lost, and the delivery in hand pays for it. */
void send_session_lose(struct send_session *s);
void send_session_charge(struct send_session *s, struct delivery *j,
                         const struct fault_rule *rule,
                         const struct answer *why);
#endif
