/* send/destination.h - where mail for a domain goes: its DNS look-up, its lanes
 * by rank, and the recipients that are due.  For src/send alone. */
#ifndef MTA_SEND_DESTINATION_H
#define MTA_SEND_DESTINATION_H

#include "dns/mx.h"
#include "queue/message.h"
#include "send/due.h"
#include "send/lane.h"
#include "send/lookup_turns.h"
#include "send/route.h"

struct hops {
    size_t n;
    struct hop hop[];
};

struct destination {
    struct map_link link;
    struct due due;
    struct list suspects; /* due too; last, and each alone */
    struct list parked;   /* until a host opens */
    struct list turn; /* in ready or idle of struct sched, or by a look-up */
    struct sched *sched;
    struct hops *hops;      /* NULL: not known */
    struct answer *outcome; /* of the look-up; NULL: none */
    struct mx_query *query;
    struct lookup lookup;
    uint32_t expires; /* of hops or outcome */
    uint32_t idle_since;
    uint32_t reported; /* a fault of the setting, in the log */
    uint32_t nrcpt;    /* recipients of this destination */
    uint16_t port;
    uint8_t kind;          /* enum route_kind */
    uint8_t tls, mail_tls; /* enum conf_tls */
    uint8_t relay, login;  /* as in struct route, and ... */
    bool configured, lmtp;
    bool awaits_token; /* for its login */
    uint8_t login_failures;
    bool look_up_failed; /* for now, when it was last tried */
    bool round;          /* a host is shut again: see which of the parked mail
                          * does a round */
    const char *why;     /* of ROUTE_BAD */
    const char *path;    /* of ROUTE_UNIX */
    char host[];
};

/* Cache of recent domains and their destinations. */
enum { DESTINATION_MEMOS = 256 };
struct destination_memo {
    struct destination *destination; /* NULL: empty */
    uint8_t n;
    char domain[55];
};

/* Find or make the destination of one more recipient of mail from that domain
 * (empty: no route looks at it); destination_release() drops it.  NULL: no
 * memory. */
struct destination *destination_for(struct sched *s, struct span domain,
                                    struct span sender);
void destination_release(struct destination *d);

/* That of a host of send.relay_host, counted from 1; NULL: no memory.  A
 * recipient that is in no list goes there. */
struct destination *destination_of_relay(struct sched *s, unsigned relay,
                                         enum conf_tls mail_tls);
void destination_move(struct rcpt *r, struct destination *to);

/* The recipient is due now; it came back untouched, and is due before all
 * others; it is not due any more. */
void destination_add(struct rcpt *r);
void destination_add_untouched(struct rcpt *r);
void destination_take(struct rcpt *r);

/* A session was lost over the recipient's message: all of it for this
 * destination goes last, and alone. */
void destination_suspect(const struct rcpt *r);

/* The next due recipient, or NULL; with destination_take_turn() its sender's
 * turn is over, and there must be one. */
struct rcpt *destination_next(struct destination *d);
struct rcpt *destination_take_turn(struct destination *d);

/* The line for its mail in front of a lane; LINES: no mail is due. */
enum lane_line destination_line(const struct destination *d);

/* Are its hops, or the outcome of its look-up, known and not expired? */
bool destination_is_known(struct destination *d);

/* The best rank with a usable lane; if none but lanes on trial that are taken
 * can be, the best of these; -1: none. */
int destination_rank(struct sched *s, const struct destination *d);
/* Are all lanes that it may use on trial, each with a message that tries it? */
bool destination_is_tried(struct sched *s, const struct destination *d);
/* May its mail go to this hop, to this lane, now? */
bool destination_may_use(struct sched *s, const struct destination *d,
                         const struct hop *h);
bool destination_uses(struct destination *d, const struct lane *l);
/* The lane of that rank with room and the least backlog, or NULL. */
struct lane *destination_choose(struct sched *s, const struct destination *d,
                                int rank);
/* The hop whose shut lane gives the reason when none can be used; the time when
 * the first of them opens, in ms of the loop. */
const struct hop *destination_blame(const struct destination *d);
uint64_t destination_opens(const struct destination *d);
struct hop *destination_hop(const struct destination *d, const struct lane *l);
struct hop *destination_hop_by_name(const struct destination *d,
                                    const struct lane *l, const char *name);

/* The name of its own host behind that lane; NULL: it leads there no more. */
const char *destination_host(const struct destination *d, const struct lane *l);

/* The lane's session gave its recipient back, because TLS there is not what the
 * mail demands: in this session alone, or with that host. */
void destination_misfits(struct destination *d, const struct send_delivery *sd,
                         const struct delivery_rcpt *r);

/* Its hop behind that lane greets with our own name: drop it and all equal or
 * worse ones. */
void destination_loops(struct destination *d, const struct lane *l);

/* Out of all lines, but for mail that goes to one hop alone. */
void destination_detach(struct destination *d);

/* No recipient is left: keep it for a while. */
void destination_rest(struct destination *d);
void destination_sweep(struct sched *s);    /* free those that rested long */
void destination_flush(struct sched *s);    /* forget failed look-ups */
void destination_free_all(struct sched *s); /* at the end */
#endif
