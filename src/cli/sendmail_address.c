/* sendmail_address.c - the addresses of the envelope, and the From field. */
#include "cli/sendmail.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/msg_id.h"
#include "base/utf8.h"
#include "mail/address_list.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { NAME_TEXT = 128, WORD_OCTETS = 39 };

/* --- addresses --------------------------------------------------------- */

/* A bare name gets the name of this host, if that is known.  False, with *why:
 * malformed. */
static bool qualify(char out[SMTP_ADDRESS_MAX], struct span given,
                    const char *hostname, const char **why)
{
    struct smtp_address a;
    enum smtp_address_error bad = smtp_address_parse(&a, given);
    int n = -1;

    if (bad == SMTP_ADDRESS_OK)
        n = snprintf(out, SMTP_ADDRESS_MAX, "%.*s", (int)a.text.n, a.text.p);
    else if (bad == SMTP_ADDRESS_NO_DOMAIN)
        n = snprintf(out, SMTP_ADDRESS_MAX, "%.*s%s%s", (int)a.local.n,
                     a.local.p, *hostname != '\0' ? "@" : "", hostname);
    *why = smtp_address_why(n < 0 ? bad : SMTP_ADDRESS_TOO_LONG);
    return n > 0 && n < SMTP_ADDRESS_MAX;
}

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text & 0x80)
            return false;
    return true;
}

static int leave_out(struct sendmail_job *j, struct span given, const char *why)
{
    j->status = sendmail_fail(EX_DATAERR, "bad address '%.*s': %s",
                              given.n > 200 ? 200 : (int)given.n, given.p, why);
    return 0;
}

/* Equal recipients get one copy. */
static struct map_link *find(const struct sendmail_job *j, const char *address,
                             uint64_t hash)
{
    struct map_link *l = map_first(&j->by_address, hash);

    while (l != NULL &&
           strcmp(MAP_ENTRY(l, struct sendmail_rcpt, by_address)->address,
                  address) != 0)
        l = map_next(l);
    return l;
}

static int add(struct sendmail_job *j, const char *address)
{
    uint64_t hash = map_hash(address, strlen(address));

    if (find(j, address, hash) != NULL)
        return 0;
    if (j->nrcpt == j->max_rcpts)
        return sendmail_fail(EX_DATAERR,
                             "more than %u recipients "
                             "(serve.max_recipients)",
                             j->nrcpt);
    struct sendmail_rcpt *r = calloc(1, sizeof *r);
    if (r == NULL)
        return sendmail_fail(EX_TEMPFAIL, "no memory for recipients");
    snprintf(r->address, sizeof r->address, "%s", address);
    list_push(&j->rcpts, &r->link);
    map_add(&j->by_address, &r->by_address, hash);
    j->nrcpt++;
    j->utf8 |= !is_ascii(address);
    return 0;
}

static int take_recipient(void *ctx, const struct address_element *el)
{
    struct sendmail_job *j = ctx;
    char address[SMTP_ADDRESS_MAX];
    const char *why;

    if (el->addr.n > 0 && !qualify(address, el->addr, j->hostname, &why))
        return leave_out(j, el->addr, why);
    if (el->phrase || el->broken)
        (void)leave_out(j, span_trim(el->text),
                        el->phrase ? "words without an address"
                                   : "malformed list of addresses");
    return el->addr.n > 0 ? add(j, address) : 0;
}

int sendmail_add(struct sendmail_job *j, struct span list)
{
    struct address_list l;

    address_list_start(&l);
    int status = address_list_feed(&l, list, take_recipient, j);
    return status != 0 ? status : address_list_end(&l, take_recipient, j);
}

/* --- the sender -------------------------------------------------------- */

static void put_quoted(struct buf *b, struct span text)
{
    buf_addc(b, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_addc(b, '\\');
        buf_addc(b, text.p[i]);
    }
    buf_addc(b, '"');
}

