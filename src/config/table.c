/* table.c - every setting once. */
#include "config/table.h"

#include "base/memory.h"
#include "base/os.h"
#include "base/suggest.h"

#include <pwd.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const formats[] = { "text", "json", NULL };
static const char *const mailboxes[] = { "auto", "maildir", "mbox", NULL };
static const char *const dsn_words[] = { "all", "relay_networks", "none",
                                         NULL };
static const char *const rdns_words[] = { "off", "warn", "require", NULL };
static const char *const early_talk[] = { "reject", "accept", NULL };
static const char *const newlines[] = { "reject", "normalize", NULL };
static const char *const off_on[] = { "off", "on", NULL };
static const char *const tls_words[] = { "none", "may", "encrypt", "verify",
                                         NULL };
static const char *const auths[] = { "scram-sha-256", "plain",   "login",
                                     "oauthbearer",   "xoauth2", NULL };
static const char *const extras[] = { "NOOP", "HELP", "STARTTLS", NULL };

enum {
    WORKERS_MAX = 256,
    THREADS_MAX = 64,
    MAILBOX_PROCESSES_MAX = 64,
    LISTEN_MOST = 16,
    CERTIFICATES_MOST = 16,
    DKIM_KEYS_MOST = 32,
    NETWORKS_MOST = 64,
    DNS_SERVERS_MOST = 8,
    RELAYS_MOST = 8,
    LOGINS_MOST = 32,
    /* Listening sockets, files and DNS need descriptors below FD_SETSIZE
     * too. */
    CLIENTS_MAX = FD_SETSIZE - 64 - 1
};

#define MINUTE 60
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Use the host's name only if it is valid in SMTP. */
static void derive_hostname(const struct conf *c, char *out, size_t size)
{
    char normal[IDN_MAX];

    (void)c;
    os_hostname(out, size);
    if (idn_normal(normal, span_of(out)) != NULL)
        snprintf(out, size, "localhost");
}

/* The default is root's or the user's own alone, because no other user can
 * switch ids. */
static void derive_user(const struct conf *c, char *out, size_t size)
{
    static const char usual[] = "mta";
    const struct passwd *pw = getpwnam(usual);

    (void)c;
    snprintf(out, size, "%s",
             pw != NULL && (geteuid() == 0 || geteuid() == pw->pw_uid) ? usual
                                                                       : "");
}

static void derive_local_user(const struct conf *c, char *out, size_t size)
{
    snprintf(out, size, "%s", c->user);
}

static void derive_workers(const struct conf *c, char *out, size_t size)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    (void)c;
    snprintf(out, size, "%ld", n < 2 ? 2 : n > WORKERS_MAX ? WORKERS_MAX : n);
}

static void derive_domains(const struct conf *c, char *out, size_t size)
{
    if (strcmp(c->hostname, "localhost") == 0)
        snprintf(out, size, "localhost");
    else
        snprintf(out, size, "localhost,%s", c->hostname);
}

static void derive_aliases(const struct conf *c, char *out, size_t size)
{
    static const char usual[] = "/etc/aliases";

    (void)c;
    snprintf(out, size, "%s", access(usual, F_OK) == 0 ? usual : "");
}

static void derive_body_memory(const struct conf *c, char *out, size_t size)
{
    unsigned long long quarter = memory_left("") / 4;

    (void)c;
    if (quarter > 64 * MIB)
        quarter = 64 * MIB;
    snprintf(out, size, "%lluM", quarter < MIB ? 1 : quarter / MIB);
}

/* clang-format off */
#define AT(f) offsetof(struct conf, f), sizeof(((struct conf *)0)->f)
#define ITEM(key, type, f, fallback, min, max, words, help)                   \
    { key, type, AT(f), fallback, NULL, NULL, min, max, words, help }
#define STRING(key, f, fallback, min, help)                                   \
    ITEM(key, CONF_STRING, f, fallback, min,                                  \
         sizeof(((struct conf *)0)->f) - 1, NULL, help)
#define PATH(key, f, fallback, min, help)                                     \
    ITEM(key, CONF_PATH, f, fallback, min, CONF_PATH_MAX - 1, NULL, help)
#define INT(key, f, fallback, min, max, help)                                 \
    ITEM(key, CONF_INT, f, fallback, min, max, NULL, help)
