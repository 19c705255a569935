/* fuzz_segment.c - both queues hold segments that a hostile worker wrote.
 *
 * A worker that was taken over can write any file below local/ and remote/,
 * with checksums that match.  So the input is a program that builds segments
 * from parts, most of them right and each of them wrong now and then: headers,
 * records of a few ids and parts, copies, children and children of children,
 * slots, envelopes, front fields, bodies, words of confirmation, holes.  Then
 * both consumers start, twice, read all that is to be read, hand over, deliver
 * and reclaim: they end with what they began, however little sense it makes,
 * and a segment of ours beside it is read whole. */
#include "fuzz.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "log/log.h"
#include "queue/handover.h"
#include "queue/recipients.h"
#include "queue/scan.h"
#include "spool/dirs.h"
#include "spool/reclaim.h"
#include "spool/segment_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST = 64 * 1024,
    ROUNDS = 2,
    STEPS = 64,
    OURS = 0x7f00 /* half the id of our segment */
};

static char dir[64];
static struct conf conf;

/* --- the input ------------------------------------------------------------ */

static const uint8_t *in, *in_end;

static unsigned take(void)
{
    return in < in_end ? *in++ : 0;
}

static uint64_t take64(void)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | take();
    return n;
}

/* `right`, or something else. */
static uint64_t rather(uint64_t right)
{
    switch (take() & 15) {
    case 1: return right + take();
    case 2: return right - take();
    case 3: return take64();
    case 4: return UINT64_MAX;
    case 5: return 0;
    default: return right;
    }
}

/* --- building ------------------------------------------------------------- */

static unsigned char file[MOST];
static size_t size;

static void append(const void *p, size_t n)
{
    n = n < sizeof file - size ? n : sizeof file - size;
    memcpy(file + size, p, n);
    size += n;
}

static const char *const words[] = { "",
                                     "joe@here.test",
                                     "joe",
                                     "../../etc/passwd",
                                     "a@b\r\nRCPT TO:<x@y>",
                                     "@",
                                     "\"\"@[127.0.0.1]",
                                     "ann+x@here.test" };

static void add_field(void)
{
    static const unsigned char types[] = { 2, 2, 2, 1,  3,  4,  5,
                                           6, 7, 8, 16, 17, 18, 19 };
    unsigned char field[SPOOL_FIELD_HEAD + 4096];
    unsigned how = take();
    const char *word = words[take() % (sizeof words / sizeof words[0])];
    size_t n = strlen(word);

    memset(field, 'x', sizeof field);
    field[0] = types[how % sizeof types];
    memcpy(field + SPOOL_FIELD_HEAD, word, n);
    if (field[0] == SPOOL_F_REPLACES) {
        n = 4 * (1 + (take() & 3));
        for (size_t i = 0; i < n; i += 2)
            put_le16(field + SPOOL_FIELD_HEAD + i, (uint16_t)rather(i / 2));
    }
    if (how >= 0xf0)
        n = take() * 16u;
    put_le16(field + 1, (uint16_t)(how == 0xef ? rather(n) : n));
    append(field, SPOOL_FIELD_HEAD + n);
}

static size_t add_envelope(uint32_t nrcpt)
{
    size_t from = size;
    unsigned char sender[] = { SPOOL_F_SENDER, 1, 0, 'a' };

    append(sender, sizeof sender);
    for (uint32_t i = 0; i < nrcpt; i++)
        add_field();
    while ((take() & 3) == 3)
        add_field();
    return size - from;
}

static void add_slots(uint32_t nrcpt)
{
    unsigned char out[SPOOL_SLOT];

    for (uint32_t i = 0; i < nrcpt; i++) {
        struct spool_slot s = { .state = SPOOL_PENDING };
        unsigned how = take();
        s.state = (how & 7) <= SPOOL_DELETED ? (enum spool_state)(how & 7)
                                             : SPOOL_PENDING;
        s.by_sender = (how & 8) != 0;
        if (how & 16) {
            s.attempts = s.rounds = (unsigned)rather(1) & 0xffff;
            s.next_attempt = take64();
            s.first_attempt = s.last_attempt = take64();
            s.status.class = (unsigned short)rather(4);
            memset(s.reply, 'r', SPOOL_REPLY_MAX + 1);
            memset(s.mx, 'm', SPOOL_MX_MAX);
        }
        spool_slot_encode(out, i, &s);
        if (how & 32)
            out[how >> 6] ^= 0xff;
        append(out, sizeof out);
    }
}

