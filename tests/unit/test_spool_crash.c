/* test_spool_crash.c - segments without a writer: torn, rotten, foreign; and
 * writers that are killed while a sender reads along. */
#include "spool_kit.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/large.h"
#include "spool/reclaim.h"
#include "spool/segments_private.h"
#include "spool/writer_private.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct kit *k;

static void setup(void)
{
    k = kit_new(NULL);
}

static void teardown(void)
{
    kit_free(&k);
}

/* --- one segment, changed by hand ----------------------------------------- */

enum { N = 4, SIZE = 1000 };

struct victim {
    char path[SPOOL_PATH];
    uint64_t id, at[N + 1]; /* of the records; the end */
    uint64_t committed_before_last;
};

/* N messages of which the writer disappears without a word. */
static void make_victim(struct victim *v, bool close_it)
{
    char dir[300];
    struct err e;

    snprintf(dir, sizeof dir, "%s/remote", k->dir);
    ck_assert_int_eq(
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e),
        0);
    ck_assert_int_eq(spool_writer_reserve(k->w, 0, &e), 0);
    v->id = k->w->f.h.id;
    for (uint32_t i = 0; i < N; i++) {
        v->at[i] = k->w->at;
        v->committed_before_last = k->w->f.h.committed;
        kit_add(k, k->w, i, SIZE, NULL);
        ck_assert_int_eq(spool_writer_commit(k->w, &e), 0);
    }
    v->at[N] = k->w->at;
    spool_path(v->path, dir, v->id, SPOOL_SEG);
    if (!close_it)
        spool_file_drop(&k->w->f);
    spool_writer_close(&k->w);
}

static void poke(const struct victim *v, uint64_t at, const void *p, size_t n)
{
    int fd = open(v->path, O_WRONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, p, n, (off_t)at), (ssize_t)n);
    close(fd);
}

static void flip(const struct victim *v, uint64_t at)
{
    unsigned char c;
    int fd = open(v->path, O_RDWR);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &c, 1, (off_t)at), 1);
    c ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

/* A place in the middle of a part of record i. */
enum part { ENVELOPE, BODY, FRONT, LATE };

static uint64_t in_part(const struct victim *v, int i, enum part part)
{
    unsigned char header[SPOOL_RECORD_HEADER];
    struct spool_record r;
    uint64_t from = 0, n = 0;
    int fd = open(v->path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, header, sizeof header, (off_t)v->at[i]),
                     (ssize_t)sizeof header);
    close(fd);
    ck_assert(spool_record_decode(&r, header));
    switch (part) {
    case ENVELOPE: from = spool_envelope_at(&r), n = r.envelope_size; break;
    case BODY: from = spool_body_at(&r), n = r.body_size; break;
    case FRONT: from = spool_late_at(&r), n = r.front; break;
    case LATE:
        from = spool_late_at(&r) + r.front;
        n = r.late_size - r.front;
        break;
    }
    ck_assert_uint_gt(n, 0);
    return v->at[i] + from + n / 2;
}

static void set_state(const struct victim *v, uint64_t committed)
{
    struct spool_segment_header h = { .id = v->id, .committed = committed };
    unsigned char state[SPOOL_STATE];

    spool_state_encode(state, &h);
    poke(v, SPOOL_STATE_AT, state, sizeof state);
}

static void do_nothing(const struct victim *v)
{
    (void)v;
}

static void garbage_behind(const struct victim *v)
{
    char noise[3000];

    memset(noise, 'x', sizeof noise);
    poke(v, v->at[N], noise, sizeof noise);
}

static void old_state(const struct victim *v)
{
    set_state(v, v->at[1]);
}

static void no_state(const struct victim *v)
{
    flip(v, SPOOL_STATE_AT + 3);
}

static void torn_last(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    flip(v, in_part(v, N - 1, BODY));
}

static void torn_last_envelope(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    flip(v, in_part(v, N - 1, ENVELOPE));
}

