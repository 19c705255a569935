/* load.c - an SMTP load generator that is not the bottleneck.
 *
 *   load -a 127.0.0.1:2525 -c 100 -n 20000 -s 4096 [-k] [-p] [-f FROM]
 *        [-t TO] [-T seconds]
 *
 * -c connections at once, -n messages in all, -s octets of body, -k keep
 * each connection for many messages (else one message a connection), -p
 * pipeline (MAIL RCPT DATA in one write, the next group with the end of the
 * body), -t may hold one %d, replaced by the number of the message.  One
 * process, epoll, one buffer of the whole dialogue: about 2 us of CPU for a
 * message.  Prints one line of JSON: messages, seconds, rate, errors, p50
 * and p99 of the time from the dot to its answer in us, own CPU us per
 * message. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum step { BANNER, EHLO, MAIL, RCPT, DATA, DOT, QUIT };

struct client {
    int fd;
    enum step step;
    int number; /* of its message */
    unsigned waiting; /* replies of a pipelined group still to come */
    double dot_at;
    size_t n;
    char in[4096];
};

static const char *host = "127.0.0.1", *from = "sender@client.test";
static const char *to = "user@here.test";
static int port = 2525, nconn = 20, total = 1000, keep, pipeline;
static size_t size = 4096;
static double limit = 120;

static char *body;
static size_t body_n;
static int ep, started, done, errors, alive;
static float *latency;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_body(void)
{
    body = malloc(size + 1024);
    int n = sprintf(body, "From: <%s>\r\nTo: <%s>\r\nSubject: load\r\n\r\n",
                    from, to);
    size_t at = (size_t)n;
    while (at < size) {
        size_t line = size - at < 74 ? size - at : 74;
        memset(body + at, 'x', line);
        at += line;
        memcpy(body + at, "\r\n", 2);
        at += 2;
    }
    memcpy(body + at, ".\r\n", 3);
    body_n = at + 3;
}

