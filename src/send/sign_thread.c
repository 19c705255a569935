#include "send/sign_thread.h"

#include "base/os.h"
#include "log/log.h"
#include "net/loop.h"
#include "send/sign_work.h"
#include "signer/signer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WORKS_MAX = 64,               /* messages that are read or signed */
    ASKED_MAX = 2 * SIGNER_BATCH, /* requests that the signer has at a time */
    SILENCE_MS = 10000,           /* then mail waits in the queue, not here */
    FULL_MS = 100, /* until a channel that was full is tried again */
    ASLEEP_AGAIN_US = 20000
};

struct sign_thread {
    pthread_t thread;
    bool started, joined;

    /* behind the lock */
    pthread_mutex_t lock;
    struct list inbox, outbox;
    bool stop, end, renewed;

    /* of the main thread */
    int wake[2], back[2];
    struct list gathered;
    bool asleep; /* a poke failed */

    /* of the thread */
    struct loop *loop;
    struct loop_io io, channel;
    struct list waiting, results; /* tasks */
    bool stopping, ending, unheard;
    struct sign_kit kit;
    struct sign_work *work[WORKS_MAX];
    uint64_t tickets;           /* given so far */
    unsigned open;              /* requests without a reply */
    struct signer_head me;      /* of requests */
    struct signer_hello signer; /* head.n 0: it is not known yet */
    uint64_t heard; /* ms: its last message, or since when it is needed */
    bool needed, silent;
};

/* --- tasks ---------------------------------------------------------------- */

static void give_back(struct sign_thread *t, struct sign_task *task)
{
    list_push(&t->results, &task->link);
}

static void fail(struct sign_thread *t, struct sign_task *task)
{
    answer_set(&task->why, OUTCOME_NONE, "4.3.0",
               "not signed (DKIM): the signer does not answer");
    task->why.misconfigured = true;
    task->stopped = t->stopping;
    give_back(t, task);
}

static void end_work(struct sign_thread *t, size_t i)
{
    give_back(t, t->work[i]->task);
    sign_work_free(&t->work[i]);
}

static void fail_all(struct sign_thread *t)
{
    struct list *l;

    for (size_t i = 0; i < WORKS_MAX; i++)
        if (t->work[i] != NULL) {
            fail(t, t->work[i]->task);
            sign_work_free(&t->work[i]);
        }
    while ((l = list_pop(&t->waiting)) != NULL)
        fail(t, LIST_ENTRY(l, struct sign_task, link));
    t->open = 0;
}

/* --- the signer ----------------------------------------------------------- */

static void note_heard(struct sign_thread *t)
{
    if (t->silent)
        LOG(LOG_INFO, "send.signer", LS("state", "answers"));
    t->silent = false;
    t->heard = loop_now(t->loop);
}

/* Fields that were begun with other keys are begun anew. */
static void begin_again(struct sign_thread *t)
{
    for (size_t i = 0; i < WORKS_MAX; i++)
        if (t->work[i] != NULL) {
            list_push_front(&t->waiting, &t->work[i]->task->link);
            sign_work_free(&t->work[i]);
        }
    pthread_mutex_lock(&t->lock);
    t->renewed = true;
    pthread_mutex_unlock(&t->lock);
    t->unheard = true;
}

/* A signer may have died with requests in its hands: all are asked again. */
static void ask_again(struct sign_thread *t)
{
    for (size_t i = 0; i < WORKS_MAX; i++)
        if (t->work[i] != NULL)
            t->work[i]->nasked = 0;
}

static void on_hello(struct sign_thread *t, const struct signer_hello *h)
{
    if (h->head.settings != t->me.settings ||
        h->head.n != t->kit.conf->dkim.keys.n)
        return; /* of another generation */
    bool known = t->signer.head.n > 0;
    bool same = known && h->keys == t->signer.keys;
    t->signer = *h;
    t->open = 0;
    if (same)
        ask_again(t);
    else if (known)
        begin_again(t);
}

