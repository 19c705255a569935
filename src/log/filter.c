/* filter.c - which lines of the log are wanted. */
#include "base/clock.h"
#include "log/line.h"
#include "log/show.h"

#include <string.h>

bool log_filter_is_set(const struct log_filter *f)
{
    return f->id != NULL || f->sid != NULL || f->address != NULL ||
           f->event != NULL || f->since != 0 || f->until != 0;
}

/* An address that the writer has escaped, and perhaps put in brackets. */
static bool is_address(struct span v, const char *want)
{
    size_t n = strlen(want), k = 0;

    if (v.n >= 2 && v.p[0] == '<' && v.p[v.n - 1] == '>')
        v = (struct span){ v.p + 1, v.n - 2 };

    for (size_t i = 0; i < v.n; i++, k++) {
        if (v.p[i] == '\\' && i + 1 < v.n)
            i++;
        if (k == n || ascii_lower(v.p[i]) != ascii_lower(want[k]))
            return false;
    }
    return k == n;
}

/* "192.0.2.1:25" and "[2001:db8::1]:25" are of the host. */
static bool is_host(struct span v, const char *ip)
{
    size_t n = v.n;

    while (n > 0 && v.p[n - 1] != ':')
        n--;
    if (n < 2)
        return false;
    struct span host = { v.p, n - 1 };
    if (host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct span){ host.p + 1, host.n - 2 };
    return span_is_nocase(host, ip);
}

static bool is_address_field(struct span key)
{
    return span_is(key, "from") || span_is(key, "to") ||
           span_is(key, "client") || span_is(key, "address") ||
           span_is(key, "mailbox");
}

static bool is_event(struct span name, const char *want)
{
    size_t n = strlen(want);

    return span_is(name, want) ||
           (name.n > n && name.p[n] == '.' && memcmp(name.p, want, n) == 0 &&
            strchr(want, '.') == NULL);
}

struct found {
    bool id, sid, address, event;
};

static void see(struct found *found, const struct log_filter *f,
                struct span key, struct span value)
{
    if (f->id != NULL && span_is(key, "id"))
        found->id |= span_is(value, f->id);
    else if (f->sid != NULL && span_is(key, "sid"))
        found->sid |= span_is(value, f->sid);
    else if (f->event != NULL && span_is(key, "event"))
        found->event |= is_event(value, f->event);
    else if (f->address != NULL && is_address_field(key))
        found->address |=
            is_address(value, f->address) || is_host(value, f->address);
}

/* All times of the log have one form, so they compare as text. */
static bool in_time(const struct log_filter *f, struct span time)
{
    char text[CLOCK_RFC3339_MAX];

    if (f->since == 0 && f->until == 0)
        return true;
    if (time.n != CLOCK_RFC3339_MAX - 1 || !ascii_is_digit(time.p[0]))
        return false;
    if (f->since != 0) {
        clock_rfc3339(text, f->since);
        if (memcmp(time.p, text, time.n) < 0)
            return false;
    }
    if (f->until == 0)
        return true;
    clock_rfc3339(text, f->until);
    return memcmp(time.p, text, time.n) <= 0;
}

bool log_filter_takes(const struct log_filter *f, struct span line)
{
    struct found found = { f->id == NULL, f->sid == NULL, f->address == NULL,
                           f->event == NULL };
    struct span key, value;
    struct log_line l;

    log_line_begin(&l, line);
    while (log_line_next(&l, &key, &value)) {
        if (span_is(key, "time") && !in_time(f, value))
            return false;
        see(&found, f, key, value);
    }
    return found.id && found.sid && found.address && found.event;
}
