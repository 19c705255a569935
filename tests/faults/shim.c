/* shim.c - preloaded into an ordinary mta: fails the calls it is told to.
 *
 *   LD_PRELOAD=build/faults/shim.so SHIM_FAULTS=FILE mta run ...
 *
 * FILE is a page of memory that all processes of the tree and the driver
 * (page.py) share; its layout is struct page below.  The driver names a
 * process, a call and an errno there and sets `armed`; calls are counted from
 * then on, so one running system serves for any number of failures.  What was
 * called from where is recorded too: each place is known by the addresses in
 * the program that led to it, and one such place alone can be failed.  So that
 * what is done about a failure can fail too, the next call of another kind in
 * the same thread is failed on top of it.
 *
 * With `speed`, the monotonic clock runs that many times faster and waits end
 * that much earlier: a retry after seconds does not cost seconds.
 *
 * SHIM_NAPS=N,MS makes N of 1000 calls come up to MS milliseconds late, in any
 * process and thread, and most of those that are born (`make naps`). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <limits.h>
#include <link.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL(name) CALL_##name,
enum call {
#include "calls.h"
    NCALLS
};
#undef CALL

enum { CALLS_MAX = 128, FRAMES = 8, SITES_MAX = 2048, PATH_LEN = 20 };
enum target { BY_PID = 1, BY_PARENT, BY_PATH };
enum { SHORT = -1 }; /* in place of an errno: do half of it */

struct site {
    uint32_t call, count;
    uint64_t frame[FRAMES]; /* addresses in the program, innermost first */
};

/* Read by page.py: change both. */
struct page {
    uint32_t armed, target;
    int32_t pid;         /* BY_PID; BY_PARENT: children born since arming */
    char path[PATH_LEN]; /* BY_PATH: "2.1" is the second child's first */
    uint32_t call, first, last; /* which calls fail, counted from 1 */
    int32_t error;
    uint32_t generation; /* of this arming */
    uint32_t speed;
    uint32_t seen, hits; /* calls of that kind; those failed */
    int32_t hit_pid;
    uint64_t hit[FRAMES]; /* where the first was */
    uint32_t count[CALLS_MAX];
    uint32_t nsites, lock;
    struct site site[SITES_MAX];
    uint64_t only[FRAMES];    /* the place whose calls fail; 0: any */
    uint64_t then_at[FRAMES]; /* where the second was */
    uint32_t then, then_hits; /* the call that fails next */
    int32_t then_error;
};

static struct page *page;
static uintptr_t base, end; /* of the program in memory */
static uintptr_t spared, spared_end;
static char path[PATH_LEN]; /* of this process in the tree */
static unsigned children, born;
static __thread bool inside;
static __thread uint32_t struck; /* the arming in which a call of ours failed */
static unsigned long long naps, nap_ms;
static __thread uint64_t chance;

/* --- what the program itself calls ---------------------------------------- */

static void *look_up(void *cache, const char *name)
{
    void *fn;

    memcpy(&fn, cache, sizeof fn);
    if (fn == NULL) {
        fn = dlsym(RTLD_NEXT, name);
        memcpy(cache, &fn, sizeof fn);
    }
    return fn;
}

#define REAL(name) ((__typeof__(real_##name))look_up(&real_##name, #name))

static uintptr_t end_of(const struct dl_phdr_info *info)
{
    uintptr_t last = 0;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t to = info->dlpi_addr + h->p_vaddr + h->p_memsz;
        if (h->p_type == PT_LOAD && to > last)
            last = to;
    }
    return last;
}

/* The first is the program.  libconfig 1.5 does not look at what malloc()
 * gives it; that is not ours to prove again. */
static int note_objects(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    if (end == 0) {
        base = info->dlpi_addr;
        end = end_of(info);
    } else if (strstr(info->dlpi_name, "/libconfig.so") != NULL) {
        spared = info->dlpi_addr;
        spared_end = end_of(info);
    }
    return 0;
}

/* --- coming late ---------------------------------------------------------- */

static uint64_t random_number(void)
{
    struct timespec t;

    if (chance == 0) {
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
        chance =
            ((uint64_t)t.tv_nsec << 32 ^ (uint64_t)syscall(SYS_gettid)) | 1;
    }
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

/* For a random part of nap_ms, in so many of 1000 cases. */
static void nap(unsigned long long often)
{
    int why = errno;

    if (nap_ms == 0 || random_number() % 1000 >= often)
        return;
    uint64_t us = random_number() % (nap_ms * 1000);
    struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };
    syscall(SYS_nanosleep, &t, NULL);
    errno = why;
}

