/* fsm_check.c - what tests prove about a table. */
#include "fsm_check.h"

/* Static, as the tests want a text that outlives the call. */
static const char *fault(const char *what, const char *state, const char *event)
{
    static char text[160];

    snprintf(text, sizeof text, "%s: %s%s%s", what, state,
             *event == '\0' ? "" : " on ", event);
    return text;
}

static bool in_bounds(const struct fsm *m)
{
    if (m->nstates > FSM_STATES_MAX || m->nevents > FSM_EVENTS_MAX ||
        m->noutside > m->nevents || m->start >= m->nstates ||
        m->end >= m->nstates)
        return false;
    for (size_t i = 0; i < m->nrows; i++) {
        const struct fsm_row *r = &m->rows[i];
        if ((r->state != FSM_ANY && r->state >= m->nstates) ||
            (r->next != FSM_ANY && r->next >= m->nstates) ||
            r->event >= m->nevents)
            return false;
    }
    return true;
}

static bool answers(const struct fsm_row *r, unsigned state, unsigned event)
{
    return (r->state == state || r->state == FSM_ANY) && r->event == event;
}

static bool always_answered(const struct fsm *m, unsigned state, unsigned event)
{
    for (size_t i = 0; i < m->nrows; i++)
        if (answers(&m->rows[i], state, event) && m->rows[i].guard == NULL)
            return true;
    return false;
}

const char *fsm_check_total(const struct fsm *m)
{
    if (!in_bounds(m))
        return "a state or an event is out of bounds";
    for (unsigned s = 0; s < m->nstates; s++)
        for (unsigned e = 0; e < m->noutside; e++)
            if (s != m->end && !always_answered(m, s, e))
                return fault("no certain answer", m->state_names[s],
                             m->event_names[e]);
    return NULL;
}

/* Can row i ever be taken in that state?  Not when an unconditional row for
 * the same event stands above it. */
static bool alive(const struct fsm *m, size_t i, unsigned state)
{
    unsigned event = m->rows[i].event;

    if (state == m->end || !answers(&m->rows[i], state, event))
        return false;
    for (size_t k = 0; k < i; k++)
        if (answers(&m->rows[k], state, event) && m->rows[k].guard == NULL)
            return false;
    return true;
}

/* Is there an edge from one state to the other? */
static bool edge(const struct fsm *m, unsigned from, unsigned to)
{
    for (size_t i = 0; i < m->nrows; i++)
        if (m->rows[i].next == to && alive(m, i, from))
            return true;
    return false;
}

/* Mark all that is reached from the marked ones, or that reaches them. */
static void spread(const struct fsm *m, bool mark[FSM_STATES_MAX],
                   bool backwards)
{
    for (bool more = true; more;) {
        more = false;
        for (unsigned a = 0; a < m->nstates; a++)
            for (unsigned b = 0; b < m->nstates; b++)
                if (mark[a] && !mark[b] &&
                    (backwards ? edge(m, b, a) : edge(m, a, b)))
                    mark[b] = more = true;
    }
}

const char *fsm_check_connected(const struct fsm *m)
{
    bool reached[FSM_STATES_MAX] = { false }, ends[FSM_STATES_MAX] = { false };

    if (!in_bounds(m))
        return "a state or an event is out of bounds";
    reached[m->start] = true;
    spread(m, reached, false);
    ends[m->end] = true;
    spread(m, ends, true);
    for (unsigned s = 0; s < m->nstates; s++) {
        if (!reached[s])
            return fault("never reached", m->state_names[s], "");
        if (!ends[s])
            return fault("never ends", m->state_names[s], "");
    }
    return NULL;
}
