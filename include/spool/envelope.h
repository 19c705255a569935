/* spool/envelope.h - build and read the envelope of a message.
 *
 * An envelope is a row of fields: one byte of type, two of length, content.
 * Recipient number i has slot i.  A field that describes a recipient follows
 * it.  Readers skip types that they do not know.  docs/spool.md has the
 * bytes. */
#ifndef MTA_SPOOL_ENVELOPE_H
#define MTA_SPOOL_ENVELOPE_H

#include "base/chain.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum spool_field {
    SPOOL_F_SENDER = 1, /* reverse-path, without <>; empty: null; the first */
    SPOOL_F_RCPT = 2,   /* forward-path, without <> */
    SPOOL_F_SID = 3,    /* session that accepted it */
    SPOOL_F_CLIENT = 4, /* address it came from */
    SPOOL_F_HELO = 5,
    SPOOL_F_REPLACES = 6, /* of a child: slots of its parent */
    SPOOL_F_HERE = 7,     /* of the recipient before: its address literal is
                           * ours, so it is local whatever its domain; empty */
    SPOOL_F_MAILBOX = 8,  /* of the recipient before: the key of its mailbox;
                           * aliases are done */
    SPOOL_F_TABLES = 9,   /* of a child in the other queue: since when its
                           * maker has the tables by which it is there */
    SPOOL_F_TLS = 10,     /* of that session, as the log has it */
    SPOOL_F_UID = 11,     /* with a client of a Unix socket: its user id, in
                           * decimal digits */
    SPOOL_F_ENVID = 16,
    SPOOL_F_RET = 17, /* DSN, RFC 3461: of the message */
    SPOOL_F_ORCPT = 18,
    SPOOL_F_NOTIFY = 19, /* of the recipient before */
    /* Late fields: */
    SPOOL_F_BODY_HASH = 32, /* of DKIM: 32 octets, SHA-256 of the relaxed body
                             */
    SPOOL_F_REWRITTEN = 33  /* what rewriting did, lines apart by "\n" */
};
enum { SPOOL_FIELD_HEAD = 3, SPOOL_FIELD_MAX = 4000 };

/* Append a field.  False: the blocks are used up, or the content is longer
 * than SPOOL_FIELD_MAX; nothing was added. */
bool spool_envelope_add(struct chain *env, struct pool *blocks,
                        enum spool_field type, struct span content);

/* The sender of an envelope that is being built; room must hold the first
 * field. */
struct span spool_envelope_sender(const struct chain *env, char *room,
                                  size_t n);

/* Append the fields that name the slots which a child replaces, in rows:
 * ascending, n of them.  False as above, but some may be added. */
bool spool_replaces_add(struct chain *env, struct pool *blocks,
                        const uint16_t *slots, uint32_t n);
/* Take a row off the content of such a field.  False: the end, or malformed. */
bool spool_replaces_next(struct span *content, uint32_t *first, uint32_t *last);

/* Parse one field at the front of *rest.  False: the end, or malformed (then
 * *rest is not empty). */
bool spool_field_next(struct span *rest, enum spool_field *type,
                      struct span *content);
#endif
