/* mail/rewrite_private.h - one address; for src/mail/rewrite*.c alone. */
#ifndef MTA_MAIL_REWRITE_PRIVATE_H
#define MTA_MAIL_REWRITE_PRIVATE_H

#include "mail/rewrite.h"

struct rewrite_case {
    enum conf_rewrite_of of;
    bool forced;       /* rewrite.from is for it */
    struct span given; /* without <> */
    const char *what;  /* for the notes: "sender", "From" ... */
    char out[SMTP_ADDRESS_MAX];
};

/* False: it stays as it is; also what is no address. */
bool rewrite_one(struct rewrite_case *k, const struct conf *c,
                 struct rewrite_notes *notes);
#endif
