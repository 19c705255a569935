/* power_delivery_world.c - mail, what was done with it, what must be true. */
#include "power_delivery.h"

#include "disk_model.h"
#include "power.h"

#include "mailbox/request.h"

#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS = 1024, ANSWERS = 2048, PATH = CONF_PATH_MAX + 64 };

/* --- mail ------------------------------------------------------------------ */

/* a, b, e: mailboxes; x, y: remote; g: nobody, and the sender gets a notice. */
static const struct {
    const char *address, *targets;
} rcpts[] = {
    { "ann@here.test", "a" },    { "bob@here.test", "b" },
    { "eve@here.test", "e" },    { "x@far.test", "x" },
    { "y@far.test", "y" },       { "pair@here.test", "ab" },
    { "mixed@here.test", "ax" }, { "away@here.test", "xy" },
    { "nest@here.test", "abe" }, { "none@here.test", "" },
    { "some@here.test", "bg" },  { "toss@here.test", "e" },
    { "one@here.test", "e" },    { "both@here.test", "axy" },
    { "owned@here.test", "ay" },
};
enum { RCPTS = sizeof rcpts / sizeof rcpts[0], REMOTE_FIRST = 3, REMOTE_N = 2 };

const char delivery_aliases[] = "pair: ann, bob\n"
                                "mixed: ann, x@far.test\n"
                                "away: x@far.test, y@far.test\n"
                                "nest: pair, eve, ann\n"
                                "none: /dev/null\n"
                                "some: ghost, bob\n"
                                "toss: /dev/null, eve\n"
                                "one: eve\n"
                                "both: mixed, away\n"
                                "owned: ann, y@far.test\n"
                                "owner-owned: eve\n";
const char delivery_users[] = "ann\nbob\neve\n";

static const struct {
    char target;
    const char *name;
} boxes[] = { { 'a', "ann" }, { 'b', "bob" }, { 'e', "eve" } };
enum { NBOXES = sizeof boxes / sizeof boxes[0] };

struct event { /* a target was sent, or is marked as sent */
    unsigned number;
    char target;
    bool mark;
    size_t when, synced;
};
static struct world {
    struct post post[POST_MAX];
    unsigned nposts;
    struct event event[EVENTS];
    size_t n;
    bool crashed; /* ever */
} world, saved;
static struct answer_of { /* copies that were answered since the last crash */
    struct msg_id id;
    uint64_t part;
    uint16_t slot;
} answers[ANSWERS];
static size_t nanswers;
static struct delivery_life *life;

void post_start(struct delivery_life *l)
{
    life = l;
    memset(&world, 0, sizeof world);
    world.crashed =
        l->faults; /* a commit that fails may be that of one child */
    nanswers = 0;
}

void post_save(void)
{
    saved = world;
}

void post_restore(void)
{
    world = saved;
}

