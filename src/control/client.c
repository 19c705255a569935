#include "control/client.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 1, INPUT = 64 * 1024, COMMAND_MAX = 512 };

/* From within run/, whose name may be longer than that of a socket. */
static int connect_below(int fd, const char *queue_dir, const char *name)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char dir[PATH_MAX];
    int run = -1, rc = -1;
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (before < 0)
        return -1;
    snprintf(at.sun_path, sizeof at.sun_path, "%s.sock", name);
    snprintf(dir, sizeof dir, "%s/run", queue_dir);
    run = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (run >= 0 && fchdir(run) == 0)
        rc = connect(fd, (struct sockaddr *)&at, sizeof at);
    int why = errno;
    if (fchdir(before) != 0 && rc == 0) {
        why = errno;
        rc = -1;
    }
    if (run >= 0)
        close(run);
    close(before);
    errno = why;
    return rc;
}

static int dial(const struct control_ask *a)
{
    const struct timeval patience = { .tv_sec = a->patience > 0
                                                    ? (time_t)a->patience
                                                    : PATIENCE_SECONDS };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    if (os_cloexec(fd) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ==
            0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ==
            0 &&
        connect_below(fd, a->queue_dir, a->name) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

enum { ASK_MORE = INT_MIN };

/* Whole lines of the input; *used of it.  ASK_MORE: the answer goes on. */
static int take_lines(const struct control_ask *a, struct span in, size_t *used,
                      struct err *e)
{
    for (*used = 0;;) {
        struct span line = { in.p + *used, in.n - *used };
        size_t n = span_find(line, '\n');
        if (n == line.n)
            return ASK_MORE;
        line.n = n;
        *used += n + 1;
        if (n > 0 && line.p[0] == ' ') {
            int rc = a->fn(a->ctx, (struct span){ line.p + 1, n - 1 });
            if (rc != 0)
                return rc;
        } else if (span_is_nocase(line, "ok")) {
            return 0;
        } else {
            return err_set(e, ERR_TEMP, 0, "%.*s", (int)n, line.p);
        }
    }
}

static int read_answer(const struct control_ask *a, int fd, char *in,
                       struct err *e)
{
    size_t have = 0, used;

    for (;;) {
        ssize_t n = recv(fd, in + have, INPUT - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_TEMP, errno, "answer on run/%s.sock",
                           a->name);
        have += (size_t)n;
        int rc = take_lines(a, (struct span){ in, have }, &used, e);
        if (rc != ASK_MORE)
            return rc;
        memmove(in, in + used, have - used);
        have -= used;
        if (n == 0 || have == INPUT)
            return err_set(e, ERR_TEMP, EPROTO, "answer on run/%s.sock",
                           a->name);
    }
}

/* A process that refuses the connection has closed it, and its answer is there
 * to be read. */
static int give_command(const struct control_ask *a, int fd, struct err *e)
{
    char line[COMMAND_MAX];
    int n = snprintf(line, sizeof line, "%s\n", a->command);

    if (n < 0 || (size_t)n >= sizeof line)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "command");
    if (send(fd, line, (size_t)n, MSG_NOSIGNAL) == n || errno == EPIPE)
        return 0;
    return err_set(e, ERR_TEMP, errno, "command on run/%s.sock", a->name);
}

int control_ask(const struct control_ask *a, struct err *e)
{
    int fd = dial(a), rc = -1;

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "connect to run/%s.sock", a->name);
    char *in = malloc(INPUT);
    if (in == NULL)
        err_set(e, ERR_TEMP, ENOMEM, "memory for an answer");
    else if (give_command(a, fd, e) == 0)
        rc = read_answer(a, fd, in, e);
    free(in);
    close(fd);
    return rc;
}
