/* sink.c - an SMTP server that throws all mail away, and counts.
 *
 *   sink -a 127.0.0.1:2525 [-a 127.0.1.1-127.0.1.100:2525] [-P] [-b]
 *        [-d ms] [-n messages] [-s FILE] [-C PEM] [-B] [-4 N] [-5 N]
 *
 * -a address and port to listen on, or a range of addresses that share a
 * port (a hundred MX hosts in one process); -P does not offer PIPELINING;
 * -b offers CHUNKING, -B at every second address; of each N messages -4 defers
 * one and -5 refuses one; -C offers STARTTLS with the certificate and key of a
 * file; -d waits so long before it answers the end of a
 * message, and reads nothing from that connection meanwhile, as a slow
 * filter does; -n leaves after so many messages; -s writes the status to a
 * file too (with rename, so a reader never sees half of it).
 *
 * The status is a line of JSON on standard output, at SIGUSR1 and at the
 * end (SIGTERM, -n).  SIGUSR2 starts to count anew: the connections that
 * are open then stay counted, the maxima begin with them.  "first" and
 * "last" are CLOCK_MONOTONIC at the end of the first and the last message,
 * so a rate needs no guess at when a queue has drained. */
#define _GNU_SOURCE
#include "secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DOORS_MAX = 1024, SCRATCH = 256 * 1024, LINE_MAX_IN = 4096 };

/* An address that we listen on. */
struct door {
    bool is_door; /* first: tells it from a conn in an epoll event */
    int fd;
    char name[INET_ADDRSTRLEN];
    long messages, connections, open, most_open;
};

enum mode { COMMANDS, BODY, CHUNK };

struct conn {
    bool is_door;
    int fd;
    struct door *door;
    SSL *ssl;
    bool shaking;
    enum mode mode;
    unsigned matched; /* octets of CRLF.CRLF seen, in BODY */
    size_t left;      /* octets of the chunk to come, in CHUNK */
    bool last;        /* the chunk is the last of its message */
    long rcpts;
    bool waiting; /* the answer to its message is due at "due" */
    double due;
    const char *answer;
    struct conn *next; /* among those that wait */
    char *kept;        /* input that is not consumed yet */
    size_t kept_n;
};

static struct {
    long messages, rcpts, bytes, connections, open, most_open;
    long handshakes, resumed, secured; /* messages in TLS */
    long deferred, refused;
    double first, last, cpu;
} count;

static SSL_CTX *secure;
static struct door doors[DOORS_MAX];
static size_t ndoors;
static bool pipelining = true, chunking;
static double delay;
static long leave_after, defer_each, refuse_each;
static bool chunking_half;
static const char *status_file;
static int ep;
static struct conn *wait_head, **wait_tail = &wait_head;
static char scratch[SCRATCH], out[SCRATCH];
static size_t out_n;
static volatile sig_atomic_t told, reset, stop;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- the status ---------------------------------------------------------- */

static void print_status(FILE *f)
{
    long most = 0;

    for (size_t i = 0; i < ndoors; i++)
        if (doors[i].most_open > most)
            most = doors[i].most_open;
    fprintf(f,
            "{\"messages\":%ld,\"recipients\":%ld,\"bytes\":%ld,"
            "\"connections\":%ld,\"open\":%ld,\"most_open\":%ld,"
            "\"handshakes\":%ld,\"resumed\":%ld,\"secured\":%ld,"
            "\"deferred\":%ld,\"refused\":%ld,"
            "\"most_open_of_one\":%ld,\"first\":%.6f,\"last\":%.6f,"
            "\"own_cpu_us\":%.2f,\"addresses\":[",
            count.messages, count.rcpts, count.bytes, count.connections,
            count.open, count.most_open, count.handshakes, count.resumed,
            count.secured, count.deferred, count.refused, most, count.first,
            count.last,
            (cpu() - count.cpu) * 1e6 /
                (double)(count.messages > 0 ? count.messages : 1));
    for (size_t i = 0; i < ndoors; i++)
        fprintf(f,
                "%s{\"address\":\"%s\",\"messages\":%ld,\"connections\":%ld,"
                "\"most_open\":%ld}",
                i > 0 ? "," : "", doors[i].name, doors[i].messages,
                doors[i].connections, doors[i].most_open);
    fputs("]}\n", f);
}

static void tell(void)
{
    char draft[4096];
    FILE *f;

    print_status(stdout);
    fflush(stdout);
    if (status_file == NULL)
        return;
    snprintf(draft, sizeof draft, "%s.new", status_file);
    f = fopen(draft, "w");
    if (f == NULL)
        fatal(draft);
    print_status(f);
    fclose(f);
    if (rename(draft, status_file) != 0)
        fatal(status_file);
}

