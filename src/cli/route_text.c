/* route_text.c - the report of `mta route` for people. */
#include "cli/route.h"

#include "send/tls_policy.h"

#include <string.h>
#include <time.h>

static void row(const char *name, const char *text)
{
    printf("  %-10s %s\n", name, text);
}

/* --- next hops ------------------------------------------------------------ */

static void put_addresses(const struct route_hop *h, size_t host)
{
    char text[ADDR_PORT_TEXT];

    for (size_t i = 0; i < h->n; i++) {
        if (h->candidate[i].host != host)
            continue;
        addr_port_text(text, &h->candidate[i].addr);
        printf("  %s", text);
    }
}

static bool is_used(const struct route_hop *h, size_t host)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->candidate[i].host == host)
            return true;
    return false;
}

static void put_hosts(const struct route_hop *h)
{
    bool by_mx = h->route.kind == ROUTE_MX;

    for (size_t i = 0; i < h->mx.nhost; i++) {
        const struct mx_host *host = &h->mx.host[i];
        printf("  %-10s ", "host");
        if (by_mx)
            printf("%u ", (unsigned)host->preference);
        fputs(host->name, stdout);
        if (is_used(h, i))
            put_addresses(h, i);
        else if (h->mx.status == MX_OK)
            fputs("  (not used: this host, or behind it)", stdout);
        putchar('\n');
    }
}

static void put_until(uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;

    if (wall_us != 0 && localtime_r(&t, &tm) != NULL)
        printf(" until %02d:%02d:%02d", tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static const char *state_text(const struct route_lane *l)
{
    static const char *const texts[][2] = {
        { "none", "no mail for it of late" },
        { "up", "takes mail" },
        { "paced", "waits for its pace" },
        { "paused", "paused" },
        { "shut", "shut" },
        { "trial", "was shut; one message tries it" },
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i][0], l->state) == 0)
            return texts[i][1];
    return l->state;
}

static void put_lane(const struct mx_candidate *m, const struct route_lane *l)
{
    char peer[ADDR_PORT_TEXT];

    addr_port_text(peer, &m->addr);
    printf("  %-10s %s: %s", "lane", peer, state_text(l));
    put_until(l->until);
    if (l->session[0] != '\0')
        printf(", session %s", l->session);
    if (l->pace[0] != '\0')
        printf(", pace of %s", l->pace);
    if (l->rate != 0)
        printf(", %u message%s a minute", l->rate, l->rate == 1 ? "" : "s");
    if (l->sessions != 0)
        printf(", %u session%s at once", l->sessions,
               l->sessions == 1 ? "" : "s");
    if (l->reason[0] != '\0')
        printf(": %s", l->reason);
    putchar('\n');
}

static void put_hop(const struct route_target *t, const struct route_hop *h,
                    const struct conf *c)
{
    char setting[ROUTE_SETTING_MAX], text[ROUTE_SETTING_MAX + 48];
    bool is_first = h->route.port == TLS_FIRST_PORT && !h->route.lmtp;

    if (t->nhops > 1)
        printf("  %-10s %u of %u: %s:%u\n", "relay", h->route.relay,
               (unsigned)t->nhops, h->route.host, (unsigned)h->route.port);
    if (h->n == 0 && t->nhops > 1)
        row("fault", h->why.text);
    if (h->route.lmtp)
        row("protocol", "LMTP");
    put_hosts(h);
    route_tls_setting(setting, c, &h->route);
    snprintf(text, sizeof text, "%s, by %s%s", tls_policy_name(h->route.tls),
             setting, is_first ? "; at once, by the port" : "");
    row("tls", text);
    route_login_setting(setting, c, &h->route);
    if (setting[0] != '\0')
        row("login", setting);
    for (size_t i = 0; i < h->n && i < ROUTE_LANES_MAX; i++)
        if (h->lane[i].known)
            put_lane(&h->candidate[i], &h->lane[i]);
}

/* --- a target ------------------------------------------------------------- */

static const char *summary(const struct route_target *t)
{
    switch (t->decision) {
    case DECISION_LOCAL: return t->discarded ? "discarded" : "delivered here";
    case DECISION_EXPAND: return "expanded by aliases";
    case DECISION_REMOTE: return "sent on";
    case DECISION_REJECT: return "rejected";
    case DECISION_WAIT: break;
    }
    return "waits";
}

static void put_target(const struct route_target *t, const struct conf *c)
{
    printf("%s: %s%s%s\n", t->address, summary(t),
           t->why[0] != '\0' ? ": " : "", t->why);
    if (t->setting[0] != '\0')
        row("by", t->setting);
    if (t->mailbox != NULL)
        printf("  %-10s %s, %s%s\n", "mailbox", t->mailbox,
               t->is_mbox ? "mbox" : "Maildir",
               t->exists ? "" : " (made when mail comes)");
    for (size_t i = 0; i < t->nhops; i++)
        put_hop(t, &t->hop[i], c);
}

/* A setting in the place of the file, as rewrite.root, has no line. */
static void put_alias(const struct route_alias *a)
{
    printf("  %-10s %*s%s -> %s (%s", "alias", 2 * (int)a->step.depth, "",
           a->step.alias, a->step.target, a->step.file);
    if (a->step.line > 0)
        printf(":%u", a->step.line);
    puts(")");
}

static void put_rewrites(const struct route_report *r)
{
    struct span rest = { r->rewrites.text, r->rewrites.n };

    while (rest.n > 0) {
        size_t n = span_find(rest, '\n');
        printf("  %-10s %.*s\n", "rewritten", (int)n, rest.p);
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
}

void route_print_text(const struct route_report *r)
{
    put_target(&r->asked, r->conf);
    put_rewrites(r);
    row("accepted", r->accepted);
    for (const struct route_alias *a = r->alias; a != NULL; a = a->next)
        put_alias(a);
    for (const struct route_target *t = r->target; t != NULL; t = t->next) {
        putchar('\n');
        put_target(t, r->conf);
    }
}
