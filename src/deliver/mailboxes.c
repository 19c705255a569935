/* mailboxes.c - copies to mailbox processes, and their answers. */
#include "deliver/mailboxes_private.h"

#include "base/clock.h"
#include "base/line.h"
#include "log/log.h"
#include "mailbox/process.h"
#include "queue/recipients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BOX_BUCKETS = 2048,
    LOOK_MS = 100,
    BLAMED_MAX = 2, /* deaths of a process over one copy */
    DEATHS_MAX = 5  /* without a copy to blame */
};

/* --- mailboxes ------------------------------------------------------------ */

static struct box *find_box(const struct deliver *d, const char *key,
                            uint64_t hash)
{
    for (struct map_link *l = map_first(&d->mailbox.boxes, hash); l != NULL;
         l = map_next(l)) {
        struct box *b = MAP_ENTRY(l, struct box, link);
        if (strcmp(b->key, key) == 0)
            return b;
    }
    return NULL;
}

/* NULL: no memory. */
static struct box *box_for(struct deliver *d, const char *key)
{
    size_t n = strlen(key);
    uint64_t hash = map_hash(key, n);
    struct box *b = find_box(d, key, hash);

    if (b != NULL || (b = calloc(1, sizeof *b + n + 1)) == NULL)
        return b;
    memcpy(b->key, key, n + 1);
    list_init(&b->line);
    map_add(&d->mailbox.boxes, &b->link, hash);
    return b;
}

void box_settle(struct deliver *d, struct box *b)
{
    if (b->ncopies > 0 || !list_empty(&b->line) || box_is_patient(b))
        return;
    map_remove(&d->mailbox.boxes, &b->link);
    free(b);
}

static struct mailbox_end *end_of(struct deliver *d, const struct box *b)
{
    return &d->mailbox.end[box_is_patient(b) ? d->mailbox.n
                                             : b->link.hash % d->mailbox.n];
}

/* --- lines ---------------------------------------------------------------- */

static void stand_in_line(struct list *line, struct rcpt *r)
{
    r->state = RCPT_PARKED;
    list_push(line, &r->link);
}

/* The first of a line are due again, in their order, before all others. */
static void leave_line(struct deliver *d, struct list *line, unsigned room)
{
    struct list first, *l;

    list_init(&first);
    while (room-- > 0 && (l = list_pop(line)) != NULL) {
        LIST_ENTRY(l, struct rcpt, link)->state = RCPT_APART;
        list_push(&first, l);
    }
    list_splice(&first, &d->schedule.due);
    list_splice(&d->schedule.due, &first);
}

static unsigned window_of_box(const struct deliver *d)
{
    return d->conf->local.mailbox == CONF_MAILDIR ? MAILBOXES_BOX_WINDOW
                                                  : MAILBOXES_MBOX_WINDOW;
}

void mailboxes_left(struct mailbox_end *p, struct box *b)
{
    struct deliver *d = p->d;
    unsigned window = window_of_box(d);

    if (b->ncopies <= window / 2 && !list_empty(&b->line))
        leave_line(d, &b->line, window - b->ncopies);
    box_settle(d, b);
}

void mailboxes_let_in(struct deliver *d)
{
    for (unsigned i = 0; i <= d->mailbox.n; i++) {
        struct mailbox_end *p = &d->mailbox.end[i];
        if (p->ncopies <= MAILBOX_WINDOW / 2 && !list_empty(&p->line))
            leave_line(d, &p->line, MAILBOX_WINDOW - p->ncopies);
    }
}

bool mailboxes_are_busy(const struct deliver *d)
{
    for (unsigned i = 0; i <= d->mailbox.n; i++)
        if (d->mailbox.end[i].ncopies > 0 ||
            !list_empty(&d->mailbox.end[i].line))
            return true;
    return false;
}

/* --- copies --------------------------------------------------------------- */

static void give(struct deliver *d, struct copy *c)
{
    struct mailbox_end *p = end_of(d, c->box);

    if (p->ncopies++ == 0)
        p->heard = loop_now(d->loop);
    c->tag = 0;
    list_push(&p->put, &c->link);
    if (p->client == NULL && p->requested == 0 && p->number == d->mailbox.n)
        mailboxes_request(p);
    if (!loop_timer_is_set(&d->mailbox.watch))
        loop_timer_set(d->loop, &d->mailbox.watch, LOOK_MS);
}

static void take(struct mailbox_end *p, struct copy *c)
{
    if (c->tag != 0)
        p->out[c->tag % MAILBOX_WINDOW] = NULL;
    else
        list_remove(&c->link);
    c->tag = 0;
    p->ncopies--;
}