static void torn_last_late(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    flip(v, in_part(v, N - 1, LATE));
}

static void torn_between(const struct victim *v)
{
    set_state(v, v->at[1]);
    flip(v, in_part(v, 1, BODY));
}

static void torn_front_between(const struct victim *v)
{
    set_state(v, v->at[1]);
    flip(v, in_part(v, 1, FRONT));
}

static void torn_header(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    flip(v, v->at[N - 1] + 9);
}

static void cut_last(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    ck_assert_int_eq(truncate(v->path, (off_t)v->at[N] - 300), 0);
}

/* The body is there, what is behind it is not. */
static void cut_last_late(const struct victim *v)
{
    set_state(v, v->at[N - 1]);
    ck_assert_int_eq(truncate(v->path, (off_t)in_part(v, N - 1, FRONT)), 0);
}

static void rot_envelope(const struct victim *v)
{
    flip(v, in_part(v, 1, ENVELOPE));
}

static void rot_body(const struct victim *v)
{
    flip(v, in_part(v, 1, BODY));
}

static void rot_late(const struct victim *v)
{
    flip(v, in_part(v, 1, LATE));
}

static void rot_header(const struct victim *v)
{
    flip(v, v->at[2] + 9);
}

static void rot_front(const struct victim *v)
{
    flip(v, 20);
}

static void cut_committed(const struct victim *v)
{
    ck_assert_int_eq(truncate(v->path, (off_t)v->at[3] + 5), 0);
}

static void other_file(const struct victim *v)
{
    char noise[8192];

    ck_assert_int_eq(truncate(v->path, 0), 0);
    memset(noise, 'z', sizeof noise);
    poke(v, 0, noise, sizeof noise);
}

static void nothing_left(const struct victim *v)
{
    ck_assert_int_eq(truncate(v->path, 0), 0);
}

/* A file that somebody has renamed: its records say where they belong. */
static void foreign_name(const struct victim *v)
{
    char to[SPOOL_PATH];

    snprintf(to, sizeof to, "%s/remote/0123456789ab.seg", k->dir);
    ck_assert_int_eq(rename(v->path, to), 0);
}

static const struct {
    const char *name;
    void (*change)(const struct victim *v);
    bool closed;    /* the writer had left in order before */
    unsigned there; /* bit i: message i is found */
    bool damage;
} cases[] = {
    { "nothing happened", do_nothing, false, 0xf, false },
    { "closed", do_nothing, true, 0xf, false },
    { "garbage behind the end", garbage_behind, false, 0xf, false },
    { "a state that is behind", old_state, false, 0xf, false },
    { "no state", no_state, false, 0xf, false },
    { "no state, closed", no_state, true, 0xf, false },
    { "last body torn", torn_last, false, 0x7, false },
    { "last envelope torn", torn_last_envelope, false, 0x7, false },
    { "last late fields torn", torn_last_late, false, 0x7, false },
    { "last late fields cut", cut_last_late, false, 0x7, false },
    { "a body torn, whole ones behind", torn_between, false, 0xd, false },
    { "front fields torn, whole ones behind", torn_front_between, false, 0xd,
      false },
    { "last header torn", torn_header, false, 0x7, false },
    { "last one cut", cut_last, false, 0x7, false },
    { "an envelope rotted", rot_envelope, false, 0xd, true },
    { "a body rotted", rot_body, false, 0xd, true },
    { "late fields rotted", rot_late, false, 0xd, true },
    { "a header rotted", rot_header, false, 0x3, true },
    { "a header rotted, closed", rot_header, true, 0x3, true },
    { "the segment's header rotted", rot_front, false, 0xf, true },
    { "the segment's header rotted, closed", rot_front, true, 0xf, true },
    { "cut before what is committed", cut_committed, false, 0x7, true },
    { "cut before what is committed, closed", cut_committed, true, 0x7, true },
    { "something else", other_file, true, 0, true },
    { "an empty file", nothing_left, false, 0, true },
    { "under a name not its own", foreign_name, false, 0, true },
    { "under a name not its own, closed", foreign_name, true, 0, true },
};

