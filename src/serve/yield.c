#include "serve/yield.h"

#include "base/clock.h"

#include <sched.h>

bool way_is_due(struct way *w)
{
    if (w->left == 0)
        return true;
    w->left--;
    return false;
}

void way_took(struct way *w, uint64_t us)
{
    if (us < WAY_DEAR_US)
        w->score -= w->score > 0;
    else if (w->score + WAY_SCORE <= WAY_SCORE_MOST)
        w->score += WAY_SCORE;
    w->left = w->score > WAY_SCORE ? w->score * w->score / WAY_SCORE : 0;
}

void way_give(struct way *w)
{
    if (!way_is_due(w))
        return;
    uint64_t before = clock_mono_us();
    (void)sched_yield();
    way_took(w, clock_mono_us() - before);
}
