/* fuzz_spool.c - recovery over a segment with any bytes in it.
 *
 * The first byte says how much is put right before, because hardly any input
 * would pass the checksums: 1, the segment's header; 2, the own checksums of
 * records; 4, those of their content too; 8, it is marked closed; 16, it holds
 * children of local/.  The next two say how much is committed; what follows
 * stands behind the header.  Whoever looks and whoever recovers must find the
 * same, again and again, and a start of the parents' consumer must leave no
 * segment behind that cannot be removed. */
#include "fuzz.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/dirs.h"
#include "spool/handover.h"
#include "spool/queue.h"
#include "spool/segment_private.h"
#include "spool/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 64 * 1024, ID = 1, ITEMS = MOST / SPOOL_ALIGN };
enum {
    GOOD_FRONT = 1,
    GOOD_RECORDS = 2,
    GOOD_CONTENT = 4,
    CLOSED = 8,
    CHILDREN = 16
};

static char dir[64], path[128];
static unsigned char file[SPOOL_SEGMENT_HEADER + MOST];
static struct spool_message items[ITEMS];
static size_t nitems;

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void remove_dirs(void)
{
    static const char *const names[] = { "remote/wake", "remote/lock",
                                         "remote",      "local/wake",
                                         "local/lock",  "local",
                                         "run",         "" };
    char name[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        remove(name);
    }
}

static void prepare(void)
{
    static struct fs_ops ops;
    struct err e;

    ops = fs_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync;
    fs_replace(&ops);
    snprintf(dir, sizeof dir, "%s/fuzz-spool-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(dir) != NULL);
    MUST(spool_dirs_make(dir, (uid_t)-1, (gid_t)-1, &e) == 0);
    snprintf(path, sizeof path, "%s/remote/000000000001.seg", dir);
    atexit(remove_dirs);
}

/* Make the record at p pass, as far as the flags want it. */
static void put_right(unsigned char *p, size_t n, unsigned flags)
{
    struct spool_record r;

    put_le32(p + SPOOL_RECORD_HEADER - 4,
             crc32c(0, p, SPOOL_RECORD_HEADER - 4));
    if ((flags & GOOD_CONTENT) == 0 || !spool_record_decode(&r, p) ||
        r.length > n)
        return;
    r.segment = ID;
    r.envelope_crc = crc32c(0, p + spool_envelope_at(&r), r.envelope_size);
    r.body_crc = crc32c(0, p + spool_body_at(&r), (size_t)r.body_size);
    r.late_crc = crc32c(0, p + spool_late_at(&r), r.late_size);
    spool_record_encode(p, &r);
}

static size_t make_file(const uint8_t *data, size_t n)
{
    unsigned flags = data[0];
    struct spool_segment_header h = { .id = ID, .closed = flags & CLOSED };
    size_t rest = n - 3 < MOST ? n - 3 : MOST;

    h.children = (flags & CHILDREN) != 0 ? SPOOL_CHILDREN_OF(SPOOL_LOCAL) : 0;
    memset(file, 0, sizeof file);
    memcpy(file + SPOOL_SEGMENT_HEADER, data + 3, rest);
    h.committed = SPOOL_SEGMENT_HEADER + (uint64_t)get_le16(data + 1);
    if ((flags & GOOD_FRONT) != 0)
        spool_segment_header_encode(file, &h);
    else
        memcpy(file, data + 3, rest < 80 ? rest : 80);
    for (size_t at = 0;
         (flags & GOOD_RECORDS) != 0 && at + SPOOL_RECORD_HEADER <= rest;
         at += SPOOL_ALIGN)
        if (memcmp(file + SPOOL_SEGMENT_HEADER + at, "\247msg", 4) == 0)
            put_right(file + SPOOL_SEGMENT_HEADER + at, rest - at, flags);
    return SPOOL_SEGMENT_HEADER + rest;
}

static int on_view(void *ctx, const struct spool_reader *v)
{
    MUST(v->rec->nrcpt > 0);
    ++*(size_t *)ctx;
    return 0;
}

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    MUST(v->rec->length <= MOST);
    return nitems < ITEMS ? &items[nitems++] : NULL;
}

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    (void)type;
    *(size_t *)ctx += s.n;
    return 0;
}

static void read_item(struct spool_queue *s, struct spool_message *it)
{
    struct spool_slot slot = { .state = SPOOL_HELD };
    struct body_cursor c = { 0 };
    struct spool_reader v;
    struct body body;
    struct err e;
    char piece[512];
    size_t sum = 0;
    ssize_t n;

    spool_message_envelope(s, it, on_field, &sum, &e);
    MUST(sum <= it->rec.envelope_size);
    MUST(spool_slot_put(s, it, it->rec.nrcpt - 1, &slot, &e) == 0);
    MUST(spool_slot_get(s, it, it->rec.nrcpt - 1, &slot, &e) == 0);
    MUST(slot.state == SPOOL_HELD);
    sum = 0;
    MUST(spool_message_reader(s, it, &v, &e) == 0);
    spool_reader_late(&v, on_field, &sum, &e);
    MUST(sum <= it->rec.late_size);
    if (spool_message_pin(s, it, &body, &e) != 0) {
        MUST(e.kind == ERR_PERM); /* its front fields are not whole */
        return;
    }
    struct spool_segment *pinned = it->segment;
    while ((n = body_next(&body, &c, piece, sizeof piece)) > 0)
        ;
    MUST(n == 0 ? c.at == body.size : errno == EBADMSG);
    spool_message_unpin(s, pinned);
}

/* The consumer of local/ starts. */
static void look_for_children(void)
{
    struct spool_queue *s;
    struct err e;

    MUST(spool_queue_open(&s, dir, SPOOL_LOCAL, &e) == 0);
    MUST(spool_handover_start(s, dir, &e) == 0 || e.kind == ERR_PERM);
    spool_queue_close(&s);
}

static size_t recover(bool finish)
{
    struct spool_queue *s;
    struct err e;

    nitems = 0;
    MUST(spool_queue_open(&s, dir, SPOOL_REMOTE, &e) == 0 ||
         e.kind == ERR_PERM);
    if (s == NULL)
        return 0;
    MUST(spool_queue_scan(s, on_found, NULL, &e) == 0);
    for (size_t i = 0; i < nitems; i++)
        read_item(s, &items[i]);
    for (size_t i = 0; i < nitems && finish; i++)
        spool_message_done(s, &items[i]);
    spool_queue_close(&s);
    return nitems;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t seen = 0;
    struct err e;

    if (n < 3)
        return 0;
    if (dir[0] == '\0')
        prepare();
    size_t size = make_file(data, n);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0 && write(fd, file, size) == (ssize_t)size);
    close(fd);
    int rc = spool_read_all(dir, false, on_view, &seen, &e);
    MUST(rc == 0 || e.kind == ERR_PERM);
    if ((data[1] & 1) != 0)
        look_for_children();
    size_t found = recover(false);
    MUST(rc != 0 || found == seen);
    look_for_children();
    MUST(recover(true) == found);
    MUST(rc != 0 || access(path, F_OK) != 0);
    unlink(path);
    snprintf(path + strlen(path) - 3, 4, "bad");
    unlink(path);
    snprintf(path + strlen(path) - 3, 4, "seg");
    return 0;
}