static void add_record(uint64_t segment)
{
    static const uint64_t parts[] = { 0, 0, 0, 1, 2, 65537, 65538, 4295032833 };
    struct spool_record r = { .arrival = 1700000000000000u };
    unsigned char head[SPOOL_RECORD_HEADER], body[512];
    size_t from = size;

    r.id = (struct msg_id){ .base = OURS + (take() & 3), .n = take() & 3 };
    r.part = rather(parts[take() & 7]);
    r.segment = rather(segment);
    r.generation = (uint32_t)rather(take() & 1);
    r.flags = (unsigned)rather(0) & SPOOL_FLAGS_MASK;
    r.nrcpt = 1 + (take() & 3);
    memset(head, 0, sizeof head);
    append(head, sizeof head);
    add_slots(r.nrcpt);
    size_t at = size;
    r.envelope_size = (uint32_t)add_envelope(r.nrcpt);
    r.envelope_crc = crc32c(0, file + at, r.envelope_size);
    at = size;
    memset(body, 'b', sizeof body);
    append(body, take() * 2u);
    r.body_size = size - at;
    r.body_crc = crc32c(0, file + at, (size_t)r.body_size);
    at = size;
    if (take() & 1)
        append("Delivered-To: x\r\n", 17);
    r.front = (uint32_t)(size - at);
    if (take() & 1)
        add_field();
    r.late_size = (uint32_t)(size - at);
    r.late_crc = crc32c(0, file + at, r.late_size);
    while ((size - from) % SPOOL_ALIGN != 0 && size < sizeof file)
        file[size++] = 0;
    r.nrcpt = (unsigned)rather(r.nrcpt) & SPOOL_NRCPT_MASK;
    r.envelope_size = (uint32_t)rather(r.envelope_size);
    r.body_size = rather(r.body_size);
    r.front = (uint32_t)rather(r.front);
    r.late_size = (uint32_t)rather(r.late_size);
    r.length = rather(spool_record_length(&r));
    r.body_crc = (uint32_t)rather(r.body_crc);
    spool_record_encode(head, &r);
    if (size - from >= sizeof head)
        memcpy(file + from, head, sizeof head);
}

static void name_file(char path[SPOOL_PATH], enum spool_name queue, uint64_t id)
{
    char of[SPOOL_DIR];
    struct err e;

    MUST(spool_dir(of, dir, queue, &e) == 0);
    spool_path(path, of, id, SPOOL_SEG);
}

static void write_file(const char *path, uint64_t id)
{
    struct spool_segment_header h = { .id = rather(id) };
    unsigned flags = take();

    h.closed = flags & 1;
    h.moved = flags & 2;
    h.damaged = flags & 4;
    h.children = (uint32_t)rather(flags >> 3 & 3);
    h.committed = rather(size);
    spool_segment_header_encode(file, &h);
    spool_confirmed_encode(file + SPOOL_CONFIRMED_AT, id,
                           rather(SPOOL_SEGMENT_HEADER));
    for (unsigned n = take() & 3; n > 0; n--)
        file[take64() % size] ^= (unsigned char)take();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0 && write(fd, file, size) == (ssize_t)size);
    if ((flags & 0xe0) == 0xe0)
        MUST(ftruncate(fd, (off_t)(rather(size) % ((uint64_t)1 << 34))) == 0);
    close(fd);
}

/* What stands in the place of a segment may be no file at all. */
static void make_segment(enum spool_name queue, uint64_t id)
{
    char path[SPOOL_PATH];
    unsigned kind = take();

    name_file(path, queue, id);
    if (kind == 0xff) {
        MUST(mkfifo(path, 0600) == 0);
    } else if (kind == 0xfe) {
        MUST(symlink("/dev/zero", path) == 0);
    } else if (kind == 0xfd) {
        MUST(mkdir(path, 0700) == 0);
    } else {
        memset(file, 0, SPOOL_SEGMENT_HEADER);
        size = SPOOL_SEGMENT_HEADER;
        for (unsigned n = kind & 7; n > 0; n--)
            add_record(id);
        write_file(path, id);
    }
}

/* --- our own -------------------------------------------------------------- */

static bool seen_ours[SPOOL_QUEUES];

/* One message in a segment that was closed as it should be. */
static void make_ours(enum spool_name queue)
{
    uint64_t id = OURS * 2 + (uint64_t)queue;
    struct spool_segment_header h = { .id = id, .closed = true };
    struct spool_record r = { .id = { .base = id }, .segment = id };
    static const unsigned char envelope[] = { 1, 1, 0, 'o', 2, 1, 0, 'o' };
    char path[SPOOL_PATH];

    memset(file, 0, SPOOL_SEGMENT_HEADER + 1024);
    r.nrcpt = 1;
    r.envelope_size = sizeof envelope;
    r.envelope_crc = crc32c(0, envelope, sizeof envelope);
    r.body_size = 4;
    r.body_crc = crc32c(0, "ours", 4);
    r.length = spool_record_length(&r);
    unsigned char *p = file + SPOOL_SEGMENT_HEADER;
    spool_record_encode(p, &r);
    memcpy(p + spool_envelope_at(&r), envelope, sizeof envelope);
    memcpy(p + spool_body_at(&r), "ours", 4);
    h.committed = SPOOL_SEGMENT_HEADER + r.length;
    spool_segment_header_encode(file, &h);
    name_file(path, queue, id);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0 && write(fd, file, h.committed) == (ssize_t)h.committed);
    close(fd);
}

