/* landlock.c - files and ports beyond what a process needs are out of reach.
 *
 * The rules name directories: a rule for a file ends when the file is replaced.
 * Descriptors that are open already stay as they are. */
#include "base/sandbox_private.h"

#include "base/fs.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Headers may be older than the kernel: numbers, rights and structs of the ABI
 * stand here. */
enum {
    CALL_CREATE_RULESET = 444,
    CALL_ADD_RULE = 445,
    CALL_RESTRICT_SELF = 446,
    CREATE_RULESET_VERSION = 1,
    RULE_PATH_BENEATH = 1,
    RULE_NET_PORT = 2
};

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_CHAR = 1 << 6,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_SOCK = 1 << 9,
    MAKE_FIFO = 1 << 10,
    MAKE_BLOCK = 1 << 11,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,     /* ABI 2; before it no file can be moved */
    TRUNCATE = 1 << 14,  /* ABI 3 */
    IOCTL_DEV = 1 << 15, /* ABI 5 */
    BIND_TCP = 1 << 0,   /* ABI 4 */
    CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_UNIX = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1
};

struct ruleset {
    uint64_t files, net, scoped;
};

struct port_rule {
    uint64_t access, port;
};

/* The kernel reads 12 octets: 8 and 4, without a gap. */
struct path_rule {
    uint32_t access[2];
    int32_t fd;
};

static const uint32_t rights[] = {
    [LANDLOCK_LIST] = READ_DIR,
    [LANDLOCK_READ] = READ_DIR | READ_FILE,
    [LANDLOCK_QUEUE] = READ_DIR | READ_FILE | WRITE_FILE | TRUNCATE | MAKE_REG |
                       MAKE_FIFO | REMOVE_FILE,
    [LANDLOCK_MAIL] = READ_DIR | READ_FILE | WRITE_FILE | TRUNCATE | MAKE_REG |
                      REMOVE_FILE | MAKE_DIR | REMOVE_DIR | REFER,
    [LANDLOCK_ALL] = (IOCTL_DEV << 1) - 1,
};

static uint64_t files_of(int abi)
{
    uint64_t all = (1u << 13) - 1;

    all |= abi >= 2 ? REFER : 0;
    all |= abi >= 3 ? TRUNCATE : 0;
    all |= abi >= 5 ? IOCTL_DEV : 0;
    return all;
}

int landlock_begin(struct landlock *l, unsigned may, bool connects,
                   struct err *e)
{
    *l = (struct landlock){ .fd = -1 };
    if (SANITIZED)
        return err_set(e, ERR_TEMP, 0,
                       "landlock: a sanitizer opens its report by name");
    long abi =
        syscall(CALL_CREATE_RULESET, NULL, (size_t)0, CREATE_RULESET_VERSION);
    if (abi < 1)
        return err_set(e, ERR_TEMP, errno, "landlock");
    if (abi < 2 && (may & MAY_MOVE))
        return err_set(e, ERR_TEMP, 0,
                       "landlock: ABI %ld cannot allow to move files", abi);
    l->abi = (int)abi;
    l->files = files_of(l->abi);
    struct ruleset r = { .files = l->files };
    if (abi >= 4)
        r.net = connects ? BIND_TCP : BIND_TCP | CONNECT_TCP;
    if (abi >= 6)
        r.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
    l->fd = (int)syscall(CALL_CREATE_RULESET, &r, sizeof r, 0);
    return l->fd >= 0 ? 0 : err_set(e, ERR_TEMP, errno, "landlock rules");
}

/* --- rules ---------------------------------------------------------------- */

static int allow_fd(const struct landlock *l, int fd, uint32_t access,
                    struct err *e)
{
    uint64_t both = access & l->files;
    struct path_rule r = { .fd = fd };

    memcpy(r.access, &both, sizeof both);
    if (syscall(CALL_ADD_RULE, l->fd, RULE_PATH_BENEATH, &r, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "landlock rule");
    return 0;
}

int landlock_allow(const struct landlock *l, const char *path,
                   enum landlock_access access, struct err *e)
{
    int fd = fs_open(path, O_PATH | O_DIRECTORY, 0);

