#include "queue/queue.h"

#include "base/os.h"
#include "queue/slots.h"

#include <errno.h>

enum { NOTICE_BLOCKS = 4096 /* 16 MiB */ };

static int make_memory(struct queue *q, struct err *e)
{
    q->memory.messages = pool_new(sizeof(struct message), QUEUE_MESSAGES_MAX);
    q->memory.rcpts = pool_new(sizeof(struct rcpt), QUEUE_RCPTS_MAX);
    q->notice.blocks = chain_pool_new(NOTICE_BLOCKS);
    q->slot.pool = slots_pool();
    if (q->memory.messages == NULL || q->memory.rcpts == NULL ||
        q->notice.blocks == NULL || q->slot.pool == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the queue");
    return 0;
}

static int open_spool(struct queue *q, enum spool_name name, struct err *e)
{
    uint64_t until = 0;
    int rc;

    do
        rc = spool_queue_open(&q->spool, q->conf->queue_dir, name, e);
    while (rc != 0 && e->sys == EWOULDBLOCK && os_again(&until));
    return rc;
}

int queue_open(struct queue *q, enum spool_name name, struct err *e)
{
    q->rule = (struct retry_rule){ (uint32_t)q->conf->send.retry_min,
                                   (uint32_t)q->conf->send.retry_max,
                                   (uint32_t)q->conf->send.queue_lifetime };
    q->start_ms = loop_now(q->loop);
    list_init(&q->notice.deliveries);
    list_init(&q->slot.unwritten);
    list_init(&q->held.rcpts);
    retry_queue_init(&q->memory.retry, queue_seconds(q));
    if (make_memory(q, e) != 0 || open_spool(q, name, e) != 0)
        return -1;
    return spool_writer_open(&q->writer, q->conf->queue_dir, name, e);
}

void queue_close(struct queue *q)
{
    if (q->spool != NULL)
        spool_queue_close(&q->spool);
    spool_writer_close(&q->writer);
    pool_free(&q->memory.messages);
    pool_free(&q->memory.rcpts);
    pool_free(&q->notice.blocks);
    pool_free(&q->slot.pool);
}
