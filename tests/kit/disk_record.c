/* disk_record.c - take down what is done to a directory; see disk_model.h. */
#include "disk_model.h"

#include "base/fs.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 512 };

int (*model_fail)(const struct model_op *op);
unsigned model_who;
bool (*model_lie)(const struct model_op *op);
bool model_named;

static struct {
    char root[256];
    unsigned epoch;
    size_t n, nbase;
    struct model_op op[MODEL_OPS];
    struct model_base base[MODEL_NODES];
    int nnodes;
    struct {
        ino_t ino;
        bool room, is_dir;
        bool dirty;       /* changed since it was synced */
        unsigned unheard; /* who did not hear yet of a failed sync */
        char path[2 * MODEL_NAME];
    } node[MODEL_NODES];
    unsigned unheard; /* who has not, of the file system as a whole */
} rec;

/* --- nodes ---------------------------------------------------------------- */

/* The latest with that number: they are used again. */
static int node_of(ino_t ino)
{
    for (int i = rec.nnodes - 1; i >= 0; i--)
        if (rec.node[i].ino == ino)
            return i;
    return -1;
}

static int node_at(const char *path)
{
    struct stat st;

    return lstat(path, &st) != 0 ? -1 : node_of(st.st_ino);
}

static int node_of_fd(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 ? -1 : node_of(st.st_ino);
}

/* path: for patterns and persons. */
static int add_inode(const char *path, const struct stat *st)
{
    size_t skip = strlen(rec.root);

    ck_assert_int_lt(rec.nnodes, MODEL_NODES);
    rec.node[rec.nnodes].ino = st->st_ino;
    rec.node[rec.nnodes].room = rec.node[rec.nnodes].dirty = false;
    rec.node[rec.nnodes].unheard = 0;
    rec.node[rec.nnodes].is_dir = S_ISDIR(st->st_mode);
    snprintf(rec.node[rec.nnodes].path, sizeof rec.node[0].path, "%s",
             path[skip] == '/' ? path + skip + 1 : "");
    return rec.nnodes++;
}

static int add_node(const char *path)
{
    struct stat st;

    ck_assert_int_eq(lstat(path, &st), 0);
    return add_inode(path, &st);
}

/* The directory of a path and the name in it; -1: not one of ours. */
static int split(const char *path, char name[MODEL_NAME])
{
    char dir[PATH];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || (size_t)(slash - path) >= sizeof dir)
        return -1;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    ck_assert_uint_lt(strlen(slash + 1), MODEL_NAME);
    snprintf(name, MODEL_NAME, "%s", slash + 1);
    return node_at(dir);
}

/* --- calls ---------------------------------------------------------------- */

/* 0, or -1 with errno; `brief`: do less than it should. */
static int ask(const struct model_op *op, bool *brief)
{
    int why = model_fail == NULL ? 0 : model_fail(op);

    *brief = why == MODEL_SHORT;
    errno = why == MODEL_KILLED ? EIO : why;
    return why > 0 || why == MODEL_KILLED ? -1 : 0;
}

static int forbidden(const struct model_op *op)
{
    bool brief;

    return ask(op, &brief);
}

static void note(const struct model_op *op)
{
    bool sync = op->kind == MODEL_SYNC || op->kind == MODEL_SYNC_DIR;
    const int touched[] = { op->node, op->dir, op->to_dir };

    ck_assert_uint_lt(rec.n, MODEL_OPS);
    rec.op[rec.n++] = *op;
    for (size_t i = 0; i < sizeof touched / sizeof touched[0]; i++)
        if (touched[i] >= 0)
            rec.node[touched[i]].dirty = !sync;
}

static int r_open(const char *path, int flags, mode_t mode)
{
    struct model_op op = { .kind = MODEL_CREATE, .node = -1, .to_dir = -1 };

    if ((flags & O_CREAT) == 0 || (op.dir = split(path, op.name)) < 0 ||
        (node_at(path) >= 0 && (flags & O_EXCL) == 0))
        return fs_system.open(path, flags, mode);
    if (forbidden(&op) != 0)
        return -1;
    int fd = fs_system.open(path, flags, mode);
    if (fd < 0)
        return fd;
    op.node = add_node(path);
    note(&op);
    return fd;
}

static int r_mkdir(const char *path, mode_t mode)
{
    struct model_op op = { .kind = MODEL_MKDIR, .node = -1, .to_dir = -1 };

    if ((op.dir = split(path, op.name)) < 0)
        return fs_system.mkdir(path, mode);
    if (forbidden(&op) != 0 || fs_system.mkdir(path, mode) != 0)
        return -1;
    op.node = add_node(path);
    note(&op);
    return 0;
}

