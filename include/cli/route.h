/* cli/route.h - where an address would go, as `mta route` reports it.
 *
 * The answer is that of the functions by which server, delivery and sender
 * decide; here it is only put together, with the setting that decided. */
#ifndef MTA_CLI_ROUTE_H
#define MTA_CLI_ROUTE_H

#include "config/conf.h"
#include "dns/mx.h"
#include "mail/rewrite.h"
#include "recipient/resolve.h"
#include "send/mx_ranks.h"
#include "send/route.h"

enum { ROUTE_SETTING_MAX = CONF_ENTRY_TEXT + CONF_ORIGIN_MAX + 128 };

enum route_decision {
    DECISION_LOCAL,  /* a mailbox of this host, or /dev/null */
    DECISION_EXPAND, /* by aliases */
    DECISION_REMOTE,
    DECISION_REJECT,
    DECISION_WAIT /* cannot be known now, or waits for a repair */
};

/* What a running sender knows of a peer (send/explain_lane.h). */
struct route_lane {
    bool known; /* a sender answered */
    char state[8];
    uint64_t until; /* wall clock, us; 0: there is no such time */
    unsigned rate, sessions;
    char session[SESSION_ID_TEXT], pace[CONF_NAME_MAX];
    char reason[DELIVERY_TEXT_MAX + 160];
};

/* A next hop: of send.relay_host each is one. */
enum { ROUTE_LANES_MAX = 8 };
struct route_hop {
    struct route route;
    struct mx_result mx;
    bool known; /* mx is there */
    struct mx_query *query;
    size_t n; /* 0: why has the reason */
    struct mx_candidate candidate[MX_CANDIDATES_MAX];
    struct route_lane lane[ROUTE_LANES_MAX]; /* of the first candidates */
    struct answer why;
};

/* What becomes of one address. */
struct route_target {
    struct route_target *next;
    enum route_decision decision;
    int status; /* exit status of the command */
    char address[LOCAL_ADDRESS_MAX];
    char setting[ROUTE_SETTING_MAX]; /* that decided */
    char why[640];                   /* "": nothing is wrong */
    char *mailbox;                   /* a path; NULL: none */
    bool is_mbox, exists, discarded;
    size_t nhops;
    struct route_hop *hop;
};

struct route_alias {
    struct route_alias *next;
    struct local_step step;
};

struct route_report {
    const struct conf *conf;
    char from[SMTP_ADDRESS_MAX], to[SMTP_ADDRESS_MAX]; /* rewritten; or "" */
    struct rewrite_notes rewrites; /* the rules that did it */
    struct span sender;            /* domain of --sender; empty: none */
    struct route_target asked;     /* the address of the command line */
    const char *accepted;          /* from which clients */
    struct route_alias *alias, **alias_end;
    struct route_target *target, **target_end; /* of DECISION_EXPAND */
    struct local *local;
};

/* The address is valid, and has a domain unless it is postmaster.  sender: an
 * address or a domain; empty: none.  0, or -1 with *e: the report cannot be
 * made.  route_report_free() in both cases. */
int route_report_make(struct route_report *r, const struct conf *c,
                      struct span address, struct span sender, struct err *e);
void route_report_free(struct route_report *r);

/* The worst of all targets. */
int route_report_status(const struct route_report *r);

void route_print_text(const struct route_report *r);
void route_print_json(const struct route_report *r);

/* For its parts: the next hops of a target that is sent on, with their hosts by
 * the DNS, and the verdict. */
int route_hops_find(const struct route_report *r, struct route_target *t,
                    struct span domain, struct err *e);

/* The hosts of send.relay_host, then those of send.logins that are none of
 * these; the caller frees t->hop. */
int route_hops_of_settings(const struct conf *c, struct route_target *t,
                           struct err *e);

/* Ask the sender, if one runs, for the lanes of all hops. */
void route_lanes_ask(const struct conf *c, struct route_target *t);

/* 'KEY "ELEMENT" (FILE:LINE)'; of a list with an element, else 'KEY
 * (FILE:LINE)'. */
enum { ROUTE_NO_ELEMENT = -1 };
void route_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                   const char *key, long element);
void route_tls_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                       const struct route *r);
void route_login_setting(char out[ROUTE_SETTING_MAX], const struct conf *c,
                         const struct route *r); /* "": no login */
#endif
