/* smtp/command.h - parse a command line (RFC 5321 4.1).
 *
 * Pure functions, no allocation; spans point into the line given. */
#ifndef MTA_SMTP_COMMAND_H
#define MTA_SMTP_COMMAND_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum smtp_verb {
    SMTP_HELO,
    SMTP_EHLO,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_RSET,
    SMTP_QUIT,
    SMTP_VRFY,
    SMTP_NOOP,
    SMTP_HELP,
    SMTP_EXPN,
    SMTP_STARTTLS,
    SMTP_AUTH,
    SMTP_BDAT,
    SMTP_UNKNOWN
};

enum {
    SMTP_COMMAND_MAX = 2048, /* octets with CRLF; RFC 5321: 512 and more */
    SMTP_PARAMS_MAX = 16
};

struct smtp_param {
    struct span key, value; /* value.p NULL: there was no "=" */
};

struct smtp_command {
    enum smtp_verb verb;
    struct span word; /* the verb as it was written */
    struct span args; /* the rest, without blanks at the ends */
};

/* Parse a line without its CRLF.  "VERIFY" is VRFY.  False: it holds a NUL, a
 * bare CR or a bare LF.  Octets >= 0x80 are not checked here. */
bool smtp_command_parse(struct smtp_command *c, struct span line);
const char *smtp_verb_name(enum smtp_verb v);

/* The argument of MAIL or RCPT: "FROM:<path> KEY=VALUE ...".  `keyword` is
 * "FROM:" or "TO:".  One or more blanks after the colon are tolerated.  *path
 * is what stands between < and >, source route included.  params has room
 * for SMTP_PARAMS_MAX, more of them are SMTP_SYNTAX_PARAMS; *nparams is set
 * in every case.
 *
 * SMTP_SYNTAX_BARE: all is well except that the path has no < and >, as old
 * printers and scanners send it.  Everything is set as for SMTP_SYNTAX_OK:
 * the caller may accept it from clients that it knows. */
enum smtp_syntax {
    SMTP_SYNTAX_OK,
    SMTP_SYNTAX_BAD,    /* 501 5.5.4 */
    SMTP_SYNTAX_PARAMS, /* 501 5.5.4: a malformed ESMTP parameter */
    SMTP_SYNTAX_TWICE,  /* 501 5.5.4: one ESMTP parameter given twice */
    SMTP_SYNTAX_BARE    /* 501 5.5.4, but for clients of relay networks */
};
enum smtp_syntax smtp_path_args(struct span args, const char *keyword,
                                struct span *path, struct smtp_param *params,
                                size_t *nparams);

/* The argument of HELO or EHLO: an address literal, a domain, or another name
 * that misconfigured clients send (underscores, a hyphen at the end).  It must
 * be one printable word of <= 255 octets in valid UTF-8 without < > " and other
 * characters that are special to a shell, because it is copied into header
 * fields, logs and the scripts that read them.  An opening bracket must begin a
 * valid literal. */
bool smtp_helo_name(struct span args, struct span *name);
#endif
