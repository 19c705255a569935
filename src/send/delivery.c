/* delivery.c - answers, and what can be said of a whole delivery. */
#include "send/delivery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void answer_set(struct answer *a, enum outcome outcome, const char *status,
                const char *fmt, ...)
{
    struct span code = span_of(status != NULL ? status : "");
    va_list ap;

    a->outcome = outcome;
    a->damaged = a->misconfigured = false;
    a->status = (struct smtp_status){ 0 };
    (void)smtp_status_take(&a->status, &code);
    va_start(ap, fmt);
    if (vsnprintf(a->text, sizeof a->text, fmt, ap) < 0)
        a->text[0] = '\0';
    va_end(ap);
}

void answer_set_unreadable(struct answer *a, int why)
{
    if (why == EBADMSG)
        answer_set(a, OUTCOME_DEFERRED, "4.3.5", "message damaged on disk");
    else
        answer_set(a, OUTCOME_DEFERRED, "4.3.0",
                   "message cannot be read from the queue: %s", strerror(why));
    a->damaged = why == EBADMSG;
}

void delivery_answer_all(struct delivery *j, const struct answer *a)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (j->rcpt[i].answer.outcome == OUTCOME_NONE)
            j->rcpt[i].answer = *a;
}

const char *delivery_host(const struct delivery *j,
                          const struct delivery_rcpt *r)
{
    return r->host != NULL ? r->host : j->host;
}

static void free_forwards(struct forward *f)
{
    for (struct forward *next; f != NULL; f = next) {
        next = f->next;
        free(f);
    }
}

void delivery_free(struct delivery **j)
{
    for (size_t i = 0; *j != NULL && i < (*j)->nrcpt; i++) {
        free_forwards((*j)->rcpt[i].forward);
        free((*j)->rcpt[i].host);
    }
    free(*j);
    *j = NULL;
}
