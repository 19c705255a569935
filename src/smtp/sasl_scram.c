/* sasl_scram.c - SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding.
 *
 *   client  n,,n=USER,r=NONCE
 *   server  r=NONCE-AND-ITS-OWN,s=SALT,i=ROUNDS
 *   client  c=biws,r=...,p=PROOF
 *   server  v=SIGNATURE, in one more challenge; its answer is empty */
#include "base/base64.h"
#include "base/digest.h"
#include "base/digest_hmac.h"
#include "smtp/sasl_private.h"

#include <string.h>

enum { SALT_MAX = 512, ROUNDS_PER_SLICE = 2000 };

/* The value of the attribute that comes next, which must be this one. */
static bool attribute(struct span *rest, char name, struct span *value)
{
    if (rest->n < 2 || rest->p[0] != name || rest->p[1] != '=')
        return false;
    size_t end = span_find(*rest, ',');
    *value = (struct span){ rest->p + 2, end - 2 };
    end += end < rest->n;
    *rest = (struct span){ rest->p + end, rest->n - end };
    return true;
}

/* A server without the user may report that here, too. */
static int refused(struct sasl *s, struct span in, struct err *e)
{
    struct span why;

    if (!attribute(&in, 'e', &why))
        return err_set(e, ERR_PROTO, 0, "a challenge that is not SCRAM");
    span_copy(s->denial, sizeof s->denial, why);
    return err_set(e, ERR_PERM, 0, "the server reports %.*s", span_clipped(why),
                   why.p);
}

static int first_message(struct sasl *s, struct buf *out, struct err *e)
{
    struct buf bare = BUF_ON(s->bare);

    buf_adds(&bare, "n=");
    sasl_add_name(&bare, s->login->user);
    buf_addf(&bare, ",r=%s", s->nonce);
    if (bare.full)
        return err_set(e, ERR_PERM, 0, "the user cannot be sent");
    buf_adds(out, "n,,");
    buf_add_span(out, buf_span(&bare));
    return 0;
}

struct server_first {
    struct span nonce;
    char salt[SALT_MAX + 1];
    size_t salt_n;
    unsigned rounds;
};

static int parse_first(struct sasl *s, struct server_first *f, struct span in,
                       struct err *e)
{
    struct buf salt = BUF_ON(f->salt);
    struct span rest = in, salt64, rounds;
    unsigned long long n = 0;
    size_t ours = strlen(s->nonce);

    if (!attribute(&rest, 'r', &f->nonce) || !attribute(&rest, 's', &salt64) ||
        !attribute(&rest, 'i', &rounds))
        return refused(s, in, e); /* m=: an extension that must be known */
    if (f->nonce.n <= ours || memcmp(f->nonce.p, s->nonce, ours) != 0)
        return err_set(e, ERR_PROTO, 0, "the nonce is not ours");
    if (base64_decode(&salt, salt64, e) != 0 || salt.n == 0)
        return err_set(e, ERR_PROTO, 0, "a salt that is none");
    if (!span_u64(rounds, SASL_ROUNDS_MAX, &n) || n < SASL_ROUNDS_MIN)
        return err_set(e, ERR_PROTO, 0, "%.*s rounds, not %d to %d",
                       span_clipped(rounds), rounds.p, SASL_ROUNDS_MIN,
                       SASL_ROUNDS_MAX);
    f->salt_n = salt.n;
    f->rounds = (unsigned)n;
    return 0;
}

static struct span octets(const unsigned char *p)
{
    return (struct span){ (const char *)p, HMAC_SIZE };
}

/* RFC 5802 3.  Also notes the signature that the server must have. */
static int prove(struct sasl *s, struct span auth_message,
                 unsigned char proof[HMAC_SIZE], struct err *e)
{
    unsigned char key[HMAC_SIZE], stored[HMAC_SIZE], server[HMAC_SIZE];
    const unsigned char *salted = s->salted.sum;
    int rc = -1;

    if (hmac_sha256(key, octets(salted), SPAN_LIT("Client Key"), e) == 0 &&
        digest_sha256(key, sizeof key, stored, e) == 0 &&
        hmac_sha256(proof, octets(stored), auth_message, e) == 0 &&
        hmac_sha256(server, octets(salted), SPAN_LIT("Server Key"), e) == 0 &&
        hmac_sha256(s->server_signature, octets(server), auth_message, e) == 0)
        rc = 0;
    for (size_t i = 0; rc == 0 && i < HMAC_SIZE; i++)
        proof[i] ^= key[i];
    pbkdf2_end(&s->salted);
    explicit_bzero(server, sizeof server);
    explicit_bzero(key, sizeof key);
    return rc;
}

static struct span nonce_of(struct span server_first)
{
    struct span nonce = { "", 0 };

    (void)attribute(&server_first, 'r', &nonce); /* it has been parsed */
    return nonce;
}

/* Begin to salt the password; sasl_scram_go_on() makes the response. */
static int salt_password(struct sasl *s, struct span in, struct err *e)
{
    struct server_first f;

    if (parse_first(s, &f, in, e) != 0 ||
        pbkdf2_begin(&s->salted, s->login->secret,
                     (struct span){ f.salt, f.salt_n }, f.rounds, e) != 0)
        return -1;
    memcpy(s->first, in.p, in.n);
    s->first_n = in.n;
    s->busy = true;
    return 1;
}

int sasl_scram_go_on(struct sasl *s, struct buf *out, struct err *e)
{
    char memory[sizeof s->bare + 2 * SASL_CHALLENGE_MAX];
    struct span first = { s->first, s->first_n }, nonce = nonce_of(first);
    struct buf message = BUF_ON(memory);
    unsigned char proof[HMAC_SIZE];

    int rc = pbkdf2_go_on(&s->salted, ROUNDS_PER_SLICE, e);
    if (rc <= 0)
        return rc == 0 ? 1 : -1;
    buf_addf(&message, "%s,", s->bare);
    buf_add_span(&message, first);
    buf_adds(&message, ",c=biws,r=");
    buf_add_span(&message, nonce);
    if (message.full)
        return err_set(e, ERR_BUG, 0, "no room for messages of SCRAM");
    if (prove(s, buf_span(&message), proof, e) != 0)
        return -1;
    s->busy = false;
    buf_adds(out, "c=biws,r=");
    buf_add_span(out, nonce);
    buf_adds(out, ",p=");
    base64_encode(out, octets(proof));
    return 0;
}

static int verify(struct sasl *s, struct span in, struct err *e)
{
    char memory[2 * HMAC_SIZE];
    struct buf got = BUF_ON(memory);
    struct span rest = in, signature;

    if (!attribute(&rest, 'v', &signature))
        return refused(s, in, e);
    if (base64_decode(&got, signature, e) != 0 || got.n != HMAC_SIZE ||
        !digest_same(got.p, s->server_signature, HMAC_SIZE))
        return err_set(e, ERR_PROTO, 0,
                       "the server's signature is not that of the password");
    s->proven = true;
    return 0;
}

int sasl_scram_step(struct sasl *s, struct span in, struct buf *out,
                    struct err *e)
{
    switch (s->step) {
    case 0: return first_message(s, out, e);
    case 1: return salt_password(s, in, e);
    case 2: return verify(s, in, e);
    default: return err_set(e, ERR_PROTO, 0, "a challenge too many");
    }
}
