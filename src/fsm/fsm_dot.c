/* fsm_dot.c - the drawing of a table.
 *
 * A box is a state; below its name are the rows that do not leave it, and the
 * rows that end the session early (an arrow each would cover the drawing).  All
 * rows from one state to another share an arrow, and rows that differ in their
 * event alone share a line, so that the drawing stays readable and still shows
 * every row.  The dashed box has the rows for any state without a row of its
 * own for the event. */
#include "fsm/fsm.h"

enum { EVENTS_A_LINE = 4 };

static unsigned target(const struct fsm_row *r)
{
    return r->next == FSM_ANY ? r->state : r->next;
}

static bool same_arrow(const struct fsm_row *a, const struct fsm_row *b)
{
    return a->state == b->state && target(a) == target(b);
}

static bool same_line(const struct fsm_row *a, const struct fsm_row *b)
{
    return same_arrow(a, b) && a->guard == b->guard && a->act == b->act;
}

/* Was this row drawn together with an earlier one? */
static bool is_drawn(const struct fsm *m, const struct fsm_row *r,
                     bool (*same)(const struct fsm_row *,
                                  const struct fsm_row *))
{
    for (const struct fsm_row *p = m->rows; p < r; p++)
        if (same(p, r))
            return true;
    return false;
}

/* Does the row end a state that has other ways out? */
static bool is_early_end(const struct fsm *m, const struct fsm_row *r)
{
    if (r->state == FSM_ANY || target(r) != m->end)
        return false;
    for (size_t i = 0; i < m->nrows; i++)
        if (m->rows[i].state == r->state && target(&m->rows[i]) != m->end &&
            target(&m->rows[i]) != r->state)
            return true;
    return false;
}

static bool is_in_box(const struct fsm *m, const struct fsm_row *r)
{
    return target(r) == r->state || is_early_end(m, r);
}

/* "4xx, 5xx [guard] / action" */
static void draw_line(const struct fsm *m, const struct fsm_row *first,
                      FILE *out)
{
    unsigned n = 0;

    for (const struct fsm_row *r = first; r < m->rows + m->nrows; r++)
        if (same_line(first, r)) {
            fprintf(out, "%s%s",
                    n == 0                   ? ""
                    : n % EVENTS_A_LINE == 0 ? ",\\l"
                                             : ", ",
                    m->event_names[r->event]);
            n++;
        }
    if (first->guard != NULL)
        fprintf(out, " [%s]", first->guard_name);
    if (first->act != NULL)
        fprintf(out, " / %s", first->act_name);
    if (is_early_end(m, first))
        fprintf(out, " -\\> %s", m->state_names[m->end]);
    fputs("\\l", out);
}

static void draw_lines(const struct fsm *m, const struct fsm_row *first,
                       FILE *out)
{
    for (const struct fsm_row *r = first; r < m->rows + m->nrows; r++)
        if (same_arrow(first, r) && !is_drawn(m, r, same_line))
            draw_line(m, r, out);
}

static const char *state_name(const struct fsm *m, unsigned state)
{
    return state == FSM_ANY ? "any" : m->state_names[state];
}

static void draw_box(const struct fsm *m, unsigned state, FILE *out)
{
    const char *name = state_name(m, state);
    unsigned n = 0;

    fprintf(out, "  %s [label=\"{%s", name, name);
    for (const struct fsm_row *r = m->rows; r < m->rows + m->nrows; r++)
        if (r->state == state && is_in_box(m, r) &&
            !is_drawn(m, r, same_arrow)) {
            if (n++ == 0)
                fputc('|', out);
            draw_lines(m, r, out);
        }
    fprintf(out, "}\"%s];\n",
            state == FSM_ANY    ? ", style=dashed"
            : state == m->start ? ", style=bold"
            : state == m->end   ? ", style=bold, shape=record"
                                : "");
}

void fsm_dot(const struct fsm *m, FILE *out)
{
    fprintf(out,
            "digraph %s {\n"
            "  ranksep=0.3;\n"
            "  nodesep=0.15;\n"
            "  node [shape=Mrecord, fontname=Helvetica, fontsize=11];\n"
            "  edge [fontname=Helvetica, fontsize=10];\n",
            m->name);
    for (unsigned s = 0; s < m->nstates; s++)
        draw_box(m, s, out);
    draw_box(m, FSM_ANY, out);
    for (const struct fsm_row *r = m->rows; r < m->rows + m->nrows; r++) {
        if (is_in_box(m, r) || is_drawn(m, r, same_arrow))
            continue;
        fprintf(out, "  %s -> %s [label=\"", state_name(m, r->state),
                state_name(m, target(r)));
        draw_lines(m, r, out);
        fprintf(out, "\"%s];\n", r->state == FSM_ANY ? ", style=dashed" : "");
    }
    fputs("}\n", out);
}
