#include "recipient/alias.h"

#include "base/handdown.h"
#include "base/pool.h"
#include "recipient/domain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_MAX = 8 }; /* calls of alias_set() */

struct kept { /* text that is pointed into */
    struct kept *next;
    char text[];
};

struct included {
    struct included *next;
    char path[];
};

struct alias_file {
    char *text; /* names point into it; unquoting makes them shorter */
    struct kept *kept;
    struct included *included;
    size_t octets; /* of all files */
    bool lenient;
    bool only_names; /* of included files, which are not read */
    struct map by_name;
    struct pool *aliases, *targets;
    struct alias *first, *last; /* in their order */
    unsigned visit;
};

/* The state of the parser. */
struct alias_reader {
    struct alias_file *f;
    const char *path;
    unsigned line;
    bool included;         /* it is an included file */
    struct alias *current; /* continued by a line that begins with a blank */
    char *p, *end;         /* the rest of the line; *end can be written */
};

/* --- names -------------------------------------------------------------- */

static int bad(const struct alias_reader *at, struct err *e, const char *what)
{
    return err_set(e, ERR_USAGE, 0, "%s:%u: %s", at->path, at->line, what);
}

static int no_memory(const struct alias_reader *at, struct err *e)
{
    return err_set(e, ERR_TEMP, ENOMEM, "memory for %s", at->path);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct alias_reader *at)
{
    while (at->p < at->end && is_blank(*at->p))
        at->p++;
}

/* Copy the quoted part that begins at p, without its quotes, to *to. */
static int take_quoted(struct alias_reader *at, char **to, struct err *e)
{
    for (at->p++; at->p < at->end && *at->p != '"'; at->p++) {
        if (*at->p == '\\' && at->p + 1 < at->end)
            at->p++;
        *(*to)++ = *at->p;
    }
    if (at->p == at->end)
        return bad(at, e, "a quote is not closed");
    at->p++;
    return 0;
}

/* Parse a name up to `stop`, a blank or the end of the line; unquoted in place.
 * *stopped is the delimiter: stop, or 0 for the end of the line. */
static int take_name(struct alias_reader *at, char stop, char **name,
                     char *stopped, struct err *e)
{
    char *to = at->p;

    *name = to;
    while (at->p < at->end && *at->p != stop && !is_blank(*at->p)) {
        if (*at->p == '"') {
            if (take_quoted(at, &to, e) != 0)
                return -1;
            continue;
        }
        if (*at->p == '\0' || strchr("<>(),;", *at->p) != NULL)
            return bad(at, e, "only plain addresses can stand here");
        *to++ = *at->p++;
    }
    skip_blanks(at);
    *stopped = at->p < at->end ? *at->p : '\0';
    if (at->p < at->end)
        at->p++;
    *to = '\0';
    if (*stopped != '\0' && *stopped != stop)
        return bad(at, e,
                   stop == ':' ? "':' expected after the name"
                               : "',' expected between targets");
    if (strlen(*name) != (size_t)(to - *name) || **name == '\0' ||
        to - *name >= ALIAS_NAME_MAX)
        return bad(at, e, "a name is empty or too long");
    return 0;
}

/* --- aliases ------------------------------------------------------------ */

static struct alias *find(const struct alias_file *f, struct span name)
{
    char ours[DOMAIN_ADDRESS_MAX], other[DOMAIN_ADDRESS_MAX];

    name = domain_ascii_address(ours, name);
    struct map_link *l =
        map_first(&f->by_name, map_hash_nocase(name.p, name.n));
    for (; l != NULL; l = map_next(l)) {
        struct alias *a = MAP_ENTRY(l, struct alias, link);
        if (span_eq_nocase(domain_ascii_address(other, span_of(a->name)), name))
            return a;
    }
    return NULL;
}

static void put(struct alias_file *f, struct alias *a)
{
    char ascii[DOMAIN_ADDRESS_MAX];
    struct span name = domain_ascii_address(ascii, span_of(a->name));

    map_add(&f->by_name, &a->link, map_hash_nocase(name.p, name.n));
}

