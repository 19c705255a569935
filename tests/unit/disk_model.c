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

int (*model_fail)(const struct model_op *op);
bool (*model_lie)(const struct model_op *op);

static struct {
    char dir[256];
    ino_t dir_ino;
    size_t n;
    struct model_op op[MODEL_OPS];
    int nfiles;
    struct {
        ino_t ino;
        bool room;
    } file[MODEL_FILES];
} rec;

/* --- recording ------------------------------------------------------------ */

static const char *name_in_dir(const char *path)
{
    size_t n = strlen(rec.dir);

    return strncmp(path, rec.dir, n) == 0 && path[n] == '/' ? path + n + 1
                                                            : NULL;
}

/* The latest file with that inode: numbers are used again. */
static int file_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -1;
    for (int i = rec.nfiles - 1; i >= 0; i--)
        if (rec.file[i].ino == st.st_ino)
            return i;
    return -1;
}

static bool is_dir(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_ino == rec.dir_ino;
}

static int forbidden(const struct model_op *op)
{
    int why = model_fail == NULL ? 0 : model_fail(op);

    errno = why;
    return why != 0 ? -1 : 0;
}

static void note(const struct model_op *op)
{
    ck_assert_uint_lt(rec.n, MODEL_OPS);
    rec.op[rec.n++] = *op;
}

static int file_named(const char *name)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", rec.dir, name);
    if (stat(path, &st) != 0)
        return -1;
    for (int i = rec.nfiles - 1; i >= 0; i--)
        if (rec.file[i].ino == st.st_ino)
            return i;
    return -1;
}

static int r_open(const char *path, int flags, mode_t mode)
{
    const char *name = name_in_dir(path);
    struct model_op op = { .kind = MODEL_CREATE, .file = -1 };
    struct stat st;

    if (name == NULL || (flags & O_CREAT) == 0)
        return fs_system.open(path, flags, mode);
    snprintf(op.name, sizeof op.name, "%s", name);
    if (forbidden(&op) != 0)
        return -1;
    int fd = fs_system.open(path, flags, mode);
    if (fd < 0)
        return fd;
    ck_assert_int_lt(rec.nfiles, MODEL_FILES);
    ck_assert_int_eq(fstat(fd, &st), 0);
    op.file = rec.nfiles++;
    rec.file[op.file].ino = st.st_ino;
    rec.file[op.file].room = false;
    note(&op);
    return fd;
}

static ssize_t r_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    struct model_op op = { .kind = MODEL_WRITE,
                           .file = file_of(fd),
                           .at = (uint64_t)at };
    if (op.file < 0)
        return fs_system.pwritev(fd, v, n, at);
    int why = model_fail == NULL ? 0 : model_fail(&op);
    if (why > 0) {
        errno = why;
        return -1;
    }
    struct iovec half = { v[0].iov_base, (v[0].iov_len + 1) / 2 };
    ssize_t done = why == MODEL_SHORT ? fs_system.pwritev(fd, &half, 1, at)
                                      : fs_system.pwritev(fd, v, n, at);
    if (done <= 0)
        return done;
    op.n = (uint64_t)done;
    op.data = malloc((size_t)done);
    ck_assert_ptr_nonnull(op.data);
    for (size_t i = 0, to = 0; i < (size_t)n && to < op.n; i++) {
        size_t part = v[i].iov_len < op.n - to ? v[i].iov_len : op.n - to;
        memcpy(op.data + to, v[i].iov_base, part);
        to += part;
    }
    note(&op);
    return done;
}

static int r_size(int fd, off_t size, bool grow_only,
                  int (*call)(int fd, off_t size))
{
    struct model_op op = { .kind = MODEL_SIZE,
                           .file = file_of(fd),
                           .n = (uint64_t)size,
                           .grow_only = grow_only };
    if (op.file < 0)
        return call(fd, size);
    if (forbidden(&op) != 0 || call(fd, size) != 0)
        return -1;
    rec.file[op.file].room |= grow_only;
    note(&op);
    return 0;
}

static int r_allocate(int fd, off_t size)
{
    return r_size(fd, size, true, fs_system.allocate);
}

static int r_truncate(int fd, off_t size)
{
    return r_size(fd, size, false, fs_system.truncate);
}

