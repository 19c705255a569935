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
    uint64_t blocks, number; /* of the block in turn[n] */
    size_t n, used;          /* of turn[n] */
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

static int begin(struct history *h, const char *path, uint64_t size,
                 struct err *e)
{
    unsigned char head[HISTORY_HEAD] = { 0 };
    uint64_t blocks = fitting_size(h->fd, size) / HISTORY_BLOCK;

    blocks = blocks < 2 * TURN_BLOCKS ? 2 * TURN_BLOCKS : blocks;
    h->blocks = history_blocks(h->fd);
    h->number = h->blocks == blocks ? history_newest(h->fd, blocks) + 1 : 1;
    if (h->blocks == blocks)
        return 0;
    h->blocks = blocks;
    put_le32(head, HISTORY_MAGIC_TOP);
    put_le64(head + 8, blocks);
    if (ftruncate(h->fd, 0) != 0 ||
        fs_pwrite_all(h->fd, head, sizeof head, 0) != 0)
        return err_set(e, ERR_TEMP, errno, "begin %s", path);
    return 0;
}

/* Never through a link, nor a FIFO in its place. */
static int open_file(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                  0600);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return err_set(e, ERR_PERM, 0, "%s is no regular file", path);
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
    h->fd = open_file(path, e);
    if (h->fd < 0 || begin(h, path, size, e) != 0) {
        history_close(&h);
        return -1;
    }
    *out = h;
    return 0;
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

static void write_turn(struct history *h)
{
    seal(h, h->n, h->number, h->used);
    bool failed = write_blocks(h, 0, h->n + 1, h->number - h->n) != 0;
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
