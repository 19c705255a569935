#include "send/token.h"

#include "base/line.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds without a pair after which it ends: a failed call has lost the pair,
 * and each start gets another one. */
enum { ALONE_SECONDS = 10 };

struct token {
    const struct conf *conf;
    struct loop *loop;
    struct loop_io signal_io, line, pair, output;
    struct loop_timer late, alone;
    bool over;       /* the supervisor has ended, or the only asker */
    bool is_alone;   /* no sender can ask */
    pid_t pid;       /* of the program; 0: it does not run */
    bool ended;      /* it has, and its pid is still its own */
    const char *why; /* it is given up; NULL: it is not */
    size_t n;
    char text[SASL_TOKEN_MAX + 2]; /* more than a token and a newline */
};

static const char *path_of(const struct token *t)
{
    return t->conf->send.relay_token.path;
}

/* --- the program ---------------------------------------------------------- */

/* In the child, which is a process group of its own. */
static void become_program(const struct token *t, int out)
{
    static const char *const environment[] = {
        "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C", NULL
    };
    const struct rlimit none = { 0, 0 };
    const char *const argv[] = { path_of(t), NULL };
    sigset_t empty;

    sigemptyset(&empty);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    os_signal(SIGPIPE, SIG_DFL);
    os_signal(SIGCHLD, SIG_DFL);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0 || chdir("/") != 0)
        _exit(126);
    setrlimit(RLIMIT_CORE, &none);
    os_keep_only(STDERR_FILENO);
    execve(path_of(t), (char *const *)(uintptr_t)argv,
           (char *const *)(uintptr_t)environment);
    _exit(127);
}

static int start(struct token *t, struct err *e)
{
    int end[2];

    t->n = 0;
    t->ended = false;
    t->why = NULL;
    if (access(path_of(t), X_OK) != 0)
        return err_set(e, ERR_USAGE, errno, "run %s", path_of(t));
    if (os_pipe(end) != 0)
        return err_set(e, ERR_TEMP, errno, "pipe for %s", path_of(t));
    int flags = fcntl(end[1], F_GETFL);
    (void)fcntl(end[1], F_SETFL, flags & ~O_NONBLOCK);
    t->pid = os_fork();
    if (t->pid == 0)
        become_program(t, end[1]);
    close(end[1]);
    if (t->pid < 0) {
        t->pid = 0;
        close(end[0]);
        return err_set(e, ERR_TEMP, errno, "fork for %s", path_of(t));
    }
    setpgid(t->pid, t->pid);
    t->output.fd = end[0];
    loop_timer_set(t->loop, &t->late, TOKEN_SECONDS * 1000);
    if (loop_watch(t->loop, &t->output, LOOP_READ, e) == 0)
        return 0;
    close(t->output.fd);
    t->output.fd = -1;
    t->why = "no room for its output";
    kill(-t->pid, SIGKILL); /* its end is reported by SIGCHLD */
    return 0;
}

static void close_output(struct token *t)
{
    if (t->output.fd < 0)
        return;
    (void)loop_watch(t->loop, &t->output, 0, NULL);
    close(t->output.fd);
    t->output.fd = -1;
}

static void give_up(struct token *t, const char *why)
{
    t->why = why;
    close_output(t);
    if (!t->ended)
        kill(-t->pid, SIGKILL);
}

/* --- the answer ----------------------------------------------------------- */

static void answer(struct token *t, char kind, struct span text)
{
    char message[TOKEN_ANSWER_MAX];

    message[0] = kind;
    memcpy(message + 1, text.p, text.n);
    if (t->pair.fd >= 0)
        (void)send(t->pair.fd, message, text.n + 1, MSG_NOSIGNAL);
    explicit_bzero(message, sizeof message);
}

static void refuse(struct token *t, const char *why)
{
    char text[200];

    snprintf(text, sizeof text, "token command %.100s: %.80s", path_of(t), why);
    answer(t, TOKEN_BAD, span_of(text));
}

static struct span first_line(const struct token *t)
{
    struct span all = { t->text, t->n };

