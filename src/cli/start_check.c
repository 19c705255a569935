#include "cli/start_check.h"

#include "base/clock.h"
#include "base/host_port.h"
#include "base/os.h"
#include "net/tls.h"
#include "recipient/relay.h"
#include "recipient/resolve.h"
#include "send/login.h"
#include "send/own_host.h"
#include "send/tls_policy.h"
#include "send/token.h"
#include "serve/certificates.h"
#include "signer/signer.h"
#include "spool/dirs.h"
#include "spool/space.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNKNOWN_SHOWN = 10 };

__attribute__((format(printf, 2, 3))) static void
warn(const struct start_check *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (s->warn == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->warn(s->warn_ctx, text);
}

/* --- accounts --------------------------------------------------------- */

/* Refuse to parse network input as root unless that is set explicitly. */
static int check_root(const struct start_check *s, struct err *e)
{
    const char *user = s->conf->user;

    if (geteuid() != 0)
        return 0;
    if (s->uid == (uid_t)-1)
        return err_set(e, ERR_USAGE, 0,
                       "started as root without a user to become: make the"
                       " account mta (useradd --system mta), set user to"
                       " another account, or write user = \"root\" to run all"
                       " of it as root");
    if (s->uid == 0)
        warn(s,
             "user is \"%s\": all of mta runs as root, also what parses"
             " input of strangers",
             user);
    return 0;
}

static int check_accounts(struct start_check *s, struct err *e)
{
    const struct conf *c = s->conf;
    uid_t none;
    gid_t group;

    if (os_find_ids(c->user, NULL, &s->uid, &s->gid, e) != 0)
        return conf_fault(c, "user", e);
    if (os_find_ids(NULL, c->group, &none, &group, e) != 0)
        return conf_fault(c, "group", e);
    if (group != (gid_t)-1)
        s->gid = group;
    if (s->uid == (uid_t)-1 || geteuid() == 0 || geteuid() == s->uid)
        return check_root(s, e);
    err_set(e, ERR_PERM, 0, "only root can start as user %s", c->user);
    return conf_fault(c, "user", e);
}

/* The owner of mailboxes: a mailbox process becomes that user. */
static int check_local_user(const struct conf *c, struct err *e)
{
    uid_t uid;
    gid_t gid;

    if (os_find_ids(c->local.user, NULL, &uid, &gid, e) == 0) {
        if (uid == (uid_t)-1 || geteuid() == 0 || geteuid() == uid)
            return 0;
        err_set(e, ERR_PERM, 0, "only root can write mailboxes of user %s",
                c->local.user);
    }
    return conf_fault(c, "local.user", e);
}

/* --- directories ------------------------------------------------------ */

/* Check that the directory exists or can be made: the nearest existing parent
 * must be writable.  Permissions of another user are known only when that user
 * opens it. */
static int check_dir(const struct conf *c, const char *key, const char *path,
                     struct err *e)
{
    char at[CONF_PATH_MAX];
    struct stat st;

    snprintf(at, sizeof at, "%s", path);
    while (stat(at, &st) != 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || slash == NULL) {
            err_set(e, errno == ENOTDIR ? ERR_USAGE : ERR_PERM, errno, "%s",
                    path);
            return conf_fault(c, key, e);
        }
        slash[slash == at] = '\0';
    }
    if (!S_ISDIR(st.st_mode))
        err_set(e, ERR_USAGE, 0, "%s is a file, should be a directory", at);
    else if (strcmp(at, path) != 0 && access(at, W_OK | X_OK) != 0)
        err_set(e, ERR_PERM, errno,
                errno == EACCES ? "make directory %s in %s (start as root, or"
                                  " set another one)"
                                : "make directory %s in %s",
                path, at);
    else
        return 0;
    return conf_fault(c, key, e);
}

/* Those below homes are looked at when mail comes. */
static int check_mail_dir(const struct conf *c, struct err *e)
{
    return c->local.mail_dir[0] == '~'
               ? 0
               : check_dir(c, "local.mail_dir", c->local.mail_dir, e);
}

static int check_queue(const struct start_check *s, struct err *e)
{
    const struct conf *c = s->conf;
    struct err why;

    if (check_dir(c, "queue_dir", c->queue_dir, e) != 0)
        return -1;
    if (spool_dirs_check(c->queue_dir, s->uid, s->gid, e) != 0)
        return conf_fault(c, "queue_dir", e);
    if (spool_space_warn(c->queue_dir, &why) != 0)
        warn(s, "%s", why.text);
    return 0;
}

