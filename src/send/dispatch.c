/* dispatch.c - make jobs: a message and those of its recipients that can go
 * the same way now. */
#include "send/sched.h"

#include "log/log.h"
#include "smtp/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_AT_MAX = 4096, /* recipients of one message looked at for one job */
    ADDRESS_TEXT = SMTP_ADDRESS_MAX + 512 + 64, /* with ORCPT, NOTIFY */
    MESSAGE_TEXT = SMTP_ADDRESS_MAX + 256,
    BROKEN_SECONDS = 60
};

struct picked {
    struct rcpt *rcpt[JOB_RCPT_MAX];
    size_t n;
};

static void pick(struct picked *p, struct rcpt *r)
{
    list_remove(&r->link);
    r->state = RCPT_OUT;
    p->rcpt[p->n++] = r;
}

/* By slot, as the message has them.  l NULL: those of d alone. */
static void pick_due(struct picked *p, struct message *m, struct dest *d,
                     const struct lane *l, struct rcpt *sure)
{
    struct dest *last = NULL;
    bool fits = false;
    int looked = 0;

    p->n = 0;
    for (struct rcpt *r = m->rcpts; r != NULL; r = r->next) {
        if (r->state != RCPT_DUE || (r != sure && ++looked > LOOK_AT_MAX))
            continue;
        if (r->dest != last)
            fits = r->dest == d || (l != NULL && dest_uses(r->dest, l));
        last = r->dest;
        if (fits && p->n < JOB_RCPT_MAX)
            pick(p, r);
    }
}

/* --- the job --------------------------------------------------------------*/

struct making {
    struct job *job;
    char *at, *end; /* what is left for text */
    uint32_t slot;  /* of the next recipient in the envelope */
    size_t next;    /* in job->rcpt */
    bool in_job;    /* the recipient before is in the job */
};

static const char *keep(struct making *m, struct span text)
{
    const char *p = m->at;

    if ((size_t)(m->end - m->at) < text.n + 1)
        return NULL;
    if (!span_copy(m->at, text.n + 1, text))
        return NULL;
    m->at += text.n + 1;
    return p;
}

static bool is_utf8(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return true;
    return false;
}

static int add_rcpt(struct making *m, struct span address)
{
    struct job *j = m->job;

    m->in_job = m->next < j->nrcpt && j->rcpt[m->next].rcpt->slot == m->slot;
    m->slot++;
    if (!m->in_job)
        return m->next == j->nrcpt; /* all are there: enough */
    struct job_rcpt *r = &j->rcpt[m->next++];
    r->address = keep(m, address);
    if (r->address == NULL)
        return 2;
    r->utf8 = is_utf8(r->address);
    return 0;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    struct making *m = ctx;
    struct job *j = m->job;
    const char **to = NULL;

    switch (type) {
    case SPOOL_F_RCPT: return add_rcpt(m, content);
    case SPOOL_F_SENDER: to = &j->sender; break;
    case SPOOL_F_ENVID: to = &j->envid; break;
    case SPOOL_F_RET: to = &j->ret; break;
    case SPOOL_F_ORCPT:
        to = m->in_job ? &j->rcpt[m->next - 1].orcpt : NULL;
        break;
    case SPOOL_F_NOTIFY:
        to = m->in_job ? &j->rcpt[m->next - 1].notify : NULL;
        break;
    case SPOOL_F_SID:
    case SPOOL_F_CLIENT:
    case SPOOL_F_HELO: break;
    }
    if (to != NULL && (*to = keep(m, content)) == NULL)
        return 2;
    return 0;
}

static struct job *new_job(const struct message *msg, const struct picked *p,
                           struct making *m)
{
    size_t text = msg->stored.rec.envelope_size;
    size_t most = MESSAGE_TEXT + p->n * ADDRESS_TEXT;
    size_t fixed = sizeof *m->job + p->n * sizeof m->job->rcpt[0];

    /* each field has three bytes of its own in the envelope, and needs one */
    text = text < most ? text : most;
    struct job *j = calloc(1, fixed + text);
    if (j == NULL)
        return NULL;
    j->nrcpt = p->n;
    for (size_t i = 0; i < p->n; i++)
        j->rcpt[i].rcpt = p->rcpt[i];
    *m = (struct making){ .job = j, .at = (char *)j + fixed };
    m->end = m->at + text;
    return j;
}

static int fill_job(struct sched *s, struct message *msg, struct making *m,
                    struct err *e)
{
    struct job *j = m->job;

    j->note.kind = NOTE_JOB;
    j->msg = msg;
    j->id = msg->stored.rec.id;
    j->arrival = msg->stored.rec.arrival;
    j->flags = msg->stored.rec.flags;
    int rc = spool_message_envelope(s->queue, &msg->stored, on_field, m, e);
    if (rc < 0)
        return -1;
    if (rc > 1 || m->next != j->nrcpt || j->sender == NULL)
        return err_set(e, ERR_PERM, 0, "the envelope is not in order");
    j->sender_utf8 = is_utf8(j->sender);
    if (spool_message_pin(s->queue, &msg->stored, &j->body, e) != 0)
        return -1;
    j->pinned = msg->stored.segment;
    return 0;
}

static void fail(struct sched *s, const struct message *msg,
                 const struct picked *p, const struct err *e)
{
    char id[MSG_ID_TEXT];

    msg_id_text(id, msg->stored.rec.id);
    LOG(LOG_ERROR, "send.unreadable", LS("id", id), LS("error", e->text));
    for (size_t i = 0; i < p->n; i++)
        outcome_later(s, p->rcpt[i], BROKEN_SECONDS);
}

/* NULL: it did not work, and the recipients wait in the calendar. */
static struct job *make_job(struct sched *s, struct dest *d,
                            const struct lane *l)
{
    struct rcpt *first = LIST_ENTRY(d->due.next, struct rcpt, link);
    struct picked p;
    struct making m;
    struct err e;

    pick_due(&p, first->msg, d, l, first);
    struct job *j = new_job(first->msg, &p, &m);
    if (j == NULL) {
        err_set(&e, ERR_TEMP, ENOMEM, "memory for a job");
    } else if (fill_job(s, first->msg, &m, &e) == 0) {
        return j;
    }
    job_free(&j);
    fail(s, first->msg, &p, &e);
    return NULL;
}

bool dispatch_one(struct sched *s, struct dest *d, struct lane *l)
{
    struct job *j = make_job(s, d, l);
    struct err e;

    if (j == NULL)
        return false;
    if (lane_give(s, l, j, &e) == 0)
        return true;
    struct answer a;
    answer_set(&a, VERDICT_NONE, "4.3.0", "%.200s", e.text);
    job_answer_all(j, &a);
    outcome_apply(s, j);
    return false;
}

void dispatch_answer(struct sched *s, struct dest *d, const struct answer *a,
                     const char *host)
{
    struct job *j = make_job(s, d, NULL);

    if (j == NULL)
        return;
    snprintf(j->host, sizeof j->host, "%.*s", (int)sizeof j->host - 1,
             host != NULL ? host : "");
    job_answer_all(j, a);
    outcome_apply(s, j);
}
