/* send/session_private.h - the inside of a session, for src/send/session*.c,
 * transaction.c and data.c alone. */
#ifndef MTA_SEND_SESSION_PRIVATE_H
#define MTA_SEND_SESSION_PRIVATE_H

#include "send/login.h"
#include "send/session.h"
#include "smtp/dot.h"
#include "smtp/ext.h"
#include "smtp/reply.h"

/* The state is the reply that comes next: replies come in the order of the
 * commands, however many commands are under way. */
enum send_session_state {
    S_DIAL,
    S_WRAP, /* the handshake of a port where TLS begins at once */
    S_GREET,
    S_EHLO,
    S_STARTTLS,
    S_HANDSHAKE,
    S_EHLO_TLS, /* EHLO again */
    S_HELO,
    S_AUTH, /* a command, or a response */
    S_IDLE,
    S_MAIL,
    S_RCPT,
    S_DATA,
    S_BODY,
    S_DOT,
    S_CHUNK,  /* BDAT LAST */
    S_VOID,   /* 354 came though no recipient was taken: a dot, and no more */
    S_SETTLE, /* a reply was not one: count the others */
    S_RSET,
    S_QUIT,
    S_END,
    S_COUNT
};

/* Up to E_KILL from outside, the rest posted by actions. */
enum send_session_event {
    E_CONNECTED,
    E_SECURED, /* the TLS handshake is over */
    E_2XX,
    E_3XX,
    E_4XX,
    E_5XX,
    E_421,
    E_BROKEN, /* not a reply at all, or an endless one */
    E_CLOSED,
    E_TIMEOUT,
    E_ROOM, /* output was taken: more of the body may follow */
    E_DELIVERY,
    E_STOP,
    E_KILL,
    E_RCPTS, /* the last RCPT is answered */
    E_SENT,  /* the last byte of the body is queued */
    E_UNREADABLE,
    E_SETTLED,
    E_NO_LOGIN, /* AUTH cannot go on */
    E_COUNT
};

/* Where a recipient stands in the transaction. */
enum rcpt_step { STEP_LEFT, STEP_SAID, STEP_TAKEN, STEP_DONE };

struct send_session {
    struct work_item note, leave;
    struct lane *lane;
    const struct send_env *env;
    struct conn conn;
    struct loop_timer again; /* a body that used up its turn goes on */
    struct addr peer;
    char host[256], sid[SESSION_ID_TEXT];
    uint64_t started; /* ms, monotonic */

    unsigned char state, was, event; /* was: before the event in hand */
    bool feeding, out_failed, conn_failed, more, stopping;
    bool more_input; /* behind the reply in hand */
    bool garbled;    /* its replies do not fit our commands */
    bool is_exim;    /* by its greeting */
    struct smtp_reply reply;
    struct smtp_ext ext;
    struct send_session_end end; /* end.learned: the limits in force */
    unsigned messages, mails;    /* MAIL commands written; replied to */
    unsigned tried_rcpts;        /* what may be a limit of recipients */

    struct {
        bool wanted;     /* STARTTLS where it is offered */
        bool may;        /* clear text will do for the mail that opened it */
        bool failed;     /* for the reason in end.why */
        bool stale;      /* the same, and `resume` may be the reason */
        bool chain_good; /* of the session that has ended */
        struct send_tls_name {
            bool named; /* does the certificate? */
            char name[DELIVERY_HOST_MAX];
        } last[2];                  /* a host, a domain */
        struct tls_session *resume; /* of the session before; of this one */
    } tls;

    struct session_login *login; /* at the next hop; NULL: none */
    struct {
        struct sasl *exchange; /* while it is under way */
        enum sasl_mechanism mechanism;
        bool done;     /* logged in */
        char why[200]; /* it cannot go on */
    } auth;

    struct list left;         /* before all that follow, and undecided */
    struct delivery *cur;     /* to which the next reply belongs */
    struct list ahead;        /* behind it: their commands are written */
    struct list deliveries;   /* waiting */
    struct delivery *sending; /* the last one of them, whose chunk is not yet
                                 queued to its end; NULL: none */
    size_t asking;            /* where to look for the next reply's recipient */
    unsigned said, waiting;   /* RCPTs of cur written; their replies due */
    unsigned accepted, taken; /* of those: 2xx; 2xx and still wanted */
    bool chunks;              /* bodies go by BDAT */
    bool piped;               /* all commands of cur are written */
    bool answered;            /* the peer has replied to one of them */
    bool refused;   /* its MAIL was: the replies behind mean nothing */
    bool full;      /* it takes no more recipients in this transaction */
    bool unsettled; /* it refused a chunk; no MAIL was taken since */
    bool displaced; /* so it did not take cur's MAIL: cur has no answer */
    struct smtp_dot_encoder dot;
    struct body_cursor body;
    int body_error; /* errno: s->sending, or cur, cannot be read */
    struct {
        struct delivery *blamed;
        const struct fault_rule *rule;
        struct answer why;
        unsigned char due; /* the state of a session in step */
        bool quit;
    } settle;
};
#endif