/* The directory of the log file is not made. */
static int check_log(const struct conf *c, struct err *e)
{
    char dir[CONF_PATH_MAX];
    struct stat st;

    if (strcmp(c->log.file, "-") == 0)
        return 0;
    snprintf(dir, sizeof dir, "%s", c->log.file);
    char *slash = strrchr(dir, '/'); /* the path is absolute */
    slash[slash == dir] = '\0';
    if (stat(dir, &st) != 0)
        err_set(e, ERR_USAGE, errno,
                errno == ENOENT ? "open %s (make its directory: mkdir -p %s)"
                                : "open %s: directory %s",
                c->log.file, dir);
    else if (!S_ISDIR(st.st_mode))
        err_set(e, ERR_USAGE, 0, "%s is a file, should be a directory", dir);
    else if (stat(c->log.file, &st) == 0 && S_ISDIR(st.st_mode))
        err_set(e, ERR_USAGE, 0, "%s is a directory, should be a file",
                c->log.file);
    else
        return 0;
    return conf_fault(c, "log.file", e);
}

/* --- users and aliases ------------------------------------------------ */

struct unknown {
    const struct start_check *s;
    unsigned n;
};

static void on_unknown(void *ctx, const struct local_fault *f)
{
    struct unknown *u = ctx;

    if (++u->n > UNKNOWN_SHOWN)
        return;
    if (f->why == NULL)
        warn(u->s, "%s:%u: %s: no such user: %s", f->file, f->line, f->alias,
             f->member);
    else
        warn(u->s, "%s:%u: %s: mail for it waits: %s", f->file, f->line,
             f->alias, f->why);
}

static int check_local(const struct start_check *s, struct err *e)
{
    const struct conf_local *c = &s->conf->local;
    struct unknown u = { s, 0 };
    struct local *l;

    if (local_open(&l, c, e) != 0) {
        bool aliases =
            c->aliases[0] != '\0' && strstr(e->text, c->aliases) != NULL;
        return conf_fault(s->conf, aliases ? "local.aliases" : "local.users",
                          e);
    }
    if (s->warn != NULL)
        local_check_members(l, on_unknown, &u);
    local_close(&l);
    if (u.n > UNKNOWN_SHOWN)
        warn(s, "%s: %u more members like these", c->aliases,
             u.n - UNKNOWN_SHOWN);
    return 0;
}

static int check_relay(const struct conf *c, struct err *e)
{
    struct relay *r;

    if (relay_open(&r, &c->serve.relay_domains, c->local.recipient_delimiter,
                   e) != 0)
        return conf_fault(c, "serve.relay_domains", e);
    relay_close(&r);
    return 0;
}

/* --- TLS -------------------------------------------------------------- */

/* SSL_CERT_FILE may be meant for other programs: then only mail waits that
 * demands a verified host. */
static int check_tls(const struct start_check *s, struct err *e)
{
    const struct conf *c = s->conf;
    bool named = c->send.tls_ca[0] != '\0';
    struct tls_context *t;

    if (!named && !tls_policy_needs_tls(c))
        return 0;
    if (tls_client_new(&t, e) != 0)
        return -1;
    int rc = tls_client_trust(t, named ? c->send.tls_ca : NULL, e);
    tls_context_free(&t);
    if (rc != 0 && named)
        return conf_fault(c, "send.tls_ca", e);
    if (rc != 0)
        warn(s,
             "%s: mail that demands a verified host waits; have it name a PEM "
             "file, unset it, or set send.tls_ca",
             e->text);
    return 0;
}

/* --- the host itself -------------------------------------------------- */

static int check_loop(const struct conf *c, struct err *e)
{
    const struct host_port *hop = c->send.relay_host.item;
    const struct host_port *end = hop + c->send.relay_host.n;
    char text[HOST_PORT_TEXT];
    struct own_host self;

    if (hop == end)
        return 0;
    if (own_host_load(&self, c, e) != 0)
        return -1;
    while (hop < end && !own_host_is(&self, c, hop))
        hop++;
    own_host_done(&self);
    if (hop == end)
        return 0;
    host_port_text(text, hop);
    err_set(e, ERR_USAGE, 0,
            "%s loops back to itself: it is one of serve.listen", text);
    return conf_fault(c, "send.relay_host", e);
}

/* --- routes ----------------------------------------------------------- */

static bool is_same_hop(const struct conf *c, const struct host_port *a,
                        const struct host_port *b)
{
    unsigned usual = (unsigned)c->send.port;

    return strcmp(a->host, b->host) == 0 &&
           (a->port != 0 ? a->port : usual) == (b->port != 0 ? b->port : usual);
}

/* All mail for a port shares a session, which speaks one of the two. */
static int check_protocol(const struct conf *c, const struct conf_route *lmtp,
                          struct err *e)
{
    char text[HOST_PORT_TEXT];
    bool both = false;

