/* check_dns.c - questions to the DNS, and the check of the servers that answer
 * them. */
#include "cli/check.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- records -------------------------------------------------------------- */

struct asked {
    struct check_answer *answer;
    bool done;
};

/* One that does not fit is left out. */
static void keep(struct check_answer *a, const struct dns_rr *rr)
{
    size_t n = rr->text != NULL ? strlen(rr->text) + 1 : 0;

    if (a->n == DNS_RR_MAX || n > sizeof a->text - a->ntext)
        return;
    a->rr[a->n] = *rr;
    if (n > 0) {
        memcpy(a->text + a->ntext, rr->text, n);
        a->rr[a->n].text = a->text + a->ntext;
        a->ntext += n;
    }
    a->n++;
}

static void on_answer(void *ctx, const struct dns_answer *from)
{
    struct asked *q = ctx;
    struct check_answer *a = q->answer;

    a->status = from->status;
    snprintf(a->why, sizeof a->why, "%s", from->why);
    for (size_t i = 0; i < from->n; i++)
        keep(a, &from->rr[i]);
    q->done = true;
}

bool check_wait(struct checking *k, const bool *done, struct err *e)
{
    while (!*done)
        if (loop_turn(k->loop, -1, e) < 0)
            return false;
    return true;
}

void check_ask(struct checking *k, const char *name, enum dns_type type,
               struct check_answer *a)
{
    struct asked q = { a, false };
    struct err e = k->no_dns;
    struct dns_request *r = NULL;

    a->status = DNS_FAILED;
    a->n = a->ntext = 0;
    a->why[0] = '\0';
    if (k->dns != NULL)
        r = dns_ask(k->dns, name, type, on_answer, &q, &e);
    if (r != NULL && check_wait(k, &q.done, &e))
        return;
    if (r != NULL)
        dns_cancel(r);
    snprintf(a->why, sizeof a->why, "%s", e.text);
}

static void look_up(void *ctx, const char *name, enum dns_type type,
                    struct check_answer *a)
{
    check_ask(ctx, name, type, a);
}

struct check_lookup check_lookup(struct checking *k)
{
    return (struct check_lookup){ look_up, k };
}

/* --- mail hosts ----------------------------------------------------------- */

struct asked_mx {
    struct mx_result *result;
    bool done;
};

static void on_mx(void *ctx, const struct mx_result *mx)
{
    struct asked_mx *q = ctx;

    *q->result = *mx;
    q->done = true;
}

struct mx_result *check_ask_mx(struct checking *k, const char *domain)
{
    struct asked_mx q = { calloc(1, sizeof *q.result), false };
    struct err e = k->no_dns;
    struct mx_query *m = NULL;

    if (q.result == NULL)
        return NULL;
    q.result->status = MX_TEMP;
    if (k->dns != NULL)
        m = mx_ask(k->dns, domain, MX_BOTH, on_mx, &q, &e);
    if (m != NULL && check_wait(k, &q.done, &e))
        return q.result;
    if (m != NULL)
        mx_cancel(m);
    snprintf(q.result->why, sizeof q.result->why, "%.200s", e.text);
    return q.result;
}

void check_say_unknown(struct checking *k, const char *what, const char *name,
                       const char *why)
{
    check_say(k, CHECK_WARNING, "see 'resolver'",
              "%s%s cannot be looked up now (%s)", what, name, why);
}

/* --- the servers ---------------------------------------------------------- */

/* Any answer will do; a name that does not exist is one. */
void check_resolver(struct checking *k)
{
    enum { SLOW_MS = 1000 };
    struct check_answer *a = malloc(sizeof *a);
    uint64_t began = clock_mono_ms();

    if (a == NULL)
        return;
    check_ask(k, "com", DNS_MX, a);
    uint64_t ms = clock_mono_ms() - began;
    if (a->status == DNS_FAILED)
        check_say(k, CHECK_FAULT,
                  "set dns.servers, or mend /etc/resolv.conf and the way to "
                  "its servers",
                  "the DNS does not answer (%s)", a->why);
    else if (ms > SLOW_MS)
        check_say(k, CHECK_WARNING,
                  "put a server that answers first in dns.servers or "
                  "/etc/resolv.conf, or run a resolver on this host",
                  "the DNS took %llu ms to answer", (unsigned long long)ms);
    else
        check_say(k, CHECK_OK, NULL, "the DNS answers in %llu ms",
                  (unsigned long long)ms);
    free(a);
}
