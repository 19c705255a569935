#include "send/login.h"

#include "base/clock.h"
#include "base/handdown.h"
#include "send/route.h"
#include "send/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OLD_MS = 45 * 60 * 1000,
    /* For the process to be there, and to answer. */
    ANSWER_MS = (TOKEN_SECONDS + 10) * 1000
};

struct login {
    const char *user; /* of the settings */
    const char *path; /* NULL: the secret is not in a file */
    unsigned mechanisms;
    size_t most;  /* octets of the secret */
    char *secret; /* NULL: not known yet */
};

struct logins {
    struct {
        struct loop *loop;
        struct loop_io io; /* fd -1: no process */
        struct loop_timer late;
        login_token_fn *fn;
        void *ctx;
        bool wanted, asked;
        bool renewed; /* not accepted since the last refusal */
        uint64_t since;
    } token;
    const struct conf *conf;
    size_t n;
    struct login login[]; /* by number, from ROUTE_RELAY_USER on */
};

static struct login *find(struct logins *l, unsigned number)
{
    return &l->login[number - ROUTE_RELAY_USER];
}

static bool is_of_command(const struct login *l)
{
    return l->path == NULL && l->most == SASL_TOKEN_MAX;
}

/* --- secrets -------------------------------------------------------------- */

static void wipe(char **secret)
{
    if (*secret != NULL)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

static char *keep(struct span secret)
{
    char *copy = malloc(secret.n + 1);

    if (copy != NULL)
        (void)span_copy(copy, secret.n + 1, secret);
    return copy;
}

/* The first line of a text. */
static struct span first_line(const char *text, size_t n)
{
    struct span line = { text, span_find((struct span){ text, n }, '\n') };

    return span_trim((struct span){
        line.p, line.n - (line.n > 0 && line.p[line.n - 1] == '\r') });
}

static int read_secret(char **secret, const struct login *l, struct err *e)
{
    char *text;
    size_t n;
    int rc = -1;

    *secret = NULL;
    if (handdown_read(&text, &n, l->path, e) != 0)
        return -1;
    struct span line = first_line(text, n);
    if (line.n == 0)
        err_set(e, ERR_USAGE, 0, "the first line of %s is empty", l->path);
    else if (line.n > l->most || span_find(line, '\0') < line.n)
        err_set(e, ERR_USAGE, 0, "the first line of %s is too long or has NUL",
                l->path);
    else if ((*secret = keep(line)) == NULL)
        err_set(e, ERR_TEMP, ENOMEM, "memory for logins");
    else
        rc = 0;
    explicit_bzero(text, n);
    free(text);
    return rc;
}

/* --- the settings --------------------------------------------------------- */

static struct login relay_login(const struct conf *c)
{
    const struct conf_token *t = &c->send.relay_token;
    unsigned all = c->send.relay_auth != 0 ? c->send.relay_auth : ~0u;
    bool token = t->source != CONF_TOKEN_NONE;

    return (struct login){
        .user = c->send.relay_user,
        .path = t->source == CONF_TOKEN_FILE ? t->path : NULL,
        .mechanisms = all & (token ? CONF_AUTH_TOKEN : CONF_AUTH_PASSWORD),
        .most = token ? SASL_TOKEN_MAX : SASL_PASSWORD_MAX,
    };
}

static struct login login_of(const struct conf_login *l)
{
    return (struct login){ .user = l->user,
                           .path = l->path,
                           .mechanisms = CONF_AUTH_PASSWORD,
                           .most = SASL_PASSWORD_MAX };
}

static const char *key_of(const struct logins *l, const struct login *x)
{
    return x == l->login ? "send.relay_token" : "send.logins";
}

static int read_all(struct logins *l, char *secret[], struct err *e)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->login[i].path != NULL && l->login[i].user[0] != '\0' &&
            read_secret(&secret[i], &l->login[i], e) != 0)
            return conf_fault(l->conf, key_of(l, &l->login[i]), e);
    return 0;
}