    if (fd < 0) {
        bool away = errno == ENOENT || errno == ENOTDIR || errno == EACCES;
        err_set(e, ERR_TEMP, errno, "open %s", path);
        return away ? 1 : -1;
    }
    int rc = allow_fd(l, fd, rights[access], e);
    fs_close(fd);
    return rc;
}

int landlock_allow_port(const struct landlock *l, uint16_t port, struct err *e)
{
    struct port_rule r = { CONNECT_TCP, port };

    if (l->abi >= 4 && syscall(CALL_ADD_RULE, l->fd, RULE_NET_PORT, &r, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "landlock rule for port %u", port);
    return 0;
}

/* --- homes ---------------------------------------------------------------- */

static bool is_of_system(const char *name)
{
    static const char *const names[] = { "bin",    "boot", "dev",   "etc",
                                         "lib",    "proc", "run",   "sbin",
                                         "lib32",  "sys",  "lib64", "usr",
                                         "libx32", NULL };
    size_t i = 0;

    while (names[i] != NULL && strcmp(names[i], name) != 0)
        i++;
    return names[i] != NULL;
}

/* Allow an entry of a directory, unless it is no directory itself. */
static int allow_entry(const struct landlock *l, int dir, const char *name,
                       enum landlock_access access, struct err *e)
{
    int fd = fs_openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);

    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP || errno == ENOENT ||
                       errno == EACCES
                   ? 0
                   : err_set(e, ERR_TEMP, errno, "open %s", name);
    int rc = allow_fd(l, fd, rights[access], e);
    fs_close(fd);
    return rc;
}

/* Allow every directory in `dir` but `without`; for mail, none of the system
 * and none that is hidden. */
static int allow_siblings(const struct landlock *l, const char *dir,
                          const char *without, enum landlock_access access,
                          struct err *e)
{
    bool root = dir[1] == '\0';
    const struct dirent *f = NULL;
    DIR *d = opendir(dir);
    int rc = 0;

    if (d == NULL)
        return err_set(e, ERR_TEMP, errno, "read directory %s", dir);
    while (rc == 0 && (errno = 0, f = readdir(d)) != NULL) {
        bool passed =
            access == LANDLOCK_MAIL
                ? f->d_name[0] == '.' || (root && is_of_system(f->d_name))
                : strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0;
        if (!passed && strcmp(f->d_name, without) != 0)
            rc = allow_entry(l, dirfd(d), f->d_name, access, e);
    }
    if (rc == 0 && errno != 0)
        rc = err_set(e, ERR_TEMP, errno, "read directory %s", dir);
    closedir(d);
    return rc;
}

/* Go down towards the queue and allow all that stands beside the way, as long
 * as the directories belong to root.  One of a user may be a home, which has to
 * be allowed in whole, the queue in it included. */
static int allow_beside(const struct landlock *l, const char *queue_dir,
                        enum landlock_access access, struct err *e)
{
    char queue[PATH_MAX], dir[PATH_MAX] = "/";
    struct stat st;

    if (realpath(queue_dir, queue) == NULL)
        return err_set(e, ERR_TEMP, errno, "find %s", queue_dir);
    for (char *at = queue + 1, *slash; *at != '\0'; at = slash) {
        slash = at + strcspn(at, "/");
        char end = *slash;
        *slash = '\0';
        if (allow_siblings(l, dir, at, access, e) != 0)
            return -1;
        if (stat(queue, &st) == 0 && st.st_uid != 0 && end != '\0')
            return landlock_allow(l, queue, access, e);
        memcpy(dir, queue, sizeof dir);
        *slash = end;
        slash += end != '\0';
    }
    return 0;
}

int landlock_allow_homes(const struct landlock *l, const char *queue_dir,
                         struct err *e)
{
    return allow_beside(l, queue_dir, LANDLOCK_MAIL, e);
}

/* Links in / to directories of /usr are followed by name. */
int landlock_allow_others(const struct landlock *l, const char *queue_dir,
                          struct err *e)
{
    return allow_beside(l, queue_dir, LANDLOCK_ALL, e);
}

/* --- in force ------------------------------------------------------------- */

int landlock_enter(const struct landlock *l, struct err *e)
{
    if (syscall(CALL_RESTRICT_SELF, l->fd, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "landlock");
    return 0;
}

void landlock_end(struct landlock *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
