#include "queue/history.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "queue/history_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { TURN_BLOCKS = 32, DISK_PART = 64 };

/* The blocks of the turn; the last one is not full and stays when the turn is
 * written. */
struct history {
    int fd;
    bool failed; /* the last write */
    int fault;   /* errno of one that is not reported yet; 0: none */
    uint64_t size;
    uint64_t blocks; /* of the ring; 0: it could not be begun so far */
    uint64_t number; /* of the block in turn[n] */
    size_t n, used;  /* of turn[n] */
    bool changed;
    unsigned char turn[TURN_BLOCKS][HISTORY_BLOCK];
};

/* On a small disk the ring leaves the rest to mail. */
static uint64_t fitting_size(int fd, uint64_t size)
{
    struct statvfs v;

    if (fstatvfs(fd, &v) != 0)
        return size;
    uint64_t most = (uint64_t)v.f_frsize * v.f_blocks / DISK_PART;
    return size < most ? size : most;
}

static uint64_t blocks_wanted(const struct history *h, uint64_t there)
{
    if (h->size == HISTORY_AS_IT_IS)
        return there;
    uint64_t blocks = fitting_size(h->fd, h->size) / HISTORY_BLOCK;
    return blocks < 2 * TURN_BLOCKS ? 2 * TURN_BLOCKS : blocks;
}

static int begin(struct history *h, const char *path, struct err *e)
{
    unsigned char head[HISTORY_HEAD] = { 0 };
    uint64_t there = history_blocks(h->fd), blocks = blocks_wanted(h, there);

    h->number = 1;
    if (there > 0 && there == blocks)
        h->number = history_newest(h->fd, blocks) + 1;
    put_le32(head, HISTORY_MAGIC_TOP);
    put_le64(head + 8, blocks);
    if (there != blocks && (fs_truncate(h->fd, 0) != 0 ||
                            fs_pwrite_all(h->fd, head, sizeof head, 0) != 0))
        return err_set(e, ERR_TEMP, errno, "begin %s", path);
    h->blocks = blocks;
    return 0;
}

/* Never through a link, nor a FIFO in its place. */
static int open_file(const char *path, int create, struct err *e)
{
    struct stat st;
    int fd =
        open(path, O_RDWR | create | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return err_set(e, ERR_PERM, 0, "%s is no regular file", path);
}

/* A disk that is full now may have room later. */
static int open_ring(struct history *h, const char *path, struct err *e)
{
    bool makes = h->size != HISTORY_AS_IT_IS;

    h->fd = open_file(path, makes ? O_CREAT : 0, e);
    if (h->fd < 0)
        return !makes && e->sys == ENOENT ? 0 : -1;
    if (begin(h, path, e) == 0)
        return 0;
    h->failed = true;
    return -1;
}

int history_open(struct history **out, const char *queue_dir,
                 enum spool_name name, uint64_t size, struct err *e)
{
    char path[HISTORY_PATH];
    struct history *h;

    *out = NULL;
    if (size == 0)
        return 0;
    if (history_path(path, queue_dir, name, e) != 0)
        return -1;
    h = calloc(1, sizeof *h);
    if (h == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the history");
    h->size = size;
    int rc = open_ring(h, path, e);
    if (h->blocks == 0 && !h->failed)
        history_close(&h);
    *out = h;
    return rc;
}

void history_close(struct history **h)
{
    struct err e;

    if (*h == NULL)
        return;
    if ((*h)->fd >= 0) {
        (void)history_flush(*h, &e);
        close((*h)->fd);
    }
    free(*h);
    *h = NULL;
}

/* The head of turn[i], which holds the block of that number. */
static void seal(struct history *h, size_t i, uint64_t number, size_t used)
{
    unsigned char *b = h->turn[i];

    put_le32(b, HISTORY_MAGIC);
    put_le64(b + 8, number);
    put_le64(b + 16, get_le64(b + HISTORY_HEAD + 24)); /* "when" */
    put_le16(b + 24, (uint16_t)used);
    memset(b + 26, 0, 6);
    put_le32(b + 4, crc32c(0, b + 8, HISTORY_HEAD - 8 + used));
}

static int write_blocks(struct history *h, size_t from, size_t n,
                        uint64_t number)
{
    uint64_t place = (number - 1) % h->blocks + 1;
    size_t first = n;

    if (place + n > h->blocks + 1)
        first = (size_t)(h->blocks + 1 - place);
    if (fs_pwrite_all(h->fd, h->turn[from], first * HISTORY_BLOCK,
                      (off_t)(place * HISTORY_BLOCK)) != 0)
        return -1;
    return first == n
               ? 0
               : write_blocks(h, from + first, n - first, number + first);
}

bool history_waits(const struct history *h)
{
    return h != NULL && (h->changed || h->fault != 0);
}

/* The blocks so far are the first ones of the ring then. */
static int begin_late(struct history *h)
{
    if (begin(h, "", NULL) != 0)
        return -1;
    for (size_t i = 0; i < h->n; i++)
        seal(h, i, i + 1, get_le16(h->turn[i] + 24));
    h->number = h->n + 1;
    return 0;
}

static void write_turn(struct history *h)
{
    bool failed = h->blocks == 0 && begin_late(h) != 0;

    seal(h, h->n, h->number, h->used);
    failed = failed || write_blocks(h, 0, h->n + 1, h->number - h->n) != 0;
    if (failed && !h->failed)
        h->fault = errno;
    h->failed = failed;
    if (h->n > 0)
        memcpy(h->turn[0], h->turn[h->n], HISTORY_BLOCK);
    h->n = 0;
    h->changed = false;
}

int history_flush(struct history *h, struct err *e)
{
    if (h == NULL)
        return 0;
    if (h->changed)
        write_turn(h);
    if (h->fault == 0)
        return 0;
    err_set(e, ERR_TEMP, h->fault, "write to the history");
    h->fault = 0;
    return -1;
}

/* The block is full. */
static void next_block(struct history *h)
{
    seal(h, h->n, h->number, h->used);
    if (h->n + 1 == TURN_BLOCKS)
        write_turn(h);
    if (h->changed)
        h->n++;
    h->number++;
    h->used = 0;
}

void history_add(struct history *h, const struct history_event *ev)
{
    unsigned char record[HISTORY_ROOM];

    if (h == NULL)
        return;
    size_t n = history_encode(record, ev);
    if (h->used + n > HISTORY_ROOM)
        next_block(h);
    memcpy(h->turn[h->n] + HISTORY_HEAD + h->used, record, n);
    h->used += n;
    h->changed = true;
}
