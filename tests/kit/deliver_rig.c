#include "deliver_rig.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/line.h"
#include "deliver/mailboxes.h"
#include "log/log.h"
#include "mailbox/wire_private.h"
#include "queue/handover.h"
#include "recipient/full_page.h"
#include "spool/dirs.h"
#include "spool/submit.h"
#include "spool_kit.h"
#include "test_clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- a life --------------------------------------------------------------- */

static void load(struct deliver_rig *r, const char *const *settings)
{
    char text[32][256];
    struct conf_override over[32];
    size_t n = 0;
    struct err e;

#define SET(...) snprintf(text[n++], sizeof text[0], __VA_ARGS__)
    SET("queue_dir=%s", r->dir);
    SET("hostname=rig.test");
    SET("local.domains=localhost,here.test");
    SET("local.users=file:%s", r->users);
    SET("local.aliases=%s", r->aliases);
    SET("deliver.workers=%d", RIG_MAILBOXES);
#undef SET
    for (; settings != NULL && *settings != NULL && n < 32; settings++)
        snprintf(text[n++], sizeof text[0], "%s", *settings);
    for (size_t i = 0; i < n; i++) {
        char *eq = strchr(text[i], '=');
        ck_assert_ptr_nonnull(eq);
        *eq = '\0';
        over[i] = (struct conf_override){ text[i], eq + 1, "-o" };
    }
    struct conf_source from = { .file = "/dev/null", .over = over, .nover = n };
    ck_assert_msg(conf_load(&r->conf, &from, &e) == 0, "%s", e.text);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void start(struct deliver_rig *r)
{
    int end[2];
    sigset_t none;
    struct err e;

    ck_assert_int_eq(line_pair(end, &e), 0);
    r->line = end[1];
    r->o = (struct deliver_options){ .conf = &r->conf,
                                     .line = end[0],
                                     .progress = r->progress };
    ck_assert_int_eq(full_page_new(&r->o.full, &e), 0);
    sigemptyset(&none);
    ck_assert_msg(deliver_open(&r->d, &r->o, &none, &e) == 0, "%s", e.text);
}

struct deliver_rig *deliver_rig_open(const char *const *settings,
                                     const char *aliases, const char *users)
{
    struct deliver_rig *r = calloc(1, sizeof *r);
    struct err e;

    ck_assert_ptr_nonnull(r);
    test_clock_stop();
    snprintf(r->dir, sizeof r->dir, "%s/deliver-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    snprintf(r->aliases, sizeof r->aliases, "%s.aliases", r->dir);
    snprintf(r->users, sizeof r->users, "%s.users", r->dir);
    write_file(r->aliases, aliases);
    write_file(r->users, users);
    list_init(&r->copies);
    load(r, settings);
    r->conf.local.aliases_usual = strchr(aliases, '|') != NULL;
    log_style(LOG_ERROR, LOG_TEXT);
    ck_assert_msg(spool_dirs_make(r->dir, (uid_t)-1, (gid_t)-1, &e) == 0, "%s",
                  e.text);
    start(r);
    r->process[RIG_PATIENT] = -1;
    for (unsigned i = 0; i < RIG_MAILBOXES; i++) {
        r->process[i] = -1;
        deliver_rig_connect(r, i);
    }
    r->settled = true;
    return r;
}

void deliver_rig_close(struct deliver_rig **rp)
{
    struct deliver_rig *r = *rp;
    struct list *l;

    queue_finish(&r->d.queue);
    deliver_close(&r->d);
    full_page_free(&r->o.full);
    while ((l = list_pop(&r->copies)) != NULL)
        free(LIST_ENTRY(l, struct rig_copy, link));
    for (unsigned i = 0; i <= RIG_MAILBOXES; i++)
        if (r->process[i] >= 0)
            close(r->process[i]);
    close(r->line);
    close(r->o.line);
    conf_free(&r->conf);
    kit_remove_tree(r->dir);
    unlink(r->aliases);
    unlink(r->users);
    free(r);
    *rp = NULL;
    test_clock_go_on();
}

void deliver_rig_renew(struct deliver_rig *r, const char *aliases)
{
    struct local *l = NULL;
    struct err e;

    test_clock_pass_ms(1); /* they are newer than those before */
    write_file(r->aliases, aliases);
    ck_assert_int_eq(local_open(&l, &r->conf.local, &e), 0);
    local_close(&r->d.local);
    r->d.local = l;
    queue_tables_renewed(&r->d.queue);
}

/* --- mail ----------------------------------------------------------------- */

static void add_rcpt(struct chain *env, struct pool *blocks, struct span rcpt)
{
    bool here = rcpt.n > 0 && rcpt.p[0] == '!';

    rcpt.p += here;
    rcpt.n -= here;
    ck_assert(spool_envelope_add(env, blocks, SPOOL_F_RCPT, rcpt));
    if (here)
        ck_assert(spool_envelope_add(env, blocks, SPOOL_F_HERE, SPAN_LIT("")));
}

static uint32_t add_rcpts(struct chain *env, struct pool *blocks,
                          const char *rcpts)
{
    uint32_t count = 0;

    for (struct span rest = span_of(rcpts); rest.n > 0; count++) {
        size_t n = span_find(rest, ',');
        add_rcpt(env, blocks, (struct span){ rest.p, n });
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    return count;
}

static void submit(struct deliver_rig *r, struct chain *env, uint32_t nrcpt,
                   const char *fields)
{
    struct pool *blocks = r->d.queue.notice.blocks;
    struct spool_writer *w = r->d.queue.writer[SPOOL_LOCAL];
    struct spool_submission m = { .part = r->part,
                                  .arrival = clock_wall_us(),
                                  .nrcpt = nrcpt,
                                  .envelope = env };
    struct chain body = CHAIN_INIT;
    char text[RIG_TEXT];
    struct err e;

    snprintf(text, sizeof text, "%sSubject: x\r\n\r\nx\r\n", fields);
    ck_assert(chain_add(&body, blocks, text, strlen(text)));
    struct body b = body_of_chain(&body, crc32c(0, text, strlen(text)));
    ck_assert_msg(spool_writer_new_id(w, &m.id, &e) == 0 &&
                      spool_submit(w, &m, &b, &e) == 0 &&
                      spool_writer_commit(w, &e) == 0,
                  "%s", e.text);
    chain_clear(env, blocks);
    chain_clear(&body, blocks);
    r->d.queue.scan.wanted = true;
}

void deliver_rig_add(struct deliver_rig *r, const char *sender,
                     const char *rcpts, const char *fields)
{
    struct pool *blocks = r->d.queue.notice.blocks;
    struct chain env = CHAIN_INIT;

    ck_assert(
        spool_envelope_add(&env, blocks, SPOOL_F_SENDER, span_of(sender)));
    submit(r, &env, add_rcpts(&env, blocks, rcpts), fields);
}

void deliver_rig_add_back(struct deliver_rig *r, const char *sender,
                          const char *rcpts, uint64_t tables_us)
{
    struct pool *blocks = r->d.queue.notice.blocks;
    struct chain env = CHAIN_INIT;
    unsigned char since[8];

    put_le64(since, tables_us);
    ck_assert(
        spool_envelope_add(&env, blocks, SPOOL_F_SENDER, span_of(sender)) &&
        spool_envelope_add(&env, blocks, SPOOL_F_TABLES,
                           (struct span){ (char *)since, sizeof since }));
    submit(r, &env, add_rcpts(&env, blocks, rcpts), "");
}

void deliver_rig_turn(struct deliver_rig *r)
{
    struct err e;

    do {
        ck_assert_int_ge(loop_turn(r->d.loop, 0, &e), 0);
        (void)deliver_take_line(&r->d, r->o.line);
        r->d.starting &= !r->settled;
        ck_assert_msg(deliver_turn(&r->d, false, &e) == 0, "%s", e.text);
        ck_assert_int_ge(loop_turn(r->d.loop, 0, &e), 0);
    } while (!list_empty(&r->d.schedule.due) || r->d.queue.scan.wanted);
}

void deliver_rig_wait(struct deliver_rig *r, unsigned seconds)
{
    r->d.queue.start_ms -= (uint64_t)seconds * 1000;
    deliver_rig_turn(r);
}

/* --- mailbox processes ---------------------------------------------------- */

void deliver_rig_connect(struct deliver_rig *r, unsigned process)
{
    char text[sizeof DELIVER_MAILBOX + 12];
    int end[2];
    struct err e;

    if (r->process[process] >= 0)
        close(r->process[process]);
    memset(&r->progress[process], 0, sizeof r->progress[process]);
    ck_assert_int_eq(line_pair(end, &e), 0);
    r->process[process] = end[1];
    snprintf(text, sizeof text, "%s%u", DELIVER_MAILBOX, process);
    ck_assert_int_eq(line_send(r->line, text, end[0], &e), 0);
    close(end[0]);
    deliver_rig_turn(r);
}

static void forget_copies(struct deliver_rig *r, unsigned process)
{
    for (struct list *l = r->copies.next, *next; l != &r->copies; l = next) {
        struct rig_copy *c = LIST_ENTRY(l, struct rig_copy, link);
        next = l->next;
        if (c->process != process)
            continue;
        list_remove(l);
        free(c);
    }
}

void deliver_rig_die(struct deliver_rig *r, unsigned process,
                     const struct rig_copy *over)
{
    r->progress[process].step = over != NULL ? MAILBOX_WRITING : MAILBOX_IDLE;
    r->progress[process].tag = over != NULL ? over->r.tag : 0;
    close(r->process[process]);
    r->process[process] = -1;
    deliver_rig_turn(r);
    forget_copies(r, process);
    deliver_rig_connect(r, process);
}

void deliver_rig_stand(struct deliver_rig *r, const struct rig_copy *over,
                       unsigned ms)
{
    struct mailbox_progress *p = &r->progress[over->process];

    p->tag = over->r.tag;
    p->step = MAILBOX_WRITING;
    p->since_ms = loop_now(r->d.loop) - ms;
    r->d.mailbox.watch.fn(&r->d.mailbox.watch);
    deliver_rig_turn(r);
}

static void close_descriptors(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
         c = CMSG_NXTHDR(m, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            close(fd);
        }
    }
}

static void keep_copy(struct deliver_rig *r, unsigned process,
                      const struct mailbox_request *q)
{
    struct rig_copy *c = calloc(1, sizeof *c);

    ck_assert_ptr_nonnull(c);
    c->process = process;
    c->r = *q;
    snprintf(c->key, sizeof c->key, "%s", q->key);
    ck_assert(span_copy(c->from, sizeof c->from, q->reverse_path));
    ck_assert(span_copy(c->to, sizeof c->to, q->delivered_to));
    list_push(&r->copies, &c->link);
}

static void take_packet(struct deliver_rig *r, unsigned process,
                        const unsigned char *p, size_t n)
{
    struct wire_reader w = { p, n };
    struct mailbox_request q;
    struct wire_head h;
    unsigned handle;

    ck_assert_int_eq(wire_take_head(&w, &h), 0);
    for (unsigned i = 0; i < h.requests; i++) {
        ck_assert_int_eq(wire_take_request(&w, &q, &handle), 0);
        keep_copy(r, process, &q);
    }
}

static void take_packets(struct deliver_rig *r, unsigned process)
{
    static unsigned char packet[WIRE_PACKET];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
    } control;

    for (;;) {
        struct iovec v = { packet, sizeof packet };
        struct msghdr m = { .msg_iov = &v,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control };
        ssize_t n = recvmsg(r->process[process], &m, MSG_DONTWAIT);
        if (n <= 0)
            return;
        close_descriptors(&m);
        take_packet(r, process, packet, (size_t)n);
    }
}

struct rig_copy *deliver_rig_next(struct deliver_rig *r)
{
    for (unsigned i = 0; i <= RIG_MAILBOXES; i++)
        if (r->process[i] >= 0)
            take_packets(r, i);
    struct list *l = list_pop(&r->copies);
    return l != NULL ? LIST_ENTRY(l, struct rig_copy, link) : NULL;
}

void deliver_rig_answer_as(struct deliver_rig *r, struct rig_copy *c,
                           struct mailbox_answer *a)
{
    unsigned char packet[4096];

    a->tag = c->r.tag;
    size_t n = wire_put_answer(packet, sizeof packet, a);
    ck_assert_uint_gt(n, 0);
    ck_assert_int_eq(send(r->process[c->process], packet, n, 0), (ssize_t)n);
    free(c);
    deliver_rig_turn(r);
}

void deliver_rig_answer(struct deliver_rig *r, struct rig_copy *c,
                        enum mailbox_outcome outcome, const char *status)
{
    struct mailbox_answer a = { .outcome = outcome };
    struct span text = span_of(status);

    ck_assert(smtp_status_take(&a.status, &text));
    snprintf(a.text, sizeof a.text, "%.*s", (int)text.n, text.p);
    if (outcome != MAILBOX_DELIVERED)
        snprintf(a.why, sizeof a.why, "the test says so");
    deliver_rig_answer_as(r, c, &a);
}

const char *deliver_rig_asked(struct deliver_rig *r, char text[RIG_TEXT])
{
    char message[LINE_MAX_TEXT] = "";
    int fd;

    if (line_receive(r->line, message, &fd) <= 0)
        message[0] = '\0';
    snprintf(text, RIG_TEXT, "%s", message);
    return text;
}

/* --- what is in the queues ------------------------------------------------ */

struct reading {
    const struct spool_reader *v;
    struct buf *b;
    uint64_t part;
    enum spool_name queue;
    uint32_t slot;
    bool notices;
};

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    static const char *const names[] = { "pending",  "delivered", "failed",
                                         "expanded", "held",      "deleted" };
    struct reading *x = ctx;
    struct spool_slot s;
    struct err e;

    if (x->notices) {
        if (type == SPOOL_F_RCPT)
            buf_addf(x->b, "%.*s ", (int)content.n, content.p);
        return 0;
    }
    if (type == SPOOL_F_SENDER)
        buf_addf(x->b, "<%.*s>", (int)content.n, content.p);
    if (type != SPOOL_F_RCPT)
        return 0;
    ck_assert_int_eq(spool_reader_slot(x->v, x->slot++, &s, &e), 0);
    buf_addf(x->b, " %.*s=%s", (int)content.n, content.p, names[s.state]);
    if (s.status.class != 0 && s.status.class != 2)
        buf_addf(x->b, ":%u.%u.%u", s.status.class, s.status.subject,
                 s.status.detail);
    return 0;
}