static void open_and_scan(void)
{
    struct err e;

    memset(k->found, 0, sizeof k->found);
    k->nfound = 0;
    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0, "%s",
                  e.text);
    kit_scan(k);
}

static int note_seen(void *ctx, const struct spool_reader *v)
{
    uint32_t number;

    ck_assert_int_eq(kit_check(v, &number), 0);
    *(unsigned *)ctx |= 1u << number;
    return 0;
}

static void check_size(const struct victim *v, unsigned there, const char *name)
{
    struct stat st;
    int last = N;

    while (last > 0 && (there >> (last - 1) & 1) == 0)
        last--;
    ck_assert_int_eq(stat(v->path, &st), 0);
    ck_assert_msg((uint64_t)st.st_size == v->at[last], "%s: %ld bytes", name,
                  (long)st.st_size);
}

START_TEST(recovery)
{
    struct spool_usage u;
    struct victim v;
    unsigned seen = 0;
    struct err e;

    make_victim(&v, cases[_i].closed);
    cases[_i].change(&v);
    int rc = spool_read_all(k->dir, false, note_seen, &seen, &e);
    ck_assert_msg(rc == 0 && seen == cases[_i].there, "%s: a look gives %x",
                  cases[_i].name, seen);
    for (int again = 0; again < 2; again++) {
        open_and_scan();
        for (uint32_t i = 0; i < N; i++)
            ck_assert_msg((kit_find(k, i) != NULL) ==
                              ((cases[_i].there >> i & 1) != 0),
                          "%s: message %u", cases[_i].name, (unsigned)i);
        spool_queue_usage(k->s, &u);
        ck_assert_msg((u.damaged > 0) == cases[_i].damage, "%s: damage",
                      cases[_i].name);
        if (!cases[_i].damage)
            check_size(&v, cases[_i].there, cases[_i].name);
        if (again == 0)
            spool_queue_close(&k->s);
    }
    for (uint32_t i = 0; i < N; i++)
        if (kit_find(k, i) != NULL)
            kit_finish(k, i);
    ck_assert_msg(kit_files(k, ".seg") == 0, "%s: not removed", cases[_i].name);
    ck_assert_msg(kit_files(k, ".bad") == (cases[_i].damage ? 1 : 0),
                  "%s: what is damaged is kept", cases[_i].name);
}
END_TEST

/* A body that looks like records must never become one, even when the header
 * before it has rotted. */
START_TEST(a_body_is_no_record)
{
    struct spool_record fake = { .nrcpt = 1,
                                 .envelope_size = 4,
                                 .envelope_crc = crc32c(0, "\1\1\0a", 4) };
    unsigned char block[SPOOL_RECORD_HEADER] = { 0 };
    struct err e;
    struct victim v;

    make_victim(&v, false);
    fake.segment = v.id;
    fake.length = spool_record_length(&fake);
    spool_record_encode(block, &fake);
    for (uint64_t at = v.at[2] + 1024; at < v.at[3]; at += sizeof block)
        poke(&v, at, block, sizeof block);
    flip(&v, v.at[2] + 9);
    unsigned seen = 0;
    ck_assert_int_eq(spool_read_all(k->dir, true, note_seen, &seen, &e), 0);
    ck_assert_uint_eq(seen, 0x3);
    open_and_scan();
    ck_assert_uint_eq(k->nfound, 2);
}
END_TEST

static char victim_path[SPOOL_PATH];

static int cut_behind_the_first(void *ctx, const struct spool_reader *v)
{
    unsigned *seen = ctx;

    if ((*seen)++ == 0)
        ck_assert_int_eq(truncate(victim_path, (off_t)(v->at + v->rec->length)),
                         0);
    return 0;
}

