/* cli/spf_private.h - for src/cli/spf*.c. */
#ifndef MTA_CLI_SPF_PRIVATE_H
#define MTA_CLI_SPF_PRIVATE_H

#include "cli/spf.h"

#include "base/buf.h"

/* RFC 7208 4.6.4 */
enum { SPF_LOOKUPS_MAX = 10, SPF_VOID_MAX = 2, SPF_HOSTS_MAX = 10 };

/* Names of the address by PTR, that lead back to it (RFC 7208 5.5). */
struct spf_names {
    bool known, none; /* were looked up; the look-up found no record */
    size_t n;
    char name[SPF_HOSTS_MAX][DNS_NAME_MAX];
};

struct spf_evaluation {
    const struct check_lookup *lookup;
    const struct addr *ip;
    const char *domain; /* of the sender, and of the macros s and o */
    const char *helo;
    unsigned lookups, voids;
    bool is_void; /* the term at hand counts as one of voids */
    struct spf_names names;
    char *why; /* the term that decided */
    size_t why_size;
};

const struct spf_names *spf_names(struct spf_evaluation *x);

/* Is it that domain, or below it? */
bool spf_is_below(const char *name, const char *domain);

/* --- terms (RFC 7208 4.6.1, 5, 6) ----------------------------------------- */

enum spf_kind {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT,
    SPF_EXP,
    SPF_UNKNOWN_MODIFIER
};

struct spf_term {
    struct span whole; /* without its qualifier */
    enum spf_kind kind;
    enum spf_result result; /* when it matches */
    struct span domain;     /* with macros; empty: none */
    struct addr ip;         /* of SPF_IP4, SPF_IP6 */
    unsigned v4, v6;        /* lengths of prefixes */
};

/* The next term of a record.  1; 0: the end; -1: t->whole is malformed. */
int spf_next_term(struct spf_term *t, struct span *rest);

/* --- macros (RFC 7208 7) -------------------------------------------------- */

/* letters: those that may be used. */
bool spf_macros_valid(struct span text, const char *letters);
bool spf_domain_valid(struct span text);

/* A valid domain with its macros; domain: the one of the record.  False: it is
 * too long to be computed. */
bool spf_expand(char out[DNS_NAME_MAX], struct spf_evaluation *x,
                struct span text, const char *domain);
#endif
