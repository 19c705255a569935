#include "cli/check_smtp.h"

#include <stdio.h>
#include <string.h>

enum { PATIENCE_S = 10, BLOCKS = 64 };

static void end(struct check_talk *t, const char *why)
{
    if (t->over)
        return;
    t->over = true;
    snprintf(t->why, sizeof t->why, "%.*s", (int)sizeof t->why - 1, why);
}

static void take_lines(struct check_talk *t)
{
    struct span in, line;
    size_t used;

    while (!t->reply.done && (in = conn_input(&t->conn)).n > 0) {
        enum smtp_reply_result r = smtp_reply_take(&t->reply, in, &used, &line);
        if (used == 0 && r == SMTP_REPLY_MORE)
            return;
        conn_consume(&t->conn, used);
        if (r == SMTP_REPLY_BROKEN) {
            end(t, "it speaks no SMTP");
            return;
        }
        if (t->reply.lines > 1 && line.n > 4)
            smtp_ext_line(&t->ext, (struct span){ line.p + 4, line.n - 4 });
    }
}

static void on_conn(struct conn *c, enum conn_event ev)
{
    struct check_talk *t = LOOP_ENTRY(c, struct check_talk, conn);
    const char *why = conn_tls_error(c);

    switch (ev) {
    case CONN_CONNECTED: t->connected = true; return;
    case CONN_SECURED: t->secured = true; return;
    case CONN_INPUT: take_lines(t); return;
    case CONN_DRAINED: return;
    case CONN_EOF: end(t, "it closed the connection"); return;
    case CONN_TIMEOUT: end(t, "it does not answer"); return;
    case CONN_FAILED: end(t, why != NULL ? why : strerror(c->error)); return;
    }
}

static int wait_for(struct check_talk *t, const bool *done)
{
    struct err e;

    conn_set_timeout(&t->conn, PATIENCE_S);
    while (!t->over && !*done) {
        conn_flush_all(&t->conns);
        if (loop_turn(t->k->loop, -1, &e) < 0)
            end(t, e.text);
    }
    return *done ? 0 : -1;
}

static int read_reply(struct check_talk *t)
{
    smtp_reply_clear(&t->reply);
    memset(&t->ext, 0, sizeof t->ext);
    take_lines(t); /* what has come already */
    return wait_for(t, &t->reply.done) == 0 ? t->reply.status.code : -1;
}

int check_talk_begin(struct check_talk *t, struct checking *k,
                     const struct addr *to, const struct check_secure *first)
{
    struct err e;

    *t = (struct check_talk){ .k = k };
    if (conn_env_init(&t->conns, k->loop, BLOCKS, &e) != 0) {
        end(t, e.text);
        return -1;
    }
    t->open = true;
    if (conn_dial(&t->conn, &t->conns, to, on_conn, &e) != 0) {
        end(t, e.text);
        return -1;
    }
    if (wait_for(t, &t->connected) != 0 ||
        (first != NULL && check_talk_secure(t, first) != 0))
        return -1;
    int code = read_reply(t);
    if (code == 220)
        return 0;
    if (code > 0) {
        char text[300];
        snprintf(text, sizeof text, "it greets with %d %.240s", code,
                 t->reply.text);
        end(t, text);
    }
    return -1;
}

int check_talk_say(struct check_talk *t, const char *line)
{
    if (t->over || !conn_write(&t->conn, line, strlen(line)) ||
        !conn_write(&t->conn, "\r\n", 2))
        return -1;
    return read_reply(t);
}

int check_talk_hello(struct check_talk *t)
{
    char line[CONF_NAME_MAX + 8];

    snprintf(line, sizeof line, "EHLO %s", t->k->conf->hostname);
    return check_talk_say(t, line);
}

int check_talk_secure(struct check_talk *t, const struct check_secure *how)
{
    struct tls_want want = { .any_strength = how->any_strength };
    struct addr any;
    struct err e;

    if (how->host[0] != '[' && !addr_parse_ip(&any, span_of(how->host), 0))
        want.sni = how->host; /* RFC 6066 3: not an address */
    if (conn_start_tls(&t->conn, how->tls, &want, &e) != 0) {
        end(t, e.text);
        return -1;
    }
    return wait_for(t, &t->secured);
}

void check_talk_end(struct check_talk *t)
{
    if (!t->open)
        return;
    if (!t->over && conn_is_open(&t->conn)) {
        (void)conn_write(&t->conn, "QUIT\r\n", 6);
        conn_flush_all(&t->conns);
    }
    conn_close(&t->conn);
    conn_flush_all(&t->conns);
    conn_env_done(&t->conns);
    t->open = false;
}
