/* queue_offline.c - operate on a queue that no process consumes: with its lock,
 * on the disk, as its user. */
#include "cli/queue_operate_private.h"

#include "base/fs.h"
#include "base/os.h"
#include "log/log.h"
#include "log/logfile.h"
#include "log/run.h"
#include "net/loop.h"
#include "queue/handover.h"
#include "queue/operate.h"
#include "queue/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void *place(struct queue *q, struct span sender, struct span address)
{
    (void)sender;
    (void)address;
    return q;
}

static void release(struct queue *q, void *of)
{
    (void)q;
    (void)of;
}

static struct list due_now;

static void due(struct queue *q, struct rcpt *r)
{
    (void)q;
    r->state = RCPT_DUE;
    list_push(&due_now, &r->link);
}

static bool take(struct queue *q, struct rcpt *r)
{
    (void)q;
    list_remove(&r->link);
    return true;
}

/* Nothing is offered to anybody, so nothing comes back. */
static const struct queue_owner owner = {
    .place = place, .release = release, .due = due, .take = take
};
static const struct queue_events events = {
    "queue.operation", "queue.operation", "queue.operation", "queue.operation"
};

static int carry_out(struct queue_operating *p, struct queue *q, struct err *e)
{
    char command[QUEUE_OPERATE_COMMAND];
    struct queue_operation op;

    if (queue_scan(q, e) < 0)
        return -1;
    p->next_id = 1;
    while (queue_operate_next(p, command)) {
        if (operate_parse(&op, command, e) != 0)
            return -1;
        op.uid = p->uid;
        while (operate_piece(q, &op))
            queue_operate_show(p, op.rcpts);
        operate_end(q, &op);
        p->rcpts += op.rcpts;
        p->before += op.rcpts;
        p->messages += op.messages;
        p->failed += op.failed;
    }
    return queue_confirm(q, e);
}

/* A consumer that starts now waits a second for the lock. */
int queue_operate_here(struct queue_operating *p, enum spool_name name,
                       struct err *e)
{
    struct queue q = { .owner = &owner,
                       .events = &events,
                       .conf = &p->o->conf,
                       .keeps_history = true };
    uint64_t before = p->rcpts;
    int rc = -1;

    list_init(&due_now);
    if (loop_new(&q.loop, NULL, e) != 0)
        return -1;
    if (queue_open(&q, name, e) == 0)
        rc = carry_out(p, &q, e);
    else if (e->sys == ENOENT)
        rc = 0; /* the other queue is there */
    queue_close(&q);
    loop_free(&q.loop);
    if (!p->logs)
        p->unlogged += p->rcpts - before;
    return rc;
}

/* --- the log -------------------------------------------------------------- */

/* Opened with the rights of the start, as the supervisor does it; but not made,
 * because it would belong to this user. */
static int open_file(const struct conf *c)
{
    const char *file = c->log.file;
    struct logfile f = { .fd = -1 };

    if (strcmp(file, "-") == 0)
        return -1;
    int fd = fs_open(file, O_RDWR | O_APPEND | O_NOCTTY, 0);
    if (fd < 0)
        fprintf(stderr,
                "mta queue: log file %s: %s: what is done is not logged\n",
                file, strerror(errno));
    else if (logfile_use(&f, file, fd, NULL) == 0 && f.torn)
        (void)fs_write(fd, "\n", 1);
    return fd;
}

/* Through a collector, which the other processes of mta have; else into its
 * file.  Beside both, standard error has what goes wrong. */
static bool open_log(const struct conf *c, int file, struct err *e)
{
    enum log_format format =
        c->log.format == CONF_LOG_JSON ? LOG_JSON : LOG_TEXT;

    if (file < 0 && log_collector_alive(c->queue_dir) &&
        log_open(c->queue_dir, (enum log_level)c->log.level, format, e) == 0)
        return true;
    log_style(file < 0 ? LOG_WARN : (enum log_level)c->log.level,
              file < 0 ? LOG_TEXT : format);
    log_to_file(file);
    return file >= 0;
}

int queue_operate_begin_here(struct queue_operating *p, struct err *e)
{
    const struct conf *c = &p->o->conf;
    int file = log_collector_alive(c->queue_dir) ? -1 : open_file(c);

    if (os_drop_privileges(c->user, c->group, e) != 0) {
        if (file >= 0)
            fs_close(file);
        return -1;
    }
    struct err why;
    p->logs = open_log(c, file, &why);
    return 0;
}
