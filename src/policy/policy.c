#include "policy/policy_private.h"

/* clang-format off */
const struct policy_check policy_checks[] = {
    { POLICY_MAIL, "rdns", policy_rdns_begin,   policy_rdns_cancel },
    { POLICY_RCPT, "rdns", policy_rdns_require, NULL },
    { POLICY_DATA, "rdns", policy_rdns_note,    NULL },
};
/* clang-format on */
const size_t policy_nchecks = sizeof policy_checks / sizeof policy_checks[0];

struct verdict policy_ask(struct policy *p, enum policy_stage stage)
{
    const struct policy_env *env = p->env;
    struct verdict v = { .kind = VERDICT_PASS };
    size_t i = p->next;

    p->next = 0;
    for (; i < env->nchecks && v.kind == VERDICT_PASS; i++) {
        if (env->checks[i].stage != stage)
            continue;
        v = env->checks[i].ask(p);
        v.check = env->checks[i].name;
        if (v.kind == VERDICT_WAIT)
            p->next = (unsigned char)i;
    }
    p->waiting = v.kind == VERDICT_WAIT;
    return v;
}

void policy_answered(struct policy *p)
{
    if (!p->waiting)
        return;
    p->waiting = false;
    p->answered(p->ctx);
}

void policy_cancel(struct policy *p)
{
    p->waiting = false;
    for (size_t i = 0; i < p->env->nchecks; i++)
        if (p->env->checks[i].cancel != NULL)
            p->env->checks[i].cancel(p);
}
