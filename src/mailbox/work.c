/* work.c - the turns of a mailbox process: all copies take each step together.
 */
#include "mailbox/work_private.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"
#include "config/conf.h"
#include "mailbox/where_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUCKETS = 1024,
    LOCK_WAIT_MS = 30 * 1000,
    BOX_WAITING = 32,       /* copies that wait for one lock, */
    WORK_WAITING = 128,     /* and for all: room for other mailboxes stays */
    BOX_DESCRIPTORS = 4,    /* of one mailbox */
    OTHER_DESCRIPTORS = 160 /* segments, and what a step opens */
};

void mailbox_work_step(struct mailbox_work *w, enum mailbox_step step,
                       uint64_t tag)
{
    w->progress->tag = tag;
    w->progress->since_ms = clock_mono_ms();
    w->progress->step = (uint32_t)step;
}

/* --- the start and the end ------------------------------------------------ */

/* A slash would leave the directory and a colon begins the flags of a Maildir
 * name; both are escaped as the Maildir description has it. */
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

static void take_limits(struct mailbox_work *w)
{
    size_t n = os_want_fds(4096);

    n = n > OTHER_DESCRIPTORS + 64 ? n - OTHER_DESCRIPTORS : 64;
    w->most_open = n / 4 < BOX_TURN_COPIES ? n / 4 : BOX_TURN_COPIES;
    w->most_boxes = (n - w->most_open) / BOX_DESCRIPTORS;
}

int mailbox_work_new(struct mailbox_work **wp, const struct conf *c,
                     struct mailbox_progress *p, struct err *e)
{
    struct mailbox_work *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    w->conf = c;
    w->progress = p;
    w->dir = -1;
    w->pid = (long)getpid();
    w->counter = (unsigned long)(clock_wall_us() & 0xffffff);
    w->below_home = mailbox_below_home(&c->local);
    w->ids.also = (gid_t)-1;
    w->ids.switches =
        geteuid() == 0 && c->local.users.source == CONF_USERS_PASSWD;
    list_init(&w->recent);
    list_init(&w->turn);
    list_init(&w->locked);
    list_init(&w->answered);
    list_init(&w->open);
    take_host(w->host, c->hostname);
    take_limits(w);
    w->memory = malloc(sizeof *w->memory);
    if (w->memory == NULL || map_init(&w->boxes, BUCKETS) != 0) {
        free(w->memory);
        free(w);
        return err_set(e, ERR_TEMP, 0, "no memory for mailboxes");
    }
    *wp = w;
    return 0;
}

static void free_copies(struct list *copies)
{
    struct list *l;

    while ((l = list_pop(copies)) != NULL)
        free(LIST_ENTRY(l, struct box_copy, link));
}

void mailbox_work_free(struct mailbox_work **wp)
{
    struct mailbox_work *w = *wp;

    if (w == NULL)
        return;
    while (!list_empty(&w->recent)) {
        struct box *k = LIST_ENTRY(w->recent.next, struct box, recent);
        free_copies(&k->copies);
        box_free(k);
    }
    free_copies(&w->answered);
    if (w->dir >= 0)
        fs_close(w->dir);
    map_done(&w->boxes);
    free(w->memory);
    free(w);
    *wp = NULL;
}

/* --- mail_dir ------------------------------------------------------------- */

static void forget_mail_dir(struct mailbox_work *w)
{
    for (struct list *l = w->recent.next; l != &w->recent; l = l->next) {
        struct box *k = LIST_ENTRY(l, struct box, recent);
        box_close(k);
        k->durable = false;
    }
    if (w->dir >= 0)
        fs_close(w->dir);
    w->dir = -1;
    w->top_durable = false;
}

/* Its group is given to users only if the directory is written to by way of it,
 * and never that of root. */
