/* pace_file.c - run/pace: what was learned outlives the sender.
 *
 * A line a pace, with times of the wall clock in seconds, and a checksum at
 * the end; the file is replaced whole.  It is not synced: what a power cut
 * takes is learned again.  A clock that jumped makes no wait longer than the
 * longest there is, and what is damaged is left out as a whole. */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "base/rundir.h"
#include "log/log.h"
#include "send/pace_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAVE_MS = 10000,
    LINE_MAX_TEXT_OF = PACE_NAME_MAX + DELIVERY_TEXT_MAX + 200,
    PIECE = 64 * 1024,
    FILE_MAX = PACES_MAX * 800
};

static const char head[] = "mta pace 1\n";

static uint64_t wall_seconds(void)
{
    return clock_wall_us() / 1000000;
}

/* --- writing -------------------------------------------------------------- */

struct writing {
    int fd;
    uint32_t crc;
    bool failed;
    size_t n;
    char piece[PIECE];
};

static void write_out(struct writing *w)
{
    if (w->n > 0 && fs_write_all(w->fd, w->piece, w->n) != 0)
        w->failed = true;
    w->n = 0;
}

static void put(struct writing *w, struct span text)
{
    if (w->n + text.n > sizeof w->piece)
        write_out(w);
    memcpy(w->piece + w->n, text.p, text.n);
    w->n += text.n;
    w->crc = crc32c(w->crc, text.p, text.n);
}

/* 0: over, or never. */
static uint64_t wall_of(const struct pace *p, uint64_t loop_ms)
{
    uint64_t now = pace_now(p);

    return loop_ms > now ? wall_seconds() + (loop_ms - now + 999) / 1000 : 0;
}

static void put_pace(struct writing *w, const struct pace *p)
{
    const struct pace_rate *r = &p->limit;
    char line[LINE_MAX_TEXT_OF];
    struct buf b = BUF_ON(line);

    buf_addf(&b,
             "%s %u %u %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n",
             p->name, (unsigned)r->rate, (unsigned)r->too_much,
             (unsigned)r->sessions, (unsigned)r->too_many, (unsigned)r->signs,
             (unsigned)r->stops, wall_of(p, p->held_until),
             wall_of(p, p->shut_until), wall_of(p, p->forget_at), p->why);
    if (!b.full)
        put(w, buf_span(&b));
}

static int write_all(struct sched *s, struct writing *w, struct err *e)
{
    char line[32];

    put(w, SPAN_LIT(head));
    for (struct list *l = s->pace.known.next; l != &s->pace.known;
         l = l->next) {
        const struct pace *p = LIST_ENTRY(l, struct pace, known);
        if (p->forget_at != 0)
            put_pace(w, p);
    }
    snprintf(line, sizeof line, "end %08" PRIx32 "\n", w->crc);
    put(w, span_of(line));
    write_out(w);
    if (fs_close(w->fd) != 0)
        w->failed = true;
    if (w->failed || fs_renameat(s->pace.dir_fd, "pace.new", "pace") != 0)
        return err_set(e, ERR_TEMP, errno, "write run/pace");
    return 0;
}

void pace_save(struct sched *s)
{
    struct writing *w;
    struct err e;

    loop_timer_clear(s->loop, &s->pace.save);
    if (!s->pace.changed || s->pace.dir_fd < 0)
        return;
    s->pace.changed = false;
    int fd = fs_openat(s->pace.dir_fd, "pace.new",
                       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(&e, ERR_TEMP, errno, "open run/pace.new");
        log_err(LOG_WARN, "send.pace_file", &e);
        return;
    }
    if ((w = malloc(sizeof *w)) == NULL) {
        fs_close(fd);
        return;
    }
    *w = (struct writing){ .fd = fd };
    if (write_all(s, w, &e) != 0)
        log_err(LOG_WARN, "send.pace_file", &e);
    free(w);
}

static void on_save(struct loop_timer *t)
{
    pace_save(LOOP_ENTRY(t, struct sched, pace.save));
}

void pace_save_soon(struct sched *s)
{
    s->pace.changed = true;
    s->pace.save.fn = on_save;
    if (!loop_timer_is_set(&s->pace.save) && !s->stopping)
        loop_timer_set(s->loop, &s->pace.save, SAVE_MS);
}

/* --- reading -------------------------------------------------------------- */

/* So many ms of the loop from now, and no more than `most` seconds. */
static uint64_t loop_of(const struct pace *p, uint64_t wall, uint64_t most)
{
    uint64_t now = wall_seconds(), left = wall > now ? wall - now : 0;

    left = left < most ? left : most;
    return left > 0 ? pace_now(p) + left * 1000 : 0;
}

static bool take_number(struct span *line, uint64_t *out)
{
    size_t n = span_find(*line, ' ');
    unsigned long long v;

    if (n == line->n || !span_u64((struct span){ line->p, n }, UINT64_MAX, &v))
        return false;
    *out = v;
    *line = (struct span){ line->p + n + 1, line->n - n - 1 };
    return true;
}