static void on_reply(struct sign_thread *t, const struct signer_reply *r)
{
    t->open -= t->open > 0;
    for (size_t i = 0; i < WORKS_MAX; i++) {
        struct sign_work *w = t->work[i];
        if (w == NULL || r->ticket < w->ticket ||
            r->ticket >= w->ticket + w->nfields)
            continue;
        if (sign_work_add(w, (size_t)(r->ticket - w->ticket), &r->signature) !=
            0)
            end_work(t, i);
        return;
    }
}

static void on_channel(struct loop_io *io, unsigned ready)
{
    struct sign_thread *t = LOOP_ENTRY(io, struct sign_thread, channel);
    const size_t head = offsetof(struct signer_answer, reply[0]);
    union {
        struct signer_head head;
        struct signer_hello hello;
        struct signer_answer answer;
    } m;
    ssize_t n;

    (void)ready;
    while ((n = recv(io->fd, &m, sizeof m, MSG_DONTWAIT)) > 0) {
        if (n == sizeof m.hello && m.head.kind == SIGNER_HELLO) {
            on_hello(t, &m.hello);
            note_heard(t);
        }
        if (n < (ssize_t)head || m.head.kind != SIGNER_SIGNED ||
            m.head.from != t->me.from || m.head.n > SIGNER_BATCH ||
            (size_t)n < head + m.head.n * sizeof m.answer.reply[0])
            continue; /* for a sender before this one */
        note_heard(t);
        for (uint32_t i = 0; i < m.head.n; i++)
            on_reply(t, &m.answer.reply[i]);
    }
}

static bool say(struct sign_thread *t, const void *message, size_t n)
{
    ssize_t sent;

    do
        sent = send(t->channel.fd, message, n, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)n;
}

/* The next field that the signer does not have yet. */
static struct sign_work *next_unasked(struct sign_thread *t)
{
    for (size_t i = 0; i < WORKS_MAX; i++)
        if (t->work[i] != NULL && t->work[i]->nasked < t->work[i]->nfields)
            return t->work[i];
    return NULL;
}

static uint32_t gather(struct sign_thread *t, struct signer_ask *ask)
{
    struct sign_work *w;
    uint32_t n = 0;

    while (n < SIGNER_BATCH && t->open + n < ASKED_MAX &&
           (w = next_unasked(t)) != NULL) {
        const struct sign_field *f = &w->field[w->nasked];
        struct signer_request *r = &ask->request[n];
        *r = (struct signer_request){ .ticket = w->ticket + w->nasked++,
                                      .key = f->key };
        memcpy(r->hash, f->hash, sizeof r->hash);
        n += !f->is_signed;
    }
    return n;
}

/* -1: the channel is full.  Then all is asked again, soon: a request that is
 * counted and was not sent would have no reply, ever. */
static int ask(struct sign_thread *t)
{
    struct signer_ask a = { .head = t->me };

    a.head.kind = SIGNER_SIGN;
    while ((a.head.n = gather(t, &a)) > 0) {
        t->open += a.head.n;
        if (!say(t, &a,
                 offsetof(struct signer_ask, request[0]) +
                     a.head.n * sizeof a.request[0])) {
            ask_again(t);
            t->open = 0;
            return -1;
        }
    }
    return 0;
}

/* --- works ---------------------------------------------------------------- */

static void begin(struct sign_thread *t, size_t i)
{
    struct list *l = list_pop(&t->waiting);
    struct sign_task *task = LIST_ENTRY(l, struct sign_task, link);

    t->work[i] = calloc(1, sizeof *t->work[i]);
    if (t->work[i] == NULL) {
        fail(t, task);
        return;
    }
    t->work[i]->task = task;
    t->work[i]->ticket = t->tickets;
    t->tickets += SIGN_KEYS_MAX;
}

static bool free_place(const struct sign_thread *t)
{
    for (size_t i = 0; i < WORKS_MAX; i++)
        if (t->work[i] == NULL)
            return true;
    return false;
}

