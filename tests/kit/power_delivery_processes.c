/* power_delivery_processes.c - the delivery process, without its master, and a
 * mailbox process: the program's own packets lead to turns of its own. */
#include "power_delivery.h"

#include "disk_model.h"
#include "mailbox_turn.h"

#include "base/line.h"
#include "deliver/mailboxes.h"
#include "deliver/state.h"
#include "mailbox/process.h"
#include "mailbox/wire_private.h"
#include "queue/handover.h"
#include "recipient/full_page.h"
#include "spool/segments_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESS = 256, ROUNDS = 200 };

static struct {
    struct deliver d;
    struct deliver_options o;
    struct mailbox_progress progress[DELIVER_MAILBOXES_MAX + 1];
    int line; /* the master's end */
    bool runs;
} me;

struct request {
    struct mailbox_request r;
    char key[MAILBOX_KEY_MAX], from[ADDRESS], to[ADDRESS];
};
static struct {
    struct mailbox_work *work; /* NULL: it does not run */
    int fd;                    /* -1: deliver is gone */
    int segment[WIRE_HANDLES]; /* 0: none */
    struct request waiting[MAILBOX_WINDOW], asked[MAILBOX_WINDOW];
    size_t n, nasked; /* asked: given to a turn, without an answer */
    unsigned starts;
} box;

static bool without(enum delivery_rule rule)
{
    return delivery_stage.life->without == rule;
}

/* --- the mailbox process: packets ------------------------------------------ */

static void keep_request(const struct mailbox_request *q, int segment)
{
    ck_assert_uint_lt(box.n, MAILBOX_WINDOW);
    struct request *r = &box.waiting[box.n++];

    r->r = *q;
    snprintf(r->key, sizeof r->key, "%s", q->key);
    ck_assert(span_copy(r->from, sizeof r->from, q->reverse_path) &&
              span_copy(r->to, sizeof r->to, q->delivered_to));
    r->r.body.fd = dup(segment);
    ck_assert_int_ge(r->r.body.fd, 0);
}

static void take_packet(unsigned char *p, size_t n, const int *fd)
{
    struct wire_reader w = { p, n };
    struct mailbox_request q;
    struct wire_head h;
    unsigned handle;

    ck_assert_int_eq(wire_take_head(&w, &h), 0);
    for (unsigned i = 0; i < h.opens; i++) {
        if (box.segment[h.open[i]] > 0)
            close(box.segment[h.open[i]]);
        box.segment[h.open[i]] = fd[i];
    }
    for (unsigned i = 0; i < h.requests; i++) {
        ck_assert_int_eq(wire_take_request(&w, &q, &handle), 0);
        keep_request(&q, box.segment[handle]);
    }
    for (unsigned i = 0; i < h.closes; i++) {
        close(box.segment[h.close[i]]);
        box.segment[h.close[i]] = 0;
    }
}

static void receive(void)
{
    static unsigned char packet[WIRE_PACKET];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
    } control;

    while (box.fd >= 0) {
        struct iovec v = { packet, sizeof packet };
        struct msghdr m = { .msg_iov = &v,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control };
        int fd[WIRE_FDS];
        ssize_t n = recvmsg(box.fd, &m, MSG_DONTWAIT);
        if (n <= 0)
            return;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (c != NULL)
            memcpy(fd, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
        take_packet(packet, (size_t)n, fd);
    }
}

