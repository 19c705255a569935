/* load.c - an SMTP load generator that is not the bottleneck.
 *
 *   load -a 127.0.0.1:2525 -c 100 -n 20000 -s 1024 [-k] [-p] [-r 100]
 *        [-f FROM] [-t TO] [-u USERS] [-T seconds] [-S] [-R] [-H]
 *
 * -c connections at once, -n messages in all, -s octets of body, -k keep
 * each connection for many messages (else one message a connection), -p
 * pipeline (one write holds the end of a message and MAIL, RCPT and DATA of
 * the next, so a message costs one round trip), -r recipients a message.  In
 * -t, %d is the number of the message (with -u: modulo USERS) and %r that of
 * the recipient; messages take several -t in turn, and %d counts those of
 * each.  Each message carries its number, so all differ.  -S says STARTTLS,
 * -R resumes the newest session, -H counts a handshake as a message and waits
 * then for the end of the connection (bare.c).
 *
 * Kept connections are opened a few at a time, for a peer may have a short
 * backlog, and the clock starts when all have said EHLO; it stops with the
 * last answer.  One process, epoll, whole dialogue in one buffer: what it costs is the
 * system calls.  Prints one line of JSON: messages, seconds, rate, errors,
 * p50, p99 and most of the time from the dot to its answer in us, own CPU us per
 * message, and CLOCK_MONOTONIC at the start. */
#define _GNU_SOURCE
#include "secure.h"

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

enum step { BANNER, EHLO, STARTTLS, SHAKE, GROUP, DATA, DOT, QUIT };

struct client {
    int fd;
    enum step step;
    int number;       /* of its message */
    int next_number;  /* of the one whose commands are under way, or -1 */
    unsigned waiting; /* replies to MAIL and RCPT still to come */
    double dot_at;
    SSL *ssl;
    size_t n;
    char in[4096];
};

static const char *host = "127.0.0.1", *from = "sender@client.test";
static const char *to[4] = { "user@here.test" };
static SSL_CTX *secure; /* -S */
static SSL_SESSION *newest;
static int resume, handshakes_only, resumed;
static int port = 2525, nconn = 20, total = 1000, keep, pipeline;
static int rcpts = 1, users, nto;
static size_t size = 4096;
static double limit = 120;

enum { DIGITS = 9, RAMP = 4 };

static char *body, *group, mail[300];
static size_t body_n, number_at;
static int ep, started, done, errors;
static int dialled, waiting; /* -k, before the clock starts: connections that
                                were begun, and those that are ready */
