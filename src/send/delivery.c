/* delivery.c - answers, and what can be said of a whole job. */
#include "send/delivery.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* status is "x.y.z" or NULL. */
static void set_status(struct answer *a, const char *status)
{
    unsigned c = 0, s = 0, d = 0;

    if (status != NULL && sscanf(status, "%1u.%3u.%3u", &c, &s, &d) != 3)
        c = s = d = 0;
    a->enh_class = (unsigned short)c;
    a->subject = (unsigned short)s;
    a->detail = (unsigned short)d;
}

void answer_set(struct answer *a, enum verdict verdict, const char *status,
                const char *fmt, ...)
{
    va_list ap;

    a->verdict = verdict;
    a->code = 0;
    set_status(a, status);
    va_start(ap, fmt);
    if (vsnprintf(a->text, sizeof a->text, fmt, ap) < 0)
        a->text[0] = '\0';
    va_end(ap);
}

void job_answer_all(struct job *j, const struct answer *a)
{
    for (size_t i = 0; i < j->nrcpt; i++)
        if (j->rcpt[i].answer.verdict == VERDICT_NONE)
            j->rcpt[i].answer = *a;
}

void job_free(struct job **j)
{
    for (size_t i = 0; *j != NULL && i < (*j)->nrcpt; i++)
        for (struct forward *f = (*j)->rcpt[i].forward, *next; f != NULL;
             f = next) {
            next = f->next;
            free(f);
        }
    free(*j);
    *j = NULL;
}
