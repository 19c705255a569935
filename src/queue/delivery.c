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
    a->damaged = a->misconfigured = a->greylisted = false;
    a->again = a->refusal = 0;
    a->status = (struct smtp_status){ 0 };
    (void)smtp_status_take(&a->status, &code);
    va_start(ap, fmt);
    int n = vsnprintf(a->text, sizeof a->text, fmt, ap);
    va_end(ap);
    if (n < 0)
        a->text[0] = '\0';
    else if ((size_t)n >= sizeof a->text)
        mark_cut(a->text);
    for (char *p = a->text; (p = strchr(p, '\n')) != NULL; p++)
        *p = ' ';
}

void answer_set_text(struct answer *a, const char *text)
{
    size_t n = 0;

    for (; *text != '\0' && n < sizeof a->text; text++)
        if (*text != '\n')
            a->text[n++] = *text;
        else if (n > 0 && a->text[n - 1] != ' ')
            a->text[n++] = ' ';
    if (n == sizeof a->text)
        mark_cut(a->text);
    else
        a->text[n] = '\0';
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

/* --- long replies --------------------------------------------------------- */

/* Of several lines, or longer than the text of an answer. */
struct long_reply {
    struct long_reply *next;
    char text[];
};

void delivery_keep_reply(struct delivery *j, const char *text)
{
    size_t n = strlen(text), sum = n;

    if (n < DELIVERY_TEXT_MAX && strchr(text, '\n') == NULL)
        return;
    for (const struct long_reply *l = j->replies; l != NULL; l = l->next) {
        if (strcmp(l->text, text) == 0)
            return;
        sum += strlen(l->text);
    }
    if (sum > DELIVERY_REPLIES_MAX)
        return;
    struct long_reply *l = malloc(sizeof *l + n + 1);
    if (l == NULL)
        return;
    memcpy(l->text, text, n + 1);
    l->next = j->replies;
    j->replies = l;
}

/* Answers are copied from one recipient to others, and replaced: their text
 * names the reply.  Two that begin alike cannot be told apart. */
const char *delivery_reply(const struct delivery *j, const struct answer *a)
{
    const char *found = a->text;
    struct answer begin;

    for (const struct long_reply *l = j->replies; l != NULL; l = l->next) {
        answer_set_text(&begin, l->text);
        if (strcmp(begin.text, a->text) != 0)
            continue;
        if (found != a->text)
            return a->text;
        found = l->text;
    }
    return found;
}

static void free_replies(struct long_reply *l)
{
    for (struct long_reply *next; l != NULL; l = next) {
        next = l->next;
        free(l);
    }
}

void delivery_free(struct delivery **j)
{
    for (size_t i = 0; *j != NULL && i < (*j)->nrcpt; i++)
        free((*j)->rcpt[i].host);
    if (*j != NULL)
        free_replies((*j)->replies);
    free(*j);
    *j = NULL;
}
