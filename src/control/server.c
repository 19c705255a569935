#include "control/server.h"

#include "base/fs.h"
#include "base/list.h"
#include "base/os.h"
#include "base/rundir.h"
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 8,
    COMMAND_MAX = 512,
    ANSWER_MAX = 16 * 1024, /* fits the buffer of a local socket */
    IDLE_MS = 10000,
    BACKLOG = 8
};

static const char socket_name[] = "control.sock";
static const char new_name[] = "control.sock.new";

struct control {
    struct loop *loop;
    control_fn *fn;
    void *ctx;
    struct loop_io io;
    int dir_fd, lock_fd;
    uid_t owner;
    struct list clients;
    unsigned nclients;
};

struct client {
    struct list link;
    struct control *control;
    struct loop_io io;
    struct loop_timer idle;
    size_t n;
    char line[COMMAND_MAX];
};

void control_add(struct buf *answer, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *p = line; *p != '\0'; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    buf_addf(answer, " %s\n", line);
}

/* --- a connection ------------------------------------------------------ */

static void drop(struct client *c)
{
    (void)loop_watch(c->control->loop, &c->io, 0, NULL);
    loop_timer_clear(c->control->loop, &c->idle);
    list_remove(&c->link);
    c->control->nclients--;
    close(c->io.fd);
    free(c);
}

/* An answer fits the socket, or its reader does not read: false. */
static bool carry_out(struct client *c, const char *command)
{
    static char memory[ANSWER_MAX]; /* one process, one answer at a time */
    struct buf answer = BUF_ON(memory);
    struct err e = { ERR_NONE, 0, "" };

    if (c->control->fn(c->control->ctx, command, &answer, &e) == 0)
        buf_adds(&answer, "ok\n");
    else
        buf_addf(&answer, "error: %s\n", e.text);
    if (answer.full) {
        buf_init(&answer, memory, sizeof memory);
        buf_adds(&answer, "error: the answer is too long\n");
    }
    return send(c->io.fd, answer.p, answer.n, MSG_NOSIGNAL) ==
           (ssize_t)answer.n;
}

/* All whole lines of the buffer; false: the connection ends. */
static bool take_lines(struct client *c)
{
    char *end;

    while ((end = memchr(c->line, '\n', c->n)) != NULL) {
        size_t n = (size_t)(end + 1 - c->line);
        *end = '\0';
        if (end > c->line && end[-1] == '\r')
            end[-1] = '\0';
        if (!carry_out(c, c->line))
            return false;
        memmove(c->line, c->line + n, c->n - n);
        c->n -= n;
    }
    return c->n < sizeof c->line;
}

static void on_input(struct loop_io *io, unsigned ready)
{
    struct client *c = LOOP_ENTRY(io, struct client, io);
    ssize_t n = recv(io->fd, c->line + c->n, sizeof c->line - c->n, 0);

    (void)ready;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->n += n > 0 ? (size_t)n : 0;
    if (n <= 0 || !take_lines(c))
        drop(c);
    else
        loop_timer_set(c->control->loop, &c->idle, IDLE_MS);
}

static void on_idle(struct loop_timer *t)
{
    drop(LOOP_ENTRY(t, struct client, idle));
}

static int serve(struct control *c, int fd, struct err *e)
{
    struct client *k = calloc(1, sizeof *k);

    if (k == NULL) {
        close(fd);
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a connection");
    }
    k->control = c;
    k->io = (struct loop_io){ .fd = fd, .fn = on_input };
    k->idle.fn = on_idle;
    if (loop_watch(c->loop, &k->io, LOOP_READ, e) != 0) {
        close(fd);
        free(k);
        return -1;
    }
    list_push(&c->clients, &k->link);
    c->nclients++;
    loop_timer_set(c->loop, &k->idle, IDLE_MS);
    return 0;
}

/* --- the socket -------------------------------------------------------- */

static bool may_connect(const struct control *c, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           (peer.uid == 0 || peer.uid == c->owner || peer.uid == geteuid());
}