static unsigned char *gather(const struct iovec *v, int n, size_t size)
{
    unsigned char *data = malloc(size);

    ck_assert_ptr_nonnull(data);
    for (size_t i = 0, to = 0; i < (size_t)n && to < size; i++) {
        size_t part = v[i].iov_len < size - to ? v[i].iov_len : size - to;
        memcpy(data + to, v[i].iov_base, part);
        to += part;
    }
    return data;
}

static ssize_t r_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    struct model_op op = { .kind = MODEL_WRITE,
                           .node = node_of_fd(fd),
                           .dir = -1,
                           .to_dir = -1,
                           .at = (uint64_t)at };
    if (op.node < 0)
        return fs_system.pwritev(fd, v, n, at);
    bool brief;
    if (ask(&op, &brief) != 0)
        return -1;
    struct iovec half = { v[0].iov_base, (v[0].iov_len + 1) / 2 };
    if (brief) {
        v = &half;
        n = 1;
    }
    ssize_t done = fs_system.pwritev(fd, v, n, at);
    if (done <= 0)
        return done;
    op.n = (uint64_t)done;
    op.data = gather(v, n, (size_t)done);
    note(&op);
    return done;
}

/* Only for files opened with O_APPEND: the end is the place. */
static ssize_t r_write(int fd, const void *p, size_t n)
{
    struct iovec v = { (void *)(uintptr_t)p, n };
    struct stat st;

    if (node_of_fd(fd) < 0)
        return fs_system.write(fd, p, n);
    ck_assert_int_eq(fstat(fd, &st), 0);
    return r_pwritev(fd, &v, 1, st.st_size);
}

static int r_size(int fd, off_t size, bool grow_only)
{
    struct model_op op = { .kind = MODEL_SIZE,
                           .node = node_of_fd(fd),
                           .dir = -1,
                           .to_dir = -1,
                           .n = (uint64_t)size,
                           .grow_only = grow_only };
    struct stat st;

    if (op.node < 0)
        return grow_only ? fs_system.allocate(fd, size)
                         : fs_system.truncate(fd, size);
    if (forbidden(&op) != 0)
        return -1;
    /* Memory is not reserved in earnest: segments are large. */
    ck_assert_int_eq(fstat(fd, &st), 0);
    if ((!grow_only || size > st.st_size) && fs_system.truncate(fd, size) != 0)
        return -1;
    rec.node[op.node].room |= grow_only;
    note(&op);
    return 0;
}

static int r_allocate(int fd, off_t size)
{
    return r_size(fd, size, true);
}

static int r_truncate(int fd, off_t size)
{
    return r_size(fd, size, false);
}

/* What could not be written is told once to each who has the file open, by
 * the next sync of his, whoever tried to write it (Linux, errseq_t). */
static bool hears(unsigned *unheard)
{
    unsigned me = 1u << model_who;
    bool has = (*unheard & me) != 0;

    *unheard &= ~me;
    return has;
}

static int sync_node(int node, bool data_only, bool together)
{
    struct model_op op = {
        .node = node, .dir = -1, .to_dir = -1, .data_only = data_only
    };

    op.kind = rec.node[node].is_dir ? MODEL_SYNC_DIR : MODEL_SYNC;
    int why = model_fail == NULL ? 0 : model_fail(&op);
    if (why == 0 && !together && hears(&rec.node[node].unheard))
        why = EIO;
    if (why > 0)
        op.kind = MODEL_SYNC_FAILED;
    if (why > 0 && together)
        rec.node[node].unheard = rec.unheard = ~0u;
    else if (why > 0) /* each open descriptor reports it once (fsync(2)) */
        rec.node[node].unheard = ~(1u << model_who);
    if (why != MODEL_KILLED &&
        (why > 0 || model_lie == NULL || !model_lie(&op)))
        note(&op);
    errno = why == MODEL_KILLED ? EIO : why;
    return why > 0 || why == MODEL_KILLED ? -1 : 0;
}

static int r_sync(int fd, bool data_only)
{
    int node = node_of_fd(fd);

    return node < 0 ? 0 : sync_node(node, data_only, false);
}

/* One after the other: a power cut may come in between. */
static int r_syncfs(int fd)
{
    int rc = 0;

    (void)fd;
    for (int i = 0; i < rec.nnodes && rc == 0; i++)
        if (rec.node[i].dirty)
            rc = sync_node(i, false, true);
    if (!hears(&rec.unheard) || rc != 0)
        return rc;
    errno = EIO;
    return -1;
}

