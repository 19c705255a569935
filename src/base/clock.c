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

/* The last formatted second, one a thread: most lines of a log and most trace
 * fields share the second of the one before. */
struct last {
    time_t sec;
    size_t n; /* 0: nothing yet */
    char text[CLOCK_RFC5322_MAX];
};
static __thread struct last last_utc, last_local;

static void format_utc(struct last *l, time_t sec)
{
    struct tm tm = { 0 };

    l->sec = sec;
    l->n = sizeof "0000-00-00T00:00:00" - 1;
    memcpy(l->text, "0000-00-00T00:00:00", l->n);
    if (gmtime_r(&sec, &tm) == NULL)
        return;
    put_digits(l->text, (unsigned)tm.tm_year + 1900, 4);
    put_digits(l->text + 5, (unsigned)tm.tm_mon + 1, 2);
    put_digits(l->text + 8, (unsigned)tm.tm_mday, 2);
    put_digits(l->text + 11, (unsigned)tm.tm_hour, 2);
    put_digits(l->text + 14, (unsigned)tm.tm_min, 2);
    put_digits(l->text + 17, (unsigned)tm.tm_sec, 2);
}

size_t clock_rfc3339(char out[CLOCK_RFC3339_MAX], uint64_t wall_us)
{
    time_t sec = (time_t)(wall_us / 1000000u);

    if (last_utc.n == 0 || last_utc.sec != sec)
        format_utc(&last_utc, sec);
    memcpy(out, last_utc.text, last_utc.n);
    memcpy(out + last_utc.n, ".000000Z", sizeof ".000000Z");
    put_digits(out + last_utc.n + 1, (unsigned)(wall_us % 1000000u), 6);
    return CLOCK_RFC3339_MAX - 1;
}

static void format_local(struct last *l, time_t sec)
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed",
                                     "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr",
                                        "May", "Jun", "Jul", "Aug",
                                        "Sep", "Oct", "Nov", "Dec" };
    struct tm tm = { 0 };
    char zone[8] = "+0000";

    localtime_r(&sec, &tm);
    strftime(zone, sizeof zone, "%z", &tm);
    int n =
        snprintf(l->text, sizeof l->text, "%s, %d %s %d %02d:%02d:%02d %.5s",
                 days[(unsigned)tm.tm_wday % 7], tm.tm_mday,
                 months[(unsigned)tm.tm_mon % 12], tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec, zone);
    l->sec = sec;
    l->n = n < 0 ? 0 : (size_t)n;
    if (l->n >= sizeof l->text)
        l->n = sizeof l->text - 1;
}

size_t clock_rfc5322(char out[CLOCK_RFC5322_MAX], uint64_t wall_us)
{
    time_t sec = (time_t)(wall_us / 1000000u);

    if (last_local.n == 0 || last_local.sec != sec)
        format_local(&last_local, sec);
    memcpy(out, last_local.text, last_local.n);
    out[last_local.n] = '\0';
    return last_local.n;
}

/* --- reading -------------------------------------------------------------- */

/* So many digits; *text moves behind them. */
static bool take_digits(const char **text, int n, int *out)
{
    *out = 0;
    for (; n > 0; n--, ++*text) {
        if (**text < '0' || **text > '9')
            return false;
        *out = *out * 10 + (**text - '0');
    }
    return true;
}

static bool take_char(const char **text, char c)
{
    bool is = **text == c;

    *text += is;
    return is;
}

static bool take_date(struct tm *tm, const char **text)
{
    if (!take_digits(text, 4, &tm->tm_year) || !take_char(text, '-') ||
        !take_digits(text, 2, &tm->tm_mon) || !take_char(text, '-') ||
        !take_digits(text, 2, &tm->tm_mday))
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon--;
    return tm->tm_year >= 70 && tm->tm_mon >= 0 && tm->tm_mon < 12 &&
           tm->tm_mday >= 1 && tm->tm_mday <= 31;
}

/* Microseconds; digits behind the sixth do not count. */
static bool take_fraction(unsigned *us, const char **text)
{
    unsigned unit = 100000;

    *us = 0;
    if (!take_char(text, '.'))
        return true;
    if (**text < '0' || **text > '9')
        return false;
    for (; **text >= '0' && **text <= '9'; ++*text, unit /= 10)
        *us += unit * (unsigned)(**text - '0');
    return true;
}

static bool take_time(struct tm *tm, unsigned *us, const char **text)
{
    *us = 0;
    if (**text == '\0')
        return true;
    if (!take_char(text, 'T') && !take_char(text, ' '))
        return false;
    if (!take_digits(text, 2, &tm->tm_hour) || !take_char(text, ':') ||
        !take_digits(text, 2, &tm->tm_min) || tm->tm_hour > 23 ||
        tm->tm_min > 59)
        return false;
    if (!take_char(text, ':'))
        return true;
    return take_digits(text, 2, &tm->tm_sec) && tm->tm_sec <= 60 &&
           take_fraction(us, text);
}

/* Days since 1970 of the proleptic Gregorian calendar. */
static long long days_of(const struct tm *tm)
{
    static const int before[12] = { 0,   31,  59,  90,  120, 151,
                                    181, 212, 243, 273, 304, 334 };
    long long year = tm->tm_year + 1900LL;
    long long leap = tm->tm_mon < 2 ? year - 1 : year;

    return 365 * (year - 1970) + leap / 4 - leap / 100 + leap / 400 - 477 +
           before[tm->tm_mon] + tm->tm_mday - 1;
}

/* Seconds that the zone is ahead of UTC. */
static bool take_zone(long long *ahead, const char **text)
{
    int hours, minutes, sign = **text == '-' ? -1 : 1;

    *ahead = 0;
    if (take_char(text, 'Z'))
        return true;
    if ((!take_char(text, '+') && !take_char(text, '-')) ||
        !take_digits(text, 2, &hours) || !take_char(text, ':') ||
        !take_digits(text, 2, &minutes))
        return false;
    *ahead = sign * (hours * 3600LL + minutes * 60LL);
    return true;
}

bool clock_parse(uint64_t *wall_us, const char *text)
{
    struct tm tm = { .tm_isdst = -1 };
    long long seconds, ahead;
    unsigned us;

    if (!take_date(&tm, &text) || !take_time(&tm, &us, &text))
        return false;
    seconds =
        days_of(&tm) * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    if (*text == '\0')
        seconds = (long long)mktime(&tm);
    else if (take_zone(&ahead, &text))
        seconds -= ahead;
    else
        return false;
    *wall_us = (uint64_t)seconds * 1000000u + us;
    return *text == '\0' && seconds > 0;
}
