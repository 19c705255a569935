/* check_host.c - settings, clock, certificates: what this host alone shows. */
#include "cli/check.h"

#include "base/clock.h"
#include "cli/start_check.h"
#include "config/value.h"
#include "serve/certificates.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

/* --- settings, directories, rights ---------------------------------------- */

static void on_warning(void *ctx, const char *text)
{
    check_say(ctx, CHECK_WARNING, "change that setting, unless it is meant so",
              "%s", text);
}

/* The top of a container's volume is root's, for a group. */
static bool may_look(const struct conf *c)
{
    struct stat st;

    return geteuid() == 0 || stat(c->queue_dir, &st) != 0 ||
           st.st_uid == geteuid() || access(c->queue_dir, W_OK) == 0;
}

/* Of the directory, or of the one that it will be made in. */
static int ask_space(const char *dir, struct statvfs *v)
{
    char at[CONF_PATH_MAX];

    snprintf(at, sizeof at, "%s", dir);
    while (statvfs(at, v) != 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || slash == NULL)
            return -1;
        slash[slash == at] = '\0';
    }
    return 0;
}

static void check_space(struct checking *k)
{
    enum { LOW = 10 };
    const char *dir = k->conf->queue_dir;
    struct statvfs v;

    if (ask_space(dir, &v) != 0) {
        check_say(k, CHECK_WARNING, "run it as root, or as the queue's owner",
                  "the room on the disk of %s cannot be seen (%s)", dir,
                  strerror(errno));
        return;
    }
    if (v.f_blocks == 0)
        return; /* a file system without a size */
    unsigned long long blocks = v.f_bavail * 100ull / v.f_blocks;
    unsigned long long files =
        v.f_files == 0 ? 100 : v.f_favail * 100ull / v.f_files;
    if (blocks < LOW || files < LOW)
        check_say(k, CHECK_WARNING, "make room, or move queue_dir",
                  "the disk of %s has %llu %% of its space and %llu %% of its "
                  "inodes left",
                  dir, blocks, files);
    else
        check_say(k, CHECK_OK, NULL, "the disk of %s has room (%llu %% free)",
                  dir, blocks);
}

void check_settings(struct checking *k)
{
    struct start_check s = {
        .conf = k->conf, .serves = true, .warn = on_warning, .warn_ctx = k
    };
    struct err e;

    if (!may_look(k->conf))
        check_say(k, CHECK_WARNING, "run it as root, or as the queue's owner",
                  "only root and the owner of %s can see all of it",
                  k->conf->queue_dir);
    else if (start_check(&s, &e) != 0)
        check_say(k, CHECK_FAULT, "mta would not start: change that setting",
                  "%s", e.text);
    else
        check_say(k, CHECK_OK, NULL, "settings, accounts, files and %s",
                  k->conf->queue_dir);
    check_space(k);
}

/* --- clock ---------------------------------------------------------------- */

/* A queue of the future was written before the clock went back. */
static bool is_behind_queue(const struct checking *k, uint64_t now)
{
    enum { AHEAD_US = 60 * 1000000 };
    struct stat st;

    return stat(k->conf->queue_dir, &st) == 0 &&
           (uint64_t)st.st_mtim.tv_sec * 1000000u > now + AHEAD_US;
}

void check_clock(struct checking *k)
{
    static const uint64_t earliest = 1767225600u * 1000000ull; /* 2026 */
    struct timex t = { .modes = 0 };
    uint64_t now = clock_wall_us();
    char text[CLOCK_RFC3339_MAX];
    int state = adjtimex(&t), why = errno;

    clock_rfc3339(text, now);
    if (now < earliest || is_behind_queue(k, now))
        check_say(k, CHECK_FAULT,
                  "set it, and keep it right by NTP (systemd-timesyncd, "
                  "chrony)",
                  "the clock is wrong: %s is before files of the queue were "
                  "written, or before 2026",
                  text);
    else if (state < 0) /* a container may not ask */
        check_say(k, CHECK_OK, NULL,
                  "the clock is %s; whether it is synchronised cannot be seen "
                  "(%s)",
                  text, strerror(why));
    else if (state == TIME_ERROR || (t.status & STA_UNSYNC) != 0)
        check_say(k, CHECK_WARNING,
                  "start systemd-timesyncd or chrony (of the host, for a "
                  "container)",
                  "the clock (%s) is not synchronised by NTP", text);
    else
        check_say(k, CHECK_OK, NULL, "the clock is synchronised: %s", text);
}

/* --- certificates of the server ------------------------------------------- */

struct seen {
    struct checking *k;
    unsigned n;
    bool names_host;
};

static void check_dates(void *ctx, const struct serve_certificate *x)
{
    enum { SOON = 14, DAY = 86400 };
    struct seen *s = ctx;
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    int64_t left = (x->until - now) / DAY;

    s->n++;
    s->names_host |= x->names_host;
    if (x->from > now)
        check_say(s->k, CHECK_FAULT, "check the clock, or renew it",
                  "%s is not valid yet", x->path);
    else if (x->until <= now)
        check_say(s->k, CHECK_FAULT, "renew it, then 'kill -HUP' mta",
                  "%s has expired", x->path);
    else if (left < SOON)
        check_say(s->k, CHECK_WARNING,
                  "see that it is renewed; mta takes a new file by itself",
                  "%s expires in %lld days", x->path, (long long)left);
    else
        check_say(s->k, CHECK_OK, NULL, "%s is valid for %lld days", x->path,
                  (long long)left);
}

void check_certificates(struct checking *k)
{
    struct seen s = { k, 0, false };
    struct tls_context *t = NULL;
    struct err e;

    if (k->conf->serve.tls_cert.n == 0) {
        check_say(k, CHECK_OK, NULL,
                  "no certificate is set: clients send in clear "
                  "(serve.tls_cert)");
        return;
    }
    if (serve_certificates_load(&t, k->conf, &e) != 0)
        check_say_err(k, "name a PEM certificate with its chain, and its key",
                      &e);
    tls_context_free(&t);
    serve_certificates_each(k->conf, check_dates, &s);
    if (s.n > 0 && !s.names_host)
        check_say(k, CHECK_WARNING,
                  "get one for that name: clients that verify accept no other",
                  "no certificate is for %s", k->conf->hostname);
}
