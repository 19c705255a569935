/* sendmail_connect.c - the way into the queue: through the socket of a server,
 * or, where none listens, through a session of our own in a child. */
#include "cli/sendmail.h"

#include "base/line.h"
#include "base/os.h"
#include "log/log.h"
#include "log/run.h"
#include "serve/one.h"
#include "spool/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 600 }; /* the longest of RFC 5321 4.5.3.2 */

/* --- the server -------------------------------------------------------- */

/* By the descriptor of the directory, whose path may be longer than that of a
 * socket.  It need not be readable. */
static int dial(int fd, const char *queue_dir)
{
    char path[ADDR_UNIX_MAX + 1];
    struct addr at;

    int dir = open(queue_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d/submit", dir);
    addr_from_path(&at, path);
    int rc = addr_connect(fd, &at);
    int why = errno;
    close(dir);
    errno = why;
    return rc;
}

static int dial_short(int fd, const char *queue_dir)
{
    char path[ADDR_UNIX_MAX + 1];
    struct addr at;

    if (!os_path(path, sizeof path, queue_dir, "submit"))
        return dial(fd, queue_dir);
    addr_from_path(&at, path);
    return addr_connect(fd, &at);
}

/* EINTR: after a stop and SIGCONT, because the socket has a timeout. */
static int dial_again(int fd, const char *queue_dir)
{
    int rc;

    do
        rc = dial_short(fd, queue_dir);
    while (rc != 0 && errno == EINTR);
    return rc;
}

int sendmail_connect(const struct conf *c, struct err *e)
{
    const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd >= 0 && os_cloexec(fd) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ==
            0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ==
            0 &&
        dial_again(fd, c->queue_dir) == 0)
        return fd;
    err_set(e, ERR_TEMP, errno, "connect to %s/submit", c->queue_dir);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- without a server -------------------------------------------------- */

/* A queue that another user makes is one that a server refuses later. */
static bool may_make(const struct conf *c)
{
    uid_t uid = (uid_t)-1;
    gid_t gid;
    struct err e;

    return c->user[0] == '\0' ||
           (os_find_ids(c->user, c->group, &uid, &gid, &e) == 0 &&
            uid == geteuid());
}

bool sendmail_may_write(const struct conf *c)
{
    struct stat st;

    if (geteuid() == 0)
        return true;
    if (stat(c->queue_dir, &st) != 0)
        return errno == ENOENT && may_make(c);
    return st.st_uid == geteuid() || access(c->queue_dir, W_OK) == 0;
}

/* Root becomes the owner of the queue; of one that is still to be made, the
 * user of the settings. */
static int become_owner(const struct conf *c, struct err *e)
{
    char user[24], group[24];
    struct stat st;
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0)
        return spool_dirs_make(c->queue_dir, (uid_t)-1, (gid_t)-1, e);
    if (stat(c->queue_dir, &st) != 0) {
        if (os_find_ids(c->user, c->group, &uid, &gid, e) != 0)
            return -1;
        if (uid == (uid_t)-1)
            return err_set(e, ERR_USAGE, 0, "user is not set: there is no %s",
                           c->queue_dir);
        if (spool_dirs_make(c->queue_dir, uid, gid, e) != 0)
            return -1;
        if (stat(c->queue_dir, &st) != 0)
            return err_set(e, ERR_TEMP, errno, "look at %s", c->queue_dir);
    }
    snprintf(user, sizeof user, "%lu", (unsigned long)st.st_uid);
    snprintf(group, sizeof group, "%lu", (unsigned long)st.st_gid);
    if (os_drop_privileges(user, group, e) != 0)
        return -1;
    return spool_dirs_make(c->queue_dir, (uid_t)-1, (gid_t)-1, e);
}

/* The log has lines only while it has a collector: without one its queue would
 * fill up. */
static void open_log(const struct conf *c)
{
    struct err e;

    if (!log_collector_alive(c->queue_dir) ||
        log_open(c->queue_dir, (enum log_level)c->log.level,
                 (enum log_format)c->log.format, &e) != 0)
        log_style(LOG_ERROR, LOG_TEXT);
}

static int run_session(const struct conf *c, int fd)
{
    uid_t caller = getuid();
    struct err e;

    umask(S_IWGRP | S_IWOTH); /* that of the caller may leave us no rights */
    os_keep_only(fd);
    /* A caller with many files: select() takes low numbers alone. */
    int low = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    if (become_owner(c, &e) != 0) {
        close(low);
        return sendmail_fail(EX_TEMPFAIL, "%s", e.text);
    }
    open_log(c);
    int rc = serve_one(c, low, caller, &e);
    log_close();
    return rc == 0 ? EX_OK : sendmail_fail(EX_TEMPFAIL, "%s", e.text);
}

int sendmail_serve(const struct conf *c, struct err *e)
{
    const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
    int end[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) != 0)
        return err_set(e, ERR_TEMP, errno, "make a pair of sockets");
    (void)os_cloexec(end[0]);
    (void)setsockopt(end[0], SOL_SOCKET, SO_RCVTIMEO, &patience,
                     sizeof patience);
    fflush(NULL);
    pid_t pid = os_fork();
    if (pid == 0) {
        close(end[0]);
        (void)os_nonblock(end[1]);
        _exit(run_session(c, end[1]));
    }
    close(end[1]);
    if (pid > 0)
        return end[0];
    err_set(e, ERR_TEMP, errno, "fork");
    close(end[0]);
    return -1;
}

/* --- -bs --------------------------------------------------------------- */

/* A connection of the network is not a program of this host. */
static bool is_of_network(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
           peer.ss_family != AF_UNIX;
}

/* One direction: what was read waits until it can be written. */
struct way {
    int from, to;
    size_t at, n; /* piece[at .. n) waits */
    char piece[16 * 1024];
};

static struct pollfd next_of(const struct way *w)
{
    return w->at < w->n ? (struct pollfd){ w->to, POLLOUT, 0 }
                        : (struct pollfd){ w->from, POLLIN, 0 };
}

/* A step.  False: the source has ended, or there is no way on. */
static bool move(struct way *w)
{
    ssize_t n;

    if (w->at == w->n) {
        n = read(w->from, w->piece, sizeof w->piece);
        w->at = 0;
        w->n = n > 0 ? (size_t)n : 0;
    } else {
        /* Not for a server that waits until its replies are read. */
        n = w->to == STDOUT_FILENO
                ? write(w->to, w->piece + w->at, w->n - w->at)
                : send(w->to, w->piece + w->at, w->n - w->at, MSG_DONTWAIT);
        w->at += n > 0 ? (size_t)n : 0;
    }
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

int sendmail_relay(int fd)
{
    struct way in = { .from = STDIN_FILENO, .to = fd },
               out = { .from = fd, .to = STDOUT_FILENO };

    if (is_of_network(STDIN_FILENO)) {
        close(fd);
        return sendmail_fail(EX_USAGE, "-bs is for programs of this host: let "
                                       "mta serve listen on the port");
    }
    for (;;) {
        struct pollfd p[] = { next_of(&in), next_of(&out) };
        if (poll(p, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (p[1].revents != 0 && !move(&out))
            break;
        if (p[0].revents != 0 && !move(&in)) {
            (void)shutdown(fd, SHUT_WR); /* the rest of the replies */
            in = (struct way){ .from = -1 };
        }
    }
    close(fd);
    return EX_OK;
}
