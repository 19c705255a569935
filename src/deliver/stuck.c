/* stuck.c - mailbox processes that hang.
 *
 * A file system that does not answer stops a process in the middle of a system
 * call.  Only the mailbox over which it stands may wait for that: it becomes
 * patient, and its process is replaced. */
#include "deliver/mailboxes_private.h"

#include "log/log.h"
#include "mailbox/process.h"

enum {
    LOOK_MS = 100,
    ASK_AGAIN_MS = 10 * 1000, /* for a process that did not come */
    PATIENTS_MAX = 1024,
    SLOW_DISK = 16 * 1024 /* octets in a ms */
};

/* A patient mailbox that waits for nothing is kept, so that its next copy does
 * not stop its process again; the oldest of too many is forgotten. */
void box_set_patient(struct deliver *d, struct box *b, bool is_patient)
{
    if (box_is_patient(b) == is_patient)
        return;
    if (!is_patient) {
        list_remove(&b->patient);
        d->mailbox.npatients--;
        return;
    }
    list_push(&d->mailbox.patients, &b->patient);
    if (++d->mailbox.npatients <= PATIENTS_MAX)
        return;
    struct box *old = LIST_ENTRY(d->mailbox.patients.next, struct box, patient);
    if (old->ncopies > 0)
        return;
    box_set_patient(d, old, false);
    box_settle(d, old);
}

struct stand {
    uint64_t tag, ms; /* in one step */
    uint32_t step;
};

/* Read twice: the process writes meanwhile. */
static bool look_at(const struct mailbox_end *p, struct stand *s)
{
    const struct mailbox_progress *at = &p->d->o->progress[p->number];
    uint64_t now = loop_now(p->d->loop), since = at->since_ms;

    *s = (struct stand){ .tag = at->tag, .step = at->step };
    s->ms = now > since ? now - since : 0;
    return at->since_ms == since && at->tag == s->tag && at->step == s->step;
}

static struct copy *copy_of(const struct mailbox_end *p, uint64_t tag)
{
    struct copy *c = tag != 0 ? p->out[tag % MAILBOX_WINDOW] : NULL;

    return c != NULL && c->tag == tag ? c : NULL;
}

static bool is_patient_one(const struct mailbox_end *p)
{
    return p->number == p->d->mailbox.n;
}

/* A large message takes its time on a disk that works. */
static uint64_t patience(const struct mailbox_end *p, const struct copy *c)
{
    return is_patient_one(p)
               ? MAILBOXES_PATIENT_MS
               : MAILBOXES_STUCK_MS + c->delivery.body.size / SLOW_DISK;
}

/* The copy over which the process stands, too long; NULL: none. */
static struct copy *stuck_at(const struct mailbox_end *p)
{
    struct stand s;

    if (!look_at(p, &s) ||
        (s.step != MAILBOX_WRITING && s.step != MAILBOX_PUBLISHING))
        return NULL;
    struct copy *c = copy_of(p, s.tag);
    return c != NULL && s.ms >= patience(p, c) ? c : NULL;
}

static void report(const struct mailbox_end *p, const struct box *b)
{
    LOG(LOG_ERROR, "deliver.stuck", LN("process", p->number + 1),
        LN("copies", p->ncopies), LS("mailbox", b != NULL ? b->key : NULL));
}

/* All copies of that mailbox, or with NULL all that the process had. */
static void give_up(struct mailbox_end *p, struct box *b)
{
    for (unsigned i = 0; i < MAILBOX_WINDOW; i++) {
        struct copy *c = p->out[i];
        if (c == NULL || (b != NULL && c->box != b))
            continue;
        struct box *of = mailboxes_leave(p, c);
        copy_unanswered(p->d, c, "4.2.0", "mailbox does not respond");
        mailboxes_left(p, of);
    }
}

static void replace(struct mailbox_end *p, struct copy *stuck)
{
    struct box *b = stuck != NULL ? stuck->box : NULL;

    report(p, b);
    if (is_patient_one(p))
        give_up(p, b);
    else if (b != NULL)
        box_set_patient(p->d, b, true);
    mailboxes_request(p);
    mailboxes_lost(p, b == NULL); /* so often, and they are put off */
}

static void look(struct mailbox_end *p)
{
    uint64_t now = loop_now(p->d->loop);

    if (p->ncopies == 0)
        return;
    if (p->client == NULL) {
        if (now >= (p->requested != 0 ? p->requested : p->heard) + ASK_AGAIN_MS)
            mailboxes_request(p);
        return;
    }
    struct copy *stuck = stuck_at(p);
    if (stuck != NULL || now >= p->heard + MAILBOXES_SILENT_MS)
        replace(p, stuck);
}

void mailboxes_replace_stuck(struct loop_timer *t)
{
    struct deliver *d = LOOP_ENTRY(t, struct deliver, mailbox.watch);

    for (unsigned i = 0; i <= d->mailbox.n; i++)
        look(&d->mailbox.end[i]);
    if (d->mailbox.ncopies > 0)
        loop_timer_set(d->loop, t, LOOK_MS);
}
