/* log_story.c - a message's path across processes.
 *
 * The files are read twice: lines of a session come before the one that names
 * the message, so the first reading finds the sessions. */
#include "cli/log_story.h"

#include "base/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, RECEIVED = 0 };

/* Where a line stands in the story: how the message was received, or a part of
 * it, counted from 1. */
typedef uint64_t chapter;

/* A session that a chapter names. */
struct session {
    struct map_link link;
    chapter chapter;
    size_t n;
    char sid[];
};

struct line {
    struct line *next;
    chapter chapter; /* of a line with the id */
    bool of_session; /* has no id */
    struct span sid;
    size_t n;
    char text[];
};

/* A part that was made of another one. */
struct child {
    struct child *next;
    chapter chapter, parent;
    bool told;
    char queue[16];
};

struct story {
    const char *id;
    struct map sessions;
    struct line *first, **end;
    struct child *child, **child_end;
    chapter last; /* the greatest */
    unsigned found;
};

/* --- what a line is about ------------------------------------------------- */

static chapter part_chapter(struct span part)
{
    unsigned long long n;

    return span_u64(part, UINT64_MAX - 1, &n) ? n + 1 : 1;
}

static chapter chapter_of(struct span line)
{
    struct span event = log_field_of(line, "event");

    if (span_starts_nocase(event, "serve."))
        return RECEIVED;
    return part_chapter(log_field_of(line, "part"));
}

static uint64_t session_hash(struct span sid)
{
    return map_hash(sid.p, sid.n);
}

static bool names_session(const struct story *s, struct span sid, chapter c,
                          bool any)
{
    for (const struct map_link *m = map_first(&s->sessions, session_hash(sid));
         m != NULL; m = map_next(m)) {
        const struct session *k = MAP_ENTRY(m, struct session, link);
        if ((any || k->chapter == c) &&
            span_eq(sid, (struct span){ k->sid, k->n }))
            return true;
    }
    return false;
}

/* --- first reading -------------------------------------------------------- */

static int no_memory(struct err *e)
{
    return err_set(e, ERR_TEMP, ENOMEM, "memory for the lines of a message");
}

static int add_session(struct story *s, struct span sid, chapter c,
                       struct err *e)
{
    if (sid.n == 0 || names_session(s, sid, c, false))
        return 0;
    struct session *k = malloc(sizeof *k + sid.n);
    if (k == NULL)
        return no_memory(e);
    k->chapter = c;
    k->n = sid.n;
    memcpy(k->sid, sid.p, sid.n);
    map_add(&s->sessions, &k->link, session_hash(sid));
    return 0;
}

static int add_child(struct story *s, struct span line, chapter parent,
                     struct err *e)
{
    struct span part = log_field_of(line, "child");

    if (part.n == 0)
        return 0;
    chapter c = part_chapter(part);
    for (const struct child *k = s->child; k != NULL; k = k->next)
        if (k->chapter == c)
            return 0;
    struct child *k = calloc(1, sizeof *k);
    if (k == NULL)
        return no_memory(e);
    k->chapter = c;
    k->parent = parent;
    (void)span_copy(k->queue, sizeof k->queue, log_field_of(line, "queue"));
    *s->child_end = k;
    s->child_end = &k->next;
    return 0;
}

/* Local delivery names the session that a message was received in. */
static bool is_carried(struct span line)
{
    return !span_starts_nocase(log_field_of(line, "event"), "deliver.");
}

static int look(void *ctx, struct span line, struct err *e)
{
    struct story *s = ctx;
    chapter c = chapter_of(line);

    s->found++;
    if (c > s->last)
        s->last = c;
    if (is_carried(line) &&
        add_session(s, log_field_of(line, "sid"), c, e) != 0)
        return -1;
    return add_child(s, line, c, e);
}

/* --- second reading ------------------------------------------------------- */

static int keep(void *ctx, struct span line, struct err *e)
{
    struct story *s = ctx;
    struct span id = log_field_of(line, "id");
    struct span sid = log_field_of(line, "sid");
    bool of_session = id.n == 0;

    if (of_session ? sid.n == 0 || !names_session(s, sid, 0, true)
                   : !span_is(id, s->id))
        return 0;
    struct line *k = malloc(sizeof *k + line.n);
    if (k == NULL)
        return no_memory(e);
    k->next = NULL;
    k->n = line.n;
    memcpy(k->text, line.p, line.n);
    k->of_session = of_session;
    k->chapter = chapter_of(line);
    k->sid = log_field_of((struct span){ k->text, k->n }, "sid");
    *s->end = k;
    s->end = &k->next;
    return 0;
}

