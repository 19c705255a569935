#include "send/worker.h"

#include "base/os.h"
#include "log/log.h"
#include "net/conn.h"
#include "send/session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Output of a session is at most CONN_HIGH and a piece of a body; input is
 * a part of one reply line, and in TLS of a record. */
enum { BLOCKS_PER_SESSION = 26, ASLEEP_AGAIN_US = 20000 };

/* Hand over results in batches: they serve only the log and the lane's next
 * delivery. */
enum { RESULTS_MAX = 32, RESULTS_MS = 5 };

enum order { ORDER_RUN, ORDER_STOP, ORDER_KILL };

struct send_worker {
    pthread_t thread;
    bool started, joined;

    /* behind the lock */
    pthread_mutex_t lock;
    struct list inbox, outbox;
    enum order order;
    bool hurry, failed;
    struct err why;

    /* of the main thread */
    int wake[2], back[2];
    struct list gathered;
    bool asleep; /* a poke failed */

    /* of the worker's thread */
    struct loop *loop;
    struct loop_io io;
    struct conn_env conns;
    struct send_env env;
    struct list sessions, results;
    unsigned nresults;
    bool wanted; /* a session ran out of work */
    struct loop_timer late;
    bool unheard; /* a poke failed */
    enum order seen;
};

/* --- the thread --------------------------------------------------------- */

static void on_wake(struct loop_io *io, unsigned ready)
{
    (void)ready;
    os_drain(io->fd);
}

static void on_late(struct loop_timer *t)
{
    LOOP_ENTRY(t, struct send_worker, late)->wanted = true;
}

static void on_done(void *ctx, struct delivery *j)
{
    struct send_worker *w = ctx;
    struct send_delivery *d = send_delivery_of(j);

    list_push(&w->results, &d->note.link);
    w->nresults++;
    w->wanted |=
        w->nresults >= RESULTS_MAX || !send_session_has_more(d->session);
    if (w->nresults == 1)
        loop_timer_set(w->loop, &w->late, RESULTS_MS);
}

static void on_ended(void *ctx, struct send_session *s)
{
    struct send_worker *w = ctx;
    struct work_item *n = send_session_note(s);

    list_remove(&n->link);
    list_push(&w->results, &n->link);
    w->wanted = true;
}

static void take_note(struct send_worker *w, struct work_item *n)
{
    if (n->kind == WORK_DELIVERY) {
        struct delivery *j = delivery_of_note(n);
        send_session_give(send_delivery_of(j)->session, j);
        return;
    }
    if (n->kind == WORK_LEAVE) {
        send_session_stop(send_session_of_leave(n));
        list_push(&w->results, &n->link);
        w->wanted = true;
        return;
    }
    list_push(&w->sessions, &n->link);
    send_session_start(send_session_of_note(n), &w->env);
}

/* Sessions that end take themselves out of the list. */
static void each_session(struct send_worker *w,
                         void (*fn)(struct send_session *s))
{
    for (struct list *l = w->sessions.next, *next; l != &w->sessions;
         l = next) {
        next = l->next;
        fn(send_session_of_note(LIST_ENTRY(l, struct work_item, link)));
    }
}

static void read_inbox(struct send_worker *w)
{
    struct list notes, *l;

    list_init(&notes);
    pthread_mutex_lock(&w->lock);
    list_splice(&notes, &w->inbox);
    enum order order = w->order;
    bool hurry = w->hurry && !w->env.hurry;
    w->env.hurry = w->hurry;
    pthread_mutex_unlock(&w->lock);
    while ((l = list_pop(&notes)) != NULL)
        take_note(w, LIST_ENTRY(l, struct work_item, link));
    if (order != ORDER_RUN)
        each_session(w, order == ORDER_KILL ? send_session_kill
                                            : send_session_stop);
    else if (hurry)
        each_session(w, send_session_hurry);
    w->seen = order;
}

/* False: the main thread may not have been woken. */
static bool hand_results(struct send_worker *w)
{
    if ((!w->wanted || list_empty(&w->results)) && !w->unheard)
        return true;
    w->wanted = false;
    w->nresults = 0;
    loop_timer_clear(w->loop, &w->late);
    pthread_mutex_lock(&w->lock);
    bool first = list_empty(&w->outbox);
    list_splice(&w->outbox, &w->results);
    pthread_mutex_unlock(&w->lock);
    if (first || w->unheard)
        w->unheard = !os_poke(w->back[1]);
    return !w->unheard;
}

static void give_up(struct send_worker *w, const struct err *e)
{
    pthread_mutex_lock(&w->lock);
    w->failed = true;
    w->why = *e;
    pthread_mutex_unlock(&w->lock);
    os_poke(w->back[1]);
}

