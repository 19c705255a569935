/* test_send_session.c - the client session against a scripted peer.
 *
 * The peer is a child process on loopback that follows a script of lines:
 *   "S text"  say it      "C text"  expect exactly this line
 *   "D"       expect the lines of the message as the test made it
 *   "B"       expect the same as the last chunk of BDAT
 *   "X"       close       "H"       say nothing more, wait for the client
 *   "E"       the client closes and sends nothing before that
 * What the client makes of it is one word per recipient: + delivered,
 * ~ deferred, ! failed, 0 not tried, with the code; messages end in ";". */
#include "base/buf.h"
#include "base/crc32c.h"
#include "log/log.h"
#include "net/listen.h"
#include "send/session.h"
#include "spool/format.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES_MAX = 80, JOBS_MAX = 4 };

#define EHLO "S 220 hello", "C EHLO me.test"
#define PLAIN EHLO, "S 250 hi"
#define CHUNKS EHLO, "S 250-hi", "S 250-PIPELINING", "S 250 CHUNKING"
#define PIPE EHLO, "S 250-hi", "S 250 PIPELINING"
#define MAIL "C MAIL FROM:<a@b.test>"
#define R0 "C RCPT TO:<r0@x.test>"
#define R1 "C RCPT TO:<r1@x.test>"
#define R2 "C RCPT TO:<r2@x.test>"
#define OK "S 250 ok"
#define GO "S 354 go"
#define QUIT "C QUIT", "S 221 bye"

/* In the file of the queue the first field stands behind all others, as one
 * does that became known at the dot. */
static const char front[] = "Subject: x\r\n", text[] = "\r\nhello\r\n";