static void start_anew(void)
{
    long open = count.open;

    memset(&count, 0, sizeof count);
    count.open = count.most_open = count.connections = open;
    count.cpu = cpu();
    for (size_t i = 0; i < ndoors; i++) {
        doors[i].messages = 0;
        doors[i].connections = doors[i].most_open = doors[i].open;
    }
}

/* --- one connection ------------------------------------------------------ */

static void hang_up(struct conn *c)
{
    count.open--;
    c->door->open--;
    SSL_free(c->ssl);
    close(c->fd);
    free(c->kept);
    free(c);
}

static void watch(struct conn *c)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        fatal("epoll");
}

/* Answers are small; a client that does not read them is waited for. */
static int flush(struct conn *c)
{
    for (size_t at = 0; at < out_n;) {
        ssize_t n;
        if (c->ssl != NULL && !c->shaking) {
            n = SSL_write(c->ssl, out + at, (int)(out_n - at));
            errno =
                n <= 0 && SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_WRITE
                    ? EAGAIN
                    : EPROTO;
            n = n <= 0 ? -1 : n;
        } else {
            n = send(c->fd, out + at, out_n - at, MSG_NOSIGNAL);
        }
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = { .fd = c->fd, .events = POLLOUT };
            if (poll(&p, 1, 10000) > 0)
                continue;
        }
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    out_n = 0;
    return 0;
}

static void say(struct conn *c, const char *text)
{
    size_t n = strlen(text);

    if (out_n + n > sizeof out)
        flush(c);
    memcpy(out + out_n, text, n);
    out_n += n;
}

/* By its number, so that all servers get the same. */
static const char *answer(void)
{
    if (refuse_each > 0 && count.messages % refuse_each == refuse_each / 2) {
        count.refused++;
        return "550 5.7.1 not wanted\r\n";
    }
    if (defer_each > 0 && count.messages % defer_each == defer_each / 2 + 1) {
        count.deferred++;
        return "451 4.3.0 later\r\n";
    }
    return "250 thrown away\r\n";
}

static void message_ends(struct conn *c)
{
    c->mode = COMMANDS;
    count.last = now();
    if (count.messages++ == 0)
        count.first = count.last;
    c->door->messages++;
    count.secured += c->ssl != NULL;
    count.rcpts += c->rcpts;
    c->rcpts = 0;
    c->answer = answer();
    if (delay <= 0) {
        say(c, c->answer);
        return;
    }
    c->waiting = true; /* all wait equally long: the list stays sorted */
    c->due = count.last + delay;
    c->next = NULL;
    *wait_tail = c;
    wait_tail = &c->next;
    epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
}

static bool offers_chunking(const struct conn *c)
{
    return chunking || (chunking_half && (c->door - doors) % 2 == 1);
}

static void say_hello(struct conn *c)
{
    say(c, "250-sink.test\r\n");
    if (pipelining)
        say(c, "250-PIPELINING\r\n");
    if (offers_chunking(c))
        say(c, "250-CHUNKING\r\n");
    if (secure != NULL && c->ssl == NULL)
        say(c, "250-STARTTLS\r\n");
    say(c, "250-8BITMIME\r\n250 SIZE 1000000000\r\n");
}

static void begin_chunk(struct conn *c, const char *line)
{
    char *end;

    c->left = strtoul(line + 4, &end, 10);
    c->last = strncasecmp(end, " LAST", 5) == 0;
    c->mode = CHUNK;
}

/* Returns false when the client says good-bye. */
static bool command(struct conn *c, const char *line)
{
    if (strncasecmp(line, "RCPT", 4) == 0) {
        c->rcpts++;
        say(c, "250 ok\r\n");
    } else if (strncasecmp(line, "DATA", 4) == 0) {
        c->mode = BODY;
        c->matched = 2; /* the command's own CRLF */
        say(c, "354 go on\r\n");
    } else if (strncasecmp(line, "BDAT", 4) == 0 && offers_chunking(c)) {
        begin_chunk(c, line);
    } else if (strncasecmp(line, "STARTTLS", 8) == 0 && secure != NULL &&
               c->ssl == NULL) {
        c->ssl = secure_start(secure, c->fd, 1);
        c->shaking = true;
        say(c, "220 go on\r\n");
    } else if (strncasecmp(line, "EHLO", 4) == 0) {
        say_hello(c);
    } else if (strncasecmp(line, "QUIT", 4) == 0) {
        say(c, "221 bye\r\n");
        return false;
    } else if (strncasecmp(line, "MAIL", 4) == 0 ||
               strncasecmp(line, "RSET", 4) == 0) {
        c->rcpts = 0;
        say(c, "250 ok\r\n");
    } else {
        say(c, strncasecmp(line, "HELO", 4) == 0 ||
                       strncasecmp(line, "NOOP", 4) == 0
                   ? "250 ok\r\n"
                   : "500 what?\r\n");
    }
    return true;
}