/* True: it is not read to its end. */
static bool read_on(struct sign_thread *t, size_t i)
{
    int rc = sign_work_read(&t->kit, t->work[i]);

    if (rc < 0 || (rc > 0 && t->work[i]->nkeys == 0))
        end_work(t, i);
    return rc == 0;
}

/* It cannot go on without the signer. */
static bool needs_signer(struct sign_thread *t, size_t i)
{
    struct sign_work *w = t->work[i];

    if (t->silent) {
        fail(t, w->task);
        sign_work_free(&t->work[i]);
        return false;
    }
    if (w->nfields == 0 && t->signer.head.n > 0 &&
        sign_work_make(&t->kit, w) != 0) {
        end_work(t, i);
        return false;
    }
    return true;
}

/* A signer that has lost a request replies; one that hangs leaves this unread,
 * which is what its parent looks at. */
static void ask_who(struct sign_thread *t)
{
    struct signer_head who = t->me;

    who.kind = SIGNER_WHO;
    (void)say(t, &who, sizeof who); /* a full channel holds one already */
}

/* The ms until the signer is given up. */
static int patience(struct sign_thread *t)
{
    uint64_t now = loop_now(t->loop);

    if (!t->needed)
        t->heard = now;
    if (now - t->heard < SILENCE_MS)
        return (int)(t->heard + SILENCE_MS - now);
    LOG(LOG_ERROR, "send.signer", LS("state", "silent"));
    t->silent = true;
    ask_who(t);
    return 0;
}

/* Returns the ms until there is more to do; -1: no limit. */
static int work(struct sign_thread *t)
{
    bool busy = false, needed = false;

    if (t->stopping)
        fail_all(t);
    for (size_t i = 0; i < WORKS_MAX; i++) {
        if (t->work[i] == NULL && !list_empty(&t->waiting))
            begin(t, i);
        if (t->work[i] != NULL && t->work[i]->nkeys == 0)
            busy |= read_on(t, i);
        if (t->work[i] != NULL && t->work[i]->nkeys > 0)
            needed |= needs_signer(t, i);
    }
    bool full = ask(t) != 0;
    int wait = needed ? patience(t) : -1;
    if (full && (wait < 0 || wait > FULL_MS))
        wait = FULL_MS;
    t->needed = needed;
    /* A place became free. */
    return busy || (!list_empty(&t->waiting) && free_place(t)) ? 0 : wait;
}

/* --- the thread ----------------------------------------------------------- */

static void on_wake(struct loop_io *io, unsigned ready)
{
    (void)ready;
    os_drain(io->fd);
}

static void read_inbox(struct sign_thread *t)
{
    pthread_mutex_lock(&t->lock);
    list_splice(&t->waiting, &t->inbox);
    t->stopping = t->stop;
    t->ending = t->end;
    pthread_mutex_unlock(&t->lock);
}

/* False: the main thread may not have been woken. */
static bool hand_results(struct sign_thread *t)
{
    if (list_empty(&t->results) && !t->unheard)
        return true;
    pthread_mutex_lock(&t->lock);
    bool first = list_empty(&t->outbox);
    list_splice(&t->outbox, &t->results);
    pthread_mutex_unlock(&t->lock);
    if (first || t->unheard)
        t->unheard = !os_poke(t->back[1]);
    return !t->unheard;
}

static void *run(void *arg)
{
    struct sign_thread *t = arg;
    struct err e;

    while (!t->ending) {
        read_inbox(t);
        int wait = work(t);
        bool quiet = hand_results(t);
        quiet &= log_flush();
        if (!quiet && (wait < 0 || wait > 100))
            wait = 100;
        if (!t->ending && loop_turn(t->loop, wait, &e) < 0) {
            log_err(LOG_ERROR, "send.signer", &e);
            os_pause(ASLEEP_AGAIN_US); /* the wait failed: no busy loop */
        }
    }
    return NULL;
}

