#include "send/window.h"

enum { LINE_MS = 1000 };

void window_given(struct window *w, unsigned line)
{
    if (line == 1 || line > w->longest)
        w->longest = line;
}

static void shrink(struct window *w, unsigned line, uint64_t ms)
{
    uint64_t fits = (uint64_t)line * LINE_MS / ms;

    if (fits < WINDOW_MIN)
        fits = WINDOW_MIN;
    if (fits < w->size)
        w->size = (unsigned)fits;
}

/* A short line in time shows nothing of one much longer. */
void window_back(struct window *w, unsigned line, uint64_t ms)
{
    if (ms > LINE_MS)
        shrink(w, line, ms);
    else if (w->size < WINDOW_MAX && w->size < w->longest * 2)
        w->size++;
}
