#include "send/login_state.h"

#include "send/destination_dns.h"
#include "send/login.h"
#include "send/ready.h"
#include "send/route.h"

#include <string.h>

enum { FAILURES_MAX = 32 };

static void each_with_login(struct sched *s,
                            void (*fn)(struct destination *d, void *ctx),
                            void *ctx)
{
    for (size_t i = 0; i <= s->destination.all.mask; i++)
        for (struct map_link *l = s->destination.all.bucket[i]; l != NULL;
             l = l->next) {
            struct destination *d = MAP_ENTRY(l, struct destination, link);
            if (d->login != ROUTE_NO_LOGIN)
                fn(d, ctx);
        }
}

/* --- shut ----------------------------------------------------------------- */

static void shut(struct destination *d, const struct answer *why)
{
    struct sched *s = d->sched;
    struct answer ours = *why;

    if (d->login_failures < FAILURES_MAX)
        d->login_failures++;
    ours.misconfigured = true;
    destination_set_misconfigured(d, &ours);
    d->expires =
        sched_seconds(s) + retry_backoff(&s->queue.rule, d->login_failures);
}

void login_state_refused(struct destination *d, const struct answer *why)
{
    struct logins *l = d->sched->logins;

    if (d->outcome != NULL)
        return; /* deliveries of one session come back one by one */
    if (d->login != ROUTE_NO_LOGIN && why->status.code >= 400 &&
        logins_refused(l, d->login)) {
        destination_detach(d);
        ready_destination(d);
        return;
    }
    shut(d, why);
}

void login_state_accepted(struct destination *d)
{
    d->login_failures = 0;
    if (d->login != ROUTE_NO_LOGIN)
        logins_accepted(d->sched->logins, d->login);
}

/* --- tokens --------------------------------------------------------------- */

static void see_token(struct destination *d, void *ctx)
{
    const char *error = ctx;
    struct answer why;

    if (!d->awaits_token)
        return;
    d->awaits_token = false;
    if (error != NULL) {
        answer_set(&why, OUTCOME_NONE, "4.3.5", "no token for our login: %s",
                   error);
        shut(d, &why);
    }
    ready_destination(d);
}

static void on_token(void *ctx, const char *error)
{
    each_with_login(ctx, see_token, (char *)(uintptr_t)error);
}

void login_state_attach(struct sched *s)
{
    logins_attach(s->logins, s->loop, on_token, s);
}

bool login_state_ready(struct sched *s, struct destination *d)
{
    if (d->login == ROUTE_NO_LOGIN || d->outcome != NULL)
        return true;
    d->awaits_token = !logins_ready(s->logins, d->login);
    return !d->awaits_token;
}

/* --- files ---------------------------------------------------------------- */

static void forget(struct destination *d, void *ctx)
{
    (void)ctx;
    d->expires = 0;
    ready_destination(d);
}

int login_state_renew(struct sched *s, struct err *e)
{
    if (s->logins == NULL)
        return 0;
    if (logins_renew(s->logins, e) != 0)
        return -1;
    each_with_login(s, forget, NULL);
    return 0;
}