/* name: lives as long as the file. */
static int add_named(struct alias_reader *at, const char *name, struct err *e)
{
    struct alias *a = pool_get(at->f->aliases);

    if (a == NULL)
        return no_memory(at, e);
    *a = (struct alias){ .name = name, .line = at->line };
    put(at->f, a);
    if (at->f->last != NULL)
        at->f->last->next = a;
    else
        at->f->first = a;
    at->f->last = a;
    at->current = a;
    return 0;
}

static int add_alias(struct alias_reader *at, struct err *e)
{
    char *name, stopped;

    if (take_name(at, ':', &name, &stopped, e) != 0)
        return -1;
    if (stopped != ':')
        return bad(at, e, "':' expected after the name");
    const struct alias *other = find(at->f, span_of(name));
    if (other != NULL)
        return err_set(e, ERR_USAGE, 0, "%s:%u: %s stands on line %u already",
                       at->path, at->line, name, other->line);
    return add_named(at, name, e);
}

/* --- targets ------------------------------------------------------------ */

static int put_target(struct alias_reader *at, enum alias_kind kind,
                      const char *name, const char *why, struct err *e)
{
    struct alias_target *t = pool_get(at->f->targets);
    struct alias *a = at->current;

    if (t == NULL)
        return no_memory(at, e);
    *t = (struct alias_target){ NULL, name, why, at->path, at->line, kind };
    if (a->last != NULL)
        a->last->next = t;
    else
        a->first = t;
    a->last = t;
    return 0;
}

/* A copy that lives as long as the file. */
static const char *keep(struct alias_file *f, const char *text)
{
    size_t n = strlen(text) + 1;
    struct kept *k = malloc(sizeof *k + n);

    if (k == NULL)
        return NULL;
    memcpy(k->text, text, n);
    k->next = f->kept;
    f->kept = k;
    return k->text;
}

/* Kinds of targets that other mail systems have: refused in a file that the
 * operator named, kept as such in one that a package may have written. */
static int put_unsupported(struct alias_reader *at, const char *name,
                           const char *why, struct err *e)
{
    if (!at->f->lenient)
        return bad(at, e, why);
    why = keep(at->f, why);
    return why != NULL ? put_target(at, ALIAS_UNSUPPORTED, name, why, e)
                       : no_memory(at, e);
}

/* Parse a command or the like up to the comma, which quotes may hide.  One that
 * is too long is cut: it is only for people to read. */
static int take_unsupported(struct alias_reader *at, char **name, struct err *e)
{
    char *to = at->p;

    *name = to;
    while (at->p < at->end && *at->p != ',') {
        if (*at->p == '"' && take_quoted(at, &to, e) != 0)
            return -1;
        if (at->p < at->end && *at->p != ',' && *at->p != '"')
            *to++ = *at->p++;
    }
    if (at->p < at->end)
        at->p++;
    while (to > *name && is_blank(to[-1]))
        to--;
    if (to - *name >= ALIAS_NAME_MAX)
        to = *name + ALIAS_NAME_MAX - 1;
    *to = '\0';
    return 0;
}

static const char *why_unsupported(const char *name)
{
    return name[0] == '|'   ? "delivery to a command is not supported"
           : name[0] == '/' ? "delivery to a file is not supported"
           : name[0] == ':' ? "of this kind only :include:/path is supported"
                            : NULL;
}

static int add_include(struct alias_reader *at, const char *name,
                       const char *path, struct err *e);

static int add_special(struct alias_reader *at, struct err *e)
{
    static const char include[] = ":include:";
    const size_t n = sizeof include - 1;
    char *name;

    if (take_unsupported(at, &name, e) != 0)
        return -1;
    if (strcmp(name, "/dev/null") == 0)
        return put_target(at, ALIAS_DISCARD, name, NULL, e);
    if (!span_starts_nocase(span_of(name), include))
        return put_unsupported(at, name, why_unsupported(name), e);
    const char *path = name + n + strspn(name + n, " \t");
    return path[0] == '/' ? add_include(at, name, path, e)
                          : put_unsupported(at, name,
                                            "the path of :include: begins"
                                            " with /",
                                            e);
}

static int add_target(struct alias_reader *at, struct err *e)
{
    char *name, stopped;
    bool final = at->p < at->end && *at->p == '\\';

    at->p += final;
    if (why_unsupported(at->p + (*at->p == '"')) != NULL)
        return add_special(at, e);
    if (take_name(at, ',', &name, &stopped, e) != 0)
        return -1;
    if (name[0] == '@' || name[strlen(name) - 1] == '@')
        return bad(at, e, "half an address");
    return put_target(at, final ? ALIAS_FINAL : ALIAS_NAME, name, NULL, e);
}

