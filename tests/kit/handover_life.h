/* handover_life.h - lives of a message that is handed over, with kills and
 * power cuts in them.
 *
 * One message lies in local/.  A deliverer, the consumer of local/, expands its
 * aliases and hands over remote recipients; a sender, the consumer of remote/,
 * delivers them.  Both take steps in any order, also in the middle of one
 * another's calls, and are killed at any call.  All calls are recorded
 * (disk_model.h); then the power is cut, and what is left is lived to its end:
 *
 *   each target has been delivered;
 *   of the records that replace one slot, one alone was ever acted on;
 *   no record delivers a target again whose mark was synced;
 *   no segment is left.
 *
 * handover_world.c: the message and what was done; handover_actors.c: the
 * deliverer and the sender; handover_life.c: kills, cuts, the end. */
#ifndef MTA_TESTS_HANDOVER_LIFE_H
#define MTA_TESTS_HANDOVER_LIFE_H

#include "spool/handover_private.h"
#include "spool/queue.h"

#include <stdbool.h>
#include <stdint.h>

/* What is left out: a rule of docs/spool.md, each. */
enum handover_rule {
    ALL_RULES,
    PIN,         /* unconfirmed children hold their segment */
    AFTER,       /* confirmed is written behind the sync of the marks */
    SYNC_FIRST,  /* a start syncs children before it marks their parents */
    OWN_WORD,    /* recovery does not write the confirmed word */
    CLOSED_TOO,  /* a start looks at closed segments */
    DIRS,        /* confirmed is written behind the sync of the directory */
    ANY_LOCK,    /* a start looks at segments that are still locked */
    COPY_ORDER,  /* a segment with copies goes last */
    REC_DIR,     /* recovery syncs the directory */
    NEWEST,      /* a start marks the newest copy of a parent */
    SNAPSHOT,    /* only what was marked before the sync is confirmed */
    AT_START,    /* a start looks at all */
    TAIL,        /* records that are no children are confirmed too */
    CHILD_SYNC,  /* a child is synced before its parent is marked */
    CHILD_ENTRY, /* so is the entry of its segment */
    LOST_SYNC,   /* after a sync that failed, the next start decides */
    HANDOVER_RULES
};

struct handover_scene {
    const char *name;
    const char *slots; /* recipients: aliases A to E, targets m, r, s */
    bool later;        /* E cannot be resolved at first */
    bool solo;         /* the text is so large that a child is a segment */
    bool reclaim;      /* parents and children are moved */
    bool bounce;       /* records that are no children lie behind */
    bool linger;       /* locks of a killed deliverer go late */
};

struct handover_life {
    uint64_t seed;
    const struct handover_scene *scene;
    enum handover_rule without;
    unsigned epochs, disks; /* disks to look at, an epoch */
    bool quiet;             /* no kills but this */
    size_t kill_at;         /* the call that one is made at; 0: none */
    bool every_cut;         /* look behind each call */
    bool faults;            /* no kills: calls that fail */
    /* what came of it */
    size_t calls, kills, failed_calls, judged, children;
    char fault[400]; /* "": none */
};
void handover_life_run(struct handover_life *l);

/* --- inside ------------------------------------------------------------------ */

enum { TARGETS = 8, MESSAGES = 32 };

/* A record of the message: number 0 is what was accepted. */
struct handover_record {
    struct msg_id id;
    unsigned number;
    unsigned n;         /* recipients */
    char name[TARGETS]; /* one letter each */
    uint64_t parent;    /* part; UINT64_MAX: none */
    unsigned replaces;  /* a bit a slot */
    bool notice;        /* no part of the story */
};
int handover_record_read(struct handover_record *out,
                         const struct spool_reader *v);

/* What an alias stands for; a target stands for itself. */
const char *handover_expand(char name);
bool handover_is_alias(char name);
bool handover_is_remote(char name);

/* The ghosts: what was done, and when (calls of this epoch). */
void world_begin(struct handover_life *l);
void world_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The record is expanded ('*') or a target of it delivered. */
void world_act(const struct handover_record *r, char target);
void world_marked(const struct handover_record *r, char target);
void world_synced(enum spool_name queue); /* all marks of it */
void world_killed(enum spool_name queue); /* its marks are never synced */
void world_judge_end(const char *dir);
/* Around the look at another disk: only what happened up to `cut` counts. */
void world_cut(size_t cut);
void world_save(void);
void world_restore(void);

/* The processes. */
enum handover_phase {
    NO_PHASE,
    OPENING,
    STARTING, /* the look at a predecessor's children */
    COMMITTING,
    CONFIRMING
};
struct handover_stage {
    struct handover_life *life;
    uint64_t random;
    char dir[256];
    bool resolvable; /* E */
    struct pool *blocks;
    enum handover_phase phase[SPOOL_QUEUES]; /* of its consumer */
    unsigned children;                       /* numbers used */
};
extern struct handover_stage stage_now;
uint64_t handover_draw(void);
unsigned handover_below(unsigned limit);
bool handover_chance(unsigned one_in);

/* One step of the consumer of that queue; a start if it does not run.  False:
 * it found nothing to do. */
bool actor_step(enum spool_name queue, const bool *killed);
void actor_end(enum spool_name queue, const bool *killed); /* gone at once */
void actor_finish(enum spool_name queue); /* no calls fail: all that is to do */
void actor_stop(enum spool_name queue);   /* in order */
/* A segment whose lock of a killed process is not gone. */
void actor_release_locks(void);
#endif
