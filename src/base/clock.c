#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now_us(clockid_t which)
{
    struct timespec t = { 0, 0 };

    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

static void put_digits(char *to, unsigned value, int width)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
}

size_t clock_rfc3339(char out[CLOCK_RFC3339_MAX], uint64_t wall_us)
{
    time_t sec = (time_t)(wall_us / 1000000u);
    struct tm tm = { 0 };

    memcpy(out, "0000-00-00T00:00:00.000000Z", CLOCK_RFC3339_MAX);
    if (gmtime_r(&sec, &tm) == NULL)
        return CLOCK_RFC3339_MAX - 1;
    put_digits(out, (unsigned)tm.tm_year + 1900, 4);
    put_digits(out + 5, (unsigned)tm.tm_mon + 1, 2);
    put_digits(out + 8, (unsigned)tm.tm_mday, 2);
    put_digits(out + 11, (unsigned)tm.tm_hour, 2);
    put_digits(out + 14, (unsigned)tm.tm_min, 2);
    put_digits(out + 17, (unsigned)tm.tm_sec, 2);
    put_digits(out + 20, (unsigned)(wall_us % 1000000u), 6);
    return CLOCK_RFC3339_MAX - 1;
}

size_t clock_rfc5322(char out[CLOCK_RFC5322_MAX], uint64_t wall_us)
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed",
                                     "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr",
                                        "May", "Jun", "Jul", "Aug",
                                        "Sep", "Oct", "Nov", "Dec" };
    time_t sec = (time_t)(wall_us / 1000000u);
    struct tm tm = { 0 };
    char zone[8] = "+0000";

    localtime_r(&sec, &tm);
    strftime(zone, sizeof zone, "%z", &tm);
    int n = snprintf(out, CLOCK_RFC5322_MAX, "%s, %d %s %d %02d:%02d:%02d %.5s",
                     days[(unsigned)tm.tm_wday % 7], tm.tm_mday,
                     months[(unsigned)tm.tm_mon % 12], tm.tm_year + 1900,
                     tm.tm_hour, tm.tm_min, tm.tm_sec, zone);
    return n < 0 ? 0
                 : (n < CLOCK_RFC5322_MAX ? (size_t)n : CLOCK_RFC5322_MAX - 1);
}
