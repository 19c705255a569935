/* ask.c - the notices that a sender asked for, where an alias replaces its
 * recipient. */
#include "deliver/ask.h"

#include "base/buf.h"
#include "smtp/dsn.h"

/* A notice has no sender, and its failure none to report to. */
const char *ask_owner(const struct work *w, const struct work_item *i)
{
    return w->sender[0] != '\0' ? i->owner : NULL;
}

/* NOTIFY of the targets of an item: of several, none reports success. */
unsigned ask_notify(const struct work_item *i)
{
    unsigned bits = smtp_dsn_notify_bits(i->notify);

    if (i->alias == NULL || i->ntargets < 2 ||
        (bits & SMTP_NOTIFY_SUCCESS) == 0)
        return bits;
    bits &= ~(unsigned)SMTP_NOTIFY_SUCCESS;
    return bits != 0 ? bits : SMTP_NOTIFY_NEVER;
}

/* A target of two items reports what either sender of them would get. */
static unsigned notify_of_both(unsigned a, unsigned b)
{
    const unsigned usual = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;

    if (a == b)
        return a;
    a = a == 0 ? usual : a & ~(unsigned)SMTP_NOTIFY_NEVER;
    b = b == 0 ? usual : b & ~(unsigned)SMTP_NOTIFY_NEVER;
    return (a | b) != 0 ? a | b : SMTP_NOTIFY_NEVER;
}

void ask_join(const struct work *w, struct work_target *same,
              const struct work_item *i)
{
    if (ask_owner(w, same->of) == NULL)
        same->notify = notify_of_both(same->notify, ask_notify(i));
}

/* A list is the end of a message, and an alias of several recipients reports
 * for all of them.  All others have a target that reports success. */
void ask_choose_notice(const struct work *w, struct work_item *i,
                       const struct work_target *first)
{
    bool asked = (smtp_dsn_notify_bits(i->notify) & SMTP_NOTIFY_SUCCESS) != 0 &&
                 w->sender[0] != '\0' &&
                 (w->msg->stored.rec.flags & SPOOL_BOUNCE) == 0;

    i->notice = !asked                    ? NOTICE_NONE
                : ask_owner(w, i) != NULL ? NOTICE_DELIVERED
                : (ask_notify(i) & SMTP_NOTIFY_SUCCESS) == 0 ||
                        (first != NULL && ask_owner(w, first->of) != NULL)
                    ? NOTICE_EXPANDED
                    : NOTICE_NONE;
}

/* ORCPT of a target that has none: the address that the sender knows.  For what
 * leaves, or was asked for; NULL: none, or no memory. */
const char *ask_orcpt_for(struct work *w, const struct work_item *i,
                          const struct work_target *t)
{
    bool asked = i->notify != NULL || w->envid != NULL || w->ret != NULL;
    char room[SMTP_ORCPT_MAX + 1];
    struct buf b = BUF_ON(room);

    if (i->orcpt != NULL || i->alias == NULL || ask_owner(w, i) != NULL ||
        (t->kind != LOCAL_REMOTE && !asked))
        return NULL;
    smtp_dsn_put_orcpt(&b, span_of(i->address));
    return b.full ? NULL : work_keep(w, buf_span(&b));
}

/* NULL: that of the item. */
const char *ask_notify_for(const struct work *w, const struct work_item *i,
                           const struct work_target *t)
{
    return ask_owner(w, i) != NULL ||
                   t->notify == smtp_dsn_notify_bits(i->notify)
               ? NULL
               : smtp_dsn_notify_text(t->notify);
}
