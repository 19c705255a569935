#include "cli/setup.h"

#include "base/os.h"
#include "cli/start_check.h"
#include "dns/hosts.h"
#include "dns/resolver.h"
#include "log/logfile.h"
#include "recipient/local_files.h"
#include "recipient/relay.h"
#include "send/login.h"
#include "send/route.h"
#include "serve/certificates.h"
#include "signer/signer.h"
#include "spool/dirs.h"
#include "spool/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* --- files ------------------------------------------------------------- */

static int take(void *ctx, const char *path, struct err *e)
{
    return handdown_take(ctx, path, e);
}

static int take_guarded(void *ctx, const char *path, struct err *e)
{
    return handdown_take_guarded(ctx, path, e);
}

static int take_all_for(struct handdown *set, const struct conf_files *l,
                        unsigned readers, struct err *e)
{
    for (size_t i = 0; i < l->n; i++)
        if (handdown_take_for(set, l->item[i].path, readers, e) != 0)
            return -1;
    return 0;
}

static int take_certificates(struct handdown *set, const struct setup *s,
                             struct err *e)
{
    return !s->serves || (take_all_for(set, &s->conf.serve.tls_cert,
                                       SETUP_FOR_SERVE, e) == 0 &&
                          take_all_for(set, &s->conf.serve.tls_key,
                                       SETUP_FOR_SERVE, e) == 0)
               ? 0
               : -1;
}

static int take_dkim_keys(struct handdown *set, const struct conf *c,
                          struct err *e)
{
    for (size_t i = 0; i < c->dkim.keys.n; i++)
        if (handdown_take_for(set, c->dkim.keys.item[i].path, SETUP_FOR_SIGNER,
                              e) != 0)
            return -1;
    return 0;
}

/* Passwords and tokens, which only the sender reads. */
static int take_secrets(struct handdown *set, const struct conf *c,
                        struct err *e)
{
    const struct conf_token *t = &c->send.relay_token;

    for (size_t i = 0; i < c->send.logins.n; i++)
        if (handdown_take_for(set, c->send.logins.item[i].path, SETUP_FOR_SEND,
                              e) != 0)
            return -1;
    return t->source == CONF_TOKEN_FILE
               ? handdown_take_for(set, t->path, SETUP_FOR_SEND, e)
               : 0;
}

/* Copy the files that server and sender read; their content is checked
 * later. */
static int take_files(struct handdown **set, const struct setup *s,
                      struct err *e)
{
    const struct conf *c = &s->conf;
    struct local_files local = { .file = take, .guarded = take_guarded };

    *set = NULL;
    if (handdown_new(set, e) != 0)
        return -1;
    local.ctx = *set;
    struct handdown *before = handdown_use(*set);
    int rc =
        local_each_file(&c->local, &local, e) == 0 &&
                relay_each_file(&c->serve.relay_domains, take, *set, e) == 0
            ? 0
            : -1;
    handdown_use(before);
    if (rc == 0 && take_certificates(*set, s, e) == 0 &&
        take_dkim_keys(*set, c, e) == 0 &&
        (c->dns.servers.n > 0 ||
         handdown_take(*set, DNS_RESOLV_CONF, e) == 0) &&
        (!route_has_settings(c) ||
         handdown_take(*set, DNS_HOSTS_FILE, e) == 0) &&
        take_secrets(*set, c, e) == 0)
        return 0;
    handdown_free(set);
    return -1;
}

static int check_certificates(const struct conf *c, struct err *e)
{
    struct tls_context *tls;
    int rc = serve_certificates_load(&tls, c, e);

    tls_context_free(&tls);
    return rc;
}

static int check_files(struct handdown *next, const struct setup *s,
                       struct handdown *in_force, struct err *e)
{
    const struct conf *c = &s->conf;

    handdown_use(next);
    int rc = serve_worker_check(c, e);
    if (rc == 0 && s->serves)
        rc = check_certificates(c, e);
    if (rc == 0)
        rc = signer_check_keys(c, e);
    if (rc == 0)
        rc = logins_check(c, e);
    if (rc != 0)
        handdown_use(in_force);
    return rc;
}

int setup_watch(struct setup *s, struct err *e)
{
    struct handdown *next;

    if (!handdown_is_stale(s->files))
        return 0;
    if (take_files(&next, s, e) != 0 ||
        check_files(next, s, s->files, e) != 0) {
        handdown_free(&next);
        handdown_keep(s->files);
        return -1;
    }
    handdown_free(&s->files);
    s->files = next;
    return 1;
}

/* --- the log file ------------------------------------------------------ */

int setup_as_user(const struct setup *s, struct err *e)
{
    return s->uid == (uid_t)-1 ? 0 : os_act_as(s->uid, s->gid, e);
}

/* Exit if that fails, because nothing could be started any more. */
void setup_as_started(void)
{
    struct err e;

    if (os_act_as_started(&e) == 0)
        return;
    fprintf(stderr, "mta: %s\n", e.text);
    exit(EX_OSERR);
}

/* Open the log as the user first, so that a link in a directory of that user
 * leads to no file of another user.  Then as root if the user may not open it,
 * through no link, symbolic or hard. */
