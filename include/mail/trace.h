/* mail/trace.h - the fields that a hop adds (RFC 5321 4.4). */
#ifndef MTA_MAIL_TRACE_H
#define MTA_MAIL_TRACE_H

#include "base/buf.h"
#include "base/msg_id.h"

#include <stdint.h>

struct trace {
    const char *helo;        /* as the client sent it */
    const char *client;      /* address as text, "192.0.2.1" or "IPv6:..." */
    const char *client_name; /* reverse DNS; NULL or "": not known */
    bool name_confirmed;
    bool is_local;    /* from a program of this host: of this user, and */
    unsigned uid;     /* nothing above counts */
    const char *by;   /* name of this host */
    const char *with; /* ESMTP, ESMTPS, SMTP, UTF8SMTP ... (RFC 3848, 6531) */
    const char *tls_version, *tls_cipher; /* NULL: in clear */
    int tls_bits, tls_of_bits;
    struct msg_id id;
    const char *rcpt; /* the "for" clause; NULL when there are several */
    uint64_t when;    /* wall clock, us */
};

enum { TRACE_MAX = 2048 };

/* "Received: ..." folded, with CRLF at the end.  Values are made harmless:
 * no line end, no control characters, comments balanced. */
void trace_received(struct buf *out, const struct trace *t);

/* "TLSv1.3/TLS_AES_256_GCM_SHA384", or "none" for NULL: how the log names the
 * protocol of a session. */
enum { TRACE_TLS_TEXT = 80 };
void trace_tls(char out[TRACE_TLS_TEXT], const char *version,
               const char *cipher);

/* "Return-Path: <...>" CRLF and "Delivered-To: ..." CRLF; at final delivery. */
void trace_return_path(struct buf *out, struct span reverse_path);
void trace_delivered_to(struct buf *out, struct span address);
#endif
