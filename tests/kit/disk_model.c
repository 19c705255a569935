/* disk_model.c - from the calls that were recorded to disks. */
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

enum { PATH = 512, ENTRIES = 2 * MODEL_NODES };

/* --- the disk ------------------------------------------------------------- */

struct image {
    uint64_t size, used; /* behind `used` are zeros */
    bool is_dir;
    uint64_t room;
    unsigned char *data; /* kept for the next file */
};
struct entry {
    int dir, node; /* node -1: no such name */
    char name[MODEL_NAME];
};
/* A call, or one side of a rename, that no sync covers yet. */
struct pending {
    size_t op;
    enum { DATA, HERE, THERE } part;
    bool doomed; /* a sync that failed: no later one covers it */
    uint64_t n;  /* how much of a doomed write may still show */
};
static struct disk {
    unsigned epoch;
    bool doomed; /* some pending are */
    size_t done; /* calls that are in here */
    size_t npending;
    struct pending pending[2 * MODEL_OPS];
    struct image file[MODEL_NODES];
    struct entry entry[ENTRIES];
    int nentries;
} sure, guess; /* what is synced; what may be there */

static void set_size(struct image *f, uint64_t size)
{
    if (size < f->used)
        f->used = size;
    f->size = size;
}

static void make_room(struct image *f, uint64_t n)
{
    unsigned char *data = malloc(2 * n);

    ck_assert_ptr_nonnull(data);
    if (f->used > 0)
        memcpy(data, f->data, f->used);
    free(f->data);
    f->data = data;
    f->room = 2 * n;
}

static void put_bytes(struct image *f, uint64_t at, const unsigned char *p,
                      uint64_t n)
{
    ck_assert_uint_le(at + n, MODEL_FILE_MAX);
    if (at + n > f->room)
        make_room(f, at + n);
    if (at > f->used)
        memset(f->data + f->used, 0, at - f->used);
    memcpy(f->data + at, p, n);
    if (at + n > f->used)
        f->used = at + n;
}

static void copy_image(struct image *to, const struct image *from)
{
    to->used = 0;
    if (from->used > 0)
        put_bytes(to, 0, from->data, from->used);
    to->size = from->size;
    to->is_dir = from->is_dir;
}

/* Files that nothing names or will name are left out. */
static void guess_from_sure(void)
{
    static bool needed[MODEL_NODES];

    memset(needed, 0, sizeof needed);
    guess.nentries = sure.nentries;
    memcpy(guess.entry, sure.entry,
           (size_t)sure.nentries * sizeof sure.entry[0]);
    for (int i = 0; i < sure.nentries; i++)
        if (sure.entry[i].node >= 0)
            needed[sure.entry[i].node] = true;
    for (size_t i = 0; i < sure.npending; i++)
        if (model_op(sure.pending[i].op)->node >= 0)
            needed[model_op(sure.pending[i].op)->node] = true;
    for (int i = 0; i < model_node_count(); i++)
        if (needed[i])
            copy_image(&guess.file[i], &sure.file[i]);
}

static void set_entry(struct disk *d, int dir, const char *name, int node)
{
    for (int i = 0; i < d->nentries; i++)
        if (d->entry[i].dir == dir && strcmp(d->entry[i].name, name) == 0) {
            d->entry[i].node = node;
            return;
        }
    ck_assert_int_lt(d->nentries, ENTRIES);
    struct entry *e = &d->entry[d->nentries++];
    e->dir = dir;
    e->node = node;
    memcpy(e->name, name, MODEL_NAME);
}

/* What decides which parts of a call are on the disk. */
struct fate {
    enum { EVERYTHING, NOTHING, SIZES, DRAWN } data;
    unsigned seed;
    bool entry;
};
static const struct fate there = { EVERYTHING, 0, true };

static bool drawn(unsigned seed, size_t op, uint64_t sector)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u ^ op * 0xbf58476d1ce4e5b9u ^
                 sector * 0x94d049bb133111ebu;

    x ^= x >> 31;
    x *= 0xd6e8feb86659fd93u;
    return (x >> 40 & 7) < 1 + seed % 6;
}