static double begin;
static struct client *clients;
static float *latency;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A body and, behind it, room for the commands of the next message. */
static void make_body(void)
{
    body = malloc(size + 4096 + (size_t)rcpts * 300);
    number_at = (size_t)sprintf(body, "From: <%s>\r\nX-Number: ", from);
    int n = sprintf(body, "From: <%s>\r\nX-Number: %0*d\r\nSubject: load"
                          "\r\n\r\n", from, DIGITS, 0);
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

static void number_body(int number)
{
    for (size_t i = DIGITS; i-- > 0; number /= 10)
        body[number_at + i] = (char)('0' + number % 10);
}

/* The dialogue is small beside the socket's buffer; wait in the rare case. */
static int put(struct client *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w;
        if (c->ssl != NULL) {
            w = SSL_write(c->ssl, p, (int)n);
            errno = w <= 0 && SSL_get_error(c->ssl, (int)w) ==
                                  SSL_ERROR_WANT_WRITE
                        ? EAGAIN
                        : EPROTO;
            w = w <= 0 ? -1 : w;
        } else {
            w = send(c->fd, p, n, MSG_NOSIGNAL);
        }
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

static char *put_number(char *at, unsigned n)
{
    char digits[12];
    size_t k = sizeof digits;

    do
        digits[--k] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    memcpy(at, digits + k, sizeof digits - k);
    return at + (sizeof digits - k);
}

static char *put_text(char *at, const char *text)
{
    size_t n = strlen(text);

    memcpy(at, text, n);
    return at + n;
}

static char *put_rcpt(char *at, int number, int rcpt)
{
    int turn = nto > 1 ? number / nto : number;

    at = put_text(at, "RCPT TO:<");
    for (const char *p = to[nto > 1 ? number % nto : 0]; *p != '\0'; p++)
        if (p[0] == '%' && p[1] == 'd') {
            at = put_number(at, (unsigned)(users > 0 ? turn % users : turn));
            p++;
        } else if (p[0] == '%' && p[1] == 'r') {
            at = put_number(at, (unsigned)rcpt);
            p++;
        } else {
            *at++ = *p;
        }
    return put_text(at, ">\r\n");
}

/* MAIL, all RCPT and DATA; returns their length. */
static size_t envelope(char *out, int number)
{
    char *at = put_text(out, mail);

    for (int i = 0; i < rcpts; i++)
        at = put_rcpt(at, number, i);
    return (size_t)(put_text(at, "DATA\r\n") - out);
}

static int next_message(struct client *c)
{
    if (started >= total)
        return -1;
    c->number = started++;
    c->waiting = 1 + (unsigned)rcpts;
    c->step = GROUP;
    if (!pipeline)
        return say(c, mail);
    return put(c, group, envelope(group, c->number));
}

static int dial(struct client *c)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1, room = (int)body_n * 2 + 65536;

    a.sin_port = htons((unsigned short)port);
    inet_pton(AF_INET, host, &a.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* A whole message fits, so we never wait for one connection while
     * others have something to say. */
    if (setsockopt(c->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0 &&
        errno != EINPROGRESS) {
        close(c->fd);
        return -1;
    }
    c->step = BANNER;
    c->n = 0;
    c->ssl = NULL;
    return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
}

static void end(struct client *c)
{
    if (c->ssl != NULL) /* its session is good yet */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->fd = -1;
    if (started < total && dial(c) != 0)
        errors++;
}

static void fail(struct client *c, const char *reply)
{
    if (errors++ < 3)
        fprintf(stderr, "load: step %d: %.100s\n", (int)c->step, reply);
    if (c->step >= GROUP)
        done++;
    end(c);
}

/* A kept connection has said EHLO: open another, or let all begin. */
static void one_is_ready(void)
{
    if (dialled < nconn && dial(&clients[dialled++]) != 0)
        errors++;
    if (++waiting < nconn)
        return;
    begin = now();
    for (int i = 0; i < nconn; i++)
        if (next_message(&clients[i]) != 0)
            break;
}

static int after_dot(struct client *c)
{
    latency[done++] = (float)((now() - c->dot_at) * 1e6);
    if (pipeline && c->next_number >= 0) { /* already on its way */
        c->number = c->next_number;
        c->step = GROUP;
        return 0;
    }
    if (keep && started < total)
        return next_message(c);
    c->step = QUIT;
    return say(c, "QUIT\r\n");
}

static int send_body(struct client *c)
{
    size_t n = body_n;

    number_body(c->number);
    c->next_number = -1;
    if (pipeline && keep && started < total) {
        c->next_number = started++;
        c->waiting = 1 + (unsigned)rcpts;
        n += envelope(body + n, c->next_number);
    }
    if (put(c, body, n) != 0)
        return -1;
    c->step = DOT;
    c->dot_at = now();
    return 0;
}

/* A reply to MAIL or RCPT. */
static int envelope_reply(struct client *c)
{
    if (--c->waiting == 0) {
        c->step = DATA;
        return pipeline ? 0 : say(c, "DATA\r\n");
    }
    if (pipeline)
        return 0;
    char *end = put_rcpt(group, c->number, rcpts - (int)c->waiting);
    return put(c, group, (size_t)(end - group));
}

static int shake(struct client *c)
{
    int how = secure_handshake(c->ssl);

    if (how <= 0)
        return how;
    resumed += SSL_session_reused(c->ssl);
    if (handshakes_only && done < total) {
        started++;
        latency[done++] = (float)((now() - c->dot_at) * 1e6);
    }
    c->step = handshakes_only ? QUIT : EHLO;
    if (handshakes_only)
        return 0;
    return say(c, "EHLO client.test\r\n");
}

static int on_session(SSL *s, SSL_SESSION *session)
{
    (void)s;
    SSL_SESSION_free(newest);
    newest = session;
    return 1;
}

static int start_tls(struct client *c)
{
    c->ssl = secure_start(secure, c->fd, 0);
    if (resume && newest != NULL)
        SSL_set_session(c->ssl, newest);
    c->step = SHAKE;
    c->n = 0;
    c->dot_at = now();
    return shake(c);
}

static int step_on(struct client *c, int code)
{
    switch (c->step) {
    case BANNER: c->step = EHLO; return say(c, "EHLO client.test\r\n");
    case STARTTLS: return start_tls(c);
    case SHAKE: return -1;
    case EHLO:
        if (secure != NULL && c->ssl == NULL) {
            c->step = STARTTLS;
            return say(c, "STARTTLS\r\n");
        }
        if (!keep || waiting >= nconn) /* or it replaces one that failed */
            return next_message(c);
        one_is_ready();
        return 0;
    case GROUP: return code == 250 ? envelope_reply(c) : -1;
    case DATA: return code == 354 ? send_body(c) : -1;
    case DOT: return code == 250 ? after_dot(c) : -1;
    case QUIT: break;
    }
    return 1;
}

/* Replies that are in c->in; false: the connection has ended. */
static int on_lines(struct client *c, ssize_t got)
{
    c->n += (size_t)got;
    c->in[c->n] = '\0';
    char *line = c->in, *lf;
    while ((lf = strchr(line, '\n')) != NULL) {
        int code = atoi(line), rc = 0;
        SSL *before = c->ssl;
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
            return 0;
        }
        if (rc > 0) {
            end(c);
            return 0;
        }
        if (c->ssl != before) /* what follows is not in clear */
            return 1;
        line = lf + 1;
    }
    c->n -= (size_t)(line - c->in);
    memmove(c->in, line, c->n);
    return 1;
}

static void on_input(struct client *c)
{
    for (;;) {
        int later = 0;
        if (c->step == SHAKE) {
            int rc = shake(c);
            if (rc < 0)
                fail(c, "handshake");
            if (rc > 0)
                end(c);
            if (rc != 0 || c->step == SHAKE)
                return;
        }
        char *to = c->in + c->n;
        size_t room = sizeof c->in - c->n - 1;
        ssize_t got = c->ssl != NULL ? secure_read(c->ssl, to, room, &later)
                                     : recv(c->fd, to, room, 0);
        if (later || (got < 0 && errno == EAGAIN))
            return;
        if (got <= 0) {
            if (c->step == QUIT)
                end(c);
            else
                fail(c, got == 0 ? "closed" : strerror(errno));
            return;
        }
        int fd = c->fd;
        if (!on_lines(c, got) || c->ssl == NULL || c->fd != fd)
            return;
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

static void start_secure(void)
{
    if (secure != NULL)
        return;
    secure = secure_context(NULL);
    SSL_CTX_set_session_cache_mode(secure, SSL_SESS_CACHE_CLIENT |
                                               SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(secure, on_session);
}

static void options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "a:c:n:r:s:f:t:T:u:kpSRH")) != -1)
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
        case 'r': rcpts = atoi(optarg); break;
        case 'u': users = atoi(optarg); break;
        case 's': size = (size_t)atol(optarg); break;
        case 'f': from = optarg; break;
        case 't':
            if (nto == sizeof to / sizeof *to)
                exit(64);
            to[nto++] = optarg;
            break;
        case 'T': limit = atof(optarg); break;
        case 'k': keep = 1; break;
        case 'p': pipeline = 1; break;
        case 'H': handshakes_only = 1; /* fall through */
        case 'S': start_secure(); break;
        case 'R': resume = 1; break;
        default: exit(64);
        }
}

