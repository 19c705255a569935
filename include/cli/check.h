/* cli/check.h - the checks of `mta check`: a row of a table each.
 *
 * A check looks, changes nothing, and reports each thing that it has found:
 * ok, a warning, or a fault, and then how to mend it. */
#ifndef MTA_CLI_CHECK_H
#define MTA_CLI_CHECK_H

#include "cli/check_answer.h"
#include "config/conf.h"
#include "dns/mx.h"
#include "send/login.h"

#include <stdbool.h>

/* In the order of the exit status. */
enum check_state { CHECK_OK, CHECK_WARNING, CHECK_FAULT };

enum { CHECK_ADDRS_MAX = 8 };

/* An address that mail leaves from. */
struct check_addr {
    struct addr addr;
    bool hidden; /* behind NAT: the one that others see is not known */
};

struct checking {
    const struct conf *conf;
    struct loop *loop;
    struct dns *dns; /* NULL: there is none, by no_dns */
    struct err no_dns;
    bool json, terminal, colour;
    const char *check; /* the one that runs */
    enum check_state worst;
    size_t naddr;
    struct check_addr addr[CHECK_ADDRS_MAX];
};

/* One finding; fix: how to mend it, NULL with CHECK_OK. */
void check_say(struct checking *k, enum check_state s, const char *fix,
               const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A fault of what *e names; of a file that the caller may not read, a
 * warning. */
void check_say_err(struct checking *k, const char *fix, const struct err *e);

/* --- the DNS; these wait for the answer ----------------------------------- */

void check_ask(struct checking *k, const char *name, enum dns_type type,
               struct check_answer *a);

/* The same for what asks without a struct checking. */
struct check_lookup check_lookup(struct checking *k);

/* Run the loop until *done; false with *e: it cannot. */
bool check_wait(struct checking *k, const bool *done, struct err *e);

/* What of which name cannot be looked up, and why. */
void check_say_unknown(struct checking *k, const char *what, const char *name,
                       const char *why);

/* NULL: no memory; the caller frees it. */
struct mx_result *check_ask_mx(struct checking *k, const char *domain);

/* Is it one of the addresses that mail leaves from? */
bool check_is_ours(const struct checking *k, const struct addr *a);

/* Domains of local.domains that others can know; domains of mail from here:
 * that of rewrite.from, or else these, and those of dkim.keys.  NULL behind the
 * last. */
const char *check_local_domain(const struct checking *k, size_t n);
const char *check_domain(const struct checking *k, size_t n);

/* Does all mail to others leave by send.relay_host? */
bool check_is_relayed(const struct checking *k);

/* Do receivers find SPF in order for mail of the domain, from every address? */
bool check_spf_covers(struct checking *k, const char *domain);

/* --- tokens --------------------------------------------------------------- */

/* Have the command of send.relay_token print one, by a process like that of the
 * running system.  0, or -1: it was reported. */
int check_fetch_token(struct checking *k, struct logins *l);

/* --- the rows ------------------------------------------------------------- */

void check_settings(struct checking *k);
void check_clock(struct checking *k);
void check_resolver(struct checking *k);
void check_hostname(struct checking *k);
void check_addresses(struct checking *k);
void check_reverse(struct checking *k);
void check_mx(struct checking *k);
void check_spf(struct checking *k);
void check_dkim(struct checking *k);
void check_dmarc(struct checking *k);
void check_certificates(struct checking *k);
void check_smarthost(struct checking *k);
void check_port(struct checking *k);

/* The exit status of `mta check --health`: 0, or 1 when a listener or a control
 * socket of the running system has not answered for a second; then the reason
 * is on stderr. */
int check_health(const struct conf *c);
#endif
