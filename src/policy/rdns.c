/* rdns.c - the confirmed name of a client: PTR, then forward (serve.rdns).
 *
 * With `require` the look-up starts at the first RCPT, whose reply depends on
 * it, so that clients without a recipient cost no query.  With `warn` the name
 * is for the Received field alone: the look-up starts at MAIL, and DATA waits
 * for it a short time. */
#include "policy/policy_private.h"

#include "log/log.h"

#include <stdlib.h>
#include <string.h>

static const struct verdict pass = { .kind = VERDICT_PASS };
static const struct verdict wait = { .kind = VERDICT_WAIT };

/* RFC 7372: x.7.25 when the validation of reverse DNS fails. */
static const struct verdict unknown = {
    .kind = VERDICT_REJECT,
    .code = 550,
    .status = "5.7.25",
    .text = "Client host rejected: cannot find your reverse hostname"
};
static const struct verdict unknown_now = {
    .kind = VERDICT_REJECT,
    .code = 450,
    .status = "4.7.25",
    .text = "Client host rejected: cannot find your reverse hostname"
};

static void settle(struct policy *p, enum fcrdns_status status)
{
    p->rdns.query = NULL;
    p->rdns.status = (unsigned char)status;
    loop_timer_clear(p->env->loop, &p->rdns.timer);
    policy_answered(p);
}

static void on_name(void *ctx, enum fcrdns_status status, const char *name)
{
    static const char *const words[] = { "ok", "no_ptr", "mismatch", "temp" };
    struct policy *p = ctx;

    if (name != NULL && *name != '\0')
        p->rdns.name = strdup(name);
    LOG(status == FCRDNS_OK ? LOG_DEBUG : LOG_INFO, "serve.rdns",
        LS("sid", p->sid), LS("status", words[status]),
        LS("name", p->rdns.name));
    settle(p, status);
}

static void on_timer(struct loop_timer *t)
{
    struct policy *p = LOOP_ENTRY(t, struct policy, rdns.timer);

    p->env->cancel_name(p->rdns.query);
    settle(p, FCRDNS_TEMP);
}

/* A client of a Unix socket has no address. */
static void ask(struct policy *p)
{
    struct err e;

    if (p->rdns.asked || addr_is_unix(p->peer))
        return;
    p->rdns.asked = true;
    p->rdns.status = FCRDNS_TEMP;
    p->rdns.timer.fn = on_timer;
    p->rdns.query = p->env->ask_name(p->env->dns, p->peer, on_name, p, &e);
}

struct verdict policy_rdns_begin(struct policy *p)
{
    if (p->env->rdns == CONF_RDNS_WARN ||
        (p->env->rdns == CONF_RDNS_REQUIRE && p->exempt))
        ask(p);
    return pass;
}

struct verdict policy_rdns_require(struct policy *p)
{
    if (p->env->rdns != CONF_RDNS_REQUIRE || p->exempt)
        return pass;
    ask(p);
    if (p->rdns.query != NULL)
        return wait;
    if (p->rdns.status == FCRDNS_OK)
        return pass;
    return p->rdns.status == FCRDNS_TEMP ? unknown_now : unknown;
}

struct verdict policy_rdns_note(struct policy *p)
{
    if (p->rdns.query == NULL || p->exempt)
        return pass;
    loop_timer_set(p->env->loop, &p->rdns.timer, p->env->name_wait_ms);
    return wait;
}

void policy_rdns_cancel(struct policy *p)
{
    if (p->rdns.query != NULL)
        p->env->cancel_name(p->rdns.query);
    p->rdns.query = NULL;
    loop_timer_clear(p->env->loop, &p->rdns.timer);
    free(p->rdns.name);
    p->rdns.name = NULL;
}
