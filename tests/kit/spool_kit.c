#include "spool_kit.h"

#include "base/crc32c.h"
#include "base/fs.h"
#include "spool/dirs.h"
#include "spool/large.h"
#include "spool/submit.h"
#include "spool/unlink_order_private.h"

#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- directories ---------------------------------------------------------- */

void kit_remove_tree(const char *path)
{
    char below[1024];
    DIR *d = opendir(path);

    for (struct dirent *n; d != NULL && (n = readdir(d)) != NULL;) {
        if (strcmp(n->d_name, ".") == 0 || strcmp(n->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, n->d_name);
        if (unlink(below) != 0)
            kit_remove_tree(below);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

struct kit *kit_new(const char *parent)
{
    struct kit *k = calloc(1, sizeof *k);
    struct err e;

    ck_assert_ptr_nonnull(k);
    if (parent == NULL)
        parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(k->dir, sizeof k->dir, "%s/spool-XXXXXX", parent);
    ck_assert_ptr_nonnull(mkdtemp(k->dir));
    k->blocks = chain_pool_new(16 * 1024);
    ck_assert_msg(spool_dirs_make(k->dir, (uid_t)-1, (gid_t)-1, &e) == 0, "%s",
                  e.text);
    return k;
}

void kit_free(struct kit **kp)
{
    struct kit *k = *kp;

    spool_writer_close(&k->w);
    spool_queue_close(&k->s);
    kit_forget_chains(k);
    pool_free(&k->blocks);
    kit_remove_tree(k->dir);
    free(k);
    *kp = NULL;
}

void kit_reopen(struct kit *k)
{
    struct err e;

    spool_queue_close(&k->s);
    memset(k->found, 0, sizeof k->found);
    k->nfound = 0;
    ck_assert_msg(spool_queue_open(&k->s, k->dir, SPOOL_REMOTE, &e) == 0, "%s",
                  e.text);
}

void kit_forget_order(struct spool_queue *q)
{
    for (struct list *l = q->all.next; l != &q->all; l = l->next) {
        struct spool_segment *g = LIST_ENTRY(l, struct spool_segment, link);
        struct list *in;
        while ((in = list_pop(&g->moved_in)) != NULL) {
            struct spool_move *m = LIST_ENTRY(in, struct spool_move, in);
            list_remove(&m->out);
            free(m);
        }
    }
}

size_t kit_files(const struct kit *k, const char *ending)
{
    char path[300];
    size_t n = 0;

    snprintf(path, sizeof path, "%s/remote", k->dir);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        n += strstr(f->d_name, ending) != NULL;
    closedir(d);
    return n;
}

size_t kit_open_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");

    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* --- messages ------------------------------------------------------------- */

static void octets(uint32_t number, uint64_t at, unsigned char *out, size_t n)
{
    for (size_t i = 0; i < n; i++, at++)
        out[i] = (unsigned char)((at * 2654435761u >> 7) ^ number * 97u ^ at);
}

/* So that a cut may lose these parts of a record and no other. */
enum { LONGER_THAN_A_SECTOR = 600, KIT_FRONT = 640 };

/* Also in processes that are killed at any moment: Check, which notes what
 * it passes in a file, could be left with half a note. */
static void must(bool that)
{
    if (!that)
        abort();
}

static void add_field(struct kit *k, struct chain *c, enum spool_field type,
                      const char *text)
{
    must(spool_envelope_add(c, k->blocks, type, span_of(text)));
}

static void clear_late(struct kit *k, uint32_t number)
{
    chain_clear(&k->late[number].front, k->blocks);
    chain_clear(&k->late[number].fields, k->blocks);
}

static uint32_t nrcpt_of(uint32_t number)
{
    return 1 + number % 3;
}

static void make_envelope(struct kit *k, struct chain *c, uint32_t number,
                          size_t size)
{
    char text[64], filler[KIT_FRONT];

    snprintf(text, sizeof text, "%" PRIu32 ".%zu@example.org", number, size);
    add_field(k, c, SPOOL_F_SENDER, text);
    if (number % 4 == 2) {
        snprintf(filler, sizeof filler, "%*d", LONGER_THAN_A_SECTOR, 0);
        add_field(k, c, (enum spool_field)KIT_LATE, filler);
    }
    for (uint32_t i = 0; i < nrcpt_of(number); i++) {
        snprintf(text, sizeof text, "r%" PRIu32 "@example.com", i);
        add_field(k, c, SPOOL_F_RCPT, text);
    }
}

/* Every other message has late fields. */
static bool has_late(uint32_t number)
{
    return number % 2 == 1;
}

static size_t front_of(unsigned char out[KIT_FRONT], uint32_t number)
{
    return has_late(number) ? (size_t)snprintf((char *)out, KIT_FRONT,
                                               "X-Late: %*" PRIu32 "\r\n",
                                               LONGER_THAN_A_SECTOR, number)
                            : 0;
}

static const struct spool_late *make_late(struct kit *k, uint32_t number)
{
    struct spool_late *l = &k->late[number];
    unsigned char text[KIT_FRONT];

    if (!has_late(number))
        return NULL;
    must(chain_add(&l->front, k->blocks, text, front_of(text, number)));
    must(spool_envelope_add(&l->fields, k->blocks, (enum spool_field)KIT_LATE,
                            (struct span){ (char *)&number, sizeof number }));
    return l;
}

static int add_large(struct spool_writer *w, const struct spool_submission *m,
                     uint32_t number, size_t size, struct err *e)
{
    struct spool_large *s = NULL;
    unsigned char piece[1000];

    if (spool_large_open(&s, w, m, e) != 0)
        return -1;
    for (size_t at = 0; at < size;) {
        size_t n = size - at < sizeof piece ? size - at : sizeof piece;
        octets(number, at, piece, n);
        if (spool_large_append(s, piece, n, e) != 0) {
            spool_large_abort(&s);
            return -1;
        }
        at += n;
    }
    return spool_large_finish(w, &s, m->late, e);
}

static int add_small(struct kit *k, struct spool_writer *w,
                     const struct spool_submission *m, uint32_t number,
                     size_t size, struct err *e)
{
    unsigned char piece[1000];
    struct chain *body = &k->body[number];
    uint32_t crc = 0;

    for (size_t at = 0; at < size;) {
        size_t n = size - at < sizeof piece ? size - at : sizeof piece;
        octets(number, at, piece, n);
        must(chain_add(body, k->blocks, piece, n));
        crc = crc32c(crc, piece, n);
        at += n;
    }
    struct body as_body = body_of_chain(body, crc);
    return spool_submit(w, m, &as_body, e);
}

static int try_add(struct kit *k, struct spool_writer *w, uint32_t number,
                   size_t size, bool large, struct msg_id *id, struct err *e)
{
    struct spool_submission m = { .arrival = 1000 + number,
                                  .nrcpt = nrcpt_of(number),
                                  .envelope = &k->env[number] };

    must(number < KIT_MESSAGES);
    if (spool_writer_new_id(w, &m.id, e) != 0)
        return -1;
    *id = m.id;
    chain_clear(&k->env[number], k->blocks);
    chain_clear(&k->body[number], k->blocks);
    clear_late(k, number);
    make_envelope(k, &k->env[number], number, size);
    m.late = make_late(k, number);
    return large ? add_large(w, &m, number, size, e)
                 : add_small(k, w, &m, number, size, e);
}

int kit_try(struct kit *k, struct spool_writer *w, uint32_t number, size_t size,
            bool large, struct err *e)
{
    struct msg_id id;

    return try_add(k, w, number, size, large, &id, e);
}

void kit_add(struct kit *k, struct spool_writer *w, uint32_t number,
             size_t size, struct msg_id *id)
{
    struct msg_id mine;
    struct err e;

    ck_assert_msg(try_add(k, w, number, size, false, &mine, &e) == 0, "%s",
                  e.text);
    if (id != NULL)
        *id = mine;
}

void kit_add_large(struct kit *k, struct spool_writer *w, uint32_t number,
                   size_t size)
{
    struct err e;

    ck_assert_msg(kit_try(k, w, number, size, true, &e) == 0, "%s", e.text);
}

void kit_forget_chains(struct kit *k)
{
    for (size_t i = 0; i < KIT_MESSAGES; i++) {
        chain_clear(&k->env[i], k->blocks);
        chain_clear(&k->body[i], k->blocks);
        clear_late(k, (uint32_t)i);
    }
}

/* --- what is in the queue ------------------------------------------------- */

struct checking {
    uint32_t number, nrcpt, fields;
    size_t size;
    bool bad;
};

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    struct checking *c = ctx;
    char text[64], want[64];

    if ((int)type == KIT_LATE) /* of no meaning: readers skip it */
        return 0;
    if (!span_copy(text, sizeof text, s))
        c->bad = true;
    else if (c->fields++ == 0)
        c->bad |= type != SPOOL_F_SENDER ||
                  sscanf(text, "%" SCNu32 ".%zu@example.org", &c->number,
                         &c->size) != 2;
    else {
        snprintf(want, sizeof want, "r%" PRIu32 "@example.com", c->nrcpt++);
        c->bad |= type != SPOOL_F_RCPT || strcmp(text, want) != 0;
    }
    return 0;
}

/* The octet of the message at that place. */
static unsigned char octet_of(const unsigned char *front, size_t n,
                              uint32_t number, uint64_t at)
{
    unsigned char c;

    if (at < n)
        return front[at];
    octets(number, at - n, &c, 1);
    return c;
}

static bool body_is(const struct spool_reader *v, uint32_t number, size_t size)
{
    struct body_cursor c = { 0 };
    struct body b;
    struct err e;
    unsigned char got[4096], front[KIT_FRONT];
    size_t nfront = front_of(front, number);
    uint64_t at = 0;
    ssize_t n;

    if (spool_reader_body(v, &b, &e) != 0 || b.size != size + nfront)
        return false;
    while ((n = body_next(&b, &c, got, sizeof got)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (got[i] != octet_of(front, nfront, number, at++))
                return false;
    return n == 0 && at == b.size;
}

static int on_late(void *ctx, enum spool_field type, struct span s)
{
    uint32_t number = *(uint32_t *)ctx;

    return (int)type == KIT_LATE && s.n == sizeof number &&
                   memcmp(s.p, &number, sizeof number) == 0
               ? 1
               : 2;
}

static bool late_is(const struct spool_reader *v, uint32_t number)
{
    struct err e;

    return spool_reader_late(v, on_late, &number, &e) == has_late(number);
}

int kit_check(const struct spool_reader *v, uint32_t *number)
{
    struct checking c = { 0 };
    struct err e;

    if (spool_reader_envelope(v, on_field, &c, &e) != 0 || c.bad ||
        c.fields == 0 || c.number >= KIT_MESSAGES ||
        c.nrcpt != nrcpt_of(c.number) || c.nrcpt != v->rec->nrcpt ||
        v->rec->arrival != 1000 + c.number || !body_is(v, c.number, c.size) ||
        !late_is(v, c.number))
        return -1;
    *number = c.number;
    return 0;
}

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    struct kit *k = ctx;

    (void)v;
    for (size_t i = 0; i < KIT_MESSAGES; i++)
        if (!k->found[i].used) {
            k->found[i].used = true;
            k->found[i].number = UINT32_MAX;
            k->nfound++;
            return &k->found[i].item;
        }
    return NULL;
}

size_t kit_scan(struct kit *k)
{
    size_t before = k->nfound;
    struct body body;
    struct err e;

    ck_assert_msg(spool_queue_scan(k->s, on_found, k, &e) == 0, "%s", e.text);
    for (size_t i = 0; i < KIT_MESSAGES; i++) {
        if (!k->found[i].used || k->found[i].number != UINT32_MAX)
            continue;
        struct spool_message *it = &k->found[i].item;
        ck_assert_int_eq(spool_message_pin(k->s, it, &body, &e), 0);
        struct spool_segment *pinned = it->segment;
        struct spool_reader v = { &it->rec, SPOOL_REMOTE, body.fd, it->at,
                                  NULL };
        ck_assert_msg(kit_check(&v, &k->found[i].number) == 0,
                      "a record that nobody wrote");
        spool_message_unpin(k->s, pinned);
    }
    return k->nfound - before;
}

struct spool_message *kit_find(struct kit *k, uint32_t number)
{
    struct spool_message *it = NULL;

    for (size_t i = 0; i < KIT_MESSAGES; i++)
        if (k->found[i].used && k->found[i].number == number) {
            ck_assert_msg(it == NULL, "%" PRIu32 " is there twice", number);
            it = &k->found[i].item;
        }
    return it;
}

int kit_mark(struct kit *k, uint32_t number, uint32_t index,
             enum spool_state state)
{
    struct spool_slot slot = { .state = state,
                               .attempts = 1,
                               .status = { .code = 250 },
                               .mx = "mx.example.com",
                               .reply = "2.0.0 ok" };
    struct spool_message *it = kit_find(k, number);
    struct err e;

    ck_assert_ptr_nonnull(it);
    return spool_slot_put(k->s, it, index, &slot, &e);
}

void kit_finish(struct kit *k, uint32_t number)
{
    for (uint32_t i = 0; i < nrcpt_of(number); i++)
        ck_assert_int_eq(kit_mark(k, number, i, SPOOL_DELIVERED), 0);
    kit_done(k, number);
}

void kit_done(struct kit *k, uint32_t number)
{
    spool_message_done(k->s, kit_find(k, number));
    for (size_t i = 0; i < KIT_MESSAGES; i++)
        if (k->found[i].used && k->found[i].number == number) {
            k->found[i].used = false;
            k->nfound--;
        }
}