static void look_at_mail_dir(struct mailbox_work *w, const struct stat *st)
{
    bool group_writes = (st->st_mode & 020) != 0 && st->st_gid != 0;

    w->dir_dev = st->st_dev;
    w->dir_has_group = (st->st_mode & S_ISGID) != 0;
    w->dir_is_roots =
        st->st_uid == 0 && (st->st_mode & 002) == 0 && !group_writes;
    gid_t also = group_writes ? st->st_gid : (gid_t)-1;
    if (w->ids.also != also) {
        w->ids.also = also;
        w->ids.now.gid = (gid_t)-1; /* the groups in force are others */
    }
}

/* As root, before an identity is taken: the path is the administrator's. */
static int open_mail_dir(struct mailbox_work *w, bool *made, struct err *e)
{
    const char *path = w->conf->local.mail_dir;
    char itself[CONF_PATH_MAX + 2]; /* not the link that it may be */
    struct stat st;

    *made = false;
    if (w->below_home != NULL)
        return 0;
    if (identity_root(&w->ids, e) != 0)
        return -1;
    snprintf(itself, sizeof itself, "%s/.", path);
    if (w->dir < 0 || !fs_is_same(&w->top, AT_FDCWD, itself)) {
        w->replaced |= w->dir >= 0 && w->confined;
        forget_mail_dir(w);
        if (w->replaced)
            return err_set(e, ERR_TEMP, 0, "another %s", path);
        w->dir = fs_open(path, O_RDONLY | O_DIRECTORY, 0);
        w->top.ino = 0;
    }
    if (w->dir < 0 && errno == ENOENT && os_mkdirs(path, 0711, e) == 0) {
        w->dir = fs_open(path, O_RDONLY | O_DIRECTORY, 0);
        *made = true;
    }
    if (w->dir < 0 || fstat(w->dir, &st) != 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (w->top.ino == 0)
        (void)fs_is_same(&w->top, w->dir, "");
    look_at_mail_dir(w, &st); /* its mode may have changed */
    return 0;
}

/* Where all mailboxes are one user's, root is not needed any more. */
int mailbox_work_drop(struct mailbox_work *w, struct err *e)
{
    const struct conf *c = w->conf;
    uid_t uid;
    gid_t gid;
    bool made;

    if (w->ids.switches || geteuid() != 0) {
        (void)open_mail_dir(w, &made, e); /* tried again for each turn */
        return 0;
    }
    const char *group =
        strcmp(c->local.user, c->user) == 0 ? c->group : ""; /* its own */
    if (os_find_ids(c->local.user, group, &uid, &gid, e) != 0)
        return -1;
    if (open_mail_dir(w, &made, e) == 0 && made &&
        fchown(w->dir, uid, gid) != 0)
        return err_set(e, ERR_TEMP, errno, "give %s to %s", c->local.mail_dir,
                       c->local.user);
    return identity_drop(c->local.user, group, w->ids.also, e);
}

/* --- a turn --------------------------------------------------------------- */

static char *keep(char **room, struct span s)
{
    char *p = *room;

    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    *room += s.n + 1;
    return p;
}

struct box_copy *box_copy_new(const struct mailbox_request *r)
{
    size_t key = strlen(r->key);
    struct box_copy *c =
        malloc(sizeof *c + key + r->reverse_path.n + r->delivered_to.n + 3);

    if (c == NULL)
        return NULL;
    memset(c, 0, offsetof(struct box_copy, name));
    char *room = c->room;
    c->r = *r;
    c->r.key = keep(&room, (struct span){ r->key, key });
    c->r.reverse_path.p = keep(&room, r->reverse_path);
    c->r.delivered_to.p = keep(&room, r->delivered_to);
    c->fd = -1;
    c->answer.tag = r->tag;
    return c;
}

void mailbox_work_add(struct mailbox_work *w, struct box_copy *c)
{
    struct box *k = box_find(w, c->r.key);
    struct err e;

    c->fd = -1;
    c->state = BOX_NEW;
    c->box = k;
    if (k == NULL) {
        err_set(&e, ERR_TEMP, 0, "no memory for mailbox %s", c->r.key);
        box_copy_fail(c, &e);
        list_push(&w->answered, &c->link);
        return;
    }
    if (k->waiting > 0 &&
        (k->waiting >= BOX_WAITING || w->nwaiting >= WORK_WAITING)) {
        box_copy_locked(c);
        list_push(&w->answered, &c->link);
        return;
    }
    if (k->waiting > 0) {
        c->since = clock_mono_ms();
        k->waiting++;
        w->nwaiting++;
    } else if (list_empty(&k->copies)) {
        list_push(&w->turn, &k->of_turn);
    }
    list_push(&k->copies, &c->link);
}

/* Give back what is at its end.  True: none is left. */
static bool collect(struct box *k)
{
    for (struct list *l = k->copies.next, *next; l != &k->copies; l = next) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        next = l->next;
        if (c->state != BOX_DONE && c->state != BOX_FAILED)
            continue;
        if (c->since != 0) {
            k->waiting--;
            k->work->nwaiting--;
        }
        list_remove(&c->link);
        list_push(&k->work->answered, &c->link);
    }
    return list_empty(&k->copies);
}

