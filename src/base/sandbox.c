/* sandbox.c - the table of docs/privileges.md: a row for each process. */
#include "base/sandbox.h"

#include "base/os.h"
#include "base/sandbox_private.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Directories below queue_dir, and mailboxes. */
enum { IN_QUEUES = 1, IN_RUN = 2, IN_MAIL = 4, ONLY_DNS = 8, NO_QUEUE = 16 };

static const struct row {
    const char *process;
    unsigned may, files;
} rows[] = {
    /* clang-format off */
    [SANDBOX_WORKER] =    { "worker", MAY_INET | MAY_ACCEPT | MAY_LOG,
                            IN_QUEUES | IN_RUN | ONLY_DNS },
    /* Modules of NSS may ask a directory by any of these. */
    [SANDBOX_HELPER] =    { "helper", MAY_SAY | MAY_INET | MAY_UNIX | MAY_NETLINK |
                                      MAY_BIND | MAY_READ_SYSTEM, 0 },
    /* Its control socket is open already; so is that of the sender. */
    [SANDBOX_DELIVER] =   { "deliver", MAY_ACCEPT | MAY_LOG,
                            IN_QUEUES | IN_RUN },
    [SANDBOX_MAILBOX] =   { "mailbox", MAY_MOVE, IN_MAIL },
    /* Finds the ids itself: by files, or by a daemon on this host. */
    [SANDBOX_MAILBOX_USERS] = { "mailbox", MAY_MOVE | MAY_CHANGE_IDS |
                                           MAY_UNIX | MAY_READ_SYSTEM,
                                IN_MAIL },
    [SANDBOX_SENDER] =    { "sender", MAY_INET | MAY_ACCEPT | MAY_LOG,
                            IN_QUEUES | IN_RUN },
    [SANDBOX_SENDER_UNIX] = { "sender", MAY_INET | MAY_UNIX | MAY_ACCEPT |
                                        MAY_LOG, IN_QUEUES | IN_RUN },
    /* The keys of DKIM in memory, and a pair of sockets. */
    [SANDBOX_SIGNER] =    { "signer", MAY_SAY, 0 },
    /* And the program that it runs, which may need anything but the queue. */
    [SANDBOX_TOKEN] =     { "token", MAY_SAY | MAY_INET | MAY_UNIX | MAY_NETLINK |
                                     MAY_BIND | MAY_EXEC, NO_QUEUE },
    [SANDBOX_COLLECTOR] = { "collector", MAY_LOG, IN_RUN },
    /* clang-format on */
};

/* --- capabilities --------------------------------------------------------- */

/* The permitted ones: with them, effective ones come and go with the effective
 * user. */
static int drop_capabilities(unsigned may, struct err *e)
{
    struct __user_cap_header_struct head = { .version =
                                                 _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct cap[2], none[2] = { { 0 }, { 0 } };

    if (syscall(SYS_capget, &head, cap) != 0)
        return err_set(e, ERR_TEMP, errno, "get capabilities");
    if (may & MAY_CHANGE_IDS)
        none[0].permitted = cap[0].permitted &
                            ((1u << CAP_SETUID) | (1u << CAP_SETGID) |
                             (1u << CAP_CHOWN) | (1u << CAP_DAC_READ_SEARCH));
    none[0].effective = none[0].permitted & cap[0].effective;
    if (syscall(SYS_capset, &head, none) != 0)
        return err_set(e, ERR_TEMP, errno, "drop capabilities");
    return 0;
}

/* --- files ---------------------------------------------------------------- */

static int allow_all(const struct landlock *l, const char *const *paths,
                     struct err *e)
{
    for (; *paths != NULL; paths++)
        if (landlock_allow(l, *paths, LANDLOCK_READ, e) < 0)
            return -1;
    return 0;
}

static int allow_below(const struct landlock *l, const char *queue_dir,
                       const char *name, struct err *e)
{
    char path[PATH_MAX];

    if (!os_path(path, sizeof path, queue_dir, name))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "%s", queue_dir);
    return landlock_allow(l, path,
                          *name == '\0' ? LANDLOCK_LIST : LANDLOCK_QUEUE, e);
}