    all.n = span_find(all, '\n');
    all.n -= all.n > 0 && all.p[all.n - 1] == '\r';
    return span_trim(all);
}

/* What it left running goes with it: until the program is waited for, nothing
 * else can have the number of its process group. */
static int status_of(struct token *t)
{
    int status = 0;

    kill(-t->pid, SIGKILL);
    while (waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
        ;
    t->pid = 0;
    return status;
}

/* It has ended, and so has its output. */
static void finish(struct token *t)
{
    struct span token = first_line(t);
    int status = status_of(t);
    char text[40];

    loop_timer_clear(t->loop, &t->late);
    if (t->why != NULL) {
        refuse(t, t->why);
    } else if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "died of signal %d", WTERMSIG(status));
        refuse(t, text);
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(status));
        refuse(t, text);
    } else if (token.n == 0) {
        refuse(t, "it printed no token");
    } else {
        answer(t, TOKEN_GOOD, token);
    }
    explicit_bzero(t->text, sizeof t->text);
}

static void see_end(struct token *t)
{
    siginfo_t end = { .si_pid = 0 };

    if (t->pid > 0 && !t->ended &&
        waitid(P_PID, (id_t)t->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        end.si_pid == t->pid)
        t->ended = true;
    if (t->pid > 0 && t->ended && t->output.fd < 0)
        finish(t);
}

static void on_output(struct loop_io *io, unsigned ready)
{
    struct token *t = LOOP_ENTRY(io, struct token, output);

    (void)ready;
    ssize_t n = read(io->fd, t->text + t->n, sizeof t->text - t->n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        t->n += (size_t)n;
        if (t->n == sizeof t->text)
            give_up(t, "it printed more than a token may have");
    } else {
        close_output(t);
    }
    see_end(t);
}

/* Again each second until the program is gone, because the word of its end may
 * be lost. */
static void on_late(struct loop_timer *timer)
{
    struct token *t = LOOP_ENTRY(timer, struct token, late);

    give_up(t, "it took longer than 30 s");
    see_end(t);
    if (t->pid > 0)
        loop_timer_set(t->loop, &t->late, 1000);
}

/* --- events --------------------------------------------------------------- */

static bool must_stop(const struct token *t)
{
    return t->over || signals_count(SIGTERM) + signals_count(SIGINT) > 0;
}

static void on_signal(struct loop_io *io, unsigned ready)
{
    struct token *t = LOOP_ENTRY(io, struct token, signal_io);

    (void)ready;
    os_drain(io->fd);
    (void)signals_take(SIGCHLD);
    see_end(t);
}

static void drop_pair(struct token *t)
{
    if (t->pair.fd < 0)
        return;
    (void)loop_watch(t->loop, &t->pair, 0, NULL);
    close(t->pair.fd);
    t->pair.fd = -1;
    t->over |= t->line.fd < 0; /* no other pair will come */
    loop_timer_set(t->loop, &t->alone, ALONE_SECONDS * 1000);
}

static void on_alone(struct loop_timer *timer)
{
    LOOP_ENTRY(timer, struct token, alone)->is_alone = true;
}

/* One program at a time: its token answers all questions before its end. */
static void on_question(struct loop_io *io, unsigned ready)
{
    struct token *t = LOOP_ENTRY(io, struct token, pair);
    char question[8];
    struct err e;

    (void)ready;
    ssize_t n = recv(io->fd, question, sizeof question, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        drop_pair(t);
    else if (t->pid == 0 && start(t, &e) != 0)
        answer(t, TOKEN_BAD, (struct span){ e.text, strnlen(e.text, 190) });
}

static void take_pair(struct token *t, int fd)
{
    struct err e;

    drop_pair(t);
    t->pair.fd = fd;
    if (loop_watch(t->loop, &t->pair, LOOP_READ, &e) == 0)
        loop_timer_clear(t->loop, &t->alone);
    else
        drop_pair(t); /* which the sender sees, and reports */
}

/* The only descriptor that comes is an end of a pair. */
static void on_line(struct loop_io *io, unsigned ready)
{
    struct token *t = LOOP_ENTRY(io, struct token, line);
    char message[LINE_MAX_TEXT];
    int fd, rc;

    (void)ready;
    while ((rc = line_receive(io->fd, message, &fd)) > 0)
        if (fd >= 0 && strcmp(message, "pair") == 0)
            take_pair(t, fd);
        else if (fd >= 0)
            close(fd);
    t->over |= rc < 0;
}

static int open_loop(struct token *t, int line, struct err *e)
{
    static const int ours[] = { SIGTERM, SIGINT, SIGCHLD, SIGUSR1 };

    if (loop_new(&t->loop, NULL, e) != 0 ||
        signals_catch(ours, sizeof ours / sizeof ours[0], e) != 0)
        return -1;
    t->signal_io = (struct loop_io){ .fd = signals_fd(), .fn = on_signal };
    t->line = (struct loop_io){ .fd = line, .fn = on_line };
    t->pair = (struct loop_io){ .fd = -1, .fn = on_question };
    t->output = (struct loop_io){ .fd = -1, .fn = on_output };
    t->late.fn = on_late;
    t->alone.fn = on_alone;
    loop_timer_set(t->loop, &t->alone, ALONE_SECONDS * 1000);
    if (loop_watch(t->loop, &t->signal_io, LOOP_READ, e) != 0)
        return -1;
    return line < 0 ? 0 : loop_watch(t->loop, &t->line, LOOP_READ, e);
}

static void confine(const struct conf *c, struct sandbox_report *report)
{
    const struct sandbox_paths paths = { .queue_dir = c->queue_dir };

    sandbox_enter(SANDBOX_TOKEN, &paths, report);
}

static int work(struct token *t, struct err *e)
{
    while (!must_stop(t) && !t->is_alone)
        if (loop_turn(t->loop, -1, e) < 0)
            return -1;
    return t->is_alone && !must_stop(t)
               ? err_set(e, ERR_TEMP, 0, "no connection with a sender for %d s",
                         ALONE_SECONDS)
               : 0;
}

static void end(struct token *t)
{
    if (t->pid > 0)
        kill(-t->pid, SIGKILL);
    loop_free(&t->loop);
}

int token_run(const struct conf *c, int line, struct err *e)
{
    static struct token t;
    struct sandbox_report report;
    int rc = -1;

    t.conf = c;
    if (os_drop_privileges(c->user, c->group, e) == 0 &&
        log_open(c->queue_dir, (enum log_level)c->log.level,
                 (enum log_format)c->log.format, e) == 0 &&
        open_loop(&t, line, e) == 0) {
        confine(c, &report);
        log_sandbox(&report);
        log_flush();
        log_close(); /* it reports to the sender alone */
        rc = work(&t, e);
    }
    end(&t);
    return rc;
}

int token_answer(const struct conf *c, int pair, struct err *e)
{
    static struct token t;
    struct sandbox_report report;
    int rc = -1;

    t.conf = c;
    if (os_drop_privileges(c->user, c->group, e) == 0 &&
        open_loop(&t, -1, e) == 0) {
        take_pair(&t, pair);
        confine(c, &report);
        rc = work(&t, e);
    } else {
        t.pair.fd = pair;
        answer(&t, TOKEN_BAD, (struct span){ e->text, strnlen(e->text, 190) });
    }
    end(&t);
    return rc;
}

int token_check(const struct conf *c, struct err *e)
{
    const struct conf_token *k = &c->send.relay_token;
    struct stat st;

    if (k->source != CONF_TOKEN_COMMAND)
        return 0;
    if (stat(k->path, &st) != 0)
        err_set(e, ERR_USAGE, errno, "%s", k->path);
    else if (!S_ISREG(st.st_mode) ||
             (st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0)
        err_set(e, ERR_USAGE, 0, "%s is no program", k->path);
    else if ((st.st_mode & S_IWOTH) != 0)
        err_set(e, ERR_USAGE, 0, "everybody may write to %s", k->path);
    else
        return 0;
    return conf_fault(c, "send.relay_token", e);
}
