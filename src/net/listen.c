#include "net/listen.h"

#include "base/os.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/select.h>
#include <unistd.h>

static const char *hint(int why, const struct addr *at)
{
    if (why == EADDRINUSE)
        return " (another server has this port; stop it or set serve.listen)";
    if (why == EACCES && addr_port(at) < 1024)
        return " (ports below 1024 need root or CAP_NET_BIND_SERVICE; start "
               "as root with `user` set, or choose a higher port)";
    if (why == EADDRNOTAVAIL)
        return " (no interface of this host has that address)";
    if (why == EAFNOSUPPORT && addr_is_v6(at))
        return " (this system has no IPv6; listen on IPv4 addresses only)";
    return "";
}

static int fail(int fd, const struct addr *at, const char *what, struct err *e)
{
    char text[ADDR_PORT_TEXT];
    int why = errno;

    if (fd >= 0)
        close(fd);
    addr_port_text(text, at);
    return err_set(e, ERR_TEMP, why, "%s %s%s", what, text, hint(why, at));
}

int net_listen(const struct addr *at, int backlog, struct err *e)
{
    int one = 1;
    int fd = socket(at->u.sa.sa_family, SOCK_STREAM, 0);

    if (fd < 0)
        return fail(fd, at, "make a socket for", e);
    if (fd >= FD_SETSIZE) {
        errno = EMFILE;
        return fail(fd, at, "descriptor beyond select() for", e);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (addr_is_v6(at) &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0) ||
        os_nonblock(fd) != 0 || os_cloexec(fd) != 0)
        return fail(fd, at, "prepare a socket for", e);
    /* Accepted sockets inherit it: replies are sent without delay. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (addr_bind(fd, at) != 0)
        return fail(fd, at, "bind", e);
    if (listen(fd, backlog) != 0)
        return fail(fd, at, "listen on", e);
    return fd;
}

int net_accept(int listen_fd, struct addr *peer)
{
    struct sockaddr_storage from;
    int fd;

    do {
        socklen_t len = sizeof from;
        fd = accept4(listen_fd, (struct sockaddr *)&from, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -1;
    if (fd >= FD_SETSIZE) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    addr_from_sockaddr(peer, (struct sockaddr *)&from);
    return fd;
}
