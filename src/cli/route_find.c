/* route_find.c - what becomes of an address: its domain, aliases, mailboxes. */
#include "cli/route.h"

#include "base/os.h"
#include "mailbox/where.h"
#include "recipient/relay.h"
#include "send/own_host.h"
#include "smtp/address.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static void decide(struct route_target *t, enum route_decision d, int status)
{
    t->decision = d;
    t->status = status;
}

static void set_why(struct route_target *t, const char *status,
                    const char *text)
{
    snprintf(t->why, sizeof t->why, "%s %s", status, text);
}

/* --- mailboxes ------------------------------------------------------------ */

/* The system is root's when it runs as another user than its caller. */
static bool is_roots(const struct conf *c)
{
    uid_t uid;
    gid_t gid;

    return geteuid() == 0 ||
           (os_find_ids(c->user, NULL, &uid, &gid, NULL) == 0 &&
            uid != (uid_t)-1);
}

static void find_mailbox(const struct route_report *r, struct route_target *t,
                         const char *key)
{
    struct mailbox_where w;
    struct err e;

    decide(t, DECISION_LOCAL, EX_OK);
    if (mailbox_where(&w, &r->conf->local, key, is_roots(r->conf), &e) == 0) {
        t->mailbox = w.path;
        t->is_mbox = w.is_mbox;
        t->exists = w.exists;
        return;
    }
    if (e.kind == ERR_USAGE)
        decide(t, DECISION_REJECT, EX_NOUSER);
    else
        decide(t, DECISION_WAIT, EX_TEMPFAIL);
    set_why(t, e.kind == ERR_USAGE ? "5.1.1" : "4.3.5", e.text);
}

/* --- targets -------------------------------------------------------------- */

static void note_alias(void *ctx, const struct local_step *s)
{
    struct route_report *r = ctx;
    struct route_alias *a = calloc(1, sizeof *a);

    if (a == NULL)
        return; /* the line is missing, the result is not */
    a->step = *s;
    *r->alias_end = a;
    r->alias_end = &a->next;
}

static int add_remote(const struct route_report *r, struct route_target *t)
{
    struct smtp_address a;
    struct err e;

    decide(t, DECISION_REMOTE, EX_OK);
    if (smtp_address_parse(&a, span_of(t->address)) != SMTP_ADDRESS_OK) {
        decide(t, DECISION_REJECT, EX_NOUSER);
        set_why(t, "5.1.3", "bad recipient address syntax");
        return 0;
    }
    return route_hops_find(r, t, a.domain, &e);
}

static int fill_target(const struct route_report *r, struct route_target *t,
                       const struct local_target *from)
{
    snprintf(t->address, sizeof t->address, "%s", from->name);
    route_setting(t->setting, r->conf, "local.aliases", ROUTE_NO_ELEMENT);
    switch (from->kind) {
    case LOCAL_MAILBOX: find_mailbox(r, t, from->name); break;
    case LOCAL_REMOTE: return add_remote(r, t);
    case LOCAL_NO_USER:
        decide(t, DECISION_REJECT, EX_NOUSER);
        set_why(t, "5.1.1", "unknown user");
        break;
    case LOCAL_DISCARD:
        decide(t, DECISION_LOCAL, EX_OK);
        t->discarded = true;
        break;
    case LOCAL_COMMAND:
        decide(t, DECISION_WAIT, EX_TEMPFAIL);
        set_why(t, "4.3.5", "commands and files are not supported in aliases");
        break;
    }
    return 0;
}

static int add_target(void *ctx, const struct local_target *from)
{
    struct route_report *r = ctx;
    struct route_target *t = calloc(1, sizeof *t);

    if (t == NULL)
        return -1;
    *r->target_end = t;
    r->target_end = &t->next;
    return fill_target(r, t, from);
}

/* --- a local address ------------------------------------------------------ */

/* As the delivery process answers (deliver/expand.c). */
static void judge_verdict(struct route_target *t, enum local_verdict v)
{
    switch (v) {
    case LOCAL_OK: decide(t, DECISION_EXPAND, EX_OK); return;
    case LOCAL_UNKNOWN:
        decide(t, DECISION_REJECT, EX_NOUSER);
        set_why(t, "5.1.1", "unknown user");
        return;
    case LOCAL_LOOP:
        decide(t, DECISION_REJECT, EX_NOUSER);
        set_why(t, "5.4.6", "alias database loop");
        return;
    case LOCAL_STOPPED:
        decide(t, DECISION_REJECT, EX_NOUSER);
        set_why(t, "5.4.6",
                "alias expands to too many recipients, or is nested too "
                "deeply");
        return;
    case LOCAL_UNSUPPORTED:
        decide(t, DECISION_WAIT, EX_TEMPFAIL);
        set_why(t, "4.3.5",
                "alias leads to a command or a file, which is not supported");
        return;
    case LOCAL_WAIT:
    case LOCAL_TEMP: break;
    }
    decide(t, DECISION_WAIT, EX_TEMPFAIL);
    set_why(t, "4.3.0", "temporary lookup failure");
}

/* A mailbox that no alias leads to is no expansion. */
static void join_single(struct route_report *r)
{
    struct route_target *only = r->target;
    struct route_target *t = &r->asked;

    if (r->alias != NULL || only == NULL || only->next != NULL)
        return;
    t->decision = only->decision;
    t->status = only->status;
    t->mailbox = only->mailbox;
    t->is_mbox = only->is_mbox;
    t->exists = only->exists;
    memcpy(t->why, only->why, sizeof t->why);
    free(only);
    r->target = NULL;
    r->target_end = &r->target;
}

