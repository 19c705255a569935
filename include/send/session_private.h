/* send/session_private.h - the inside of a session, for src/send/session*.c
 * and transaction.c alone. */
#ifndef MTA_SEND_SESSION_PRIVATE_H
#define MTA_SEND_SESSION_PRIVATE_H

#include "send/session.h"
#include "smtp/dot.h"
#include "smtp/reply.h"

/* The state is the reply that comes next: replies come in the order of the
 * commands, however many commands are under way. */
enum send_session_state {
    S_DIAL,
    S_GREET,
    S_EHLO,
    S_HELO,
    S_IDLE,
    S_MAIL,
    S_RCPT,
    S_DATA,
    S_BODY,
    S_DOT,
    S_CHUNK, /* BDAT LAST */
    S_VOID,  /* 354 came though no recipient was taken: a dot, and no more */
    S_RSET,
    S_QUIT,
    S_END,
    S_COUNT
};

/* Up to E_KILL from outside, the rest posted by actions. */
enum send_session_event {
    E_CONNECTED,
    E_2XX,
    E_3XX,
    E_4XX,
    E_5XX,
    E_421,
    E_BROKEN, /* not a reply at all, or an endless one */
    E_CLOSED,
    E_TIMEOUT,
    E_ROOM, /* output was taken: more of the body may follow */
    E_JOB,
    E_STOP,
    E_KILL,
    E_RCPTS, /* the last RCPT is answered */
    E_SENT,  /* the last byte of the body is queued */
    E_UNREADABLE,
    E_COUNT
};

/* Where a recipient stands in the transaction. */
enum rcpt_step { STEP_LEFT, STEP_SAID, STEP_TAKEN, STEP_DONE };

struct send_session {
    struct note note;
    struct lane *lane;
    const struct send_env *env;
    struct conn conn;
    struct loop_timer again; /* a body that used up its turn goes on */
    struct addr peer;
    char host[256], sid[SESSION_ID_TEXT];
    uint64_t started; /* ms, monotonic */

    unsigned char state, was; /* was: before the event in hand */
    bool feeding, out_failed, conn_failed, more, stopping;
    bool more_input; /* behind the reply in hand */
    bool garbled;    /* its replies do not fit our commands */
    struct smtp_reply reply;
    struct smtp_ext ext;
    struct send_session_end end;
    unsigned messages; /* transactions begun */

    struct list jobs;         /* waiting */
    struct job *cur;          /* to which the next reply belongs */
    struct list ahead;        /* behind it: their commands are said already */
    struct job *sending;      /* of them all the last one, whose chunk is not
                                 yet queued to its end; NULL: none */
    size_t asking;            /* where to look for the next reply's recipient */
    unsigned said, waiting;   /* RCPTs of cur said; replies to them to come */
    unsigned accepted, taken; /* of those: 2xx; 2xx and still wanted */
    bool piped;               /* all commands of cur are said */
    bool answered;            /* the peer has answered to one of them */
    bool full;      /* it wants no more recipients in this transaction */
    bool unsettled; /* it refused a chunk; no MAIL was taken since */
    bool displaced; /* so it did not take cur's MAIL: cur has no answer */
    struct smtp_dot_encoder dot;
    uint64_t body_at;
};

/* session.c */
void send_session_log_connect(const struct send_session *s);
const char *send_session_doing(unsigned state);
void send_session_lose_closed(struct send_session *s); /* says why */

/* transaction.c: writing commands, keeping answers; transfer.c: bodies. */
void send_transaction_say(struct send_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool send_transaction_chunks(
    const struct send_session *s); /* by BDAT, not by DATA */
void send_transaction_put(struct send_session *s, const char *p, size_t n);
void send_transaction_say_envelope(struct send_session *s,
                                   struct job *j); /* MAIL, all RCPT */
struct job *send_transaction_pop(struct list *jobs);
void send_transaction_await(struct send_session *s,
                            struct job *j); /* its MAIL is answered next */
struct job *send_transaction_next(
    const struct send_session *s); /* to be begun; NULL: none */
bool send_transaction_has_misfits(const struct send_session *s,
                                  const struct job *j);
void send_transaction_refuse_misfits(struct send_session *s, struct job *j);
void send_transaction_begin(
    struct send_session *s); /* MAIL, or with PIPELINING all */
void send_transaction_begin_ahead(
    struct send_session *s); /* the same for the job behind cur */
void send_transaction_take_ahead(
    struct send_session *s); /* cur is answered: go on to ahead */
/* With BDAT (RFC 3030), whenever something may be said: as many messages as
 * there are, commands and bodies, until the output is full.  FSM_QUIET, or
 * E_UNREADABLE for the body of s->sending. */
unsigned char send_transaction_pump(struct send_session *s);
bool send_transaction_more_rcpts(const struct send_session *s);
void send_transaction_say_rcpt(struct send_session *s);  /* one more */
void send_transaction_note_mail(struct send_session *s); /* MAIL was refused */
void send_transaction_note_rcpt(struct send_session *s);
void send_transaction_take_answer(const struct send_session *s,
                                  struct answer *a);
bool send_transaction_has_remainder(const struct send_session *s); /* of cur */
void send_transaction_note_rest(
    struct send_session *s); /* reply to DATA or to the dot */
void send_transaction_start_body(struct send_session *s);
/* E_SENT: all of it is queued; E_UNREADABLE; FSM_QUIET: wait for room. */
unsigned char send_transaction_send_body(struct send_session *s);
void send_transaction_end_body(struct send_session *s);
void send_transaction_finish(
    struct send_session *s); /* cur is over; it may have a remainder */
void send_transaction_abandon(
    struct send_session *s); /* the session ends: answer all jobs */
#endif