static void write_sectors(struct image *f, const struct pending *p,
                          const struct fate *fate)
{
    const struct model_op *op = model_op(p->op);

    for (uint64_t at = op->at; at < op->at + p->n;) {
        uint64_t end = (at / MODEL_SECTOR + 1) * MODEL_SECTOR;
        if (end > op->at + p->n)
            end = op->at + p->n;
        bool whole = fate->data == EVERYTHING ||
                     (fate->data == DRAWN && drawn(fate->seed, p->op, at));
        if ((whole || fate->data == SIZES) && end > f->size)
            set_size(f, end);
        if (whole)
            put_bytes(f, at, op->data + (at - op->at), end - at);
        at = end;
    }
}

static void apply_entry(struct disk *d, const struct pending *p)
{
    const struct model_op *op = model_op(p->op);
    bool made = op->kind == MODEL_CREATE || op->kind == MODEL_MKDIR;

    if (p->part == THERE)
        set_entry(d, op->to_dir, op->to, op->node);
    else
        set_entry(d, op->dir, op->name, made ? op->node : -1);
}

static void apply(struct disk *d, const struct pending *p,
                  const struct fate *fate)
{
    const struct model_op *op = model_op(p->op);

    if (p->part != DATA) {
        if (fate->entry)
            apply_entry(d, p);
    } else if (op->kind == MODEL_WRITE) {
        write_sectors(&d->file[op->node], p, fate);
    } else if (fate->data == EVERYTHING || fate->data == SIZES ||
               (fate->data == DRAWN && drawn(fate->seed, p->op, 0))) {
        struct image *f = &d->file[op->node];
        if (!op->grow_only || op->n > f->size)
            set_size(f, op->n);
    }
}

/* --- syncs ---------------------------------------------------------------- */

static int dir_of(const struct pending *p)
{
    const struct model_op *op = model_op(p->op);

    return p->part == HERE ? op->dir : p->part == THERE ? op->to_dir : -1;
}

/* fdatasync() need not write a size that only shrank: nobody needs it to get
 * at data. */
static bool mere_shrink(size_t i)
{
    const struct model_op *op = model_op(sure.pending[i].op);

    if (op->kind != MODEL_SIZE || op->grow_only)
        return false;
    while (++i < sure.npending) {
        const struct model_op *later = model_op(sure.pending[i].op);
        if (sure.pending[i].part == DATA && later->node == op->node &&
            later->kind == MODEL_WRITE && later->at + later->n > op->n)
            return false;
    }
    return true;
}

static bool covers(const struct model_op *sync, size_t i)
{
    const struct pending *p = &sure.pending[i];

    if (p->doomed)
        return false;
    if (p->part != DATA)
        return dir_of(p) == sync->node;
    return model_op(p->op)->node == sync->node &&
           !(sync->data_only && mere_shrink(i));
}

/* What was synced over a doomed call hides it. */
static bool hides(const struct pending *done, struct pending *p)
{
    const struct model_op *op = model_op(p->op), *by = model_op(done->op);

    if (done->part != DATA || op->node != by->node)
        return false;
    if (by->kind == MODEL_WRITE)
        return op->kind == MODEL_WRITE && op->at < by->at + by->n &&
               by->at < op->at + p->n;
    if (by->grow_only)
        return false;
    if (op->kind == MODEL_WRITE && op->at < by->n) {
        if (op->at + p->n > by->n)
            p->n = by->n - op->at;
        return false;
    }
    return true;
}

static size_t drop_hidden(const struct pending *done, size_t n)
{
    size_t left = 0;

    for (size_t i = 0; i < n && sure.doomed; i++)
        if (!sure.pending[i].doomed || !hides(done, &sure.pending[i]))
            sure.pending[left++] = sure.pending[i];
    return sure.doomed ? left : n;
}

