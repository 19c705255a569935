#include "base/line.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { TRIES = 3 };

/* Room for one descriptor, aligned as a header of control data must be. */
union fd_control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
};

int line_pair(int end[2], struct err *e)
{
    const int type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

    return socketpair(AF_UNIX, type, 0, end) == 0
               ? 0
               : err_set(e, ERR_TEMP, errno, "make a pair of sockets");
}

int line_send(int line, const char *text, int fd, struct err *e)
{
    union fd_control control;
    struct iovec v = { (char *)(uintptr_t)text, strlen(text) };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
    ssize_t n;

    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do
        n = sendmsg(line, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)v.iov_len ? 0
                                   : err_set(e, ERR_TEMP, n < 0 ? errno : 0,
                                             "send to another process");
}

static int descriptor_of(struct msghdr *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;

    if (c != NULL && c->cmsg_level == SOL_SOCKET &&
        c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

int line_receive(int line, char text[LINE_MAX_TEXT], int *fd)
{
    union fd_control control;
    struct iovec v = { text, LINE_MAX_TEXT - 1 };
    struct msghdr m = { .msg_iov = &v,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control };
    int tries = 0;
    ssize_t n;

    *fd = -1;
    do /* a message must not wait for the next one because memory was short */
        n = recvmsg(line, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno != EAGAIN && errno != ECONNRESET &&
           (errno == EINTR || ++tries < TRIES));
    if (n < 0)
        return errno == ECONNRESET ? -1 : 0;
    if (n == 0)
        return -1;
    text[n] = '\0';
    *fd = descriptor_of(&m);
    return 1;
}
