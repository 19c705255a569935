#include "mailbox/client.h"

#include "base/clock.h"
#include "mailbox/wire_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_IDLE_MS = 5000, TRIES = 3 };

/* A file that the process has, or gets with the packet that is being filled.
 * While it has it, no other file can have the same inode number. */
struct known_file {
    dev_t dev;
    ino_t ino;
    bool used;
    uint64_t packet; /* the last that needs it, counted from 1 */
    uint64_t when;   /* ms: the last use */
};

struct mailbox_client {
    int fd;
    unsigned out;
    uint64_t packet; /* number of the one being filled */
    bool gone;
    struct known_file file[WIRE_HANDLES];
    struct wire_head head;
    int send[WIRE_FDS]; /* duplicates, for head.open */
    size_t n;           /* octets of requests, behind room for the head */
    unsigned char memory[WIRE_PACKET];
};

union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
};

int mailbox_client_new(struct mailbox_client **cp, int fd, struct err *e)
{
    struct mailbox_client *c = calloc(1, sizeof *c);

    if (c == NULL) {
        close(fd);
        return err_set(e, ERR_TEMP, 0, "no memory for a mailbox process");
    }
    c->fd = fd;
    c->packet = 1;
    *cp = c;
    return 0;
}

static void close_duplicates(struct mailbox_client *c)
{
    for (unsigned i = 0; i < c->head.opens; i++)
        close(c->send[i]);
}

void mailbox_client_free(struct mailbox_client **cp)
{
    struct mailbox_client *c = *cp;

    if (c == NULL)
        return;
    close_duplicates(c);
    close(c->fd);
    free(c);
    *cp = NULL;
}

int mailbox_client_fd(const struct mailbox_client *c)
{
    return c->fd;
}

unsigned mailbox_client_out(const struct mailbox_client *c)
{
    return c->out;
}

/* --- sending -------------------------------------------------------------- */

static void add_descriptors(struct msghdr *m, union control *control,
                            const int *fd, unsigned n)
{
    memset(control, 0, sizeof *control);
    m->msg_control = control;
    m->msg_controllen = CMSG_SPACE(n * sizeof *fd);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof *fd);
    memcpy(CMSG_DATA(c), fd, n * sizeof *fd);
}

/* 0: sent; 1: not now; -1. */
static int send_packet(struct mailbox_client *c, struct err *e)
{
    unsigned char head[WIRE_HEAD_MAX];
    size_t n = wire_put_head(head, &c->head);
    struct iovec v[] = { { head, n }, { c->memory, c->n } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
    union control control;
    ssize_t sent;

    if (c->head.opens > 0)
        add_descriptors(&m, &control, c->send, c->head.opens);
    do
        sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    /* ENOBUFS, ETOOMANYREFS: memory or descriptors in flight are short. */
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ||
                     errno == ETOOMANYREFS))
        return 1;
    if (sent < 0) {
        c->gone = true;
        return err_set(e, ERR_TEMP, errno, "send to a mailbox process");
    }
    close_duplicates(c);
    c->head = (struct wire_head){ 0 };
    c->n = 0;
    c->packet++;
    return 0;
}

static void let_go_of_idle_files(struct mailbox_client *c)
{
    uint64_t now = clock_mono_ms();

    for (unsigned i = 0; i < WIRE_HANDLES; i++) {
        struct known_file *f = &c->file[i];
        if (f->used && f->packet < c->packet && now - f->when > FILE_IDLE_MS) {
            f->used = false;
            c->head.close[c->head.closes++] = (unsigned char)i;
        }
    }
}

int mailbox_client_flush(struct mailbox_client *c, struct err *e)
{
    if (c->gone)
        return err_set(e, ERR_TEMP, 0, "a mailbox process is gone");
    if (c->head.closes == 0)
        let_go_of_idle_files(c);
    if (c->head.requests == 0 && c->head.closes == 0)
        return 0;
    return send_packet(c, e);
}

/* --- the files ------------------------------------------------------------ */

/* The handle of a file the process has, or of one to be given away: one that
 * is free, or has not been used for the longest time, but not one that the
 * packet needs or closes.  -1: none. */