#define TIME(key, f, fallback, min, max, help)                                \
    ITEM(key, CONF_TIME, f, fallback, min, max, NULL, help)
#define ENUM(key, f, fallback, words, help)                                   \
    ITEM(key, CONF_ENUM, f, fallback, 0, 0, words, help)
#define LIST(key, type, f, fallback, min, max, help)                          \
    ITEM(key, type, f, fallback, min, max, NULL, help)
#define DERIVED(key, type, f, example, derive, derived, min, max, help)       \
    { key, type, AT(f), example, derive, derived, min, max, NULL, help }

const struct conf_item conf_items[] = {
    DERIVED("hostname", CONF_HOSTNAME, hostname, "mail.example.com",
        derive_hostname, "the full name of the host", 1, 255,
        "Name of this system in the greeting, in EHLO and in Received. EHLO has"
        " the address instead of a name without a dot."),
    DERIVED("user", CONF_ACCOUNT, user, "mta", derive_user,
        "mta, when root starts it and there is such an account", 0,
        CONF_NAME_MAX - 1,
        "User to become after the sockets are bound.  Root must name one:"
        " \"root\" runs all of mta as root."),
    ITEM("group", CONF_ACCOUNT, group, "", 0, CONF_NAME_MAX - 1, NULL,
        "Group to become; empty: the group of user."),
    PATH("queue_dir", queue_dir, "/var/spool/mta", 1,
        "Directory of the queue, on a local disk; what is there already must "
        "belong to user."),
    TIME("stop_timeout", stop_timeout, "8s", 1, HOUR,
        "How long a stop waits for transactions in hand."),

    ITEM("queue.history", CONF_SIZE, history, "64M", 0, 16 * GIB, NULL,
        "Size of the ring, one in each queue, that remembers what happened to"
        " recipients, for \"mta queue show\", at most 1/64 of the disk; 0: there"
        " is none."),
    PATH("log.file", log.file, "-", 1,
        "File of the log; \"-\" is standard output."),
    ENUM("log.level", log.level, "info", levels,
        "Events below this level are not written."),
    ENUM("log.format", log.format, "text", formats,
        "Form of a line of the log."),

    LIST("dns.servers", CONF_ADDRS, dns.servers, "", 0, DNS_SERVERS_MOST,
        "Name servers to ask, each an address or address:port;"
        " empty: those of resolv.conf."),
    TIME("dns.timeout", dns.timeout, "5s", 1, 60,
        "Wait for one answer; a question is asked up to three times."),

    DERIVED("local.domains", CONF_DOMAINS, local.domains,
        "localhost,mail.example.com", derive_domains,
        "localhost and hostname", 0, CONF_LIST_MAX,
        "Domains whose mail is delivered here."),
    PATH("local.mail_dir", local.mail_dir, "/var/mail", 1,
        "Directory of the mailboxes, mail_dir/USER each; or ~/NAME, the"
        " mailbox NAME in the home directory of each user."),
    ENUM("local.mailbox", local.mailbox, "auto", mailboxes,
        "Kind of mailbox: maildir, a directory with tmp, new and cur; mbox,"
        " a file; auto, what is there, and new ones are a maildir."),
    ITEM("local.users", CONF_USERS, local.users, "passwd", 1,
        CONF_PATH_MAX - 1, NULL,
        "Users that have a mailbox: passwd, those of the system; file:PATH,"
        " a user or an address (with a mailbox of its own) a line;"
        " any, everybody (for tests)."),
    DERIVED("local.user", CONF_ACCOUNT, local.user, "mta", derive_local_user,
        "the value of user", 0, CONF_NAME_MAX - 1,
        "Owner of all mailboxes when local.users is not passwd, and of that of"
        " postmaster if there is no such user."),
    DERIVED("local.aliases", CONF_PATH, local.aliases, "/etc/aliases",
        derive_aliases, "/etc/aliases if it exists", 0, CONF_PATH_MAX - 1,
        "File of aliases; empty: none. Targets that are commands or files are"
        " refused; in the default file mail for them waits."),
    INT("local.max_targets", local.max_targets, "10000", 1, 65535,
        "Targets that an address may have after aliases, :include: files"
        " too."),
    STRING("local.recipient_delimiter", local.recipient_delimiter, "+", 0,
        "What separates a user from an extension, as in user+extension;"
        " empty: nothing does."),

    INT("deliver.workers", deliver.workers, "2", 1, MAILBOX_PROCESSES_MAX,
        "Processes that write mailboxes; the mail of one mailbox is always"
        " written by the same one."),

    LIST("serve.listen", CONF_LISTENERS, serve.listen, "[::]:25,0.0.0.0:25", 1, LISTEN_MOST,
        "Addresses to listen on, each with its port; with the role tls, as in"
        " [::]:465 tls, clients begin with TLS at once. unix:/path is a socket"
        " for programs of this host beside queue_dir/submit: any local user"
        " may send from it."),
    DERIVED("serve.workers", CONF_INT, serve.workers, "2", derive_workers,
        "the number of cores, at least 2", 1, WORKERS_MAX,
        "Processes that serve clients."),
    INT("serve.max_clients", serve.max_clients, "900", 1, CLIENTS_MAX,
        "Clients that one worker serves at a time; the last tenth of the"
        " places is for relay networks."),
    INT("serve.max_clients_per_ip", serve.max_clients_per_ip, "50", 1,
        CLIENTS_MAX,
        "Connections of one address at a time (IPv6: of one /64);"
        " relay networks are not limited."),
    LIST("serve.relay_networks", CONF_NETWORKS, serve.relay_networks,
        "127.0.0.0/8,::1/128", 0, NETWORKS_MOST,
        "Networks whose clients may send to any domain."),
    LIST("serve.relay_domains", CONF_RELAYS, serve.relay_domains, "", 0,
        CONF_LIST_MAX,
        "Domains of other hosts whose mail any client may send; it goes on by"
        " route or MX.  .example.com is all domains below it;"
        " example.com=file:PATH names the recipients that exist, one a line,"
        " with or without their domain."),
    ENUM("serve.rdns", serve.rdns, "warn", rdns_words,
        "Reverse DNS of clients: not looked up; noted in Received and in the"
        " log; or required from clients outside the relay networks."),
    ENUM("serve.dsn", serve.dsn, "all", dsn_words,
        "Clients that may ask for notices of delivery and name the envelope in"
        " them (DSN, RFC 3461); programs of this host always may.  A notice goes"
        " to the sender that the client names, which may be forged."),
    ITEM("serve.extra_commands", CONF_WORDS, serve.extra_commands, "", 0, 0,
        extras, "Commands to serve beyond the minimum; STARTTLS needs a"
        " certificate."),
    ITEM("serve.max_message_size", CONF_SIZE, serve.max_message_size, "50M",
        KIB, 16 * GIB, NULL, "Largest message that is accepted."),
    INT("serve.max_recipients", serve.max_recipients, "1000", 1, 65535,
        "Recipients of one message; RFC 5321 asks for at least 100."),
    TIME("serve.command_timeout", serve.command_timeout, "5m", 1, HOUR,
        "Wait for a client's next command."),
    TIME("serve.data_timeout", serve.data_timeout, "3m", 1, HOUR,
        "Wait for more of a message."),
    TIME("serve.session_timeout", serve.session_timeout, "1h", 1, DAY,
        "Longest session."),
    INT("serve.max_errors", serve.max_errors, "10", 1, 1000,
        "Bad commands after which a client is sent away."),
    INT("serve.max_unknown", serve.max_unknown, "20", 1, 1000000,
        "Unknown recipients that an address may try in 10 minutes before"
        " each answer takes a second; twice as many: it is sent away."),
    INT("serve.min_rate", serve.min_rate, "500", 0, MIB,
        "Octets a second at which a message must come after its first"
        " minute; 0: any."),
    DERIVED("serve.body_memory", CONF_SIZE, serve.body_memory, "64M",
        derive_body_memory, "a quarter of what the machine and its control"
        " group leave, at most 64M", MIB, 1024 * GIB,
        "Memory for messages that are being received, of all workers"
        " together; what does not fit goes to disk at once."),
    ENUM("serve.early_talk", serve.early_talk, "reject", early_talk,
        "A client that sends before it may: refused, outside the relay"
        " networks; or served."),
    ENUM("serve.bare_newline", serve.bare_newline, "reject", newlines,
        "A message with CR or LF alone: refused; or, from relay networks"
        " only, mended."),

    LIST("serve.tls_cert", CONF_FILES, serve.tls_cert, "", 0, CERTIFICATES_MOST,
        "Certificates of the server, each a PEM file with the chain behind it."
        "  A client gets the one for the name it asks for, else the first; an"
        " ECDSA and an RSA one for the same name may stand side by side.  A"
        " file that changes is used without a reload."),
    LIST("serve.tls_key", CONF_FILES, serve.tls_key, "", 0, CERTIFICATES_MOST,
        "Their keys, in the same order: PEM files without a password, which"
        " only root needs to be able to read.  One file may be both."),
    ENUM("serve.tls_tickets", serve.tls_tickets, "on", off_on,
        "Session tickets, so that a client that comes again needs no full"
        " handshake."),

    INT("send.workers", send.workers, "2", 1, THREADS_MAX,
        "Threads that deliver mail."),
    TIME("send.queue_lifetime", send.queue_lifetime, "5d", 1, 365 * DAY,
        "How long a message is tried before it is returned."),
    TIME("send.retry_min", send.retry_min, "5m", 1, 30 * DAY,
        "Wait after the first failed try; it doubles with each further one."),
    TIME("send.retry_max", send.retry_max, "4h", 1, 30 * DAY,
        "Longest wait between two tries."),
    TIME("send.warn_after", send.warn_after, "4h", 0, 365 * DAY,
        "A notice of the delay goes to the sender after this time; 0: never."),
    INT("send.port", send.port, "25", 1, 65535,
        "Port of the hosts that mail is delivered to."),
    LIST("send.relay_host", CONF_HOPS, send.relay_host, "", 0, RELAYS_MOST,
        "Hosts that take all remote mail, each as host or host:port; [host]:"
        " without a look-up of its MX.  The first that works is used.  Empty:"
        " mail goes to the MX of each domain.  Port 465 begins with TLS; at"
        " others it is negotiated (STARTTLS)."
        "  A name in /etc/hosts has the addresses that stand there."),
    STRING("send.relay_user", send.relay_user, "", 0,
        "User to log in as at send.relay_host, and nowhere else; only over TLS"
        " with a verified certificate, unless send.tls_policy says encrypt for"
        " that host or send.tls is none.  Empty: no login."),
    ITEM("send.relay_password", CONF_SECRET, send.relay_password, "", 0,
        CONF_SECRET_MAX - 1, NULL,
        "Password of send.relay_user.  It is best kept in a file:"
        " MTA_SEND_RELAY_PASSWORD_FILE names one, or use send.logins."),
    ITEM("send.relay_auth", CONF_WORDS, send.relay_auth, "", 0, 0, auths,
        "Mechanisms of AUTH that may be used at send.relay_host; empty: the"
        " best one that the host offers."),
    ITEM("send.relay_token", CONF_TOKEN, send.relay_token, "", 0,
        CONF_PATH_MAX - 1, NULL,
        "Access token of send.relay_user in place of a password: file:PATH,"
        " read again when it changes; or command:PATH, a program that prints"
        " one, run without arguments when the token before it is refused."),
    LIST("send.logins", CONF_LOGINS, send.logins, "", 0, LOGINS_MOST,
        "Logins at next hops, each as in \"[host]:587 USER file:PATH\"; the"
        " first line of the file is the password.  One for a host of"
        " send.relay_host goes before send.relay_user."),
    ENUM("send.tls", send.tls, "may", tls_words,
        "TLS to other hosts: never; where it works, else clear text; required;"
        " or required with a certificate that a trusted authority gave to the"
        " host or to the domain of the recipient."),
    PATH("send.tls_ca", send.tls_ca, "", 0,
        "File of trusted certificates in PEM; empty: those of the system."),
    LIST("send.tls_policy", CONF_TLS_RULES, send.tls_policy, "", 0,
        CONF_LIST_MAX,
        "TLS to single destinations, as in example.com=verify, or"
        " .example.com=encrypt for the domains below it; or to a next hop, as"
        " in [host]:587=verify."),
    TIME("send.session_linger", send.session_linger, "5s", 0, 5 * MINUTE,
        "How long an idle session waits for more mail to its host."),
    INT("send.session_messages", send.session_messages, "0", 0, 1000000,
        "Messages in a session before a new one begins; 0: as many as the"
        " host takes."),
    ENUM("send.chunking", send.chunking, "on", off_on,
        "Use CHUNKING where a host offers it, so that no message waits for the"
        " reply to another."),
    LIST("send.routes", CONF_ROUTES, send.routes, "", 0, CONF_LIST_MAX,
        "Next hops of single domains, as in example.com=host:port, or"
        " .example.com=[host] for the domains below it;"
        " lmtp:unix:/path and lmtp:host:port speak LMTP.  @example.com=[host]"
        " is the next hop of mail from that domain, where none fits the"
        " recipient."),
    LIST("send.providers", CONF_PROVIDERS, send.providers, "", 0,
        CONF_LIST_MAX,
        "Hosts that share one pace, beyond those of the large receivers that"
        " are built in: google=.google.com is the name of the group, and the"
        " end of the names of its MX hosts."),

    LIST("dkim.keys", CONF_DKIM_KEYS, dkim.keys, "", 0, DKIM_KEYS_MOST,
        "Keys that sign mail from relay networks and from this host, whose From"
        " is of that domain or below it: domain:selector:file, the file PEM"
        " with an RSA or Ed25519 key, which only root needs to be able to read."
        "  Two keys of one domain make two signatures."),

    ITEM("rewrite.from", CONF_MAILBOX, rewrite.from, "", 0,
        CONF_MAILBOX_MAX - 1, NULL,
        "The address that all mail from this host and from relay networks has"
        " as its sender, in the envelope and in the header; names that stand"
        " beside it stay.  Empty: senders stay as they are."),
    ITEM("rewrite.root", CONF_MAILBOX, local.root, "", 0,
        CONF_MAILBOX_MAX - 1, NULL,
        "Where mail for root of this host goes, instead of where the alias"
        " file says; that for postmaster, too, unless an alias has it.  Empty:"
        " root is a user as others are."),
    LIST("rewrite.rules", CONF_REWRITES, rewrite.rules, "", 0, CONF_LIST_MAX,
        "Rules for addresses, in the envelope and in the header: sender, "
        "recipient or both, and PATTERN=ADDRESS; the first that fits counts,"
        " before rewrite.from.  A pattern is user@example.com, @example.com,"
        " @.example.com for the domains below it, user for a user of this"
        " host, or *; the address user@example.com, user, or @example.com,"
        " which keeps the local part."),
};
/* clang-format on */