int logins_renew(struct logins *l, struct err *e)
{
    char **secret;
    int rc = -1;

    if (l == NULL)
        return 0;
    secret = calloc(l->n, sizeof *secret);
    if (secret == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for logins");
    rc = read_all(l, secret, e);
    for (size_t i = 0; i < l->n; i++) {
        if (rc == 0 && secret[i] != NULL) {
            wipe(&l->login[i].secret);
            l->login[i].secret = secret[i];
            secret[i] = NULL;
        }
        wipe(&secret[i]);
    }
    free(secret);
    return rc;
}

static void on_pair(struct loop_io *io, unsigned ready);
static void on_late(struct loop_timer *t);

int logins_open(struct logins **out, const struct conf *c, struct err *e)
{
    size_t n = 1 + c->send.logins.n;
    struct logins *l;

    *out = NULL;
    if (c->send.relay_user[0] == '\0' && n == 1)
        return 0;
    l = calloc(1, sizeof *l + n * sizeof l->login[0]);
    if (l == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for logins");
    l->n = n;
    l->conf = c;
    l->token.io = (struct loop_io){ .fd = -1, .fn = on_pair };
    l->token.late.fn = on_late;
    l->login[0] = relay_login(c);
    for (size_t i = 1; i < n; i++)
        l->login[i] = login_of(&c->send.logins.item[i - 1]);
    if (c->send.relay_password[0] != '\0' &&
        (l->login[0].secret = keep(span_of(c->send.relay_password))) == NULL)
        err_set(e, ERR_TEMP, ENOMEM, "memory for logins");
    else if (logins_renew(l, e) == 0)
        *out = l;
    if (*out != NULL)
        return 0;
    logins_close(&l);
    return -1;
}

int logins_check(const struct conf *c, struct err *e)
{
    struct logins *l;
    int rc = logins_open(&l, c, e);

    logins_close(&l);
    return rc;
}

static void drop_pair(struct logins *l)
{
    if (l->token.io.fd < 0)
        return;
    (void)loop_watch(l->token.loop, &l->token.io, 0, NULL);
    close(l->token.io.fd);
    l->token.io.fd = -1;
    l->token.asked = false;
}

void logins_close(struct logins **out)
{
    struct logins *l = *out;

    if (l == NULL)
        return;
    drop_pair(l);
    if (l->token.loop != NULL)
        loop_timer_clear(l->token.loop, &l->token.late);
    for (size_t i = 0; i < l->n; i++)
        wipe(&l->login[i].secret);
    free(l);
    *out = NULL;
}

/* --- for a session -------------------------------------------------------- */

static struct span put(char **at, const char *text)
{
    struct span s = { *at, strlen(text) };

    memcpy(*at, text, s.n + 1);
    *at += s.n + 1;
    return s;
}

struct session_login *session_login_new(const struct logins *l, unsigned number,
                                        const char *host, unsigned port)
{
    const struct login *x = &l->login[number - ROUTE_RELAY_USER];
    const char *secret = x->secret;

    if (secret == NULL)
        return NULL;
    size_t size = sizeof(struct session_login) + strlen(x->user) + 1 +
                  strlen(secret) + 1 + strlen(host) + 1;
    struct session_login *s = calloc(1, size);

    if (s == NULL)
        return NULL;
    char *at = s->text;
    s->number = (unsigned char)number;
    s->mechanisms = x->mechanisms;
    s->size = size;
    s->sasl.user = put(&at, x->user);
    s->sasl.secret = put(&at, secret);
    s->sasl.host = put(&at, host);
    s->sasl.port = port;
    return s;
}

void session_login_free(struct session_login **s)
{
    if (*s != NULL)
        explicit_bzero(*s, (*s)->size);
    free(*s);
    *s = NULL;
}

static bool is_below(const char *host, struct span domain)
{
    size_t n = strlen(host);

    return n > domain.n + 1 && host[n - domain.n - 1] == '.' &&
           span_eq_nocase((struct span){ host + n - domain.n, domain.n },
                          domain);
}

bool login_is_for(const struct conn *c, const char *hop, const char *host)
{
    return conn_tls_names(c, hop) ||
           (is_below(host, span_of(hop)) && conn_tls_names(c, host));
}

/* --- tokens that a command prints ---------------------------------------- */

void logins_attach(struct logins *l, struct loop *loop, login_token_fn *fn,
                   void *ctx)
{
    if (l == NULL)
        return;
    l->token.loop = loop;
    l->token.fn = fn;
    l->token.ctx = ctx;
}

static void answered(struct logins *l, const char *error)
{
    l->token.wanted = l->token.asked = false;
    loop_timer_clear(l->token.loop, &l->token.late);
    l->token.fn(l->token.ctx, error);
}

static void on_late(struct loop_timer *t)
{
    struct logins *l = LOOP_ENTRY(t, struct logins, token.late);

    answered(l, "no answer of the process that fetches tokens");
}

static void take_answer(struct logins *l, const char *text, size_t n)
{
    struct login *x = &l->login[0];
    char why[200];

    if (n > 1 && text[0] == TOKEN_GOOD) {
        wipe(&x->secret);
        x->secret = keep((struct span){ text + 1, n - 1 });
        l->token.since = clock_mono_ms();
        answered(l, x->secret != NULL ? NULL : "no memory for a token");
        return;
    }
    snprintf(why, sizeof why, "%.*s", n > 1 ? (int)n - 1 : 0, text + 1);
    answered(l, why);
}

static void on_pair(struct loop_io *io, unsigned ready)
{
    struct logins *l = LOOP_ENTRY(io, struct logins, token.io);
    char text[TOKEN_ANSWER_MAX];

    (void)ready;
    ssize_t n = recv(io->fd, text, sizeof text, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool asked = l->token.asked;
    if (n <= 0)
        drop_pair(l);
    if (asked && n <= 0)
        answered(l, "the process that fetches tokens has ended");
    else if (asked)
        take_answer(l, text, (size_t)n);
    explicit_bzero(text, sizeof text);
}

static void ask(struct logins *l)
{
    static const char question[] = { TOKEN_QUESTION };

    if (l->token.io.fd < 0 || l->token.asked)
        return;
    l->token.asked =
        send(l->token.io.fd, question, sizeof question,
             MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof question;
}

void logins_use_pair(struct logins *l, int fd)
{
    struct err e;

    if (l == NULL || l->token.loop == NULL) {
        close(fd);
        return;
    }
    drop_pair(l);
    l->token.io.fd = fd;
    if (loop_watch(l->token.loop, &l->token.io, LOOP_READ, &e) != 0) {
        close(fd);
        l->token.io.fd = -1;
    } else if (l->token.wanted) {
        ask(l);
    }
}

bool logins_busy(const struct logins *l)
{
    return l != NULL && l->token.wanted;
}

bool logins_ready(struct logins *l, unsigned number)
{
    struct login *x = find(l, number);
    bool old = clock_mono_ms() - l->token.since > OLD_MS;

    if (!is_of_command(x) || (x->secret != NULL && !old))
        return true;
    if (!l->token.wanted)
        loop_timer_set(l->token.loop, &l->token.late, ANSWER_MS);
    l->token.wanted = true;
    ask(l);
    return false;
}

bool logins_refused(struct logins *l, unsigned number)
{
    struct login *x = find(l, number);

    if (!is_of_command(x))
        return false;
    if (x->secret == NULL)
        return true; /* by a delivery of the same session */
    wipe(&x->secret);
    bool again = !l->token.renewed;
    l->token.renewed = true;
    return again;
}

void logins_accepted(struct logins *l, unsigned number)
{
    if (is_of_command(find(l, number)))
        l->token.renewed = false;
}
