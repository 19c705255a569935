#include "mailbox/batch.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/os.h"
#include "config/conf.h"
#include "mailbox/mailbox_private.h"
#include "mailbox/maildir.h"
#include "mailbox/mbox.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOXES_KEPT = 4096, BUCKETS = 4096 };

/* --- the batch ------------------------------------------------------------ */

/* A slash would leave the directory and a colon begins the flags of a Maildir
 * name; both are escaped as the Maildir description has it. */
static void take_host(char out[MAILBOX_HOST_MAX], const char *host)
{
    struct buf b;

    buf_init(&b, out, MAILBOX_HOST_MAX);
    for (const char *p = host; *p != '\0'; p++) {
        if (*p == '/')
            buf_adds(&b, "\\057");
        else if (*p == ':')
            buf_adds(&b, "\\072");
        else if ((unsigned char)*p > ' ' && *p != 0x7f)
            buf_addc(&b, *p);
    }
    if (b.n == 0)
        buf_adds(&b, "localhost");
}

void mailbox_options_conf(struct mailbox_options *o, const struct conf *c,
                          size_t max_copies)
{
    *o = (struct mailbox_options){ .mail_dir = c->local.mail_dir,
                                   .kind = c->local.mailbox == CONF_MBOX
                                               ? MAILBOX_MBOX
                                               : MAILBOX_MAILDIR,
                                   .hostname = c->hostname,
                                   .max_copies = max_copies };
}

int mailbox_batch_new(struct mailbox_batch **bp,
                      const struct mailbox_options *o, struct err *e)
{
    struct mailbox_batch *b = calloc(1, sizeof *b);

    if (b == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    list_init(&b->turn);
    list_init(&b->open);
    b->kind = o->kind;
    b->counter = arc4random();
    take_host(b->host, o->hostname);
    b->memory = malloc(sizeof *b->memory);
    b->copy_pool = pool_new(sizeof(struct mailbox_copy), o->max_copies);
    b->mailbox_pool =
        pool_new(sizeof(struct mailbox), o->max_copies + BOXES_KEPT);
    if (b->memory == NULL || b->copy_pool == NULL || b->mailbox_pool == NULL ||
        map_init(&b->boxes, BUCKETS) != 0) {
        mailbox_batch_free(&b);
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    }
    if (!span_copy(b->dir, sizeof b->dir, span_of(o->mail_dir)) ||
        b->dir[0] == '\0') {
        mailbox_batch_free(&b);
        return err_set(e, ERR_USAGE, 0, "bad mail directory: %s", o->mail_dir);
    }
    *bp = b;
    return 0;
}

void mailbox_batch_free(struct mailbox_batch **bp)
{
    struct mailbox_batch *b = *bp;

    if (b == NULL)
        return;
    mailbox_reset(b);
    map_done(&b->boxes);
    pool_free(&b->mailbox_pool);
    pool_free(&b->copy_pool);
    free(b->memory);
    free(b);
    *bp = NULL;
}

/* --- shared by the formats ------------------------------------------------ */

/* Written or synced. */
static bool is_open(const struct mailbox_copy *c)
{
    return c->state == COPY_WRITTEN || c->state == COPY_SYNCED;
}

void mailbox_fail(struct mailbox_copy *c, const struct err *e)
{
    c->state = COPY_FAILED;
    c->err = *e;
}

void mailbox_fail_all(struct mailbox *k, const struct err *e)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct mailbox_copy *c = LIST_ENTRY(l, struct mailbox_copy, of_box);
        if (is_open(c))
            mailbox_fail(c, e);
    }
}

void mailbox_dir(char out[MAILBOX_PATH_MAX], const struct mailbox *k)
{
    snprintf(out, MAILBOX_PATH_MAX, "%s/%s", k->batch->dir, k->name);
}

bool mailbox_owner_ok(const struct mailbox *k, uid_t owner)
{
    if (owner == geteuid() || owner == 0)
        return true;
    const struct passwd *pw = getpwnam(k->name);
    return pw != NULL && pw->pw_uid == owner;
}

