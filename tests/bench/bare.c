/* bare.c - the least that a server with TLS can do: a yardstick.
 *
 *   bare -a 127.0.0.1:2525 -C PEM
 *
 * Greets, answers EHLO and STARTTLS, shakes hands, closes; by select(), in one
 * process.  The handshake is the one that mta makes: the same group, cipher
 * suite and number of tickets; all else is OpenSSL's default, but that it reads
 * all there is at once.  Prints a line of JSON at SIGTERM: handshakes, resumed,
 * own CPU us for each of those behind the first WARM: the measured server is
 * warm, too. */
#define _GNU_SOURCE
#include "secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_CTX *context;
static SSL *ssl[FD_SETSIZE];
static fd_set watched;
static int listener = -1, top;
static long handshakes, resumed;
static double warm_us; /* CPU when WARM handshakes were done */
static volatile sig_atomic_t stop;

enum { WARM = 100 };

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fatal(const char *what)
{
    fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void hang_up(int fd)
{
    SSL_free(ssl[fd]);
    ssl[fd] = NULL;
    FD_CLR(fd, &watched);
    close(fd);
}

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        hang_up(fd);
}

static void on_client(void)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd < 0 || fd >= FD_SETSIZE) {
        if (fd >= 0)
            close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    FD_SET(fd, &watched);
    top = fd > top ? fd : top;
    say(fd, "220 bare.test ESMTP\r\n");
}

/* A command a read, as the generator sends them. */
static void on_command(int fd)
{
    char line[512];
    ssize_t n = recv(fd, line, sizeof line - 1, 0);

    if (n <= 0) {
        hang_up(fd);
    } else if (strncasecmp(line, "EHLO", 4) == 0) {
        say(fd, "250-bare.test\r\n250 STARTTLS\r\n");
    } else {
        say(fd, "220 go on\r\n");
        ssl[fd] = secure_start(context, fd, 1);
    }
}

static void shake(int fd)
{
    int how = secure_handshake(ssl[fd]);

    if (how == 0)
        return;
    if (how == 1) {
        if (++handshakes == WARM)
            warm_us = cpu_us();
        resumed += SSL_session_reused(ssl[fd]);
        SSL_shutdown(ssl[fd]);
    }
    hang_up(fd);
}

static void on_signal(int signo)
{
    (void)signo;
    stop = 1;
}

static void options(int argc, char **argv)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int o, one = 1;

    while ((o = getopt(argc, argv, "a:C:")) != -1) {
        char *colon = strrchr(optarg, ':');
        if (o == 'C') {
            context = secure_context(optarg);
        } else if (o == 'a' && colon != NULL) {
            *colon = '\0';
            inet_pton(AF_INET, optarg, &a.sin_addr);
            a.sin_port = htons((unsigned short)atoi(colon + 1));
        } else {
            exit(64);
        }
    }
    if (context == NULL || a.sin_port == 0)
        exit(64);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set1_groups_list(context, "X25519:P-256");
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_read_ahead(context, 1);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(listener, 4096) != 0)
        fatal("listen");
    FD_SET(listener, &watched);
    top = listener;
}

int main(int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = on_signal };
    sigset_t shut, open;

    sigfillset(&shut);
    sigprocmask(SIG_SETMASK, &shut, &open);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    options(argc, argv);
    while (!stop) {
        fd_set ready = watched;
        if (pselect(top + 1, &ready, NULL, NULL, NULL, &open) <= 0)
            continue;
        for (int fd = 0; fd <= top; fd++)
            if (!FD_ISSET(fd, &ready))
                continue;
            else if (fd == listener)
                on_client();
            else if (ssl[fd] != NULL)
                shake(fd);
            else
                on_command(fd);
    }
    long counted = handshakes > WARM ? handshakes - WARM : 1;
    printf("{\"handshakes\":%ld,\"resumed\":%ld,\"own_cpu_us\":%.1f}\n",
           handshakes, resumed, (cpu_us() - warm_us) / (double)counted);
    return 0;
}