static void report(double begin, double seconds)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    int ok = done - errors > 0 ? done - errors : 0;
    qsort(latency, (size_t)done, sizeof *latency, by_size);
    printf("{\"messages\":%d,\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%d,"
           "\"p50_us\":%.0f,\"p99_us\":%.0f,\"most_us\":%.0f,"
           "\"own_cpu_us\":%.1f,\"resumed\":%d,"
           "\"begin\":%.6f}\n",
           ok, seconds, ok / seconds, errors,
           (double)latency[done / 2], (double)latency[done * 99 / 100],
           (double)latency[done > 0 ? done - 1 : 0],
           done > 0 ? cpu * 1e6 / done : 0.0, resumed, begin);
}

int main(int argc, char **argv)
{
    struct epoll_event ev[256];

    options(argc, argv);
    snprintf(mail, sizeof mail, "MAIL FROM:<%s>\r\n", from);
    group = malloc(1024 + (size_t)rcpts * 300);
    make_body();
    latency = calloc((size_t)total + 1, sizeof *latency);
    if (nconn > total)
        nconn = total;
    clients = calloc((size_t)nconn, sizeof *clients);
    ep = epoll_create1(0);
    double start = begin = now();
    for (int i = 0; i < (keep ? (nconn < RAMP ? nconn : RAMP) : nconn); i++)
        if (dial(&clients[dialled++]) != 0)
            errors++;
    while (done < total && now() - start < limit) {
        int n = epoll_wait(ep, ev, 256, 1000);
        for (int i = 0; i < n; i++)
            on_input(ev[i].data.ptr);
    }
    report(begin, now() - begin);
    return errors == 0 && done >= total ? 0 : 1;
}