/* --- included files ----------------------------------------------------- */

/* Lines of targets; one that begins with # is a comment. */
static int take_included(struct alias_reader *at, char *text, size_t n,
                         struct err *e)
{
    char *stop = text + n;
    char *p = stop - span_after_bom((struct span){ text, n }).n;

    for (at->line = 1; p < stop; at->line++) {
        at->p = p;
        at->end = memchr(p, '\n', (size_t)(stop - p));
        if (at->end == NULL)
            at->end = stop;
        p = at->end + 1;
        skip_blanks(at);
        if (at->p < at->end && *at->p == '#')
            continue;
        for (; at->p < at->end; skip_blanks(at))
            if (add_target(at, e) != 0)
                return -1;
    }
    return 0;
}

/* Count the files, each once, because the supervisor holds a copy of each. */
static const struct included *include_once(struct alias_reader *at,
                                           const char *path, struct err *e)
{
    struct alias_file *f = at->f;
    size_t n = strlen(path) + 1;
    unsigned others = 0;

    for (const struct included *i = f->included; i != NULL; i = i->next) {
        if (strcmp(i->path, path) == 0)
            return i;
        others++;
    }
    if (others == ALIAS_INCLUDES_MAX) {
        bad(at, e, "too many included files");
        return NULL;
    }
    struct included *i = malloc(sizeof *i + n);
    if (i == NULL) {
        no_memory(at, e);
        return NULL;
    }
    memcpy(i->path, path, n);
    i->next = f->included;
    f->included = i;
    return i;
}

static int read_included(struct alias_reader *at, const char *path,
                         struct err *e)
{
    struct alias_reader in = { .f = at->f, .path = path, .included = true };
    struct kept *k;
    char *text;
    size_t n;

    in.current = at->current;
    if (handdown_read_guarded(&text, &n, path, e) != 0) {
        if (e->sys == EPERM)
            err_set(e, ERR_USAGE, 0, "%s is a link or others may write to it",
                    path);
        return -1;
    }
    k = at->f->octets + n <= HANDDOWN_BYTES_MAX ? malloc(sizeof *k + n + 1)
                                                : NULL;
    if (k != NULL) {
        memcpy(k->text, text, n + 1);
        k->next = at->f->kept;
        at->f->kept = k;
        at->f->octets += n;
    }
    free(text);
    return k != NULL ? take_included(&in, k->text, n, e) : no_memory(at, e);
}

/* In place of the target stand those of the file.  All of them, or the alias is
 * refused, or in a lenient file it waits. */
static int add_include(struct alias_reader *at, const char *name,
                       const char *path, struct err *e)
{
    struct alias *a = at->current;
    struct alias_target *last = a->last;
    struct err why;

    a->has_include = true; /* of a file that may be empty */
    if (at->included)
        return put_unsupported(at, name, ":include: in an included file", e);
    const struct included *i = include_once(at, path, e);
    if (i == NULL)
        return -1;
    if (at->f->only_names || read_included(at, i->path, &why) == 0)
        return 0;
    a->last = last;
    if (last != NULL)
        last->next = NULL;
    else
        a->first = NULL;
    if (why.kind == ERR_USAGE)
        return put_unsupported(at, name, why.text, e);
    *e = why;
    return -1;
}

/* --- lines -------------------------------------------------------------- */

static int has_target(const struct alias_reader *at, struct err *e)
{
    if (at->current == NULL || at->current->first != NULL ||
        at->current->has_include)
        return 0;
    return err_set(e, ERR_USAGE, 0, "%s:%u: %s has no target", at->path,
                   at->current->line, at->current->name);
}

static int take_line(struct alias_reader *at, struct err *e)
{
    bool goes_on = at->p < at->end && is_blank(*at->p);

    skip_blanks(at);
    if (at->p == at->end || *at->p == '#')
        return 0;
    if (goes_on && at->current == NULL)
        return bad(at, e, "a line begins with a blank but continues nothing");
    if (!goes_on && (has_target(at, e) != 0 || add_alias(at, e) != 0))
        return -1;
    for (skip_blanks(at); at->p < at->end; skip_blanks(at))
        if (add_target(at, e) != 0)
            return -1;
    return 0;
}