/* --- the print ------------------------------------------------------------ */

static bool is_heading(struct span key)
{
    static const char *const words[] = { "time", "level", "event",
                                         "id",   "part",  "from" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_is(key, words[i]))
            return true;
    return false;
}

static void put_span(struct span s)
{
    fwrite(s.p, 1, s.n, stdout);
}

static void put_field(void *ctx, struct span key, struct span value)
{
    const struct line *k = ctx;
    bool received = k->chapter == RECEIVED && span_is(key, "from");

    if (is_heading(key) && !received)
        return;
    bool plain = value.n > 0 && span_find(value, ' ') == value.n &&
                 span_find(value, '=') == value.n;
    putchar(' ');
    put_span(key);
    fputs(plain ? "=" : "=\"", stdout);
    put_span(value);
    fputs(plain ? "" : "\"", stdout);
}

static void put_line(const struct line *k)
{
    struct span line = { k->text, k->n };

    fputs("  ", stdout);
    put_span(log_field_of(line, "time"));
    putchar(' ');
    put_span(log_field_of(line, "event"));
    log_each_field(line, put_field, (void *)(uintptr_t)k);
    putchar('\n');
}

static void put_chapter(const struct story *s, chapter c)
{
    for (const struct line *k = s->first; k != NULL; k = k->next)
        if (k->of_session ? names_session(s, k->sid, c, false)
                          : k->chapter == c)
            put_line(k);
}

static const struct child *child_of(const struct story *s, chapter c)
{
    const struct child *k = s->child;

    while (k != NULL && k->chapter != c)
        k = k->next;
    return k;
}

static bool has_lines(const struct story *s, chapter c)
{
    for (const struct line *k = s->first; k != NULL; k = k->next)
        if (!k->of_session && k->chapter == c)
            return true;
    return false;
}

static void put_part(struct story *s, chapter c)
{
    const struct child *of = child_of(s, c);

    printf("part %" PRIu64, c - 1);
    if (of != NULL)
        printf(", made of part %" PRIu64 "%s%s", of->parent - 1,
               of->queue[0] != '\0' ? ", in the queue " : "", of->queue);
    else if (c == 1)
        fputs(", as it was accepted", stdout);
    putchar('\n');
    put_chapter(s, c);
}

/* Those made of it, and of them. */
static void put_children(struct story *s, chapter parent)
{
    for (struct child *k = s->child; k != NULL; k = k->next)
        if (k->parent == parent && !k->told) {
            k->told = true;
            put_part(s, k->chapter);
            put_children(s, k->chapter);
        }
}

static void print(struct story *s)
{
    printf("message %s\n", s->id);
    if (has_lines(s, RECEIVED)) {
        puts("received");
        put_chapter(s, RECEIVED);
    }
    for (chapter c = 1; c <= s->last; c++)
        if (child_of(s, c) == NULL && has_lines(s, c)) {
            put_part(s, c);
            put_children(s, c);
        }
}

static int give_lines(const struct story *s, const struct log_show *to,
                      struct err *e)
{
    for (const struct line *k = s->first; k != NULL; k = k->next)
        if (to->line(to->ctx, (struct span){ k->text, k->n }, e) != 0)
            return -1;
    return 0;
}

/* --- all of it ------------------------------------------------------------ */

static void free_story(struct story *s)
{
    for (size_t i = 0; s->sessions.bucket != NULL && i <= s->sessions.mask; i++)
        for (struct map_link *m = s->sessions.bucket[i], *next; m != NULL;
             m = next) {
            next = m->next;
            free(MAP_ENTRY(m, struct session, link));
        }
    map_done(&s->sessions);
    for (struct line *k = s->first, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    for (struct child *k = s->child, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
}

int log_story(const struct log_show *what, struct err *e)
{
    struct story s = { .id = what->filter.id };
    struct log_show pass = *what;
    int rc = -1;

    s.end = &s.first;
    s.child_end = &s.child;
    if (map_init(&s.sessions, BUCKETS) != 0)
        return no_memory(e);
    pass.ctx = &s;
    pass.line = look;
    if (log_show(&pass, e) != 0)
        goto out;
    pass.line = keep;
    pass.left_out = NULL; /* said once */
    pass.filter = (struct log_filter){ .since = what->filter.since };
    if (s.found > 0 && log_show(&pass, e) != 0)
        goto out;
    if (s.found > 0 && what->line == NULL)
        print(&s);
    if (s.found > 0 && what->line != NULL && give_lines(&s, what, e) != 0)
        goto out;
    rc = s.found > 0;
out:
    free_story(&s);
    return rc;
}
