/* process.c - the signer. */
#include "base/handdown.h"
#include "base/os.h"
#include "base/sandbox.h"
#include "log/log.h"
#include "log/sandbox.h"
#include "net/loop.h"
#include "signer/page_private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct signer {
    const struct conf *conf;
    struct loop *loop;
    struct loop_io line, channel;
    struct signer_page *page;
    size_t nkeys;
    struct digest_key *key[SIGNER_KEYS_MAX];
    struct signer_hello hello;
    struct signer_answer answer;
    bool failed; /* libcrypto has, with *why */
    struct err why;
};

static void note_progress(struct signer *s)
{
    __atomic_fetch_add(&s->page->progress, 1, __ATOMIC_RELAXED);
}

/* --- keys ----------------------------------------------------------------- */

uint64_t signer_settings(const struct conf *c)
{
    unsigned char hash[DIGEST_SIZE] = { 0 };
    struct digest *d = NULL;
    struct err e;
    uint64_t id;

    if (digest_new(&d, &e) == 0) {
        for (size_t i = 0; i < c->dkim.keys.n; i++) {
            const struct conf_dkim_key *k = &c->dkim.keys.item[i];
            digest_add(d, k->domain, strlen(k->domain) + 1);
            digest_add(d, k->selector, strlen(k->selector) + 1);
        }
        (void)digest_end(d, hash);
        digest_free(&d);
    }
    memcpy(&id, hash, sizeof id);
    return id;
}

static void free_keys(struct digest_key *key[SIGNER_KEYS_MAX])
{
    for (size_t i = 0; i < SIGNER_KEYS_MAX; i++)
        digest_key_free(&key[i]);
}

static int load_keys(struct digest_key *key[SIGNER_KEYS_MAX],
                     const struct conf *c, struct err *e)
{
    memset(key, 0, SIGNER_KEYS_MAX * sizeof key[0]);
    for (size_t i = 0; i < c->dkim.keys.n; i++)
        if (digest_key_load(&key[i], c->dkim.keys.item[i].path, e) != 0) {
            free_keys(key);
            return conf_fault(c, "dkim.keys", e);
        }
    return 0;
}

static void check_in_child(const struct conf *c, int to)
{
    struct digest_key *key[SIGNER_KEYS_MAX];
    struct err e = { .kind = ERR_NONE };

    if (load_keys(key, c, &e) == 0)
        free_keys(key);
    _exit(write(to, &e, sizeof e) == sizeof e ? 0 : 1);
}

/* By a child: libcrypto leaves parts of a key in memory that it has freed, and
 * each process that is forked later would have them. */
int signer_check_keys(const struct conf *c, struct err *e)
{
    struct err result;
    int end[2];

    if (c->dkim.keys.n == 0)
        return 0;
    if (pipe(end) != 0)
        return err_set(e, ERR_TEMP, errno, "pipe to check dkim.keys");
    pid_t pid = os_fork();
    if (pid == 0)
        check_in_child(c, end[1]);
    close(end[1]);
    ssize_t n = -1;
    do
        n = pid < 0 ? -1 : read(end[0], &result, sizeof result);
    while (pid > 0 && n < 0 && errno == EINTR); /* SIGCHLD */
    int why = errno;
    close(end[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n != sizeof result)
        return err_set(e, ERR_TEMP, n < 0 ? why : 0, "check dkim.keys");
    if (result.kind == ERR_NONE)
        return 0;
    *e = result;
    return -1;
}

/* A number that other keys do not have. */
static int describe(struct signer *s, struct err *e)
{
    unsigned char hash[DIGEST_SIZE];
    struct digest *d = NULL;
    struct digest_public p;
    int rc = -1;

    if (digest_new(&d, e) != 0)
        return -1;
    for (size_t i = 0; i < s->nkeys; i++) {
        s->hello.type[i] = (unsigned char)digest_key_type(s->key[i]);
        if (digest_key_public(s->key[i], &p, e) != 0)
            goto out;
        digest_add(d, p.octets, p.n);
    }
    if (!digest_end(d, hash)) {
        err_set(e, ERR_TEMP, 0, "SHA-256: libcrypto refuses");
        goto out;
    }
    memcpy(&s->hello.keys, hash, sizeof s->hello.keys);
    s->hello.head =
        (struct signer_head){ .kind = SIGNER_HELLO,
                              .n = (uint32_t)s->nkeys,
                              .settings = signer_settings(s->conf) };
    rc = 0;
out:
    digest_free(&d);
    return rc;
}

/* Those in use stay unless all of them can be read. */
static int take_keys(struct signer *s, struct err *e)
{
    struct digest_key *key[SIGNER_KEYS_MAX];

    if (load_keys(key, s->conf, e) != 0)
        return -1;
    free_keys(s->key);
    memcpy(s->key, key, sizeof key);
    s->nkeys = s->conf->dkim.keys.n;
    return describe(s, e);
}

/* --- the channel ---------------------------------------------------------- */

/* A sender that does not read has gone, or lets replies wait: then this one
 * waits, too. */
static void say(struct signer *s, const void *message, size_t n)
{
    while (send(s->channel.fd, message, n, MSG_NOSIGNAL) < 0) {
        fd_set writable;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != ENOBUFS)
            return;
        FD_ZERO(&writable);
        FD_SET(s->channel.fd, &writable);
        (void)select(s->channel.fd + 1, NULL, &writable, NULL, NULL);
    }
}