/* A consumer that starts cuts the torn tail while the queue is listed. */
START_TEST(recovery_cuts_a_segment_that_is_read)
{
    char dir[300];
    struct err e;
    unsigned seen = 0;

    snprintf(dir, sizeof dir, "%s/remote", k->dir);
    ck_assert_int_eq(
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e),
        0);
    for (uint32_t i = 0; i < 3; i++)
        kit_add(k, k->w, i, 100 * 1000, NULL);
    ck_assert_int_eq(spool_writer_commit(k->w, &e), 0);
    spool_path(victim_path, dir, k->w->f.h.id, SPOOL_SEG);
    spool_file_drop(&k->w->f);
    spool_writer_close(&k->w);
    ck_assert_msg(
        spool_read_all(k->dir, true, cut_behind_the_first, &seen, &e) == 0,
        "%s", e.text);
    ck_assert_uint_eq(seen, 1);
}
END_TEST

/* A closed segment is not verified when it is opened: rot shows when the
 * record is read, before all of it was handed out. */
static const struct {
    const char *name;
    enum part part;
    bool envelope, body, late; /* can be read */
} rotten[] = {
    { "envelope", ENVELOPE, false, true, true },
    { "body", BODY, true, false, true },
    { "front fields", FRONT, true, false, false },
    { "late fields", LATE, true, false, false },
};

static int count_field(void *ctx, enum spool_field type, struct span content)
{
    (void)type;
    *(uint64_t *)ctx += content.n;
    return 0;
}

static void read_rotten(const struct spool_reader *v, int i)
{
    struct body_cursor c = { 0 };
    struct body b;
    struct err e = { ERR_NONE, 0, "" };
    uint64_t fields = 0, got = 0;
    char piece[100];
    ssize_t n = -1;

    int rc = spool_reader_envelope(v, count_field, &fields, &e);
    ck_assert(rc == (rotten[i].envelope ? 0 : -1));
    ck_assert(rc == 0 || (e.kind == ERR_PERM && fields == 0));
    if (spool_reader_body(v, &b, &e) == 0)
        while ((n = body_next(&b, &c, piece, sizeof piece)) > 0)
            got += (uint64_t)n;
    ck_assert_msg((n == 0) == rotten[i].body, "%s: body", rotten[i].name);
    ck_assert_msg(n == 0 || got < v->rec->body_size + v->rec->front,
                  "%s: all of it was handed out", rotten[i].name);
    rc = spool_reader_late(v, count_field, &fields, &e);
    ck_assert_msg(rc == (rotten[i].late ? 0 : -1), "%s: late fields",
                  rotten[i].name);
}

struct rotten_ctx {
    const struct victim *v;
    int i;
};

static int on_rotten(void *ctx, const struct spool_reader *v)
{
    const struct rotten_ctx *r = ctx;
    uint32_t number;

    if (v->at == r->v->at[1])
        read_rotten(v, r->i);
    else
        ck_assert_int_eq(kit_check(v, &number), 0);
    return 0;
}

START_TEST(rot_is_not_handed_out)
{
    struct victim v;
    struct rotten_ctx r = { &v, _i };
    struct err e;

    make_victim(&v, true);
    flip(&v, in_part(&v, 1, rotten[_i].part));
    ck_assert_msg(spool_read_all(k->dir, true, on_rotten, &r, &e) == 0, "%s",
                  e.text);
}
END_TEST

/* With the checksum that belongs to it, as that version wrote it. */
static void set_version(const struct victim *v, unsigned char version)
{
    unsigned char header[64], crc[4];
    int fd = open(v->path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, header, sizeof header, 0), 64);
    close(fd);
    header[8] = version;
    put_le32(crc, crc32c(0, header, 60));
    poke(v, 8, &version, 1);
    poke(v, 60, crc, sizeof crc);
}

static const struct {
    unsigned char version;
    bool closed;
} others[] = { { SPOOL_VERSION + 1, false },
               { SPOOL_VERSION + 1, true },
               { SPOOL_VERSION - 1, false },
               { SPOOL_VERSION - 1, true } };

