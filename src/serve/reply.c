#include "serve/reply.h"

#include "base/buf.h"
#include "log/log.h"
#include "serve/session_private.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Weights: 100 permanent refusals or 10,000 temporary ones are enough. */
enum { REFUSAL = 100, DEFERRAL = 1, ENOUGH = 10000, LINE_MAX_OCTETS = 1024 };

/* status NULL: the banner, EHLO and 354 have none (RFC 2034 section 4). */
/* clang-format off */
static const struct {
    unsigned short code;
    const char *status, *text;
} replies[REPLY_COUNT] = {
    [REPLY_BANNER]           = { 220, NULL,     "%s ESMTP mta" },
    [REPLY_HELO]             = { 250, NULL,     "%s" },
    [REPLY_OK]               = { 250, "2.0.0",  "Ok" },
    [REPLY_HELP]             = { 214, "2.0.0",
                                 "HELO EHLO MAIL RCPT DATA RSET QUIT HELP%s" },
    [REPLY_BYE]              = { 221, "2.0.0",  "Bye" },
    [REPLY_SENDER_OK]        = { 250, "2.1.0",  "Ok" },
    [REPLY_RCPT_OK]          = { 250, "2.1.5",  "Ok" },
    [REPLY_GO_AHEAD]         = { 354, NULL,
                                 "End data with <CR><LF>.<CR><LF>" },
    [REPLY_START_TLS]        = { 220, "2.0.0",  "Ready to start TLS" },
    [REPLY_QUEUED]           = { 250, "2.0.0",  "Ok: queued as %s" },

    [REPLY_BAD_HELO]         = { 501, "5.5.4",  "Syntax: EHLO hostname" },
    [REPLY_HELO_FIRST]       = { 503, "5.5.1",
                                 "Error: send HELO/EHLO first" },
    [REPLY_NO_VRFY]          = { 502, "5.5.1",  "Command is disabled" },
    [REPLY_OFF]              = { 502, "5.5.1",
                                 "Error: command not implemented" },
    [REPLY_UNKNOWN]          = { 500, "5.5.1",
                                 "Error: command not recognized" },
    [REPLY_GARBLED]          = { 500, "5.5.2",  "Error: bad syntax: line "
                                 "too long, or NUL or CR inside" },
    [REPLY_BARE_LF]          = { 500, "5.5.2",  "Error: bare <LF> received" },
    [REPLY_NOT_SMTP]         = { 500, "5.5.1",
                                 "Error: command not recognized; "
                                 "closing transmission channel" },
    [REPLY_EARLY]            = { 554, "5.5.0",
                                 "Error: SMTP protocol synchronization" },
    [REPLY_NEED_MAIL]        = { 503, "5.5.1",  "Error: need MAIL command" },
    [REPLY_NEED_RCPT]        = { 503, "5.5.1",  "Error: need RCPT command" },
    [REPLY_NESTED_MAIL]      = { 503, "5.5.1",  "Error: nested MAIL command" },
    [REPLY_NO_VALID_RCPT]    = { 554, "5.5.1",  "Error: no valid recipients" },
    [REPLY_STARTTLS_SYNTAX]  = { 501, "5.5.4",  "Syntax: STARTTLS" },
    [REPLY_TLS_ACTIVE]       = { 503, "5.5.1",  "Error: TLS already active" },
    [REPLY_TLS_IN_MAIL]      = { 503, "5.5.1",
                                 "Error: MAIL transaction in progress" },
    [REPLY_NO_TLS]           = { 454, "4.7.0",
                                 "TLS not available due to local problem" },
    [REPLY_DATA_SYNTAX]      = { 501, "5.5.4",  "Syntax: DATA" },

    [REPLY_TOO_MANY_CLIENTS] = { 421, "4.3.2",
                                 "Error: too many connections" },
    [REPLY_TOO_MANY_OF_CLIENT] = { 421, "4.7.0",
                                 "Error: too many connections from your "
                                 "address" },
    [REPLY_TIMEOUT]          = { 421, "4.4.2",  "%s Error: timeout exceeded" },
    [REPLY_SLOW]             = { 421, "4.4.2",
                                 "%s Error: data rate too low" },
    [REPLY_STOPPING]         = { 421, "4.3.2",
                                 "%s Service not available, closing "
                                 "transmission channel" },
    [REPLY_TOO_MANY_ERRORS]  = { 421, "4.7.0",  "%s Error: too many errors" },
    [REPLY_TOO_MANY_UNKNOWN] = { 421, "4.7.0",
                                 "Error: too many unknown recipients" },

    [REPLY_MAIL_SYNTAX]      = { 501, "5.5.4",  "Syntax: MAIL FROM:<address>" },
    [REPLY_RCPT_SYNTAX]      = { 501, "5.5.4",  "Syntax: RCPT TO:<address>" },
    [REPLY_PARAM_SYNTAX]     = { 501, "5.5.4",  "Bad parameter syntax" },
    [REPLY_PARAM_TWICE]      = { 501, "5.5.4",  "Duplicate parameter" },
    [REPLY_PARAM_UNKNOWN]    = { 555, "5.5.4",  "Unsupported option" },
    [REPLY_BODY_SYNTAX]      = { 501, "5.5.4",  "Unsupported body type" },
    [REPLY_SIZE_SYNTAX]      = { 501, "5.5.4",  "Bad message size syntax" },
    [REPLY_RET_SYNTAX]       = { 501, "5.5.4",  "Bad RET parameter syntax" },
    [REPLY_ENVID_SYNTAX]     = { 501, "5.5.4",  "Bad ENVID parameter syntax" },
    [REPLY_NOTIFY_SYNTAX]    = { 501, "5.5.4",  "Bad NOTIFY parameter syntax" },
    [REPLY_ORCPT_SYNTAX]     = { 501, "5.5.4",  "Bad ORCPT parameter syntax" },
    [REPLY_BAD_SENDER]       = { 501, "5.1.7",  "Bad sender address syntax" },
    [REPLY_BAD_RCPT]         = { 501, "5.1.3",
                                 "Bad recipient address syntax" },
    [REPLY_NEED_UTF8]        = { 553, "5.6.7",  "Must declare SMTPUTF8 to "
                                 "send unicode address" },
    [REPLY_TOO_BIG]          = { 552, "5.3.4",
                                 "Message size exceeds fixed limit" },
    [REPLY_NO_ROOM]          = { 452, "4.3.1",  "Insufficient system storage" },
    [REPLY_TOO_MANY_RCPT]    = { 452, "4.5.3",  "Error: too many recipients" },
    [REPLY_UNKNOWN_USER]     = { 550, "5.1.1",  "Recipient address rejected: "
                                 "User unknown in local recipient table" },
    [REPLY_UNKNOWN_RELAY]    = { 550, "5.1.1",  "Recipient address rejected: "
                                 "User unknown in relay recipient table" },
    [REPLY_ALIAS_LOOP]       = { 554, "5.4.6",  "Recipient address rejected: "
                                 "alias database loop" },
    [REPLY_LOOKUP_FAILED]    = { 451, "4.3.0",  "Recipient address rejected: "
                                 "Temporary lookup failure" },
    [REPLY_OVER_QUOTA]       = { 452, "4.2.2",  "Recipient address rejected: "
                                 "Mailbox over quota" },
    [REPLY_RELAY_DENIED]     = { 550, "5.7.1",  "Relay access denied" },

    [REPLY_TOO_MANY_HOPS]    = { 554, "5.4.6",  "Error: too many hops" },
    [REPLY_NUL_DOT]          = { 550, "5.6.0",
                                 "Error: <NUL> before leading dot" },
    [REPLY_BARE_NEWLINE]     = { 550, "5.5.2",
                                 "Error: bare <CR> or <LF> received" },
    [REPLY_UNSTORED]         = { 451, "4.3.0",
                                 "Error: queue file write error" },
};
/* clang-format on */

