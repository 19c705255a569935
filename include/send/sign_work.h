/* send/sign_work.h - from a message in the queue to its DKIM-Signature fields,
 * but for the signatures themselves.  For src/send/sign_thread.c. */
#ifndef MTA_SEND_SIGN_WORK_H
#define MTA_SEND_SIGN_WORK_H

#include "base/digest_key.h"
#include "config/conf.h"
#include "mail/dkim_body.h"
#include "mail/dkim_header.h"
#include "send/sign_task.h"

enum {
    SIGN_KEYS_MAX = 4, /* keys of one domain */
    SIGN_PIECE = 16 * 1024
};

struct sign_field {
    unsigned key; /* number in dkim.keys */
    unsigned char hash[DIGEST_SIZE];
    char *text; /* up to the signature */
    size_t n;
    bool is_signed;
};

struct sign_work {
    struct sign_task *task;
    uint64_t ticket; /* of field 0, then in order */
    size_t nasked;   /* fields that the signer has */
    struct body_cursor at;
    struct dkim_header header;
    struct dkim_body *body; /* NULL: the hash is known */
    unsigned char body_hash[DIGEST_SIZE];
    bool looked, read;
    size_t nkeys, nfields, nsigned; /* fields have the keys before them */
    struct sign_field field[SIGN_KEYS_MAX];
};

/* What the works of a thread share. */
struct sign_kit {
    const struct conf *conf;
    const unsigned char *key_type; /* of each key, enum digest_key_type */
    struct digest *digest;
    char piece[SIGN_PIECE]; /* the begin of the message of this work: */
    const struct sign_work *of;
    size_t npiece;
};

/* Go on reading, a bounded amount: 0, call it again; 1: its keys are known,
 * none if it is not to be signed; -1: it failed, and the task has the answer.
 */
int sign_work_read(struct sign_kit *kit, struct sign_work *w);

/* Then, when the types of keys are known, make its fields.  0, or -1. */
int sign_work_make(struct sign_kit *kit, struct sign_work *w);

/* A field got its signature.  1: it was the last one, and the task has the
 * text; -1 as above. */
int sign_work_add(struct sign_work *w, size_t field,
                  const struct digest_signature *s);

void sign_work_free(struct sign_work **w);
#endif
