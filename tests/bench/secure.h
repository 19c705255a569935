/* secure.h - what the tools of the bench share of OpenSSL. */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* pem: certificate and key of a server; NULL: a client, which looks at no
 * certificate. */
static inline SSL_CTX *secure_context(const char *pem)
{
    SSL_CTX *c =
        SSL_CTX_new(pem != NULL ? TLS_server_method() : TLS_client_method());
    static const unsigned char id[] = "bench";

    if (c == NULL ||
        (pem != NULL && (SSL_CTX_use_certificate_chain_file(c, pem) != 1 ||
                         SSL_CTX_use_PrivateKey_file(
                             c, pem, SSL_FILETYPE_PEM) != 1))) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX_set_session_id_context(c, id, sizeof id - 1);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    return c;
}

static inline SSL *secure_start(SSL_CTX *c, int fd, int server)
{
    SSL *s = SSL_new(c);

    if (s == NULL || SSL_set_fd(s, fd) != 1)
        exit(1);
    if (server)
        SSL_set_accept_state(s);
    else
        SSL_set_connect_state(s);
    return s;
}

/* 1: done; 0: later; -1: failed. */
static inline int secure_handshake(SSL *s)
{
    ERR_clear_error();
    int n = SSL_do_handshake(s);

    return n == 1                                           ? 1
           : SSL_get_error(s, n) == SSL_ERROR_WANT_READ ? 0
                                                           : -1;
}

/* As recv(); -1 with *later: nothing now. */
static inline ssize_t secure_read(SSL *s, void *to, size_t n, int *later)
{
    ERR_clear_error();
    int got = SSL_read(s, to, (int)n);

    *later = got <= 0 && SSL_get_error(s, got) == SSL_ERROR_WANT_READ;
    return got > 0 ? got : *later ? -1 : 0;
}
#endif