/* Make what a sync covers part of what is sure. */
static void absorb(const struct model_op *sync)
{
    static bool covered[2 * MODEL_OPS];
    size_t kept = 0;

    for (size_t i = 0; i < sure.npending; i++)
        covered[i] = covers(sync, i);
    for (size_t i = 0; i < sure.npending; i++) {
        struct pending p = sure.pending[i];
        if (!covered[i]) {
            sure.pending[kept++] = p;
            continue;
        }
        apply(&sure, &p, &there);
        kept = drop_hidden(&p, kept);
    }
    sure.npending = kept;
}

/* Only data: a file system that cannot write its directories stops, and no
 * later sync succeeds. */
static void doom(const struct model_op *sync)
{
    for (size_t i = 0; i < sure.npending; i++)
        sure.pending[i].doomed |=
            sure.pending[i].part == DATA && covers(sync, i);
    sure.doomed = true;
}

static void add_pending(size_t op, int part)
{
    sure.pending[sure.npending++] =
        (struct pending){ op, part, false, model_op(op)->n };
}

static void step(size_t i)
{
    const struct model_op *op = model_op(i);

    switch (op->kind) {
    case MODEL_SYNC:
    case MODEL_SYNC_DIR: absorb(op); break;
    case MODEL_SYNC_FAILED: doom(op); break;
    case MODEL_WRITE:
    case MODEL_SIZE: add_pending(i, DATA); break;
    case MODEL_CREATE:
    case MODEL_MKDIR:
        sure.file[op->node].is_dir = op->kind == MODEL_MKDIR;
        if (op->dir >= 0)
            add_pending(i, HERE);
        break;
    case MODEL_FIRST_NAME: add_pending(i, THERE); break;
    case MODEL_UNLINK: add_pending(i, HERE); break;
    case MODEL_RENAME:
        add_pending(i, HERE);
        add_pending(i, THERE);
        break;
    }
}

static void begin(void)
{
    for (int i = 0; i < MODEL_NODES; i++)
        set_size(&sure.file[i], 0);
    sure.done = sure.npending = 0;
    sure.nentries = 0;
    sure.doomed = false;
    sure.epoch = model_epoch();
    for (size_t i = 0; i < model_base_count(); i++) {
        const struct model_base *b = model_base(i);
        struct image *f = &sure.file[b->node];
        uint64_t n = b->size < MODEL_FILE_MAX ? b->size : MODEL_FILE_MAX;
        set_entry(&sure, b->dir, b->name, b->node);
        f->is_dir = b->is_dir;
        f->size = b->size;
        while (n > 0 && b->data[n - 1] == 0)
            n--;
        if (n > 0)
            put_bytes(f, 0, b->data, n);
    }
}

static void advance(size_t count)
{
    if (count < sure.done || sure.epoch != model_epoch())
        begin();
    for (; sure.done < count; sure.done++)
        step(sure.done);
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

/* Each call for itself, or all of one file and all of one directory alike. */
static struct fate by_lot(unsigned seed, size_t pending)
{
    const struct pending *p = &sure.pending[pending];
    int dir = dir_of(p);
    struct fate f = { DRAWN, seed, false };

    if (seed % 2 == 0) {
        f.entry = seed % 3 == 0 || drawn(seed, pending, 12345);
        return f;
    }
    f.entry = dir >= 0 && drawn(seed, (size_t)dir, 12345);
    if (dir < 0 && seed % 3 != 0)
        f.data = drawn(seed, (size_t)model_op(p->op)->node, 54321) ? EVERYTHING
                                                                   : NOTHING;
    return f;
}

static struct fate fate_of(size_t way, size_t pending)
{
    static const struct fate none = { NOTHING, 0, false };
    size_t from_end = sure.npending - 1 - pending;

    switch (way) {
    case 0: return there;
    case 1: return none;
    case 2: return (struct fate){ NOTHING, 0, true };
    case 3: return (struct fate){ EVERYTHING, 0, false };
    case 4: return (struct fate){ SIZES, 0, true };
    case 5: return pending < sure.npending / 2 ? there : none;
    default: break;
    }
    way -= BASIC;
    if (way < ones()) /* all but one */
        return from_end == way ? none : there;
    way -= ones();
    if (way < ones()) /* one alone, with the entries it needs or without */
        return from_end == way
                   ? there
                   : (struct fate){ NOTHING, 0,
                                    sure.pending[pending].part != DATA };
    return by_lot((unsigned)(way - ones()), pending);
}

static uint64_t hash(uint64_t h, const unsigned char *p, uint64_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        h = (h ^ x) * 1099511628211u;
        h ^= h >> 29;
    }
    while (n-- > 0)
        h = (h ^ *p++) * 1099511628211u;
    return h;
}

