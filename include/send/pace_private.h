/* send/pace_private.h - the inside of a pace, for src/send/pace*.c, tests. */
#ifndef MTA_SEND_PACE_PRIVATE_H
#define MTA_SEND_PACE_PRIVATE_H

#include "send/pace.h"
#include "send/pace_rate.h"
#include "send/sched.h"

enum { PACE_NAME_MAX = 64, PACES_MAX = 10000, PACE_TOLD = 8 };

struct pace {
    struct map_link link;
    struct sched *sched;
    struct pace_rate limit;
    struct list lanes;  /* the one with the oldest session first */
    struct list tokens; /* of these: wait for their turn to send */
    struct list slots;  /* wait for their turn to have a session */
    struct list busy;   /* in the list of those for which lanes wait */
    struct list known;  /* in the list of all, the last sign at the end */
    struct loop_timer wake, minute;
    unsigned open;        /* sessions */
    unsigned taken;       /* messages in this minute */
    uint64_t held_until;  /* ms of the loop; nothing is sent before */
    uint64_t shut_until;  /* the same, and the lanes are shut */
    uint64_t next;        /* us of the loop, for pace_may() */
    uint64_t slots_since; /* the first of them waits */
    uint64_t closed_at;   /* a session ended */
    uint64_t forget_at;   /* a day after the last sign; 0: there is none */
    uint64_t accuser[2];  /* hash of the destination whose host refused our
                           * address; asked for less mail: none took mail
                           * since; 0: none */
    struct {              /* X.7.N that the log has had */
        unsigned detail;
        uint64_t at;
    } told[PACE_TOLD];
    bool group;
    char name[PACE_NAME_MAX];    /* of the group, or the lane's address */
    char why[DELIVERY_TEXT_MAX]; /* the reply that was the last sign */
};

/* The pace of that name; NULL: there is none. */
struct pace *pace_find(const struct sched *s, const char *name);

/* The pace of that name, or a new one; NULL: no memory, or too many.  The one
 * of the lane, or a new one of its own. */
struct pace *pace_get(struct sched *s, const char *name);
struct pace *pace_of(struct lane *l);

/* Send nothing until then; shut: and shut the lanes but the one from which the
 * sign came (NULL: all). */
void pace_hold(struct pace *p, uint64_t until, bool shut,
               const struct lane *from);

/* Loop time in ms; messages that its lanes took in a minute of late. */
uint64_t pace_now(const struct pace *p);
uint32_t pace_recent(const struct pace *p);

/* pace_file.c */
void pace_load(struct sched *s);
void pace_save_soon(struct sched *s);
void pace_save(struct sched *s);

/* pace_signs.c: of the answers of a delivery; the limits are gone. */
void pace_read_answers(struct lane *l, const struct delivery *j);
void pace_report_lifted(const struct pace *p);
#endif
