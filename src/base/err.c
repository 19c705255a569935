#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int err_set(struct err *e, enum err_kind kind, int sys, const char *fmt, ...)
{
    va_list ap;

    if (e == NULL)
        return -1;
    e->kind = kind;
    e->sys = sys;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (sys != 0 && n >= 0 && (size_t)n < sizeof e->text) {
        char why[100];
        if (strerror_r(sys, why, sizeof why) != 0)
            snprintf(why, sizeof why, "error %d", sys);
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", why);
    }
    return -1;
}

bool err_is_full(const struct err *e)
{
    return e->sys == ENOSPC || e->sys == EDQUOT;
}

int err_status(const struct err *e)
{
    return e->kind == ERR_USAGE  ? EX_CONFIG
           : e->kind == ERR_PERM ? EX_NOPERM
           : e->kind == ERR_TEMP ? EX_TEMPFAIL
                                 : EX_SOFTWARE;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
    char old[sizeof e->text];
    va_list ap;

    if (e == NULL)
        return;
    snprintf(old, sizeof old, "%s", e->text);
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof e->text) {
        size_t room = sizeof e->text - (size_t)n;
        snprintf(e->text + n, room, ": %.*s", (int)room - 1, old);
    }
}
