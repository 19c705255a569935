#include "fsm/fsm.h"

#include <string.h>

/* NOWHERE in the index: no row of the table matches.  A match at row NEAR or
 * later is found by a search from NEAR, so that tables of any length work. */
enum { NOWHERE = 255, NEAR = 254 };

static bool row_is_for(const struct fsm_row *r, unsigned state, unsigned event)
{
    return (r->state == state || r->state == FSM_ANY) && r->event == event;
}

static unsigned char first_row(const struct fsm *m, unsigned state,
                               unsigned event)
{
    for (size_t i = 0; i < m->nrows; i++)
        if (row_is_for(&m->rows[i], state, event))
            return i < NEAR ? (unsigned char)i : NEAR;
    return NOWHERE;
}

void fsm_index_build(struct fsm_index *ix, const struct fsm *m)
{
    memset(ix->first, NOWHERE, sizeof ix->first);
    ix->taken = NULL;
    for (unsigned s = 0; s < m->nstates && s < FSM_STATES_MAX; s++)
        for (unsigned e = 0; e < m->nevents && e < FSM_EVENTS_MAX; e++)
            ix->first[s][e] = first_row(m, s, e);
}

static const struct fsm_row *find(const struct fsm *m,
                                  const struct fsm_index *ix,
                                  const unsigned at[2], const void *ctx)
{
    unsigned state = at[0], event = at[1];

    if (state >= FSM_STATES_MAX || event >= FSM_EVENTS_MAX ||
        ix->first[state][event] == NOWHERE)
        return NULL;
    for (size_t i = ix->first[state][event]; i < m->nrows; i++) {
        const struct fsm_row *r = &m->rows[i];
        if (row_is_for(r, state, event) && (r->guard == NULL || r->guard(ctx)))
            return r;
    }
    return NULL;
}

int fsm_feed(const struct fsm *m, const struct fsm_index *ix,
             unsigned char *state, unsigned event, void *ctx)
{
    while (event != FSM_QUIET) {
        const struct fsm_row *r =
            find(m, ix, (const unsigned[2]){ *state, event }, ctx);
        if (r == NULL)
            return -1;
        if (ix->taken != NULL)
            ix->taken(r);
        if (r->next != FSM_ANY)
            *state = r->next;
        event = r->act != NULL ? r->act(ctx) : FSM_QUIET;
    }
    return 0;
}