/* The line's name, numbers and text. */
struct read_pace {
    char name[PACE_NAME_MAX];
    uint64_t n[9];
    struct span why;
};

static bool parse(struct read_pace *r, struct span line)
{
    size_t n = span_find(line, ' ');

    if (n == line.n || n == 0 ||
        !span_copy(r->name, sizeof r->name, (struct span){ line.p, n }))
        return false;
    line = (struct span){ line.p + n + 1, line.n - n - 1 };
    for (int i = 0; i < 9; i++)
        if (!take_number(&line, &r->n[i]) || (i < 6 && r->n[i] > UINT32_MAX))
            return false;
    r->why = line;
    const struct pace_rate limit = { (uint32_t)r->n[0], (uint32_t)r->n[1],
                                     (uint32_t)r->n[2], (uint32_t)r->n[3],
                                     (uint32_t)r->n[4], (uint32_t)r->n[5] };
    return pace_is_sane(&limit);
}

static void restore(struct sched *s, const struct read_pace *r)
{
    struct pace *p = pace_get(s, r->name);

    if (p == NULL)
        return;
    p->forget_at = loop_of(p, r->n[8], PACE_FORGET);
    if (p->forget_at == 0)
        return;
    p->limit = (struct pace_rate){ (uint32_t)r->n[0], (uint32_t)r->n[1],
                                   (uint32_t)r->n[2], (uint32_t)r->n[3],
                                   (uint32_t)r->n[4], (uint32_t)r->n[5] };
    p->held_until = loop_of(p, r->n[6], PACE_STOP_MAX);
    p->shut_until = loop_of(p, r->n[7], PACE_STOP_MAX);
    snprintf(p->why, sizeof p->why, "%.*s",
             (int)(r->why.n < sizeof p->why ? r->why.n : sizeof p->why - 1),
             r->why.p);
    loop_timer_set(s->loop, &p->minute, 60000);
}

static struct span next_line(struct span *rest)
{
    size_t n = span_find(*rest, '\n');
    struct span line = { rest->p, n };

    n += n < rest->n;
    *rest = (struct span){ rest->p + n, rest->n - n };
    return line;
}

/* Head, lines, end; the checksum is over what stands before its line. */
static bool is_whole(struct span text, struct span *lines)
{
    char end[32];
    size_t n = sizeof "end 12345678\n" - 1, k = sizeof head - 1;

    if (text.n < n + k || memcmp(text.p, head, k) != 0)
        return false;
    snprintf(end, sizeof end, "end %08" PRIx32 "\n",
             crc32c(0, text.p, text.n - n));
    *lines = (struct span){ text.p + k, text.n - n - k };
    return memcmp(text.p + text.n - n, end, n) == 0;
}

static int take_text(struct sched *s, struct span text, struct err *e)
{
    struct read_pace r;
    struct span lines, rest;

    if (!is_whole(text, &lines))
        return err_set(e, ERR_PERM, 0, "run/pace is damaged");
    for (rest = lines; rest.n > 0;)
        if (!parse(&r, next_line(&rest)))
            return err_set(e, ERR_PERM, 0, "run/pace makes no sense");
    for (rest = lines; rest.n > 0;)
        if (parse(&r, next_line(&rest)))
            restore(s, &r);
    return 0;
}

/* 1: there is none. */
static int read_file(struct sched *s, char **text, size_t *n, struct err *e)
{
    struct stat st;
    int rc = -1;
    int fd = fs_openat(s->pace.dir_fd, "pace", O_RDONLY | O_NOFOLLOW, 0);

    if (fd < 0)
        return errno == ENOENT ? 1
                               : err_set(e, ERR_TEMP, errno, "open run/pace");
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        err_set(e, ERR_PERM, 0, "run/pace is no file of ours");
        goto out;
    }
    *n = (size_t)st.st_size;
    if ((*text = malloc(*n + 1)) == NULL ||
        fs_pread_all(fd, *text, *n, 0) != 0) {
        err_set(e, ERR_TEMP, errno, "read run/pace");
        goto out;
    }
    rc = 0;
out:
    fs_close(fd);
    return rc;
}

static int open_run(struct sched *s, struct err *e)
{
    struct rundir top, run;

    if (rundir_open(&top, s->conf->queue_dir, e) != 0)
        return -1;
    int rc = rundir_below(&run, &top, "run", e);
    rundir_close(&top);
    if (rc == 0)
        s->pace.dir_fd = run.fd;
    return rc;
}

/* Without it the sender begins as one that knows no host. */
void pace_load(struct sched *s)
{
    char *text = NULL;
    size_t n = 0;
    struct err e;

    int rc = open_run(s, &e);
    if (rc == 0)
        rc = read_file(s, &text, &n, &e);
    if (rc == 0)
        rc = take_text(s, (struct span){ text, n }, &e);
    if (rc < 0)
        log_err(LOG_WARN, "send.pace_file", &e);
    free(text);
}
