/* net/tls_private.h - what conn.c, conn_in.c and conn_out.c see of TLS: a
 * stream that turns octets of the wire into plain ones and back.  It has no
 * descriptor and calls no owner.  For these, tls_stream.c and tls_context.c
 * alone. */
#ifndef MTA_NET_TLS_PRIVATE_H
#define MTA_NET_TLS_PRIVATE_H

#include "net/tls.h"

#include <time.h>

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

enum {
    TLS_HEADER = 5,
    TLS_PLAIN_MAX = 16384, /* in one record */
    TLS_RECORD_MAX = TLS_HEADER + TLS_PLAIN_MAX + 2048
};

struct conn_tls {
    struct ssl_st *ssl;
    struct ssl_session_st *session; /* the newest that the server gave */
    struct pool *blocks;
    struct chain raw;    /* from the wire: the part of a record, most often */
    struct chain wire;   /* for the wire, as it is */
    struct span rx;      /* whole records, while OpenSSL reads */
    struct conn *direct; /* takes a record if `wire` is empty, or NULL */
    struct tls_facts facts;
    bool server, secured, any_strength;
    bool pending; /* OpenSSL has plain octets of a record shown in part */
    bool tickets; /* nothing but tickets is in `wire`: it may wait */
    bool closed;  /* by the peer */
    bool ended;   /* by us */
    bool no_blocks;
    char error[160]; /* why it failed */
};

/* NULL with *e.  A client's first record is in `wire` then. */
struct conn_tls *tls_stream_new(struct tls_context *t, const struct tls_want *w,
                                struct pool *blocks, struct err *e);
void tls_stream_free(struct conn_tls **t); /* accepts NULL; leaves NULL */

enum tls_got { TLS_GOT, TLS_SECURED, TLS_CLOSED, TLS_FAILED };

/* Open the whole records at the front of *from and remove them from there; put
 * at most `room` plain octets to `to`, which may be where *from begins, and set
 * *n.  The last three outcomes end it early. */
enum tls_got tls_stream_open(struct conn_tls *t, struct span *from, char *to,
                             size_t room, size_t *n);

/* Would tls_stream_open() go on without more from the wire? */
bool tls_stream_has_more(const struct conn_tls *t);

/* The size of the record at the front of `raw`, or of its header as long as no
 * more is known. */
size_t tls_stream_record(const struct conn_tls *t);

/* Does the record that begins so bring plain octets?  n is 1 to TLS_HEADER. */
bool tls_stream_is_data(const struct conn_tls *t, const char *header, size_t n);

/* Move plain octets into records in `wire`, at most TLS_PLAIN_MAX, which `room`
 * has space for.  -1: failed. */
int tls_stream_seal(struct conn_tls *t, struct chain *plain, char *room);

/* Add the notice that nothing more follows, once. */
void tls_stream_end(struct conn_tls *t);

/* Note why the connection failed, unless the reason is known. */
void tls_stream_note(struct conn_tls *t, const char *what, int sys);

/* tls_context.c: for a new connection, and whether it is a server's. */
struct ssl_ctx_st *tls_context_ssl(const struct tls_context *t);
bool tls_context_is_server(const struct tls_context *t);

/* The reason in this thread's queue of OpenSSL, which is emptied: the last one
 * that is about TLS, else the first.  Never empty. */
const char *tls_reason(void);

/* When the certificate of a session was judged: sessions may be renewed for
 * ever. */
time_t tls_context_judged(const struct ssl_session_st *s);

/* tls_memory.c, once in a process that has a context: map the slots. */
void tls_memory_reserve(void);

/* Of a connection of a client: the stream that gets new sessions. */
void tls_context_set_stream(struct ssl_st *ssl, struct conn_tls *t);
#endif
