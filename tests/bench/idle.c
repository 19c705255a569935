/* idle.c - open many connections at once and hold them.
 *
 *   idle -a 127.0.0.1:2525 -c 1000 [-T seconds] [-e] [-S] [-w window]
 *
 * Prints a line of JSON when all are greeted or -T seconds (10) are over:
 * how many were, and after how long the median, the 99th percentile and the
 * last of them, in ms, counted from the first connect().  Then holds them
 * until SIGTERM or until standard input ends.  -e says EHLO, too, and waits
 * for its answer: sessions that have done something.  -S does so in TLS, after
 * STARTTLS.  -w opens them so many
 * at a time rather than all at once. */
#define _GNU_SOURCE
#include "secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in there;
static int count = 1000, window, ep, dialled, greeted, failed;
static double limit = 10, begin, *when;
static bool hello;
static SSL_CTX *secure; /* -S */

/* By descriptor. */
enum step { GREETING, EHLO, STARTTLS, SHAKE };
static struct {
    enum step step;
    SSL *ssl;
} *clients;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void dial(void)
{
    struct epoll_event ev = { .events = EPOLLIN };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0)
        fatal("socket");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) != 0 &&
        errno != EINPROGRESS)
        fatal("connect");
    ev.data.fd = fd;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    dialled++;
}

static void say(int fd, const char *text, enum step next)
{
    int n = (int)strlen(text);

    clients[fd].step = next;
    if (clients[fd].ssl == NULL)
        send(fd, text, (size_t)n, MSG_NOSIGNAL);
    else
        SSL_write(clients[fd].ssl, text, n);
}

/* False: it has failed. */
static bool shake(int fd)
{
    int how = secure_handshake(clients[fd].ssl);

    if (how == 1)
        say(fd, "EHLO client.test\r\n", EHLO);
    return how >= 0;
}

static void on_input(int fd)
{
    char text[2048];
    SSL *ssl = clients[fd].ssl;
    int later = 0;

    if (clients[fd].step == SHAKE && shake(fd))
        return;
    ssize_t n = ssl != NULL ? secure_read(ssl, text, sizeof text - 1, &later)
                            : recv(fd, text, sizeof text - 1, 0);

    if (later || (n < 0 && errno == EAGAIN))
        return;
    if (n <= 0 || text[0] != '2') {
        failed++;
        close(fd);
    } else if (hello && clients[fd].step == GREETING) {
        say(fd, "EHLO client.test\r\n", EHLO);
    } else if (secure != NULL && clients[fd].step == EHLO && ssl == NULL) {
        say(fd, "STARTTLS\r\n", STARTTLS);
    } else if (clients[fd].step == STARTTLS) {
        clients[fd].ssl = secure_start(secure, fd, 0);
        clients[fd].step = SHAKE;
        shake(fd);
    } else {
        when[greeted++] = now() - begin;
        epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
    }
    while (dialled < count && dialled - greeted - failed < window)
        dial();
}

static void options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "a:c:T:w:eS")) != -1)
        switch (o) {
        case 'a': {
            char *colon = strrchr(optarg, ':');
            if (colon == NULL)
                exit(64);
            *colon = '\0';
            there.sin_family = AF_INET;
            there.sin_port = htons((unsigned short)atoi(colon + 1));
            inet_pton(AF_INET, optarg, &there.sin_addr);
            break;
        }
        case 'c': count = atoi(optarg); break;
        case 'T': limit = atof(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'S': secure = secure_context(NULL); /* fall through */
        case 'e': hello = true; break;
        default: exit(64);
        }
}

static void raise_limit(void)
{
    struct rlimit r;

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

int main(int argc, char **argv)
{
    struct epoll_event ev[256];
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

    raise_limit();
    options(argc, argv);
    when = calloc((size_t)count + 1, sizeof *when);
    clients = calloc((size_t)count + 1024, sizeof *clients);
    ep = epoll_create1(0);
    if (when == NULL || clients == NULL)
        fatal("memory");
    begin = now();
    if (window == 0)
        window = count;
    while (dialled < count && dialled < window)
        dial();
    while (greeted + failed < count && now() - begin < limit) {
        int n = epoll_wait(ep, ev, 256, 100);
        for (int i = 0; i < n; i++)
            on_input(ev[i].data.fd);
    }
    int last = greeted > 0 ? greeted - 1 : 0;
    printf("{\"greeted\":%d,\"failed\":%d,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"last_ms\":%.3f}\n",
           greeted, failed, when[greeted / 2 < last ? greeted / 2 : last] * 1e3,
           when[greeted * 99 / 100 < last ? greeted * 99 / 100 : last] * 1e3,
           when[last] * 1e3);
    fflush(stdout);
    poll(&in, 1, -1);
    return 0;
}