/* Looks for CRLF.CRLF, over any number of reads; returns what is used. */
static size_t body(struct conn *c, const char *p, size_t n)
{
    static const char mark[] = "\r\n.\r\n";
    size_t i = 0;

    while (i < n) {
        if (c->matched == 0) {
            const char *cr = memchr(p + i, '\r', n - i);
            if (cr == NULL) {
                i = n;
                break;
            }
            i = (size_t)(cr - p);
        }
        if (p[i] == mark[c->matched])
            c->matched++;
        else
            c->matched = p[i] == '\r';
        i++;
        if (c->matched == 5) {
            message_ends(c);
            break;
        }
    }
    count.bytes += (long)i;
    return i;
}

static size_t chunk(struct conn *c, size_t n)
{
    size_t used = n < c->left ? n : c->left;

    c->left -= used;
    count.bytes += (long)used;
    if (c->left > 0)
        return used;
    c->mode = COMMANDS;
    if (c->last)
        message_ends(c);
    else
        say(c, "250 ok\r\n");
    return used;
}

/* Works on input until it needs more or must wait.  Returns octets used, or
 * -1 to hang up. */
static ssize_t work(struct conn *c, char *p, size_t n)
{
    size_t at = 0;

    while (!c->waiting && (at < n || (c->mode == CHUNK && c->left == 0))) {
        if (c->mode == BODY) {
            at += body(c, p + at, n - at);
        } else if (c->mode == CHUNK) {
            at += chunk(c, n - at);
        } else {
            char *lf = memchr(p + at, '\n', n - at);
            if (lf == NULL)
                return n - at < LINE_MAX_IN ? (ssize_t)at : -1;
            *lf = '\0';
            bool stay = command(c, p + at);
            at = (size_t)(lf + 1 - p);
            if (!stay)
                return -1;
        }
    }
    return (ssize_t)at;
}

/* The first n octets of scratch are input of this connection. */
static void go_on(struct conn *c, size_t n)
{
    ssize_t used = work(c, scratch, n);
    bool sent = flush(c) == 0;

    out_n = 0;
    if (used < 0 || (!sent && !c->waiting)) {
        hang_up(c);
        return;
    }
    c->kept_n = n - (size_t)used;
    if (c->kept_n > 0) {
        c->kept = malloc(c->kept_n);
        if (c->kept == NULL)
            fatal("memory");
        memcpy(c->kept, scratch + used, c->kept_n);
    }
}

static size_t take_kept(struct conn *c)
{
    size_t n = c->kept_n;

    if (n > 0) {
        memcpy(scratch, c->kept, n);
        free(c->kept);
        c->kept = NULL;
        c->kept_n = 0;
    }
    return n;
}

/* Returns true when it is over, for now or for good. */
static bool shake(struct conn *c)
{
    int how = secure_handshake(c->ssl);

    if (how < 0)
        hang_up(c);
    if (how <= 0)
        return true;
    c->shaking = false;
    count.handshakes++;
    count.resumed += SSL_session_reused(c->ssl);
    return false;
}