static void send_answer(const struct mailbox_answer *a)
{
    unsigned char packet[4096];
    size_t n = wire_put_answer(packet, sizeof packet, a);

    ck_assert_uint_gt(n, 0);
    if (box.fd >= 0)
        (void)send(box.fd, packet, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- its turns --------------------------------------------------------------- */

static void drop_requests(struct request *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(r[i].r.body.fd);
}

static void on_answer(void *ctx, const struct mailbox_answer *a)
{
    const bool *killed = ctx;
    size_t i = 0;

    while (i < box.nasked && box.asked[i].r.tag != a->tag)
        i++;
    ck_assert_uint_lt(i, box.nasked);
    if (!*killed && a->outcome == MAILBOX_DELIVERED && box.fd >= 0)
        post_answered(&box.asked[i].r);
    if (!*killed && !without(MARK_LAST))
        send_answer(a);
    drop_requests(&box.asked[i], 1);
    box.asked[i] = box.asked[--box.nasked];
}

static void answer_early(const struct request *r)
{
    send_answer(&(struct mailbox_answer){ .tag = r->r.tag,
                                          .outcome = MAILBOX_DELIVERED,
                                          .status = { .class = 2 } });
}

static void run_turn(size_t n, const bool *killed)
{
    static struct mailbox_request r[MAILBOX_WINDOW];
    void *ctx = (void *)(uintptr_t)killed;

    for (size_t i = 0; i < n; i++) {
        struct request *of = &box.asked[box.nasked++];
        *of = box.waiting[i];
        r[i] = of->r;
        r[i].key = box.waiting[i].key;
        r[i].reverse_path = span_of(box.waiting[i].from);
        r[i].delivered_to = span_of(box.waiting[i].to);
        post_asked(&r[i]);
        if (without(ONE_NAME))
            r[i].arrival += box.starts * (uint64_t)1000000;
    }
    /* more work may wait already: then the next turn settles this one */
    if (delivery_chance(2))
        mailbox_turn_run_on(box.work, r, n, on_answer, ctx);
    else
        mailbox_turn_run(box.work, r, n, on_answer, ctx);
    box.n -= n;
    memmove(box.waiting, box.waiting + n, box.n * sizeof box.waiting[0]);
}

void mailbox_gone(void)
{
    if (box.work == NULL)
        return;
    mailbox_turn_free(&box.work);
    drop_requests(box.waiting, box.n);
    drop_requests(box.asked, box.nasked);
    box.n = box.nasked = 0;
    for (size_t i = 0; i < WIRE_HANDLES; i++)
        if (box.segment[i] > 0)
            close(box.segment[i]);
    memset(box.segment, 0, sizeof box.segment);
    if (box.fd >= 0)
        close(box.fd);
    box.fd = -1;
}

/* The lock of a process that was killed in front of its content waits for
 * minutes; they pass. */
static void remove_locks(void)
{
    const char *dir = delivery_stage.conf.local.mail_dir;
    char path[CONF_PATH_MAX + 300];
    DIR *d = opendir(dir);

    for (struct dirent *n; d != NULL && (n = readdir(d)) != NULL;)
        if (strstr(n->d_name, ".lock") != NULL) {
            snprintf(path, sizeof path, "%s/%s", dir, n->d_name);
            unlink(path);
        }
    if (d != NULL)
        closedir(d);
}

static void connect_mailbox(void)
{
    int end[2];
    struct err e;

    remove_locks();
    box.work = mailbox_turn_new(&delivery_stage.conf);
    ck_assert_ptr_nonnull(box.work);
    box.starts++;
    ck_assert_int_eq(line_pair(end, &e), 0);
    box.fd = end[1];
    ck_assert_int_eq(line_send(me.line, DELIVER_MAILBOX "0", end[0], &e), 0);
    close(end[0]);
}

void mailbox_step(const bool *killed)
{
    if (box.work == NULL) {
        if (me.runs)
            connect_mailbox();
        return;
    }
    size_t before = box.n;
    receive();
    for (size_t i = before; i < box.n && without(MARK_LAST); i++)
        answer_early(&box.waiting[i]);
    bool early = without(MARK_LAST) && delivery_chance(2);
    size_t some = box.n > 1 && delivery_chance(2)
                      ? 1 + delivery_below((unsigned)box.n)
                      : box.n;
    run_turn(early ? 0 : some, killed);
    if (*killed)
        post_crash();
    if (*killed ||
        (box.fd < 0 && (box.n + box.nasked == 0 || delivery_chance(3))))
        mailbox_gone();
}

/* --- deliver ------------------------------------------------------------------ */

static void let_go_of_line(void)
{
    if (me.line > 0)
        close(me.line);
    if (me.o.line > 0)
        close(me.o.line);
    me.line = me.o.line = 0;
    full_page_free(&me.o.full);
}

static void cut_off(void)
{
    receive();
    if (box.fd >= 0)
        close(box.fd);
    box.fd = -1;
}

void deliver_is_killed(void)
{
    if (box.work != NULL)
        cut_off();
}

/* Its mailbox process has the copies in its hand. */
void deliver_gone(void)
{
    post_crash();
    if (me.runs)
        deliver_close(&me.d);
    me.runs = false;
    if (box.work != NULL)
        cut_off();
    let_go_of_line();
}

static void start(void)
{
    sigset_t none;
    int end[2];
    struct err e;

    ck_assert_int_eq(line_pair(end, &e), 0);
    me.line = end[1];
    me.o = (struct deliver_options){ .conf = &delivery_stage.conf,
                                     .line = end[0],
                                     .progress = me.progress };
    ck_assert_int_eq(full_page_new(&me.o.full, &e), 0);
    sigemptyset(&none);
    delivery_stage.life->starts++;
    me.runs = true; /* from here on it is to be closed */
    if (deliver_open(&me.d, &me.o, &none, &e) != 0) {
        deliver_gone();
        return;
    }
    for (int q = 0; q < SPOOL_QUEUES; q++)
        me.d.queue.writer[q]->segment_size = POST_SEGMENT;
    me.d.queue.spool->reclaim_items = 1 + (int)delivery_below(3);
    me.d.queue.scan.wanted = true;
    me.d.starting &= !without(LOOK_FIRST);
}

/* As deliver.c: 0, or it ends. */
static int turn(bool flush)
{
    struct err e;

    if (loop_turn(me.d.loop, 0, &e) < 0)
        return -1;
    (void)deliver_take_line(&me.d, me.o.line);
    return deliver_turn(&me.d, flush, &e) != 0 ||
                   loop_turn(me.d.loop, 0, &e) < 0
               ? -1
               : 0;
}

void deliver_stop(void)
{
    if (!me.runs)
        return;
    queue_finish(&me.d.queue);
    deliver_close(&me.d);
    me.runs = false;
    if (box.work != NULL)
        cut_off();
    let_go_of_line();
}

/* Time passes: what is to be done each second is due. */
static void let_time_pass(void)
{
    struct housekeeping *u = &me.d.housekeeping;

    if (delivery_chance(2))
        me.d.queue.scan.wanted = true;
    if (delivery_chance(3))
        u->synced = 0;
    if (delivery_chance(3)) {
        u->reclaimed = 0;
        me.d.queue.memory.reclaimable = true;
    }
}

void deliver_step(const bool *killed, bool mailbox_busy)
{
    if (!me.runs) {
        if (mailbox_busy || box.work != NULL)
            return; /* that of its predecessor ends first */
        start();
    } else {
        let_time_pass();
        if (turn(delivery_chance(4)) != 0 && !*killed)
            deliver_stop();
    }
    if (*killed)
        deliver_gone();
    else if (me.runs && me.d.mailbox.ncopies == 0 && delivery_chance(25))
        deliver_stop();
}

/* As struct step of src/queue/handover.c begins. */
struct step_head {
    struct list link;
    struct spool_child child;
};

void deliver_mark_early(void)
{
    struct queue *q = &me.d.queue;
    const struct spool_slot slot = { .state = SPOOL_EXPANDED };
    struct err e;

    if (!me.runs || q->handover.n == 0)
        return;
    for (struct list *l = q->handover.steps.next; l != &q->handover.steps;
         l = l->next) {
        const struct spool_child *c =
            &LIST_ENTRY(l, struct step_head, link)->child;
        for (uint32_t i = 0; i < c->nslots; i++)
            (void)spool_slot_put(q->spool, c->parent, c->slots[i], &slot, &e);
    }
}

/* --- the end ------------------------------------------------------------------- */

static bool has_work(void)
{
    const struct queue *q = &me.d.queue;

    return deliver_is_busy(&me.d) || q->memory.pending > 0 || q->held.n > 0 ||
           box.n + box.nasked > 0;
}

/* It ends where a sync has failed; its successor does the rest. */
static void start_again(void)
{
    deliver_stop();
    mailbox_gone();
    start();
}

void deliver_finish(void)
{
    bool no = false;

    while (box.work != NULL && !me.runs)
        mailbox_step(&no);
    if (!me.runs)
        start();
    for (int i = 0; i < ROUNDS && me.runs; i++) {
        me.d.housekeeping.synced = 0;
        me.d.queue.slot.dirty = true;
        if (turn(true) != 0)
            start_again();
        mailbox_step(&no);
        if (i > 3 && me.runs && !has_work())
            return;
    }
    post_complain(me.runs ? "mail stays in local/" : "deliver does not start");
}
