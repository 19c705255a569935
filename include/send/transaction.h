/* send/transaction.h - mail transactions of a session (RFC 5321 3.3): the
 * commands of a delivery, and the replies they get.  For src/send/session*.c.
 *
 * A transaction covers the recipients of one delivery.  With PIPELINING the
 * next delivery's commands ("ahead") follow before the reply to the dot. */
#ifndef MTA_SEND_TRANSACTION_H
#define MTA_SEND_TRANSACTION_H

#include "send/session_private.h"

/* Write a command; write octets of a body. */
void send_transaction_command(struct send_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void send_transaction_put(struct send_session *s, const char *p, size_t n);

/* MAIL and all RCPT of a delivery; one more RCPT. */
void send_transaction_envelope(struct send_session *s, struct delivery *j);
bool send_transaction_more_rcpts(const struct send_session *s);
void send_transaction_rcpt(struct send_session *s);

struct delivery *send_transaction_pop(struct list *deliveries);

/* The next reply is that to the MAIL of j. */
void send_transaction_await(struct send_session *s, struct delivery *j);

/* The delivery to be begun next, or NULL. */
struct delivery *send_transaction_next(const struct send_session *s);

/* Does the peer lack an extension that this delivery needs? */
bool send_transaction_has_misfits(const struct send_session *s,
                                  struct delivery *j);
void send_transaction_refuse_misfits(struct send_session *s,
                                     struct delivery *j);

/* Begin the current delivery: MAIL, or with PIPELINING the whole envelope;
 * the same for the one behind it; go on to that one. */
void send_transaction_begin(struct send_session *s);
void send_transaction_begin_ahead(struct send_session *s);
void send_transaction_take_ahead(struct send_session *s);

/* With BDAT (RFC 3030): write commands and bodies of as many deliveries as
 * there are, until the output is full.  FSM_QUIET, or E_UNREADABLE for the
 * body of s->sending. */
unsigned char send_transaction_pump(struct send_session *s);

/* Note that MAIL was taken, or refused; the reply to one RCPT; the refusal of
 * DATA, or the reply to the text. */
void send_transaction_note_mail(struct send_session *s);
void send_transaction_refuse_mail(struct send_session *s);
void send_transaction_note_rcpt(struct send_session *s);
void send_transaction_note_rest(struct send_session *s);

/* By LMTP the text has a reply for each recipient accepted, in their order: how
 * many are due; note the next one, behind which another follows. */
size_t send_transaction_finals(const struct send_session *s);
void send_transaction_note_final(struct send_session *s);

/* The recipient whose RCPT is replied to, one for each reply; NULL: its answer
 * came with the reply to MAIL. */
struct delivery_rcpt *send_transaction_asked(struct send_session *s);
void send_transaction_take_answer(const struct send_session *s,
                                  struct answer *a);

/* Are there recipients of the current delivery for another transaction? */
bool send_transaction_has_remainder(const struct send_session *s);

/* The body by DATA (data.c).  E_SENT: all of it is queued; E_UNREADABLE;
 * FSM_QUIET: wait for room. */
void send_transaction_start_body(struct send_session *s);
unsigned char send_transaction_send_body(struct send_session *s);
void send_transaction_end_body(struct send_session *s);

/* The current delivery is over, but for a remainder. */
void send_transaction_finish(struct send_session *s);

/* Nothing is in flight: what came back undecided is next. */
void send_transaction_recall(struct send_session *s);

/* The session ends: give back all its deliveries, in their order, with the
 * answers that they have; or this one. */
void send_transaction_abandon(struct send_session *s);
void send_transaction_give_back(struct send_session *s, struct delivery *j);
#endif