static int take_text(struct alias_reader *at, size_t n, struct err *e)
{
    char *stop = at->f->text + n;
    char *p = stop - span_after_bom((struct span){ at->f->text, n }).n;

    for (at->line = 1; p < stop; at->line++) {
        char *end = memchr(p, '\n', (size_t)(stop - p));
        at->p = p;
        at->end = end == NULL ? stop : end;
        p = at->end + 1;
        if (take_line(at, e) != 0)
            return -1;
    }
    return has_target(at, e);
}

/* Room for the aliases of a text of n octets, and for those of settings. */
static int make_room(const struct alias_reader *at, size_t n, struct err *e)
{
    struct alias_file *f = at->f;

    f->aliases = pool_new(sizeof(struct alias), n + 1 + SETTINGS_MAX);
    f->targets = pool_new(sizeof(struct alias_target), HANDDOWN_BYTES_MAX);
    return f->aliases != NULL && f->targets != NULL &&
                   map_init(&f->by_name, n / 32 + 16) == 0
               ? 0
               : no_memory(at, e);
}

static int load(struct alias_file *f, const char *path, struct err *e)
{
    struct alias_reader at = { .f = f, .path = path };
    size_t n;

    if (handdown_read(&f->text, &n, path, e) != 0)
        return -1;
    f->octets = n;
    return make_room(&at, n, e) == 0 ? take_text(&at, n, e) : -1;
}

int alias_set(struct alias_file **fp, const char *setting, const char *name,
              const char *target, struct err *e)
{
    struct alias_reader at = { .f = *fp, .path = setting };

    if (*fp == NULL) {
        at.f = *fp = calloc(1, sizeof **fp);
        if (*fp == NULL || make_room(&at, 0, e) != 0)
            return no_memory(&at, e);
    }
    const char *kept = keep(at.f, target);
    if (kept == NULL)
        return no_memory(&at, e);
    at.current = find(at.f, span_of(name));
    if (at.current == NULL && add_named(&at, name, e) != 0)
        return -1;
    at.current->first = at.current->last = NULL;
    at.current->line = 0;
    return put_target(&at, ALIAS_NAME, kept, NULL, e);
}

int alias_load(struct alias_file **fp, const char *path, bool lenient,
               struct err *e)
{
    struct alias_file *f = calloc(1, sizeof *f);

    if (f == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for %s", path);
    f->lenient = lenient;
    if (load(f, path, e) != 0) {
        alias_free(&f);
        return -1;
    }
    *fp = f;
    return 0;
}

int alias_each_include(const char *path, alias_include_fn *fn, void *ctx,
                       struct err *e)
{
    struct alias_file *f = calloc(1, sizeof *f);
    int rc = 0;

    if (f == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for %s", path);
    f->lenient = f->only_names = true;
    (void)load(f, path, e); /* a fault is reported by alias_load() */
    for (const struct included *i = f->included; i != NULL && rc == 0;
         i = i->next)
        rc = fn(ctx, i->path, e);
    alias_free(&f);
    return rc;
}

void alias_free(struct alias_file **fp)
{
    struct alias_file *f = *fp;

    if (f == NULL)
        return;
    for (struct kept *k = f->kept, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    for (struct included *i = f->included, *next; i != NULL; i = next) {
        next = i->next;
        free(i);
    }
    map_done(&f->by_name);
    pool_free(&f->aliases);
    pool_free(&f->targets);
    free(f->text);
    free(f);
    *fp = NULL;
}

struct alias *alias_find(const struct alias_file *f, struct span local,
                         struct span domain)
{
    char name[ALIAS_NAME_MAX];

    if (f == NULL || local.n + 1 + domain.n >= sizeof name)
        return NULL;
    memcpy(name, local.p, local.n);
    if (domain.n == 0)
        return find(f, (struct span){ name, local.n });
    name[local.n] = '@';
    memcpy(name + local.n + 1, domain.p, domain.n);
    return find(f, (struct span){ name, local.n + 1 + domain.n });
}

struct alias *alias_first(const struct alias_file *f)
{
    return f == NULL ? NULL : f->first;
}

unsigned alias_next_visit(struct alias_file *f)
{
    return ++f->visit;
}