static void nap_at_birth(void)
{
    chance = 0; /* another than the parent's */
    nap(700);
}

__attribute__((constructor)) static void begin_naps(void)
{
    const char *text = getenv("SHIM_NAPS");

    if (text == NULL || sscanf(text, "%llu,%llu", &naps, &nap_ms) != 2)
        nap_ms = 0;
    nap_at_birth();
}

/* --- the page ------------------------------------------------------------- */

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("SHIM_FAULTS");
    void *first[1];
    int fd = file == NULL ? -1 : open(file, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    struct page *p =
        mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return;
    (void)backtrace(first, 1); /* loads what it needs, now */
    dl_iterate_phdr(note_objects, NULL);
    born = p->generation;
    page = p;
}

/* --- who, what, when ------------------------------------------------------ */

static bool is_target(const struct page *p)
{
    switch (p->target) {
    case BY_PID: return p->pid == getpid();
    case BY_PARENT: return p->pid == getppid() && born == p->generation;
    case BY_PATH: return strcmp(p->path, path) == 0;
    default: return false;
    }
}

static void note_site(struct page *p, enum call c, const uint64_t *frame)
{
    uint32_t i = 0;

    for (int spin = 0; __atomic_exchange_n(&p->lock, 1, __ATOMIC_ACQUIRE);)
        if (spin++ > 1000000)
            return; /* its holder was killed */
    while (i < p->nsites &&
           (p->site[i].call != c ||
            memcmp(p->site[i].frame, frame, sizeof p->site[i].frame) != 0))
        i++;
    if (i == p->nsites && i < SITES_MAX) {
        p->site[i].call = c;
        p->site[i].count = 0;
        memcpy(p->site[i].frame, frame, sizeof p->site[i].frame);
        p->nsites++;
    }
    if (i < p->nsites)
        p->site[i].count++;
    __atomic_store_n(&p->lock, 0, __ATOMIC_RELEASE);
}

/* False: not for us to fail. */
static bool note_stack(uint64_t *frame)
{
    void *all[32];
    int n = backtrace(all, 32), out = 0;

    memset(frame, 0, FRAMES * sizeof *frame);
    for (int i = 0; i < n && out < FRAMES; i++) {
        uintptr_t at = (uintptr_t)all[i];
        if (at >= base && at < end)
            frame[out++] = at - base;
        else if (out == 0 && at >= spared && at < spared_end)
            return false;
    }
    return out > 0; /* or it is a library's own doing, as it is loaded */
}

static int decide(struct page *p, enum call c)
{
    uint64_t frame[FRAMES];

    if (!note_stack(frame))
        return 0;
    __atomic_add_fetch(&p->count[c], 1, __ATOMIC_RELAXED);
    note_site(p, c, frame);
    if (c == p->then && struck == p->generation &&
        __atomic_fetch_add(&p->then_hits, 1, __ATOMIC_RELAXED) == 0) {
        memcpy(p->then_at, frame, sizeof frame);
        return p->then_error;
    }
    if (c != p->call ||
        (p->only[0] != 0 && memcmp(p->only, frame, sizeof frame) != 0))
        return 0;
    uint32_t n = __atomic_add_fetch(&p->seen, 1, __ATOMIC_RELAXED);
    if (n < p->first || n > p->last)
        return 0;
    if (__atomic_fetch_add(&p->hits, 1, __ATOMIC_RELAXED) == 0) {
        p->hit_pid = getpid();
        memcpy(p->hit, frame, sizeof frame);
    }
    struck = p->generation;
    return p->error;
}

/* 0: let it be done; SHORT; or the errno to fail with. */
static int strike(enum call c)
{
    struct page *p = page;
    int why = errno, rc = 0;

    if (c > CALL_realloc)
        nap(naps);
    if (p == NULL || !__atomic_load_n(&p->armed, __ATOMIC_ACQUIRE) || inside ||
        !is_target(p))
        return 0;
    inside = true;
    rc = decide(p, c);
    inside = false;
    errno = rc > 0 ? rc : why;
    return rc;
}

static size_t half(size_t n)
{
    return n > 1 ? n / 2 : n;
}

/* --- the calls ------------------------------------------------------------ */