static void begin_line(struct buf *b, unsigned code, const char *status)
{
    const char digits[4] = { (char)('0' + code / 100),
                             (char)('0' + code / 10 % 10),
                             (char)('0' + code % 10), ' ' };

    buf_add(b, digits, sizeof digits);
    if (status != NULL) {
        buf_adds(b, status);
        buf_adds(b, " ");
    }
}

/* conn_write() fails the connection when no block is left: without this reply
 * the client would match the next one to the wrong command. */
static void end_line(struct serve_session *s, struct buf *b)
{
    buf_adds(b, "\r\n");
    (void)conn_write(&s->conn, b->p, b->n);
}

void serve_reply(struct serve_session *s, enum serve_reply r, const char *arg)
{
    const char *text = replies[r].text, *at = strstr(text, "%s");
    char line[LINE_MAX_OCTETS];
    struct buf b = BUF_ON(line);

    begin_line(&b, replies[r].code, replies[r].status);
    buf_add(&b, text, at == NULL ? strlen(text) : (size_t)(at - text));
    if (at != NULL) {
        buf_adds(&b, arg);
        buf_adds(&b, at + 2);
    }
    end_line(s, &b);
}

void serve_reply_close(int fd, enum serve_reply r)
{
    char line[LINE_MAX_OCTETS];
    struct buf b = BUF_ON(line);

    begin_line(&b, replies[r].code, replies[r].status);
    buf_adds(&b, replies[r].text);
    buf_adds(&b, "\r\n");
    (void)!send(fd, b.p, b.n, MSG_NOSIGNAL);
    close(fd);
}

