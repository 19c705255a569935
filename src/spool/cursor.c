/* cursor.c - go through the messages of a queue while it works. */
#include "spool/message.h"

#include "spool/segments_private.h"

/* The first of the segments from l on. */
static void begin_at(struct spool_queue *q, struct spool_cursor *c,
                     struct list *l)
{
    c->segment =
        l == &q->all ? NULL : LIST_ENTRY(l, struct spool_segment, link);
    c->next = c->segment != NULL ? c->segment->messages.next : NULL;
}

void spool_cursor_begin(struct spool_queue *q, struct spool_cursor *c)
{
    list_push(&q->cursors, &c->link);
    begin_at(q, c, q->all.next);
}

struct spool_message *spool_cursor_next(struct spool_queue *q,
                                        struct spool_cursor *c)
{
    while (c->segment != NULL && c->next == &c->segment->messages)
        begin_at(q, c, c->segment->link.next);
    if (c->segment == NULL)
        return NULL;
    struct spool_message *m = LIST_ENTRY(c->next, struct spool_message, link);
    c->next = c->next->next;
    return m;
}

void spool_cursor_end(struct spool_cursor *c)
{
    list_remove(&c->link);
}

void spool_cursors_leave_message(struct spool_queue *q,
                                 const struct spool_message *m)
{
    for (struct list *l = q->cursors.next; l != &q->cursors; l = l->next) {
        struct spool_cursor *c = LIST_ENTRY(l, struct spool_cursor, link);
        if (c->next == &m->link)
            c->next = m->link.next;
    }
}

void spool_cursors_leave_segment(struct spool_queue *q,
                                 const struct spool_segment *g)
{
    for (struct list *l = q->cursors.next; l != &q->cursors; l = l->next) {
        struct spool_cursor *c = LIST_ENTRY(l, struct spool_cursor, link);
        if (c->segment == g)
            begin_at(q, c, g->link.next);
    }
}