#define FAILING(type, name, params, args, failed)                              \
    type name params                                                           \
    {                                                                          \
        static type(*real_##name) params;                                      \
        if (strike(CALL_##name) > 0)                                           \
            return failed;                                                     \
        return REAL(name) args;                                                \
    }

/* Those that may do a part of what they are asked. */
#define PARTIAL(name, params, args)                                            \
    ssize_t name params                                                        \
    {                                                                          \
        static ssize_t(*real_##name) params;                                   \
        int rc = strike(CALL_##name);                                          \
        if (rc > 0)                                                            \
            return -1;                                                         \
        if (rc == SHORT)                                                       \
            n = half(n);                                                       \
        return REAL(name) args;                                                \
    }

/* The allocator is needed before dlsym() can be: a few bytes of our own. */
static void *early(size_t n)
{
    static char room[4096] __attribute__((aligned(16)));
    static size_t used;
    char *p = room + used;

    used += (n + 15) & ~(size_t)15;
    return used <= sizeof room ? p : NULL;
}

#define ALLOCATING(name, params, args, size)                                   \
    void *name params                                                          \
    {                                                                          \
        static void *(*real_##name)params;                                     \
        static bool looking;                                                   \
        if (real_##name == NULL) {                                             \
            if (looking)                                                       \
                return early(size);                                            \
            looking = true;                                                    \
            (void)REAL(name);                                                  \
        }                                                                      \
        return strike(CALL_##name) > 0 ? NULL : real_##name args;              \
    }

ALLOCATING(malloc, (size_t n), (n), n)
ALLOCATING(calloc, (size_t k, size_t n), (k, n), k *n)
ALLOCATING(realloc, (void *p, size_t n), (p, n), n)

PARTIAL(read, (int fd, void *p, size_t n), (fd, p, n))
PARTIAL(pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
PARTIAL(write, (int fd, const void *p, size_t n), (fd, p, n))
PARTIAL(recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
PARTIAL(send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))

/* The first half of the vector, or of its only part. */
static int halve(struct iovec *out, const struct iovec *v, size_t n)
{
    size_t parts = half(n);

    memcpy(out, v, parts * sizeof *v);
    if (n == 1)
        out[0].iov_len = half(v->iov_len);
    return (int)parts;
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
    struct iovec part[IOV_MAX];
    int rc = strike(CALL_pwritev);

    if (rc > 0)
        return -1;
    if (rc == SHORT && n > 0) {
        n = halve(part, v, (size_t)n);
        v = part;
    }
    return REAL(pwritev)(fd, v, n, at);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
    struct iovec part[IOV_MAX];
    struct msghdr less = *m;
    int rc = strike(CALL_sendmsg);

    if (rc > 0)
        return -1;
    if (rc == SHORT && m->msg_iovlen > 0) {
        less.msg_iovlen = (size_t)halve(part, m->msg_iov, m->msg_iovlen);
        less.msg_iov = part;
    }
    return REAL(sendmsg)(fd, &less, flags);
}

int open(const char *name, int flags, ...)
{
    static int (*real_open)(const char *, int, ...);
    va_list ap;

    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strike(CALL_open) > 0 ? -1 : REAL(open)(name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
    static int (*real_openat)(int, const char *, int, ...);
    va_list ap;

    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strike(CALL_openat) > 0 ? -1 : REAL(openat)(dir, name, flags, mode);
}

/* Gone in any case, as on Linux. */
int close(int fd)
{
    static int (*real_close)(int);
    int rc = strike(CALL_close), done = REAL(close)(fd);

    if (rc <= 0)
        return done;
    errno = rc;
    return -1;
}

int fcntl(int fd, int cmd, ...)
{
    static int (*real_fcntl)(int, int, ...);
    va_list ap;

    va_start(ap, cmd);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return strike(CALL_fcntl) > 0 ? -1 : REAL(fcntl)(fd, cmd, arg);
}

/* clang-format off */
FAILING(FILE *, fopen, (const char *p, const char *m), (p, m), NULL)
FAILING(DIR *, opendir, (const char *p), (p), NULL)
FAILING(DIR *, fdopendir, (int fd), (fd), NULL)
FAILING(struct dirent *, readdir, (DIR *d), (d), NULL)
FAILING(char *, getcwd, (char *p, size_t n), (p, n), NULL)
FAILING(int, syncfs, (int fd), (fd), -1)
FAILING(int, fstatat, (int fd, const char *p, struct stat *s, int f),
        (fd, p, s, f), -1)
FAILING(int, statx, (int fd, const char *p, int f, unsigned m, struct statx *s),
        (fd, p, f, m, s), -1)
FAILING(int, unlinkat, (int fd, const char *p, int f), (fd, p, f), -1)
FAILING(int, fsync, (int fd), (fd), -1)
FAILING(int, fdatasync, (int fd), (fd), -1)
FAILING(int, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n), errno)
FAILING(int, ftruncate, (int fd, off_t n), (fd, n), -1)
FAILING(int, rename, (const char *a, const char *b), (a, b), -1)
FAILING(int, link, (const char *a, const char *b), (a, b), -1)
FAILING(int, unlink, (const char *p), (p), -1)
FAILING(int, mkdir, (const char *p, mode_t m), (p, m), -1)
FAILING(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), -1)
FAILING(int, renameat, (int d, const char *a, int t, const char *b),
        (d, a, t, b), -1)
FAILING(int, renameat2, (int d, const char *a, int t, const char *b,
                         unsigned f), (d, a, t, b, f), -1)
FAILING(int, linkat, (int d, const char *a, int t, const char *b, int f),
        (d, a, t, b, f), -1)
FAILING(ssize_t, readlinkat, (int d, const char *p, char *to, size_t n),
        (d, p, to, n), -1)
FAILING(int, fchmod, (int fd, mode_t m), (fd, m), -1)
FAILING(int, mkfifo, (const char *p, mode_t m), (p, m), -1)
FAILING(int, flock, (int fd, int op), (fd, op), -1)
FAILING(int, stat, (const char *p, struct stat *s), (p, s), -1)
FAILING(int, lstat, (const char *p, struct stat *s), (p, s), -1)
FAILING(int, fstat, (int fd, struct stat *s), (fd, s), -1)
FAILING(int, statvfs, (const char *p, struct statvfs *s), (p, s), -1)
FAILING(int, fstatvfs, (int fd, struct statvfs *s), (fd, s), -1)
FAILING(int, access, (const char *p, int m), (p, m), -1)
FAILING(int, fchown, (int fd, uid_t u, gid_t g), (fd, u, g), -1)
FAILING(int, pipe, (int end[2]), (end), -1)
FAILING(void *, mmap, (void *p, size_t n, int prot, int flags, int fd,
                       off_t at), (p, n, prot, flags, fd, at), MAP_FAILED)
FAILING(int, mlock, (const void *p, size_t n), (p, n), -1)
FAILING(int, socket, (int d, int t, int p), (d, t, p), -1)
FAILING(int, bind, (int fd, const struct sockaddr *a, socklen_t n),
        (fd, a, n), -1)
FAILING(int, listen, (int fd, int n), (fd, n), -1)
FAILING(int, accept, (int fd, struct sockaddr *a, socklen_t *n),
        (fd, a, n), -1)
FAILING(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f),
        (fd, a, n, f), -1)
FAILING(int, connect, (int fd, const struct sockaddr *a, socklen_t n),
        (fd, a, n), -1)
FAILING(int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n),
        (fd, l, o, v, n), -1)
FAILING(int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n),
        (fd, l, o, v, n), -1)
FAILING(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n),
        (fd, a, n), -1)
FAILING(int, shutdown, (int fd, int how), (fd, how), -1)
FAILING(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f), -1)
FAILING(int, socketpair, (int d, int t, int p, int end[2]), (d, t, p, end), -1)
FAILING(int, memfd_create, (const char *name, unsigned f), (name, f), -1)
FAILING(int, fchdir, (int fd), (fd), -1)
FAILING(int, pthread_create, (pthread_t *t, const pthread_attr_t *a,
                              void *(*fn)(void *), void *arg),
        (t, a, fn, arg), errno)
FAILING(pid_t, waitpid, (pid_t p, int *s, int o), (p, s, o), -1)
FAILING(int, msgget, (key_t k, int f), (k, f), -1)
FAILING(int, msgctl, (int id, int c, struct msqid_ds *d), (id, c, d), -1)
FAILING(int, msgsnd, (int id, const void *p, size_t n, int f),
        (id, p, n, f), -1)
FAILING(ssize_t, msgrcv, (int id, void *p, size_t n, long t, int f),
        (id, p, n, t, f), -1)
FAILING(int, shmget, (key_t k, size_t n, int f), (k, n, f), -1)
FAILING(int, shmctl, (int id, int c, struct shmid_ds *d), (id, c, d), -1)
FAILING(void *, shmat, (int id, const void *p, int f), (id, p, f),
        (void *)-1)
FAILING(struct passwd *, getpwnam, (const char *n), (n), NULL)
FAILING(int, getpwnam_r, (const char *n, struct passwd *p, char *b, size_t k,
                          struct passwd **r), (n, p, b, k, r), errno)
FAILING(struct passwd *, getpwuid, (uid_t u), (u), NULL)
FAILING(struct group *, getgrnam, (const char *n), (n), NULL)
FAILING(int, getifaddrs, (struct ifaddrs **r), (r), -1)
FAILING(ssize_t, getrandom, (void *p, size_t n, unsigned f), (p, n, f), -1)
FAILING(int, gethostname, (char *p, size_t n), (p, n), -1)
FAILING(int, setuid, (uid_t u), (u), -1)
FAILING(int, setgid, (gid_t g), (g), -1)
FAILING(int, seteuid, (uid_t u), (u), -1)
FAILING(int, setegid, (gid_t g), (g), -1)
FAILING(int, setgroups, (size_t n, const gid_t *g), (n, g), -1)
FAILING(int, initgroups, (const char *n, gid_t g), (n, g), -1)
FAILING(int, getrlimit, (__rlimit_resource_t r, struct rlimit *l), (r, l), -1)
FAILING(int, setrlimit, (__rlimit_resource_t r, const struct rlimit *l), (r, l), -1)
/* clang-format on */

/* What it allocates itself the system does not always look at. */
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h,
                struct addrinfo **r)
{
    static int (*real_getaddrinfo)(const char *, const char *,
                                   const struct addrinfo *, struct addrinfo **);

    if (strike(CALL_getaddrinfo) > 0)
        return EAI_MEMORY;
    inside = true;
    int rc = REAL(getaddrinfo)(n, s, h, r);
    inside = false;
    return rc;
}

pid_t fork(void)
{
    static pid_t (*real_fork)(void);
    size_t n = strlen(path);

    if (strike(CALL_fork) > 0)
        return -1;
    children++;
    pid_t pid = REAL(fork)();
    if (pid == 0) {
        snprintf(path + n, sizeof path - n, "%s%u", n > 0 ? "." : "", children);
        children = 0;
        born = page == NULL ? 0 : page->generation;
        nap_at_birth();
    }
    return pid;
}

/* --- time ----------------------------------------------------------------- */

static long long speed(void)
{
    return page == NULL || page->speed < 1 ? 1 : page->speed;
}

static struct timespec shorter(const struct timespec *t)
{
    long long ns = (t->tv_sec * 1000000000LL + t->tv_nsec) / speed();

    return (struct timespec){ (time_t)(ns / 1000000000), ns % 1000000000 };
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real_clock_gettime)(clockid_t, struct timespec *);
    int rc = REAL(clock_gettime)(id, t);

    if (rc != 0 || id != CLOCK_MONOTONIC || speed() == 1)
        return rc;
    long long ns = (t->tv_sec * 1000000000LL + t->tv_nsec) * speed();
    *t = (struct timespec){ (time_t)(ns / 1000000000), ns % 1000000000 };
    return 0;
}