void mailboxes_offer(struct work *w, const struct work_item *i)
{
    struct deliver *d = w->d;
    struct box *b = box_for(d, i->key);

    if (b == NULL) {
        rcpt_later(&d->queue, i->rcpt, DELIVER_FAULT_SECONDS);
        return;
    }
    struct mailbox_end *p = end_of(d, b);
    if (b->ncopies >= window_of_box(d)) {
        stand_in_line(&b->line, i->rcpt);
    } else if (p->ncopies >= MAILBOX_WINDOW) {
        stand_in_line(&p->line, i->rcpt);
    } else {
        struct copy *c = copy_new(w, i);
        if (c == NULL) { /* those behind it may wait for its answer */
            mailboxes_left(p, b);
            return;
        }
        c->box = b;
        c->since = clock_wall_us();
        b->ncopies++;
        d->mailbox.ncopies++;
        give(d, c);
    }
    box_settle(d, b);
}

struct box *mailboxes_leave(struct mailbox_end *p, struct copy *c)
{
    struct deliver *d = p->d;
    struct box *b = c->box;

    take(p, c);
    c->box = NULL;
    b->ncopies--;
    d->mailbox.ncopies--;
    return b;
}

static void on_answer(void *ctx, const struct mailbox_answer *a)
{
    struct mailbox_end *p = ctx;
    struct deliver *d = p->d;
    struct copy *c = p->out[a->tag % MAILBOX_WINDOW];

    p->heard = loop_now(d->loop);
    if (c == NULL || c->tag != a->tag)
        return;
    struct box *b = mailboxes_leave(p, c);
    copy_answered(d, c, a, b->key);
    if (a->outcome == MAILBOX_DELIVERED && box_is_patient(b))
        box_set_patient(d, b, false);
    mailboxes_left(p, b);
}

/* --- a process ------------------------------------------------------------ */

/* 0: as many as a process takes are out.  More than those may wait for the
 * patient one, which gets all copies of each mailbox that becomes patient. */
static uint64_t new_tag(struct mailbox_end *p)
{
    for (unsigned i = 0; i < MAILBOX_WINDOW; i++)
        if (p->out[++p->tags % MAILBOX_WINDOW] == NULL)
            return p->tags;
    return 0;
}

/* The request itself is wrong: no other process would take it. */
static void refused(struct mailbox_end *p, struct copy *c, const struct err *e)
{
    struct deliver *d = p->d;

    queue_log_fault(&d->queue, "deliver.request", e);
    struct box *b = mailboxes_leave(p, c);
    copy_unanswered(d, c, "4.3.0", "mailbox cannot be asked for");
    mailboxes_left(p, b);
}

/* As many as the process takes now; whether it is there the flush reports. */
static void put_all(struct mailbox_end *p)
{
    struct err e;

    while (!list_empty(&p->put)) {
        struct copy *c = LIST_ENTRY(p->put.next, struct copy, link);
        uint64_t tag = new_tag(p);
        if (tag == 0)
            return;
        c->tag = tag;
        struct mailbox_request r = copy_request(c, c->box->key);
        int rc = mailbox_client_put(p->client, &r, &e);
        c->tag = 0;
        if (rc < 0 && e.kind == ERR_BUG) {
            refused(p, c, &e);
            continue;
        }
        if (rc != 0)
            return;
        list_remove(&c->link);
        c->tag = tag;
        p->out[tag % MAILBOX_WINDOW] = c;
    }
}

static void flush(struct mailbox_end *p)
{
    struct err e;

    if (p->client == NULL)
        return;
    put_all(p);
    int rc = mailbox_client_flush(p->client, &e);
    if (rc < 0) {
        mailboxes_lost(p, true);
        return;
    }
    unsigned want = LOOP_READ | (rc > 0 ? LOOP_WRITE : 0u);
    if (p->io.want != want)
        (void)loop_watch(p->d->loop, &p->io, want, NULL); /* it is watched */
}

void mailboxes_flush(struct deliver *d)
{
    for (unsigned i = 0; i <= d->mailbox.n; i++)
        flush(&d->mailbox.end[i]);
    mailboxes_let_in(d); /* if those let in before stand in other lines now */
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct mailbox_end *p = LOOP_ENTRY(io, struct mailbox_end, io);

    if ((ready & LOOP_READ) != 0 &&
        mailbox_client_take(p->client, on_answer, p) != 0)
        mailboxes_lost(p, true);
}

void mailboxes_request(struct mailbox_end *p)
{
    char text[sizeof DELIVER_REPLACE + 12];
    struct err e;

    snprintf(text, sizeof text, "%s%u", DELIVER_REPLACE, p->number);
    p->requested = loop_now(p->d->loop);
    if (line_send(p->d->o->line, text, -1, &e) != 0)
        log_err(LOG_ERROR, "deliver.line", &e); /* asked for again later */
}

