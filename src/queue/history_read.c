#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "queue/history_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 64 }; /* blocks that are read at once */

struct reading {
    int fd;
    uint64_t blocks, newest;
    const struct history_query *query;
    history_fn *fn;
    void *ctx;
    unsigned char piece[PIECE * HISTORY_BLOCK];
};

static bool is_whole(const unsigned char *b, uint64_t number)
{
    size_t used = get_le16(b + 24);

    return get_le32(b) == HISTORY_MAGIC && get_le64(b + 8) == number &&
           used <= HISTORY_ROOM &&
           get_le32(b + 4) == crc32c(0, b + 8, HISTORY_HEAD - 8 + used);
}

static int show_record(struct reading *r, const struct history_event *ev)
{
    const struct history_query *q = r->query;

    return (q->id != NULL && !msg_id_eq(*q->id, ev->id)) || ev->when < q->since
               ? 0
               : r->fn(r->ctx, ev);
}

static int show_block(struct reading *r, const unsigned char *b)
{
    size_t used = get_le16(b + 24);
    struct history_event ev;
    int rc = 0;

    for (size_t at = 0, n; at < used && rc == 0; at += n) {
        n = history_decode(b + HISTORY_HEAD + at, used - at, &ev);
        if (n == 0)
            return 0;
        rc = show_record(r, &ev);
    }
    return rc;
}

/* One that is being written now is read again, once; damage is passed over. */
static int take_block(struct reading *r, unsigned char *b, uint64_t number)
{
    uint64_t place = (number - 1) % r->blocks + 1;

    if (r->query->id != NULL && !history_may_have(b, *r->query->id))
        return 0;
    if (!is_whole(b, number) &&
        (fs_pread(r->fd, b, HISTORY_BLOCK, (off_t)(place * HISTORY_BLOCK)) !=
             HISTORY_BLOCK ||
         !is_whole(b, number)))
        return 0;
    return show_block(r, b);
}

static int read_from(struct reading *r, uint64_t number, struct err *e)
{
    int rc = 0;

    while (number <= r->newest && rc == 0) {
        uint64_t place = (number - 1) % r->blocks + 1;
        uint64_t n = r->blocks + 1 - place;
        n = n < PIECE ? n : PIECE;
        n = n < r->newest - number + 1 ? n : r->newest - number + 1;
        ssize_t got = fs_pread(r->fd, r->piece, (size_t)n * HISTORY_BLOCK,
                               (off_t)(place * HISTORY_BLOCK));
        if (got < 0)
            return err_set(e, ERR_TEMP, errno, "read the history");
        memset(r->piece + got, 0, (size_t)n * HISTORY_BLOCK - (size_t)got);
        for (uint64_t i = 0; i < n && rc == 0; i++)
            rc = take_block(r, r->piece + i * HISTORY_BLOCK, number + i);
        number += n;
    }
    return rc;
}

static uint64_t time_of(const struct reading *r, uint64_t number)
{
    unsigned char head[HISTORY_HEAD];
    uint64_t place = (number - 1) % r->blocks + 1;

    if (fs_pread(r->fd, head, sizeof head, (off_t)(place * HISTORY_BLOCK)) !=
            (ssize_t)sizeof head ||
        get_le64(head + 8) != number)
        return 0; /* gone or damaged: begin behind it */
    return get_le64(head + 16);
}

/* The last block that begins before that time.  A clock that was set back
 * makes it one of several; so two of them more are read. */
static uint64_t find_block(const struct reading *r, uint64_t since)
{
    uint64_t low = r->newest > r->blocks ? r->newest - r->blocks + 1 : 1;
    uint64_t oldest = low, high = r->newest;

    while (since > 0 && low < high) {
        uint64_t mid = low + (high - low + 1) / 2;
        if (time_of(r, mid) <= since)
            low = mid;
        else
            high = mid - 1;
    }
    return low > oldest + 2 ? low - 2 : oldest;
}

static int open_ring(struct reading *r, const char *queue_dir,
                     enum spool_name name, struct err *e)
{
    char path[HISTORY_PATH];

    if (history_path(path, queue_dir, name, e) != 0)
        return -1;
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (r->fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    r->blocks = history_blocks(r->fd);
    r->newest = r->blocks > 0 ? history_newest(r->fd, r->blocks) : 0;
    return 0;
}

uint64_t history_since(const char *queue_dir, enum spool_name name)
{
    struct reading r = { .fd = -1 };

    if (open_ring(&r, queue_dir, name, NULL) != 0)
        return UINT64_MAX;
    uint64_t when =
        r.newest > r.blocks ? time_of(&r, r.newest - r.blocks + 1) : 0;
    close(r.fd);
    return when;
}

int history_read(const char *queue_dir, enum spool_name name,
                 const struct history_query *query, history_fn *fn, void *ctx,
                 struct err *e)
{
    struct reading r = { .query = query, .fn = fn, .ctx = ctx };
    struct err why;

    if (open_ring(&r, queue_dir, name, &why) != 0) {
        if (why.sys == ENOENT)
            return 0;
        if (e != NULL)
            *e = why;
        return -1;
    }
    int rc = r.newest > 0 ? read_from(&r, find_block(&r, query->since), e) : 0;
    close(r.fd);
    return rc;
}