static int r_sync(int fd, bool data_only)
{
    struct model_op op = { .kind = is_dir(fd) ? MODEL_SYNC_DIR : MODEL_SYNC,
                           .file = file_of(fd),
                           .data_only = data_only };
    if (op.kind == MODEL_SYNC && op.file < 0)
        return 0;
    if (forbidden(&op) != 0)
        return -1;
    if (model_lie == NULL || !model_lie(&op))
        note(&op);
    return 0;
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
    const char *a = name_in_dir(from), *b = name_in_dir(to);
    struct model_op op = { .kind = MODEL_RENAME };

    if (a == NULL || b == NULL)
        return fs_system.rename(from, to);
    snprintf(op.name, sizeof op.name, "%s", a);
    snprintf(op.to, sizeof op.to, "%s", b);
    op.file = file_named(a);
    if (forbidden(&op) != 0 || fs_system.rename(from, to) != 0)
        return -1;
    note(&op);
    return 0;
}

static int r_unlink(const char *path)
{
    const char *name = name_in_dir(path);
    struct model_op op = { .kind = MODEL_UNLINK };

    if (name == NULL)
        return fs_system.unlink(path);
    snprintf(op.name, sizeof op.name, "%s", name);
    op.file = file_named(name);
    if (forbidden(&op) != 0 || fs_system.unlink(path) != 0)
        return -1;
    note(&op);
    return 0;
}

void model_start(const char *dir)
{
    static struct fs_ops ops;
    struct stat st;

    model_free();
    snprintf(rec.dir, sizeof rec.dir, "%s", dir);
    ck_assert_int_eq(stat(dir, &st), 0);
    rec.dir_ino = st.st_ino;
    ops = fs_system;
    ops.open = r_open;
    ops.pwritev = r_pwritev;
    ops.allocate = r_allocate;
    ops.truncate = r_truncate;
    ops.fdatasync = r_fdatasync;
    ops.fsync = r_fsync;
    ops.rename = r_rename;
    ops.unlink = r_unlink;
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
    rec.n = 0;
    rec.nfiles = 0;
}

size_t model_count(void)
{
    return rec.n;
}

const struct model_op *model_op(size_t i)
{
    return &rec.op[i];
}

bool model_has_room(int file)
{
    return rec.file[file].room;
}

/* --- the disk ------------------------------------------------------------- */

struct image {
    uint64_t size;
    unsigned char data[MODEL_FILE_MAX]; /* zeros beyond size */
};
struct entry {
    char name[MODEL_NAME];
    int file;
};
static struct disk {
    size_t done;     /* calls that are in here */
    size_t npending; /* calls that no sync covers yet */
    size_t pending[MODEL_OPS];
    struct image file[MODEL_FILES];
    struct entry entry[MODEL_FILES];
    int nentries;
} sure, guess; /* what is synced; what may be there */

/* Files that nothing names or will name are left out. */
static void copy_disk(struct disk *to, const struct disk *from)
{
    bool needed[MODEL_FILES] = { false };

    to->done = from->done;
    to->npending = from->npending;
    memcpy(to->pending, from->pending,
           from->npending * sizeof from->pending[0]);
    to->nentries = from->nentries;
    memcpy(to->entry, from->entry,
           (size_t)from->nentries * sizeof from->entry[0]);
    for (int i = 0; i < from->nentries; i++)
        if (from->entry[i].file >= 0)
            needed[from->entry[i].file] = true;
    for (size_t i = 0; i < from->npending; i++)
        if (rec.op[from->pending[i]].file >= 0)
            needed[rec.op[from->pending[i]].file] = true;
    for (int i = 0; i < rec.nfiles; i++) {
        struct image *f = &to->file[i];
        uint64_t size = needed[i] ? from->file[i].size : 0;
        if (f->size > size)
            memset(f->data + size, 0, f->size - size);
        memcpy(f->data, from->file[i].data, size);
        f->size = size;
    }
}

static void set_entry(const char *name, int file)
{
    for (int i = 0; i < guess.nentries; i++)
        if (strcmp(guess.entry[i].name, name) == 0) {
            guess.entry[i].file = file;
            return;
        }
    ck_assert_int_lt(guess.nentries, MODEL_FILES);
    snprintf(guess.entry[guess.nentries].name, MODEL_NAME, "%s", name);
    guess.entry[guess.nentries++].file = file;
}