START_TEST(another_format_is_left_alone)
{
    struct victim v;
    struct err e;
    struct stat before, after;
    unsigned seen = 0;

    make_victim(&v, others[_i].closed);
    set_version(&v, others[_i].version);
    ck_assert_int_eq(stat(v.path, &before), 0);
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    ck_assert_ptr_nonnull(
        strstr(e.text, "deliver it with the version that wrote it"));
    ck_assert_int_eq(spool_read_all(k->dir, true, note_seen, &seen, &e), -1);
    ck_assert_int_eq(e.kind, ERR_PERM);
    ck_assert_int_eq(stat(v.path, &after), 0);
    ck_assert(before.st_size == after.st_size &&
              before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}
END_TEST

static const struct {
    const char *name;
    int age;
    bool locked, stays;
} leftovers[] = {
    { "old", 7200, false, false },
    { "fresh", 0, false, true },
    { "old, its writer lives", 7200, true, true },
};

START_TEST(leftovers_go)
{
    char path[400];
    struct timespec t[2] = { { .tv_sec = time(NULL) - leftovers[_i].age },
                             { .tv_sec = time(NULL) - leftovers[_i].age } };

    snprintf(path, sizeof path, "%s/remote/0123456789ab.new", k->dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(futimens(fd, t), 0);
    if (leftovers[_i].locked)
        ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    open_and_scan();
    ck_assert_msg((access(path, F_OK) == 0) == leftovers[_i].stays, "%s",
                  leftovers[_i].name);
    close(fd);
}
END_TEST

/* --- what the service user may have planted ------------------------------- */

static void plant(char path[400], const char *name)
{
    snprintf(path, 400, "%s/%s", k->dir, name);
    unlink(path);
}

/* Root looks at the queue: no link leads it away, no FIFO makes it wait, and
 * the rest is shown. */
START_TEST(planted_segments)
{
    char path[400], target[400];
    struct stat before, after;
    unsigned seen = 0;
    struct err e;

    snprintf(target, sizeof target, "%s/target", k->dir);
    int fd = open(target, O_CREAT | O_WRONLY, 0644);
    ck_assert_int_eq(write(fd, "a line\n", 7), 7);
    close(fd);
    ck_assert_int_eq(stat(target, &before), 0);
    plant(path, "remote/0123456789ab.seg");
    if (_i == 0)
        ck_assert_int_eq(symlink(target, path), 0);
    else
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(spool_read_all(k->dir, true, note_seen, &seen, &e), 0);
    ck_assert_uint_eq(seen, 0);
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), 0);
    spool_queue_close(&k->s);
    ck_assert_int_eq(stat(target, &after), 0);
    ck_assert(before.st_size == after.st_size &&
              before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    ck_assert_int_eq(unlink(target), 0);
}
END_TEST

START_TEST(planted_directory)
{
    char path[400], aside[400];
    unsigned seen = 0;
    struct err e;

    snprintf(path, sizeof path, "%s/remote", k->dir);
    snprintf(aside, sizeof aside, "%s/aside", k->dir);
    ck_assert_int_eq(rename(path, aside), 0);
    ck_assert_int_eq(symlink("aside", path), 0);
    ck_assert_int_eq(spool_read_all(k->dir, true, note_seen, &seen, &e), -1);
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), -1);
}
END_TEST

START_TEST(planted_lock_and_fifo)
{
    char path[400], target[400];
    struct err e;

    snprintf(target, sizeof target, "%s/target", k->dir);
    plant(path, "remote/lock");
    ck_assert_int_eq(symlink(target, path), 0);
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), -1);
    ck_assert_int_eq(e.sys, ELOOP);
    ck_assert_int_eq(unlink(path), 0);
    plant(path, "remote/wake");
    ck_assert_int_eq(symlink(target, path), 0);
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), -1);
    ck_assert_int_eq(e.sys, ELOOP);
    plant(path, "remote/wake");
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "is no FIFO"));
    ck_assert_int_eq(access(target, F_OK), -1);
}
END_TEST