static uint64_t fingerprint(void)
{
    uint64_t h = 1469598103934665603u;

    for (int i = 0; i < guess.nentries; i++) {
        const struct entry *e = &guess.entry[i];
        if (e->node < 0)
            continue;
        const struct image *f = &guess.file[e->node];
        h = hash(h ^ (uint64_t)e->dir, (const unsigned char *)e->name,
                 strlen(e->name));
        h = hash((h ^ f->size) * 1099511628211u, f->data, f->used);
    }
    return h;
}

static bool seen_before(size_t count)
{
    static uint64_t seen[256];
    static unsigned epoch;
    static size_t n, of = SIZE_MAX;
    uint64_t h = fingerprint();

    if (count != of || epoch != model_epoch()) {
        of = count;
        epoch = model_epoch();
        n = 0;
    }
    for (size_t i = 0; i < n && i < 256; i++)
        if (seen[i] == h)
            return true;
    seen[n++ % 256] = h;
    return false;
}

/* --- to a directory ------------------------------------------------------- */

static void empty_dir(const char *dir)
{
    char path[PATH];
    DIR *d = opendir(dir);

    ck_assert_ptr_nonnull(d);
    for (struct dirent *n; (n = readdir(d)) != NULL;) {
        if (n->d_name[0] == '.' || strcmp(n->d_name, "run") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, n->d_name);
        if (unlink(path) == 0)
            continue;
        empty_dir(path);
        rmdir(path); /* stays when "run" is below */
    }
    closedir(d);
}

static void write_file(const char *path, const struct image *f)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    if (f->used > 0)
        ck_assert_int_eq(pwrite(fd, f->data, f->used, 0), (ssize_t)f->used);
    if (f->size > f->used)
        ck_assert_int_eq(ftruncate(fd, (off_t)f->size), 0);
    close(fd);
}

/* Of two entries with one name the later counts. */
static void replace(const char *path, char (*made)[PATH])
{
    if (unlink(path) != 0)
        return;
    for (int i = 0; i < MODEL_NODES; i++)
        if (strcmp(made[i], path) == 0)
            made[i][0] = '\0';
}

/* A rename of which both sides are there leaves two names of one file. */
static void fill_dir(const char *dir, int node, char (*made)[PATH])
{
    char path[PATH];

    for (int i = 0; i < guess.nentries; i++) {
        const struct entry *e = &guess.entry[i];
        if (e->node < 0 || e->dir != node)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->name);
        if (guess.file[e->node].is_dir) {
            ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
            fill_dir(path, e->node, made);
            continue;
        }
        replace(path, made);
        if (made[e->node][0] != '\0') {
            ck_assert_int_eq(link(made[e->node], path), 0);
        } else {
            write_file(path, &guess.file[e->node]);
            memcpy(made[e->node], path, PATH);
        }
    }
}

static void compose(size_t count, size_t way)
{
    advance(count);
    guess_from_sure();
    for (size_t i = 0; i < sure.npending; i++) {
        struct fate fate = fate_of(way, i);
        apply(&guess, &sure.pending[i], &fate);
    }
}

static void write_disk(const char *dir)
{
    static char made[MODEL_NODES][PATH];

    empty_dir(dir);
    for (int i = 0; i < MODEL_NODES; i++)
        made[i][0] = '\0';
    fill_dir(dir, 0, made);
}

bool model_build(size_t count, size_t way, const char *dir)
{
    compose(count, way);
    if (seen_before(count))
        return false;
    write_disk(dir);
    return true;
}

void model_rebuild(size_t count, size_t way, const char *dir)
{
    compose(count, way);
    write_disk(dir);
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
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync;
    fs_replace(&ops);
}