/* --- the main thread's side ----------------------------------------------- */

static int open_loop(struct sign_thread *t, int channel, struct err *e)
{
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (loop_new(&t->loop, &blocked, e) != 0 ||
        digest_new(&t->kit.digest, e) != 0)
        return -1;
    if (os_pipe(t->wake) != 0 || os_pipe(t->back) != 0)
        return err_set(e, ERR_TEMP, errno, "pipe for signatures");
    t->io = (struct loop_io){ .fd = t->wake[0], .fn = on_wake };
    t->channel = (struct loop_io){ .fd = channel, .fn = on_channel };
    return loop_watch(t->loop, &t->io, LOOP_READ, e) != 0
               ? -1
               : loop_watch(t->loop, &t->channel, LOOP_READ, e);
}

static struct sign_thread *new_thread(const struct conf *c)
{
    struct sign_thread *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->wake[0] = t->wake[1] = t->back[0] = t->back[1] = -1;
    list_init(&t->inbox);
    list_init(&t->outbox);
    list_init(&t->gathered);
    list_init(&t->waiting);
    list_init(&t->results);
    t->kit.conf = c;
    t->kit.key_type = t->signer.type;
    t->me.settings = signer_settings(c);
    arc4random_buf(&t->me.from, sizeof t->me.from);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

int sign_thread_start(struct sign_thread **out, const struct conf *c,
                      int channel, struct err *e)
{
    struct sign_thread *t = new_thread(c);

    if (t == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for signatures");
    if (open_loop(t, channel, e) != 0)
        goto out;
    ask_who(t);
    int rc = pthread_create(&t->thread, NULL, run, t);
    if (rc != 0) {
        err_set(e, ERR_TEMP, rc, "start a thread for signatures");
        goto out;
    }
    t->started = true;
    *out = t;
    return 0;
out:
    sign_thread_free(&t);
    return -1;
}

void sign_thread_give(struct sign_thread *t, struct sign_task *task)
{
    list_push(&t->gathered, &task->link);
}

void sign_thread_hand_over(struct sign_thread *t)
{
    if (list_empty(&t->gathered) && !t->asleep)
        return;
    pthread_mutex_lock(&t->lock);
    bool first = list_empty(&t->inbox);
    list_splice(&t->inbox, &t->gathered);
    pthread_mutex_unlock(&t->lock);
    if (first || t->asleep)
        t->asleep = !os_poke(t->wake[1]);
}

int sign_thread_fd(const struct sign_thread *t)
{
    return t->back[0];
}

void sign_thread_take(struct sign_thread *t, struct list *to, bool *renewed)
{
    os_drain(t->back[0]);
    pthread_mutex_lock(&t->lock);
    list_splice(to, &t->outbox);
    *renewed = t->renewed;
    t->renewed = false;
    pthread_mutex_unlock(&t->lock);
}

void sign_thread_stop(struct sign_thread *t)
{
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_mutex_unlock(&t->lock);
    t->asleep |= !os_poke(t->wake[1]);
}

void sign_thread_join(struct sign_thread *t)
{
    if (!t->started || t->joined)
        return;
    sign_thread_hand_over(t);
    pthread_mutex_lock(&t->lock);
    t->stop = t->end = true;
    pthread_mutex_unlock(&t->lock);
    while (!os_poke(t->wake[1]))
        os_pause(ASLEEP_AGAIN_US);
    pthread_join(t->thread, NULL);
    t->joined = true;
}

static void close_pipe(int end[2])
{
    for (int i = 0; i < 2; i++)
        if (end[i] >= 0)
            close(end[i]);
}

void sign_thread_free(struct sign_thread **out)
{
    struct sign_thread *t = *out;

    if (t == NULL)
        return;
    loop_free(&t->loop);
    digest_free(&t->kit.digest);
    close_pipe(t->wake);
    close_pipe(t->back);
    pthread_mutex_destroy(&t->lock);
    free(t);
    *out = NULL;
}