static int choose_handle(const struct mailbox_client *c)
{
    int best = -1;

    for (int i = 0; i < WIRE_HANDLES; i++) {
        const struct known_file *f = &c->file[i];
        if (memchr(c->head.close, i, c->head.closes) != NULL)
            continue;
        if (!f->used)
            return i;
        if (f->packet < c->packet &&
            (best < 0 || f->packet < c->file[best].packet))
            best = i;
    }
    return best;
}

/* The handle for r->body.fd; -1: the packet has no room for its descriptor;
 * -2 with *e. */
static int handle_of(struct mailbox_client *c, int fd, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        err_set(e, ERR_BUG, errno, "look at the file of a body");
        return -2;
    }
    for (int i = 0; i < WIRE_HANDLES; i++)
        if (c->file[i].used && c->file[i].ino == st.st_ino &&
            c->file[i].dev == st.st_dev)
            return i;
    int i = c->head.opens < WIRE_FDS ? choose_handle(c) : -1;
    if (i < 0)
        return -1;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        err_set(e, ERR_TEMP, errno, "duplicate the descriptor of a body");
        return -2;
    }
    c->file[i] =
        (struct known_file){ .dev = st.st_dev, .ino = st.st_ino, .used = true };
    c->send[c->head.opens] = copy;
    c->head.open[c->head.opens++] = (unsigned char)i;
    return i;
}

/* 0: added; 1: the packet is full; -1 with *e. */
static int add(struct mailbox_client *c, const struct mailbox_request *r,
               struct err *e)
{
    const size_t most = sizeof c->memory - WIRE_HEAD_MAX;
    int handle = handle_of(c, r->body.fd, e);

    if (handle < 0)
        return handle == -1 ? 1 : -1;
    size_t n =
        wire_put_request(c->memory + c->n, most - c->n, r, (unsigned)handle);
    if (n == 0)
        return 1;
    c->file[handle].packet = c->packet;
    c->file[handle].when = clock_mono_ms();
    c->n += n;
    c->head.requests++;
    c->out++;
    return 0;
}

int mailbox_client_put(struct mailbox_client *c,
                       const struct mailbox_request *r, struct err *e)
{
    if (c->gone)
        return err_set(e, ERR_TEMP, 0, "a mailbox process is gone");
    if (!mailbox_key_valid(span_of(r->key)) || r->body.chain != NULL ||
        r->reverse_path.n > MAILBOX_ADDRESS_MAX ||
        r->delivered_to.n > MAILBOX_ADDRESS_MAX || r->body.front > r->body.size)
        return err_set(e, ERR_BUG, 0, "not a request to a mailbox process");
    if (c->out >= MAILBOX_WINDOW)
        return 1;
    int rc = add(c, r, e);
    if (rc != 1)
        return rc;
    rc = send_packet(c, e);
    return rc == 0 ? add(c, r, e) : rc;
}

/* --- answers -------------------------------------------------------------- */

/* The length of a packet; 0: there is none; -1: the end. */
static ssize_t receive(struct mailbox_client *c, unsigned char p[WIRE_PACKET])
{
    int tries = 0;
    ssize_t n;

    do
        n = recv(c->fd, p, WIRE_PACKET, MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno != EAGAIN && errno != ECONNRESET &&
           (errno == EINTR || ++tries < TRIES));
    if (n < 0 && errno != ECONNRESET)
        return 0;
    return n <= 0 || n > WIRE_PACKET ? -1 : n;
}

int mailbox_client_take(struct mailbox_client *c, mailbox_answer_fn *fn,
                        void *ctx)
{
    unsigned char packet[WIRE_PACKET];
    struct mailbox_answer a;
    ssize_t n;
    int rc = 0;

    while (!c->gone && (n = receive(c, packet)) != 0) {
        struct wire_reader w = { packet, n < 0 ? 0 : (size_t)n };
        while (n > 0 && (rc = wire_take_answer(&w, &a)) > 0) {
            c->out -= c->out > 0;
            fn(ctx, &a);
        }
        c->gone = n < 0 || rc < 0;
    }
    return c->gone ? -1 : 0;
}
