/* send/next_mx.h - a recipient that one MX host puts off is offered to the next
 * one, once and at once; what that one replies is the answer.  For src/send
 * alone.
 *
 * The first answer stands in the slot already.  When the other host cannot be
 * reached it is all there is, and the log has it too. */
#ifndef MTA_SEND_NEXT_MX_H
#define MTA_SEND_NEXT_MX_H

#include "send/sched.h"

/* Line it up at the next host after that of the lane; its back-off, if nothing
 * comes of it, is so many seconds.  False: there is no other host now. */
bool next_mx_try(struct sched *s, struct rcpt *r, const struct lane *l,
                 uint32_t seconds);

/* It came back from the lane untouched. */
void next_mx_again(struct sched *s, struct rcpt *r, const struct lane *l);

/* It was not offered there: the back-off counts. */
void next_mx_failed(struct sched *s, struct rcpt *r);

/* The same for all that wait at the hop. */
void next_mx_give_up(struct sched *s, struct hop *h);
#endif