static void *run(void *arg)
{
    struct send_worker *w = arg;
    struct err e;

    for (;;) {
        read_inbox(w);
        conn_flush_all(&w->conns);
        bool quiet = hand_results(w);
        quiet &= log_flush();
        if (w->seen == ORDER_KILL)
            break;
        if (loop_turn(w->loop, quiet ? -1 : 100, &e) < 0) {
            give_up(w, &e);
            break;
        }
    }
    return NULL;
}

/* --- the main thread's side --------------------------------------------- */

static int open_loop(struct send_worker *w, size_t max_sessions, struct err *e)
{
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (loop_new(&w->loop, &blocked, e) != 0 ||
        conn_env_init(&w->conns, w->loop, max_sessions * BLOCKS_PER_SESSION,
                      e) != 0)
        return -1;
    if (os_pipe(w->wake) != 0 || os_pipe(w->back) != 0)
        return err_set(e, ERR_TEMP, errno, "pipe for a worker");
    w->io = (struct loop_io){ .fd = w->wake[0], .fn = on_wake };
    return loop_watch(w->loop, &w->io, LOOP_READ, e);
}

static struct send_worker *new_worker(const struct send_worker_options *o)
{
    struct send_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->wake[0] = w->wake[1] = w->back[0] = w->back[1] = -1;
    list_init(&w->inbox);
    list_init(&w->outbox);
    list_init(&w->gathered);
    list_init(&w->sessions);
    list_init(&w->results);
    w->env = (struct send_env){ .conns = &w->conns,
                                .hostname = o->hostname,
                                .linger = o->linger,
                                .messages = o->messages,
                                .no_chunking = o->no_chunking,
                                .tls = o->tls,
                                .timeout_cap = o->timeout_cap,
                                .done = on_done,
                                .ended = on_ended,
                                .ctx = w };
    w->late.fn = on_late;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

int send_worker_start(struct send_worker **out,
                      const struct send_worker_options *o, struct err *e)
{
    struct send_worker *w = new_worker(o);

    if (w == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for a worker");
    if (open_loop(w, o->max_sessions, e) != 0)
        goto out;
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0) {
        err_set(e, ERR_TEMP, rc, "start a worker thread");
        goto out;
    }
    w->started = true;
    *out = w;
    return 0;
out:
    send_worker_free(&w);
    return -1;
}

void send_worker_give(struct send_worker *w, struct work_item *n)
{
    list_push(&w->gathered, &n->link);
}

void send_worker_hand_over(struct send_worker *w)
{
    if (list_empty(&w->gathered) && !w->asleep)
        return;
    pthread_mutex_lock(&w->lock);
    bool first = list_empty(&w->inbox);
    list_splice(&w->inbox, &w->gathered);
    pthread_mutex_unlock(&w->lock);
    if (first || w->asleep)
        w->asleep = !os_poke(w->wake[1]);
}

int send_worker_fd(const struct send_worker *w)
{
    return w->back[0];
}

void send_worker_take(struct send_worker *w, struct list *to)
{
    os_drain(w->back[0]);
    pthread_mutex_lock(&w->lock);
    list_splice(to, &w->outbox);
    pthread_mutex_unlock(&w->lock);
}

void send_worker_hurry(struct send_worker *w, bool on)
{
    pthread_mutex_lock(&w->lock);
    bool changed = w->hurry != on;
    w->hurry = on;
    pthread_mutex_unlock(&w->lock);
    if (changed)
        w->asleep |= !os_poke(w->wake[1]);
}

static void command(struct send_worker *w, enum order order)
{
    pthread_mutex_lock(&w->lock);
    w->order = order;
    pthread_mutex_unlock(&w->lock);
    w->asleep |= !os_poke(w->wake[1]);
}

void send_worker_stop(struct send_worker *w)
{
    command(w, ORDER_STOP);
}

void send_worker_join(struct send_worker *w)
{
    if (!w->started || w->joined)
        return;
    send_worker_hand_over(w);
    command(w, ORDER_KILL);
    while (w->asleep) {
        os_pause(ASLEEP_AGAIN_US);
        w->asleep = !os_poke(w->wake[1]);
    }
    pthread_join(w->thread, NULL);
    w->joined = true;
    list_splice(&w->outbox, &w->inbox); /* if it gave up before */
    list_splice(&w->outbox, &w->results);
}

static void close_pipe(int end[2])
{
    for (int i = 0; i < 2; i++)
        if (end[i] >= 0)
            close(end[i]);
}

void send_worker_free(struct send_worker **out)
{
    struct send_worker *w = *out;

    if (w == NULL)
        return;
    if (w->loop != NULL)
        conn_env_done(&w->conns);
    loop_free(&w->loop);
    close_pipe(w->wake);
    close_pipe(w->back);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *out = NULL;
}

bool send_worker_failed(struct send_worker *w, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    bool failed = w->failed;
    if (failed)
        *e = w->why;
    pthread_mutex_unlock(&w->lock);
    return failed;
}