static void set_size(struct image *f, uint64_t size)
{
    ck_assert_uint_le(size, MODEL_FILE_MAX);
    if (size < f->size)
        memset(f->data + size, 0, f->size - size);
    f->size = size;
}

/* What decides which parts of a call are on the disk. */
struct fate {
    enum { EVERYTHING, NOTHING, SIZES, DRAWN } data;
    unsigned seed;
    bool entry;
};

static bool drawn(unsigned seed, size_t op, uint64_t sector)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u ^ op * 0xbf58476d1ce4e5b9u ^
                 sector * 0x94d049bb133111ebu;

    x ^= x >> 31;
    x *= 0xd6e8feb86659fd93u;
    return (x >> 40 & 7) < 1 + seed % 6;
}

static void write_sectors(struct image *f, size_t i, const struct fate *fate)
{
    const struct model_op *op = &rec.op[i];

    ck_assert_uint_le(op->at + op->n, MODEL_FILE_MAX);
    for (uint64_t at = op->at; at < op->at + op->n;) {
        uint64_t end = (at / MODEL_SECTOR + 1) * MODEL_SECTOR;
        if (end > op->at + op->n)
            end = op->at + op->n;
        bool there = fate->data == EVERYTHING ||
                     (fate->data == DRAWN && drawn(fate->seed, i, at));
        if ((there || fate->data == SIZES) && end > f->size)
            set_size(f, end);
        if (there)
            memcpy(f->data + at, op->data + (at - op->at), end - at);
        at = end;
    }
}

static void apply(size_t i, const struct fate *fate)
{
    const struct model_op *op = &rec.op[i];
    struct image *f = op->file < 0 ? NULL : &guess.file[op->file];
    bool whole = fate->data == EVERYTHING || fate->data == SIZES ||
                 (fate->data == DRAWN && drawn(fate->seed, i, 0));

    switch (op->kind) {
    case MODEL_WRITE: write_sectors(f, i, fate); break;
    case MODEL_SIZE:
        if (whole && (!op->grow_only || op->n > f->size))
            set_size(f, op->n);
        break;
    case MODEL_CREATE:
        if (fate->entry)
            set_entry(op->name, op->file);
        break;
    case MODEL_RENAME:
        if (fate->entry) {
            set_entry(op->name, -1);
            set_entry(op->to, op->file);
        }
        break;
    case MODEL_UNLINK:
        if (fate->entry)
            set_entry(op->name, -1);
        break;
    case MODEL_SYNC:
    case MODEL_SYNC_DIR: break;
    }
}

static bool is_entry(const struct model_op *op)
{
    return op->kind == MODEL_CREATE || op->kind == MODEL_RENAME ||
           op->kind == MODEL_UNLINK;
}

static bool covers(const struct model_op *sync, const struct model_op *op)
{
    return sync->kind == MODEL_SYNC_DIR
               ? is_entry(op)
               : !is_entry(op) && op->file == sync->file;
}

/* Make what a sync covers part of what is sure. */
static void absorb(const struct model_op *sync)
{
    static const struct fate there = { EVERYTHING, 0, true };
    size_t kept = 0;

    copy_disk(&guess, &sure);
    for (size_t i = 0; i < sure.npending; i++)
        if (covers(sync, &rec.op[sure.pending[i]]))
            apply(sure.pending[i], &there);
        else
            guess.pending[kept++] = sure.pending[i];
    guess.npending = kept;
    copy_disk(&sure, &guess);
}

static void advance(size_t count)
{
    if (count < sure.done)
        memset(&sure, 0, sizeof sure);
    for (; sure.done < count; sure.done++) {
        const struct model_op *op = &rec.op[sure.done];
        if (op->kind == MODEL_SYNC || op->kind == MODEL_SYNC_DIR)
            absorb(op);
        else
            sure.pending[sure.npending++] = sure.done;
    }
}

/* --- ways to end ---------------------------------------------------------- */

enum { ONES = 10, BASIC = 6, DRAWS = 6, DRAWS_THOROUGH = 40 };

static size_t ones(void)
{
    return sure.npending < ONES ? sure.npending : ONES;
}

