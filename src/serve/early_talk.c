/* early_talk.c - clients that send before it is their turn (serve.early_talk):
 * programs that wait for no reply, and bodies of other protocols that hold
 * commands.  Relay networks may. */
#include "serve/session_private.h"

static bool is_free_to_talk(const struct serve_session *s)
{
    return s->trusted ||
           s->env->conf->serve.early_talk == CONF_EARLY_TALK_ACCEPT;
}

/* Before the banner: the check costs an honest client no time. */
bool serve_early_before_banner(struct serve_session *s)
{
    return !is_free_to_talk(s) && conn_has_input(&s->conn);
}

/* RFC 2920: behind DATA a client waits for 354; without PIPELINING it waits
 * for each reply. */
bool serve_early_behind(const struct serve_session *s, enum smtp_verb verb)
{
    return !is_free_to_talk(s) && verb != SMTP_UNKNOWN &&
           (!s->esmtp || verb == SMTP_DATA);
}
