/* pace_rate.c - additive increase, multiplicative decrease. */
#include "send/pace_rate.h"

enum {
    STEPS = 32,   /* good minutes that add what was too much */
    ROW_MAX = 32, /* of signs, of stops */
    STOPPED_MIN = 60,
    MINUTE_US = 60000000,
    SECOND_US = 1000000
};

static uint32_t at_least(uint32_t n, uint32_t min)
{
    return n > min ? n : min;
}

static uint32_t at_most(uint32_t n, uint32_t max)
{
    return n < max ? n : max;
}

/* min, doubled with each in a row. */
static uint32_t doubled(uint32_t min, uint32_t max, uint32_t row)
{
    while (row-- > 1 && min < max)
        min *= 2;
    return at_most(min, max);
}

static uint32_t was(const struct pace_rate *r, uint32_t recent)
{
    return r->rate > 0 ? r->rate : at_most(recent, PACE_RATE_MAX);
}

uint32_t pace_pause(struct pace_rate *r, uint32_t named)
{
    r->signs = at_most(r->signs + 1, ROW_MAX);
    uint32_t pause = doubled(PACE_PAUSE_MIN, PACE_PAUSE_MAX, r->signs);
    return at_least(pause, at_most(named, PACE_PAUSE_MAX));
}

uint32_t pace_slow(struct pace_rate *r, uint32_t recent, uint32_t named)
{
    r->too_much = at_least(was(r, recent), 2);
    r->rate = r->too_much / 2;
    return pace_pause(r, named);
}

void pace_fewer(struct pace_rate *r, uint32_t open, bool halve)
{
    r->too_many = at_least(at_most(open, PACE_SESSIONS_MAX), 2);
    r->sessions = halve ? r->too_many / 2 : r->too_many - 1;
}

/* At least two hours of good minutes lift what it leaves. */
uint32_t pace_stop(struct pace_rate *r, uint32_t recent)
{
    r->too_much = at_least(at_least(was(r, recent), r->too_much), STOPPED_MIN);
    r->too_many = at_least(r->too_many, 2);
    r->rate = r->sessions = 1;
    r->stops = at_most(r->stops + 1, ROW_MAX);
    return doubled(PACE_STOP_MIN, PACE_STOP_MAX, r->stops);
}

bool pace_was_used(const struct pace_rate *r, uint32_t taken)
{
    return taken > 0 && taken >= r->rate / 2;
}

void pace_grow(struct pace_rate *r)
{
    r->signs = 0;
    if (r->rate > 0)
        r->rate += at_least(r->too_much / STEPS, 1);
    if (r->rate >= 2 * r->too_much)
        r->rate = r->too_much = 0;
    if (r->sessions > 0)
        r->sessions++;
    if (r->sessions >= 2 * r->too_many)
        r->sessions = r->too_many = 0;
    if (!pace_is_limited(r))
        r->stops = 0;
}

bool pace_is_limited(const struct pace_rate *r)
{
    return r->rate > 0 || r->sessions > 0;
}

bool pace_is_sane(const struct pace_rate *r)
{
    return r->too_much <= PACE_RATE_MAX && r->rate <= 2 * r->too_much &&
           r->too_many <= PACE_SESSIONS_MAX && r->sessions <= 2 * r->too_many &&
           r->signs <= ROW_MAX && r->stops <= ROW_MAX;
}

/* --- one message after the other (a "generic cell rate algorithm") -------- */

static uint64_t interval(const struct pace_rate *r)
{
    return r->rate > 0 ? MINUTE_US / r->rate : 0;
}

uint64_t pace_when(const struct pace_rate *r, uint64_t next)
{
    uint64_t gap = interval(r), ahead = gap < SECOND_US ? SECOND_US - gap : 0;

    return r->rate == 0 || next < ahead ? 0 : next - ahead;
}

bool pace_may(const struct pace_rate *r, uint64_t next, uint64_t now)
{
    return pace_when(r, next) <= now;
}

uint64_t pace_after(const struct pace_rate *r, uint64_t next, uint64_t now)
{
    return (next > now ? next : now) + interval(r);
}

uint64_t pace_back(const struct pace_rate *r, uint64_t next)
{
    uint64_t gap = interval(r);

    return next > gap ? next - gap : 0;
}
