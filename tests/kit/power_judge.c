/* power_judge.c - is what a power cut left what was promised? */
#include "power.h"

#include "disk_model.h"
#include "spool/segments_private.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 512, FILE_MAX = MODEL_FILE_MAX };

static struct {
    struct verdict *v;
    char queue[PATH], mail[PATH];
    size_t cut;
    bool mbox;
    struct spool_message item[2 * LETTERS]; /* of both queues */
    size_t nitems;
} now;

static void complain(const char *fmt, ...)
{
    va_list ap;

    if (now.v->failed)
        return;
    now.v->failed = true;
    va_start(ap, fmt);
    vsnprintf(now.v->why, sizeof now.v->why, fmt, ap);
    va_end(ap);
}

/* --- the queue --------------------------------------------------------------- */

static struct spool_message *on_found(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    (void)v;
    return now.nitems < 2 * LETTERS ? &now.item[now.nitems++] : NULL;
}

/* Of a record that somebody is shown. */
static void count_record(const struct spool_reader *v, bool waits)
{
    struct spool_slot slot;
    struct record rec;
    struct err e;

    if (letter_read(&rec, v, waits) != 0) {
        complain("half a message in the queue");
        return;
    }
    if (v->queue != letter_queue(rec.number))
        complain("message %u is in the wrong queue", (unsigned)rec.number);
    for (unsigned i = 0; i < rec.n; i++) {
        unsigned r = rec.rcpt[i];
        if (spool_reader_slot(v, i, &slot, &e) != 0)
            complain("%s", e.text);
        now.v->of[rec.number][r].waits += waits;
        now.v->of[rec.number][r].queued += !waits;
        now.v->of[rec.number][r].state = slot.state;
    }
}

static int on_any(void *ctx, const struct spool_reader *v)
{
    (void)ctx;
    count_record(v, false);
    return 0;
}

static int on_look(void *ctx, const struct spool_reader *v)
{
    struct record rec;

    if (letter_read(&rec, v, true) != 0)
        complain("half a message is shown");
    ++*(size_t *)ctx;
    return 0;
}

static void open_and_scan(enum spool_name queue, bool faults)
{
    size_t first = now.nitems;
    struct spool_queue *s = NULL;
    struct spool_usage u;
    struct body body;
    struct err e;

    if (spool_queue_open(&s, now.queue, queue, &e) != 0 ||
        spool_queue_scan(s, on_found, NULL, &e) != 0) {
        complain("%s", e.text);
        spool_queue_close(&s);
        return;
    }
    for (size_t i = first; i < now.nitems; i++) {
        struct spool_message *it = &now.item[i];
        if (spool_message_pin(s, it, &body, &e) != 0) {
            complain("%s", e.text);
            continue;
        }
        struct spool_segment *pinned = it->segment;
        struct spool_reader v = { &it->rec, queue, body.fd, it->at, NULL };
        count_record(&v, true);
        spool_message_unpin(s, pinned);
    }
    spool_queue_usage(s, &u);
    if (u.damaged > 0 && !faults)
        complain("a torn tail is taken for damage");
    if (u.messages != now.nitems - first)
        complain("messages are not counted right");
    spool_queue_close(&s);
}

static void read_queue(bool faults)
{
    size_t looked = 0;
    struct err e;

    if (spool_read_all(now.queue, false, on_look, &looked, &e) != 0)
        complain("%s", e.text);
    now.nitems = 0;
    for (int q = 0; q < SPOOL_QUEUES; q++)
        open_and_scan((enum spool_name)q, faults);
    if (looked != now.nitems)
        complain("a look shows %zu messages, consumers %zu", looked,
                 now.nitems);
    if (spool_read_all(now.queue, true, on_any, NULL, &e) != 0)
        complain("%s", e.text);
}

/* --- mailboxes ---------------------------------------------------------------- */

/* Whose is it, and is it whole? */
static bool take_copy(const char *text, size_t n, const char *box, bool mbox)
{
    static char want[2 * LETTER_SIZE];
    unsigned number, size, r;

    if (sscanf(text, "Return-Path: <%u.%u@example.org>\nDelivered-To: r%u@",
               &number, &size, &r) != 3 ||
        number >= nletters || r >= letters[number].nrcpt ||
        !letter_is_local(number, r) || strcmp(letter_box(number, r), box) != 0)
        return false;
    size_t whole = letter_stored(want, number, r, mbox);
    if (n < whole || (n > whole && !mbox) || memcmp(want, text, whole) != 0)
        return false;
    now.v->of[number][r].copies++;
    return true;
}

