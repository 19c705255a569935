#include "net/listen.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/un.h>
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
    return err_set(e, why == EACCES ? ERR_PERM : ERR_TEMP, why, "%s %s%s", what,
                   text, hint(why, at));
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

/* Where the working directory cannot be left, because this user could not come
 * back: root has started in /root, and the process became another user. */
static int bind_by_proc(int fd, const struct net_unix *at, const char *name)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int n = snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/%s",
                     at->dir, name);

    if (n < 0 || (size_t)n >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return bind(fd, (const struct sockaddr *)&to, sizeof to);
}

/* In the directory, not by its path, which may be longer than that of a socket
 * can be. */
static int bind_in(int fd, const struct net_unix *at, const char *name)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (before < 0 && errno == EACCES)
        return bind_by_proc(fd, at, name);
    if (!span_copy(to.sun_path, sizeof to.sun_path, span_of(name)))
        errno = ENAMETOOLONG;
    int rc = before >= 0 && to.sun_path[0] != '\0' && fchdir(at->dir) == 0
                 ? bind(fd, (const struct sockaddr *)&to, sizeof to)
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

static int refuse_others(const struct net_unix *at, struct err *e)
{
    struct stat st;

    if (fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        S_ISSOCK(st.st_mode))
        return 0;
    return err_set(e, ERR_PERM, 0,
                   "%s is a link or no socket: remove it, none is followed "
                   "there",
                   at->name);
}

int net_listen_unix(const struct net_unix *at, int backlog, struct err *e)
{
    char draft[NAME_MAX + 1];
    int n = snprintf(draft, sizeof draft, "%s.new", at->name), fd;

    if (n < 0 || (size_t)n >= sizeof draft)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", at->name);
    if (refuse_others(at, e) != 0)
        return -1;
    mode_t mask = umask(0777 & ~at->mode);
    (void)unlinkat(at->dir, draft, 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || fd >= FD_SETSIZE || os_nonblock(fd) != 0 ||
        os_cloexec(fd) != 0 || bind_in(fd, at, draft) != 0 ||
        listen(fd, backlog) != 0 ||
        renameat(at->dir, draft, at->dir, at->name) != 0) {
        err_set(e, ERR_TEMP, fd >= FD_SETSIZE ? EMFILE : errno, "listen on %s",
                at->name);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    umask(mask);
    return fd;
}

/* A client of a Unix socket has no address, but a user. */
static int identify(int fd, struct addr *peer, const struct sockaddr *from)
{
    struct ucred who;
    socklen_t len = sizeof who;

    if (from->sa_family != AF_UNIX) {
        addr_from_sockaddr(peer, from);
        return 0;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return -1;
    addr_from_uid(peer, who.uid, "");
    return 0;
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
    if (identify(fd, peer, (const struct sockaddr *)&from) != 0) {
        close(fd);
        errno = ECONNABORTED;
        return -1;
    }
    return fd;
}
