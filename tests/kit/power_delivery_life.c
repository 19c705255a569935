/* power_delivery_life.c - what happens in a life of local mail: workers, steps
 * in any order, kills, power cuts, and then the end. */
#include "power_delivery.h"

#include "disk_model.h"
#include "spool_kit.h"

#include "base/fs.h"
#include "log/log.h"
#include "serve/commit.h"
#include "spool/dirs.h"
#include "spool/segments_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TURN = 3, STEPS = 60, DISKS = 32, WORKERS = A_ALL - A_WORKER };

struct delivery_stage delivery_stage;
#define stage delivery_stage
static struct {
    char dir[256], other[256], tables[256];
    struct actor {
        bool busy, killed;
        int luck; /* calls until it is killed; 0: never */
    } actor[A_ALL];
    int running; /* whose calls these are; -1: nobody's */
    bool inside; /* the hook's own calls */
    unsigned epoch, ntransactions;
    struct {
        struct serve_commit *commit;
        struct {
            struct serve_transaction *transaction;
            unsigned number;
        } turn[TURN];
        size_t nturn;
    } worker[WORKERS];
} me;

static uint64_t draw(void)
{
    uint64_t x = stage.random += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

unsigned delivery_below(unsigned limit)
{
    return (unsigned)(draw() % limit);
}

bool delivery_chance(unsigned one_in)
{
    return delivery_below(one_in) == 0;
}

/* --- workers ------------------------------------------------------------------ */

static void on_stored(struct serve_transaction *d, const struct err *why)
{
    int w = me.running - A_WORKER;

    for (size_t i = 0; i < me.worker[w].nturn; i++)
        if (me.worker[w].turn[i].transaction == d && why == NULL &&
            !me.actor[me.running].killed)
            post_at(me.worker[w].turn[i].number)->promised = model_count();
}

static void add_rcpts(struct serve_transaction *d, uint32_t rcpts)
{
    const char *address;
    bool remote;

    for (unsigned i = 0; (address = post_rcpt(i, &remote)) != NULL; i++)
        if ((rcpts & 1u << i) != 0)
            ck_assert_int_eq(
                serve_transaction_add_recipient(
                    d, span_of(address), remote ? PLACE_REMOTE : PLACE_LOCAL),
                0);
}

static enum spool_name queue_for(uint32_t rcpts)
{
    bool remote;

    for (unsigned i = 0; post_rcpt(i, &remote) != NULL; i++)
        if ((rcpts & 1u << i) != 0 && !remote)
            return SPOOL_LOCAL;
    return SPOOL_REMOTE;
}

static struct serve_transaction *receive_one(int w, unsigned number)
{
    const struct post *p = post_at(number);
    struct spool_writer *writer =
        serve_commit_writer(me.worker[w].commit, queue_for(p->rcpts));
    char text[POST_TEXT];
    char sender[64];
    struct err e;

    post_sender(sender, number);
    size_t n = post_text(text, number);
    struct serve_transaction *d =
        serve_transaction_new(stage.blocks, span_of(sender), &me.ntransactions);
    ck_assert_ptr_nonnull(d);
    add_rcpts(d, p->rcpts);
    if (spool_writer_new_id(writer, &d->id, &e) != 0) {
        serve_transaction_free(&d);
        return NULL;
    }
    d->writer = writer;
    d->bodies = delivery_chance(5) ? stage.no_blocks : stage.blocks;
    d->begun = true; /* its octets are no header: take them as they are */
    serve_transaction_take(d, text, n);
    if (d->fault != BODY_FINE)
        serve_transaction_free(&d);
    return d;
}

static void leave(int w)
{
    for (size_t i = 0; i < me.worker[w].nturn; i++)
        serve_transaction_free(&me.worker[w].turn[i].transaction);
    me.worker[w].nturn = 0;
    serve_commit_close(&me.worker[w].commit);
}

static void take_mail(int w)
{
    unsigned number;

    for (unsigned n = 1 + delivery_below(TURN); n > 0; n--) {
        uint32_t size =
            delivery_chance(5) ? delivery_below(6000) : delivery_below(600);
        if (post_new(size / 64 * 64, (uint32_t)draw(), &number) == NULL)
            break;
        struct serve_transaction *d = receive_one(w, number);
        if (d == NULL)
            continue;
        me.worker[w].turn[me.worker[w].nturn].transaction = d;
        me.worker[w].turn[me.worker[w].nturn++].number = number;
        stage.life->sent++;
    }
    for (size_t i = 0; i < me.worker[w].nturn; i++)
        serve_commit_submit(me.worker[w].commit,
                            me.worker[w].turn[i].transaction);
    serve_commit_run(me.worker[w].commit);
    me.worker[w].nturn = 0;
}

static void worker_step(int w)
{
    struct err e;

    if (me.worker[w].commit == NULL) {
        if (serve_commit_open(&me.worker[w].commit, stage.conf.queue_dir,
                              on_stored, &e) == 0)
            for (int q = 0; q < SPOOL_QUEUES; q++)
                serve_commit_writer(me.worker[w].commit, (enum spool_name)q)
                    ->segment_size = POST_SEGMENT;
    } else if (delivery_chance(12)) {
        leave(w);
    } else {
        take_mail(w);
    }
    if (me.actor[A_WORKER + w].killed)
        leave(w);
}

/* --- steps and calls ---------------------------------------------------------- */

static void become(int who)
{
    me.running = who;
    model_who = who < 0 ? 0 : (unsigned)who;
}

static void step_of(int who)
{
    struct actor *a = &me.actor[who];

    a->busy = true;
    become(who);
    if (!stage.life->quiet && delivery_chance(6))
        a->luck = 1 + (int)delivery_below(20);
    if (who == A_DELIVER)
        deliver_step(&a->killed, me.actor[A_MAILBOX].busy);
    else if (who == A_MAILBOX)
        mailbox_step(&a->killed);
    else if (who == A_SENDER)
        sender_step(&a->killed);
    else
        worker_step(who - A_WORKER);
    a->luck = 0;
    a->busy = a->killed = false;
    become(-1);
}

static int any_actor(void)
{
    static const int often[] = { A_DELIVER, A_DELIVER, A_DELIVER,
                                 A_MAILBOX, A_MAILBOX, A_SENDER,
                                 A_SENDER,  A_WORKER,  A_WORKER + 1 };

    return often[delivery_below(sizeof often / sizeof often[0])];
}

static int on_call(const struct model_op *op)
{
    int mine = me.running;

    (void)op;
    if (mine < 0 || me.inside)
        return 0;
    struct actor *a = &me.actor[mine];
    if (a->killed)
        return MODEL_KILLED;
    if (delivery_chance(16)) {
        int other = any_actor();
        if (!me.actor[other].busy)
            step_of(other);
        become(mine);
    }
    if (mine == A_DELIVER && stage.life->without == PUBLISH_FIRST) {
        me.inside = true;
        deliver_mark_early();
        me.inside = false;
    }
    if (a->luck == 0 || --a->luck > 0)
        return 0;
    if (stage.life->faults) {
        static const int errors[] = { EIO, ENOSPC, EIO, MODEL_SHORT };
        stage.life->failed_calls++;
        return errors[delivery_below(4)];
    }
    a->killed = true;
    stage.life->kills++;
    if (mine == A_DELIVER)
        deliver_is_killed();
    return MODEL_KILLED;
}

static bool is_draft(const struct model_op *op)
{
    char path[512];

    if (fnmatch("mail/*/tmp/*", model_path(op->node), FNM_PATHNAME) != 0)
        return model_has_no_name(op->node);
    snprintf(path, sizeof path, "%s/%s", me.dir, model_path(op->node));
    return access(path, F_OK) == 0;
}

/* Syncs that are left out. */
static bool leave_out(const struct model_op *op)
{
    const char *path = model_path(op->node);
    bool entry = op->kind == MODEL_SYNC_DIR;

    switch (stage.life->without) {
    case TEXT_FIRST: return !entry && is_draft(op);
    case COPY_ENTRY:
        return entry && fnmatch("mail/*/new", path, FNM_PATHNAME) == 0;
    case BOX_ENTRY:
        return entry && (fnmatch("mail/*", path, FNM_PATHNAME) == 0 ||
                         strcmp(path, "mail") == 0);
    case MARKS_SYNC:
        return me.running == A_DELIVER && !entry &&
               fnmatch("queue/local/*", path, FNM_PATHNAME) == 0;
    case NOTICE_SYNC:
        return me.running == A_DELIVER && !entry &&
               fnmatch("queue/remote/*", path, FNM_PATHNAME) == 0;
    default: return false;
    }
}

/* --- the end ------------------------------------------------------------------- */

static void set_dir(const char *dir)
{
    snprintf(stage.conf.queue_dir, sizeof stage.conf.queue_dir, "%s/queue",
             dir);
    snprintf(stage.conf.local.mail_dir, sizeof stage.conf.local.mail_dir,
             "%s/mail", dir);
}

/* Nothing goes wrong any more. */
static void live_to_the_end(void)
{
    for (int i = 0; i < 2 && stage.life->fault[0] == '\0'; i++) {
        deliver_finish();
        sender_finish();
    }
    /* A start takes away what its predecessor has written and confirmed. */
    for (int i = 0; i < 3 && stage.life->fault[0] == '\0'; i++) {
        deliver_stop();
        mailbox_gone();
        sender_finish();
        sender_stop();
        deliver_finish();
    }
    deliver_stop();
    mailbox_gone();
    post_judge(&stage.conf);
}

static void say_where(size_t cut, size_t way)
{
    struct delivery_life *l = stage.life;
    size_t n = strlen(l->fault);

    if (n == 0)
        return;
    snprintf(l->fault + n, sizeof l->fault - n,
             " (seed %llu, epoch %u, after call %zu of %zu, way %zu)",
             (unsigned long long)l->seed, me.epoch, cut, model_count(), way);
    if (getenv("POWERCUT_PRINT") != NULL)
        model_print(stdout);
}

static void look_behind(size_t cut)
{
    size_t way = draw() % model_ways(cut, true);

    if (stage.life->fault[0] != '\0' || !model_build(cut, way, me.other))
        return;
    set_dir(me.other);
    post_save();
    post_cut_at(cut);
    if (delivery_chance(2))
        post_read_mail(&stage.conf, draw());
    live_to_the_end();
    post_restore();
    set_dir(me.dir);
    stage.life->judged++;
    say_where(cut, way);
}

static void draw_cuts(size_t cut[], unsigned n)
{
    size_t all = model_count() + 1;

    for (unsigned i = 0; i < n; i++) {
        size_t c = draw() % all;
        unsigned at = i;
        for (; at > 0 && cut[at - 1] > c; at--)
            cut[at] = cut[at - 1];
        cut[at] = c;
    }
}

static void cut_power(void)
{
    size_t cut[DISKS], n = stage.life->disks, way;

    model_fast_calls();
    draw_cuts(cut, (unsigned)n);
    for (size_t i = 0; i < n; i++)
        look_behind(cut[i]);
    size_t last = cut[n - 1 - delivery_below(4)];
    way = draw() % model_ways(last, true);
    model_rebuild(last, way, me.dir);
    post_cut_at(last);
    if (delivery_chance(2))
        post_read_mail(&stage.conf, draw());
}

static void stop_all(void)
{
    for (int i = 0; i < A_ALL; i++) {
        become(i);
        me.actor[i].killed = true;
        if (i == A_DELIVER)
            deliver_gone();
        else if (i == A_MAILBOX)
            mailbox_gone();
        else if (i == A_SENDER)
            sender_gone();
        else
            leave(i - A_WORKER);
        me.actor[i].killed = false;
    }
    become(-1);
}

static void live_epoch(bool last)
{
    model_fail = on_call;
    model_named = stage.life->named;
    model_lie = leave_out;
    model_start(me.dir);
    for (unsigned i = 0; i < STEPS; i++)
        step_of(any_actor());
    if (last) {
        model_fail = NULL;
        for (int w = 0; w < WORKERS; w++)
            leave(w);
        live_to_the_end();
        say_where(model_count(), 0);
    }
    model_fail = on_call;
    stop_all();
    model_fail = NULL;
    model_lie = NULL;
    stage.life->calls += model_count();
    if (!last)
        cut_power();
}

/* --- the beginning ------------------------------------------------------------- */

static void make_dir(char out[256], const char *name)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char path[300];
    struct err e;

    snprintf(out, 256, "%s/%s-XXXXXX", parent, name);
    ck_assert_ptr_nonnull(mkdtemp(out));
    snprintf(path, sizeof path, "%s/mail", out);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/queue", out);
    ck_assert_int_eq(spool_dirs_make(path, (uid_t)-1, (gid_t)-1, &e), 0);
}