void mailboxes_connect(struct deliver *d, unsigned number, int fd)
{
    struct err e;

    if (number > d->mailbox.n) {
        close(fd);
        return;
    }
    struct mailbox_end *p = &d->mailbox.end[number];
    if (p->client != NULL)
        mailboxes_lost(p, true);
    p->requested = 0;
    p->heard = loop_now(d->loop);
    if (mailbox_client_new(&p->client, fd, &e) == 0) {
        p->io = (struct loop_io){ .fd = fd, .fn = on_ready };
        if (loop_watch(d->loop, &p->io, LOOP_READ, &e) == 0)
            return;
        mailbox_client_free(&p->client);
    }
    log_err(LOG_ERROR, "deliver.line", &e);
}

/* --- the end of a process ------------------------------------------------- */

static void note_death(struct mailbox_end *p, struct copy *c, uint64_t tag)
{
    struct deliver *d = p->d;

    c->look_first = true;
    c->blamed += tag != 0 && c->tag == tag;
    if (c->blamed < BLAMED_MAX && ++c->deaths < DEATHS_MAX)
        return;
    struct box *b = mailboxes_leave(p, c);
    copy_unanswered(d, c, "4.3.0", "mailbox process ended over it");
    mailboxes_left(p, b);
}

static void report_death(const struct mailbox_end *p, uint64_t tag)
{
    const struct copy *c = tag != 0 ? p->out[tag % MAILBOX_WINDOW] : NULL;
    bool known = c != NULL && c->tag == tag;

    LOG(LOG_ERROR, "deliver.lost", LN("process", p->number + 1),
        LN("copies", p->ncopies), LS("mailbox", known ? c->box->key : NULL));
}

static void give_again(struct mailbox_end *p)
{
    struct list put, *l;

    list_init(&put);
    for (unsigned i = 0; i < MAILBOX_WINDOW; i++) {
        struct copy *c = p->out[i];
        if (c == NULL)
            continue;
        take(p, c);
        c->look_first = true;
        list_push(&put, &c->link);
    }
    p->ncopies = 0;
    list_splice(&put, &p->put);
    while ((l = list_pop(&put)) != NULL)
        give(p->d, LIST_ENTRY(l, struct copy, link));
}

void mailboxes_lost(struct mailbox_end *p, bool death)
{
    const struct mailbox_progress *at = &p->d->o->progress[p->number];
    uint64_t tag = death && at->step != MAILBOX_IDLE ? at->tag : 0;

    if (death && !p->d->stopping)
        report_death(p, tag);
    (void)loop_watch(p->d->loop, &p->io, 0, NULL);
    mailbox_client_free(&p->client);
    for (unsigned i = 0; i < MAILBOX_WINDOW && death; i++)
        if (p->out[i] != NULL)
            note_death(p, p->out[i], tag);
    give_again(p);
}

/* --- open and close ------------------------------------------------------- */

int mailboxes_open(struct deliver *d, struct err *e)
{
    unsigned n = (unsigned)d->conf->deliver.workers;

    list_init(&d->mailbox.patients);
    d->mailbox.watch.fn = mailboxes_replace_stuck;
    d->mailbox.end = calloc(n + 1, sizeof *d->mailbox.end);
    if (d->mailbox.end == NULL || map_init(&d->mailbox.boxes, BOX_BUCKETS) != 0)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for mailboxes");
    d->mailbox.n = n;
    for (unsigned i = 0; i <= n; i++) {
        struct mailbox_end *p = &d->mailbox.end[i];
        p->d = d;
        p->number = i;
        list_init(&p->put);
        list_init(&p->line);
    }
    return 0;
}

static void free_boxes(struct map *boxes)
{
    for (size_t i = 0; boxes->bucket != NULL && i <= boxes->mask; i++)
        for (struct map_link *l = boxes->bucket[i], *next; l != NULL;
             l = next) {
            next = l->next;
            free(MAP_ENTRY(l, struct box, link));
        }
    map_done(boxes);
}

void mailboxes_close(struct deliver *d)
{
    struct list *l;

    for (unsigned i = 0; d->mailbox.end != NULL && i <= d->mailbox.n; i++) {
        struct mailbox_end *p = &d->mailbox.end[i];
        if (p->client != NULL)
            (void)loop_watch(d->loop, &p->io, 0, NULL);
        mailbox_client_free(&p->client);
        for (unsigned k = 0; k < MAILBOX_WINDOW; k++)
            if (p->out[k] != NULL)
                copy_drop(d, p->out[k]);
        while (p->put.next != NULL && (l = list_pop(&p->put)) != NULL)
            copy_drop(d, LIST_ENTRY(l, struct copy, link));
    }
    if (d->loop != NULL)
        loop_timer_clear(d->loop, &d->mailbox.watch);
    free_boxes(&d->mailbox.boxes);
    free(d->mailbox.end);
    d->mailbox.end = NULL;
}
