#include "base/signals.h"

#include "base/os.h"

#include <errno.h>
#include <unistd.h>

enum { SIGNALS_MAX = 65 };

static volatile sig_atomic_t count[SIGNALS_MAX];
static volatile int pipe_in = -1;
static int pipe_out = -1;
static void (*volatile also)(void);

static void on_signal(int signo)
{
    int why = errno;

    count[signo]++;
    if (pipe_in >= 0)
        (void)!write(pipe_in, "", 1);
    void (*fn)(void) = also;
    if (fn != NULL)
        fn();
    errno = why;
}

int signals_catch(const int *signo, size_t n, struct err *e)
{
    int end[2];

    if (pipe_out < 0) {
        if (os_pipe(end) != 0)
            return err_set(e, ERR_TEMP, errno, "make a pipe for signals");
        pipe_out = end[0];
        pipe_in = end[1];
    }
    os_signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < n; i++) {
        count[signo[i]] = 0;
        os_signal(signo[i], on_signal);
    }
    return 0;
}

int signals_fd(void)
{
    return pipe_out;
}

unsigned signals_count(int signo)
{
    return (unsigned)count[signo];
}

unsigned signals_take(int signo)
{
    unsigned n = (unsigned)count[signo];

    if (n > 0)
        count[signo] = 0;
    return n;
}

void signals_block(const int *signo, size_t n, sigset_t *before, sigset_t *wait)
{
    sigset_t block;

    sigemptyset(&block);
    for (size_t i = 0; i < n; i++)
        sigaddset(&block, signo[i]);
    sigprocmask(SIG_BLOCK, &block, before);
    *wait = *before;
    for (size_t i = 0; i < n; i++)
        sigdelset(wait, signo[i]);
}

void signals_call(void (*fn)(void))
{
    also = fn;
}

void signals_forget(void)
{
    os_signal(SIGTERM, SIG_DFL);
    os_signal(SIGINT, SIG_DFL);
    os_signal(SIGHUP, SIG_IGN);
    os_signal(SIGUSR1, SIG_IGN);
    os_signal(SIGCHLD, SIG_DFL);
    also = NULL;
    if (pipe_out >= 0) {
        close(pipe_out);
        close(pipe_in);
    }
    pipe_in = pipe_out = -1;
}
