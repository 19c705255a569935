/* sasl.c - mechanisms of SASL, the client's side. */
#include "smtp/sasl.h"

#include "base/base64.h"
#include "smtp/sasl_private.h"

#include <string.h>

/* --- mechanisms without state ---------------------------------------- */

static int too_many(struct err *e)
{
    return err_set(e, ERR_PROTO, 0, "a challenge too many");
}

static int plain_step(struct sasl *s, struct span in, struct buf *out,
                      struct err *e)
{
    (void)in;
    if (s->step > 0)
        return too_many(e);
    buf_addc(out, '\0');
    buf_add_span(out, s->login->user);
    buf_addc(out, '\0');
    buf_add_span(out, s->login->secret);
    return 0;
}

/* Prompts differ from server to server; their order does not. */
static int login_step(struct sasl *s, struct span in, struct buf *out,
                      struct err *e)
{
    (void)in;
    if (s->step > 1)
        return too_many(e);
    buf_add_span(out, s->step == 0 ? s->login->user : s->login->secret);
    return 0;
}

/* --- tokens ---------------------------------------------------------- */

/* The challenge behind the first response is the reason of a refusal, in
 * JSON; the reply behind its answer is the refusal. */
static int note_denial(struct sasl *s, struct span in, struct err *e)
{
    size_t n = in.n < sizeof s->denial ? in.n : sizeof s->denial - 1;

    if (s->step > 1)
        return too_many(e);
    for (size_t i = 0; i < n; i++)
        s->denial[i] = in.p[i] >= ' ' && in.p[i] < 127 ? in.p[i] : ' ';
    s->denial[n] = '\0';
    return 0;
}

static int xoauth2_step(struct sasl *s, struct span in, struct buf *out,
                        struct err *e)
{
    if (s->step > 0)
        return note_denial(s, in, e); /* the answer is empty */
    buf_adds(out, "user=");
    buf_add_span(out, s->login->user);
    buf_adds(out, "\001auth=Bearer ");
    buf_add_span(out, s->login->secret);
    buf_adds(out, "\001\001");
    return 0;
}

/* RFC 5801 4: saslname, which RFC 5802 has for the user, too. */
void sasl_add_name(struct buf *out, struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == ',')
            buf_adds(out, "=2C");
        else if (name.p[i] == '=')
            buf_adds(out, "=3D");
        else
            buf_addc(out, name.p[i]);
}

static int bearer_step(struct sasl *s, struct span in, struct buf *out,
                       struct err *e)
{
    const struct sasl_login *l = s->login;

    if (s->step > 0) {
        buf_addc(out, '\001'); /* RFC 7628 3.2.3 */
        return note_denial(s, in, e);
    }
    buf_adds(out, "n,a=");
    sasl_add_name(out, l->user);
    buf_addf(out, ",\001host=%.*s\001port=%u\001auth=Bearer ", (int)l->host.n,
             l->host.p, l->port);
    buf_add_span(out, l->secret);
    buf_adds(out, "\001\001");
    return 0;
}

/* --- all of them ----------------------------------------------------- */

static const struct mechanism {
    const char *name;
    bool token, first;
    bool reads; /* challenges; those of others are prompts for people */
    sasl_step_fn *step;
} mechanisms[SASL_MECHANISMS] = {
    /* clang-format off */
    [SASL_SCRAM_SHA_256] = { "SCRAM-SHA-256", false, true,  true,  sasl_scram_step },
    [SASL_PLAIN] =         { "PLAIN",         false, true,  false, plain_step },
    [SASL_LOGIN] =         { "LOGIN",         false, false, false, login_step },
    [SASL_OAUTHBEARER] =   { "OAUTHBEARER",   true,  true,  true,  bearer_step },
    [SASL_XOAUTH2] =       { "XOAUTH2",       true,  true,  true,  xoauth2_step },
    /* clang-format on */
};

const char *sasl_name(enum sasl_mechanism m)
{
    return mechanisms[m].name;
}

bool sasl_takes_token(enum sasl_mechanism m)
{
    return mechanisms[m].token;
}

static bool offers(struct span words, const char *name)
{
    while (words.n > 0) {
        size_t n = span_find(words, ' ');
        if (span_is_nocase((struct span){ words.p, n }, name))
            return true;
        n += n < words.n;
        words = (struct span){ words.p + n, words.n - n };
    }
    return false;
}

