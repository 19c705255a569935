#include "session_rig.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/os.h"
#include "log/log.h"
#include "net/listen.h"
#include "send/work_item.h"
#include "test_clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* In the file of the queue the first field stands behind all others, as one
 * does that became known at the dot. */
static const char front[] = "Subject: x\r\n", text[] = "\r\nhello\r\n";

/* --- the peer, in a thread of its own --------------------------------------*/

enum {
    REAL_MS = 60000, /* for what should take no time at all */
    IDLE_MS = 5,
    PASS_MS = 250
};

struct peer {
    pthread_t thread;
    const struct dialogue *d;
    int listener;
    int turns; /* its end of the line to the client's thread */
    int fd;
    FILE *in, *out;
    char why[600]; /* it is not content; "" */
};

static bool discontent(struct peer *p, const char *want, const char *got)
{
    snprintf(p->why, sizeof p->why, "wanted \"%s\", got \"%s\"", want, got);
    return false;
}

static bool expect_line(struct peer *p, const char *want)
{
    char line[512];

    if (fgets(line, sizeof line, p->in) == NULL)
        return discontent(p, want,
                          ferror(p->in) ? strerror(errno) : "end of file");
    line[strcspn(line, "\r\n")] = '\0';
    return strcmp(line, want) == 0 || discontent(p, want, line);
}

static bool expect_text(struct peer *p)
{
    return expect_line(p, "Subject: x") && expect_line(p, "") &&
           expect_line(p, "hello");
}

static bool skip(struct peer *p, const char *line)
{
    static __thread char part[65536];
    size_t left = (size_t)atol(line + 2), n;

    while (left > 0) {
        n = fread(part, 1, left < sizeof part ? left : sizeof part, p->in);
        if (n == 0)
            return discontent(p, line, "end of file");
        left -= n;
    }
    return true;
}

/* The client's thread goes on alone: it has all that was sent, and does what
 * the letter says.  It may end over that. */
static bool hand_over(struct peer *p, char letter)
{
    struct pollfd over = { p->fd, 0, 0 };
    int unread = 0;
    char back;

    while (ioctl(p->fd, TIOCOUTQ, &unread) == 0 && unread > 0 &&
           poll(&over, 1, 1) == 0)
        ;
    if (send(p->turns, &letter, 1, MSG_NOSIGNAL) == 1 &&
        recv(p->turns, &back, 1, 0) < 0 && errno == EAGAIN)
        return discontent(p, "a turn of the client", "none");
    return true;
}

static bool wait_for_end(struct peer *p)
{
    char part[512];

    while (fread(part, 1, sizeof part, p->in) > 0)
        ;
    return true;
}

/* False: that was the last line. */
static bool play_line(struct peer *p, const char *line)
{
    if (line[0] == 'S') {
        fprintf(p->out, "%s\r\n", line + 2);
        return true;
    }
    fflush(p->out);
    switch (line[0]) {
    case 'C': return expect_line(p, line + 2);
    case 'D': return expect_text(p) && expect_line(p, ".");
    case 'B': return expect_line(p, "BDAT 21 LAST") && expect_text(p);
    case 'E':
        return getc(p->in) == EOF || discontent(p, "end of file", "something");
    case 'R': return skip(p, line);
    case 'P':
    case 'T': return hand_over(p, line[0]);
    case 'H': return wait_for_end(p);
    default: return false;
    }
}

static bool accept_client(struct peer *p)
{
    struct pollfd in = { p->listener, POLLIN, 0 };
    const struct timeval most = { REAL_MS / 1000, 0 };

    if (poll(&in, 1, REAL_MS) != 1)
        return discontent(p, "a connection", "none");
    p->fd = accept(p->listener, NULL, NULL);
    if (p->fd < 0)
        return discontent(p, "a connection", strerror(errno));
    int flags = fcntl(p->fd, F_GETFL);
    fcntl(p->fd, F_SETFL, flags & ~O_NONBLOCK);
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    p->in = fdopen(p->fd, "r");
    p->out = fdopen(dup(p->fd), "w");
    return p->in != NULL && p->out != NULL;
}

static void *play(void *arg)
{
    struct peer *p = arg;
    bool goes_on = accept_client(p);

    for (size_t i = 0; goes_on && i < LINES_MAX && p->d->lines[i] != NULL; i++)
        goes_on = play_line(p, p->d->lines[i]);
    if (p->out != NULL)
        fclose(p->out);
    if (p->in != NULL)
        fclose(p->in);
    return NULL;
}