/* All records that are there, as one input. */
static ssize_t receive(struct conn *c, char *to, size_t room)
{
    size_t have = 0;
    int later = 0;

    while (have < room) {
        ssize_t got = secure_read(c->ssl, to + have, room - have, &later);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    if (have == 0 && later)
        errno = EAGAIN;
    return have > 0 ? (ssize_t)have : later ? -1 : 0;
}

static void on_input(struct conn *c)
{
    if (c->shaking && shake(c))
        return;
    size_t n = take_kept(c);
    ssize_t got = c->ssl != NULL
                      ? receive(c, scratch + n, sizeof scratch - n)
                      : recv(c->fd, scratch + n, sizeof scratch - n, 0);

    if (got < 0 && c->ssl != NULL && errno == EAGAIN)
        go_on(c, n);
    else if (got <= 0)
        hang_up(c);
    else
        go_on(c, n + (size_t)got);
}

static void answer_late(double t)
{
    while (wait_head != NULL && wait_head->due <= t) {
        struct conn *c = wait_head;
        wait_head = c->next;
        if (wait_head == NULL)
            wait_tail = &wait_head;
        c->waiting = false;
        watch(c);
        say(c, c->answer);
        go_on(c, take_kept(c));
    }
}

/* --- listening ----------------------------------------------------------- */

static void on_client(struct door *d)
{
    int one = 1, fd;

    while ((fd = accept4(d->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (c == NULL)
            fatal("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        c->door = d;
        d->connections++;
        count.connections++;
        if (++d->open > d->most_open)
            d->most_open = d->open;
        if (++count.open > count.most_open)
            count.most_open = count.open;
        watch(c);
        say(c, "220 sink.test ESMTP\r\n");
        go_on(c, 0);
    }
}

static void listen_on(in_addr_t address, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    struct epoll_event ev = { .events = EPOLLIN };
    int one = 1;

    if (ndoors == DOORS_MAX) {
        errno = E2BIG;
        fatal("addresses");
    }
    struct door *d = &doors[ndoors++];
    d->is_door = true;
    a.sin_port = htons((unsigned short)port);
    a.sin_addr.s_addr = address;
    inet_ntop(AF_INET, &a.sin_addr, d->name, sizeof d->name);
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(d->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(d->fd, 4096) != 0)
        fatal(d->name);
    ev.data.ptr = d;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, d->fd, &ev) != 0)
        fatal("epoll");
}

/* FIRST:PORT or FIRST-LAST:PORT. */
static void listen_on_all(char *text)
{
    char *colon = strrchr(text, ':'), *dash = strchr(text, '-');
    struct in_addr first, last;

    errno = EINVAL;
    if (colon == NULL)
        fatal(text);
    *colon = '\0';
    if (dash != NULL)
        *dash = '\0';
    if (inet_pton(AF_INET, text, &first) != 1 ||
        inet_pton(AF_INET, dash != NULL ? dash + 1 : text, &last) != 1)
        fatal(text);
    for (uint32_t a = ntohl(first.s_addr); a <= ntohl(last.s_addr); a++)
        listen_on(htonl(a), atoi(colon + 1));
}

static void options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "a:d:n:s:C:PbB4:5:")) != -1)
        switch (o) {
        case 'a': listen_on_all(optarg); break;
        case 'd': delay = atof(optarg) / 1e3; break;
        case 'n': leave_after = atol(optarg); break;
        case 's': status_file = optarg; break;
        case 'C': secure = secure_context(optarg); break;
        case 'P': pipelining = false; break;
        case 'b': chunking = true; break;
        case 'B': chunking_half = true; break;
        case '4': defer_each = atol(optarg); break;
        case '5': refuse_each = atol(optarg); break;
        default: exit(64);
        }
    if (ndoors == 0) {
        fputs("usage: sink -a ADDRESS[-ADDRESS]:PORT ... [-P] [-b] [-d ms] "
              "[-n messages] [-s FILE] [-C PEM] [-B] [-4 N] "
              "[-5 N]\n",
              stderr);
        exit(64);
    }
}

static void on_signal(int signo)
{
    if (signo == SIGUSR1)
        told = 1;
    else if (signo == SIGUSR2)
        reset = 1;
    else
        stop = 1;
}

/* Signals are taken only inside of the wait, so none is seen too late. */
static int wait_for_work(struct epoll_event *ev, int room, const sigset_t *open)
{
    struct timespec t = { 0, 0 };

    if (wait_head != NULL) {
        double d = wait_head->due - now();
        if (d > 0) {
            t.tv_sec = (time_t)d;
            t.tv_nsec = (long)((d - (double)t.tv_sec) * 1e9);
        }
    }
    return epoll_pwait2(ep, ev, room, wait_head != NULL ? &t : NULL, open);
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
    struct sigaction sa = { .sa_handler = on_signal };
    struct epoll_event ev[256];
    sigset_t shut, open;

    /* Before we listen: who can connect may ask. */
    sigfillset(&shut);
    sigprocmask(SIG_SETMASK, &shut, &open);
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGUSR2, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    raise_limit();
    ep = epoll_create1(0);
    options(argc, argv);
    while (!stop && (leave_after == 0 || count.messages < leave_after ||
                     wait_head != NULL)) {
        int n = wait_for_work(ev, 256, &open);
        for (int i = 0; i < n; i++)
            if (*(bool *)ev[i].data.ptr)
                on_client(ev[i].data.ptr);
            else
                on_input(ev[i].data.ptr);
        answer_late(now());
        if (reset)
            start_anew();
        if (told)
            tell();
        reset = told = 0;
    }
    tell();
    return 0;
}
