/* base/stop.h - how long a stop takes: the setting stop_timeout, and what
 * derives from it.
 *
 * Transactions in hand have stop_timeout T.  Each process that waits for
 * another gives it STOP_STEP_MS more than that one needs, so a healthy
 * process always ends by itself before it is killed:
 *
 *   worker, sender   T       transactions in hand; replies to their clients
 *   deliver          T       copies in hand
 *   masters          T + 1   wait for their processes, then SIGKILL
 *   supervisor       T + 2   waits for the services, then SIGKILL
 *   collector        T + 1   waits for writers that stop without supervisor
 *
 * with a step of 500 ms.  The supervisor signals the collector when the
 * others have ended: it has only the rest of the lines to write, and so one
 * step, one more from a second signal on (now), then SIGKILL.  In all T and
 * four steps: with the default of 8 s a stop takes 10 s at the most, as long
 * as container managers wait. */
#ifndef MTA_BASE_STOP_H
#define MTA_BASE_STOP_H

#include <stdint.h>

enum { STOP_STEP_MS = 500 };

/* ms, for a timeout in seconds and so many steps of the table above. */
static inline uint64_t stop_ms(long long timeout, unsigned steps)
{
    return (uint64_t)timeout * 1000 + steps * STOP_STEP_MS;
}
#endif