enum sasl_mechanism sasl_choose(struct span offered, unsigned allowed)
{
    for (unsigned m = 0; m < SASL_MECHANISMS; m++)
        if ((allowed & 1u << m) && offers(offered, mechanisms[m].name))
            return (enum sasl_mechanism)m;
    return SASL_NONE;
}

void sasl_begin(struct sasl *s, enum sasl_mechanism m,
                const struct sasl_login *login,
                const unsigned char random[SASL_NONCE * 3 / 4])
{
    struct buf nonce = BUF_ON(s->nonce);

    memset(s, 0, sizeof *s);
    s->mechanism = m;
    s->login = login;
    base64_encode(&nonce,
                  (struct span){ (const char *)random, SASL_NONCE * 3 / 4 });
}

bool sasl_speaks_first(const struct sasl *s)
{
    return mechanisms[s->mechanism].first;
}

/* What would end a field early, in any mechanism. */
static int check_login(const struct sasl *s, struct err *e)
{
    const struct sasl_login *l = s->login;

    if (span_find(l->user, '\0') < l->user.n || l->user.n == 0 ||
        l->user.n > SASL_USER_MAX)
        return err_set(e, ERR_PERM, 0, "the user cannot be sent");
    if (l->secret.n == 0)
        return err_set(e, ERR_PERM, 0, "the secret is empty");
    for (size_t i = 0; i < l->secret.n; i++)
        if (l->secret.p[i] == '\0' ||
            (sasl_takes_token(s->mechanism) &&
             (l->secret.p[i] <= ' ' || l->secret.p[i] >= 127)))
            return err_set(
                e, ERR_PERM, 0, "the %s has octets that cannot be sent",
                sasl_takes_token(s->mechanism) ? "token" : "password");
    return 0;
}

static int put(struct sasl *s, const struct buf *plain, struct buf *out,
               struct err *e)
{
    size_t room = out->cap - out->n < SASL_LINE_MAX - 2 ? out->cap - out->n
                                                        : SASL_LINE_MAX - 2;
    if (plain->full || BASE64_SIZE(plain->n) >= room)
        return err_set(e, ERR_PERM, 0, "%s",
                       sasl_takes_token(s->mechanism)
                           ? "the token is too long for AUTH"
                           : "the password is too long for AUTH");
    base64_encode(out, buf_span(plain));
    s->step++;
    return 0;
}

static int respond(struct sasl *s, struct span in, struct buf *plain,
                   struct buf *out, struct err *e)
{
    int rc = mechanisms[s->mechanism].step(s, in, plain, e);

    return rc == 0 ? put(s, plain, out, e) : rc;
}

int sasl_respond(struct sasl *s, struct span challenge, struct buf *response,
                 struct err *e)
{
    char memory[SASL_LINE_MAX], text[SASL_CHALLENGE_MAX];
    struct buf plain = BUF_ON(memory), in = BUF_ON(text);
    int rc = -1;

    if (s->busy)
        err_set(e, ERR_PROTO, 0, "a challenge too many");
    else if (challenge.n > SASL_CHALLENGE_MAX)
        err_set(e, ERR_PROTO, 0, "a challenge of more than %d octets",
                SASL_CHALLENGE_MAX);
    else if (check_login(s, e) == 0 && (!mechanisms[s->mechanism].reads ||
                                        base64_decode(&in, challenge, e) == 0))
        rc = respond(s, buf_span(&in), &plain, response, e);
    explicit_bzero(memory, sizeof memory);
    return rc;
}

int sasl_go_on(struct sasl *s, struct buf *response, struct err *e)
{
    char memory[2 * SASL_CHALLENGE_MAX];
    struct buf plain = BUF_ON(memory);
    int rc = sasl_scram_go_on(s, &plain, e);

    return rc == 0 ? put(s, &plain, response, e) : rc;
}

int sasl_succeed(const struct sasl *s, struct err *e)
{
    if (s->mechanism == SASL_SCRAM_SHA_256 && !s->proven)
        return err_set(e, ERR_PROTO, 0,
                       "the server did not prove that it has the password");
    if (s->step == 0)
        return err_set(e, ERR_PROTO, 0, "success before a response");
    return 0;
}

void sasl_end(struct sasl *s)
{
    pbkdf2_end(&s->salted);
    explicit_bzero(s, sizeof *s);
}
