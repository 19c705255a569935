#include "mailbox/process.h"

#include "base/clock.h"
#include "mailbox/wire_private.h"
#include "mailbox/work_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { SERVING = -1, TRIES = 3 };

/* A file that bodies are in: held by its handle, and by copies. */
struct mailbox_segment {
    int fd;
    unsigned refs;
};

struct server {
    int fd;
    int status; /* SERVING, or of the exit */
    struct mailbox_work *work;
    struct mailbox_segment *segment[WIRE_HANDLES];
    struct list waiting; /* requests of turns to come */
    unsigned out;        /* requests without an answer */
    uint64_t tried_locks;
    unsigned char packet[WIRE_PACKET];
};

/* --- segments ------------------------------------------------------------- */

static void let_go(struct mailbox_segment **sp)
{
    struct mailbox_segment *s = *sp;

    *sp = NULL;
    if (s != NULL && --s->refs == 0) {
        close(s->fd);
        free(s);
    }
}

/* A pipe or a device could block a read for ever. */
static int take_descriptor(struct server *s, unsigned handle, int fd)
{
    struct mailbox_segment *g = malloc(sizeof *g);
    struct stat st;

    if (g == NULL || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        free(g);
        close(fd);
        return -1;
    }
    let_go(&s->segment[handle]);
    *g = (struct mailbox_segment){ fd, 1 };
    s->segment[handle] = g;
    return 0;
}

/* --- requests ------------------------------------------------------------- */

/* Room for the descriptors of a packet, and one more to know of too many. */
union control {
    struct cmsghdr align;
    char room[CMSG_SPACE((WIRE_FDS + 1) * sizeof(int))];
};

/* All descriptors of the message; the number, or -1: others came. */
static int descriptors_of(struct msghdr *m, int fd[WIRE_FDS + 1])
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);

    if (c == NULL)
        return 0;
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return -1;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (n > WIRE_FDS)
        return -1; /* the exit closes them */
    memcpy(fd, CMSG_DATA(c), n * sizeof(int));
    return (int)n;
}

static void drop_copy(struct box_copy *c)
{
    let_go(&c->segment);
    free(c);
}

static struct box_copy *new_copy(struct mailbox_request *r,
                                 struct mailbox_segment *segment)
{
    r->body.fd = segment->fd;
    struct box_copy *c = box_copy_new(r);

    if (c != NULL) {
        c->segment = segment;
        segment->refs++;
    }
    return c;
}

/* Nothing of a malformed packet is done: its requests wait apart until all of
 * it has been read. */
static int take_requests(struct server *s, struct wire_reader *w, unsigned n)
{
    struct mailbox_request r;
    struct list fresh;
    unsigned handle;
    int rc = s->out + n > MAILBOX_WINDOW ? EX_PROTOCOL : SERVING;

    list_init(&fresh);
    for (unsigned i = 0; i < n && rc == SERVING; i++) {
        struct box_copy *c = NULL;
        if (wire_take_request(w, &r, &handle) != 0 ||
            s->segment[handle] == NULL)
            rc = EX_PROTOCOL;
        else if ((c = new_copy(&r, s->segment[handle])) == NULL)
            rc = EX_OSERR;
        else
            list_push(&fresh, &c->link);
    }
    if (rc == SERVING && w->n > 0)
        rc = EX_PROTOCOL;
    if (rc == SERVING) {
        list_splice(&s->waiting, &fresh);
        s->out += n;
    }
    for (struct list *l; (l = list_pop(&fresh)) != NULL;)
        drop_copy(LIST_ENTRY(l, struct box_copy, link));
    return rc;
}

static int take_packet(struct server *s, size_t n, int *fd, int nfd)
{
    struct wire_reader w = { s->packet, n };
    struct wire_head h;
    int rc = SERVING;

    if (nfd < 0 || wire_take_head(&w, &h) != 0 || h.opens != (unsigned)nfd) {
        for (int i = 0; i < nfd; i++)
            close(fd[i]);
        return EX_PROTOCOL;
    }
    for (unsigned i = 0; i < h.opens; i++)
        if (take_descriptor(s, h.open[i], fd[i]) != 0)
            rc = EX_PROTOCOL;
    if (rc == SERVING)
        rc = take_requests(s, &w, h.requests);
    for (unsigned i = 0; i < h.closes; i++)
        let_go(&s->segment[h.close[i]]);
    return rc;
}

/* One packet.  False: there is none, or the process ends. */
static bool receive(struct server *s)
{
    union control control;
    struct iovec v = { s->packet, sizeof s->packet };
    struct msghdr m = { .msg_iov = &v,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control };
    int fd[WIRE_FDS + 1], tries = 0;
    ssize_t n;

    do
        n = recvmsg(s->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno != EAGAIN && errno != ECONNRESET &&
           (errno == EINTR || ++tries < TRIES));
    if (n < 0 && errno != ECONNRESET)
        return false;
    if (n <= 0)
        s->status = 0;
    else if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        s->status = EX_PROTOCOL;
    else
        s->status = take_packet(s, (size_t)n, fd, descriptors_of(&m, fd));
    return s->status == SERVING;
}

