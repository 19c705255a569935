#include "mailbox/batch.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/os.h"
#include "base/rnd.h"
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

bool box_name_valid(struct span user)
{
    if (user.n == 0 || user.n > BOX_NAME_MAX || user.p[0] == '.')
        return false;
    for (size_t i = 0; i < user.n; i++) {
        unsigned char c = (unsigned char)user.p[i];
        if (c < ' ' || c == 0x7f || c == '/')
            return false;
    }
    return true;
}

/* --- the batch -------------------------------------------------------- */

/* A slash would lead elsewhere and a colon begins the flags of a Maildir
 * name; both are written as the Maildir description says. */
static void take_host(char out[BOX_HOST_MAX], const char *host)
{
    struct buf b;

    buf_init(&b, out, BOX_HOST_MAX);
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

int box_batch_new(struct box_batch **bp, const struct box_options *o,
                  struct err *e)
{
    struct box_batch *b = calloc(1, sizeof *b);

    if (b == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    list_init(&b->turn);
    list_init(&b->open);
    b->kind = o->kind;
    b->counter = rnd_u32();
    take_host(b->host, o->hostname);
    b->memory = malloc(sizeof *b->memory);
    b->copy_pool = pool_new(sizeof(struct box_copy), o->max_copies);
    b->box_pool = pool_new(sizeof(struct box), o->max_copies + BOXES_KEPT);
    if (b->memory == NULL || b->copy_pool == NULL || b->box_pool == NULL ||
        map_init(&b->boxes, BUCKETS) != 0) {
        box_batch_free(&b);
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    }
    if (!span_copy(b->dir, sizeof b->dir, span_of(o->mail_dir)) ||
        b->dir[0] == '\0') {
        box_batch_free(&b);
        return err_set(e, ERR_USAGE, 0, "bad mail directory: %s", o->mail_dir);
    }
    *bp = b;
    return 0;
}

void box_batch_free(struct box_batch **bp)
{
    struct box_batch *b = *bp;

    if (b == NULL)
        return;
    box_reset(b);
    map_done(&b->boxes);
    pool_free(&b->box_pool);
    pool_free(&b->copy_pool);
    free(b->memory);
    free(b);
    *bp = NULL;
}

size_t box_count(const struct box_batch *b)
{
    return b->ncopies;
}

/* --- shared by the formats -------------------------------------------- */

bool box_copy_open(const struct box_copy *c)
{
    return c->state == COPY_WRITTEN || c->state == COPY_SYNCED;
}

void box_fail(struct box_copy *c, const struct err *e)
{
    c->state = COPY_FAILED;
    c->err = *e;
}

void box_fail_all(struct box *k, const struct err *e)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, of_box);
        if (box_copy_open(c))
            box_fail(c, e);
    }
}

void box_dir(char out[BOX_PATH_MAX], const struct box *k)
{
    snprintf(out, BOX_PATH_MAX, "%s/%s", k->batch->dir, k->name);
}

bool box_owner_ok(const struct box *k, uid_t owner)
{
    if (owner == geteuid() || owner == 0)
        return true;
    const struct passwd *pw = getpwnam(k->name);
    return pw != NULL && pw->pw_uid == owner;
}

