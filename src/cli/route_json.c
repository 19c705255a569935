/* route_json.c - the report of `mta route` as one JSON object. */
#include "cli/route.h"

#include "base/json.h"
#include "send/tls_policy.h"

#include <string.h>

/* "": null. */
static void member(const char *name, const char *text)
{
    printf(",\"%s\":", name);
    if (text[0] != '\0')
        json_string(stdout, span_of(text));
    else
        fputs("null", stdout);
}

/* --- next hops ------------------------------------------------------------ */

static void put_host(const struct route_hop *h, size_t host)
{
    char text[ADDR_PORT_TEXT];
    const char *comma = "";

    fputs("{\"name\":", stdout);
    json_string(stdout, span_of(h->mx.host[host].name));
    fputs(",\"addresses\":[", stdout);
    for (size_t i = 0; i < h->n; i++) {
        if (h->candidate[i].host != host)
            continue;
        addr_port_text(text, &h->candidate[i].addr);
        fputs(comma, stdout);
        json_string(stdout, span_of(text));
        comma = ",";
    }
    putchar(']');
    if (h->route.kind == ROUTE_MX)
        printf(",\"preference\":%u", (unsigned)h->mx.host[host].preference);
    else
        fputs(",\"preference\":null", stdout);
    if (h->route.relay > 0)
        printf(",\"relay\":%u", h->route.relay);
    putchar('}');
}

/* A host without an address in use is left out by the sender, and here. */
static void put_hosts(const struct route_target *t)
{
    const char *comma = "";

    fputs(",\"hosts\":[", stdout);
    for (size_t i = 0; i < t->nhops; i++)
        for (size_t k = 0, last = MX_HOSTS_MAX; k < t->hop[i].n; k++) {
            size_t host = t->hop[i].candidate[k].host;
            if (host == last)
                continue;
            fputs(comma, stdout);
            put_host(&t->hop[i], host);
            comma = ",";
            last = host;
        }
    putchar(']');
}

/* Of several next hops the one that mail goes to now. */
static const struct route_hop *first_hop(const struct route_target *t)
{
    for (size_t i = 0; i < t->nhops; i++)
        if (t->hop[i].n > 0)
            return &t->hop[i];
    return t->nhops > 0 ? &t->hop[0] : NULL;
}

static void put_pace(const struct route_lane *l)
{
    printf(",\"pace\":{\"state\":\"%s\",\"until\":", l->state);
    json_time(stdout, l->until);
    member("session", l->session);
    member("of", l->pace);
    printf(",\"per_minute\":%u,\"sessions\":%u", l->rate, l->sessions);
    member("reason", l->reason);
    putchar('}');
}

static void put_hop(const struct route_target *t, const struct conf *c)
{
    char setting[ROUTE_SETTING_MAX] = "", login[ROUTE_SETTING_MAX] = "";
    char lane[ADDR_PORT_TEXT] = "";
    const struct route_hop *h = first_hop(t);

    if (h != NULL) {
        route_tls_setting(setting, c, &h->route);
        route_login_setting(login, c, &h->route);
        if (h->n > 0)
            addr_port_text(lane, &h->candidate[0].addr);
    }
    member("tls", h != NULL ? tls_policy_name(h->route.tls) : "");
    member("tls_setting", setting);
    member("login", login);
    printf(",\"lmtp\":%s", h != NULL && h->route.lmtp ? "true" : "false");
    member("lane", lane);
    if (h != NULL && h->n > 0 && h->lane[0].known)
        put_pace(&h->lane[0]);
    else
        fputs(",\"pace\":null", stdout);
}

/* --- a target ------------------------------------------------------------- */

static void put_members(const struct route_target *t, const struct conf *c)
{
    static const char *const names[] = { [DECISION_LOCAL] = "local",
                                         [DECISION_EXPAND] = "expand",
                                         [DECISION_REMOTE] = "remote",
                                         [DECISION_REJECT] = "reject",
                                         [DECISION_WAIT] = "wait" };

    fputs("{\"address\":", stdout);
    json_string(stdout, span_of(t->address));
    printf(",\"decision\":\"%s\"", names[t->decision]);
    member("setting", t->setting);
    member("why", t->why);
    member("mailbox", t->mailbox != NULL ? t->mailbox
                      : t->discarded     ? "/dev/null"
                                         : "");
    member("form", t->mailbox == NULL ? "" : t->is_mbox ? "mbox" : "maildir");
    put_hosts(t);
    put_hop(t, c);
}

static void put_rewrites(const struct route_report *r)
{
    struct span rest = { r->rewrites.text, r->rewrites.n };
    const char *comma = "";

    fputs(",\"rewrites\":[", stdout);
    while (rest.n > 0) {
        size_t n = span_find(rest, '\n');
        fputs(comma, stdout);
        json_string(stdout, (struct span){ rest.p, n });
        comma = ",";
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    putchar(']');
}

void route_print_json(const struct route_report *r)
{
    put_members(&r->asked, r->conf);
    put_rewrites(r);
    member("accepted_from", r->accepted);
    fputs(",\"aliases\":[", stdout);
    for (const struct route_alias *a = r->alias; a != NULL; a = a->next) {
        printf("%s{\"alias\":", a != r->alias ? "," : "");
        json_string(stdout, span_of(a->step.alias));
        member("target", a->step.target);
        member("file", a->step.file);
        printf(",\"line\":%u,\"depth\":%u}", a->step.line, a->step.depth);
    }
    fputs("],\"targets\":[", stdout);
    for (const struct route_target *t = r->target; t != NULL; t = t->next) {
        if (t != r->target)
            putchar(',');
        put_members(t, r->conf);
        putchar('}');
    }
    puts("]}");
}
