#include "cli/listeners.h"

#include "base/os.h"
#include "base/rundir.h"
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024, FOR_ALL_USERS = 0666 };

/* Of the socket below queue_dir, which is never renamed while it is in use. */
static const char submit[] = "submit";

static int socket_at(const struct listeners *l, const struct addr *a)
{
    for (size_t i = 0; l != NULL && i < l->n; i++)
        if (l->item[i].fd >= 0 && addr_eq(&l->item[i].at, a))
            return l->item[i].fd;
    return -1;
}

/* --- Unix sockets --------------------------------------------------------- */

/* The directory of the socket.  queue_dir belongs to the service user, and
 * could be a link by now; the others are the operator's. */
static int open_dir(const struct conf *c, const struct addr *at, struct err *e)
{
    const char *path = at->u.local.path, *name = os_base_name(path);
    struct rundir top;
    char dir[PATH_MAX];

    if (path == submit)
        return rundir_open(&top, c->queue_dir, e) == 0 ? top.fd : -1;
    size_t n = (size_t)(name - path);
    (void)span_copy(dir, sizeof dir, (struct span){ path, n });
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set(e, ERR_TEMP, errno, "open %s", dir);
}

static int bind_unix(const struct conf *c, const struct addr *at,
                     struct fs_identity *file, struct err *e)
{
    int dir = open_dir(c, at, e);
    struct net_unix to = { dir, os_base_name(at->u.local.path), FOR_ALL_USERS };

    if (dir < 0)
        return -1;
    int fd = net_listen_unix(&to, BACKLOG, e);
    if (fd >= 0)
        (void)fs_is_same(file, dir, to.name);
    else
        err_prefix(e, "unix:%s", at->u.local.path);
    close(dir);
    return fd;
}

static void remove_name(struct listeners *l, const struct conf *c, size_t i)
{
    const struct addr *at = &l->item[i].at;
    int dir = -1;

    if (!addr_is_unix(at) || l->owner != getpid() ||
        (dir = open_dir(c, at, NULL)) < 0)
        return;
    const char *name = os_base_name(at->u.local.path);
    if (fs_is_same(&l->file[i], dir, name))
        (void)unlinkat(dir, name, 0);
    close(dir);
}

/* --- all of them ---------------------------------------------------------- */

/* Bind and listen; a start retries for a moment, because a process that was
 * just killed may still hold the port. */
static int bind_at(const struct addr *a, bool patient, uint64_t *until,
                   struct err *e)
{
    int fd;

    do
        fd = net_listen(a, BACKLOG, e);
    while (fd < 0 && e->sys == EADDRINUSE && patient && os_again(until));
    return fd;
}

/* Is there a socket with this port at all addresses of the family, or is this
 * one for all and that for one?  They cannot stand side by side. */
static bool covered(const struct listeners *now, const struct addr *a,
                    struct err *e)
{
    char have[ADDR_PORT_TEXT], want[ADDR_PORT_TEXT];

    for (size_t i = 0; now != NULL && i < now->n; i++) {
        const struct addr *b = &now->item[i].at;
        if (now->item[i].fd < 0 || addr_is_v6(a) != addr_is_v6(b) ||
            addr_port(a) != addr_port(b) ||
            (!addr_is_any(a) && !addr_is_any(b)))
            continue;
        addr_port_text(have, b);
        addr_port_text(want, a);
        err_set(e, ERR_USAGE, 0,
                "%s beside %s, which is in force, needs a new "
                "start",
                want, have);
        return true;
    }
    return false;
}

/* Sockets of earlier setups are taken over, or in the way. */
struct opening {
    const struct conf *conf;
    const struct listeners *now, *next;
    uint64_t until; /* one deadline for all of them */
};

static int open_one(struct listeners *l, const struct addr *at,
                    struct opening *o, struct err *e)
{
    int fd = socket_at(o->now, at);

    if (fd < 0)
        fd = socket_at(o->next, at);
    if (fd >= 0)
        return fd;
    if (socket_at(l, at) >= 0 && addr_is_unix(at))
        return err_set(e, ERR_USAGE, 0, "unix:%s is there twice",
                       at->u.local.path);
    if (addr_is_unix(at))
        return bind_unix(o->conf, at, &l->file[l->n], e);
    if (covered(o->now, at, e))
        return -1;
    return bind_at(at, o->now == NULL, &o->until, e);
}

/* The file of a socket that is taken over is known to its maker. */
static void take_file(struct listeners *l, const struct listeners *from)
{
    for (size_t i = 0; from != NULL && i < from->n; i++)
        if (from->item[i].fd >= 0 && from->item[i].fd == l->item[l->n].fd)
            l->file[l->n] = from->file[i];
}

static void add(struct listeners *l, const struct addr *at, unsigned roles,
                int fd, const struct opening *o)
{
    l->item[l->n] = (struct serve_socket){ fd, roles, *at };
    take_file(l, o->now);
    take_file(l, o->next);
    l->n++;
}

static int open_kind(struct listeners *l, bool unix_sockets, struct opening *o,
                     struct err *e)
{
    const struct conf_listeners *all = &o->conf->serve.listen;

    for (size_t i = 0; i < all->n; i++) {
        struct addr at = conf_listener_addr(&all->item[i]);
        if (addr_is_unix(&at) != unix_sockets)
            continue;
        int fd = open_one(l, &at, o, e);
        /* Skip IPv6 on a host without it. */
        if (fd < 0 && (e->sys != EAFNOSUPPORT || all->n == 1))
            return conf_fault(o->conf, "serve.listen", e);
        add(l, &at, all->item[i].roles, fd, o);
    }
    return 0;
}

static bool is_any_there(const struct listeners *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i].fd >= 0)
            return true;
    return false;
}

/* Unix sockets last, because they replace those of another server: a start that
 * fails at a port must not take them from it. */
int listeners_open(struct listeners *l, const struct conf *c,
                   const struct listeners *now, const struct listeners *next,
                   struct err *e)
{
    struct opening o = { c, now, next, 0 };
    struct addr at;

    *l = (struct listeners){ .owner = getpid() };
    if (c->serve.listen.n >= LISTEN_MAX)
        return err_set(e, ERR_USAGE, 0, "serve.listen: more than %d addresses",
                       LISTEN_MAX - 1);
    if (open_kind(l, false, &o, e) != 0 || open_kind(l, true, &o, e) != 0)
        return -1;
    if (!is_any_there(l))
        return err_set(e, ERR_USAGE, 0, "serve.listen: nothing to listen on");
    addr_from_path(&at, submit);
    int fd = open_one(l, &at, &o, e);
    if (fd < 0 && e->sys != ENOSPC && e->sys != EDQUOT)
        return -1;
    if (fd < 0) /* the queue has to be sent to make room */
        fprintf(stderr,
                "mta: warning: %s: programs of this host use the queue"
                " directly until a reload\n",
                e->text);
    add(l, &at, 0, fd, &o);
    return 0;
}

void listeners_close(struct listeners *l, const struct conf *c,
                     const struct listeners *a, const struct listeners *b)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct serve_socket *s = &l->item[i];
        if (s->fd < 0 || socket_at(a, &s->at) == s->fd ||
            socket_at(b, &s->at) == s->fd)
            continue;
        remove_name(l, c, i);
        close(s->fd);
    }
    l->n = 0;
}