int mailbox_sync_entry(struct mailbox *k, struct err *e)
{
    char path[MAILBOX_PATH_MAX];
    struct mailbox_batch *b = k->batch;

    mailbox_dir(path, k);
    if (!fs_is_same(&b->top, AT_FDCWD, b->dir))
        b->dir_synced = b->top_durable = false;
    if (b->kind == MAILBOX_MAILDIR && fs_sync_dir(path) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", path);
    if (!b->dir_synced && fs_sync_dir(b->dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", b->dir);
    if (!b->top_durable && fs_sync_above(b->dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync above %s", b->dir);
    b->dir_synced = b->top_durable = true;
    k->durable = true;
    return 0;
}

void mailbox_unlink(const char *path)
{
    if (fs_unlink(path) != 0 && errno != ENOENT)
        fs_unlink(path);
}

/* --- the steps ------------------------------------------------------------ */

static struct mailbox *find_mailbox(struct mailbox_batch *b, const char *user,
                                    struct err *e)
{
    uint64_t hash = map_hash(user, strlen(user));
    struct map_link *l = map_first(&b->boxes, hash);

    for (; l != NULL; l = map_next(l))
        if (strcmp(MAP_ENTRY(l, struct mailbox, by_name)->name, user) == 0)
            return MAP_ENTRY(l, struct mailbox, by_name);
    struct mailbox *k = pool_get(b->mailbox_pool);
    if (k == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory for mailbox %s", user);
        return NULL;
    }
    *k = (struct mailbox){ .batch = b, .fd = -1, .lock_fd = -1 };
    list_init(&k->copies);
    snprintf(k->name, sizeof k->name, "%s", user);
    map_add(&b->boxes, &k->by_name, hash);
    return k;
}

static struct mailbox_copy *new_copy(struct mailbox *k, struct err *e)
{
    struct mailbox_copy *c = pool_get(k->batch->copy_pool);

    if (c == NULL) {
        err_set(e, ERR_TEMP, 0, "too many copies in one turn");
        return NULL;
    }
    *c = (struct mailbox_copy){ .box = k, .fd = -1, .at = -1 };
    return c;
}

struct mailbox_copy *mailbox_add(struct mailbox_batch *b,
                                 const struct mailbox_message *m, struct err *e)
{
    if (!mailbox_name_valid(span_of(m->user))) {
        err_set(e, ERR_PERM, 0, "not the name of a mailbox: %s", m->user);
        return NULL;
    }
    struct mailbox *k = find_mailbox(b, m->user, e);
    struct mailbox_copy *c = k == NULL ? NULL : new_copy(k, e);
    if (c == NULL)
        return NULL;
    int rc = b->kind == MAILBOX_MBOX ? mbox_add(c, m, e) : maildir_add(c, m, e);
    if (rc != 0) {
        pool_put(b->copy_pool, c);
        return NULL;
    }
    if (list_empty(&k->copies))
        list_push(&b->turn, &k->of_turn);
    list_push(&k->copies, &c->of_box);
    b->ncopies++;
    return c;
}

void mailbox_sync(struct mailbox_batch *b)
{
    if (b->kind == MAILBOX_MAILDIR)
        maildir_sync_batch(b);
    else
        for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
            mbox_sync(LIST_ENTRY(l, struct mailbox, of_turn));
}

static void publish_mailboxes(struct mailbox_batch *b)
{
    b->dir_synced = false;
    if (b->kind == MAILBOX_MAILDIR)
        maildir_publish_batch(b);
    else
        for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
            mbox_publish(LIST_ENTRY(l, struct mailbox, of_turn));
}

void mailbox_publish(struct mailbox_batch *b)
{
    mailbox_sync(b); /* for what was added since */
    publish_mailboxes(b);
}

void mailbox_abort(struct mailbox_copy *c)
{
    if (c == NULL || !is_open(c))
        return;
    if (c->box->batch->kind == MAILBOX_MAILDIR)
        maildir_abort(c);
    else
        c->state = COPY_ABORTED; /* taken out when the mbox is unlocked */
}

int mailbox_status(const struct mailbox_copy *c, struct err *e)
{
    if (c->state == COPY_FAILED) {
        *e = c->err;
        return -1;
    }
    return c->state == COPY_ABORTED ? err_set(e, ERR_TEMP, 0, "taken back") : 0;
}

static void forget_mailboxes(struct mailbox_batch *b)
{
    for (size_t i = 0; i <= b->boxes.mask; i++)
        while (b->boxes.bucket[i] != NULL) {
            struct mailbox *k =
                MAP_ENTRY(b->boxes.bucket[i], struct mailbox, by_name);
            map_remove(&b->boxes, &k->by_name);
            pool_put(b->mailbox_pool, k);
        }
}

void mailbox_reset(struct mailbox_batch *b)
{
    struct list *l, *c;

    for (l = b->turn.next; l != &b->turn; l = l->next) {
        struct mailbox *k = LIST_ENTRY(l, struct mailbox, of_turn);
        for (c = k->copies.next; c != &k->copies; c = c->next)
            mailbox_abort(LIST_ENTRY(c, struct mailbox_copy, of_box));
    }
    if (b->kind == MAILBOX_MBOX)
        publish_mailboxes(b); /* unlocks what was aborted */
    while ((l = list_pop(&b->turn)) != NULL)
        while (
            (c = list_pop(&LIST_ENTRY(l, struct mailbox, of_turn)->copies))) {
            free(LIST_ENTRY(c, struct mailbox_copy, of_box)->head);
            pool_put(b->copy_pool, LIST_ENTRY(c, struct mailbox_copy, of_box));
        }
    b->ncopies = 0;
    if (b->boxes.n > BOXES_KEPT)
        forget_mailboxes(b);
}
