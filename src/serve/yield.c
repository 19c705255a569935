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

bool rest_is_due(struct rest *r, unsigned ready, bool handshake)
{
    r->singles = ready > 1 ? 0 : r->singles + 1;
    if (handshake)
        r->turns = REST_TURNS;
    else if (r->turns > 0)
        r->turns--;
    return r->turns > 0 && r->singles < REST_SINGLES;
}

void way_give(struct way *w)
{
    if (!way_is_due(w))
        return;
    uint64_t before = clock_mono_us();
    (void)sched_yield();
    way_took(w, clock_mono_us() - before);
}
