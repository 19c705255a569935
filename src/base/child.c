#include "base/child.h"

#include "base/clock.h"
#include "base/line.h"
#include "base/os.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

pid_t child_fork(struct child *c, int *end, struct err *e)
{
    int pair[2];

    c->born = clock_mono_ms();
    c->start_at = c->born + CHILD_PAUSE_MS;
    if (line_pair(pair, e) != 0)
        return -1;
    pid_t pid = os_fork();
    if (pid < 0) {
        err_set(e, ERR_TEMP, errno, "fork");
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    close(pair[pid == 0 ? 0 : 1]);
    *end = pair[pid == 0 ? 1 : 0];
    c->pid = pid;
    return pid;
}

void child_serve_only(int end)
{
    static const int not_ours[] = { SIGTERM, SIGINT, SIGHUP };

    for (size_t i = 0; i < sizeof not_ours / sizeof not_ours[0]; i++)
        os_signal(not_ours[i], SIG_IGN);
    os_keep_only(end);
}

void child_ended(struct child *c)
{
    c->pid = 0; /* start_at is in the past unless it died young */
}

void child_replaced(struct child *c)
{
    child_ended(c);
    c->start_at = c->born + CHILD_REPLACE_PAUSE_MS;
}

bool child_is_due(const struct child *c, uint64_t now)
{
    return c->pid == 0 && c->start_at <= now;
}

long child_wait(const struct child *c, uint64_t now, long next)
{
    if (c->pid != 0)
        return next;
    long wait = c->start_at > now ? (long)(c->start_at - now) : 0;
    return next < 0 || wait < next ? wait : next;
}