/* --- killed writers ------------------------------------------------------- */

enum { WRITERS = 2, PER_WRITER = KIT_MESSAGES / WRITERS };

/* Tells each acknowledged number through the pipe, until it is killed. */
static void write_forever(uint32_t first, int out)
{
    struct spool_writer *w;
    struct err e;

    if (spool_writer_open_sized(&w, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e) != 0)
        _exit(1);
    for (uint32_t i = 0; i + 3 <= PER_WRITER; i += 3) {
        uint32_t now[3] = { first + i, first + i + 1, first + i + 2 };
        for (int j = 0; j < 3; j++)
            if (kit_try(k, w, now[j], 200u * (now[j] % 50), now[j] % 11 == 0,
                        &e) != 0)
                _exit(2);
        if (spool_writer_commit(w, &e) != 0 ||
            write(out, now, sizeof now) != (ssize_t)sizeof now)
            _exit(3);
        kit_forget_chains(k);
    }
    for (;;)
        pause();
}

static pid_t start_writer(int n, int *in)
{
    int end[2];

    ck_assert_int_eq(pipe(end), 0);
    pid_t pid = fork();
    if (pid == 0) { /* who must not say anything to Check */
        close(end[0]);
        write_forever((uint32_t)n * PER_WRITER, end[1]);
    }
    ck_assert_int_ge(pid, 0);
    close(end[1]);
    *in = end[0];
    return pid;
}

/* Read along until that many are acknowledged, then kill without warning.
 * What was said before the end counts too. */
static void hear(int in, bool *acked, size_t *n)
{
    uint32_t now[3];

    while (read(in, now, sizeof now) == (ssize_t)sizeof now)
        for (int j = 0; j < 3; j++, ++*n)
            acked[now[j]] = true;
}

START_TEST(killed_writers)
{
    bool acked[KIT_MESSAGES] = { false };
    size_t n[WRITERS] = { 0 };
    struct err e;
    pid_t pid[WRITERS];
    int in[WRITERS];

    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), 0);
    for (int i = 0; i < WRITERS; i++) {
        pid[i] = start_writer(i, &in[i]);
        ck_assert_int_eq(fcntl(in[i], F_SETFL, O_NONBLOCK), 0);
    }
    for (int left = WRITERS; left > 0;) {
        struct pollfd p[WRITERS + 1] = { { spool_queue_wake_fd(k->s), POLLIN,
                                           0 } };
        for (int i = 0; i < WRITERS; i++)
            p[i + 1] = (struct pollfd){ pid[i] > 0 ? in[i] : -1, POLLIN, 0 };
        ck_assert_int_gt(poll(p, WRITERS + 1, 10000), 0);
        kit_scan(k);
        for (int i = 0; i < WRITERS; i++) {
            if (pid[i] <= 0)
                continue;
            hear(in[i], acked, &n[i]);
            if (n[i] < 3 * (size_t)_i + 30 * (size_t)i)
                continue;
            kill(pid[i], SIGKILL);
            waitpid(pid[i], NULL, 0);
            hear(in[i], acked, &n[i]);
            close(in[i]);
            pid[i] = -1;
            left--;
        }
    }
    k->s->look = true;
    kit_scan(k);
    for (int again = 0; again < 2; again++) {
        for (uint32_t i = 0; i < KIT_MESSAGES; i++)
            ck_assert_msg(!acked[i] || kit_find(k, i) != NULL, "%u is lost",
                          (unsigned)i);
        for (size_t a = 0; a < KIT_MESSAGES; a++)
            for (size_t b = a + 1; b < KIT_MESSAGES; b++)
                if (k->found[a].used && k->found[b].used &&
                    msg_id_eq(k->found[a].item.rec.id, k->found[b].item.rec.id))
                    ck_abort_msg("two messages with one id");
        spool_queue_close(&k->s);
        open_and_scan();
    }
    struct spool_usage u;
    spool_queue_usage(k->s, &u);
    ck_assert_uint_eq(u.damaged, 0);
}
END_TEST