/* What is written to a client that has left is no reason to die. */
static struct peer *start_peer(const struct dialogue *d, struct addr *at,
                               int *turns)
{
    struct peer *p = calloc(1, sizeof *p);
    const struct timeval most = { REAL_MS / 1000, 0 };
    struct err e;
    socklen_t len = sizeof at->u;
    int end[2];

    ck_assert_ptr_nonnull(p);
    p->d = d;
    ck_assert(addr_parse_ip(at, span_of("127.0.0.1"), 0));
    p->listener = net_listen(at, 5, &e);
    ck_assert_msg(p->listener >= 0, "%s", e.text);
    ck_assert_int_eq(getsockname(p->listener, &at->u.sa, &len), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, end), 0);
    p->turns = end[0];
    *turns = end[1];
    setsockopt(p->turns, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    os_signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, play, p), 0);
    return p;
}

static void end_peer(struct peer **p, const char *name)
{
    ck_assert_int_eq(pthread_join((*p)->thread, NULL), 0);
    ck_assert_msg((*p)->why[0] == '\0', "%s: the peer %s", name, (*p)->why);
    close((*p)->listener);
    close((*p)->turns);
    free(*p);
    *p = NULL;
}

/* --- the client ------------------------------------------------------------*/

struct run {
    int jobs_back;
    unsigned next; /* of the untouched */
    bool ended;
    struct delivery *back[JOBS_MAX];
};

static void on_done(void *ctx, struct delivery *j)
{
    struct run *r = ctx;

    r->jobs_back++;
    r->back[j->id.n] = j;
    bool open = j->rcpt[0].effect == MAIL_UNTOUCHED &&
                j->rcpt[0].answer.outcome == OUTCOME_NONE;
    if (!open)
        return;
    ck_assert_msg(j->id.n >= r->next, "untouched mail in another order");
    r->next = j->id.n;
}

static void on_ended(void *ctx, struct send_session *s)
{
    struct run *r = ctx;

    (void)s;
    r->ended = true;
}

static struct delivery *make_delivery(const struct body *body, int n,
                                      unsigned number,
                                      const struct around *around)
{
    static const char *const names[] = { "r0@x.test", "r1@x.test",
                                         "r2@x.test" };
    struct send_delivery *d =
        calloc(1, sizeof *d + (size_t)n * sizeof(struct delivery_rcpt));

    ck_assert_ptr_nonnull(d);
    struct delivery *j = &d->delivery;
    d->configured = around->configured;
    j->rcpt = (struct delivery_rcpt *)(void *)(d + 1);
    j->id.n = number;
    snprintf(j->host, sizeof j->host, "peer.test");
    j->sender = "a@b.test";
    j->body = *body;
    j->body.crc ^= number + 1 == around->rotten;
    j->nrcpt = (size_t)n;
    for (int i = 0; i < n; i++) {
        j->rcpt[i].address = names[i];
        j->rcpt[i].tls = (unsigned char)around->level;
        j->rcpt[i].login = (around->auth != 0) != around->no_login;
    }
    return j;
}

static char sign_of(const struct delivery_rcpt *r)
{
    static const char signs[] = {
        [MAIL_MOVES_ON] = 'm', [MAIL_LOOPS] = 'l',   [MAIL_UNTOUCHED] = '0',
        [MAIL_AGAIN] = 'a',    [MAIL_NEXT_MX] = '>', [MAIL_ATTEMPT] = '~',
        [MAIL_SHUT_OUT] = 'x', [MAIL_MISFIT] = 'f',  [MAIL_SUSPECT] = '?',
        [MAIL_NO_LOGIN] = 'n', [MAIL_WAITS] = 'w',   [MAIL_BOUNCES] = '!',
    };
    static const bool counts[] = { [MAIL_NEXT_MX] = true,
                                   [MAIL_ATTEMPT] = true,
                                   [MAIL_SUSPECT] = true,
                                   [MAIL_BOUNCES] = false };

    switch (r->answer.outcome) {
    case OUTCOME_DELIVERED: return '+';
    case OUTCOME_FAILED: return '!';
    default:
        ck_assert(counts[r->effect] == (r->answer.outcome == OUTCOME_DEFERRED));
        return signs[r->effect];
    }
}

