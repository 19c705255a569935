/* mailbox/request.h - a copy for a mailbox, and what became of it.
 *
 * Plain data of both ends of the socketpair between `deliver` and a mailbox
 * process: deliver asks with mailbox/client.h, mailbox/process.h does the
 * work.  docs/mailbox.md describes the octets on the way. */
#ifndef MTA_MAILBOX_REQUEST_H
#define MTA_MAILBOX_REQUEST_H

#include "base/body.h"
#include "base/msg_id.h"
#include "base/span.h"
#include "smtp/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MAILBOX_KEY_MAX = 64 + 1 + 255 + 1, /* "joe@example.com" and NUL */
    MAILBOX_ADDRESS_MAX = 1024, /* octets of reverse_path, of delivered_to */
    MAILBOX_WINDOW = 768        /* copies in flight at one process, at most */
};

struct mailbox_request {
    uint64_t tag;    /* the caller's; stands in the answer */
    const char *key; /* "joe", or "joe@example.com": see mailbox_key_valid() */
    struct span reverse_path; /* for Return-Path; empty: null */
    struct span delivered_to; /* the address it was accepted for */
    struct body body;         /* in a file, its front included */
    struct msg_id id;         /* id, part and slot name the copy: the file in */
    uint64_t part; /* a Maildir is called SECONDS.ID-PART-SLOT.HOST */
    uint16_t slot;
    uint64_t arrival; /* us since 1970; gives SECONDS */
    bool look_first;  /* a crash may have left the copy: look for it in cur
                         too, and report it as delivered if it is there */
};

enum mailbox_outcome {
    MAILBOX_DELIVERED,
    MAILBOX_DEFERRED, /* later may work: disk, quota, lock, look-up */
    MAILBOX_FAILED,   /* no such user 5.1.1, too large for ever 5.2.3 */
    MAILBOX_ADMIN     /* waits for a repair: owner, type, permission */
};

/* status.code is 0, its class 2 (delivered), 4 or 5.  Of the flags at most
 * one is set. */
struct mailbox_answer {
    uint64_t tag;
    enum mailbox_outcome outcome;
    struct smtp_status status;
    bool disk_full;  /* of mail_dir */
    bool over_quota; /* the user's; or a disk of its own is full */
    bool damaged;    /* the body is not as it was written: our queue */
    char text[200];  /* for notices: never a path or an id of a user */
    char why[200];   /* for the log: call, path and system error; "" when
                        delivered */
};

/* Can this be the name of a mailbox?  No "/", no leading dot, no control
 * characters, no end ".lock", 1 .. 64 octets. */
bool mailbox_name_valid(struct span user);

/* Can this be a key: a name, or name@domain with a domain that can be the
 * name of a directory?  The last "@" divides. */
bool mailbox_key_valid(struct span key);
#endif