static const char *usual(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* As a local part: accounts of other systems have names such as DOMAIN\user. */
static bool put_login(struct sendmail_job *j, const char *name)
{
    struct buf b = BUF_ON(j->login);
    struct smtp_address a;
    enum smtp_address_error bad = smtp_address_parse(&a, span_of(name));

    if (bad == SMTP_ADDRESS_OK || bad == SMTP_ADDRESS_NO_DOMAIN)
        buf_adds(&b, name);
    else
        put_quoted(&b, span_of(name));
    return !b.full;
}

/* The user that runs this; in a container it may be one without a name. */
static void login_name(struct sendmail_job *j)
{
    const struct passwd *pw = getpwuid(getuid());
    const char *name = pw != NULL ? pw->pw_name : usual("LOGNAME");
    char number[24];

    snprintf(number, sizeof number, "%lu", (unsigned long)getuid());
    if (name == NULL || !put_login(j, name))
        (void)put_login(j, number);
    if (pw != NULL && pw->pw_gecos != NULL)
        snprintf(j->gecos, sizeof j->gecos, "%s", pw->pw_gecos);
}

struct sender {
    struct sendmail_job *j;
    const char *why; /* it is malformed */
};

static int take_sender(void *ctx, const struct address_element *el)
{
    struct sender *s = ctx;
    struct sendmail_job *j = s->j;
    const char *why = "words without an address";

    if (el->addr.n == 0 && !el->phrase && !el->broken)
        return 0; /* "<>", or a comment */
    if (el->phrase || el->broken ||
        !qualify(j->sender, el->addr, j->hostname, &why))
        s->why = why;
    else
        j->utf8 |= !is_ascii(j->sender);
    return 1; /* the first */
}

/* NULL, or what is wrong with it. */
static const char *set_sender(struct sendmail_job *j, const char *given)
{
    struct sender s = { j, NULL };
    struct address_list l;

    j->sender[0] = '\0';
    address_list_start(&l);
    if (address_list_feed(&l, span_of(given), take_sender, &s) == 0)
        (void)address_list_end(&l, take_sender, &s);
    return s.why;
}

/* $EMAIL may be for other programs: what is no address does not count. */
int sendmail_sender(struct sendmail_job *j)
{
    const char *given = j->o->sender, *email = usual("EMAIL");

    if (given == NULL && email != NULL && set_sender(j, email) == NULL &&
        j->sender[0] != '\0')
        return EX_OK;
    if (given == NULL) {
        login_name(j);
        given = j->login;
    }
    const char *why = set_sender(j, given);
    return why == NULL
               ? EX_OK
               : sendmail_fail(EX_DATAERR, "bad sender address '%.200s': %s",
                               given, why);
}

/* --- fields ------------------------------------------------------------ */

/* Up to the first comma; "&" stands for the name of the user. */
static void expand_gecos(char out[NAME_TEXT], const char *gecos,
                         const char *login)
{
    struct buf b;

    buf_init(&b, out, NAME_TEXT);
    for (; *gecos != '\0' && *gecos != ','; gecos++) {
        size_t at = b.n;
        if (*gecos != '&')
            buf_addc(&b, *gecos);
        else
            buf_adds(&b, login);
        if (*gecos == '&' && b.n > at && out[at] >= 'a' && out[at] <= 'z')
            out[at] = (char)(out[at] - 'a' + 'A');
    }
}

/* No control characters: a name must not become a field.  "": none. */
static void full_name(struct sendmail_job *j, char out[NAME_TEXT])
{
    const char *name = j->o->name != NULL ? j->o->name : usual("NAME");

    if (name == NULL && j->o->sender == NULL) {
        if (j->login[0] == '\0')
            login_name(j);
        expand_gecos(out, j->gecos, j->login);
    } else {
        snprintf(out, NAME_TEXT, "%s", name != NULL ? name : "");
    }
    for (char *p = out; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

static bool is_utf8(struct span s)
{
    for (size_t n; s.n > 0; s = (struct span){ s.p + n, s.n - n })
        if ((n = utf8_length(s.p, s.n)) == 0)
            return false;
    return true;
}

/* RFC 2047: words of at most 75 characters, whole characters in each. */
static void put_encoded(struct buf *b, struct span name)
{
    while (name.n > 0) {
        size_t n = name.n < WORD_OCTETS ? name.n : WORD_OCTETS;
        while (n < name.n && n > 1 && ((unsigned char)name.p[n] & 0xc0) == 0x80)
            n--;
        buf_adds(b, "=?UTF-8?B?");
        base64_encode(b, (struct span){ name.p, n });
        buf_adds(b, "?= ");
        name = (struct span){ name.p + n, name.n - n };
    }
}

static void put_name(struct buf *b, struct span name)
{
    bool plain = true;

    for (size_t i = 0; i < name.n; i++)
        plain &= ascii_is_alnum(name.p[i]) ||
                 strchr(" !#$%&'*+-/=?^_`{|}~", name.p[i]) != NULL;
    if (name.n > 0 && plain) {
        buf_add_span(b, name);
        buf_addc(b, ' ');
    } else if (name.n > 0) {
        put_quoted(b, name);
        buf_addc(b, ' ');
    }
}

static void put_from(struct sendmail_job *j, const char *field)
{
    char name[NAME_TEXT], address[SMTP_ADDRESS_MAX];
    const char *why;

    full_name(j, name);
    snprintf(address, sizeof address, "%s", j->sender);
    if (address[0] == '\0') { /* a notice; the header needs an author */
        login_name(j);
        if (!qualify(address, span_of(j->login), j->hostname, &why))
            return;
    }
    struct span trimmed = span_trim(span_of(name));
    buf_addf(&j->fields, "%s: ", field);
    if (is_ascii(name))
        put_name(&j->fields, trimmed);
    else if (is_utf8(trimmed))
        put_encoded(&j->fields, trimmed);
    buf_addf(&j->fields, "<%s>\r\n", address);
}

/* The server adds Date and Message-ID where they are missing, and From, whose
 * name it does not know; Resent- fields are of the one that sends again. */
void sendmail_complete(struct sendmail_job *j)
{
    const struct sendmail_text *t = &j->text;
    char date[CLOCK_RFC5322_MAX], id[SESSION_ID_TEXT];

    if (!t->has_from)
        put_from(j, "From");
    if (!t->resent)
        return;
    if (!t->has_resent[0])
        put_from(j, "Resent-From");
    if (!t->has_resent[1]) {
        clock_rfc5322(date, clock_wall_us());
        buf_addf(&j->fields, "Resent-Date: %s\r\n", date);
    }
    if (!t->has_resent[2]) {
        session_id_new(id);
        buf_addf(&j->fields, "Resent-Message-ID: <%llu.%s@%s>\r\n",
                 (unsigned long long)clock_wall_us(), id, j->conf->hostname);
    }
}
