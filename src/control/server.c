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
#include <unistd.h>

enum {
    CLIENTS_MAX = 8,
    COMMAND_MAX = 512,
    LINE_TEXT = 1024,
    PIECE_MAX = 16 * 1024,
    IDLE_MS = 10000,
    ACCEPT_AGAIN_MS = 1000, /* when no descriptor is free */
    BACKLOG = 8,
    NAME_TEXT = 32
};

struct control {
    struct loop *loop;
    struct control_service service;
    struct loop_io io;
    struct loop_timer accept_again;
    int dir_fd, lock_fd;
    uid_t owner;
    struct list clients;
    unsigned nclients;
};

struct client {
    struct list link;
    struct control *control;
    uid_t uid;
    struct loop_io io;
    struct loop_timer idle;
    size_t n;
    char line[COMMAND_MAX];

    /* the answer under way */
    bool busy, more;
    struct control_call call;
    char command[COMMAND_MAX];
    size_t piece_n, sent;
    char piece[PIECE_MAX];
};

void control_add(struct buf *answer, const char *fmt, ...)
{
    char line[LINE_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *p = line; *p != '\0'; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    buf_addf(answer, " %s\n", line);
}

bool control_has_room(const struct buf *answer)
{
    return answer->cap - answer->n > 2 * LINE_TEXT;
}

/* --- a connection ------------------------------------------------------ */

static void end_call(struct client *c)
{
    const struct control_service *service = &c->control->service;

    if (c->call.state != NULL && service->end != NULL)
        service->end(service->ctx, &c->call);
    c->call.state = NULL;
    c->busy = c->more = false;
}

static void drop(struct client *c)
{
    end_call(c);
    (void)loop_watch(c->control->loop, &c->io, 0, NULL);
    loop_timer_clear(c->control->loop, &c->idle);
    list_remove(&c->link);
    c->control->nclients--;
    close(c->io.fd);
    free(c);
}

/* The next piece of the answer, with its last line if it is the last one. */
static void make_piece(struct client *c)
{
    const struct control_service *service = &c->control->service;
    struct buf answer = BUF_ON(c->piece);
    struct err e = { ERR_NONE, 0, "" };
    int rc = service->run(service->ctx, &c->call, &answer, &e);

    if (rc == CONTROL_DONE)
        buf_adds(&answer, "ok\n");
    else if (rc < 0)
        buf_addf(&answer, "error: %s\n", e.text);
    if (answer.full) {
        buf_init(&answer, c->piece, sizeof c->piece);
        buf_adds(&answer, "error: the answer is too long\n");
    }
    c->more = rc == CONTROL_MORE && !answer.full;
    c->piece_n = answer.n;
    c->sent = 0;
}

/* False: the connection ends. */
static bool send_piece(struct client *c)
{
    while (c->sent < c->piece_n) {
        ssize_t n = send(c->io.fd, c->piece + c->sent, c->piece_n - c->sent,
                         MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->sent += (size_t)n;
        loop_timer_set(c->control->loop, &c->idle, IDLE_MS);
    }
    return true;
}

/* Take the first whole line of the buffer as the command; false: there is
 * none. */
static bool take_line(struct client *c)
{
    char *end = memchr(c->line, '\n', c->n);

    if (end == NULL)
        return false;
    size_t n = (size_t)(end + 1 - c->line);
    *end = '\0';
    if (end > c->line && end[-1] == '\r')
        end[-1] = '\0';
    memcpy(c->command, c->line, n);
    c->call = (struct control_call){ .command = c->command, .uid = c->uid };
    memmove(c->line, c->line + n, c->n - n);
    c->n -= n;
    return true;
}

/* Carry out whole lines while their answers are taken at once.  One piece is
 * made in a turn of the loop, so that a long answer does not hold up the
 * process; the client that reads slowly waits for itself.  False: the
 * connection ends. */
static bool go_on(struct client *c)
{
    bool made = false;

    for (;;) {
        if (c->busy && !send_piece(c))
            return false;
        if (c->busy && (c->sent < c->piece_n || (c->more && made)))
            return loop_watch(c->control->loop, &c->io, LOOP_WRITE, NULL) == 0;
        if (c->busy && !c->more)
            end_call(c);
        if (!c->busy && !take_line(c))
            break;
        c->busy = made = true;
        make_piece(c);
    }
    (void)loop_watch(c->control->loop, &c->io, LOOP_READ, NULL);
    return c->n < sizeof c->line;
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct client *c = LOOP_ENTRY(io, struct client, io);

    (void)ready;
    if (!c->busy) {
        ssize_t n = recv(io->fd, c->line + c->n, sizeof c->line - c->n, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            drop(c);
            return;
        }
        c->n += (size_t)n;
        loop_timer_set(c->control->loop, &c->idle, IDLE_MS);
    }
    if (!go_on(c))
        drop(c);
}

static void on_idle(struct loop_timer *t)
{
    drop(LOOP_ENTRY(t, struct client, idle));
}

static int serve(struct control *c, int fd, uid_t uid, struct err *e)
{
    struct client *k = calloc(1, sizeof *k);

    if (k == NULL) {
        close(fd);
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a connection");
    }
    k->control = c;
    k->uid = uid;
    k->io = (struct loop_io){ .fd = fd, .fn = on_ready };
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

static bool may_connect(const struct control *c, int fd, uid_t *uid)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    *uid = peer.uid;
    return peer.uid == 0 || peer.uid == c->owner || peer.uid == geteuid();
}

static void on_accept_again(struct loop_timer *t)
{
    struct control *c = LOOP_ENTRY(t, struct control, accept_again);

    (void)loop_watch(c->loop, &c->io, LOOP_READ, NULL); /* fd fits */
}

/* A connection that cannot be accepted stays ready. */
static void be_starved(struct control *c)
{
    (void)loop_watch(c->loop, &c->io, 0, NULL);
    loop_timer_set(c->loop, &c->accept_again, ACCEPT_AGAIN_MS);
}

static void on_connect(struct loop_io *io, unsigned ready)
{
    static const char denied[] = "error: permission denied\n",
                      busy[] = "error: too many connections\n";
    struct control *c = LOOP_ENTRY(io, struct control, io);
    int fd = accept(io->fd, NULL, NULL);
    uid_t uid = (uid_t)-1;

    (void)ready;
    if (fd < 0) {
        if (os_is_short(errno))
            be_starved(c);
        return;
    }
    if (os_nonblock(fd) != 0 || os_cloexec(fd) != 0) {
        close(fd);
    } else if (!may_connect(c, fd, &uid)) {
        (void)!send(fd, denied, sizeof denied - 1, MSG_NOSIGNAL);
        close(fd);
    } else if (c->nclients >= CLIENTS_MAX) {
        (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL);
        close(fd);
    } else {
        (void)serve(c, fd, uid, NULL);
    }
}

/* "control.sock": the name of the service with an ending. */
static const char *file_name(char out[NAME_TEXT], const struct control *c,
                             const char *ending)
{
    snprintf(out, NAME_TEXT, "%s.%s", c->service.name, ending);
    return out;
}

static int take_lock(struct control *c, const char *queue_dir, struct err *e)
{
    struct rundir top, run;
    char name[NAME_TEXT];

    if (rundir_open(&top, queue_dir, e) != 0)
        return -1;
    int rc = rundir_below(&run, &top, "run", e);
    rundir_close(&top);
    if (rc != 0)
        return -1;
    c->dir_fd = run.fd;
    c->owner = run.uid;
    c->lock_fd = rundir_file(&run, file_name(name, c, "lock"), e);
    if (c->lock_fd < 0)
        return -1;
    if (fs_lock(c->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return err_set(e, ERR_TEMP, errno, "lock run/%s", name);
}

static int open_socket(struct control *c, struct err *e)
{
    char name[NAME_TEXT];
    const struct net_unix at = { c->dir_fd, file_name(name, c, "sock"), 0600 };

    c->io.fd = net_listen_unix(&at, BACKLOG, e);
    if (c->io.fd >= 0)
        return 0;
    err_prefix(e, "run");
    return -1;
}

static int new_control(struct control **out, struct loop *l,
                       const struct control_service *service, struct err *e)
{
    struct control *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the control socket");
    c->loop = l;
    c->service = *service;
    c->io = (struct loop_io){ .fd = -1, .fn = on_connect };
    c->accept_again.fn = on_accept_again;
    c->dir_fd = c->lock_fd = -1;
    list_init(&c->clients);
    *out = c;
    return 0;
}

int control_listen(struct control **out, struct loop *l, const char *queue_dir,
                   const struct control_service *service, struct err *e)
{
    struct control *c = NULL;

    if (new_control(&c, l, service, e) != 0)
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
    char name[NAME_TEXT];

    if (*c != NULL && (*c)->io.fd >= 0)
        (void)unlinkat((*c)->dir_fd, file_name(name, *c, "sock"), 0);
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
    loop_timer_clear(c->loop, &c->accept_again);
    int fds[] = { c->io.fd, c->lock_fd, c->dir_fd };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(c);
    *out = NULL;
}
