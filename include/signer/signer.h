/* signer/signer.h - the process that alone has the keys of DKIM.
 *
 * The supervisor makes a channel, and both ends outlive the processes: a signer
 * that is forked again goes on with the requests that wait, a sender with the
 * replies.  A request names a key and the hash to be signed; the signer parses
 * nothing else. */
#ifndef MTA_SIGNER_SIGNER_H
#define MTA_SIGNER_SIGNER_H

#include "base/digest_key.h"
#include "config/conf.h"

enum { SIGNER_KEYS_MAX = 32 /* maximum of dkim.keys */, SIGNER_BATCH = 16 };

/* Of the supervisor: does the signer get on? */
struct signer_page;

struct signer_channel {
    int sender, signer; /* the two ends; -1: closed */
    struct signer_page *page;
    unsigned long seen; /* of the page, at the last look */
    unsigned still;     /* looks without progress ... */
    unsigned patience;  /* ... and how many it has; 0: as usual */
};

int signer_channel_open(struct signer_channel *c, struct err *e);
void signer_channel_close(struct signer_channel *c);

/* In a child: close the ends that are not its own. */
void signer_channel_keep(struct signer_channel *c, bool sender, bool signer);

/* Has it left a request unread for several looks in a row? */
bool signer_is_stuck(struct signer_channel *c);

/* Read each key of dkim.keys, as the signer will.  -1 with *e, which names the
 * setting. */
int signer_check_keys(const struct conf *c, struct err *e);

/* In a process of its own, as started: drops privileges, reads the keys,
 * confines itself, and signs until it is killed.  line: copies of files come on
 * it (handdown.h). */
int signer_run(const struct conf *c, const struct signer_channel *channel,
               int line, struct err *e);

/* --- the messages of the channel, for src/signer and src/send ------------- */

/* The settings that number the keys. */
uint64_t signer_settings(const struct conf *c);

enum signer_kind {
    SIGNER_WHO,   /* to the signer: introduce yourself */
    SIGNER_HELLO, /* from it, then and at its start and with other keys */
    SIGNER_SIGN,
    SIGNER_SIGNED
};

struct signer_head {
    uint32_t kind, n; /* n: what follows */
    uint64_t settings;
    uint64_t from; /* the sender that asks, by a number at random */
};

struct signer_hello {
    struct signer_head head; /* n: keys */
    uint64_t keys;           /* differs when a key does */
    unsigned char type[SIGNER_KEYS_MAX];
};

struct signer_ask {
    struct signer_head head;
    struct signer_request {
        uint64_t ticket;
        uint32_t key; /* its number in dkim.keys */
        unsigned char hash[DIGEST_SIZE];
    } request[SIGNER_BATCH];
};

struct signer_answer {
    struct signer_head head;
    struct signer_reply {
        uint64_t ticket;
        struct digest_signature signature; /* n 0: it could not be made */
    } reply[SIGNER_BATCH];
};
#endif
