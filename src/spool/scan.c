#include "spool/scan.h"

#include "base/crc32c.h"
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void scan_begin(struct scan *s, int fd, uint64_t segment, uint64_t from,
                uint64_t to)
{
    s->fd = fd;
    s->segment = segment;
    s->at = from;
    s->end = to;
    s->verify = s->damaged = false;
    s->sure = 0;
    s->buf_at = from;
    s->buf_n = 0;
}

/* n octets at `at`, from memory when they are there.  NULL with errno; at
 * the end of the file errno is 0. */
static const unsigned char *look(struct scan *s, uint64_t at, size_t n)
{
    if (at < s->buf_at || at + n > s->buf_at + s->buf_n) {
        ssize_t got = fs_pread(s->fd, s->buf, sizeof s->buf, (off_t)at);
        if (got < 0)
            return NULL;
        s->buf_at = at;
        s->buf_n = (size_t)got;
        if (s->buf_n < n) {
            errno = 0;
            return NULL;
        }
    }
    return s->buf + (at - s->buf_at);
}

int scan_verify(int fd, const struct spool_record *r, uint64_t at, bool *good,
                struct err *e)
{
    unsigned char piece[16 * 1024];
    uint64_t left = r->envelope_size + r->body_size;
    uint64_t from = at + spool_envelope_at(r);
    uint32_t crc = 0;

    *good = false;
    while (left > 0) {
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        ssize_t got = fs_pread(fd, piece, n, (off_t)from);
        if (got < 0)
            return err_set(e, ERR_TEMP, errno, "read a record");
        if (got == 0)
            return 0;
        crc = crc32c(crc, piece, (size_t)got);
        from += (uint64_t)got;
        left -= (uint64_t)got;
    }
    *good = spool_record_crc(r, crc) == r->crc;
    return 0;
}

/* 1: a good one at s->at; 0: bad, with the length when its header is good;
 * -1 with *e. */
static int examine(struct scan *s, struct spool_record *r, struct err *e)
{
    bool good = true;
    const unsigned char *p = look(s, s->at, SPOOL_RECORD_HEADER);

    r->length = 0;
    if (p == NULL)
        return errno == 0 ? 0 : err_set(e, ERR_TEMP, errno, "read a segment");
    struct spool_record found;
    if (!spool_record_decode(&found, p) || found.segment != s->segment ||
        found.length > s->end - s->at)
        return 0;
    *r = found;
    if (s->verify && scan_verify(s->fd, r, s->at, &good, e) != 0)
        return -1;
    return good;
}

int scan_next(struct scan *s, struct spool_record *r, uint64_t *at,
              struct err *e)
{
    while (s->at + SPOOL_RECORD_HEADER <= s->end) {
        int rc = examine(s, r, e);
        if (rc < 0)
            return -1;
        *at = s->at;
        if (rc > 0) {
            s->at += r->length;
            return 1;
        }
        if (s->at >= s->sure)
            return 0;
        s->damaged = true;
        if (r->length == 0)
            return 0;
        s->at += r->length;
    }
    return 0;
}

int scan_is_live(struct scan *s, const struct spool_record *r, uint64_t at,
                 bool *live, struct err *e)
{
    struct spool_slot slot;

    *live = false;
    for (uint32_t i = 0; i < r->nrcpt && !*live; i++) {
        const unsigned char *p = look(s, at + spool_slot_at(i), SPOOL_SLOT);
        if (p == NULL)
            return err_set(e, ERR_TEMP, errno == 0 ? EIO : errno,
                           "read the slots of a record");
        spool_slot_decode(&slot, p);
        *live = slot.state == SPOOL_PENDING || slot.state == SPOOL_HELD;
    }
    return 0;
}

int scan_open(const char *path, int flags, struct spool_segment_header *h,
              struct err *e)
{
    unsigned char raw[SPOOL_SEGMENT_HEADER];
    int fd = fs_open(path, flags, 0);

    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fs_pread_all(fd, raw, sizeof raw, 0) != 0)
        err_set(e, errno == EIO ? ERR_PERM : ERR_TEMP, errno,
                "read the header of %s", path);
    else if (!spool_segment_header_decode(h, raw))
        err_set(e, ERR_PERM, 0, "%s is not a segment of the queue", path);
    else if (h->version > SPOOL_VERSION)
        err_set(e, ERR_PERM, 0, "%s has format %u; this program knows up to %d",
                path, h->version, SPOOL_VERSION);
    else
        return fd;
    fs_close(fd);
    return -1;
}

static bool id_of(const char *name, const char *suffix, uint64_t *id)
{
    size_t n = MSG_ID_BASE_TEXT - 1;

    return strlen(name) == n + 1 + strlen(suffix) && name[n] == '.' &&
           strcmp(name + n + 1, suffix) == 0 &&
           msg_id_base_parse(id, (struct span){ name, n });
}

int scan_dir(const char *queue_dir, const char *suffix, scan_dir_fn *fn,
             void *ctx, struct err *e)
{
    char path[PATH_MAX];
    uint64_t id;
    int rc = 0;

    snprintf(path, sizeof path, "%s/segments", queue_dir);
    DIR *d = opendir(path);
    if (d == NULL)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(d);
        if (entry == NULL)
            break;
        if (id_of(entry->d_name, suffix, &id) && (rc = fn(ctx, id)) != 0)
            break;
    }
    if (rc == 0 && errno != 0)
        rc = err_set(e, ERR_TEMP, errno, "read %s", path);
    closedir(d);
    return rc;
}