static int r_fdatasync(int fd)
{
    return r_sync(fd, true);
}

static int r_fsync(int fd)
{
    return r_sync(fd, false);
}

static int r_rename(const char *from, const char *to)
{
    struct model_op op = { .kind = MODEL_RENAME };

    op.dir = split(from, op.name);
    op.to_dir = split(to, op.to);
    op.node = node_at(from);
    if (op.dir < 0 || op.to_dir < 0)
        return fs_system.rename(from, to);
    if (forbidden(&op) != 0)
        return -1;
    op.node = node_at(from); /* others may have been at work */
    if (fs_system.rename(from, to) != 0)
        return -1;
    note(&op);
    return 0;
}

static int r_unlink(const char *path)
{
    struct model_op op = { .kind = MODEL_UNLINK, .to_dir = -1 };

    if ((op.dir = split(path, op.name)) < 0)
        return fs_system.unlink(path);
    op.node = node_at(path);
    if (forbidden(&op) != 0)
        return -1;
    op.node = node_at(path);
    if (fs_system.unlink(path) != 0)
        return -1;
    note(&op);
    return 0;
}

/* --- by descriptor of a directory ---------------------------------------- */

/* Where a name stands; of a directory that was removed: a path to nothing. */
static void path_at(char out[PATH], int dir, const char *name)
{
    char link[64];
    ssize_t n = 0;

    if (dir != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        n = readlink(link, out, PATH - 1);
        ck_assert_int_gt(n, 0);
        out[n++] = '/';
    }
    ck_assert_uint_lt((size_t)n + strlen(name), PATH);
    snprintf(out + n, PATH - (size_t)n, "%s", name);
}

static int r_openat(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH];

    path_at(path, dir, name);
    return r_open(path, flags, mode);
}

static int r_mkdirat(int dir, const char *name, mode_t mode)
{
    char path[PATH];

    path_at(path, dir, name);
    return r_mkdir(path, mode);
}

static int r_unlinkat(int dir, const char *name)
{
    char path[PATH];

    path_at(path, dir, name);
    return r_unlink(path);
}

static int r_renameat(int dir, const char *from, const char *to)
{
    char path[PATH], other[PATH];

    path_at(path, dir, from);
    path_at(other, dir, to);
    return r_rename(path, other);
}

static int r_rename_new(int from_dir, const char *from, int to_dir,
                        const char *to)
{
    char path[PATH], other[PATH];

    path_at(path, from_dir, from);
    path_at(other, to_dir, to);
    if (access(other, F_OK) != 0)
        return r_rename(path, other);
    errno = EEXIST;
    return -1;
}

/* Its path is that of a name that no file has. */
static int r_unnamed(int dir, mode_t mode)
{
    struct model_op op = {
        .kind = MODEL_CREATE, .node = -1, .dir = -1, .to_dir = -1
    };
    char path[PATH];
    struct stat st;

    if (forbidden(&op) != 0)
        return -1;
    int fd = fs_system.unnamed(dir, mode);
    if (fd < 0)
        return fd;
    path_at(path, dir, "*");
    ck_assert_int_eq(fstat(fd, &st), 0);
    op.node = add_inode(path, &st);
    note(&op);
    return fd;
}

static int r_name(int fd, int dir, const char *name)
{
    struct model_op op = { .kind = MODEL_FIRST_NAME, .dir = -1 };
    char path[PATH];

    path_at(path, dir, name);
    op.to_dir = split(path, op.to);
    op.node = node_of_fd(fd);
    ck_assert(op.node >= 0 && op.to_dir >= 0);
    if (forbidden(&op) != 0 || fs_system.name(fd, dir, name) != 0)
        return -1;
    note(&op);
    return 0;
}

/* That of the real one decides where the tests run. */
static int r_magic(int fd, unsigned long *magic)
{
    (void)fd;
    *magic = model_named ? 0 : 0xef53;
    return 0;
}

/* A way that the model does not know must not be taken unseen. */
static int r_link(const char *from, const char *to)
{
    ck_abort_msg("link %s %s: not in the model", from, to);
    return -1;
}

/* --- what was there ------------------------------------------------------- */

