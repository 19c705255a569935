/* sched.c - open and close the sender's scheduler. */
#include "send/sched.h"

#include "base/os.h"
#include "send/own_host.h"
#include "send/slots.h"

#include <errno.h>
#include <string.h>

enum {
    DESTINATION_BUCKETS = 64 * 1024,
    LANE_BUCKETS = 8 * 1024,
    NOTICE_BLOCKS = 4096 /* 16 MiB */
};

static const struct sched_calls real = { send_worker_give, send_worker_hurry,
                                         mx_ask, mx_cancel };

static int make_memory(struct sched *s, struct err *e)
{
    s->memory.messages = pool_new(sizeof(struct message), SCHED_MESSAGES_MAX);
    s->memory.rcpts = pool_new(sizeof(struct rcpt), SCHED_RCPTS_MAX);
    s->notice.blocks = chain_pool_new(NOTICE_BLOCKS);
    s->slot.pool = slots_pool();
    if (s->memory.messages == NULL || s->memory.rcpts == NULL ||
        s->notice.blocks == NULL || s->slot.pool == NULL ||
        map_init(&s->destination.all, DESTINATION_BUCKETS) != 0 ||
        lookup_turns_init(&s->destination.lookups) != 0 ||
        map_init(&s->lane.all, LANE_BUCKETS) != 0)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the sender");
    return 0;
}

static int open_store(struct sched *s, struct err *e)
{
    const char *dir = s->conf->queue_dir;
    uint64_t until = 0;
    int rc;

    do
        rc = spool_queue_open(&s->queue, dir, SPOOL_REMOTE, e);
    while (rc != 0 && e->sys == EWOULDBLOCK && os_again(&until));
    return rc;
}

int sched_open(struct sched *s, const struct conf *c, const sigset_t *wait_mask,
               struct err *e)
{
    memset(s, 0, sizeof *s);
    s->calls = &real;
    s->conf = c;
    s->rule = (struct retry_rule){ (uint32_t)c->send.retry_min,
                                   (uint32_t)c->send.retry_max,
                                   (uint32_t)c->send.queue_lifetime };
    list_init(&s->ready.destinations);
    list_init(&s->ready.lanes);
    list_init(&s->destination.idle);
    list_init(&s->lane.opening);
    list_init(&s->notice.deliveries);
    list_init(&s->slot.unwritten);
    if (loop_new(&s->loop, wait_mask, e) != 0)
        return -1;
    s->start_ms = loop_now(s->loop);
    retry_queue_init(&s->memory.retry, sched_seconds(s));
    if (make_memory(s, e) != 0 || own_host_load(&s->self, c, e) != 0 ||
        local_open(&s->local, &s->conf->local, e) != 0 ||
        dns_open_conf(&s->dns, s->loop, s->conf, e) != 0 ||
        (route_has_settings(c) &&
         dns_hosts_load(&s->hosts, DNS_HOSTS_FILE, e) != 0) ||
        open_store(s, e) != 0)
        return -1;
    return spool_writer_open(&s->writer, c->queue_dir, SPOOL_REMOTE, e);
}

void sched_close(struct sched *s)
{
    if (s->destination.all.bucket != NULL && s->lane.all.bucket != NULL)
        destination_free_all(s);
    lookup_turns_free(&s->destination.lookups);
    map_done(&s->destination.all);
    map_done(&s->lane.all);
    if (s->dns != NULL)
        dns_close(&s->dns);
    dns_hosts_free(&s->hosts);
    if (s->queue != NULL)
        spool_queue_close(&s->queue);
    spool_writer_close(&s->writer);
    local_close(&s->local);
    own_host_done(&s->self);
    pool_free(&s->memory.messages);
    pool_free(&s->memory.rcpts);
    pool_free(&s->notice.blocks);
    pool_free(&s->slot.pool);
    loop_free(&s->loop);
}
