/* config/conf.h - every setting, with its value.
 *
 * conf_load() fills a struct conf from, strongest first: command-line flags,
 * -o key=value, the environment (MTA_ + key, dots as _, upper case; the same
 * name + _FILE names a file that holds the value), the configuration file
 * (libconfig), the defaults.  All of them pass through one table in
 * src/config/table.c, which also writes `mta config --dump`, conf/mta.conf
 * and the manual.  After loading the values do not change; a reload makes a
 * new struct. */
#ifndef MTA_CONFIG_CONF_H
#define MTA_CONFIG_CONF_H

#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CONF_NAME_MAX = 256, CONF_TEXT_MAX = 1024, CONF_PATH_MAX = 1024 };

/* A list of strings; made once, exactly as long as it needs to be. */
struct conf_list {
    size_t n;
    char **item;
};

enum conf_log_level { CONF_DEBUG, CONF_INFO, CONF_WARN, CONF_ERROR };
enum conf_log_format { CONF_LOG_TEXT, CONF_LOG_JSON };
enum conf_mailbox { CONF_MAILDIR, CONF_MBOX };
enum conf_rdns { CONF_RDNS_OFF, CONF_RDNS_WARN, CONF_RDNS_REQUIRE };
enum conf_early_talk { CONF_EARLY_TALK_REJECT, CONF_EARLY_TALK_ACCEPT };
enum conf_newline { CONF_NEWLINE_REJECT, CONF_NEWLINE_NORMALIZE };
enum conf_tls {
    CONF_TLS_NONE,
    CONF_TLS_MAY,
    CONF_TLS_ENCRYPT,
    CONF_TLS_VERIFY
};

/* Local delivery, which the server and the sender have in common. */
struct conf_local {
    struct conf_list domains; /* default: localhost and hostname */
    char mail_dir[CONF_PATH_MAX];
    int mailbox;
    char users[CONF_PATH_MAX];   /* passwd, file:PATH or any */
    char aliases[CONF_PATH_MAX]; /* empty: none */
    char recipient_delimiter[8];
};

/* Times are seconds, sizes are bytes; enums are stored as int. */
struct conf {
    char hostname[CONF_NAME_MAX];
    char user[CONF_NAME_MAX], group[CONF_NAME_MAX];
    char queue_dir[CONF_PATH_MAX];
    long long stop_timeout; /* for transactions in hand; inner waits derive */
    struct {
        char file[CONF_PATH_MAX]; /* "-": standard output */
        int level, format;
    } log;
    struct {
        struct conf_list servers; /* empty: those of resolv.conf */
        long long timeout;
    } dns;
    struct conf_local local;
    struct {
        struct conf_list listen;
        long long workers, max_clients, max_clients_per_ip;
        struct conf_list relay_networks;
        int rdns;
        struct conf_list extra_commands;
        long long max_message_size, max_recipients;
        long long command_timeout, data_timeout, session_timeout;
        long long max_errors, max_unknown;
        long long min_rate;    /* octets a second; 0: off */
        long long body_memory; /* of all workers together */
        int early_talk, bare_newline;
        char tls_cert[CONF_PATH_MAX], tls_key[CONF_PATH_MAX];
    } serve;
    struct {
        long long workers;
        long long queue_lifetime, retry_min, retry_max, warn_after;
        long long port;
        char relay_host[CONF_NAME_MAX];
        char relay_user[CONF_NAME_MAX], relay_password[CONF_TEXT_MAX];
        int tls;
        long long session_linger;
        struct conf_list routes;
    } send;
};

/* One override from the command line, in order; later ones win.  `where` is
 * for messages: "--port", "-o"; what begins with "--" is a flag and stronger
 * than -o.  A list flag given again adds to the list.  A flag for
 * serve.listen may name half of an address: ":2525" changes the port of all,
 * "127.0.0.1" has the port of the first. */
struct conf_override {
    const char *key, *value, *where;
};

struct conf_source {
    const char *file; /* NULL: MTA_CONFIG, else /etc/mta/mta.conf if there */
    const struct conf_override *over;
    size_t nover;
};

/* 0; or -1 with *e naming file and line (or variable, or flag), the fault,
 * and the nearest key there is.  Takes nothing from a failed load: *c is
 * then empty.  Calls nothing that needs the network but the look-up of the
 * host's own name. */
int conf_load(struct conf *c, const struct conf_source *from, struct err *e);

/* Gives back lists; accepts a struct that was zeroed or failed to load. */
void conf_free(struct conf *c);

/* For `mta config`: commented defaults; effective values with their origin
 * (load first, with the same source); the OPTIONS part of the man page. */
void conf_dump(FILE *out);
int conf_show(FILE *out, const struct conf_source *from, bool json,
              struct err *e);
void conf_man(FILE *out);
#endif