static void on_connect(struct loop_io *io, unsigned ready)
{
    static const char denied[] = "error: permission denied\n",
                      busy[] = "error: too many connections\n";
    struct control *c = LOOP_ENTRY(io, struct control, io);
    int fd = accept(io->fd, NULL, NULL);

    (void)ready;
    if (fd < 0)
        return;
    if (os_nonblock(fd) != 0 || os_cloexec(fd) != 0) {
        close(fd);
    } else if (!may_connect(c, fd)) {
        (void)!send(fd, denied, sizeof denied - 1, MSG_NOSIGNAL);
        close(fd);
    } else if (c->nclients >= CLIENTS_MAX) {
        (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL);
        close(fd);
    } else {
        (void)serve(c, fd, NULL);
    }
}

/* From within the directory: its name may be longer than that of a socket,
 * and a link in the place of run/ leads nowhere. */
static int bind_here(int fd, int dir_fd)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    memcpy(at.sun_path, new_name, sizeof new_name);
    int rc = before >= 0 && fchdir(dir_fd) == 0
                 ? bind(fd, (struct sockaddr *)&at, sizeof at)
                 : -1;
    int why = errno;
    if (before >= 0) {
        if (fchdir(before) != 0 && rc == 0) {
            why = errno;
            rc = -1;
        }
        close(before);
    }
    errno = why;
    return rc;
}

static int take_lock(struct control *c, const char *queue_dir, struct err *e)
{
    struct rundir top, run;

    if (rundir_open(&top, queue_dir, e) != 0)
        return -1;
    int rc = rundir_below(&run, &top, "run", e);
    rundir_close(&top);
    if (rc != 0)
        return -1;
    c->dir_fd = run.fd;
    c->owner = run.uid;
    c->lock_fd = rundir_file(&run, "control.lock", e);
    if (c->lock_fd < 0)
        return -1;
    if (fs_lock(c->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return err_set(e, ERR_TEMP, errno, "lock run/control.lock");
}

/* The socket gets its name when it listens: a client that finds it is never
 * refused, and one that a killed process left is replaced. */
static int open_socket(struct control *c, struct err *e)
{
    mode_t mask = umask(0177);

    c->io.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)unlinkat(c->dir_fd, new_name, 0);
    int rc = c->io.fd < 0 || os_nonblock(c->io.fd) != 0 ||
                     os_cloexec(c->io.fd) != 0 ||
                     bind_here(c->io.fd, c->dir_fd) != 0 ||
                     listen(c->io.fd, BACKLOG) != 0 ||
                     fs_renameat(c->dir_fd, new_name, socket_name) != 0
                 ? err_set(e, ERR_TEMP, errno, "listen on run/%s", socket_name)
                 : 0;
    umask(mask);
    return rc;
}

static int new_control(struct control **out, struct loop *l, control_fn *fn,
                       void *ctx, struct err *e)
{
    struct control *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the control socket");
    c->loop = l;
    c->fn = fn;
    c->ctx = ctx;
    c->io = (struct loop_io){ .fd = -1, .fn = on_connect };
    c->dir_fd = c->lock_fd = -1;
    list_init(&c->clients);
    *out = c;
    return 0;
}

int control_listen(struct control **out, struct loop *l, const char *queue_dir,
                   control_fn *fn, void *ctx, struct err *e)
{
    struct control *c = NULL;

    if (new_control(&c, l, fn, ctx, e) != 0)
        return -1;
    if (take_lock(c, queue_dir, e) != 0 || open_socket(c, e) != 0 ||
        loop_watch(l, &c->io, LOOP_READ, e) != 0)
        goto out;
    *out = c;
    return 0;
out:
    control_forget(&c);
    return -1;
}

void control_close(struct control **c)
{
    if (*c != NULL && (*c)->io.fd >= 0)
        (void)unlinkat((*c)->dir_fd, socket_name, 0);
    control_forget(c);
}

void control_forget(struct control **out)
{
    struct control *c = *out;

    if (c == NULL)
        return;
    while (!list_empty(&c->clients))
        drop(LIST_ENTRY(c->clients.next, struct client, link));
    (void)loop_watch(c->loop, &c->io, 0, NULL);
    int fds[] = { c->io.fd, c->lock_fd, c->dir_fd };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(c);
    *out = NULL;
}