const size_t nconf_items = sizeof conf_items / sizeof conf_items[0];

/* Does not compile when the table exceeds CONF_ITEMS_MAX. */
typedef char conf_items_fit
    [sizeof conf_items / sizeof conf_items[0] <= CONF_ITEMS_MAX ? 1 : -1];

const struct conf_item *conf_find(struct span key)
{
    for (size_t i = 0; i < nconf_items; i++)
        if (span_is(key, conf_items[i].key))
            return &conf_items[i];
    return NULL;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');

    return dot != NULL ? dot + 1 : key;
}

/* A name in the wrong group counts as near as one with a typing error. */
const char *conf_nearest(const char *given)
{
    const char *best = NULL;
    unsigned least = 4;

    for (size_t i = 0; i < nconf_items; i++) {
        const char *key = conf_items[i].key;
        unsigned whole = edit_distance(given, key);
        unsigned part = edit_distance(last_part(given), last_part(key));
        unsigned d = part * 2 + 1 < whole ? part * 2 + 1 : whole;
        if (d < least) {
            least = d;
            best = key;
        }
    }
    return best;
}

const char *conf_nearest_word(const char *const *words, const char *given)
{
    const char *best = NULL;
    unsigned least = 3;

    for (; *words != NULL; words++) {
        unsigned d = edit_distance(given, *words);
        if (d < least) {
            least = d;
            best = *words;
        }
    }
    return best;
}

static bool is_in(struct span key, struct span group)
{
    return key.n > group.n && key.p[group.n] == '.' &&
           memcmp(key.p, group.p, group.n) == 0;
}

bool conf_is_group(struct span name)
{
    for (size_t i = 0; i < nconf_items; i++)
        if (is_in(span_of(conf_items[i].key), name))
            return true;
    return conf_unbuilt_group(name);
}
