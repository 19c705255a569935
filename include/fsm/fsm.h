/* fsm/fsm.h - the engine: a session is a table of rows.
 *
 * A row is an edge {state, event, guard, action, next}; the first row that
 * matches wins, so exceptions stand above the rule.  Guards change nothing;
 * actions return their outcome as one further event, or FSM_QUIET; nothing else
 * changes the state.  So the drawing made from the table is complete.  Actions
 * never free the session: the owner does, after fsm_feed() returned in the end
 * state. */
#ifndef MTA_FSM_FSM_H
#define MTA_FSM_FSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
    FSM_ANY = 255,
    FSM_QUIET = 254,
    FSM_STATES_MAX = 32,
    FSM_EVENTS_MAX = 48
};

struct fsm_row {
    unsigned char state, event, next;  /* next FSM_ANY: stay */
    bool (*guard)(const void *ctx);    /* NULL: always */
    unsigned char (*act)(void *ctx);   /* NULL: nothing to do */
    const char *guard_name, *act_name; /* labels of the drawing */
};

struct fsm {
    const char *name;
    const char *const *state_names, *const *event_names;
    unsigned nstates, nevents;
    unsigned noutside; /* events 0 .. noutside-1 come from outside; the rest
                          are returned by actions */
    unsigned start, end;
    const struct fsm_row *rows;
    size_t nrows;
};

/* The row where the search for each state and event begins; made once per
 * table. */
struct fsm_index {
    unsigned char first[FSM_STATES_MAX][FSM_EVENTS_MAX];
    void (*taken)(const struct fsm_row *row); /* on each match; NULL: unused */
};
void fsm_index_build(struct fsm_index *ix, const struct fsm *m);

/* Feed an event, then the events that actions return.  0; -1: no row matches,
 * which the unit test of each table forbids. */
int fsm_feed(const struct fsm *m, const struct fsm_index *ix,
             unsigned char *state, unsigned event, void *ctx);

/* Write the drawing in the language of graphviz.  `any` stands for every state
 * that has no row of its own for the event. */
void fsm_dot(const struct fsm *m, FILE *out);
#endif
