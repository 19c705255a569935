#include "dns/tcp.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MIN = 12 };

int dns_socket(const struct addr *server, int kind, struct err *e)
{
    int fd = socket(server->u.sa.sa_family, kind, 0);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "make a socket for DNS");
    if (os_nonblock(fd) != 0 || os_cloexec(fd) != 0 ||
        (addr_connect(fd, server) != 0 && errno != EINPROGRESS &&
         errno != EINTR)) {
        err_set(e, ERR_TEMP, errno, "connect to the DNS server");
        close(fd);
        return -1;
    }
    return fd;
}

static void done(struct dns_tcp *t, bool ok, const char *why)
{
    loop_watch(t->loop, &t->io, 0, NULL);
    t->fn(t, ok ? t->msg : NULL, ok ? t->msg_len : 0, why);
}

static bool try_later(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ||
           errno == EINPROGRESS;
}

/* A failed connect() is reported here, as the error of send(). */
static void send_query(struct dns_tcp *t)
{
    ssize_t n = send(t->io.fd, t->query + t->sent, t->query_len - t->sent,
                     MSG_NOSIGNAL);

    if (n < 0 && try_later())
        return;
    if (n < 0) {
        done(t, false, strerror(errno));
        return;
    }
    t->sent += (size_t)n;
    if (t->sent == t->query_len)
        loop_watch(t->loop, &t->io, LOOP_READ, NULL);
}

/* Allocate the message once its length is known; -1: no valid length. */
static int make_message(struct dns_tcp *t)
{
    t->msg_len = (size_t)t->head[0] << 8 | t->head[1];
    if (t->msg_len < MESSAGE_MIN)
        return -1;
    t->msg = malloc(t->msg_len);
    return t->msg == NULL ? -1 : 0;
}

static void read_answer(struct dns_tcp *t)
{
    bool in_head = t->msg == NULL;
    unsigned char *to = in_head ? t->head : t->msg;
    size_t want = in_head ? sizeof t->head : t->msg_len;
    ssize_t n = recv(t->io.fd, to + t->got, want - t->got, 0);

    if (n < 0 && try_later())
        return;
    if (n <= 0) {
        done(t, false, n == 0 ? "TCP closed early" : strerror(errno));
        return;
    }
    t->got += (size_t)n;
    if (t->got < want)
        return;
    t->got = 0;
    if (!in_head)
        done(t, true, "");
    else if (make_message(t) != 0)
        done(t, false, "impossible length over TCP");
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct dns_tcp *t = LOOP_ENTRY(io, struct dns_tcp, io);

    (void)ready; /* only the event that the state needs is watched */
    if (t->sent < t->query_len)
        send_query(t);
    else
        read_answer(t);
}

int dns_tcp_ask(struct dns_tcp *t, struct loop *l, const struct addr *server,
                const unsigned char *query, size_t n, struct err *e)
{
    if (n > DNS_QUERY_BYTES)
        return err_set(e, ERR_BUG, 0, "DNS query of %zu bytes", n);
    t->loop = l;
    t->query[0] = (unsigned char)(n >> 8);
    t->query[1] = (unsigned char)(n & 255);
    memcpy(t->query + 2, query, n);
    t->query_len = n + 2;
    t->sent = t->got = t->msg_len = 0;
    t->msg = NULL;
    t->io.want = 0;
    t->io.fn = on_ready;
    t->io.fd = dns_socket(server, SOCK_STREAM, e);
    if (t->io.fd < 0)
        return -1;
    if (loop_watch(l, &t->io, LOOP_WRITE, e) != 0) {
        close(t->io.fd);
        t->io.fd = -1;
        return -1;
    }
    return 0;
}

void dns_tcp_close(struct dns_tcp *t)
{
    if (t->io.fd < 0)
        return;
    loop_watch(t->loop, &t->io, 0, NULL);
    close(t->io.fd);
    t->io.fd = -1;
    free(t->msg);
    t->msg = NULL;
}