/* --- the tools ------------------------------------------------------------ */

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    bool text = type == SPOOL_F_SENDER || type == SPOOL_F_RCPT;
    unsigned *sum = ctx;

    MUST(!text || memchr(s.p, '\n', s.n) == NULL);
    for (size_t i = 0; i < s.n; i++)
        *sum += (unsigned char)s.p[i] + type;
    return 0;
}

static void read_body(const struct body *body)
{
    struct body_cursor c = { 0 };
    char piece[4096];
    ssize_t n;

    while ((n = body_next(body, &c, piece, sizeof piece)) > 0)
        ;
    MUST(n == 0 ? c.at == body->size : errno == EBADMSG || errno == EIO);
}

static int on_view(void *ctx, const struct spool_reader *v)
{
    struct spool_slot slot;
    struct body body;
    unsigned sum = 0;
    struct err e;

    (void)ctx;
    for (uint32_t i = 0; i < v->rec->nrcpt && i < 100; i++)
        (void)spool_reader_slot(v, i, &slot, &e);
    (void)spool_reader_envelope(v, on_field, &sum, &e);
    (void)spool_reader_late(v, on_field, &sum, &e);
    if (v->rec->body_size < 1 << 20 && spool_reader_body(v, &body, &e) == 0)
        read_body(&body);
    return 0;
}

/* --- a consumer ----------------------------------------------------------- */

static struct list due;
static int token;

static void *on_place(struct queue *q, struct span sender, struct span address)
{
    (void)sender;
    (void)q;
    (void)address;
    return &token;
}

static void on_release(struct queue *q, void *place)
{
    (void)q;
    MUST(place == &token);
}

static void on_due(struct queue *q, struct rcpt *r)
{
    (void)q;
    r->state = RCPT_DUE;
    list_push(&due, &r->link);
}

static bool on_is_local(struct queue *q, struct span address)
{
    (void)q;
    return address.n % 2 == 0;
}

static const struct queue_events events = { "fuzz.delivered", "fuzz.deferred",
                                            "fuzz.bounced", "fuzz.expanded" };
static const struct queue_owner owner = { .place = on_place,
                                          .release = on_release,
                                          .due = on_due,
                                          .is_local = on_is_local };

static enum spool_name at_work; /* whose consumer runs */

static void note_ours(const struct message *m, const struct body *body)
{
    struct body_cursor c = { 0 };
    char piece[16];

    if (m->stored.rec.id.base != OURS * 2 + (uint64_t)at_work ||
        m->stored.rec.part != 0)
        return;
    MUST(body_next(body, &c, piece, sizeof piece) == 4);
    MUST(memcmp(piece, "ours", 4) == 0);
    seen_ours[at_work] = true;
}

static void read_message(struct queue *q, struct message *m)
{
    struct spool_segment *pinned = m->stored.segment;
    unsigned sum = 0;
    struct body body;
    struct err e;

    (void)spool_message_envelope(q->spool, &m->stored, on_field, &sum, &e);
    if (spool_message_pin(q->spool, &m->stored, &body, &e) != 0)
        return;
    if (body.size < 1 << 20)
        read_body(&body);
    note_ours(m, &body);
    spool_message_unpin(q->spool, pinned);
}

static void deliver(struct queue *q, struct rcpt *r)
{
    struct spool_slot slot;
    struct err e;

    if (spool_slot_get(q->spool, &r->msg->stored, r->slot, &slot, &e) == 0) {
        slot.state = SPOOL_DELIVERED;
        (void)spool_slot_put(q->spool, &r->msg->stored, r->slot, &slot, &e);
    }
    rcpt_release(q, r);
    message_sweep(q, r->msg);
}