static void read_base(struct model_base *b, const char *path, off_t size)
{
    int fd = open(path, O_RDONLY);
    off_t want = size < MODEL_FILE_MAX ? size : MODEL_FILE_MAX;

    b->size = (uint64_t)size;
    b->data = malloc((size_t)want + 1);
    ck_assert(fd >= 0 && b->data != NULL);
    ck_assert_int_eq(pread(fd, b->data, (size_t)want, 0), want);
    close(fd);
}

static void take_stock(const char *path, int dir)
{
    char below[PATH];
    struct stat st;
    DIR *d = opendir(path);

    ck_assert_ptr_nonnull(d);
    for (struct dirent *n; (n = readdir(d)) != NULL;) {
        struct model_base *b = &rec.base[rec.nbase];
        if (n->d_name[0] == '.' || strcmp(n->d_name, "run") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, n->d_name);
        ck_assert_int_eq(lstat(below, &st), 0);
        *b = (struct model_base){ .node = add_node(below),
                                  .dir = dir,
                                  .is_dir = S_ISDIR(st.st_mode) };
        ck_assert_uint_lt(strlen(n->d_name), sizeof b->name);
        memcpy(b->name, n->d_name, strlen(n->d_name) + 1);
        rec.nbase++;
        if (b->is_dir)
            take_stock(below, b->node);
        else
            read_base(b, below, st.st_size);
    }
    closedir(d);
}

void model_start(const char *root)
{
    static struct fs_ops ops;

    model_free();
    rec.epoch++;
    snprintf(rec.root, sizeof rec.root, "%s", root);
    take_stock(root, add_node(root));
    ops = fs_system;
    ops.open = r_open;
    ops.mkdir = r_mkdir;
    ops.pwritev = r_pwritev;
    ops.write = r_write;
    ops.allocate = r_allocate;
    ops.truncate = r_truncate;
    ops.fdatasync = r_fdatasync;
    ops.fsync = r_fsync;
    ops.syncfs = r_syncfs;
    ops.rename = r_rename;
    ops.unlink = r_unlink;
    ops.openat = r_openat;
    ops.mkdirat = r_mkdirat;
    ops.renameat = r_renameat;
    ops.rename_new = r_rename_new;
    ops.unlinkat = r_unlinkat;
    ops.unnamed = r_unnamed;
    ops.name = r_name;
    ops.magic = r_magic;
    ops.link = r_link;
    fs_replace(&ops);
}

void model_stop(void)
{
    fs_replace(NULL);
}

void model_free(void)
{
    for (size_t i = 0; i < rec.n; i++)
        free(rec.op[i].data);
    for (size_t i = 0; i < rec.nbase; i++)
        free(rec.base[i].data);
    rec.n = rec.nbase = 0;
    rec.nnodes = 0;
    rec.unheard = 0;
}

size_t model_count(void)
{
    return rec.n;
}

const struct model_op *model_op(size_t i)
{
    return &rec.op[i];
}

bool model_has_room(int node)
{
    return rec.node[node].room;
}

bool model_has_no_name(int node)
{
    for (size_t i = rec.n; i-- > 0;)
        if (rec.op[i].node == node && (rec.op[i].kind == MODEL_FIRST_NAME ||
                                       rec.op[i].kind == MODEL_CREATE))
            return rec.op[i].kind == MODEL_CREATE && rec.op[i].dir < 0;
    return false;
}

const char *model_path(int node)
{
    return rec.node[node].path;
}

size_t model_base_count(void)
{
    return rec.nbase;
}

const struct model_base *model_base(size_t i)
{
    return &rec.base[i];
}

int model_node_count(void)
{
    return rec.nnodes;
}

unsigned model_epoch(void)
{
    return rec.epoch;
}

void model_print(FILE *out)
{
    static const char *const kinds[] = { "create",      "mkdir",  "write",
                                         "size",        "sync",   "sync dir",
                                         "sync failed", "rename", "unlink",
                                         "name" };

    for (size_t i = 0; i < rec.n; i++) {
        const struct model_op *op = &rec.op[i];
        fprintf(out, "%4zu %-11s %s", i, kinds[op->kind],
                op->node < 0 ? "?" : model_path(op->node));
        if (op->kind == MODEL_WRITE)
            fprintf(out, " at %llu", (unsigned long long)op->at);
        if (op->kind == MODEL_WRITE || op->kind == MODEL_SIZE)
            fprintf(out, " %llu", (unsigned long long)op->n);
        if (op->dir >= 0)
            fprintf(out, " %s", op->name);
        if (op->to_dir >= 0)
            fprintf(out, " to %s", op->to);
        fputc('\n', out);
    }
}