void serve_reply_extensions(struct serve_session *s)
{
    const struct conf *c = s->env->conf;
    char text[512];
    struct buf b = BUF_ON(text);

    buf_addf(&b, "250-%s greets you\r\n250-PIPELINING\r\n", c->hostname);
    buf_addf(&b, "250-SIZE %lld\r\n250-8BITMIME\r\n",
             c->serve.max_message_size);
    if (serve_session_offers_tls(s))
        buf_adds(&b, "250-STARTTLS\r\n");
    buf_adds(&b, "250-SMTPUTF8\r\n");
    if (serve_session_offers_dsn(s))
        buf_adds(&b, "250-DSN\r\n");
    if (addr_is_unix(&s->peer)) /* sendmail -odq */
        buf_adds(&b, "250-XQUEUEONLY\r\n");
    buf_adds(&b, "250 ENHANCEDSTATUSCODES\r\n");
    (void)conn_write(&s->conn, b.p, b.n);
}

struct verdict serve_reject(enum serve_reply r)
{
    return (struct verdict){ .kind = VERDICT_REJECT,
                             .code = replies[r].code,
                             .status = replies[r].status,
                             .text = replies[r].text };
}

/* Add text and detail of the verdict; %s stands for the name of this host. */
static void add_text(struct serve_session *s, const struct verdict *v,
                     struct buf *b)
{
    const char *text = v->text;

    if (strncmp(text, "%s", 2) == 0) {
        buf_adds(b, s->env->conf->hostname);
        text += 2;
    }
    buf_adds(b, text);
    if (v->detail.n > 0) {
        buf_adds(b, ": ");
        buf_add(b, v->detail.p, v->detail.n);
    }
}

void serve_refuse(struct serve_session *s, const struct verdict *v,
                  const char *what)
{
    char peer[ADDR_TEXT], line[LINE_MAX_OCTETS];
    struct buf b = BUF_ON(line);

    unsigned weight = v->code >= 500 ? REFUSAL : DEFERRAL;
    s->refused = (unsigned short)(s->refused + weight);
    if (s->refused > ENOUGH)
        s->refused = ENOUGH;
    begin_line(&b, v->code, v->status);
    size_t head = b.n;
    add_text(s, v, &b);
    size_t text = b.n - head;
    end_line(s, &b);
    serve_session_log_connect(s);
    addr_text(peer, &s->peer);
    LOG(LOG_INFO, "serve.reject", LS("sid", s->sid), LS("client", peer),
        LN("code", v->code), LS("enhanced", v->status), LS("what", what),
        LB("why", line + head, text), LS("check", v->check));
}

bool serve_refused_enough(const struct serve_session *s)
{
    return !s->trusted && s->refused >= ENOUGH;
}