int setup_open_log(struct setup *s, struct err *e)
{
    struct stat st;

    if (setup_as_user(s, e) != 0)
        return -1;
    int fd = logfile_open(s->conf.log.file, 0, e);
    bool other = geteuid() != getuid();
    setup_as_started();
    if (fd < 0 && other) {
        fd = logfile_open(s->conf.log.file, O_NOFOLLOW, e);
        if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_nlink > 1)) {
            close(fd);
            return err_set(e, ERR_PERM, 0, "log file %s is a link",
                           s->conf.log.file);
        }
    }
    if (fd < 0)
        return -1;
    setup_close_log(s);
    s->log_fd = fd;
    return 0;
}

void setup_close_log(struct setup *s)
{
    if (s->log_fd > STDERR_FILENO)
        close(s->log_fd);
    s->log_fd = -1;
}

/* --- all of it ----------------------------------------------------------- */

/* Check the files by name, as `mta config --check` does, then the content of
 * the copies. */
static int check(struct setup *s, const struct options *o, bool serves,
                 const struct setup *now, struct err *e)
{
    struct start_check all = { .conf = &s->conf,
                               .serves = serves,
                               .warn = options_warn,
                               .warn_ctx = (void *)(uintptr_t)o };

    handdown_use(NULL);
    int rc = start_check(&all, e);
    if (now != NULL)
        handdown_use(now->files);
    s->uid = all.uid;
    s->gid = all.gid;
    return rc;
}

/* All but the listening sockets. */
static int open_all(struct setup *s, const struct setup *now, struct err *e)
{
    struct handdown *in_force = now != NULL ? now->files : NULL;

    if (take_files(&s->files, s, e) != 0 ||
        check_files(s->files, s, in_force, e) != 0)
        return -1;
    if (now != NULL)
        handdown_use(now->files); /* until s is adopted */
    return now != NULL && strcmp(now->conf.log.file, s->conf.log.file) == 0
               ? 0
               : setup_open_log(s, e);
}

static bool is_taken(const struct conf *c, unsigned consumes)
{
    for (unsigned i = 0; i < SPOOL_QUEUES; i++)
        if ((consumes & 1u << i) != 0 &&
            spool_has_consumer(c->queue_dir, (enum spool_name)i))
            return true;
    return false;
}

/* Before anything is touched: the sockets of another system on this queue would
 * be replaced, and end with this one. */
static int check_alone(const struct conf *c, unsigned consumes, struct err *e)
{
    uint64_t until = 0; /* one that was killed may end just now */
    bool taken;

    while ((taken = is_taken(c, consumes)) && os_again(&until))
        ;
    if (!taken)
        return 0;
    err_set(e, ERR_TEMP, 0,
            "another mta delivers from %.100s: stop it, or set queue_dir",
            c->queue_dir);
    e->sys = EWOULDBLOCK;
    return -1;
}

int setup_start(struct setup *s, struct options *o, bool listens,
                unsigned consumes, struct err *e)
{
    *s = (struct setup){ .log_fd = -1, .conf = o->conf, .serves = listens };
    memset(&o->conf, 0, sizeof o->conf);
    /* Make the queue before the sockets, because a client that can connect
     * expects it. */
    if (check(s, o, listens, NULL, e) != 0 ||
        check_alone(&s->conf, consumes, e) != 0 ||
        spool_dirs_make(s->conf.queue_dir, s->uid, s->gid, e) != 0 ||
        (listens &&
         listeners_open(&s->listeners, &s->conf, NULL, NULL, e) != 0))
        return -1;
    return open_all(s, NULL, e);
}

static int keeps(const char *key, const char *now, const char *next,
                 struct err *e)
{
    return strcmp(now, next) == 0
               ? 0
               : err_set(e, ERR_USAGE, 0,
                         "%s: '%s' needs a new start; '%s' is in force", key,
                         next, now);
}

int setup_reload(struct setup *s, const struct options *o,
                 const struct setup *now, const struct setup *next,
                 struct err *e)
{
    const struct conf *have = &now->conf, *want = &s->conf;

    *s = (struct setup){ .log_fd = -1, .serves = now->serves };
    if (conf_load(&s->conf, &o->source, e) == 0 &&
        keeps("queue_dir", have->queue_dir, want->queue_dir, e) == 0 &&
        keeps("user", have->user, want->user, e) == 0 &&
        keeps("group", have->group, want->group, e) == 0 &&
        check(s, o, s->serves, now, e) == 0 && open_all(s, now, e) == 0 &&
        (!s->serves ||
         listeners_open(&s->listeners, &s->conf, &now->listeners,
                        next != NULL ? &next->listeners : NULL, e) == 0))
        return 0;
    setup_free(s, now, next);
    return -1;
}

int setup_is_same(struct setup *s, struct setup *next)
{
    if (!conf_same(&s->conf, &next->conf))
        return -1;
    bool others = !handdown_same(s->files, next->files);
    if (others) {
        struct handdown *files = s->files;
        s->files = next->files;
        next->files = files;
        handdown_use(s->files);
    }
    setup_free(next, s, NULL);
    *next = (struct setup){ .log_fd = -1 };
    return others;
}

void setup_adopt(struct setup *now, struct setup *next)
{
    if (next->log_fd < 0) {
        next->log_fd = now->log_fd;
        now->log_fd = -1;
    }
    setup_free(now, next, NULL);
    *now = *next;
    *next = (struct setup){ .log_fd = -1 };
    handdown_use(now->files);
}

void setup_free(struct setup *s, const struct setup *a, const struct setup *b)
{
    listeners_close(&s->listeners, &s->conf, a != NULL ? &a->listeners : NULL,
                    b != NULL ? &b->listeners : NULL);
    setup_close_log(s);
    handdown_free(&s->files);
    conf_free(&s->conf);
}
