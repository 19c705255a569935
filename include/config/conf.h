/* config/conf.h - every setting, with its value.
 *
 * conf_load() fills a struct conf from, strongest first: command-line flags,
 * -o key=value, the environment (MTA_ + key, dots as _, upper case; + _FILE: a
 * file with the value), the configuration file (libconfig), the defaults.  All
 * pass through the table in src/config/table.c, which also writes `mta config
 * --dump`, conf/mta.conf and the manual.  After loading the values do not
 * change; a reload makes a new struct. */
#ifndef MTA_CONFIG_CONF_H
#define MTA_CONFIG_CONF_H

#include "base/err.h"
#include "base/host_port.h"
#include "config/types.h"
#include "config/types_login.h"
#include "config/types_rewrite.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Times are seconds, sizes are bytes; enums are stored as int. */
struct conf {
    char hostname[CONF_NAME_MAX];
    char user[CONF_NAME_MAX], group[CONF_NAME_MAX];
    char queue_dir[CONF_PATH_MAX];
    long long history;      /* size of the ring in each queue; 0: none */
    long long stop_timeout; /* for open transactions; inner waits derive */
    struct {
        char file[CONF_PATH_MAX]; /* "-": standard output */
        int level, format;
    } log;
    struct {
        struct conf_addrs servers; /* empty: those of resolv.conf */
        long long timeout;
    } dns;
    struct conf_local local;
    struct {
        long long workers; /* mailbox processes */
    } deliver;
    struct {
        struct conf_listeners listen;
        long long workers, max_clients, max_clients_per_ip;
        struct conf_networks relay_networks;
        struct conf_relays relay_domains;
        int rdns, dsn;
        unsigned extra_commands; /* of enum conf_extra */
        long long max_message_size, max_recipients;
        long long command_timeout, data_timeout, session_timeout;
        long long max_errors, max_unknown;
        long long min_rate;    /* octets a second; 0: off */
        long long body_memory; /* of all workers together */
        int early_talk, bare_newline;
        struct conf_files tls_cert, tls_key; /* pairs, by position */
        int tls_tickets;                     /* 0: off */
    } serve;
    struct {
        long long workers;
        long long queue_lifetime, retry_min, retry_max, warn_after;
        long long port;
        struct conf_hops relay_host; /* the first that works */
        char relay_user[CONF_NAME_MAX];
        char relay_password[CONF_SECRET_MAX];
        unsigned relay_auth; /* of enum conf_auth; 0: the best one offered */
        struct conf_token relay_token;
        struct conf_logins logins;
        int tls;                    /* enum conf_tls, where no rule has one */
        char tls_ca[CONF_PATH_MAX]; /* empty: the system's */
        struct conf_tls_rules tls_policy;
        long long session_linger;
        long long session_messages; /* 0: as many as the peer takes */
        int chunking;               /* 0: off */
        struct conf_routes routes;
        struct conf_providers providers;
    } send;
    struct {
        struct conf_dkim_keys keys;
    } dkim;
    struct conf_rewriting rewrite;
    char (*origin)[CONF_ORIGIN_MAX]; /* of each row of the table */
};

/* One override from the command line, in order; later ones win.  `where` is
 * for messages: "--port", "-o"; what begins with "--" is a flag and stronger
 * than -o.  A list flag given again adds to the list.  A flag for
 * serve.listen may name half of an address: ":2525" changes the port of all,
 * "127.0.0.1" has the port of the first. */
struct conf_override {
    const char *key, *value, *where;
};

typedef void conf_warn_fn(void *ctx, const char *text);

struct conf_source {
    const char *file; /* NULL: MTA_CONFIG, else /etc/mta/mta.conf if there */
    const struct conf_override *over;
    size_t nover;
    conf_warn_fn *warn; /* for faults that stop no start; NULL: none */
    void *warn_ctx;
};

/* 0; or -1 with *e naming file and line (or variable, or flag), the key, the
 * fault, and a valid form; *c is then empty.  Needs no network except to look
 * up the host's own name. */
int conf_load(struct conf *c, const struct conf_source *from, struct err *e);

/* Wipe the secrets, in a process that does not need them. */
void conf_wipe(struct conf *c);

/* Wipe secrets, free the lists; accepts a struct that is zero or not loaded. */
void conf_free(struct conf *c);

/* For a fault that only a use of the value shows: put "file:line: key: " in
 * front of *e, or the name of the variable or flag.  Returns -1. */
int conf_fault(const struct conf *c, const char *key, struct err *e);

/* Where the value came from: "FILE:LINE", the name of a variable or a flag, or
 * "default". */
const char *conf_place(const struct conf *c, const char *key);

/* The text of an element of a list, as the file has it between quotes. */
enum { CONF_ENTRY_TEXT = 2 * CONF_NAME_MAX + CONF_PATH_MAX + 32 };
void conf_entry(char out[CONF_ENTRY_TEXT], const struct conf *c,
                const char *key, size_t element);

/* The same values in both?  Ignores defaults that are measured at each load, as
 * that of serve.body_memory. */
bool conf_same(const struct conf *a, const struct conf *b);

/* The address with its path, which points into the listener. */
struct addr conf_listener_addr(const struct conf_listener *l);

/* For `mta config`: commented defaults; effective values with their origin
 * (load first, with the same source); the OPTIONS part of the man page. */
void conf_dump(FILE *out);
int conf_show(FILE *out, const struct conf_source *from, bool json,
              struct err *e);
void conf_man(FILE *out);
#endif