    for (size_t i = 0; i < c->send.relay_host.n; i++)
        both |= is_same_hop(c, &lmtp->to, &c->send.relay_host.item[i]);
    for (size_t i = 0; i < c->send.routes.n; i++) {
        const struct conf_route *r = &c->send.routes.item[i];
        both |= !r->lmtp && is_same_hop(c, &lmtp->to, &r->to);
    }
    if (!both)
        return 0;
    host_port_text(text, &lmtp->to);
    err_set(e, ERR_USAGE, 0,
            "%s is named with lmtp: and without; it speaks LMTP or SMTP", text);
    return conf_fault(c, "send.routes", e);
}

static int check_routes(const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < c->send.routes.n; i++) {
        const struct conf_route *r = &c->send.routes.item[i];
        if (r->lmtp && r->path[0] == '\0' && check_protocol(c, r, e) != 0)
            return -1;
    }
    return 0;
}

/* --- certificates ----------------------------------------------------- */

static void check_dates(void *ctx, const struct serve_certificate *x)
{
    const struct start_check *s = ctx;
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    bool expired = x->until <= now;
    char day[CLOCK_RFC3339_MAX];
    struct err why;

    if (!expired && x->from <= now)
        return;
    clock_rfc3339(day, (uint64_t)(expired ? x->until : x->from) * 1000000);
    day[sizeof "2026-01-31" - 1] = '\0';
    err_set(&why, ERR_PERM, 0, "%s %s %s", x->path,
            expired ? "has expired on" : "is not valid before", day);
    (void)conf_fault(s->conf, "serve.tls_cert", &why);
    warn(s, "%s", why.text);
}

static bool has_use(const struct conf *c)
{
    for (size_t i = 0; i < c->serve.listen.n; i++)
        if (c->serve.listen.item[i].roles & CONF_ROLE_TLS)
            return true;
    return (c->serve.extra_commands & CONF_EXTRA_STARTTLS) != 0;
}

static int check_certificates(struct start_check *s, struct err *e)
{
    struct tls_context *tls;
    struct err why;

    if (s->conf->serve.tls_cert.n == 0)
        return 0;
    if (serve_certificates_load(&tls, s->conf, e) != 0)
        return -1;
    tls_context_free(&tls);
    serve_certificates_each(s->conf, check_dates, s);
    if (has_use(s->conf))
        return 0;
    err_set(&why, ERR_PERM, 0,
            "nothing uses it: add STARTTLS to serve.extra_commands, or the"
            " role tls to an address of serve.listen");
    (void)conf_fault(s->conf, "serve.tls_cert", &why);
    warn(s, "%s", why.text);
    return 0;
}

/* --- relay networks ----------------------------------------------------- */

/* Without its prefix a network is a single address that no client has. */
static void check_networks(const struct start_check *s)
{
    const struct conf_networks *l = &s->conf->serve.relay_networks;
    char text[ADDR_TEXT];
    struct err why;
    size_t n;

    for (size_t i = 0; i < l->n; i++) {
        const struct addr *a = &l->item[i].base;
        if (addr_is_v6(a) || l->item[i].bits < 32 ||
            addr_host_bytes(a, &n)[3] != 0)
            continue;
        addr_text(text, a);
        err_set(&why, ERR_PERM, 0,
                "%s is a single address; its network is written %s/24", text,
                text);
        (void)conf_fault(s->conf, "serve.relay_networks", &why);
        warn(s, "%s", why.text);
    }
}

/* --- Unix sockets ------------------------------------------------------ */

static int check_sockets(const struct conf *c, struct err *e)
{
    char dir[ADDR_UNIX_MAX + 1];
    struct stat st;

    for (size_t i = 0; i < c->serve.listen.n; i++) {
        const char *path = c->serve.listen.item[i].path;
        if (path[0] == '\0')
            continue;
        size_t n = (size_t)(strrchr(path, '/') - path);
        (void)span_copy(dir, sizeof dir, (struct span){ path, n > 0 ? n : 1 });
        int why = stat(dir, &st) != 0    ? errno
                  : !S_ISDIR(st.st_mode) ? ENOTDIR
                                         : 0;
        if (why != 0) {
            err_set(e, ERR_PERM, why, "unix:%s: %s", path, dir);
            return conf_fault(c, "serve.listen", e);
        }
    }
    return 0;
}

int start_check(struct start_check *s, struct err *e)
{
    const struct conf *c = s->conf;

    if (check_accounts(s, e) != 0 || check_local_user(c, e) != 0 ||
        check_queue(s, e) != 0 || check_mail_dir(c, e) != 0 ||
        check_log(c, e) != 0 || check_local(s, e) != 0 ||
        check_relay(c, e) != 0 || check_routes(c, e) != 0 ||
        signer_check_keys(c, e) != 0 || check_tls(s, e) != 0 ||
        logins_check(c, e) != 0 || token_check(c, e) != 0)
        return -1;
    if (!s->serves)
        return 0;
    check_networks(s);
    return check_certificates(s, e) != 0 || check_sockets(c, e) != 0
               ? -1
               : check_loop(c, e);
}
