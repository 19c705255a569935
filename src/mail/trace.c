#include "mail/trace.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 78, /* RFC 5322 2.1.1: should; 998 is the must */
    DOMAIN_TEXT = 255,
    ADDRESS_TEXT = 330,
    PATH_TEXT = 900 /* of a path in a field of one line */
};

/* Words of one field, folded where the line would get too long. */
struct fold {
    struct buf *out;
    size_t line; /* where the current line began in out */
};

static void start_line(struct fold *f)
{
    buf_adds(f->out, "\r\n\t");
    f->line = f->out->n - 1;
}

static void put_word(struct fold *f, const char *word)
{
    bool first = f->out->p[f->out->n - 1] == '\t'; /* on its line */

    if (!first && f->out->n - f->line + 1 + strlen(word) > WIDTH)
        start_line(f);
    else if (!first)
        buf_addc(f->out, ' ');
    buf_adds(f->out, word);
}

/* Characters of host names and address literals that mean nothing in the syntax
 * of the field, so that no name can fake another element. */
static bool is_plain(char c)
{
    return ascii_is_alnum(c) || (c != '\0' && strchr("-._:[]+/@=", c) != NULL);
}

/* A name from a peer or the DNS; cut, never empty. */
static void harmless_name(char out[DOMAIN_TEXT + 1], const char *name)
{
    size_t n = 0;

    for (const char *p = name == NULL ? "" : name; *p && n < DOMAIN_TEXT; p++)
        out[n++] = is_plain(*p) ? *p : '?';
    out[n] = '\0';
    if (n == 0)
        memcpy(out, "unknown", sizeof "unknown");
}

/* An address keeps everything it may hold in quotes, but no line end, and no
 * angle bracket or blank outside of quotes.  False: it cannot be written
 * safely. */
static bool harmless_address(char *out, size_t size, const char *address)
{
    bool quoted = false;
    size_t n = 0;

    for (const char *p = address; *p != '\0'; p++) {
        if (ascii_is_control(*p) || n + 2 > size)
            return false;
        if (*p == '"')
            quoted = !quoted;
        else if (!quoted && strchr("<>() ;", *p) != NULL)
            return false;
        out[n++] = *p;
        if (quoted && *p == '\\') {
            if (p[1] == '\0' || ascii_is_control(p[1]) || n + 2 > size)
                return false;
            out[n++] = *++p;
        }
    }
    out[n] = '\0';
    return n > 0 && !quoted;
}

/* TCP-info of RFC 5321 4.4: `(NAME [ADDR])`. A name that is missing or not
 * confirmed by a forward look-up is left out, because readers of the field take
 * it for a fact. */
static void put_client(struct fold *f, const struct trace *t)
{
    char name[DOMAIN_TEXT + 1], word[2 * DOMAIN_TEXT + 8];
    struct buf w = BUF_ON(word);
    bool known = t->client_name != NULL && t->client_name[0] != '\0';

    harmless_name(name, !known              ? "unknown"
                        : t->name_confirmed ? t->client_name
                                            : "unverified");
    buf_addf(&w, "(%s", name);
    put_word(f, word);
    buf_init(&w, word, sizeof word);
    harmless_name(name, t->client);
    if (name[0] == '[')
        buf_addf(&w, "%s)", name);
    else
        buf_addf(&w, "[%s])", name);
    put_word(f, word);
}

/* As Postfix writes it; programs that read the field know that form. */
static void put_tls(struct fold *f, const struct trace *t)
{
    char bits[32];

    if (t->tls_version == NULL)
        return;
    snprintf(bits, sizeof bits, "(%d/%d", t->tls_bits, t->tls_of_bits);
    start_line(f);
    put_word(f, "(using");
    put_word(f, t->tls_version);
    put_word(f, "with");
    put_word(f, "cipher");
    put_word(f, t->tls_cipher);
    put_word(f, bits);
    put_word(f, "bits))");
}

static void put_named(struct fold *f, const char *what, const char *value)
{
    char name[DOMAIN_TEXT + 1];

    harmless_name(name, value);
    put_word(f, what);
    put_word(f, name);
}

/* As Postfix writes it. */
static void put_user(struct fold *f, unsigned uid)
{
    char word[16];

    snprintf(word, sizeof word, "%u)", uid);
    put_word(f, "(mta, from userid");
    put_word(f, word);
    start_line(f);
}

static void put_for(struct fold *f, const char *rcpt)
{
    char address[ADDRESS_TEXT], word[ADDRESS_TEXT + 4];
    struct buf w = BUF_ON(word);

    if (rcpt == NULL || !harmless_address(address, sizeof address, rcpt))
        return;
    buf_addf(&w, "<%s>", address);
    start_line(f);
    put_word(f, "for");
    put_word(f, word);
}

void trace_received(struct buf *out, const struct trace *t)
{
    struct fold f = { out, out->n };
    char id[MSG_ID_TEXT], date[CLOCK_RFC5322_MAX];

    msg_id_text(id, t->id);
    clock_rfc5322(date, t->when);
    buf_adds(out, "Received:");
    if (t->is_local) {
        put_named(&f, "by", t->by);
        put_user(&f, t->uid);
    } else {
        put_named(&f, "from", t->helo);
        put_client(&f, t);
        put_tls(&f, t);
        start_line(&f);
        put_named(&f, "by", t->by);
    }
    put_named(&f, "with", t->with);
    put_named(&f, "id", id);
    put_for(&f, t->rcpt);
    buf_addc(out, ';');
    put_word(&f, date);
    buf_adds(out, "\r\n");
}

void trace_tls(char out[TRACE_TLS_TEXT], const char *version,
               const char *cipher)
{
    if (version == NULL)
        memcpy(out, "none", sizeof "none");
    else
        snprintf(out, TRACE_TLS_TEXT, "%s/%s", version, cipher);
}

static void put_path(struct buf *out, struct span path)
{
    if (path.n > PATH_TEXT)
        path.n = PATH_TEXT;
    for (size_t i = 0; i < path.n; i++)
        buf_addc(out, ascii_is_control(path.p[i]) ? '?' : path.p[i]);
}

void trace_return_path(struct buf *out, struct span reverse_path)
{
    buf_adds(out, "Return-Path: <");
    put_path(out, reverse_path);
    buf_adds(out, ">\r\n");
}

void trace_delivered_to(struct buf *out, struct span address)
{
    buf_adds(out, "Delivered-To: ");
    put_path(out, address);
    buf_adds(out, "\r\n");
}
