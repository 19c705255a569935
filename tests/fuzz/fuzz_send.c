/* fuzz_send.c - a whole session of the client, from the bytes of a server.
 *
 * The server waits for a command before each of its lines, or says several
 * at once, in pieces; then it closes.  Whatever it says: every delivery comes
 * back, once; what the client says is lines of SMTP and whole messages; a
 * message counts as delivered only after a 2xx reply. */
#include "fuzz.h"

#include "base/chain.h"
#include "log/log.h"
#include "net/listen.h"
#include "send/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { JOBS = 3, RCPTS = 2, HEARD = 64 * 1024, TURNS = 4000 };

static const char body[] = "Subject: x\r\n\r\nhello\r\n.dot\r\n";

static struct {
    struct loop *loop;
    struct conn_env conns;
    struct pool *blocks;
    struct chain body;
    struct addr at;
    int listen_fd;
} all;

static struct {
    unsigned back[JOBS];
    struct delivery *delivery[JOBS];
    bool ended;
    size_t n;
} now;
static char heard[HEARD];

static void on_done(void *ctx, struct delivery *j)
{
    (void)ctx;
    now.back[j->id.n]++;
}

static void on_ended(void *ctx, struct send_session *s)
{
    (void)ctx;
    (void)s;
    now.ended = true;
}

static void prepare(void)
{
    socklen_t len = sizeof all.at.u;
    struct err e;

    signal(SIGPIPE, SIG_IGN);
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    all.blocks = chain_pool_new(10);
    MUST(all.blocks != NULL &&
         chain_add(&all.body, all.blocks, body, strlen(body)));
    MUST(loop_new(&all.loop, NULL, &e) == 0);
    MUST(conn_env_init(&all.conns, all.loop, 200, &e) == 0);
    MUST(addr_parse_ip(&all.at, span_of("127.0.0.1"), 0));
    MUST((all.listen_fd = net_listen(&all.at, 5, &e)) >= 0);
    MUST(getsockname(all.listen_fd, &all.at.u.sa, &len) == 0);
}

static struct delivery *make_delivery(unsigned number)
{
    static const char *const names[RCPTS] = { "r0@x.test", "r1@x.test" };
    struct send_delivery *d =
        calloc(1, sizeof *d + RCPTS * sizeof(struct delivery_rcpt));

    MUST(d != NULL);
    struct delivery *j = &d->delivery;
    j->rcpt = (struct delivery_rcpt *)(void *)(d + 1);
    j->id.n = number;
    j->sender = number == 2 ? "" : "a@b.test";
    j->body = body_of_chain(&all.body, 0);
    j->nrcpt = number == 1 ? 1 : RCPTS;
    for (size_t i = 0; i < j->nrcpt; i++)
        j->rcpt[i].address = names[i];
    return j;
}

static void turn(void)
{
    struct err e;

    conn_flush_all(&all.conns);
    if (!now.ended)
        MUST(loop_turn(all.loop, 0, &e) >= 0);
}

/* How many lines came since the last time; -1: it has closed. */
static int hear(int fd)
{
    int lines = 0;
    ssize_t n;

    while ((n = recv(fd, heard + now.n, HEARD - now.n, MSG_DONTWAIT)) > 0)
        for (ssize_t i = 0; i < n; i++, now.n++)
            lines += heard[now.n] == '\n';
    return n == 0 || (errno != EAGAIN && errno != EINTR) ? -1 : lines;
}

static int await_client(void)
{
    int fd;

    while ((fd = accept(all.listen_fd, NULL, NULL)) < 0) {
        MUST(errno == EAGAIN || errno == EINTR);
        turn();
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* A byte of 0 to 31 but for CR and LF: so many pieces or pauses; the other
 * octets are said as they are. */
static void play(int fd, const char *p, size_t n)
{
    while (n > 0 && !now.ended) {
        size_t part = 0;
        while (part < n && ((unsigned char)p[part] >= 32 || p[part] == '\r' ||
                            p[part] == '\n'))
            part++;
        if (part > 0 && send(fd, p, part, MSG_NOSIGNAL) < 0)
            return;
        if (part < n && p[part] == 0 &&
            send(fd, p + part, 1, MSG_NOSIGNAL) < 0) /* a NUL, for once */
            return;
        for (int i = part < n ? p[part] : 1; i >= 0 && !now.ended; i--) {
            turn();
            if (hear(fd) < 0)
                return;
        }
        part += part < n;
        p += part;
        n -= part;
    }
}

static void listen_on(int fd)
{
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < TURNS && !now.ended; i++) {
        turn();
        hear(fd);
    }
    conn_flush_all(&all.conns);
    hear(fd);
    MUST(now.ended);
}

static size_t count(const char *what)
{
    size_t n = 0, len = strlen(what);

    for (size_t i = 0; i + len <= now.n; i++)
        n += memcmp(heard + i, what, len) == 0;
    return n;
}

/* Only whole lines, and what was delivered was sent to its end, after DATA or
 * in a chunk of its own (RFC 3030). */
static void check_heard(unsigned delivered)
{
    char chunk[sizeof body + 32];

    for (size_t i = 0; i < now.n; i++)
        MUST((heard[i] == '\n') == (i > 0 && heard[i - 1] == '\r'));
    snprintf(chunk, sizeof chunk, "BDAT %zu LAST\r\n%s", sizeof body - 1, body);
    size_t dots = count("Subject: x\r\n\r\nhello\r\n..dot\r\n.\r\n");
    MUST(dots + count(chunk) >= delivered);
}

static void check_jobs(const struct send_session *s, struct span said)
{
    unsigned delivered = send_session_end(s)->delivered, codes = 0;
    unsigned with_yes = 0;

    for (size_t i = 0; i < said.n; i++)
        codes += said.p[i] == '2';
    for (unsigned i = 0; i < JOBS; i++) {
        bool yes = false;
        MUST(now.back[i] == 1);
        for (size_t r = 0; r < now.delivery[i]->nrcpt; r++) {
            const struct answer *a = &now.delivery[i]->rcpt[r].answer;
            MUST(a->outcome <= OUTCOME_FAILED);
            MUST(a->outcome != OUTCOME_DELIVERED || a->status.code / 100 == 2);
            MUST(a->status.code == 0 ||
                 (a->status.code >= 200 && a->status.code <= 599));
            MUST(memchr(a->text, '\0', sizeof a->text) != NULL);
            yes |= a->outcome == OUTCOME_DELIVERED;
        }
        with_yes += yes;
    }
    MUST(with_yes <= delivered && delivered <= codes);
    check_heard(delivered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct send_limits none = { .messages = 0 };
    struct send_env env = { .conns = &all.conns,
                            .hostname = "me.test",
                            .timeout_cap = 30,
                            .done = on_done,
                            .ended = on_ended };

    if (all.loop == NULL)
        prepare();
    char *copy = exact_copy(data, n);
    memset(&now, 0, sizeof now);
    struct send_session *s = send_session_new(&all.at, "peer.test", &none);
    MUST(s != NULL);
    send_session_start(s, &env);
    for (unsigned i = 0; i < JOBS; i++)
        send_session_give(s, now.delivery[i] = make_delivery(i));
    int fd = await_client();
    play(fd, copy, n);
    listen_on(fd);
    close(fd);
    check_jobs(s, (struct span){ copy, n });
    for (unsigned i = 0; i < JOBS; i++)
        delivery_free(&now.delivery[i]);
    send_session_free(&s);
    MUST(pool_used(all.conns.blocks) == 0);
    free(copy);
    return 0;
}
