/* cli/sendmail.h - the parts of `mta sendmail`, for src/cli/sendmail*.c alone.
 *
 * docs/sendmail.md has the options and the exit statuses.  Functions that
 * return int return an exit status of sysexits.h and have reported on stderr
 * what is not EX_OK, unless they have a struct err. */
#ifndef MTA_CLI_SENDMAIL_H
#define MTA_CLI_SENDMAIL_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "cli/sendmail_text.h"
#include "config/conf.h"
#include "smtp/address.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* --- sendmail_options.c ------------------------------------------------ */

enum sendmail_mode {
    SENDMAIL_SUBMIT,
    SENDMAIL_SMTP,    /* -bs */
    SENDMAIL_LIST,    /* -bp */
    SENDMAIL_VERIFY,  /* -bv, -bt */
    SENDMAIL_ALIASES, /* -bi, -I */
    SENDMAIL_DAEMON,  /* -bd, -bl */
    SENDMAIL_FLUSH,   /* -q */
    SENDMAIL_NOTHING, /* -bh, -bH */
    SENDMAIL_HELP
};

struct sendmail_options {
    enum sendmail_mode mode;
    const char *config;       /* -C; NULL: the usual file */
    const char *sender;       /* -f; NULL: not given */
    const char *name;         /* -F; NULL: not given */
    const char *notify, *ret; /* -N, -R; NULL: not given */
    const char *envid;        /* -V; the same */
    bool from_text;           /* -t */
    bool dots;                /* -i: a line of one dot is text */
    bool eight_bit;           /* -B 8BITMIME */
    bool verbose;             /* -v */
    bool queue_only;          /* -odq: not tried before the queue is run */
    char queued;              /* of -q: 'I', 'R' or 'S', with ... */
    const char *queued_text;  /* ... this text; 0: all */
    const char *unknown;      /* the first option that nothing knows; or NULL */
    char **args;              /* recipients; in argv, which is rewritten */
    int nargs;
};

int sendmail_options(struct sendmail_options *o, int argc, char **argv);

/* "sendmail: text" on stderr.  Returns the status. */
int sendmail_fail(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- sendmail.c -------------------------------------------------------- */

struct sendmail_rcpt {
    struct list link;
    struct map_link by_address;
    char address[SMTP_ADDRESS_MAX];
};

struct sendmail_job {
    const struct sendmail_options *o;
    const struct conf *conf;
    const char *hostname; /* for bare names; "": the server has it */
    uint64_t max_size;
    unsigned max_rcpts;
    char sender[SMTP_ADDRESS_MAX];            /* "": the null reverse-path */
    char login[SMTP_ADDRESS_MAX], gecos[256]; /* of this user; "": not asked */
    struct list rcpts;
    struct map by_address;
    unsigned nrcpt;
    bool utf8; /* an address has octets beyond ASCII */
    struct sendmail_text text;
    char fields_room[4096];
    struct buf fields; /* added in front of the header */
    int status;        /* EX_OK, or that of a recipient that was left out */
};

/* --- sendmail_address.c ------------------------------------------------ */

/* The sender, and From where it is missing. */
int sendmail_sender(struct sendmail_job *j);
void sendmail_complete(struct sendmail_job *j);
/* Add the recipients of a list, an argument or the value of a field.  One that
 * is malformed is reported and left out. */
int sendmail_add(struct sendmail_job *j, struct span list);

/* --- sendmail_smtp.c --------------------------------------------------- */

enum sendmail_end {
    SENDMAIL_SENT,    /* or refused; *status has it, and it was reported */
    SENDMAIL_BUSY,    /* a 421 was the greeting */
    SENDMAIL_LOST,    /* the connection broke before the final dot was sent */
    SENDMAIL_UNKNOWN, /* it broke behind it */
    SENDMAIL_AWAY     /* there is no server; not of sendmail_smtp() */
};

/* Send the message over a connection to a server, which is closed. */
enum sendmail_end sendmail_smtp(const struct sendmail_job *j, int fd,
                                int *status);

/* --- sendmail_connect.c ------------------------------------------------ */

/* A connection to the server of the queue; -1 with *e. */
int sendmail_connect(const struct conf *c, struct err *e);
/* May this user write to the queue? */
bool sendmail_may_write(const struct conf *c);
/* A connection to a session of our own, in a child, which writes to the queue
 * as its owner.  -1 with *e.  */
int sendmail_serve(const struct conf *c, struct err *e);
/* Standard input and output are the client of that connection, which is
 * closed. */
int sendmail_relay(int fd);

/* --- sendmail_other.c -------------------------------------------------- */

/* The modes that another command serves. */
int sendmail_other(const struct sendmail_options *o);
#endif