static void describe(struct buf *b, const struct run *r, int deliveries)
{
    for (int i = 0; i < deliveries; i++)
        for (size_t k = 0; k < r->back[i]->nrcpt; k++) {
            const struct delivery *j = r->back[i];
            const struct answer *a = &j->rcpt[k].answer;
            const char *end = k + 1 < j->nrcpt ? " " : ";";
            buf_addf(b, "%c%u%s", sign_of(&j->rcpt[k]), a->status.code, end);
        }
}

struct mail {
    const struct dialogue *d;
    const struct around *around;
    struct body body, big;
    unsigned n; /* deliveries given */
    bool acted;
    int turns;  /* the line to the peer's thread */
    char asked; /* by the peer; 0: nothing */
    int waits;  /* the state in which time passes; -1: none */
};

static void give(struct send_session *s, struct mail *g)
{
    const struct body *body = g->n + 1 == g->around->big ? &g->big : &g->body;
    struct delivery *j = make_delivery(body, g->d->rcpts, g->n, g->around);

    g->n++;
    send_session_give(s, j);
}

static void act(struct send_session *s, struct mail *g)
{
    if (g->acted || g->around->act == 0 || s->state != g->around->in)
        return;
    g->acted = true;
    switch (g->around->act) {
    case 's': send_session_stop(s); break;
    case 'k': send_session_kill(s); break;
    case 'h': send_session_hurry(s); break;
    default: give(s, g);
    }
}

/* Nothing was ready: the client has done what it can. */
static void give_turn(const struct send_session *s, struct mail *g)
{
    if (g->waits == (int)s->state)
        test_clock_pass_ms(PASS_MS);
    else
        g->waits = -1;
    if (g->asked != 0) {
        g->waits = g->asked == 'T' ? (int)s->state : -1;
        ck_assert_int_eq(send(g->turns, "", 1, MSG_NOSIGNAL), 1);
        g->asked = 0;
    } else if (recv(g->turns, &g->asked, 1, MSG_DONTWAIT) != 1) {
        g->asked = 0;
    }
}

static void drive(struct loop *l, struct conn_env *conns, struct run *r,
                  struct send_session *s, struct mail *g)
{
    uint64_t until = test_clock_real_ms() + REAL_MS;
    struct err e;

    act(s, g);
    while (!r->ended && test_clock_real_ms() < until) {
        conn_flush_all(conns);
        if (!r->ended)
            ck_assert_int_ge(loop_turn(l, IDLE_MS, &e), 0);
        if (!r->ended)
            act(s, g);
        if (!r->ended && loop_nready(l) == 0)
            give_turn(s, g);
    }
    conn_flush_all(conns);
    ck_assert_msg(r->ended, "%s: the session did not end", g->d->name);
}

/* What the session logs goes to stderr when there is no collector. */
static int silence(void)
{
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

    ck_assert_int_ge(dup2(null, STDERR_FILENO), 0);
    close(null);
    return kept;
}

static void speak_again(int kept)
{
    ck_assert_int_ge(dup2(kept, STDERR_FILENO), 0);
    close(kept);
}

static void describe_end(struct buf *b, const struct send_session_end *end)
{
    static const char *const chunking[] = { "", "bdat=works ", "bdat=broken " };
    const struct send_limits *l = &end->learned;

    if (l->messages > 0)
        buf_addf(b, "messages=%u ", l->messages);
    if (l->rcpts > 0)
        buf_addf(b, "rcpts=%u ", l->rcpts);
    buf_addf(b, "%s", chunking[l->chunking]);
    if (l->no_tls)
        buf_addf(b, "clear ");
    if (l->tried_messages > 0)
        buf_addf(b, "tried=%u:#%u ", l->tried_messages, l->tried_id.n);
    if (end->lost)
        buf_addf(b, "lost=#%u ", end->lost_id.n);
    if (end->refused)
        buf_addf(b, "refused=#%u%s ", end->refused_id.n,
                 end->why.text[0] == '\0' ? " without a reason" : "");
    if (end->mail == MAIL_LOOPS)
        buf_addf(b, "loops ");
    b->n -= b->n > 0;
    buf_addf(b, "%s", "");
}