void post_complain(const char *fmt, ...)
{
    va_list ap;

    if (life->fault[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(life->fault, sizeof life->fault, fmt, ap);
    va_end(ap);
}

/* One to four recipients, local ones more often. */
struct post *post_new(uint32_t size, uint32_t draw, unsigned *number)
{
    if (world.nposts == POST_MAX)
        return NULL;
    struct post *p = &world.post[world.nposts];
    *p = (struct post){ .size = size, .promised = SIZE_MAX };
    for (unsigned i = 0; i <= (draw & 3); i++)
        p->rcpts |= 1u << (draw >> (8 + 6 * i)) % RCPTS;
    p->from_local = (draw >> 2 & 3) == 0;
    *number = world.nposts++;
    return p;
}

struct post *post_at(unsigned number)
{
    return &world.post[number];
}

const char *post_rcpt(unsigned i, bool *remote)
{
    *remote = i >= REMOTE_FIRST && i < REMOTE_FIRST + REMOTE_N;
    return i < RCPTS ? rcpts[i].address : NULL;
}

void post_sender(char out[64], unsigned number)
{
    if (world.post[number].from_local)
        snprintf(out, 64, "bob@here.test");
    else
        snprintf(out, 64, "s%u@far.test", number);
}

size_t post_text(char out[POST_TEXT], unsigned number)
{
    uint32_t size = world.post[number].size;
    size_t n = (size_t)snprintf(out, POST_TEXT, "Subject: life %u.%u\r\n\r\n",
                                number, (unsigned)size);

    letter_body(number, 0, out + n, size);
    return n + size;
}

/* --- finding it again ------------------------------------------------------ */

static const char *find_text(const char *text, unsigned *number)
{
    const char *at = strstr(text, "Subject: life ");
    unsigned size;

    return at != NULL &&
                   sscanf(at, "Subject: life %u.%u", number, &size) == 2 &&
                   *number < world.nposts && world.post[*number].size == size
               ? at
               : NULL;
}

int post_find(const char *text, size_t n)
{
    static char want[POST_TEXT];
    unsigned number;
    const char *at = find_text(text, &number);

    if (at == NULL)
        return -1;
    size_t size = post_text(want, number);
    return n - (size_t)(at - text) == size && memcmp(at, want, size) == 0
               ? (int)number
               : -1;
}

/* As it stands in a mailbox. */
static size_t stored_text(char out[2 * POST_TEXT], unsigned number, bool mbox)
{
    static char wire[POST_TEXT];
    size_t size = post_text(wire, number), n = 0;

    for (size_t i = 0; i < size; i++) {
        if (mbox && n > 0 && out[n - 1] == '\n' &&
            strncmp(wire + i, "From ", 5) == 0)
            out[n++] = '>';
        if (wire[i] != '\r')
            out[n++] = wire[i];
    }
    if (mbox)
        out[n++] = '\n';
    return n;
}

/* --- what was done --------------------------------------------------------- */

static void note(unsigned number, char target, bool mark)
{
    ck_assert_uint_lt(world.n, EVENTS);
    world.event[world.n++] =
        (struct event){ number, target, mark, model_count(), SIZE_MAX };
}

/* A notice may be written again after a crash, as another record; and a step of
 * two children, one of them by the owner of a list, may be cut between them. */
void post_sent(unsigned number, char target)
{
    int other = world.crashed ? target : target ^ ('x' ^ 'X');

    for (size_t i = 0; i < world.n && target != 'n'; i++)
        if (world.event[i].mark && world.event[i].number == number &&
            (world.event[i].target == target || world.event[i].target == other))
            post_complain("message %u is sent to %c again though its mark was "
                          "not lost",
                          number, target);
    life->notices += target == 'n';
    note(number, target, false);
}

void post_sent_marked(unsigned number, char target)
{
    note(number, target, true);
}

static void set_synced(size_t when)
{
    for (size_t i = 0; i < world.n; i++)
        if (world.event[i].synced == SIZE_MAX)
            world.event[i].synced = when;
}

void post_marks_synced(void)
{
    set_synced(model_count());
}

void post_marks_stay_unsynced(void)
{
    set_synced(SIZE_MAX - 1);
}

void post_cut_at(size_t cut)
{
    size_t kept = 0;

    post_crash();
    for (unsigned i = 0; i < world.nposts; i++)
        world.post[i].promised = world.post[i].promised <= cut ? 0 : SIZE_MAX;
    for (size_t i = 0; i < world.n; i++) {
        struct event v = world.event[i];
        if (v.when > cut || (v.mark && v.synced > cut))
            continue;
        v.when = v.synced = 0;
        world.event[kept++] = v;
    }
    world.n = kept;
}

void post_crash(void)
{
    nanswers = 0;
    world.crashed = true;
}

void post_asked(const struct mailbox_request *r)
{
    life->copies++;
    for (size_t i = 0; i < nanswers && !life->faults; i++)
        if (msg_id_eq(answers[i].id, r->id) && answers[i].part == r->part &&
            answers[i].slot == r->slot)
            post_complain("%s is to get a copy again that it has", r->key);
}

void post_answered(const struct mailbox_request *r)
{
    if (nanswers < ANSWERS)
        answers[nanswers++] = (struct answer_of){ r->id, r->part, r->slot };
}

/* --- mailboxes -------------------------------------------------------------- */

static struct {
    unsigned copies[POST_MAX][NBOXES], notices[POST_MAX];
    unsigned by_owner[POST_MAX][NBOXES]; /* of a list, of these copies */
    bool mbox;
} found;

/* One message of a mailbox, which ends in a NUL that is not counted. */
static void take_copy(const char *text, size_t n, size_t box)
{
    static char want[2 * POST_TEXT];
    unsigned number;
    const char *at = find_text(text, &number);
    bool notice = strncmp(text, "Return-Path: <>\n", 16) == 0;

    if (at != NULL && notice) {
        found.notices[number]++;
        return;
    }
    size_t size = at == NULL ? 0 : stored_text(want, number, found.mbox);
    size_t has = at == NULL ? 0 : n - (size_t)(at - text);
    bool whole = at != NULL && strncmp(text, "Return-Path: <", 14) == 0 &&
                 (found.mbox ? has >= size : has == size) &&
                 memcmp(at, want, size) == 0;
    if (whole) {
        found.copies[number][box]++;
        found.by_owner[number][box] +=
            strncmp(text, "Return-Path: <owner-", 20) == 0;
    } else if (!found.mbox) {
        post_complain("half a message is in the mailbox of %s",
                      boxes[box].name);
    }
}

/* Ends in a NUL that is not counted. */
static ssize_t read_file(const char *path, char out[MODEL_FILE_MAX + 1])
{
    FILE *f = fopen(path, "r");
    size_t n = f == NULL ? 0 : fread(out, 1, MODEL_FILE_MAX, f);

    if (f != NULL)
        fclose(f);
    out[n] = '\0';
    return f == NULL ? -1 : (ssize_t)n;
}

static void read_maildir(const struct conf *c, size_t box, const char *sub)
{
    static char text[MODEL_FILE_MAX + 1];
    char path[PATH], file[PATH + 256 + 1];
    struct dirent *entry;

    snprintf(path, sizeof path, "%s/%s/%s", c->local.mail_dir, boxes[box].name,
             sub);
    DIR *d = opendir(path);
    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        ssize_t n = read_file(file, text);
        if (n >= 0)
            take_copy(text, (size_t)n, box);
    }
    if (d != NULL)
        closedir(d);
}

/* Torn messages may be there, see power_judge.c. */
static void read_mbox(const struct conf *c, size_t box)
{
    static char text[MODEL_FILE_MAX + 1];
    char path[PATH];

    snprintf(path, sizeof path, "%s/%s", c->local.mail_dir, boxes[box].name);
    ssize_t n = read_file(path, text);
    for (ssize_t at = 0, end; at < n; at = end) {
        for (end = at + 1; end < n; end++)
            if (strncmp(text + end, "From ", 5) == 0 && text[end - 1] == '\n' &&
                (end < 2 || text[end - 2] == '\n'))
                break;
        char *line = memchr(text + at, '\n', (size_t)(end - at));
        char behind = text[end];
        text[end] = '\0';
        if (strncmp(text + at, "From ", 5) == 0 && line != NULL)
            take_copy(line + 1, (size_t)(text + end - line - 1), box);
        text[end] = behind;
    }
}

/* Between crash and start, so that the move itself is not cut. */
void post_read_mail(const struct conf *c, uint64_t draw)
{
    char new[PATH], cur[PATH], from[PATH + 257], to[PATH + 261];
    struct dirent *entry;

    for (size_t b = 0; b < NBOXES && c->local.mailbox == CONF_MAILDIR; b++) {
        snprintf(new, sizeof new, "%s/%s/new", c->local.mail_dir,
                 boxes[b].name);
        snprintf(cur, sizeof cur, "%s/%s/cur", c->local.mail_dir,
                 boxes[b].name);
        DIR *d = access(cur, F_OK) == 0 ? opendir(new) : NULL;
        while (d != NULL && (entry = readdir(d)) != NULL) {
            draw = draw * 6364136223846793005u + 1442695040888963407u;
            if (entry->d_name[0] == '.' || (draw >> 60 & 1) != 0)
                continue;
            snprintf(from, sizeof from, "%s/%s", new, entry->d_name);
            snprintf(to, sizeof to, "%s/%s:2,S", cur, entry->d_name);
            ck_assert_int_eq(rename(from, to), 0);
        }
        if (d != NULL)
            closedir(d);
    }
}

/* --- what must be true ------------------------------------------------------ */

static bool leads_to(const struct post *p, char target)
{
    for (unsigned i = 0; i < RCPTS; i++)
        if ((p->rcpts & 1u << i) != 0 &&
            strchr(rcpts[i].targets, target) != NULL)
            return true;
    return false;
}

static bool was_sent(unsigned number, char target)
{
    for (size_t i = 0; i < world.n; i++)
        if (!world.event[i].mark && world.event[i].number == number &&
            (world.event[i].target | ('x' ^ 'X')) == target)
            return true;
    return false;
}

/* See post_sent(). */
static bool is_too_many(unsigned number, size_t box)
{
    unsigned n = found.copies[number][box];
    unsigned by_owner = found.by_owner[number][box];

    if (found.mbox)
        return n > 1 && !world.crashed;
    return world.crashed ? by_owner > 1 || n - by_owner > 1 : n > 1;
}

static void judge_post(unsigned number)
{
    const struct post *p = &world.post[number];
    bool promised = p->promised != SIZE_MAX;

    for (size_t b = 0; b < NBOXES; b++) {
        unsigned n = found.copies[number][b];
        bool wanted = leads_to(p, boxes[b].target);
        if (promised && wanted && n == 0)
            post_complain("message %u is lost for %s", number, boxes[b].name);
        if (n > 0 && (!wanted || is_too_many(number, b)))
            post_complain("message %u is in the mailbox of %s %u times", number,
                          boxes[b].name, n);
    }
    for (const char *t = "xy"; *t != '\0' && promised; t++)
        if (leads_to(p, *t) && !was_sent(number, *t))
            post_complain("message %u is lost for %c", number, *t);
    if (promised && leads_to(p, 'g') && !was_sent(number, 'n') &&
        found.notices[number] == 0)
        post_complain("the notice for message %u is lost", number);
}

static void judge_queue(const struct conf *c, enum spool_name name)
{
    char path[PATH + 16];

    snprintf(path, sizeof path, "%s/%s", c->queue_dir, spool_name_text(name));
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *n; (n = readdir(d)) != NULL;) {
        if (strstr(n->d_name, ".seg") != NULL)
            post_complain("stuck: %s/%s is left", spool_name_text(name),
                          n->d_name);
        if (strstr(n->d_name, ".bad") != NULL && !life->faults)
            post_complain("a torn tail is taken for damage in %s",
                          spool_name_text(name));
    }
    closedir(d);
}

void post_judge(const struct conf *c)
{
    memset(&found, 0, sizeof found);
    found.mbox = c->local.mailbox == CONF_MBOX;
    for (size_t b = 0; b < NBOXES; b++) {
        if (found.mbox) {
            read_mbox(c, b);
        } else {
            read_maildir(c, b, "new");
            read_maildir(c, b, "cur");
        }
    }
    for (unsigned i = 0; i < world.nposts; i++)
        judge_post(i);
    judge_queue(c, SPOOL_LOCAL);
    judge_queue(c, SPOOL_REMOTE);
}
