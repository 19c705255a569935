/* fault.c - what the failure of a copy means to its sender and to the log. */
#include "mailbox/work_private.h"

#include <errno.h>
#include <stdio.h>

static const struct fault {
    enum mailbox_outcome outcome;
    unsigned short class, subject, detail;
    bool disk_full, over_quota;
    const char *text;
} no_user = { MAILBOX_FAILED, 5, 1, 1, false, false, "no such user" },
  too_large = { MAILBOX_FAILED,
                5,
                2,
                3,
                false,
                false,
                "message is too large for the mailbox" },
  quota = { MAILBOX_DEFERRED, 4, 2, 2, false, true, "mailbox is full" },
  disk = { MAILBOX_DEFERRED, 4, 3, 1, true, false, "mail system is full" },
  admin = { MAILBOX_ADMIN,
            4,
            3,
            5,
            false,
            false,
            "mailbox cannot be used until it is repaired" },
  locked = { MAILBOX_DEFERRED, 4, 2, 0, false, false, "mailbox is locked" },
  damaged = { MAILBOX_DEFERRED,
              4,
              3,
              0,
              false,
              false,
              "message is damaged in the queue" },
  other = {
      MAILBOX_DEFERRED, 4, 3, 0, false, false, "mailbox cannot be written now"
  };

/* Only the disk of mail_dir is that of all mailboxes: a home or one mailbox may
 * have a disk of its own. */
static const struct fault *of_disk(const struct box *k)
{
    if (k == NULL)
        return &disk;
    dev_t dev = k->is_mbox ? k->above_dev : k->dev; /* 0: not known */
    bool shared =
        k->work->below_home == NULL && (dev == 0 || dev == k->work->dir_dev);
    return shared ? &disk : &quota;
}

static const struct fault *fault_of(const struct box_copy *c,
                                    const struct err *e)
{
    if (c->answer.damaged)
        return &damaged;
    switch (e->sys) {
    case EDQUOT: return &quota;
    case ENOSPC: return of_disk(c->box);
    case EFBIG:
        /* An mbox that is full takes no message; a Maildir only not this one.
         */
        return c->box->is_mbox ? &quota : &too_large;
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENXIO:
    case ENAMETOOLONG:
    case EROFS: return &admin;
    default: break;
    }
    return e->kind == ERR_USAGE  ? &no_user
           : e->kind == ERR_PERM ? &admin
                                 : &other;
}

static void answer(struct box_copy *c, const struct fault *f, const char *why)
{
    struct mailbox_answer *a = &c->answer;

    a->outcome = f->outcome;
    a->status = (struct smtp_status){ 0, f->class, f->subject, f->detail };
    a->disk_full = f->disk_full;
    a->over_quota = f->over_quota;
    snprintf(a->text, sizeof a->text, "%s", f->text);
    snprintf(a->why, sizeof a->why, "%.*s", (int)sizeof a->why - 1, why);
    c->state = BOX_FAILED;
}

void box_copy_fail(struct box_copy *c, const struct err *e)
{
    answer(c, fault_of(c, e), e->text);
}

void box_copy_locked(struct box_copy *c)
{
    char why[sizeof c->answer.why];

    snprintf(why, sizeof why, "%.150s is locked by another program",
             c->box->where);
    answer(c, &locked, why);
}

void box_copy_done(struct box_copy *c)
{
    c->answer.outcome = MAILBOX_DELIVERED;
    c->answer.status = (struct smtp_status){ 0, 2, 1, 5 };
    c->state = BOX_DONE;
}

void box_fail(struct box *k, const struct err *e)
{
    for (struct list *l = k->copies.next; l != &k->copies; l = l->next) {
        struct box_copy *c = LIST_ENTRY(l, struct box_copy, link);
        bool in_new = c->state == BOX_MOVED || c->state == BOX_FOUND;
        if (c->state != BOX_DONE && c->state != BOX_FAILED &&
            !(in_new && k->in_new > 0))
            box_copy_fail(c, e);
    }
}
