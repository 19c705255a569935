#include "serve/reply.h"

#include "base/buf.h"
#include "log/log.h"
#include "serve/session.h"

#include <stdarg.h>
#include <stdio.h>

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
    /* Without a block for its answer the session cannot go on: its next
     * write or its deadline ends it. */
    if (!conn_write(&s->conn, b.p, b.n))
        conn_set_timeout(&s->conn, 1);
}

void serve_refuse(struct serve_session *s, int code, const char *enh,
                  const char *what, const char *why)
{
    char peer[ADDR_TEXT];

    serve_reply(s, code, enh, "%s", why);
    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.reject", LS("sid", s->sid), LS("client", peer),
        LN("code", code), LS("enhanced", enh), LS("what", what),
        LS("why", why));
}