static int allow_queue(const struct landlock *l, unsigned files,
                       const char *queue_dir, struct err *e)
{
    if ((files & (IN_QUEUES | IN_RUN)) == 0)
        return 0;
    if (allow_below(l, queue_dir, "", e) != 0 ||
        ((files & IN_RUN) && allow_below(l, queue_dir, "run", e) != 0))
        return -1;
    if ((files & IN_QUEUES) == 0)
        return 0;
    return allow_below(l, queue_dir, "local", e) != 0
               ? -1
               : allow_below(l, queue_dir, "remote", e);
}

static int allow_mail(const struct landlock *l, const struct sandbox_paths *p,
                      struct err *e)
{
    if (p->mail_dir == NULL)
        return landlock_allow_homes(l, p->queue_dir, e);
    if (access(p->mail_dir, F_OK) != 0) /* perhaps it is made later */
        return err_set(e, ERR_TEMP, errno, "landlock: %s", p->mail_dir);
    return landlock_allow(l, p->mail_dir, LANDLOCK_MAIL, e);
}

static int allow(const struct landlock *l, const struct row *r,
                 const struct sandbox_paths *p, struct err *e)
{
    static const char *const nss[] = { "/etc",   "/usr",     "/lib", "/lib64",
                                       "/lib32", "/var/lib", "/run", NULL };
    /* Limits of SysV queues, read when the log's queue is made again. */
    static const char *const kernel[] = { "/proc/sys/kernel", NULL };

    for (size_t i = 0; (r->files & ONLY_DNS) && i < p->ndns; i++)
        if (landlock_allow_port(l, p->dns_port[i], e) != 0)
            return -1;
    if (((r->may & MAY_READ_SYSTEM) && allow_all(l, nss, e) != 0) ||
        ((r->may & MAY_LOG) && allow_all(l, kernel, e) != 0) ||
        ((r->files & NO_QUEUE) &&
         landlock_allow_others(l, p->queue_dir, e) != 0) ||
        ((r->files & IN_MAIL) && allow_mail(l, p, e) != 0))
        return -1;
    return allow_queue(l, r->files, p->queue_dir, e);
}

/* Returns the ABI in force, or 0 with *e. */
static int confine_files(const struct row *r, const struct sandbox_paths *p,
                         struct err *e)
{
    struct landlock l;
    int abi = 0;

    if (landlock_begin(&l, r->may, (r->files & ONLY_DNS) == 0, e) == 0 &&
        allow(&l, r, p, e) == 0 && landlock_enter(&l, e) == 0)
        abi = l.abi;
    landlock_end(&l);
    return abi;
}

/* --- all of it ------------------------------------------------------------ */

bool sandbox_no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

void sandbox_no_core(void)
{
    const struct rlimit none = { 0, 0 };

    setrlimit(RLIMIT_CORE, &none);
    if (!SANITIZED)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void sandbox_enter(enum sandbox_row row, const struct sandbox_paths *paths,
                   struct sandbox_report *report)
{
    const struct row *r = &rows[row];
    const time_t any = 0;
    struct err why;
    struct tm tm;

    *report = (struct sandbox_report){ .process = r->process };
    /* Reads the file of the time zone, which is out of reach later. */
    localtime_r(&any, &tm);
    report->no_new_privileges = sandbox_no_new_privileges();
    if (!report->no_new_privileges)
        err_set(&report->why, ERR_TEMP, errno, "no new privileges");
    if (drop_capabilities(r->may, &why) != 0)
        report->why = why;
    if (paths != NULL) {
        report->landlock = confine_files(r, paths, &why);
        if (report->landlock == 0)
            report->why = why;
    }
    report->seccomp = seccomp_enter(r->may, &why) == 0;
    if (!report->seccomp)
        report->why = why;
}