/* The dialogue is small beside the socket's buffer; wait in the rare case. */
static int put(struct client *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(c->fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EAGAIN) {
            fd_set s;
            FD_ZERO(&s);
            if (c->fd >= FD_SETSIZE)
                usleep(100);
            else {
                FD_SET(c->fd, &s);
                select(c->fd + 1, NULL, &s, NULL, NULL);
            }
            continue;
        }
        if (w < 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int say(struct client *c, const char *text)
{
    return put(c, text, strlen(text));
}

static int envelope(char *out, size_t room, int number)
{
    char rcpt[300];

    snprintf(rcpt, sizeof rcpt, to, number);
    return snprintf(out, room,
                    "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, rcpt);
}

static int next_message(struct client *c)
{
    char text[1024];

    if (started >= total)
        return -1;
    c->number = started++;
    if (pipeline) {
        envelope(text, sizeof text, c->number);
        c->step = DATA;
        c->waiting = 3;
    } else {
        snprintf(text, sizeof text, "MAIL FROM:<%s>\r\n", from);
        c->step = MAIL;
    }
    return say(c, text);
}

static int dial(struct client *c)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1;

    a.sin_port = htons((unsigned short)port);
    inet_pton(AF_INET, host, &a.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0 &&
        errno != EINPROGRESS) {
        close(c->fd);
        return -1;
    }
    c->step = BANNER;
    c->n = 0;
    alive++;
    return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
}

static void end(struct client *c)
{
    close(c->fd);
    c->fd = -1;
    alive--;
    if (started < total && dial(c) != 0)
        errors++;
}

static void fail(struct client *c, const char *reply)
{
    if (errors++ < 3)
        fprintf(stderr, "load: step %d: %.100s\n", (int)c->step, reply);
    done++;
    end(c);
}

static int after_dot(struct client *c)
{
    latency[done++] = (float)((now() - c->dot_at) * 1e6);
    if (keep && started < total)
        return next_message(c);
    c->step = QUIT;
    return say(c, "QUIT\r\n");
}

static int send_body(struct client *c)
{
    if (put(c, body, body_n) != 0)
        return -1;
    c->step = DOT;
    c->dot_at = now();
    return 0;
}

static int step_on(struct client *c, int code)
{
    char text[400];

    if (c->step == DATA && pipeline && --c->waiting > 0)
        return code == 250 ? 0 : -1;
    switch (c->step) {
    case BANNER: c->step = EHLO; return say(c, "EHLO client.test\r\n");
    case EHLO: return next_message(c);
    case MAIL: {
        char rcpt[300];
        snprintf(rcpt, sizeof rcpt, to, c->number);
        snprintf(text, sizeof text, "RCPT TO:<%s>\r\n", rcpt);
        c->step = RCPT;
        return say(c, text);
    }
    case RCPT: c->step = DATA; return say(c, "DATA\r\n");
    case DATA: return code == 354 ? send_body(c) : -1;
    case DOT: return code == 250 ? after_dot(c) : -1;
    case QUIT: break;
    }
    return 1;
}

static void on_input(struct client *c)
{
    ssize_t got = recv(c->fd, c->in + c->n, sizeof c->in - c->n - 1, 0);

    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        if (c->step == QUIT)
            end(c);
        else
            fail(c, got == 0 ? "closed" : strerror(errno));
        return;
    }
    c->n += (size_t)got;
    c->in[c->n] = '\0';
    char *line = c->in, *lf;
    while ((lf = strchr(line, '\n')) != NULL) {
        int code = atoi(line), rc = 0;
        if (line[3] != '-') {
            if (code >= 400)
                rc = -1;
            else
                rc = step_on(c, code);
        }
        if (rc < 0 && c->step == EHLO) { /* nothing left to send */
            c->step = QUIT;
            rc = say(c, "QUIT\r\n");
        }
        if (rc < 0) {
            fail(c, line);
            return;
        }
        if (rc > 0) {
            end(c);
            return;
        }
        line = lf + 1;
    }
    c->n -= (size_t)(line - c->in);
    memmove(c->in, line, c->n);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

static void options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "a:c:n:s:f:t:T:kp")) != -1)
        switch (o) {
        case 'a': {
            char *colon = strrchr(optarg, ':');
            if (colon != NULL) {
                *colon = '\0';
                port = atoi(colon + 1);
            }
            host = optarg;
            break;
        }
        case 'c': nconn = atoi(optarg); break;
        case 'n': total = atoi(optarg); break;
        case 's': size = (size_t)atol(optarg); break;
        case 'f': from = optarg; break;
        case 't': to = optarg; break;
        case 'T': limit = atof(optarg); break;
        case 'k': keep = 1; break;
        case 'p': pipeline = 1; break;
        default: exit(64);
        }
}

static void report(double seconds)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    int ok = done - errors > 0 ? done - errors : 0;
    qsort(latency, (size_t)done, sizeof *latency, by_size);
    printf("{\"messages\":%d,\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%d,"
           "\"p50_us\":%.0f,\"p99_us\":%.0f,\"own_cpu_us\":%.1f}\n",
           ok, seconds, ok / seconds, errors,
           (double)latency[done / 2], (double)latency[done * 99 / 100],
           done > 0 ? cpu * 1e6 / done : 0.0);
}

int main(int argc, char **argv)
{
    struct epoll_event ev[256];

    options(argc, argv);
    make_body();
    latency = calloc((size_t)total + 1, sizeof *latency);
    struct client *c = calloc((size_t)nconn, sizeof *c);
    ep = epoll_create1(0);
    double begin = now();
    for (int i = 0; i < nconn && i < total; i++)
        if (dial(&c[i]) != 0)
            errors++;
    while (alive > 0 && now() - begin < limit) {
        int n = epoll_wait(ep, ev, 256, 1000);
        for (int i = 0; i < n; i++)
            on_input(ev[i].data.ptr);
    }
    report(now() - begin);
    return errors == 0 && done >= total ? 0 : 1;
}
