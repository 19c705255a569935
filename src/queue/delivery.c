/* delivery.c - answers, and what can be said of a whole delivery. */
#include "queue/delivery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text fills its room: end it in the mark, at a whole character. */
static void mark_cut(char text[DELIVERY_TEXT_MAX])
{
    static const char mark[] = "...";
    size_t n = DELIVERY_TEXT_MAX - sizeof mark;

    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    memcpy(text + n, mark, sizeof mark);
}

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
    int n = vsnprintf(a->text, sizeof a->text, fmt, ap);
    va_end(ap);
    if (n < 0)
        a->text[0] = '\0';
    else if ((size_t)n >= sizeof a->text)
        mark_cut(a->text);
}

void answer_set_text(struct answer *a, const char *text)
{
    int n = snprintf(a->text, sizeof a->text, "%s", text);

    if (n >= (int)sizeof a->text)
        mark_cut(a->text);
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

struct smtp_status delivery_status(const struct delivery_rcpt *r)
{
    struct smtp_status s = r->answer.status;

    if (r->expired) {
        s.class = 5;
        s.subject = 4;
        s.detail = 7;
    }
    return s;
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