static void say_hello(struct signer *s)
{
    say(s, &s->hello, sizeof s->hello);
}

static void hand_answer(struct signer *s)
{
    struct signer_answer *a = &s->answer;

    if (a->head.n > 0)
        say(s, a,
            offsetof(struct signer_answer, reply[0]) +
                a->head.n * sizeof a->reply[0]);
    a->head.n = 0;
}

/* What libcrypto could not set up once it never tries again: a signer that
 * failed ends when it has replied, and another one takes its place. */
static void sign(struct signer *s, const struct signer_request *r)
{
    struct signer_reply *to = &s->answer.reply[s->answer.head.n++];

    *to = (struct signer_reply){ .ticket = r->ticket };
    if (r->key < s->nkeys &&
        digest_key_sign(s->key[r->key], r->hash, &to->signature, &s->why) != 0)
        s->failed = true;
    if (r->key >= s->nkeys || s->failed)
        to->signature.n = 0;
    note_progress(s);
}

static void on_channel(struct loop_io *io, unsigned ready)
{
    struct signer *s = LOOP_ENTRY(io, struct signer, channel);
    struct signer_ask ask;
    const size_t head = offsetof(struct signer_ask, request[0]);

    (void)ready;
    ssize_t n = recv(io->fd, &ask, sizeof ask, 0);
    if (n < (ssize_t)head)
        return;
    note_progress(s);
    if (ask.head.kind == SIGNER_WHO)
        say_hello(s);
    /* Of other settings, the keys have other numbers. */
    if (ask.head.kind != SIGNER_SIGN || ask.head.n > SIGNER_BATCH ||
        (size_t)n < head + ask.head.n * sizeof ask.request[0] ||
        ask.head.settings != s->hello.head.settings)
        return;
    s->answer.head = ask.head;
    s->answer.head.kind = SIGNER_SIGNED;
    s->answer.head.n = 0;
    for (uint32_t i = 0; i < ask.head.n; i++)
        sign(s, &ask.request[i]);
    hand_answer(s);
}

/* The supervisor has checked them: what fails now is memory, and the keys that
 * are there go on. */
static void on_line(struct loop_io *io, unsigned ready)
{
    struct signer *s = LOOP_ENTRY(io, struct signer, line);
    bool renewed;
    struct err e;

    (void)ready;
    int rc = handdown_receive(io->fd, &renewed);
    if (renewed && take_keys(s, &e) == 0)
        say_hello(s);
    if (rc < 0)
        (void)loop_watch(s->loop, io, 0, NULL);
}

/* --- from start to end ---------------------------------------------------- */

/* No core file, no look into its memory by other processes of the user. */
static void be_private(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0);
}

static void confine(const struct conf *c)
{
    static const struct sandbox_paths no_files = { .queue_dir = NULL };
    struct sandbox_report report;
    struct err e;

    bool logs = log_open(c->queue_dir, (enum log_level)c->log.level,
                         (enum log_format)c->log.format, &e) == 0;
    sandbox_enter(SANDBOX_SIGNER, &no_files, &report);
    if (!logs)
        return;
    log_sandbox(&report);
    log_close();
}

static int open_loop(struct signer *s, int line, int channel, struct err *e)
{
    if (loop_new(&s->loop, NULL, e) != 0)
        return -1;
    s->line = (struct loop_io){ .fd = line, .fn = on_line };
    s->channel = (struct loop_io){ .fd = channel, .fn = on_channel };
    return loop_watch(s->loop, &s->line, LOOP_READ, e) != 0
               ? -1
               : loop_watch(s->loop, &s->channel, LOOP_READ, e);
}

int signer_run(const struct conf *c, const struct signer_channel *channel,
               int line, struct err *e)
{
    static struct signer s; /* static because it is large */

    s.conf = c;
    s.page = channel->page;
    be_private();
    os_signal(SIGTERM, SIG_DFL);
    os_signal(SIGUSR1, SIG_IGN);
    if (os_drop_privileges(c->user, c->group, e) != 0)
        return -1;
    be_private(); /* the change of user undoes it */
    if (take_keys(&s, e) == 0 && open_loop(&s, line, channel->signer, e) == 0) {
        confine(c);
        say_hello(&s);
        while (!s.failed && loop_turn(s.loop, -1, e) >= 0)
            ;
        if (s.failed)
            *e = s.why;
    }
    free_keys(s.key);
    loop_free(&s.loop);
    return -1;
}