static int on_record(void *ctx, const struct spool_reader *v)
{
    struct reading x = *(struct reading *)ctx;
    char part[SPOOL_PART_TEXT];
    struct err e;

    if (((v->rec->flags & SPOOL_BOUNCE) != 0) != x.notices)
        return 0;
    if (!x.notices && (v->rec->part != x.part || v->queue != x.queue))
        return 0;
    x.v = v;
    if (!x.notices) {
        const char *text = spool_part_text(part, v->rec->part);
        buf_addf(x.b, "%s %s ", spool_name_text(v->queue),
                 text != NULL ? text : "0");
    }
    ck_assert_int_ge(spool_reader_envelope(v, on_field, &x, &e), 0);
    if (!x.notices)
        buf_addc(x.b, '\n');
    return 0;
}

static void read_all(const struct deliver_rig *r, struct reading *x)
{
    struct err e;

    ck_assert_msg(spool_read_all(r->dir, true, on_record, x, &e) == 0, "%s",
                  e.text);
}

const char *deliver_rig_records(const struct deliver_rig *r,
                                char text[RIG_TEXT])
{
    static const uint64_t parts[] = { 0, 1, 2, 3, 4, 65537, 65538, 131073 };
    struct buf b;

    buf_init(&b, text, RIG_TEXT);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (int q = 0; q < SPOOL_QUEUES; q++)
            read_all(r, &(struct reading){ .b = &b,
                                           .part = parts[i],
                                           .queue = (enum spool_name)q });
    return text;
}

const char *deliver_rig_notices(const struct deliver_rig *r,
                                char text[RIG_TEXT])
{
    struct buf b;

    buf_init(&b, text, RIG_TEXT);
    read_all(r, &(struct reading){ .b = &b, .notices = true });
    return text;
}