/* clang-format off */
static const struct dialogue {
    const char *name;
    int deliveries, rcpts;
    const char *expect;
    bool fault;
    unsigned delivered;
    const char *lines[LINES_MAX];
} dialogues[] = {
    { "plain", 1, 1, "+250;", false, 1,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK, QUIT } },
    { "two messages, one session", 2, 1, "+250;+250;", false, 2,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK,
        MAIL, OK, R0, OK, "C DATA", GO, "D", OK, QUIT } },
    { "multi-line replies", 1, 1, "+250;", false, 1,
      { "S 220-hello", "S 220 there", "C EHLO me.test", "S 250-a", "S 250-b",
        "S 250 c", MAIL, "S 250-1", "S 250 2", R0, OK, "C DATA",
        "S 354-go", "S 354 on", "D", OK, QUIT } },
    { "pipelined", 1, 2, "+250 +250;", false, 1,
      { PIPE, MAIL, R0, R1, "C DATA", OK, OK, OK, GO, "D", OK, QUIT } },
    { "the next group comes with the dot", 3, 1, "+250;+250;+250;", false, 3,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", MAIL, R0, "C DATA",
        OK, OK, OK, GO, "D", MAIL, R0, "C DATA", OK, OK, OK, GO, "D",
        OK, QUIT } },
    { "one of two refused", 1, 2, "!550 +250;", false, 1,
      { PLAIN, MAIL, OK, R0, "S 550 no", R1, OK, "C DATA", GO, "D", OK,
        QUIT } },
    { "one of two refused, pipelined", 1, 2, "~450 +250;", false, 1,
      { PIPE, MAIL, R0, R1, "C DATA", OK, "S 450 later", OK, GO, "D", OK,
        QUIT } },
    { "all refused", 1, 2, "!550 ~451;", false, 0,
      { PLAIN, MAIL, OK, R0, "S 550 no", R1, "S 451 later", "C RSET", OK,
        QUIT } },
    { "all refused, DATA refused", 1, 1, "!550;", false, 0,
      { PIPE, MAIL, R0, "C DATA", OK, "S 550 no", "S 554 none", "C RSET",
        OK, QUIT } },
    { "all refused, 354 all the same", 1, 1, "!550;", false, 0,
      { PIPE, MAIL, R0, "C DATA", OK, "S 550 no", GO, "C .", "S 554 none",
        QUIT } },
    /* with BDAT messages follow each other and their answers come when they
     * come */
    { "chunked", 1, 2, "+250 +250;", false, 1,
      { CHUNKS, MAIL, R0, R1, "B", OK, OK, OK, OK, QUIT } },
    { "chunked, three under way", 3, 1, "+250;+250;+250;", false, 3,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B", OK, OK, OK, OK,
        OK, OK, OK, OK, OK, QUIT } },
    { "chunked, no pipelining: DATA", 1, 1, "+250;", false, 1,
      { EHLO, "S 250-hi", "S 250 CHUNKING", MAIL, OK, R0, OK, "C DATA", GO,
        "D", OK, QUIT } },
    { "chunked, SIZE said, no BINARYMIME claimed", 1, 1, "+250;", false, 1,
      { EHLO, "S 250-hi", "S 250-PIPELINING", "S 250-BINARYMIME",
        "S 250-SIZE 1000", "S 250 CHUNKING", "C MAIL FROM:<a@b.test> SIZE=21",
        R0, "B", OK, OK, OK, QUIT } },
    { "chunked, one RCPT refused", 2, 2, "!550 +250;+250 ~450;", false, 2,
      { CHUNKS, MAIL, R0, R1, "B", MAIL, R0, R1, "B", OK, "S 550 no", OK, OK,
        OK, OK, "S 450 later", OK, QUIT } },
    { "chunked, all RCPT refused, the next is fine", 2, 1, "!550;+250;",
      false, 1,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", OK, "S 550 no", "S 503 no", OK,
        OK, OK, QUIT } },
    { "chunked, all RCPT refused: RSET", 1, 1, "!550;", false, 0,
      { CHUNKS, MAIL, R0, "B", OK, "S 550 no", "S 503 no", "C RSET", OK,
        QUIT } },
    { "chunked, all RCPT refused, BDAT accepted", 1, 1, "!550;", false, 0,
      { CHUNKS, MAIL, R0, "B", OK, "S 550 no", OK, QUIT } },
    { "chunked, the peer is displaced by a refusal", 3, 1,
      "!550;+250;+250;", false, 2,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B", OK, "S 550 no",
        "S 503 no", "S 503 nested", "S 503 no", "S 503 no", "S 503 nested",
        "S 503 no", "S 503 no", "C RSET", OK, MAIL, R0, "B", MAIL, R0, "B",
        OK, OK, OK, OK, OK, OK, QUIT } },
    { "chunked, displaced and delivered all the same", 2, 1, "!550;+250;",
      false, 1,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", OK, "S 550 no", "S 503 no",
        "S 503 nested", OK, OK, "C RSET", OK, QUIT } },
    { "chunked, 503 to MAIL without a refusal is an answer", 1, 1, "!503;",
      false, 0,
      { CHUNKS, MAIL, R0, "B", "S 503 no", "S 503 no", "S 503 no", "C RSET",
        OK, QUIT } },
    { "chunked, MAIL refused", 2, 1, "~451;+250;", false, 1,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", "S 451 later", "S 503 no",
        "S 503 no", OK, OK, OK, QUIT } },
    { "chunked, BDAT LAST refused", 3, 1, "+250;!554;~451;", false, 1,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B", OK, OK, OK, OK,
        OK, "S 554 spam", OK, OK, "S 451 later", "C RSET", OK, QUIT } },
    { "chunked, too many recipients: the rest at once", 1, 2, "+250 +250;",
      false, 2,
      { CHUNKS, MAIL, R0, R1, "B", OK, OK, "S 452 too many", OK, MAIL, R1,
        "B", OK, OK, OK, QUIT } },
    { "chunked, LIMITS MAILMAX", 3, 1, "+250;+250;00;", false, 2,
      { EHLO, "S 250-hi", "S 250-PIPELINING", "S 250-LIMITS MAILMAX=2",
        "S 250 CHUNKING", MAIL, R0, "B", MAIL, R0, "B", OK, OK, OK, OK, OK,
        OK, QUIT } },
    { "chunked, 421 in the middle", 3, 1, "+250;~421;00;", true, 1,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B", OK, OK, OK, OK,
        "S 421 enough" } },
    { "chunked, 421 to BDAT LAST", 2, 1, "~421;00;", true, 0,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", OK, OK, "S 421 enough" } },
    { "chunked, closed with two under way", 4, 1, "+250;+250;~0;00;", true, 2,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B", MAIL, R0, "B",
        OK, OK, OK, OK, OK, OK, OK, OK, "X" } },
    { "chunked, closed before any answer", 3, 1, "00;00;00;", true, 0,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "X" } },
    { "chunked, 354 is no answer to BDAT", 2, 1, "~0;00;", true, 0,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", OK, OK, GO, "H" } },
    { "chunked, silence", 2, 1, "~0;00;", true, 0,
      { CHUNKS, MAIL, R0, "B", MAIL, R0, "B", OK, "H" } },
    { "MAIL refused", 2, 1, "~451;+250;", false, 1,
      { PLAIN, MAIL, "S 451 later", MAIL, OK, R0, OK, "C DATA", GO, "D", OK,
        QUIT } },
    { "MAIL refused, pipelined", 1, 2, "!550 !550;", false, 0,
      { PIPE, MAIL, R0, R1, "C DATA", "S 550 bad sender", "S 503 no",
        "S 503 no", "S 503 no", "C RSET", OK, QUIT } },
    { "MAIL refused, RCPT accepted, 354: no message leaves", 1, 1, "!550;",
      true, 0,
      { PIPE, MAIL, R0, "C DATA", "S 550 bad sender", OK, GO, "H" } },
    { "DATA refused", 1, 2, "~452 ~452;", false, 0,
      { PLAIN, MAIL, OK, R0, OK, R1, OK, "C DATA", "S 452 full", "C RSET",
        OK, QUIT } },
    { "DATA refused, one RCPT too", 1, 2, "!550 ~451;", false, 0,
      { PIPE, MAIL, R0, R1, "C DATA", OK, "S 550 no", OK, "S 451 later",
        "C RSET", OK, QUIT } },
    { "refused at the dot", 1, 2, "!554 !554;", false, 0,
      { PLAIN, MAIL, OK, R0, OK, R1, OK, "C DATA", GO, "D", "S 554 spam",
        QUIT } },
    { "too many recipients: the rest at once", 1, 3, "+250 +250 +250;", false,
      2,
      { PLAIN, MAIL, OK, R0, OK, R1, "S 452 too many", "C DATA", GO, "D", OK,
        MAIL, OK, R1, OK, R2, OK, "C DATA", GO, "D", OK, QUIT } },
    { "too many recipients, pipelined", 2, 3,
      "+250 +250 +250;+250 +250 +250;", false, 3,
      { PIPE, MAIL, R0, R1, R2, "C DATA", OK, OK, "S 452 4.5.3 too many",
        "S 452 4.5.3 too many", GO, "D", OK, MAIL, R1, R2, "C DATA", OK, OK,
        OK, GO, "D", MAIL, R0, R1, R2, "C DATA", OK, OK, OK, OK, OK, GO, "D",
        OK, QUIT } },
    { "552 to RCPT is for now", 1, 1, "~552;", false, 0,
      { PLAIN, MAIL, OK, R0, "S 552 full", "C RSET", OK, QUIT } },
    { "HELO for who knows no EHLO", 1, 1, "+250;", false, 1,
      { "S 220 hello", "C EHLO me.test", "S 502 what?", "C HELO me.test", OK,
        MAIL, OK, R0, OK, "C DATA", GO, "D", OK, QUIT } },
    { "SIZE: too large", 2, 1, "!0;!0;", false, 0,
      { EHLO, "S 250-hi", "S 250 SIZE 10", QUIT } },
    { "SIZE: said", 1, 1, "+250;", false, 1,
      { EHLO, "S 250-hi", "S 250 SIZE 1000", "C MAIL FROM:<a@b.test> SIZE=21",
        OK, R0, OK, "C DATA", GO, "D", OK, QUIT } },
    { "LIMITS MAILMAX: a new session for the rest", 2, 1, "+250;00;", false,
      1,
      { EHLO, "S 250-hi", "S 250-LIMITS MAILMAX=1", "S 250 PIPELINING", MAIL,
        R0, "C DATA", OK, OK, GO, "D", OK, QUIT } },
    { "RSET refused", 2, 1, "!550;00;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 550 no", "C RSET", "S 500 no", QUIT } },
    /* the peer goes away */
    { "5xx greeting", 1, 1, "00;", true, 0, { "S 554 go away", QUIT } },
    { "421 greeting", 1, 1, "00;", true, 0, { "S 421 busy" } },
    { "421 at EHLO", 1, 1, "00;", true, 0, { EHLO, "S 421 no" } },
    { "421 at MAIL", 2, 1, "00;00;", true, 0, { PLAIN, MAIL, "S 421 no" } },
    { "421 at RCPT", 2, 2, "~421 00;00 00;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 421 no" } },
    { "421 at DATA", 1, 2, "!550 ~421;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 550 no", R1, OK, "C DATA", "S 421 no" } },
    { "421 at the dot", 2, 1, "~421;00;", true, 0,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", MAIL, R0, "C DATA",
        "S 421 no" } },
    { "421 after a delivery", 2, 1, "+250;00;", true, 1,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", MAIL, R0, "C DATA", OK,
        "S 421 enough" } },
    { "closed before the greeting", 1, 1, "00;", true, 0, { "X" } },
    { "closed at EHLO", 1, 1, "00;", true, 0, { EHLO, "X" } },
    { "closed at MAIL", 1, 1, "00;", true, 0, { PLAIN, MAIL, "X" } },
    { "closed at RCPT", 1, 2, "!550 ~0;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 550 no", R1, "X" } },
    { "closed at DATA", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", "X" } },
    { "closed in the message", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "C Subject: x", "X" } },
    { "closed at the dot", 2, 1, "~0;00;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", "X" } },
    { "closed at QUIT", 1, 1, "+250;", false, 1,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK, "C QUIT", "X" } },
    /* replies that do not belong to their commands */
    { "354 and 250 at once: nothing was taken", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, OK, "H" } },
    { "the dot answered twice", 2, 1, "+250;~0;", true, 1,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", MAIL, R0, "C DATA", OK, OK,
        OK, OK, GO, "H" } },
    { "the dot answered twice, then refused", 2, 2, "+250 +250;~0 ~0;", true,
      1,
      { PIPE, MAIL, R0, R1, "C DATA", OK, OK, OK, GO, "D", MAIL, R0, R1,
        "C DATA", OK, OK, OK, "S 550 no r0", OK, GO, "H" } },
    { "a refusal too much", 2, 1, "+250;~0;", true, 1,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "D", MAIL, R0, "C DATA", OK,
        "S 550 no", OK, OK, GO, "H" } },
    { "a reply too few", 1, 2, "~0 ~0;", true, 0,
      { PIPE, MAIL, R0, R1, "C DATA", OK, "S 550 no r1", GO, "H" } },
    { "a code that changes", 1, 1, "00;", true, 0,
      { PLAIN, MAIL, "S 250-ok", "S 550 no", "H" } },
    { "no code in the middle", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 550-no", "S Mr. 550", "H" } },
    { "a code of two digits", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 55 no", "H" } },
    { "a code beyond 599", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, "S 650 no", "H" } },
    { "not SMTP at all", 1, 1, "00;", true, 0, { "S hello", "H" } },
    { "wrong order", 1, 1, "00;", true, 0, { "S 354 hello", "H" } },
    { "2xx to DATA", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", "S 250 eh", "H" } },
    { "broken reply at the dot", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", "S what", "H" } },
    { "silence at the greeting", 1, 1, "00;", true, 0, { "H" } },
    { "silence at the dot", 1, 1, "~0;", true, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", "H" } },
    { "silence at QUIT", 1, 1, "+250;", false, 1,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "D", OK, "C QUIT", "H" } },
};
/* The message is not what was written into the queue. */
static const struct dialogue damaged[] = {
    { "rot is not sent by DATA", 1, 1, "~0;", false, 0,
      { PLAIN, MAIL, OK, R0, OK, "C DATA", GO, "E" } },
    { "rot is not sent by BDAT", 1, 1, "~0;", false, 0,
      { CHUNKS, "E" } },
    { "nor what is behind it", 2, 1, "~0;00;", false, 0,
      { PIPE, MAIL, R0, "C DATA", OK, OK, GO, "E" } },
};
/* clang-format on */

/* --- the peer, in a process of its own -------------------------------------*/

static void fail_peer(const char *name, const char *want, const char *got)
{
    fprintf(stderr, "%s: peer wanted \"%s\", got \"%s\"\n", name, want, got);
    _exit(1);
}

static void expect_line(FILE *f, const char *name, const char *want)
{
    char line[512];

    if (fgets(line, sizeof line, f) == NULL)
        fail_peer(name, want, "end of file");
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, want) != 0)
        fail_peer(name, want, line);
}