/* Ends in a NUL that is not counted. */
static ssize_t read_file(const char *path, char out[FILE_MAX + 1])
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, out, FILE_MAX);

    if (fd >= 0)
        close(fd);
    out[n < 0 ? 0 : n] = '\0';
    return n;
}

static void read_maildir(const char *box)
{
    static char text[FILE_MAX + 1];
    char path[PATH + 64], file[PATH + 64 + 256];
    struct dirent *entry;

    snprintf(path, sizeof path, "%s/%s/new", now.mail, box);
    DIR *d = opendir(path);
    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        ssize_t n = read_file(file, text);
        if (n < 0 || !take_copy(text, (size_t)n, box, false))
            complain("half a message in %s/new", box);
    }
    if (d != NULL)
        closedir(d);
}

/* As its readers do: a message begins at "From " behind a blank line.  Torn
 * ones may be there, and one whose beginning is lost looks like the end of the
 * one before; but what was promised must be found, whole. */
static void read_mbox(const char *box)
{
    static char text[FILE_MAX + 1];
    char path[PATH + 64];

    snprintf(path, sizeof path, "%s/%s", now.mail, box);
    ssize_t n = read_file(path, text);
    for (ssize_t at = 0, end; at < n; at = end) {
        for (end = at + 1; end < n; end++)
            if (strncmp(text + end, "From ", 5) == 0 && text[end - 1] == '\n' &&
                (end < 2 || text[end - 2] == '\n'))
                break;
        char *line = memchr(text + at, '\n', (size_t)(end - at));
        if (strncmp(text + at, "From ", 5) == 0 && line != NULL)
            take_copy(line + 1, (size_t)(text + end - line - 1), box, true);
    }
}

/* --- what must be true ----------------------------------------------------------- */

static void judge_queued(uint32_t number, unsigned r)
{
    const struct promise *p = &letters[number].rcpt[r];
    unsigned waits = now.v->of[number][r].waits;

    if (waits > 1)
        complain("message %u is queued twice for r%u", (unsigned)number, r);
    if (now.v->of[number][r].queued > 0 &&
        !promise_allows(p, now.v->of[number][r].state, now.cut))
        complain("message %u, r%u: state %d, nobody made that mark last",
                 (unsigned)number, r, (int)now.v->of[number][r].state);
    if (!letter_is_local(number, r) && p->promised <= now.cut && waits == 0 &&
        !promise_may_be_over(p, now.cut))
        complain("message %u is lost for r%u", (unsigned)number, r);
}

static unsigned tries(const struct promise *p)
{
    unsigned n = 0;

    for (size_t i = 0; i < p->ntried; i++)
        n += p->tried[i] <= now.cut;
    return n;
}

static void judge_copies(uint32_t number, unsigned r)
{
    const struct promise *p = &letters[number].rcpt[r];
    unsigned copies = now.v->of[number][r].copies;
    bool waits = now.v->of[number][r].waits > 0 &&
                 !state_is_final(now.v->of[number][r].state);

    if (copies > tries(p) || (copies > 1 && !now.mbox))
        complain("message %u is in %s %u times", (unsigned)number,
                 letter_box(number, r), copies);
    if (p->promised <= now.cut && copies == 0 && !waits)
        complain("message %u is lost for mailbox %s", (unsigned)number,
                 letter_box(number, r));
}

static void judge_letter(uint32_t number)
{
    for (unsigned r = 0; r < letters[number].nrcpt; r++) {
        if (letters[number].begun > now.cut &&
            (now.v->of[number][r].queued > 0 ||
             now.v->of[number][r].copies > 0))
            complain("message %u was never handed in", (unsigned)number);
        judge_queued(number, r);
        if (letter_is_local(number, r))
            judge_copies(number, r);
    }
}

void judge(struct verdict *v, const char *dir, size_t cut,
           enum conf_mailbox kind, bool faults)
{
    memset(v, 0, sizeof *v);
    now.v = v;
    now.mbox = kind == CONF_MBOX;
    now.cut = cut;
    snprintf(now.queue, sizeof now.queue, "%s/queue", dir);
    snprintf(now.mail, sizeof now.mail, "%s/mail", dir);
    read_queue(faults);
    for (unsigned i = 0; i < BOXES; i++)
        if (kind == CONF_MAILDIR)
            read_maildir(letter_box(i, 0));
        else
            read_mbox(letter_box(i, 0));
    for (uint32_t i = 0; i < nletters; i++)
        judge_letter(i);
}
