/* test_net_listen.c - listening sockets and what people are told about
 * those that fail. */
#include "net/listen.h"

#include "base/os.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N(table) (sizeof(table) / sizeof((table)[0]))

static struct err e;

static struct addr get(const char *ip, uint16_t port)
{
    struct addr a;

    ck_assert(addr_parse_ip(&a, span_of(ip), port));
    return a;
}

static bool have_ipv6(void)
{
    struct addr a = get("::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool have = fd >= 0 && bind(fd, &a.u.sa, addr_len(&a)) == 0;

    if (fd >= 0)
        close(fd);
    return have;
}

static uint16_t port_of(int fd)
{
    struct addr a = get("::", 0);
    socklen_t len = sizeof a.u;

    ck_assert_int_eq(getsockname(fd, &a.u.sa, &len), 0);
    return addr_port(&a);
}

static int listen_at(const struct addr *at)
{
    int fd = net_listen(at, 16, &e);

    ck_assert_msg(fd >= 0, "%s", e.text);
    return fd;
}

static int dial(const struct addr *to)
{
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, &to->u.sa, addr_len(to)), 0);
    return fd;
}

static const char *const families[] = { "127.0.0.1", "::1" };

START_TEST(takes_clients)
{
    struct addr at = get(families[_i], 0), peer, own = at;
    int on = 0;
    socklen_t len = sizeof own.u, on_len = sizeof on;
    char byte;

    if (addr_is_v6(&at) && !have_ipv6())
        return;
    int listener = listen_at(&at);
    ck_assert_int_eq(net_accept(listener, &peer), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_ne(fcntl(listener, F_GETFD) & FD_CLOEXEC, 0);
    addr_set_port(&at, port_of(listener));
    int client = dial(&at);
    struct pollfd p = { .fd = listener, .events = POLLIN };
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    int fd = net_accept(listener, &peer);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(getsockname(client, &own.u.sa, &len), 0);
    ck_assert_msg(addr_eq(&peer, &own), "%s: wrong peer", families[_i]);
    ck_assert_int_eq(write(client, "x", 1), 1);
    ck_assert_int_eq(read(fd, &byte, 1), 1);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &on_len), 0);
    ck_assert_int_eq(on, 1);
    close(fd);
    close(client);
    close(listener);
}
END_TEST

/* [::] and 0.0.0.0 are two sockets; IPv4 clients come to the second. */
START_TEST(families_stand_side_by_side)
{
    struct addr any4 = get("0.0.0.0", 0), any6 = get("::", 0), peer;

    if (!have_ipv6())
        return;
    int four = listen_at(&any4);
    addr_set_port(&any6, port_of(four));
    int six = net_listen(&any6, 16, &e);
    if (six < 0 && e.sys == EADDRINUSE) { /* somebody's port, by chance */
        close(four);
        return;
    }
    ck_assert_msg(six >= 0, "%s", e.text);
    struct addr to = get("127.0.0.1", port_of(four));
    int client = dial(&to);
    struct pollfd p = { .fd = four, .events = POLLIN };
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    ck_assert_int_eq(net_accept(six, &peer), -1);
    int fd = net_accept(four, &peer);
    ck_assert_int_ge(fd, 0);
    ck_assert(!addr_is_v6(&peer));
    close(fd);
    close(client);
    close(four);
    close(six);
}
END_TEST

START_TEST(port_in_use)
{
    struct addr at = get("127.0.0.1", 0);
    char text[ADDR_PORT_TEXT];
    int first = listen_at(&at);

    addr_set_port(&at, port_of(first));
    addr_port_text(text, &at);
    ck_assert_int_eq(net_listen(&at, 16, &e), -1);
    ck_assert_int_eq(e.sys, EADDRINUSE);
    ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
    ck_assert_msg(strstr(e.text, "another") != NULL, "%s", e.text);
    close(first);
    first = listen_at(&at); /* at once: a restart need not wait */
    close(first);
}
END_TEST

START_TEST(not_our_address)
{
    struct addr at = get("192.0.2.1", 0); /* for documents only, RFC 5737 */

    ck_assert_int_eq(net_listen(&at, 16, &e), -1);
    ck_assert_int_eq(e.sys, EADDRNOTAVAIL);
    ck_assert_msg(strstr(e.text, "no interface") != NULL, "%s", e.text);
}
END_TEST

/* Runs as nobody, without capabilities: exit status 0 when the advice is
 * there, 2 when the system allows the port to everybody. */
static int bind_low_port(void)
{
    struct addr at = get("127.0.0.1", 999);

    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 2;
    if (net_listen(&at, 16, &e) >= 0 || e.sys == EADDRINUSE)
        return 2;
    return e.sys == EACCES && strstr(e.text, "CAP_NET_BIND_SERVICE") != NULL
               ? 0
               : 1;
}

START_TEST(low_port_needs_privilege)
{
    int status;

    if (geteuid() != 0)
        return; /* the parent's rights are not known well enough */
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(bind_low_port());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_msg(WEXITSTATUS(status) != 1, "no advice for low ports");
}
END_TEST