static void write_table(const char *name, const char *text)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", me.tables, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void load_settings(void)
{
    char users[300], aliases[300], queue[300], mail[300];
    const struct conf_override over[] = {
        { "queue_dir", queue, "-o" },
        { "hostname", "life.test", "-o" },
        { "local.domains", "here.test", "-o" },
        { "local.users", users, "-o" },
        { "local.aliases", aliases, "-o" },
        { "local.mail_dir", mail, "-o" },
        { "local.mailbox", stage.life->kind == CONF_MBOX ? "mbox" : "maildir",
          "-o" },
        { "deliver.workers", "1", "-o" },
    };
    struct conf_source from = { .file = "/dev/null",
                                .over = over,
                                .nover = sizeof over / sizeof over[0] };
    struct err e;

    snprintf(users, sizeof users, "file:%s/users", me.tables);
    snprintf(aliases, sizeof aliases, "%s/aliases", me.tables);
    snprintf(queue, sizeof queue, "%s/queue", me.dir);
    snprintf(mail, sizeof mail, "%s/mail", me.dir);
    ck_assert_msg(conf_load(&stage.conf, &from, &e) == 0, "%s", e.text);
}

void delivery_life_run(struct delivery_life *l)
{
    memset(&me, 0, sizeof me);
    memset(&stage, 0, sizeof stage);
    me.running = -1;
    stage.life = l;
    stage.random = l->seed;
    stage.blocks = chain_pool_new(8192);
    stage.no_blocks = chain_pool_new(0);
    post_start(l);
    make_dir(me.dir, "delivery");
    make_dir(me.other, "judge");
    snprintf(me.tables, sizeof me.tables, "/tmp/tables-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(me.tables));
    write_table("aliases", delivery_aliases);
    write_table("users", delivery_users);
    load_settings();
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    for (; me.epoch < l->epochs && l->fault[0] == '\0'; me.epoch++)
        live_epoch(me.epoch + 1 == l->epochs);
    model_stop();
    model_free();
    conf_free(&stage.conf);
    pool_free(&stage.blocks);
    pool_free(&stage.no_blocks);
    kit_remove_tree(me.dir);
    kit_remove_tree(me.other);
    kit_remove_tree(me.tables);
}