size_t model_ways(size_t count, bool thorough)
{
    advance(count);
    if (sure.npending == 0)
        return 1;
    return BASIC + 2 * ones() + (thorough ? DRAWS_THOROUGH : DRAWS);
}

static struct fate fate_of(size_t way, size_t pending)
{
    size_t from_end = sure.npending - 1 - pending;
    bool entry = is_entry(&rec.op[sure.pending[pending]]);

    switch (way) {
    case 0: return (struct fate){ EVERYTHING, 0, true };
    case 1: return (struct fate){ NOTHING, 0, false };
    case 2: return (struct fate){ NOTHING, 0, true };
    case 3: return (struct fate){ EVERYTHING, 0, false };
    case 4: return (struct fate){ SIZES, 0, true };
    case 5: /* the first half of the calls */
        return pending < sure.npending / 2
                   ? (struct fate){ EVERYTHING, 0, true }
                   : (struct fate){ NOTHING, 0, false };
    default: break;
    }
    way -= BASIC;
    if (way < ones()) /* all but one */
        return from_end == way ? (struct fate){ NOTHING, 0, false }
                               : (struct fate){ EVERYTHING, 0, true };
    way -= ones();
    if (way < ones()) /* one alone, with the entries it needs or without */
        return from_end == way ? (struct fate){ EVERYTHING, 0, true }
                               : (struct fate){ NOTHING, 0, entry };
    way -= ones();
    return (struct fate){ DRAWN, (unsigned)way,
                          way % 3 == 0 ||
                              drawn((unsigned)way, pending, 12345) };
}

static uint64_t fingerprint(void)
{
    uint64_t h = 1469598103934665603u;

    for (int i = 0; i < guess.nentries; i++) {
        const struct entry *n = &guess.entry[i];
        if (n->file < 0)
            continue;
        const struct image *f = &guess.file[n->file];
        for (const char *p = n->name; *p != '\0'; p++)
            h = (h ^ (unsigned char)*p) * 1099511628211u;
        h = (h ^ f->size) * 1099511628211u;
        for (uint64_t at = 0; at < f->size; at += 8) {
            uint64_t x;
            memcpy(&x, f->data + at, 8);
            h = (h ^ x) * 1099511628211u;
            h ^= h >> 29;
        }
    }
    return h;
}

static bool seen_before(size_t count, size_t way)
{
    static uint64_t seen[256];
    static size_t n, of = SIZE_MAX;
    uint64_t h = fingerprint();

    if (count != of || way == 0) {
        of = count;
        n = 0;
    }
    for (size_t i = 0; i < n; i++)
        if (seen[i] == h)
            return true;
    seen[n++ % 256] = h;
    return false;
}

static void empty_dir(const char *dir)
{
    char path[600];
    DIR *d = opendir(dir);

    ck_assert_ptr_nonnull(d);
    for (struct dirent *n; (n = readdir(d)) != NULL;)
        if (n->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", dir, n->d_name);
            unlink(path);
        }
    closedir(d);
}

static void write_file(const char *dir, const struct entry *n)
{
    const struct image *f = &guess.file[n->file];
    uint64_t used = f->size;
    char path[600];

    snprintf(path, sizeof path, "%s/%s", dir, n->name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    while (used > 0 && f->data[used - 1] == 0)
        used--;
    ck_assert_int_eq(pwrite(fd, f->data, used, 0), (ssize_t)used);
    ck_assert_int_eq(ftruncate(fd, (off_t)f->size), 0);
    close(fd);
}

bool model_build(size_t count, size_t way, const char *dir)
{
    advance(count);
    copy_disk(&guess, &sure);
    for (size_t i = 0; i < sure.npending; i++) {
        struct fate fate = fate_of(way, i);
        apply(sure.pending[i], &fate);
    }
    if (seen_before(count, way))
        return false;
    empty_dir(dir);
    for (int i = 0; i < guess.nentries; i++)
        if (guess.entry[i].file >= 0)
            write_file(dir, &guess.entry[i]);
    return true;
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

void model_fast_calls(void)
{
    static struct fs_ops ops;

    ops = fs_system;
    ops.fsync = ops.fdatasync = no_sync;
    fs_replace(&ops);
}
