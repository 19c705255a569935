#include "serve/reply.h"

#include "base/buf.h"
#include "log/log.h"
#include "serve/session.h"

#include <stdarg.h>
#include <stdio.h>

/* A hundred refusals for good, or many more for now. */
enum { REFUSAL = 100, DEFERRAL = 1, ENOUGH = 10000 };

void serve_reply(struct serve_session *s, int code, const char *enh,
                 const char *fmt, ...)
{
    char line[1024], text[900];
    struct buf b = BUF_ON(line);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_addf(&b, "%d %s%s%s\r\n", code, enh == NULL ? "" : enh,
             enh == NULL ? "" : " ", text);
    /* Without a block for an answer the conn ends: the next answer would be
     * taken for this one. */
    (void)conn_write(&s->conn, b.p, b.n);
}

void serve_refuse(struct serve_session *s, int code, const char *enh,
                  const char *what, const char *why)
{
    char peer[ADDR_TEXT];

    unsigned weight = code >= 500 ? REFUSAL : DEFERRAL;
    s->refused = (unsigned short)(s->refused + weight);
    if (s->refused > ENOUGH)
        s->refused = ENOUGH;
    serve_reply(s, code, enh, "%s", why);
    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.reject", LS("sid", s->sid), LS("client", peer),
        LN("code", code), LS("enhanced", enh), LS("what", what),
        LS("why", why));
}

bool serve_refused_enough(const struct serve_session *s)
{
    return !s->trusted && s->refused >= ENOUGH;
}