static int find_local(struct route_report *r, const struct smtp_address *a,
                      struct err *e)
{
    char local[SMTP_ADDRESS_MAX];

    r->accepted = "any client";
    if (!smtp_local_unquote(local, sizeof local, a->local)) {
        judge_verdict(&r->asked, LOCAL_UNKNOWN);
        return 0;
    }
    local_trace(r->local, note_alias, r);
    enum local_verdict v =
        local_resolve(r->local, span_of(local), a->domain, add_target, r, NULL);
    local_trace(r->local, NULL, NULL);
    judge_verdict(&r->asked, v);
    if (v == LOCAL_STOPPED && r->target != NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for the targets of %.*s",
                       (int)a->text.n, a->text.p);
    if (v == LOCAL_OK)
        join_single(r);
    return 0;
}

/* --- an address of another host ------------------------------------------- */

static int check_relay(struct route_report *r, const struct smtp_address *a,
                       enum relay_verdict *v, struct err *e)
{
    char local[SMTP_ADDRESS_MAX];
    struct relay *relay = NULL;

    if (relay_open(&relay, &r->conf->serve.relay_domains,
                   r->conf->local.recipient_delimiter, e) != 0)
        return -1;
    if (!a->is_literal && smtp_local_unquote(local, sizeof local, a->local))
        *v = relay_check(relay, span_of(local), a->domain);
    relay_close(&relay);
    return 0;
}

static int find_remote(struct route_report *r, const struct smtp_address *a,
                       struct err *e)
{
    enum relay_verdict v = RELAY_NO;

    if (check_relay(r, a, &v, e) != 0)
        return -1;
    r->accepted = v == RELAY_OK ? "any client, by serve.relay_domains"
                                : "serve.relay_networks alone";
    if (v != RELAY_UNKNOWN)
        return add_remote(r, &r->asked);
    r->accepted = "no client";
    decide(&r->asked, DECISION_REJECT, EX_NOUSER);
    set_why(&r->asked, "5.1.1", "no such recipient in the file of the domain");
    route_setting(r->asked.setting, r->conf, "serve.relay_domains",
                  ROUTE_NO_ELEMENT);
    return 0;
}

/* As the server, which compares with the address that its client has reached,
 * one of those that it listens on. */
static bool is_own_literal(const struct conf *c, struct span ip)
{
    struct own_host self;
    struct addr literal;
    bool own = false;

    ip.p++;
    ip.n -= 2;
    if (span_starts_nocase(ip, "IPv6:")) {
        ip.p += 5;
        ip.n -= 5;
    }
    if (!addr_parse_ip(&literal, ip, 0) || own_host_load(&self, c, NULL) != 0)
        return false;
    for (size_t i = 0; i < self.n; i++)
        own |= addr_same_host(&self.addr[i], &literal);
    own_host_done(&self);
    return own;
}

/* --- all of it ------------------------------------------------------------ */

/* As for a client of a relay network, or a program of this host. */
static void rewrite(struct route_report *r, struct span *address,
                    struct span sender)
{
    const struct conf *c = r->conf;
    bool whole = span_find(sender, '@') < sender.n;

    if (whole &&
        rewrite_envelope(c, CONF_REWRITE_SENDER, sender, r->from, &r->rewrites))
        sender = span_of(r->from);
    if (rewrite_envelope(c, CONF_REWRITE_RECIPIENT, *address, r->to,
                         &r->rewrites))
        *address = span_of(r->to);
    while (whole && sender.n > 0 && span_find(sender, '@') < sender.n) {
        sender.p++;
        sender.n--;
    }
    r->sender = sender;
}

int route_report_make(struct route_report *r, const struct conf *c,
                      struct span address, struct span sender, struct err *e)
{
    struct smtp_address a;

    *r = (struct route_report){ .conf = c };
    r->alias_end = &r->alias;
    r->target_end = &r->target;
    rewrite(r, &address, sender);
    (void)smtp_address_parse(&a, address);
    snprintf(r->asked.address, sizeof r->asked.address, "%.*s", (int)address.n,
             address.p);
    if (local_open(&r->local, &c->local, e) != 0)
        return -1;
    if (is_roots(c))
        local_see_all(r->local);
    bool literal = a.is_literal && is_own_literal(c, a.domain);
    if (!literal && !local_has_domain(r->local, a.domain))
        return find_remote(r, &a, e);
    if (literal)
        route_setting(r->asked.setting, c, "serve.listen", ROUTE_NO_ELEMENT);
    else
        route_setting(r->asked.setting, c, "local.domains", ROUTE_NO_ELEMENT);
    return find_local(r, &a, e);
}

static void free_target(struct route_target *t)
{
    free(t->mailbox);
    free(t->hop);
}

void route_report_free(struct route_report *r)
{
    for (struct route_target *t = r->target, *next; t != NULL; t = next) {
        next = t->next;
        free_target(t);
        free(t);
    }
    for (struct route_alias *a = r->alias, *next; a != NULL; a = next) {
        next = a->next;
        free(a);
    }
    free_target(&r->asked);
    local_close(&r->local);
}

int route_report_status(const struct route_report *r)
{
    int status = r->asked.status;

    for (const struct route_target *t = r->target; t != NULL; t = t->next)
        if (status == EX_OK)
            status = t->status;
    return status;
}
