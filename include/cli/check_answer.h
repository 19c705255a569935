/* cli/check_answer.h - an answer of the DNS that is kept, and how to ask for
 * one: `mta check` by its resolver, a test from a table. */
#ifndef MTA_CLI_CHECK_ANSWER_H
#define MTA_CLI_CHECK_ANSWER_H

#include "base/addr.h"
#include "dns/resolver.h"

enum { CHECK_TEXT_MAX = 8192 };

struct check_answer {
    enum dns_status status;
    size_t n;
    struct dns_rr rr[DNS_RR_MAX]; /* text: in the memory below */
    size_t ntext;
    char text[CHECK_TEXT_MAX], why[400];
};

/* fn waits for the answer, and sets all of it. */
struct check_lookup {
    void (*fn)(void *ctx, const char *name, enum dns_type type,
               struct check_answer *a);
    void *ctx;
};
#endif
