/* log.c - render the events of this process and send them to the collector. */
#include "log/log.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/os.h"
#include "log/format.h"
#include "log/msgqueue.h"
#include "log/run.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <unistd.h>

enum {
    BUFFER = 64 * 1024,
    ATTACH_AGAIN_MS = 1000,  /* between attempts to find a queue */
    NOTICE_AFTER_MS = 3000,  /* a full queue and no collector */
    LOOK_EVERY_MS = 1000,    /* then check for a collector so often */
    CLOSE_WITHIN_MS = 5000,  /* then the rest goes to stderr */
    STDERR_WITHIN_MS = 1000, /* for a reader of our stderr that stalls */
    PAUSE_US = 1000,         /* before a full queue is tried again, and */
    PAUSE_STUCK_US = 20000,  /* from NOTICE_AFTER_MS on */
    LOST_MAX = 3             /* removed queues in one turn */
};

static struct {
    pthread_mutex_t lock; /* never held while waiting */
    char dir[PATH_MAX];   /* empty: not open */
    int file;             /* of log_to_file(); -1: none */
    struct msgqueue q;
    uint64_t attach_at;
    size_t from, n; /* lines not yet sent: bytes[from .. from+n) */
    char bytes[BUFFER];
} w = { .lock = PTHREAD_MUTEX_INITIALIZER, .file = -1, .q = MSGQUEUE_NONE };

static int wanted_level = LOG_INFO, wanted_format = LOG_TEXT;
static int line_max = LOG_LINE_MAX; /* longer ones fit in no message */

/* --- ways out -------------------------------------------------------- */

static void to_stderr(const char *p, size_t n)
{
    uint64_t until = clock_mono_ms() + STDERR_WITHIN_MS;

    while (n > 0) {
        ssize_t done = write(STDERR_FILENO, p, n);
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        } else if (errno == EAGAIN && clock_mono_ms() < until) {
            struct pollfd out = { STDERR_FILENO, POLLOUT, 0 };
            (void)poll(&out, 1, 100);
        } else if (errno != EINTR) {
            return; /* no output is left */
        }
    }
}

static void drop(size_t n)
{
    w.from += n;
    w.n -= n;
    if (w.n == 0)
        w.from = 0;
}

/* What the file does not take goes to stderr, from the line on that it has in
 * part. */
