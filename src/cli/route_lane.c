/* route_lane.c - ask the running sender for the state and pace of lanes. */
#include "cli/route.h"

#include "control/client.h"

#include <errno.h>
#include <string.h>

/* "-" is "". */
static void take_word(char *out, size_t size, struct span *rest)
{
    size_t n = span_find(*rest, ' ');
    struct span word = { rest->p, n };

    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    if (span_is(word, "-") || !span_copy(out, size, word))
        out[0] = '\0';
}

static unsigned long long take_number(struct span *rest)
{
    char word[24];
    unsigned long long n;

    take_word(word, sizeof word, rest);
    return span_u64(span_of(word), ~0ull, &n) ? n : 0;
}

static int take_line(void *ctx, struct span line)
{
    struct route_lane *l = ctx;
    char word[8];

    take_word(word, sizeof word, &line);
    if (strcmp(word, "lane") != 0)
        return 0;
    take_word(l->state, sizeof l->state, &line);
    l->until = take_number(&line);
    take_word(l->session, sizeof l->session, &line);
    take_word(l->pace, sizeof l->pace, &line);
    l->rate = (unsigned)take_number(&line);
    l->sessions = (unsigned)take_number(&line);
    if (span_is(line, "-") || !span_copy(l->reason, sizeof l->reason, line))
        l->reason[0] = '\0';
    l->known = true;
    return 0;
}

/* False: there is no sender, or it does not answer. */
static bool ask(const struct conf *c, const struct mx_candidate *m,
                struct route_lane *l)
{
    char command[CONF_NAME_MAX + ADDR_PORT_TEXT + 8], peer[ADDR_PORT_TEXT];
    struct control_ask a = { .queue_dir = c->queue_dir,
                             .name = "send",
                             .command = command,
                             .fn = take_line,
                             .ctx = l };
    struct err e;

    addr_port_text(peer, &m->addr);
    snprintf(command, sizeof command, "lane %s %s", m->name, peer);
    if (control_ask(&a, &e) == 0)
        return true;
    if (e.sys != ENOENT && e.sys != ECONNREFUSED)
        fprintf(stderr,
                "mta route: the sender does not answer (%s): lanes and pace "
                "are not shown\n",
                e.text);
    return false;
}

void route_lanes_ask(const struct conf *c, struct route_target *t)
{
    for (size_t i = 0; i < t->nhops; i++)
        for (size_t k = 0; k < t->hop[i].n && k < ROUTE_LANES_MAX; k++)
            if (!ask(c, &t->hop[i].candidate[k], &t->hop[i].lane[k]))
                return;
}
