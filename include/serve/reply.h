/* serve/reply.h - say something to the client, with an RFC 3463 code. */
#ifndef MTA_SERVE_REPLY_H
#define MTA_SERVE_REPLY_H

#include <stdbool.h>

struct serve_session;

/* enh NULL: no enhanced code (banner, EHLO, 354: RFC 2034 section 4). */
void serve_reply(struct serve_session *s, int code, const char *enh,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A refusal: the reply, and the line serve.reject in the log.  `what` is the
 * command or address it is about.  They are counted: serve_refused_enough()
 * when a stranger got so many that it must be guessing, or filling the log. */
void serve_refuse(struct serve_session *s, int code, const char *enh,
                  const char *what, const char *why);
bool serve_refused_enough(const struct serve_session *s);
#endif
