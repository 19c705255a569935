/* session_settle.c - replies that do not fit, while texts are in the peer's
 * hands.
 *
 * With BDAT several messages are in flight, and to cut the session would send
 * those again that the peer takes.  So what is written is finished, QUIT
 * follows, and all replies are counted: 221 is none but that to QUIT.  When it
 * comes exactly behind the reply to the last text, each reply belongs to its
 * command, and what has 2xx to MAIL, RCPT and BDAT is delivered.  Otherwise no
 * reply counts, and all of it goes again. */
#include "send/session_actions.h"
#include "send/session_fault.h"
#include "send/transaction.h"

/* --- the reply to each command, provisional ----------------------------- */

static void settle_rcpt(struct send_session *s)
{
    struct delivery_rcpt *r = send_transaction_asked(s);
    bool taken = s->event == E_2XX && !s->refused;

    if (r != NULL && !send_session_has_answer(r))
        r->step = taken ? STEP_TAKEN : STEP_LEFT;
    if (s->waiting == 0)
        s->settle.due = S_CHUNK;
}

static void settle_text(struct send_session *s)
{
    bool taken = s->event == E_2XX && !s->refused && s->sending != s->cur;

    for (size_t i = 0; i < s->cur->nrcpt; i++) {
        struct delivery_rcpt *r = &s->cur->rcpt[i];
        if (r->step == STEP_TAKEN && taken)
            send_transaction_take_answer(s, &r->answer);
        else if (r->step == STEP_TAKEN)
            r->step = STEP_LEFT;
    }
    list_push(&s->left, &s->cur->link);
    s->cur = NULL;
    s->settle.due = S_QUIT;
    if (list_empty(&s->ahead))
        return;
    send_transaction_take_ahead(s);
    s->settle.due = S_MAIL;
}

/* --- the verdict -------------------------------------------------------- */

/* Count the texts taken, or forget that they were. */
static void judge_one(struct send_session *s, struct delivery *j, bool in_step)
{
    bool delivered = false;

    for (size_t i = 0; i < j->nrcpt; i++) {
        struct delivery_rcpt *r = &j->rcpt[i];
        if (r->step != STEP_TAKEN)
            continue;
        if (!in_step || r->answer.outcome != OUTCOME_DELIVERED) {
            r->answer = (struct answer){ .outcome = OUTCOME_NONE };
            r->step = STEP_LEFT;
            continue;
        }
        r->step = STEP_DONE;
        delivered = true;
    }
    s->end.delivered += delivered;
}

static void judge_list(struct send_session *s, struct list *in, bool in_step)
{
    for (struct list *l = in->next; l != in; l = l->next)
        judge_one(s, LIST_ENTRY(l, struct delivery, link), in_step);
}

static unsigned char settled(struct send_session *s, bool in_step)
{
    if (s->cur != NULL)
        list_push(&s->left, &s->cur->link);
    s->cur = NULL;
    judge_list(s, &s->left, in_step);
    s->was = S_MAIL; /* the whole message pays */
    send_session_charge(s, s->settle.blamed, s->settle.rule, &s->settle.why);
    return E_SETTLED;
}

/* --- actions ------------------------------------------------------------ */

unsigned char send_action_settle_more(void *ctx)
{
    struct send_session *s = ctx;
    unsigned char next = FSM_QUIET;

    if (s->sending != NULL)
        next = send_transaction_pump(s);
    if (s->sending == NULL && !s->settle.quit) {
        s->settle.quit = true;
        send_transaction_command(s, "QUIT");
    }
    return next;
}

static bool is_goodbye(const struct send_session *s)
{
    return s->settle.quit && s->event == E_2XX && s->reply.status.code == 221;
}

static unsigned char count(struct send_session *s)
{
    switch (s->settle.due) {
    case S_MAIL:
        s->refused = s->event != E_2XX;
        s->settle.due = S_RCPT;
        return FSM_QUIET;
    case S_RCPT: settle_rcpt(s); return FSM_QUIET;
    case S_CHUNK: settle_text(s); return FSM_QUIET;
    default: return settled(s, is_goodbye(s));
    }
}

unsigned char send_action_settle_reply(void *ctx)
{
    struct send_session *s = ctx;

    if (is_goodbye(s) && s->settle.due != S_QUIT)
        return settled(s, false);
    return count(s);
}

unsigned char send_action_settle(void *ctx)
{
    struct send_session *s = ctx;

    s->settle.blamed = s->cur;
    s->settle.rule = send_session_blame(s, &s->settle.why);
    s->settle.due = s->was;
    s->stopping = true;
    s->refused |= s->displaced;
    if (s->settle.rule->whose == WHOSE_CHUNKING && s->sending != NULL)
        return settled(s, false); /* it reads the rest as commands */
    (void)count(s);
    return send_action_settle_more(s);
}

/* No 221: the replies may be out of step. */
unsigned char send_action_unsettled(void *ctx)
{
    (void)settled(ctx, false);
    return FSM_QUIET;
}