static void expect_text(FILE *in, const char *name)
{
    expect_line(in, name, "Subject: x");
    expect_line(in, name, "");
    expect_line(in, name, "hello");
}

static void play_line(FILE *in, FILE *out, const char *name, const char *line)
{
    switch (line[0]) {
    case 'S': fprintf(out, "%s\r\n", line + 2); break;
    case 'C':
        fflush(out);
        expect_line(in, name, line + 2);
        break;
    case 'D':
        fflush(out);
        expect_text(in, name);
        expect_line(in, name, ".");
        break;
    case 'B':
        fflush(out);
        expect_line(in, name, "BDAT 21 LAST");
        expect_text(in, name);
        break;
    case 'E':
        fflush(out);
        if (getc(in) != EOF)
            fail_peer(name, "end of file", "something");
        break;
    case 'H':
        fflush(out);
        while (getc(in) != EOF)
            ;
        break;
    default: fflush(out); _exit(0);
    }
}

static void play(int listen_fd, const struct dialogue *d)
{
    int fd = accept(listen_fd, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");

    alarm(20);
    if (in == NULL || out == NULL)
        _exit(2);
    for (size_t i = 0; i < LINES_MAX && d->lines[i] != NULL; i++)
        play_line(in, out, d->name, d->lines[i]);
    fflush(out);
    _exit(0);
}

static pid_t start_peer(const struct dialogue *d, struct addr *at)
{
    struct err e;
    socklen_t len = sizeof at->u;

    ck_assert(addr_parse_ip(at, span_of("127.0.0.1"), 0));
    int fd = net_listen(at, 5, &e);
    ck_assert_msg(fd >= 0, "%s", e.text);
    ck_assert_int_eq(getsockname(fd, &at->u.sa, &len), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int flags = fcntl(fd, F_GETFL);
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
        play(fd, d);
    }
    close(fd);
    return pid;
}

/* --- the client ------------------------------------------------------------*/

struct run {
    int jobs_back;
    bool ended;
    struct delivery *back[JOBS_MAX];
};

static void on_done(void *ctx, struct delivery *j)
{
    struct run *r = ctx;

    r->jobs_back++;
    r->back[j->id.n] = j;
}

static void on_ended(void *ctx, struct send_session *s)
{
    struct run *r = ctx;

    (void)s;
    r->ended = true;
}

static struct delivery *make_delivery(const struct body *body, int n,
                                      unsigned number)
{
    static const char *const names[] = { "r0@x.test", "r1@x.test",
                                         "r2@x.test" };
    struct delivery *j =
        calloc(1, sizeof *j + (size_t)n * sizeof(struct delivery_rcpt));

    ck_assert_ptr_nonnull(j);
    j->rcpt = (struct delivery_rcpt *)(void *)(j + 1);
    j->id.n = number;
    j->sender = "a@b.test";
    j->body = *body;
    j->nrcpt = (size_t)n;
    for (int i = 0; i < n; i++)
        j->rcpt[i].address = names[i];
    return j;
}

static void describe(struct buf *b, const struct run *r, int deliveries)
{
    for (int i = 0; i < deliveries; i++)
        for (size_t k = 0; k < r->back[i]->nrcpt; k++) {
            const struct delivery *j = r->back[i];
            const struct answer *a = &j->rcpt[k].answer;
            const char *end = k + 1 < j->nrcpt ? " " : ";";
            buf_addf(b, "%c%u%s", "0+~!"[a->outcome], a -> status.code, end);
        }
}

static void drive(struct loop *l, struct conn_env *conns, struct run *r)
{
    struct err e;

    for (int i = 0; !r->ended && i < 10000; i++) {
        conn_flush_all(conns);
        if (!r->ended)
            ck_assert_int_ge(loop_turn(l, 100, &e), 0);
    }
    conn_flush_all(conns);
    ck_assert_msg(r->ended, "the session did not end");
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

static void check_peer(pid_t pid, const char *name)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "%s: the peer was not content", name);
}

