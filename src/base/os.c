#include "base/os.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/span.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GROUPS_MAX = 256 };

int os_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int os_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    return flags < 0 ? -1 : fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

int os_pipe(int end[2])
{
    if (pipe(end) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (os_nonblock(end[i]) != 0 || os_cloexec(end[i]) != 0) {
            int why = errno;
            close(end[0]);
            close(end[1]);
            errno = why;
            return -1;
        }
    return 0;
}

/* EAGAIN: the pipe is full, so the reader will wake anyway. */
bool os_poke(int fd)
{
    ssize_t n;

    do
        n = write(fd, "", 1);
    while (n < 0 && errno == EINTR);
    return n == 1 || errno == EAGAIN;
}

void os_drain(int fd)
{
    char bytes[64];
    ssize_t n;

    do
        n = read(fd, bytes, sizeof bytes);
    while (n == sizeof bytes || (n < 0 && errno == EINTR));
}

void os_pause(long us)
{
    struct timespec t = { us / 1000000, us % 1000000 * 1000 };

    nanosleep(&t, NULL);
}

bool os_again(uint64_t *until)
{
    uint64_t now = clock_mono_ms();

    if (*until == 0)
        *until = now + OS_PATIENCE_MS;
    if (now >= *until)
        return false;
    os_pause(10000);
    return true;
}

bool os_path(char *out, size_t size, const char *dir, const char *name)
{
    int n = snprintf(out, size, "%s%s%s", dir, *name == '\0' ? "" : "/", name);

    return n >= 0 && (size_t)n < size;
}

const char *os_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static int make_dir(const char *path, mode_t mode, struct err *e)
{
    struct stat st;

    if (fs_mkdir(path, mode) == 0 ||
        (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0;
    return err_set(e, ERR_TEMP, errno, "make directory %s", path);
}

int os_mkdirs(const char *path, mode_t mode, struct err *e)
{
    char part[4096];

    if (!span_copy(part, sizeof part, span_of(path)))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "make directory %s", path);
    if (*path == '\0')
        return err_set(e, ERR_USAGE, ENOENT, "make directory without a name");
    for (char *slash = part; (slash = strchr(slash + 1, '/')) != NULL;
         *slash = '/') {
        *slash = '\0';
        struct stat st;
        if (stat(part, &st) != 0 && make_dir(part, mode, e) != 0)
            return -1;
    }
    return make_dir(path, mode, e);
}

static int find_user(const char *name, uid_t *uid, gid_t *gid, struct err *e)
{
    unsigned long long number;
    errno = 0;
    struct passwd *pw = getpwnam(name);

    if (pw == NULL && span_u64(span_of(name), 0xfffffffeu, &number)) {
        pw = getpwuid((uid_t)number);
        if (pw == NULL) { /* a bare number, as containers use them */
            *uid = (uid_t)number;
            *gid = (gid_t)number;
            return 0;
        }
    }
    if (pw == NULL)
        return err_set(e, ERR_USAGE, errno,
                       "no such user: %s (make it: useradd --system %s)", name,
                       name);
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

static int find_group(const char *name, gid_t *gid, struct err *e)
{
    unsigned long long number;
    errno = 0;
    struct group *gr = getgrnam(name);

    if (gr != NULL)
        *gid = gr->gr_gid;
    else if (span_u64(span_of(name), 0xfffffffeu, &number))
        *gid = (gid_t)number;
    else
        return err_set(e, ERR_USAGE, errno,
                       "no such group: %s (make it: groupadd --system %s)",
                       name, name);
    return 0;
}

int os_find_ids(const char *user, const char *group, uid_t *uid, gid_t *gid,
                struct err *e)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (user != NULL && *user != '\0' && find_user(user, uid, gid, e) != 0)
        return -1;
    if (group != NULL && *group != '\0' && find_group(group, gid, e) != 0)
        return -1;
    return 0;
}

static int set_groups(const char *user, gid_t gid)
{
    const struct passwd *pw = user == NULL ? NULL : getpwnam(user);

    if (geteuid() != 0)
        return 0; /* only root can change them, and only root must */
    return pw != NULL ? initgroups(pw->pw_name, gid) : setgroups(1, &gid);
}

static int become(const char *user, const char *group, struct err *e)
{
    uid_t uid;
    gid_t gid;

    if (os_find_ids(user, group, &uid, &gid, e) != 0)
        return -1;
    if (gid != (gid_t)-1 && (getgid() != gid || getegid() != gid)) {
        if (set_groups(user, gid) != 0 || setgid(gid) != 0)
            return err_set(e, ERR_PERM, errno, "become group %s",
                           group != NULL && *group ? group : user);
    } else if (uid != (uid_t)-1 && uid != 0 && geteuid() == 0 &&
               set_groups(user, getgid()) != 0) {
        return err_set(e, ERR_PERM, errno, "drop supplementary groups");
    }
    if (uid != (uid_t)-1 && (getuid() != uid || geteuid() != uid) &&
        setuid(uid) != 0)
        return err_set(e, ERR_PERM, errno, "become user %s", user);
    if (uid != (uid_t)-1 && uid != 0 && setuid(0) == 0)
        return err_set(e, ERR_BUG, 0, "root came back after leaving it");
    return 0;
}

int os_drop_privileges(const char *user, const char *group, struct err *e)
{
    bool no_core = prctl(PR_GET_DUMPABLE) == 0;
    int signo = 0;

    prctl(PR_GET_PDEATHSIG, &signo);
    int rc = become(user, group, e);
    prctl(PR_SET_PDEATHSIG, signo); /* a change of ids has cleared it, */
    if (no_core)                    /* and fs.suid_dumpable may be 2 */
        prctl(PR_SET_DUMPABLE, 0);
    return rc;
}

/* Supplementary groups of the start. */
static struct {
    gid_t group[GROUPS_MAX];
    int n; /* -1: not replaced */
} started = { .n = -1 };

static int act_as(uid_t uid, gid_t gid, struct err *e)
{
    if (gid != (gid_t)-1) {
        int n = getgroups(GROUPS_MAX, started.group);
        if (n < 0 || setgroups(1, &gid) != 0)
            return err_set(e, ERR_PERM, errno, "drop supplementary groups");
        started.n = n;
        if (setegid(gid) != 0)
            return err_set(e, ERR_PERM, errno, "act as group %lu",
                           (unsigned long)gid);
    }
    return uid == (uid_t)-1 || seteuid(uid) == 0
               ? 0
               : err_set(e, ERR_PERM, errno, "act as user %lu",
                         (unsigned long)uid);
}

static int act_as_started(struct err *e)
{
    if (geteuid() != getuid() && seteuid(getuid()) != 0)
        return err_set(e, ERR_PERM, errno, "act as user %lu again",
                       (unsigned long)getuid());
    if (getegid() != getgid() && setegid(getgid()) != 0)
        return err_set(e, ERR_PERM, errno, "act as group %lu again",
                       (unsigned long)getgid());
    if (started.n >= 0 && setgroups((size_t)started.n, started.group) != 0)
        return err_set(e, ERR_PERM, errno, "take the groups of the start");
    started.n = -1;
    return 0;
}

int os_act_as(uid_t uid, gid_t gid, struct err *e)
{
    int signo = 0;

    if (geteuid() != 0)
        return 0;
    prctl(PR_GET_PDEATHSIG, &signo);
    int rc = act_as(uid, gid, e);
    if (rc != 0)
        (void)act_as_started(NULL);
    prctl(PR_SET_PDEATHSIG, signo);
    return rc;
}

int os_act_as_started(struct err *e)
{
    int signo = 0;

    prctl(PR_GET_PDEATHSIG, &signo);
    int rc = act_as_started(e);
    prctl(PR_SET_PDEATHSIG, signo);
    return rc;
}

bool os_is_short(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOMEM || why == ENOBUFS;
}

size_t os_want_fds(size_t n)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return 256;
    if (lim.rlim_cur < n) {
        struct rlimit more = lim;
        more.rlim_cur = lim.rlim_max < n ? lim.rlim_max : (rlim_t)n;
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            lim = more;
    }
    return (size_t)lim.rlim_cur;
}

void os_keep_only(int fd)
{
    DIR *dir = opendir("/proc/self/fd");
    int most = dir == NULL ? (int)os_want_fds(0) : 0;

    for (const struct dirent *f; dir != NULL && (f = readdir(dir)) != NULL;) {
        int n = atoi(f->d_name);
        if (n > STDERR_FILENO && n != fd && n != dirfd(dir))
            close(n);
    }
    if (dir != NULL)
        closedir(dir);
    for (int n = STDERR_FILENO + 1; n < most; n++)
        if (n != fd)
            close(n);
}

void os_signal(int signo, void (*handler)(int))
{
    struct sigaction sa = { 0 };

    sa.sa_handler = handler;
    sigemptyset(&sa.sa_mask);
    sigaction(signo, &sa, NULL);
}

void os_ignore_strays(void)
{
    static const int strays[] = { SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGPOLL,
                                  SIGUSR1, SIGUSR2, SIGXFSZ,   SIGTTOU };

    for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++)
        os_signal(strays[i], SIG_IGN);
}

pid_t os_fork(void)
{
    pid_t parent = getpid();
    sigset_t all, old;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    int why = errno;
    if (pid == 0) {
        signals_forget();
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            raise(SIGTERM); /* the parent died before prctl() */
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = why;
    return pid;
}

bool os_has_no_users(void)
{
    struct stat st;

    return stat("/etc/passwd", &st) != 0 && errno == ENOENT;
}

void os_hostname(char *out, size_t size)
{
    struct addrinfo hints = { .ai_flags = AI_CANONNAME }, *found = NULL;
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0')
        snprintf(name, sizeof name, "localhost");
    if (strchr(name, '.') == NULL &&
        getaddrinfo(name, NULL, &hints, &found) == 0 && found != NULL &&
        found->ai_canonname != NULL && strchr(found->ai_canonname, '.') != NULL)
        snprintf(out, size, "%s", found->ai_canonname);
    else
        snprintf(out, size, "%s", name);
    if (found != NULL)
        freeaddrinfo(found);
}
