#include "cli/supervise.h"

#include "base/clock.h"
#include "base/os.h"
#include "base/signals.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    /* Died younger: wait before the next start. */
    YOUNG_MS = 2000 + OS_PATIENCE_MS,
    AGAIN_MS = 1000,
    LAST_AGAIN_MS = 50, /* the collector: mail waits for it */
    STOP_WITHIN_MS = 45000,
    LAST_WITHIN_MS = 10000
};

struct running {
    const struct service *service;
    pid_t pid; /* 0: not running */
    uint64_t born, start_at;
    bool was_up; /* lived longer than a failed start does */
};

static bool stopping;

static void become_child(const struct service *s)
{
    int status = s->run(s->ctx);
    fflush(NULL);
    _exit(status);
}

/* The collector hears of a stop only when it can write the last lines: until
 * then SIGTERM would end it at once.  It unblocks what is blocked here. */
static pid_t fork_last(void)
{
    sigset_t ends, old;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, &old);
    pid_t pid = os_fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static void start(struct running *r)
{
    const struct service *s = r->service;

    r->born = clock_mono_ms();
    r->start_at = r->born + AGAIN_MS;
    if (s->wanted != NULL && !s->wanted(s->ctx))
        return;
    fflush(NULL);
    r->pid = s->last ? fork_last() : os_fork();
    if (r->pid == 0)
        become_child(s);
    if (r->pid < 0) {
        fprintf(stderr, "mta: start %s: %s\n", s->name, strerror(errno));
        r->pid = 0;
    }
}

/* Returns the exit status with which the whole ends, or -1 to go on. */
static int note_end(struct running *r, int status)
{
    uint64_t now = clock_mono_ms();
    bool young = now - r->born < YOUNG_MS;

    r->pid = 0;
    r->start_at = !young             ? now
                  : r->service->last ? now + LAST_AGAIN_MS
                                     : now + AGAIN_MS;
    if (stopping)
        return -1;
    if (WIFEXITED(status) &&
        (r->service->ends || (young && !r->was_up && WEXITSTATUS(status) != 0)))
        return WEXITSTATUS(status);
    r->was_up = true;
    if (WIFSIGNALED(status))
        fprintf(stderr, "mta: %s died of signal %d; starting it again\n",
                r->service->name, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "mta: %s ended with status %d; starting it again\n",
                r->service->name, WEXITSTATUS(status));
    return -1;
}

static int reap(struct running *r, size_t n)
{
    int status, end = -1;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < n; i++)
            if (r[i].pid == pid) {
                int code = note_end(&r[i], status);
                end = code >= 0 ? code : end;
            }
    return end;
}

static long start_missing(struct running *r, size_t n)
{
    uint64_t now = clock_mono_ms();
    long next = -1;

    for (size_t i = 0; i < n; i++) {
        if (r[i].pid == 0 && r[i].start_at <= now)
            start(&r[i]);
        if (r[i].pid != 0)
            continue;
        long ms = r[i].start_at > now ? (long)(r[i].start_at - now) : 0;
        next = next < 0 || ms < next ? ms : next;
    }
    return next;
}

static unsigned tell(const struct running *r, size_t n, bool last, int signo)
{
    unsigned alive = 0;

    for (size_t i = 0; i < n; i++)
        if (r[i].pid > 0 && r[i].service->last == last) {
            kill(r[i].pid, signo);
            alive++;
        }
    return alive;
}

static void stop(struct running *r, size_t n, bool last, uint64_t within)
{
    uint64_t until = clock_mono_ms() + within;

    tell(r, n, last, SIGTERM);
    while (tell(r, n, last, 0) > 0) {
        if (clock_mono_ms() >= until)
            tell(r, n, last, SIGKILL);
        os_await(signals_fd(), 100);
        reap(r, n);
    }
}

static void pass_on(struct running *r, size_t n)
{
    if (signals_take(SIGHUP) > 0) {
        for (size_t i = 0; i < n; i++)
            if (r[i].service->reload != NULL)
                r[i].service->reload(r[i].service->ctx);
        tell(r, n, false, SIGHUP);
        tell(r, n, true, SIGHUP);
    }
    if (signals_take(SIGUSR1) > 0)
        tell(r, n, false, SIGUSR1);
}

/* If the collector died just now, another must write the last lines. */
static void start_last(struct running *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].pid == 0 && r[i].service->last)
            start(&r[i]);
}

int supervise(const struct service *s, size_t n)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };
    struct running r[SUPERVISE_MAX];
    int status = -1;
    struct err e;

    memset(r, 0, sizeof r);
    assert(n <= SUPERVISE_MAX);
    for (size_t i = 0; i < n; i++)
        r[i].service = &s[i];
    os_ignore_strays();
    if (signals_catch(ours, sizeof ours / sizeof ours[0], &e) != 0) {
        fprintf(stderr, "mta: %s\n", e.text);
        return EX_OSERR;
    }
    while (signals_count(SIGTERM) + signals_count(SIGINT) == 0 && status < 0) {
        long next = start_missing(r, n);
        os_await(signals_fd(), next);
        pass_on(r, n);
        status = reap(r, n);
    }
    stopping = true;
    start_last(r, n);
    stop(r, n, false, STOP_WITHIN_MS);
    stop(r, n, true, LAST_WITHIN_MS);
    return status < 0 ? EX_OK : status;
}
