#include "queue/queue.h"

#include "base/clock.h"
#include "base/os.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/history.h"
#include "queue/result.h"
#include "queue/slots.h"

#include <errno.h>

static int make_memory(struct queue *q, struct err *e)
{
    q->memory.messages = pool_new(sizeof(struct message), QUEUE_MESSAGES_MAX);
    q->memory.rcpts = pool_new(sizeof(struct rcpt), QUEUE_RCPTS_MAX);
    q->notice.blocks = chain_pool_new(QUEUE_BLOCKS);
    q->slot.pool = slots_pool();
    if (q->memory.messages == NULL || q->memory.rcpts == NULL ||
        q->notice.blocks == NULL || q->slot.pool == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the queue");
    return 0;
}

static int open_spool(struct queue *q, struct err *e)
{
    const char *dir = q->conf->queue_dir;
    uint64_t until = 0;
    int rc;

    do
        rc = spool_queue_open(&q->spool, dir, q->name, e);
    while (rc != 0 && e->sys == EWOULDBLOCK && os_again(&until));
    if (rc != 0 || spool_handover_start(q->spool, dir, e) != 0)
        return -1;
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (spool_writer_open_parents(&q->writer[i], dir, (enum spool_name)i,
                                      q->name, e) != 0)
            return -1;
    return spool_handover_open(&q->handover.spool, q->spool, q->writer, e);
}

/* Mail goes on without one. */
static void open_history(struct queue *q)
{
    uint64_t size =
        q->keeps_history ? HISTORY_AS_IT_IS : (uint64_t)q->conf->history;
    struct err e;

    if (history_open(&q->history, q->conf->queue_dir, q->name, size, &e) != 0)
        queue_log_fault(q, "queue.unrecorded", &e);
}

int queue_open(struct queue *q, enum spool_name name, struct err *e)
{
    q->rule = (struct retry_rule){ (uint32_t)q->conf->send.retry_min,
                                   (uint32_t)q->conf->send.retry_max,
                                   (uint32_t)q->conf->send.queue_lifetime };
    q->name = name;
    q->start_ms = loop_now(q->loop);
    q->handover.tables = clock_wall_us();
    list_init(&q->handover.steps);
    list_init(&q->notice.deliveries);
    list_init(&q->notice.unwritten);
    list_init(&q->slot.unwritten);
    list_init(&q->held.rcpts);
    list_init(&q->operate.gone);
    retry_queue_init(&q->memory.retry, queue_seconds(q));
    q->counters = counters_new();
    if (make_memory(q, e) != 0 || open_spool(q, e) != 0)
        return -1;
    open_history(q);
    return 0;
}

void queue_close(struct queue *q)
{
    spool_handover_close(&q->handover.spool);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        spool_writer_close(&q->writer[i]);
    handover_forget(q);
    result_forget(q);
    history_close(&q->history);
    spool_queue_close(&q->spool);
    counters_free(&q->counters);
    pool_free(&q->memory.messages);
    pool_free(&q->memory.rcpts);
    pool_free(&q->notice.blocks);
    pool_free(&q->slot.pool);
}

void queue_log_fault(const struct queue *q, const char *event,
                     const struct err *e)
{
    LOG(LOG_ERROR, event, LS("queue", spool_name_text(q->name)),
        LS("error", e->text));
}
