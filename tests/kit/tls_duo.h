/* tls_duo.h - two conns in one loop, or one and an OpenSSL of the test's. */
#ifndef MTA_TEST_TLS_DUO_H
#define MTA_TEST_TLS_DUO_H

#include "certs.h"

#include "net/conn.h"

#include <openssl/ssl.h>

enum { DUO_BLOCKS = 64, DUO_LONG_MS = 60000 };

struct side {
    struct conn c;
    char seen[64];    /* a letter for each event; input in a row is one */
    char text[100000]; /* input taken */
    size_t n;
    void (*then)(struct side *s, enum conn_event ev);
};

struct duo {
    struct loop *loop;
    struct conn_env env;
    struct side a, b; /* client and server */
    int peer;         /* instead of one of them: the test's end, or -1 */
    SSL *bare;        /* on it, or NULL */
    struct cert_made ca, other_ca, ec, rsa;
    struct tls_context *server, *client;
};

extern struct duo duo;

void duo_set_up(void);
void duo_tear_down(void);
void duo_new_server(const struct cert_made *cert, bool tickets);
void duo_close_all(void); /* no block may be in use then */

/* a and b, in clear. */
void duo_open_both(void);

/* One of ours, the other end is the test's. */
void duo_open_one(struct side *s);

/* duo.bare on the test's end, nothing sent yet; method of either role. */
void duo_bare(const SSL_METHOD *method, int version);

void duo_start(struct side *s, struct tls_context *t, const struct tls_want *w);
void duo_secure(const struct tls_want *w, const char *name); /* a and b */
/* s by duo.bare. */
void duo_secure_bare(struct side *s, const char *name);

void duo_turn(int ms);
void duo_expect(struct side *s, const char *events, const char *name);
void duo_expect_text(struct side *s, const char *text);
void duo_take_all(struct side *s);
void duo_write(struct side *s, const char *text);
#endif
