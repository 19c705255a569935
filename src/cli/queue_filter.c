/* queue_filter.c - which messages and recipients a list shows. */
#include "cli/queue_filter.h"

#include "base/buf.h"
#include "base/clock.h"
#include "cli/queue_private.h"
#include "config/value.h"

#include <string.h>

/* "pending, held or deleted". */
static const char *words_text(char *room, size_t size, const char *const *words,
                              size_t n)
{
    struct buf b;

    buf_init(&b, room, size);
    for (size_t i = 0; i < n; i++)
        buf_addf(&b, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
    return room;
}

static int find_word(const char *flag, const char *given,
                     const char *const *words, size_t n, struct err *e)
{
    char room[128];

    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], given) == 0)
            return (int)i;
    return err_set(e, ERR_USAGE, 0, "%s: '%.40s' is none of %s", flag, given,
                   words_text(room, sizeof room, words, n));
}

static int set_state(struct queue_filter *f, const char *given, struct err *e)
{
    const char *words[QUEUE_DELIVERING + 1] = { NULL };

    for (int i = 0; i < QUEUE_DELIVERING; i++)
        words[i] = queue_state_name((enum spool_state)i);
    words[QUEUE_DELIVERING] = "delivering";
    f->state = find_word("--state", given, words, QUEUE_DELIVERING + 1, e);
    return f->state < 0 ? -1 : 0;
}

static int set_older(struct queue_filter *f, const char *given, struct err *e)
{
    long long seconds;
    struct err why;

    if (conf_parse_time(span_of(given), &seconds, &why) != 0)
        return err_set(e, ERR_USAGE, 0, "--older: %s", why.text);
    uint64_t now = clock_wall_us(), age = (uint64_t)seconds * 1000000u;
    f->before = age < now ? now - age : 1;
    return 0;
}

static int check_text(const char *flag, const char *given, struct err *e)
{
    return given == NULL || given[0] != '\0'
               ? 0
               : err_set(e, ERR_USAGE, 0, "%s: the text is empty", flag);
}

int queue_filter_set(struct queue_filter *f, const struct queue_flags *flags,
                     struct err *e)
{
    *f = (struct queue_filter){ .state = QUEUE_ANY_STATE,
                                .reply = flags->reply };
    f->select.domain = span_of(flags->domain);
    f->select.sender = span_of(flags->sender);
    if (check_text("--domain", flags->domain, e) != 0 ||
        check_text("--sender", flags->sender, e) != 0 ||
        check_text("--reply", flags->reply, e) != 0 ||
        (flags->state != NULL && set_state(f, flags->state, e) != 0) ||
        (flags->older != NULL && set_older(f, flags->older, e) != 0))
        return -1;
    f->on = queue_select_reads(&f->select) || f->state != QUEUE_ANY_STATE ||
            f->before > 0 || f->reply != NULL;
    return 0;
}

bool queue_filter_wants_done(const struct queue_filter *f)
{
    return f->state == SPOOL_DELIVERED || f->state == SPOOL_FAILED ||
           f->state == SPOOL_EXPANDED || f->state == SPOOL_DELETED;
}

bool queue_filter_record(const struct queue_filter *f,
                         const struct spool_record *rec)
{
    return f->before == 0 || rec->arrival < f->before;
}

static bool contains(struct span text, struct span part)
{
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (span_eq_nocase((struct span){ text.p + i, part.n }, part))
            return true;
    return false;
}

/* As the host wrote it: "421 4.3.2 try later"; codes that it left out are not
 * there. */
static bool has_reply(const struct spool_slot *slot, const char *part)
{
    char text[SPOOL_REPLY_MAX + SMTP_STATUS_TEXT + 8];
    char status[SMTP_STATUS_TEXT];
    struct buf b = BUF_ON(text);

    smtp_status_text(status, &slot->status);

    if (slot->status.code != 0)
        buf_addf(&b, "%u ", (unsigned)slot->status.code);
    if (status[0] != '\0')
        buf_addf(&b, "%s ", status);
    buf_adds(&b, slot->reply);
    return contains(buf_span(&b), span_of(part));
}

/* Without a state: what waits, as in the whole list. */
static bool is_state(const struct queue_filter *f, enum spool_state s,
                     bool delivering)
{
    if (f->state == QUEUE_ANY_STATE)
        return !f->on || s == SPOOL_PENDING || s == SPOOL_HELD;
    return f->state == (delivering ? (int)QUEUE_DELIVERING : (int)s);
}

bool queue_filter_rcpt(const struct queue_filter *f, struct span address,
                       const struct spool_slot *slot, bool delivering)
{
    return is_state(f, slot->state, delivering) &&
           queue_select_address(&f->select, address) &&
           (f->reply == NULL || has_reply(slot, f->reply));
}

int queue_order_set(enum queue_order *o, const char *name, struct err *e)
{
    static const char *const names[] = { "arrival", "next",   "size",
                                         "sender",  "domain", "attempts" };

    *o = QUEUE_AS_FOUND;
    if (name == NULL)
        return 0;
    int i = find_word("--sort", name, names, sizeof names / sizeof names[0], e);
    if (i >= 0)
        *o = (enum queue_order)(i + QUEUE_BY_ARRIVAL);
    return i < 0 ? -1 : 0;
}