static void check_end(const struct dialogue *d, const struct around *around,
                      const struct send_session_end *end)
{
    char got[200] = "";
    struct buf b = BUF_ON(got);

    ck_assert_msg(end->lane == d->lane, "%s: lane %d (%s)", d->name, end->lane,
                  end->why.text);
    ck_assert_msg(end->delivered == d->delivered, "%s: %u", d->name,
                  end->delivered);
    ck_assert(around->act == 'k' ||
              end->fault ==
                  (end->lane >= LANE_REOPENS || end->mail == MAIL_LOOPS ||
                   end->mail == MAIL_SHUT_OUT || end->learned.no_tls));
    ck_assert(!end->fault || end->why.text[0] != '\0');
    describe_end(&b, end);
    ck_assert_msg(around->end == NULL || strcmp(got, around->end) == 0,
                  "%s: %s", d->name, got);
}

/* The text of the messages, so much longer than usual. */
static FILE *make_body(struct body *b, size_t longer)
{
    FILE *f = tmpfile();
    uint32_t crc = crc32c(0, text, strlen(text));
    char line[64];

    ck_assert_ptr_nonnull(f);
    memset(line, 'x', sizeof line);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    fputs(text, f);
    for (size_t i = 0; i < longer / sizeof line; i++) {
        fwrite(line, 1, sizeof line, f);
        crc = crc32c(crc, line, sizeof line);
    }
    fputs(front, f);
    fflush(f);
    *b = body_of_file(fileno(f), 0, strlen(text) + longer + strlen(front), crc);
    b->front = (uint32_t)strlen(front);
    return f;
}

static struct session_login *make_login(const struct around *around)
{
    struct session_login *l = calloc(1, sizeof *l);

    ck_assert_ptr_nonnull(l);
    l->number = 1;
    l->mechanisms = around->auth;
    l->tls = around->login_level;
    l->size = sizeof *l;
    l->sasl = (struct sasl_login){ SPAN_LIT("u"), SPAN_LIT("p"),
                                   SPAN_LIT("peer.test"), 587 };
    return l;
}

void session_rig_run(const struct dialogue *d, const struct around *around)
{
    struct loop *l = NULL;
    struct conn_env conns;
    struct run r = { .jobs_back = 0 };
    const struct around nothing = { .messages = 0 };
    struct send_env env = { .conns = &conns,
                            .hostname = "me.test",
                            .timeout_cap = 1,
                            .done = on_done,
                            .ended = on_ended,
                            .ctx = &r };
    char got[400];
    struct buf b = BUF_ON(got);
    struct addr at;
    struct err e;

    around = around != NULL ? around : &nothing;
    struct mail g = { .d = d, .around = around, .waits = -1 };
    FILE *f = make_body(&g.body, 0);
    FILE *big = around->big > 0 ? make_body(&g.big, BIG) : NULL;
    env.linger = around->linger;
    env.messages = around->messages;
    env.no_chunking = around->no_chunking;
    struct peer *peer = start_peer(d, &at, &g.turns);
    test_clock_stop();
    ck_assert_int_eq(loop_new(&l, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&conns, l, 200, &e), 0);
    int kept = silence();
    struct send_session *s =
        send_session_new(&at, "peer.test", &around->limits);
    if (around->tls) {
        ck_assert_msg(tls_client_new(&env.tls, &e) == 0, "%s", e.text);
        send_session_want_tls(s, around->level == CONF_TLS_MAY, NULL);
    }
    if (around->auth != 0)
        send_session_want_login(s, make_login(around));
    send_session_start(s, &env);
    while (g.n + (around->act == 'g') < (unsigned)d->deliveries)
        give(s, &g);
    drive(l, &conns, &r, s, &g);
    test_clock_go_on();
    log_close();
    speak_again(kept);
    close(g.turns);
    ck_assert_int_eq(r.jobs_back, d->deliveries);
    describe(&b, &r, d->deliveries);
    const struct send_session_end *end = send_session_end(s);
    ck_assert_msg(strcmp(got, d->expect) == 0, "%s: %s (%s)", d->name, got,
                  end->why.text);
    check_end(d, around, end);
    end_peer(&peer, d->name);
    for (int i = 0; i < d->deliveries; i++)
        delivery_free(&r.back[i]);
    send_session_free(&s);
    tls_context_free(&env.tls);
    ck_assert_uint_eq(pool_used(conns.blocks), 0);
    conn_env_done(&conns);
    loop_free(&l);
    fclose(f);
    if (big != NULL)
        fclose(big);
}