/* Boxes with copies in new stay in the turn. */
static void collect_all(struct mailbox_work *w)
{
    for (struct list *l = w->turn.next, *next; l != &w->turn; l = next) {
        next = l->next;
        if (collect(LIST_ENTRY(l, struct box, of_turn)))
            list_remove(l);
    }
    box_forget_some(w);
}

/* The lock of k is held by another program. */
static void wait_for_lock(struct box *k)
{
    struct mailbox_work *w = k->work;
    uint64_t now = clock_mono_ms();

    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        if (c->since == 0) {
            if (k->waiting >= BOX_WAITING || w->nwaiting >= WORK_WAITING) {
                box_copy_locked(c);
                continue;
            }
            c->since = now;
            k->waiting++;
            w->nwaiting++;
        } else if (now - c->since >= LOCK_WAIT_MS) {
            box_copy_locked(c);
        }
    }
    if (!collect(k))
        list_push(&w->locked, &k->of_turn);
}

static void write_box(struct box *k, const struct err *no_dir)
{
    struct mailbox_work *w = k->work;
    const struct box_copy *last =
        LIST_ENTRY(k->copies.prev, struct box_copy, link);
    struct err e;

    if (last->state != BOX_NEW)
        return; /* those of the turn before alone */
    mailbox_work_step(w, MAILBOX_WRITING, last->r.tag);
    if (no_dir != NULL || box_open(k, &e) != 0) {
        box_fail(k, no_dir != NULL ? no_dir : &e);
    } else if (!k->is_mbox) {
        maildir_write(k);
    } else if (mbox_deliver(k) != 0) {
        list_remove(&k->of_turn);
        wait_for_lock(k);
    } else {
        if (collect(k))
            list_remove(&k->of_turn);
        if (w->answer != NULL)
            w->answer(w->answer_ctx);
    }
}

void mailbox_work_turn(struct mailbox_work *w)
{
    struct list *l, *next;
    struct err e;

    w->dir_synced = false;
    bool made, no_dir = open_mail_dir(w, &made, &e) != 0;
    for (l = w->turn.next; l != &w->turn; l = next) {
        next = l->next;
        write_box(LIST_ENTRY(l, struct box, of_turn), no_dir ? &e : NULL);
    }
    maildir_sync_turn(w);
    maildir_publish_turn(w);
    collect_all(w);
}

void mailbox_work_settle(struct mailbox_work *w)
{
    w->dir_synced = false;
    maildir_sync_turn(w);
    collect_all(w);
}

void mailbox_work_locked(struct mailbox_work *w)
{
    list_splice(&w->turn, &w->locked);
    mailbox_work_turn(w);
}