static void to_file(void)
{
    const char *p = w.bytes + w.from;
    size_t done = 0;

    while (done < w.n) {
        ssize_t n = fs_write(w.file, p + done, w.n - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    while (done < w.n && done > 0 && p[done - 1] != '\n')
        done--;
    to_stderr(p + done, w.n - done);
    drop(w.n);
}

/* The bytes of the most whole lines that fit in max; 0: not even one. */
static size_t whole_lines(const char *p, size_t n, size_t max)
{
    if (n <= max)
        return n;
    while (max > 0 && p[max - 1] != '\n')
        max--;
    return max;
}

enum sent { SENT, QUEUE_FULL, QUEUE_LOST };

static size_t first_line(const char *p, size_t n)
{
    return (size_t)((const char *)memchr(p, '\n', n) + 1 - p);
}

static enum sent send_bytes(const char *lines, size_t n)
{
    static struct log_message m; /* under the lock */
    int rc;

    m.length = (long)n;
    memcpy(m.text, lines, n);
    do
        rc = msgsnd(w.q.id, &m, n, IPC_NOWAIT);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return errno == EAGAIN || errno == ENOMEM ? QUEUE_FULL : QUEUE_LOST;
    drop(n);
    return SENT;
}

/* Send one line at a time to a queue that is nearly full: otherwise processes
 * with few lines would fill it before one with many lines finds room for its
 * message. */
static enum sent send_some(void)
{
    const char *lines = w.bytes + w.from;
    size_t n = whole_lines(lines, w.n, w.q.max), line = first_line(lines, w.n);

    if (n == 0) { /* the system's limit was lowered below one line */
        to_stderr(lines, line);
        drop(line);
        return SENT;
    }
    enum sent rc = send_bytes(lines, n);
    return rc == QUEUE_FULL && line < n ? send_bytes(lines, line) : rc;
}

static int attach(const char *dir, struct err *e)
{
    if (msgqueue_attach(&w.q, dir, LOG_WRITER, e) != 0)
        return -1;
    size_t max = w.q.max < LOG_LINE_MIN ? LOG_LINE_MIN : w.q.max;
    __atomic_store_n(&line_max, (int)(max < LOG_LINE_MAX ? max : LOG_LINE_MAX),
                     __ATOMIC_RELAXED);
    return 0;
}

static bool attached(void)
{
    if (w.q.id >= 0)
        return true;
    if (w.dir[0] == '\0' || clock_mono_ms() < w.attach_at)
        return false;
    w.attach_at = clock_mono_ms() + ATTACH_AGAIN_MS;
    return attach(w.dir, NULL) == 0;
}

/* Send as much as the queue accepts without waiting.  True: the buffer is
 * empty. */
static bool hand_over(void)
{
    if (w.file >= 0)
        to_file();
    for (int lost = 0; w.n > 0;) {
        if (lost == LOST_MAX || !attached()) {
            to_stderr(w.bytes + w.from, w.n);
            drop(w.n);
            break;
        }
        switch (send_some()) {
        case SENT: break;
        case QUEUE_FULL: return false;
        case QUEUE_LOST: /* removed: the lines are still in the buffer */
            lost++;
            w.q.id = -1;
            w.attach_at = 0;
            break;
        }
    }
    return true;
}

/* --- waiting --------------------------------------------------------- */

/* Poll a full queue: msgsnd() has no timeout, and a signal to end it would have
 * to reach this thread.  A running collector empties the queue within a
 * millisecond. */
struct wait {
    uint64_t since, look_at;
    bool told;
};

static void wait_begin(struct wait *t)
{
    t->since = clock_mono_ms();
    t->look_at = 0;
    t->told = false;
}

/* Write an event to standard error instead of the queue. */
static void tell_stderr(const char *name, const struct log_field *fields)
{
    const struct log_event ev = { clock_wall_us(), LOG_ERROR, name, fields };
    char line[LOG_LINE_MIN + 1];
    struct buf b = BUF_ON(line);

    log_render(&b, log_format_now(), &ev);
    to_stderr(b.p, b.n);
}

static void say_waiting(uint64_t ms)
{
    const struct log_field fields[] = {
        LN("pid", getpid()),
        LN("waiting_ms", ms),
        LS("error", "the message queue is full and no collector runs"),
        { NULL, LOG_END, NULL, 0 }
    };

    tell_stderr("log.waiting", fields);
}

/* Called without the lock.  Returns the time waited so far. */
static uint64_t wait_more(struct wait *t)
{
    uint64_t now = clock_mono_ms();
    bool stuck = now - t->since >= NOTICE_AFTER_MS;
    os_pause(stuck ? PAUSE_STUCK_US : PAUSE_US);
    if (stuck && !t->told && now >= t->look_at) {
        t->look_at = now + LOOK_EVERY_MS;
        if (!log_collector_alive(w.dir)) {
            t->told = true;
            say_waiting(now - t->since);
        }
    }
    return now - t->since;
}

/* Make room for n bytes at the end of the buffer; releases the lock while
 * waiting. */
static void make_room(size_t n)
{
    struct wait t;

    wait_begin(&t);
    while (w.n + n > BUFFER && !hand_over() && w.n + n > BUFFER) {
        pthread_mutex_unlock(&w.lock);
        wait_more(&t);
        pthread_mutex_lock(&w.lock);
    }
    if (w.from + w.n + n > BUFFER) {
        memmove(w.bytes, w.bytes + w.from, w.n);
        w.from = 0;
    }
}

/* --- fork ------------------------------------------------------------ */

static void before_fork(void)
{
    pthread_mutex_lock(&w.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&w.lock);
}

/* Drop the copy of the parent's buffer, which the parent sends. */
static void in_child(void)
{
    w.from = w.n = 0;
    pthread_mutex_unlock(&w.lock);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

/* --- for callers ----------------------------------------------------- */

void log_style(enum log_level level, enum log_format format)
{
    __atomic_store_n(&wanted_level, (int)level, __ATOMIC_RELAXED);
    __atomic_store_n(&wanted_format, (int)format, __ATOMIC_RELAXED);
}

enum log_format log_format_now(void)
{
    return (enum log_format)__atomic_load_n(&wanted_format, __ATOMIC_RELAXED);
}

int log_open(const char *queue_dir, enum log_level level,
             enum log_format format, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    log_style(level, format);
    pthread_once(&once, watch_forks);
    if (strcmp(w.dir, queue_dir) == 0)
        return 0;
    log_close();
    if (strlen(queue_dir) >= sizeof w.dir)
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", queue_dir);
    pthread_mutex_lock(&w.lock);
    int rc = attach(queue_dir, e);
    bool later = rc != 0 && w.q.none_left;
    if (rc == 0 || later)
        memcpy(w.dir, queue_dir, strlen(queue_dir) + 1);
    pthread_mutex_unlock(&w.lock);
    if (later) {
        const struct log_field fields[] = { LN("pid", getpid()),
                                            LS("error", e->text),
                                            { NULL, LOG_END, NULL, 0 } };
        tell_stderr("log.noqueue", fields);
    }
    return later ? 0 : rc;
}

void log_to_file(int fd)
{
    pthread_mutex_lock(&w.lock);
    w.file = fd;
    pthread_mutex_unlock(&w.lock);
}

bool log_wants(enum log_level level)
{
    return (int)level >= __atomic_load_n(&wanted_level, __ATOMIC_RELAXED);
}

void log_event(enum log_level level, const char *name,
               const struct log_field *fields)
{
    const struct log_event ev = { clock_wall_us(), level, name, fields };
    char line[LOG_LINE_MAX + 1];
    struct buf b = BUF_ON(line);

    b.cap = (size_t)__atomic_load_n(&line_max, __ATOMIC_RELAXED) + 1;
    log_render(&b, log_format_now(), &ev);
    pthread_mutex_lock(&w.lock);
    if (w.dir[0] == '\0' && w.file < 0) {
        to_stderr(b.p, b.n);
    } else {
        make_room(b.n);
        memcpy(w.bytes + w.from + w.n, b.p, b.n);
        w.n += b.n;
    }
    pthread_mutex_unlock(&w.lock);
}

bool log_flush(void)
{
    pthread_mutex_lock(&w.lock);
    bool empty = hand_over();
    pthread_mutex_unlock(&w.lock);
    return empty;
}

bool log_flush_wait(void)
{
    struct wait t;
    bool empty;

    wait_begin(&t);
    while (!(empty = log_flush()) && wait_more(&t) < CLOSE_WITHIN_MS)
        ;
    return empty;
}

void log_close_descriptor(void)
{
    if (w.q.writers_fd >= 0)
        close(w.q.writers_fd);
    w.q.writers_fd = -1;
}

void log_close(void)
{
    (void)log_flush_wait();
    pthread_mutex_lock(&w.lock);
    to_stderr(w.bytes + w.from, w.n);
    drop(w.n);
    msgqueue_detach(&w.q);
    w.dir[0] = '\0';
    if (w.file >= 0)
        fs_close(w.file);
    w.file = -1;
    pthread_mutex_unlock(&w.lock);
}

void log_err(enum log_level level, const char *name, const struct err *e)
{
    LOG(level, name, LS("error", e->text));
}
