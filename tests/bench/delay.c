/* delay.c - a TCP proxy that makes a long line of a short one.
 *
 *   delay -a 127.0.0.1:2526 -t 127.0.0.1:2525 [-d ms] [-s FILE] [-n hosts]
 *
 * With -n, so many addresses from that of -a on lead to as many from that of
 * -t on.
 *
 * What comes in leaves -d milliseconds later (25), in each direction, and
 * neither is slowed otherwise: every piece that was read waits in a queue
 * with its own time.  Opening a connection costs no delay.  Writes a line of
 * JSON at SIGTERM, to standard output or to FILE: connections in all and
 * the most at a time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

struct piece {
    double due;
    size_t n, at; /* n == 0: the end of the stream */
    struct piece *next;
    char text[];
};

/* What comes in at fd leaves at to->fd. */
struct end {
    int fd;
    struct end *to;
    struct piece *head, **tail;
    bool out_shut; /* to->fd was told that the stream has ended */
};

/* Both ends of a connection through us; all are in one list. */
struct pair {
    struct end a, b;
    struct pair *next;
};

enum { DOORS_MAX = 256 };
static struct door {
    int fd;
    struct sockaddr_in there;
} doors[DOORS_MAX];
static int ndoors = 1;
static struct sockaddr_in here, there;
static double delay = 0.025;
static const char *status_file;
static int ep;
static long connections, open_now, most_open;
static struct pair *pairs;
static volatile sig_atomic_t stop;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void queue(struct end *e, const char *text, size_t n)
{
    struct piece *p = malloc(sizeof *p + n);

    if (p == NULL)
        fatal("memory");
    p->due = now() + delay;
    p->n = n;
    p->at = 0;
    p->next = NULL;
    memcpy(p->text, text, n);
    *e->tail = p;
    e->tail = &p->next;
}

static void on_input(struct end *e)
{
    static char text[PIECE];
    ssize_t n = recv(e->fd, text, sizeof text, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        queue(e, text, (size_t)n);
        return;
    }
    queue(e, text, 0);
    epoll_ctl(ep, EPOLL_CTL_DEL, e->fd, NULL);
}

/* Sends what is due; returns when to look again, or 0: nothing waits.  A
 * socket that takes no more is tried again a little later. */
static double send_due(struct end *e, double t)
{
    struct piece *p;

    while ((p = e->head) != NULL && p->due <= t) {
        if (p->n == 0) {
            shutdown(e->to->fd, SHUT_WR);
            e->out_shut = true;
        } else {
            ssize_t n = send(e->to->fd, p->text + p->at, p->n - p->at,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN)
                return t + 0.0005;
            p->at += n < 0 ? p->n - p->at : (size_t)n;
            if (p->at < p->n)
                return t + 0.0005;
        }
        e->head = p->next;
        if (e->head == NULL)
            e->tail = &e->head;
        free(p);
    }
    return e->head != NULL ? e->head->due : 0;
}

static void add(struct end *e, int fd, struct end *to)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = e };
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    e->fd = fd;
    e->to = to;
    e->head = NULL;
    e->tail = &e->head;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0)
        fatal("epoll");
}

static void on_client(const struct door *d)
{
    int fd = accept4(d->fd, NULL, NULL, 0);
    int out = socket(AF_INET, SOCK_STREAM, 0);
    struct pair *p = calloc(1, sizeof *p);

    if (p == NULL || out < 0)
        fatal("connection");
    if (fd < 0 ||
        connect(out, (struct sockaddr *)&d->there, sizeof there) != 0) {
        if (fd >= 0)
            close(fd);
        close(out);
        free(p);
        return;
    }
    add(&p->a, fd, &p->b);
    add(&p->b, out, &p->a);
    p->next = pairs;
    pairs = p;
    connections++;
    if (++open_now > most_open)
        most_open = open_now;
}

/* Moves all that is due and drops pairs that are done.  Returns the next
 * time at which something is due; 0: nothing waits. */
static double move_all(void)
{
    double next = 0, t = now();

    for (struct pair **at = &pairs; *at != NULL;) {
        struct pair *p = *at;
        double due[] = { send_due(&p->a, t), send_due(&p->b, t) };
        for (int i = 0; i < 2; i++)
            if (due[i] > 0 && (next == 0 || due[i] < next))
                next = due[i];
        if (p->a.out_shut && p->b.out_shut) {
            *at = p->next;
            close(p->a.fd);
            close(p->b.fd);
            free(p);
            open_now--;
        } else {
            at = &p->next;
        }
    }
    return next;
}

static void on_signal(int signo)
{
    (void)signo;
    stop = 1;
}

static struct sockaddr_in address(char *text)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    char *colon = strrchr(text, ':');

    errno = EINVAL;
    if (colon == NULL)
        fatal(text);
    *colon = '\0';
    a.sin_port = htons((unsigned short)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
        fatal(text);
    return a;
}

static void options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "a:t:d:s:n:")) != -1)
        switch (o) {
        case 'a': here = address(optarg); break;
        case 't': there = address(optarg); break;
        case 'd': delay = atof(optarg) / 1e3; break;
        case 's': status_file = optarg; break;
        case 'n': ndoors = atoi(optarg); break;
        default: exit(64);
        }
    if (here.sin_port == 0 || there.sin_port == 0 || ndoors < 1 ||
        ndoors > DOORS_MAX) {
        fputs("usage: delay -a ADDRESS:PORT -t ADDRESS:PORT [-d ms] "
              "[-s FILE] [-n hosts]\n",
              stderr);
        exit(64);
    }
}

static struct sockaddr_in further(struct sockaddr_in a, int n)
{
    a.sin_addr.s_addr = htonl(ntohl(a.sin_addr.s_addr) + (uint32_t)n);
    return a;
}

static void listen_at(int n)
{
    struct door *d = &doors[n];
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = d };
    struct sockaddr_in a = further(here, n);
    int one = 1;

    d->there = further(there, n);
    d->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(d->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(d->fd, 1024) != 0 ||
        epoll_ctl(ep, EPOLL_CTL_ADD, d->fd, &ev) != 0)
        fatal("listen");
}

static bool is_door(const void *p)
{
    return (uintptr_t)p >= (uintptr_t)doors &&
           (uintptr_t)p < (uintptr_t)(doors + DOORS_MAX);
}

static void tell(void)
{
    FILE *f = status_file != NULL ? fopen(status_file, "w") : stdout;

    if (f == NULL)
        fatal(status_file);
    fprintf(f, "{\"connections\":%ld,\"most_open\":%ld}\n", connections,
            most_open);
    fclose(f);
}

int main(int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = on_signal };
    struct epoll_event ev[64];
    double next = 0;

    options(argc, argv);
    ep = epoll_create1(0);
    for (int i = 0; i < ndoors; i++)
        listen_at(i);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    while (!stop) {
        double wait = next > 0 ? next - now() : 3600;
        struct timespec t = { (time_t)wait, 0 };
        t.tv_nsec = (long)((wait - (double)t.tv_sec) * 1e9);
        if (wait <= 0)
            t.tv_sec = t.tv_nsec = 0;
        int n = epoll_pwait2(ep, ev, 64, &t, NULL);
        for (int i = 0; i < n; i++)
            if (is_door(ev[i].data.ptr))
                on_client(ev[i].data.ptr);
            else
                on_input(ev[i].data.ptr);
        next = move_all();
    }
    tell();
    return 0;
}