/* The targets of an alias. */
static void hand_over(struct queue *q, struct rcpt *r)
{
    struct rcpt *const rcpts[] = { r };
    struct queue_target targets[3];
    struct queue_child c = { .parent = r->msg,
                             .rcpt = rcpts,
                             .nrcpt = 1,
                             .target = targets,
                             .ntarget = 1 + take() % 3,
                             .to = (enum spool_name)(take() & 1) };
    struct err e;

    for (size_t i = 0; i < c.ntarget; i++)
        targets[i] = (struct queue_target){ .address = words[1 + i],
                                            .here = (take() & 1) != 0,
                                            .slot = (uint16_t)r->slot };
    if (take() & 1)
        c.reverse_path = "owner@here.test";
    if (take() & 1)
        c.front = span_of("Delivered-To: joe@here.test\r\n");
    if (r->msg->stored.rec.body_size > 1 << 20)
        return;
    r->state = RCPT_OUT;
    if (queue_hand_over(q, &c, &e) != 0)
        rcpt_later(q, r, 5);
}

/* --- all it does ---------------------------------------------------------- */

static void work(struct queue *q)
{
    struct list *l;
    struct err e;

    for (int i = 0; i < STEPS && (l = list_pop(&due)) != NULL; i++) {
        struct rcpt *r = LIST_ENTRY(l, struct rcpt, link);
        read_message(q, r->msg);
        switch (take() & 3) {
        case 0: deliver(q, r); break;
        case 1: hand_over(q, r); break;
        default: break;
        }
    }
    queue_flush(q);
    (void)queue_confirm(q, &e);
    (void)queue_scan(q, &e); /* children in this queue */
    while ((l = list_pop(&due)) != NULL)
        read_message(q, LIST_ENTRY(l, struct rcpt, link)->msg);
    for (int i = 0; i < STEPS; i++)
        if (spool_queue_reclaim(q->spool, q->writer[at_work], &e) <= 0)
            break;
    (void)spool_queue_sync(q->spool, &e);
}

/* A segment of another version of the format is refused; it is the one thing
 * that may keep a consumer from its work. */
static bool is_refused(const struct err *e)
{
    return e->kind == ERR_PERM && strstr(e->text, "has format") != NULL;
}

static void consume(enum spool_name name)
{
    struct queue q = { .owner = &owner, .events = &events, .conf = &conf };
    struct err e = { 0 };

    at_work = name;
    list_init(&due);
    MUST(loop_new(&q.loop, NULL, &e) == 0);
    if (queue_open(&q, name, &e) != 0) {
        if (!is_refused(&e))
            fprintf(stderr, "%s\n", e.text);
        MUST(is_refused(&e));
        seen_ours[name] = true;
    } else {
        (void)queue_scan(&q, &e);
        work(&q);
        queue_finish(&q);
    }
    queue_close(&q);
    loop_free(&q.loop);
}

/* --- the whole ------------------------------------------------------------ */

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static int no_place(int fd, off_t n)
{
    (void)fd;
    (void)n;
    return 0;
}

static void empty_dir(const char *name)
{
    char path[400];
    DIR *d;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    d = opendir(path);
    for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;)
        if (strncmp(f->d_name, ".", 1) != 0) {
            snprintf(path, sizeof path, "%s/%s/%s", dir, name, f->d_name);
            MUST(remove(path) == 0);
        }
    if (d != NULL)
        closedir(d);
}

static void empty_all(void)
{
    empty_dir("local");
    empty_dir("remote");
}

static void remove_all(void)
{
    empty_all();
    empty_dir("run");
    empty_dir(".");
    remove(dir);
}

static void prepare(void)
{
    static struct fs_ops ops;
    struct err e;

    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT); /* none */
    ops = fs_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync;
    ops.allocate = no_place;
    fs_replace(&ops);
    snprintf(dir, sizeof dir, "%s/fuzz-segment-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(dir) != NULL);
    MUST(spool_dirs_make(dir, (uid_t)-1, (gid_t)-1, &e) == 0);
    snprintf(conf.queue_dir, sizeof conf.queue_dir, "%s", dir);
    conf.send.retry_min = 60;
    conf.send.retry_max = 600;
    conf.send.queue_lifetime = 86400;
    atexit(remove_all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e;

    if (dir[0] == '\0')
        prepare();
    in = data;
    in_end = data + n;
    for (uint64_t i = 0; i < 4; i++)
        make_segment((enum spool_name)(i & 1), 0x100 + i);
    make_ours(SPOOL_LOCAL);
    make_ours(SPOOL_REMOTE);
    memset(seen_ours, 0, sizeof seen_ours);
    for (int i = 0; i < ROUNDS; i++) {
        (void)spool_read_all(dir, true, on_view, NULL, &e);
        consume(SPOOL_LOCAL);
        consume(SPOOL_REMOTE);
    }
    (void)spool_read_all(dir, true, on_view, NULL, &e);
    MUST(seen_ours[SPOOL_LOCAL] && seen_ours[SPOOL_REMOTE]);
    empty_all();
    return 0;
}