int box_sync_entry(struct box *k, struct err *e)
{
    char path[BOX_PATH_MAX];
    struct box_batch *b = k->batch;

    box_dir(path, k);
    if (!fs_is_same(&b->top, AT_FDCWD, b->dir))
        b->dir_synced = b->top_durable = false;
    if (b->kind == BOX_MAILDIR && fs_sync_dir(path) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", path);
    if (!b->dir_synced && fs_sync_dir(b->dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync %s", b->dir);
    if (!b->top_durable && fs_sync_above(b->dir) != 0)
        return err_set(e, ERR_TEMP, errno, "sync above %s", b->dir);
    b->dir_synced = b->top_durable = true;
    k->durable = true;
    return 0;
}

void box_unlink(const char *path)
{
    if (fs_unlink(path) != 0 && errno != ENOENT)
        fs_unlink(path);
}

/* --- the steps -------------------------------------------------------- */

static struct box *find_box(struct box_batch *b, const char *user,
                            struct err *e)
{
    uint64_t hash = map_hash(user, strlen(user));
    struct map_link *l = map_first(&b->boxes, hash);

    for (; l != NULL; l = map_next(l))
        if (strcmp(MAP_ENTRY(l, struct box, by_name)->name, user) == 0)
            return MAP_ENTRY(l, struct box, by_name);
    struct box *k = pool_get(b->box_pool);
    if (k == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory for mailbox %s", user);
        return NULL;
    }
    *k = (struct box){ .batch = b, .fd = -1, .lock_fd = -1 };
    list_init(&k->copies);
    snprintf(k->name, sizeof k->name, "%s", user);
    map_add(&b->boxes, &k->by_name, hash);
    return k;
}

static struct box_copy *new_copy(struct box *k, struct err *e)
{
    struct box_copy *c = pool_get(k->batch->copy_pool);

    if (c == NULL) {
        err_set(e, ERR_TEMP, 0, "too many copies in one turn");
        return NULL;
    }
    *c = (struct box_copy){ .box = k, .fd = -1, .at = -1 };
    return c;
}

struct box_copy *box_add(struct box_batch *b, const struct box_message *m,
                         struct err *e)
{
    if (!box_name_valid(span_of(m->user))) {
        err_set(e, ERR_PERM, 0, "not the name of a mailbox: %s", m->user);
        return NULL;
    }
    struct box *k = find_box(b, m->user, e);
    struct box_copy *c = k == NULL ? NULL : new_copy(k, e);
    if (c == NULL)
        return NULL;
    int rc = b->kind == BOX_MBOX ? mbox_add(c, m, e) : maildir_add(c, m, e);
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

void box_sync(struct box_batch *b)
{
    if (b->kind == BOX_MAILDIR)
        maildir_sync_turn(b);
    else
        for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
            mbox_sync(LIST_ENTRY(l, struct box, of_turn));
}

static void publish_boxes(struct box_batch *b)
{
    b->dir_synced = false;
    if (b->kind == BOX_MAILDIR)
        maildir_publish_turn(b);
    else
        for (struct list *l = b->turn.next; l != &b->turn; l = l->next)
            mbox_publish(LIST_ENTRY(l, struct box, of_turn));
}

void box_publish(struct box_batch *b)
{
    box_sync(b); /* for what was added since */
    publish_boxes(b);
}

void box_abort(struct box_copy *c)
{
    if (c == NULL || !box_copy_open(c))
        return;
    if (c->box->batch->kind == BOX_MAILDIR)
        maildir_abort(c);
    else
        c->state = COPY_ABORTED; /* taken out when the mbox is unlocked */
}

int box_status(const struct box_copy *c, struct err *e)
{
    if (c->state == COPY_FAILED) {
        *e = c->err;
        return -1;
    }
    return c->state == COPY_ABORTED ? err_set(e, ERR_TEMP, 0, "taken back") : 0;
}

const char *box_path(const struct box_copy *c)
{
    struct box_batch *b = c->box->batch;

    if (b->kind == BOX_MAILDIR)
        maildir_path(b->path, c);
    else
        box_dir(b->path, c->box);
    return b->path;
}

static void forget_boxes(struct box_batch *b)
{
    for (size_t i = 0; i <= b->boxes.mask; i++)
        while (b->boxes.bucket[i] != NULL) {
            struct box *k = MAP_ENTRY(b->boxes.bucket[i], struct box, by_name);
            map_remove(&b->boxes, &k->by_name);
            pool_put(b->box_pool, k);
        }
}

void box_reset(struct box_batch *b)
{
    struct list *l, *c;

    for (l = b->turn.next; l != &b->turn; l = l->next) {
        struct box *k = LIST_ENTRY(l, struct box, of_turn);
        for (c = k->copies.next; c != &k->copies; c = c->next)
            box_abort(LIST_ENTRY(c, struct box_copy, of_box));
    }
    if (b->kind == BOX_MBOX)
        publish_boxes(b); /* unlocks what was aborted */
    while ((l = list_pop(&b->turn)) != NULL)
        while ((c = list_pop(&LIST_ENTRY(l, struct box, of_turn)->copies))) {
            free(LIST_ENTRY(c, struct box_copy, of_box)->head);
            pool_put(b->copy_pool, LIST_ENTRY(c, struct box_copy, of_box));
        }
    b->ncopies = 0;
    if (b->boxes.n > BOXES_KEPT)
        forget_boxes(b);
}
