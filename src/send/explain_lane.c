#include "send/explain_lane.h"

#include "base/clock.h"
#include "base/host_port.h"
#include "control/server.h"
#include "send/lane_state.h"
#include "send/pace.h"
#include "send/pace_private.h"
#include "send/provider.h"
#include "send/session.h"

#include <inttypes.h>
#include <string.h>

static int parse_peer(struct addr *a, char host[CONF_NAME_MAX],
                      const char *peer, struct err *e)
{
    static const char local[] = "unix:";
    struct span text = span_of(peer);
    size_t n = span_find(text, ' ');
    struct span name = { peer, n };

    if (n == text.n || !span_copy(host, CONF_NAME_MAX, name))
        return err_set(e, ERR_USAGE, 0, "'%.40s' is not a host and an address",
                       peer);
    peer += n + 1;
    if (strncmp(peer, local, strlen(local)) != 0)
        return addr_parse(a, span_of(peer), 0, e);
    addr_from_path(a, peer + strlen(local));
    return 0;
}

/* That of its lane, or the one that a lane to it would get. */
static const struct pace *pace_for(const struct sched *s, const struct lane *l,
                                   const char *host, const struct addr *peer)
{
    char address[ADDR_PORT_TEXT];
    const char *group = provider_of(&s->conf->send.providers, host);

    if (l != NULL)
        return l->pace.of;
    addr_port_text(address, peer);
    return pace_find(s, group != NULL ? group : address);
}

int explain_lane(struct buf *answer, struct sched *s, const char *peer,
                 struct err *e)
{
    static const char *const names[] = { [LANE_IS_UP] = "up",
                                         [LANE_IS_PACED] = "paced",
                                         [LANE_IS_PAUSED] = "paused",
                                         [LANE_IS_SHUT] = "shut",
                                         [LANE_IS_ON_TRIAL] = "trial" };
    char host[CONF_NAME_MAX], reason[PACE_REASON_MAX] = "";
    struct lane_state state = { .is = LANE_IS_UP };
    uint64_t now = loop_now(s->loop);
    struct addr a;

    if (parse_peer(&a, host, peer, e) != 0)
        return -1;
    const struct lane *l = lane_find(s, &a);
    const struct pace *p = pace_for(s, l, host, &a);
    const char *group = provider_of(&s->conf->send.providers, host);
    if (l != NULL)
        state = lane_state(s, l);
    if (state.why != NULL)
        snprintf(reason, sizeof reason, "%s", state.why->text);
    else if ((l == NULL || !pace_reason(l, &state.until, reason)) && p != NULL)
        snprintf(reason, sizeof reason, "%s", p->why);
    control_add(
        answer, "lane %s %" PRIu64 " %s %s %u %u %s",
        l != NULL ? names[state.is] : "none",
        state.until > now ? clock_wall_us() + (state.until - now) * 1000 : 0,
        l != NULL && l->session != NULL ? send_session_id(l->session) : "-",
        p != NULL       ? p->name
        : group != NULL ? group
                        : "-",
        p != NULL ? (unsigned)p->limit.rate : 0,
        p != NULL ? (unsigned)p->limit.sessions : 0,
        reason[0] != '\0' ? reason : "-");
    return CONTROL_DONE;
}
