#include "recipient/alias.h"

#include "base/handdown.h"
#include "base/pool.h"
#include "recipient/domain.h"

#include <stdlib.h>
#include <string.h>

struct alias_file {
    char *text; /* names point into it; unquoting makes them shorter */
    struct map by_name;
    struct pool *aliases, *targets;
    struct alias *first, *last; /* in their order */
};

/* The state of the parser. */
struct alias_reader {
    struct alias_file *f;
    const char *path;
    unsigned line;
    struct alias *current; /* continued by a line that begins with a blank */
    char *p, *end;         /* the rest of the line; *end can be written */
};

/* --- names -------------------------------------------------------------- */

static int bad(const struct alias_reader *at, struct err *e, const char *what)
{
    return err_set(e, ERR_USAGE, 0, "%s:%u: %s", at->path, at->line, what);
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

/* --- lines -------------------------------------------------------------- */

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
    struct alias *a = pool_get(at->f->aliases);
    if (a == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", at->path);
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

/* Refuse kinds of targets that other mail systems have. */
static const char *why_refused(const char *name)
{
    if (name[0] == '|')
        return "delivery to a command is not supported";
    if (name[0] == '/')
        return "delivery to a file is not supported";
    if (name[0] == ':')
        return ":include: and the like are not supported";
    return NULL;
}

static int add_target(struct alias_reader *at, struct err *e)
{
    char *name, stopped;
    bool final = at->p < at->end && *at->p == '\\';

    at->p += final;
    /* Before the syntax check, whose error for a command with blanks is
     * misleading. */
    const char *why = why_refused(at->p + (*at->p == '"'));
    if (why != NULL)
        return bad(at, e, why);
    if (take_name(at, ',', &name, &stopped, e) != 0)
        return -1;
    if (name[0] == '@' || name[strlen(name) - 1] == '@')
        return bad(at, e, "half an address");
    struct alias_target *t = pool_get(at->f->targets);
    if (t == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", at->path);
    *t = (struct alias_target){ NULL, name, final };
    if (at->current->last != NULL)
        at->current->last->next = t;
    else
        at->current->first = t;
    at->current->last = t;
    return 0;
}

static int has_target(const struct alias_reader *at, struct err *e)
{
    if (at->current == NULL || at->current->first != NULL)
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

int alias_load(struct alias_file **fp, const char *path, struct err *e)
{
    struct alias_file *f = calloc(1, sizeof *f);
    struct alias_reader at = { .f = f, .path = path };
    size_t n;

    if (f == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", path);
    if (handdown_read(&f->text, &n, path, e) != 0)
        goto failed;
    f->aliases = pool_new(sizeof(struct alias), n + 1);
    f->targets = pool_new(sizeof(struct alias_target), n + 1);
    if (f->aliases == NULL || f->targets == NULL ||
        map_init(&f->by_name, n / 32 + 16) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory for %s", path);
        goto failed;
    }
    if (take_text(&at, n, e) != 0)
        goto failed;
    *fp = f;
    return 0;
failed:
    alias_free(&f);
    return -1;
}

void alias_free(struct alias_file **fp)
{
    struct alias_file *f = *fp;

    if (f == NULL)
        return;
    map_done(&f->by_name);
    pool_free(&f->aliases);
    pool_free(&f->targets);
    free(f->text);
    free(f);
    *fp = NULL;
}

const struct alias *alias_find(const struct alias_file *f, struct span local,
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

const struct alias *alias_first(const struct alias_file *f)
{
    return f == NULL ? NULL : f->first;
}