/* --- answers -------------------------------------------------------------- */

/* deliver reads its answers before all else, so a wait for room is short. */
static void send_packet(struct server *s, const unsigned char *p, size_t n)
{
    ssize_t sent;

    while ((sent = send(s->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0) {
        struct pollfd room = { s->fd, POLLOUT, 0 };
        if (errno == EAGAIN)
            poll(&room, 1, -1);
        else if (errno == ENOBUFS || errno == ENOMEM)
            poll(NULL, 0, BOX_LOCK_MS);
        else if (errno != EINTR)
            break;
    }
    if (sent < 0)
        s->status = 0; /* the other end is closed */
}

static void send_answers(void *ctx)
{
    struct server *s = ctx;
    size_t n = 0;
    struct list *l;

    while (s->status == SERVING && (l = list_pop(&s->work->answered)) != NULL) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        size_t part =
            wire_put_answer(s->packet + n, sizeof s->packet - n, &c->answer);
        if (part == 0) {
            send_packet(s, s->packet, n);
            n = 0;
            part = wire_put_answer(s->packet, sizeof s->packet, &c->answer);
        }
        n += part;
        s->out--;
        drop_copy(c);
    }
    if (n > 0 && s->status == SERVING)
        send_packet(s, s->packet, n);
}

/* --- the loop ------------------------------------------------------------- */

static void take_turn(struct server *s)
{
    uint64_t octets = 0;
    struct list *l;

    for (unsigned n = 0; n < BOX_TURN_COPIES && octets < BOX_TURN_OCTETS &&
                         (l = list_pop(&s->waiting)) != NULL;
         n++) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        octets += c->r.body.size;
        mailbox_work_add(s->work, c);
    }
    mailbox_work_turn(s->work);
}

static void wait_for_work(struct server *s)
{
    struct pollfd in = { s->fd, POLLIN, 0 };
    struct err e;

    (void)identity_root(&s->work->ids, &e);
    mailbox_work_step(s->work, MAILBOX_IDLE, 0);
    poll(&in, 1, list_empty(&s->work->locked) ? -1 : BOX_LOCK_MS);
}

static void serve(struct server *s)
{
    while (s->status == SERVING) {
        while (receive(s))
            ;
        if (s->status != SERVING)
            return;
        uint64_t now = clock_mono_ms();
        if (!list_empty(&s->work->locked) &&
            now - s->tried_locks >= BOX_LOCK_MS) {
            mailbox_work_locked(s->work);
            s->tried_locks = now;
        }
        if (!list_empty(&s->waiting))
            take_turn(s);
        else if (!list_empty(&s->work->turn))
            mailbox_work_settle(s->work);
        if (s->work->ids.lost)
            s->status = EX_OSERR;
        else if (s->work->replaced)
            s->status = EX_OK; /* its successor gets what has no answer */
        else if (!list_empty(&s->work->answered))
            send_answers(s);
        else if (list_empty(&s->waiting) && list_empty(&s->work->turn))
            wait_for_work(s);
    }
}

static void close_all(struct server *s)
{
    struct mailbox_work *w = s->work;
    struct list *l;

    list_splice(&s->waiting, &w->answered);
    for (l = w->recent.next; l != &w->recent; l = l->next)
        list_splice(&s->waiting, &LIST_ENTRY(l, struct box, recent)->copies);
    list_splice(&s->waiting, &w->answered);
    while ((l = list_pop(&s->waiting)) != NULL)
        drop_copy(LIST_ENTRY(l, struct box_copy, link));
    for (unsigned i = 0; i < WIRE_HANDLES; i++)
        let_go(&s->segment[i]);
    mailbox_work_free(&s->work);
}

int mailbox_run(int fd, const struct conf *c, struct mailbox_progress *p,
                mailbox_confine_fn *confine)
{
    struct server *s = calloc(1, sizeof *s);
    int status = EX_OSERR;
    struct err e;

    if (s == NULL)
        goto out;
    s->fd = fd;
    s->status = SERVING;
    list_init(&s->waiting);
    umask(0);
    if (mailbox_work_new(&s->work, c, p, &e) != 0)
        goto out;
    s->work->answer = send_answers;
    s->work->answer_ctx = s;
    if (mailbox_work_drop(s->work, &e) != 0)
        s->status = EX_NOPERM;
    else if (confine != NULL)
        s->work->confined = confine(c, p);
    serve(s);
    status = s->status;
    close_all(s);
out:
    free(s);
    close(fd);
    return status;
}
