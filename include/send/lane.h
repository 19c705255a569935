/* send/lane.h - one remote address and port as the main thread sees it: its
 * session, its window of deliveries, and the lines in front of it.  When it is
 * shut or paused: lane_state.h.  For src/send alone. */
#ifndef MTA_SEND_LANE_H
#define MTA_SEND_LANE_H

#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "net/tls.h"
#include "queue/delivery.h"
#include "send/hop.h"
#include "send/window.h"
#include "send/worker.h"

enum {
    /* recipients given to the session in advance, at most (one delivery more
     * may begin below that); deliveries: window.h */
    LANE_RCPTS = 256
};

struct sched;

/* The lines in front of a lane.  A suspect goes when no other mail waits; mail
 * that the session cannot take, as its profile is another, when that ends. */
enum lane_line { LINE_FIRST, LINE_DUE, LINE_SUSPECT, LINE_MISFIT, LINES };

/* One remote address and port: at most one session, so one socket. */
struct lane {
    struct map_link link;
    struct sched *sched;
    struct addr peer;
    struct list line[LINES]; /* hops of destinations with due mail */
    struct list parked;      /* hops of destinations with parked mail */
    struct list opening;     /* waits for a descriptor */
    struct list ready;       /* has room for those that wait */
    struct send_session *session;
    struct send_worker *worker;
    unsigned refs;        /* hops */
    struct window window; /* of deliveries that may be out */
    unsigned out;         /* deliveries given and not back */
    size_t out_rcpts;     /* of these */
    bool ended;      /* the session is over; deliveries are on their way back */
    bool unopened;   /* the worker has no session yet: it waits for a message */
    bool alone;      /* a suspect is out */
    unsigned serial; /* of the session; 0: there was none */
    uint32_t suspects_since; /* the first of them waits */

    struct { /* of the last TLS session with the host by that name */
        struct tls_session *session;
        char *host;
        bool chain_good;
    } resume;

    /* profile_turns.c */
    struct loop_timer turn;
    unsigned turn_left; /* messages */
    bool turn_over, leaving;
    uint32_t clear_until; /* its session is, for want of TLS; 0: it is not */

    /* lane_state.c */
    struct loop_timer opens;           /* or, unused, is forgotten */
    bool unused;                       /* kept without a hop */
    struct list pausing;               /* in the list of all */
    uint64_t shut_until, paused_until; /* ms of the loop */
    bool trial;                        /* was shut, no reply since */
    struct shut_log log;
    unsigned failures;                 /* shut so often in a row */
    unsigned reconnects;               /* lost sessions in a row */
    unsigned nlost;                    /* messages below */
    bool refused;                      /* the one below */
    struct msg_id lost[2], refused_id; /* nothing delivered since */
    struct answer why;                 /* it is shut or paused */

    struct {             /* pace.c */
        struct pace *of; /* NULL: there was no sign, and its host is of none */
        struct list lanes, waits; /* in it */
        bool for_slot;            /* it waits for a session */
        bool yields;              /* its session gives way to another lane's */
        unsigned turn;        /* messages while another lane waits for one */
        unsigned now, before; /* messages in */
        uint64_t minute;      /* that minute, and the one before it */
    } pace;
};

/* The one there is, or NULL. */
struct lane *lane_find(const struct sched *s, const struct addr *peer);

/* NULL: no memory. */
struct lane *lane_get(struct sched *s, const struct addr *peer);
void lane_put(struct sched *s, struct lane *l);

/* Those that are kept without a hop: one whose time has come; all. */
void lane_forget(struct sched *s, struct lane *l);
void lane_free_unused(struct sched *s);

/* Has a session; has room in its window, or may get a session. */
bool lane_is_open(const struct lane *l);
bool lane_has_room(const struct sched *s, const struct lane *l);

/* Give the delivery to the session, which is opened for it under the name
 * j->host.  alone: nothing goes behind it.  -1 with *e: the delivery is still
 * the caller's. */
int lane_give(struct sched *s, struct lane *l, struct delivery *j, bool alone,
              struct err *e);

/* The delivery is signed, if it is to be: the worker gets it, and the session
 * first if it has not.  A host is not connected to for mail that a silent
 * signer keeps back. */
void lane_hand(struct sched *s, struct send_delivery *d);

/* The hop's destination waits in that line for room, or for a session.
 * lane_next() takes the first that waits, NULL: none, no room, or parked mail
 * tries the lane before a suspect may. */
void lane_wait(struct sched *s, struct hop *h, enum lane_line line);
struct hop *lane_next(struct sched *s, struct lane *l);
struct hop *lane_next_suspect(struct sched *s, struct lane *l);
bool lane_is_awaited(const struct lane *l);

/* Nothing can be given now to those that still wait: see that a session is
 * opened when a descriptor is free. */
void lane_want_session(struct sched *s, struct lane *l);

/* The next lane that waited for a descriptor, when one is free, or NULL. */
struct lane *lane_next_opening(struct sched *s);

/* It is shut while it has no session: its lines go elsewhere. */
void lane_turn_away(struct sched *s, struct lane *l);

/* A delivery came back: its time sizes the window. */
void lane_measure(struct sched *s, const struct send_delivery *d);

/* A delivery of nrcpt recipients came back; the session ended. */
void lane_delivery_back(struct sched *s, struct lane *l, size_t nrcpt);
void lane_ended(struct sched *s, struct lane *l);

/* The session has taken note that it is to leave. */
void lane_left(struct sched *s, struct lane *l);
#endif
