/* queue/delivery.h - a message and up to 100 of its recipients, for one peer.
 *
 * Made by the queue's owner, given away, and given back with an answer for each
 * recipient, for queue/result.h.  The list that holds it owns it; nothing in
 * it is shared between threads. */
#ifndef MTA_QUEUE_DELIVERY_H
#define MTA_QUEUE_DELIVERY_H

#include "base/addr.h"
#include "base/body.h"
#include "base/list.h"
#include "base/msg_id.h"
#include "net/tls.h"
#include "smtp/status.h"
#include "spool/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DELIVERY_RCPT_MAX = 100,
    DELIVERY_TEXT_MAX = 480,
    DELIVERY_REPLIES_MAX = 32 * 1024, /* octets of long replies */
    DELIVERY_HOST_MAX = 256
};

enum outcome {
    OUTCOME_NONE, /* not tried, or its failure does not count */
    OUTCOME_DELIVERED,
    OUTCOME_DEFERRED,
    OUTCOME_FAILED
};

/* The result for a recipient, a session or a look-up, and its reason. */
struct answer {
    enum outcome outcome;
    struct smtp_status status;
    bool damaged;       /* the message in our queue is not what was written */
    bool misconfigured; /* a setting of ours has to change first: with
                         * OUTCOME_NONE, the mail waits and shows why */
    bool greylisted;    /* it has its own waits */
    unsigned char refusal; /* the owner's */
    uint32_t again;        /* after so many seconds, by the reply; 0: any */
    char text[DELIVERY_TEXT_MAX];
};

/* The text is printf-like; one that is cut to fit ends in "...". */
void answer_set(struct answer *a, enum outcome outcome, const char *status,
                const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The same for a text as it is, with a blank for each end of a line. */
void answer_set_text(struct answer *a, const char *text);
/* The body cannot be read: why is the errno of body_next(). */
void answer_set_unreadable(struct answer *a, int why);

struct rcpt; /* queue/message.h; for the main thread alone */
struct message;
struct spool_segment;

/* A notice to the sender; of a failure, it is durable before the slot is
 * written. */
enum notice {
    NOTICE_NONE,
    NOTICE_FAILED,
    NOTICE_DELAYED,
    NOTICE_RELAYED,
    NOTICE_DELIVERED,
    NOTICE_EXPANDED
};

struct delivery_rcpt {
    struct rcpt *rcpt;
    const char *address;
    const char *orcpt, *notify; /* RFC 3461, as received; NULL: not given */
    bool utf8;                  /* the address needs SMTPUTF8 */
    bool expired;               /* deferred, but its time was over: failed */
    unsigned char step;         /* of the transaction */
    unsigned char effect;       /* enum fault_mail, from a session */
    unsigned char tls, login;   /* enum conf_tls it accepts; as in route.h */
    bool verified;              /* the certificate of the host was checked */
    unsigned char notice;       /* and counts: for the main thread alone */
    unsigned attempts, rounds;
    char *host; /* of its own MX, where j->host is another's; owned */
    struct answer answer;
};

enum eight_bit { EIGHT_BIT_UNKNOWN, EIGHT_BIT_YES, EIGHT_BIT_NO };
struct long_reply;

/* The owner may embed it as the first member of what delivery_free() frees. */
struct delivery {
    struct list link;
    bool offered;    /* to a peer: this try is an attempt, otherwise a round */
    bool quiet;      /* if it is deferred, the log has no line of it */
    unsigned others; /* that had none since the last line */
    char host[DELIVERY_HOST_MAX]; /* of the peer */
    struct addr peer;             /* family 0: none was asked */
    char address[ADDR_PORT_TEXT]; /* the same as text, "" for none */
    struct tls_facts tls;         /* version NULL: in clear */
    bool local, sender_utf8;
    struct message *msg;
    struct spool_segment *pinned;
    struct body body;
    struct msg_id id;
    uint64_t arrival;
    uint32_t flags;          /* SPOOL_8BIT ... */
    const char *sender;      /* "": null reverse-path */
    const char *envid, *ret; /* RFC 3461; NULL: not given */
    unsigned char eight_bit; /* enum eight_bit: has the body such octets? */
    bool dsn_passed;         /* the peer supports DSN and notifies (RFC 3461) */
    char sid[SESSION_ID_TEXT];
    unsigned said;              /* RCPTs of the current transaction */
    struct long_reply *replies; /* for delivery_reply() */
    size_t nrcpt;
    struct delivery_rcpt *rcpt; /* in the same block of memory */
};

void delivery_free(struct delivery **j); /* accepts NULL; leaves NULL */

/* The peer, by the name of the recipient's own domain; "": none was asked. */
const char *delivery_host(const struct delivery *j,
                          const struct delivery_rcpt *r);

/* Keep a reply for delivery_reply() if an answer does not hold all of it.
 * Without memory, and beyond DELIVERY_REPLIES_MAX, the answer is what is left.
 */
void delivery_keep_reply(struct delivery *j, const char *text);

/* The answer's text in full, with "\n" between its lines; as it is in the
 * answer where no more was kept. */
const char *delivery_reply(const struct delivery *j, const struct answer *a);

/* The status of the result, for slot, log and notice alike: 5.4.7 when it
 * expired, whatever the last reply was (RFC 3463). */
struct smtp_status delivery_status(const struct delivery_rcpt *r);

/* Set this answer for every recipient that has none yet. */
void delivery_answer_all(struct delivery *j, const struct answer *a);
#endif