int nanosleep(const struct timespec *t, struct timespec *rest)
{
    static int (*real_nanosleep)(const struct timespec *, struct timespec *);
    struct timespec less = shorter(t);

    return REAL(nanosleep)(&less, rest);
}

int poll(struct pollfd *p, nfds_t n, int ms)
{
    static int (*real_poll)(struct pollfd *, nfds_t, int);

    if (strike(CALL_poll) > 0)
        return -1;
    return REAL(poll)(p, n, ms > 0 ? (int)((ms + speed() - 1) / speed()) : ms);
}

int select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *t)
{
    static int (*real_select)(int, fd_set *, fd_set *, fd_set *,
                              struct timeval *);

    if (strike(CALL_select) > 0)
        return -1;
    if (t != NULL) {
        struct timespec all = { t->tv_sec, t->tv_usec * 1000 };
        struct timespec less = shorter(&all);
        t->tv_sec = less.tv_sec;
        t->tv_usec = less.tv_nsec / 1000;
    }
    return REAL(select)(n, r, w, x, t);
}

int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *t,
            const sigset_t *mask)
{
    static int (*real_pselect)(int, fd_set *, fd_set *, fd_set *,
                               const struct timespec *, const sigset_t *);
    struct timespec less;

    if (strike(CALL_pselect) > 0)
        return -1;
    if (t != NULL)
        less = shorter(t);
    return REAL(pselect)(n, r, w, x, t == NULL ? NULL : &less, mask);
}
