/* base/err.h - one failure as one small value in the caller's frame.
 *
 * Nothing global (threads), nothing allocated (it must work when memory is
 * the problem).  The kind is what a program acts on, the text is what a
 * person reads: what was attempted and on what, lower case, no full stop.
 * Libraries fill it in and stay silent; an engine or a command reports it. */
#ifndef MTA_BASE_ERR_H
#define MTA_BASE_ERR_H

#include <stdbool.h>

enum err_kind {
    ERR_NONE,
    ERR_TEMP,  /* local and temporary: disk, memory, resolver */
    ERR_PERM,  /* permanent: another try cannot succeed */
    ERR_PROTO, /* the peer broke the protocol */
    ERR_USAGE, /* wrong input from the operator */
    ERR_BUG    /* a bug: state can no longer be trusted */
};

struct err {
    enum err_kind kind;
    int sys; /* errno at the place of failure, or 0 */
    char text[400];
};

/* Fill *e and return -1, so that a failing line reads `return err_set(...)`.
 * With sys != 0 its message is appended after ": ".  e may be NULL. */
int err_set(struct err *e, enum err_kind kind, int sys, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Has the disk, or the quota, no room? */
bool err_is_full(const struct err *e);

/* The exit status, of sysexits.h, of a process that failed with this error. */
int err_status(const struct err *e);

/* Put "what: " in front of the text of an error that is already set. */
void err_prefix(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#endif