static void run_dialogue(const struct dialogue *d, const struct body *body)
{
    const struct send_limits none = { .messages = 0 };
    struct loop *l = NULL;
    struct conn_env conns;
    struct run r = { .jobs_back = 0 };
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

    pid_t pid = start_peer(d, &at);
    ck_assert_int_eq(loop_new(&l, NULL, &e), 0);
    ck_assert_int_eq(conn_env_init(&conns, l, 200, &e), 0);
    int kept = silence();
    struct send_session *s = send_session_new(&at, "peer.test", &none);
    send_session_start(s, &env);
    for (int i = 0; i < d->deliveries; i++)
        send_session_give(s, make_delivery(body, d->rcpts, (unsigned)i));
    drive(l, &conns, &r);
    log_close();
    speak_again(kept);
    ck_assert_int_eq(r.jobs_back, d->deliveries);
    describe(&b, &r, d->deliveries);
    ck_assert_msg(strcmp(got, d->expect) == 0, "%s: %s (%s)", d->name, got,
                  send_session_end(s)->why.text);
    ck_assert_msg(send_session_end(s)->fault == d->fault, "%s: fault %d (%s)",
                  d->name, send_session_end(s)->fault,
                  send_session_end(s)->why.text);
    ck_assert_msg(send_session_end(s)->delivered == d->delivered, "%s: %u",
                  d->name, send_session_end(s)->delivered);
    check_peer(pid, d->name);
    for (int i = 0; i < d->deliveries; i++)
        delivery_free(&r.back[i]);
    send_session_free(&s);
    ck_assert_uint_eq(pool_used(conns.blocks), 0);
    conn_env_done(&conns);
    loop_free(&l);
}

static FILE *make_body(struct body *b)
{
    FILE *f = tmpfile();

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fputs(front, f);
    fflush(f);
    *b = body_of_file(fileno(f), 0, strlen(text) + strlen(front),
                      crc32c(0, text, strlen(text)));
    b->front = (uint32_t)strlen(front);
    return f;
}

START_TEST(dialogue_goes)
{
    struct body body;
    FILE *f = make_body(&body);

    run_dialogue(&dialogues[_i], &body);
    fclose(f);
}
END_TEST

START_TEST(damage_is_not_sent)
{
    struct body body;
    FILE *f = make_body(&body);

    body.crc ^= 1;
    run_dialogue(&damaged[_i], &body);
    fclose(f);
}
END_TEST

Suite *send_session_suite(void);
Suite *send_session_suite(void)
{
    Suite *s = suite_create("send.session");
    TCase *t = tcase_create("dialogues");
    tcase_add_loop_test(t, dialogue_goes, 0,
                        (int)(sizeof dialogues / sizeof dialogues[0]));
    tcase_add_loop_test(t, damage_is_not_sent, 0,
                        (int)(sizeof damaged / sizeof damaged[0]));
    tcase_set_timeout(t, 30);
    suite_add_tcase(s, t);
    return s;
}