/* The number would not fit into a set: closed, and told as EMFILE. */
START_TEST(large_descriptor_is_closed)
{
    struct addr at = get("127.0.0.1", 0), peer;
    int filler[FD_SETSIZE], n = 0;
    char byte;

    if (os_want_fds(FD_SETSIZE + 64) < FD_SETSIZE + 64)
        return; /* the hard limit forbids the test */
    int listener = listen_at(&at);
    addr_set_port(&at, port_of(listener));
    int client = dial(&at);
    while (n < FD_SETSIZE) {
        filler[n] = dup(listener);
        ck_assert_int_ge(filler[n], 0);
        if (filler[n++] >= FD_SETSIZE - 1)
            break;
    }
    struct pollfd p = { .fd = listener, .events = POLLIN };
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    ck_assert_int_eq(net_accept(listener, &peer), -1);
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_eq(read(client, &byte, 1), 0); /* closed, not forgotten */
    struct addr other = get("127.0.0.1", 0);
    ck_assert_int_eq(net_listen(&other, 16, &e), -1);
    ck_assert_int_eq(e.sys, EMFILE);
    while (n > 0)
        close(filler[--n]);
    close(client);
    close(listener);
}
END_TEST

/* --- Unix sockets --------------------------------------------------------- */

static int make_dir(char path[64])
{
    snprintf(path, 64, "/tmp/mta-listen-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir, 0);
    return dir;
}

static int dial_unix(const char *dir, const char *name)
{
    char path[128];
    struct addr at;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(path, sizeof path, "%s/%s", dir, name);
    addr_from_path(&at, path);
    if (addr_connect(fd, &at) == 0)
        return fd;
    close(fd);
    return -1;
}

START_TEST(client_is_known_by_its_user)
{
    char path[64];
    struct stat st;
    int dir = make_dir(path);
    struct net_unix at = { dir, "socket", 0666 };
    struct addr peer;
    mode_t mask = umask(077);

    int listener = net_listen_unix(&at, 5, &e);
    ck_assert_msg(listener >= 0, "%s", e.text);
    ck_assert_uint_eq(umask(mask), 077);
    ck_assert_int_eq(fstatat(dir, "socket", &st, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0666);
    ck_assert_int_eq(fstatat(dir, "socket.new", &st, AT_SYMLINK_NOFOLLOW), -1);
    int client = dial_unix(path, "socket");
    ck_assert_int_ge(client, 0);
    int fd = net_accept(listener, &peer);
    ck_assert_int_ge(fd, 0);
    ck_assert(addr_is_unix(&peer) && peer.u.local.is_client);
    ck_assert_uint_eq(peer.u.local.uid, geteuid());
    ck_assert_str_eq(peer.u.local.path, "");
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    close(fd);
    close(client);
    close(listener);
    ck_assert_int_eq(dial_unix(path, "socket"), -1); /* left behind, and */
    listener = net_listen_unix(&at, 5, &e);          /* replaced */
    ck_assert_int_ge(listener, 0);
    client = dial_unix(path, "socket");
    ck_assert_int_ge(client, 0);
    close(client);
    close(listener);
    unlinkat(dir, "socket", 0);
    close(dir);
    rmdir(path);
}
END_TEST

START_TEST(planted_names)
{
    char path[64];
    struct stat st;
    int dir = make_dir(path), file;
    struct net_unix at = { dir, "socket", 0600 };

    ck_assert_int_eq(symlinkat("target", dir, "socket"), 0);
    ck_assert_int_eq(net_listen_unix(&at, 5, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "remove it"));
    ck_assert_int_eq(fstatat(dir, "socket", &st, AT_SYMLINK_NOFOLLOW), 0);
    unlinkat(dir, "socket", 0);
    ck_assert_int_eq(symlinkat("target", dir, "socket.new"), 0);
    int fd = net_listen_unix(&at, 5, &e);
    ck_assert_msg(fd >= 0, "%s", e.text);
    ck_assert_int_eq(fstatat(dir, "target", &st, 0), -1);
    close(fd);
    unlinkat(dir, "socket", 0);
    file = openat(dir, "socket", O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(net_listen_unix(&at, 5, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    close(file);
    unlinkat(dir, "socket", 0);
    close(dir);
    rmdir(path);
}
END_TEST

START_TEST(no_directory)
{
    struct net_unix at = { -1, "socket", 0600 };

    ck_assert_int_eq(net_listen_unix(&at, 5, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "listen on socket"));
}
END_TEST

Suite *net_listen_suite(void);
Suite *net_listen_suite(void)
{
    Suite *s = suite_create("net.listen");
    TCase *t = tcase_create("listen");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, takes_clients, 0, N(families));
    tcase_add_test(t, families_stand_side_by_side);
    tcase_add_test(t, port_in_use);
    tcase_add_test(t, not_our_address);
    tcase_add_test(t, low_port_needs_privilege);
    tcase_add_test(t, large_descriptor_is_closed);
    tcase_add_test(t, client_is_known_by_its_user);
    tcase_add_test(t, planted_names);
    tcase_add_test(t, no_directory);
    suite_add_tcase(s, t);
    return s;
}
