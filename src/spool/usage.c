#include "spool/usage.h"

#include "spool/segment_private.h"

#include <sys/stat.h>

struct use {
    const char *dir;
    uint64_t segments, bytes;
};

static int on_file(void *ctx, uint64_t id, enum spool_kind kind, struct err *e)
{
    struct use *u = ctx;
    char path[SPOOL_PATH];
    struct stat st;

    (void)e;
    spool_path(path, u->dir, id, kind);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return 0; /* removed meanwhile */
    u->segments++;
    u->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

int spool_disk_use(const char *queue_dir, enum spool_name name,
                   uint64_t *segments, uint64_t *bytes, struct err *e)
{
    char dir[SPOOL_DIR];
    struct use u = { dir, 0, 0 };

    if (spool_dir(dir, queue_dir, name, e) != 0 ||
        spool_each(dir, on_file, &u, e) != 0)
        return -1;
    *segments = u.segments;
    *bytes = u.bytes;
    return 0;
}