/* --- a killed sender ------------------------------------------------------ */

static void keep(struct spool_writer *w, uint32_t number, size_t size)
{
    struct err e;

    kit_add(k, w, number, size, NULL);
    ck_assert_msg(spool_writer_commit(w, &e) == 0, "%s", e.text);
    kit_forget_chains(k);
}

/* Two of four messages are moved and delivered, the two others wait in the
 * old segment.  The file with the copies has nothing that waits. */
static void move_two_and_die(bool in_order)
{
    struct spool_writer *server;
    struct err e;

    ck_assert_int_eq(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e), 0);
    ck_assert_int_eq(
        spool_writer_open_sized(&k->w, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e),
        0);
    ck_assert_int_eq(
        spool_writer_open_sized(&server, k->dir, SPOOL_REMOTE, KIT_SEGMENT, &e),
        0);
    for (uint32_t i = 0; i < 12; i++)
        keep(server, i, 3000);
    keep(server, 12, KIT_SEGMENT);
    kit_scan(k);
    for (uint32_t i = 4; i < 12; i++)
        kit_finish(k, i);
    k->s->reclaim_items = 2;
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, &e), 1);
    if (!in_order)
        kit_forget_order(k->s);
    keep(k->w, 13, KIT_SEGMENT); /* leaves the one with the copies */
    kit_scan(k);
    kit_finish(k, 0);
    kit_finish(k, 1);
    ck_assert_int_eq(spool_queue_sync(k->s, &e), 0);
    raise(SIGKILL);
}

START_TEST(killed_sender)
{
    bool in_order = _i == 0;
    int status = 0;

    pid_t pid = fork();
    if (pid == 0) {
        move_two_and_die(in_order);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (int again = 0; again < 2; again++) {
        open_and_scan();
        ck_assert_uint_eq(k->nfound, in_order ? 4 : 6);
        ck_assert(in_order == (kit_find(k, 0) == NULL));
        spool_queue_close(&k->s);
    }
    open_and_scan();
    ck_assert_int_eq(
        spool_writer_open(&k->w, k->dir, SPOOL_REMOTE, &(struct err){ 0 }), 0);
    ck_assert_int_eq(spool_queue_reclaim(k->s, k->w, NULL), 0);
    ck_assert_int_eq(spool_queue_sync(k->s, NULL), 0);
    size_t files = kit_files(k, ".seg");
    ck_assert_msg(files == 3, "%zu", files); /* 2 + 3, 12, 13 */
}
END_TEST

Suite *spool_crash_suite(void);
Suite *spool_crash_suite(void)
{
    Suite *s = suite_create("spool_crash");
    TCase *t = tcase_create("spool_crash");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, recovery, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(t, a_body_is_no_record);
    tcase_add_test(t, recovery_cuts_a_segment_that_is_read);
    tcase_add_loop_test(t, rot_is_not_handed_out, 0,
                        (int)(sizeof rotten / sizeof rotten[0]));
    tcase_add_loop_test(t, another_format_is_left_alone, 0,
                        (int)(sizeof others / sizeof others[0]));
    tcase_add_loop_test(t, leftovers_go, 0,
                        (int)(sizeof leftovers / sizeof leftovers[0]));
    tcase_add_loop_test(t, planted_segments, 0, 2);
    tcase_add_test(t, planted_directory);
    tcase_add_test(t, planted_lock_and_fifo);
    tcase_add_loop_test(t, killed_sender, 0, 2);
    tcase_add_loop_test(t, killed_writers, 0,
                        getenv("TEST_VALGRIND") != NULL ? 2 : 8);
    suite_add_tcase(s, t);
    return s;
}
