#include "recipient/resolve.h"

#include "base/buf.h"
#include "base/host_port.h"
#include "base/map.h"
#include "config/conf.h"
#include "mailbox/batch.h"
#include "recipient/alias.h"
#include "recipient/domain.h"
#include "recipient/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 50, DELIMITERS_MAX = 8, NAME_MAX_LOCAL = 64 };

struct domain {
    struct map_link link;
    char *name;
};

struct local {
    struct users *users;
    struct alias_file *aliases; /* NULL: none */
    char alias_path[CONF_PATH_MAX];
    char delimiter[DELIMITERS_MAX];
    struct map by_domain;
    struct domain *domain;
    size_t ndomains;
};

/* --- open and close ----------------------------------------------------- */

static int take_domains(struct local *l, const struct conf_local *c)
{
    char ascii[DOMAIN_MAX];

    if (map_init(&l->by_domain, c->domains.n + 1) != 0)
        return -1;
    l->domain = calloc(c->domains.n + 1, sizeof *l->domain);
    if (l->domain == NULL)
        return -1;
    for (; l->ndomains < c->domains.n; l->ndomains++) {
        struct domain *d = &l->domain[l->ndomains];
        struct span name =
            domain_ascii(ascii, span_of(c->domains.item[l->ndomains].name));
        d->name = malloc(name.n + 1);
        if (d->name == NULL)
            return -1;
        span_copy(d->name, name.n + 1, name);
        map_add(&l->by_domain, &d->link,
                map_hash_nocase(d->name, strlen(d->name)));
    }
    return 0;
}

int local_open(struct local **lp, const struct conf_local *c, struct err *e)
{
    struct local *l = calloc(1, sizeof *l);

    if (l == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for local domains");
    snprintf(l->alias_path, sizeof l->alias_path, "%s", c->aliases);
    snprintf(l->delimiter, sizeof l->delimiter, "%s", c->recipient_delimiter);
    if (take_domains(l, c) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory for local domains");
        goto failed;
    }
    if (users_open(&l->users, &c->users, e) != 0)
        goto failed;
    if (c->aliases[0] != '\0' && alias_load(&l->aliases, c->aliases, e) != 0)
        goto failed;
    *lp = l;
    return 0;
failed:
    local_close(&l);
    return -1;
}

void local_close(struct local **lp)
{
    struct local *l = *lp;

    if (l == NULL)
        return;
    for (size_t i = 0; i < l->ndomains; i++)
        free(l->domain[i].name);
    free(l->domain);
    map_done(&l->by_domain);
    users_close(&l->users);
    alias_free(&l->aliases);
    free(l);
    *lp = NULL;
}

/* --- simple questions --------------------------------------------------- */

static bool is_loopback_literal(struct span d)
{
    struct host_port h;

    return d.p[0] == '[' && host_port_parse(&h, d, NULL) == 0 && h.numeric &&
           h.port == 0 && addr_is_loopback(&h.addr);
}

bool local_has_domain(const struct local *l, struct span domain)
{
    char ascii[DOMAIN_MAX];

    if (domain.n == 0 || is_loopback_literal(domain))
        return true;
    if (domain.n > 255)
        return false;
    domain = domain_ascii(ascii, domain);
    struct map_link *k =
        map_first(&l->by_domain, map_hash_nocase(domain.p, domain.n));
    for (; k != NULL; k = map_next(k))
        if (span_eq_nocase(domain,
                           span_of(MAP_ENTRY(k, struct domain, link)->name)))
            return true;
    return false;
}

/* The offset of the tag: the first delimiter, but not at the start. */
static size_t tag_at(const struct local *l, struct span name)
{
    for (size_t i = 1; i < name.n; i++)
        if (name.p[i] != '\0' && strchr(l->delimiter, name.p[i]) != NULL)
            return i;
    return name.n;
}

/* Copy the name in lower case if it is valid for a mailbox. */
static bool box_name(char out[NAME_MAX_LOCAL + 1], struct span name)
{
    if (!mailbox_name_valid(name) || !span_copy(out, NAME_MAX_LOCAL + 1, name))
        return false;
    ascii_lower_str(out);
    return true;
}

static enum user_found find_user(const struct local *l, struct span name,
                                 struct span domain)
{
    char box[NAME_MAX_LOCAL + 1];

    if (!box_name(box, name))
        return USER_NO;
    /* With users = any, a name with a tag is no user, or the tag would never be
     * cut off. */
    if (users_is_any(l->users) && tag_at(l, name) < name.n)
        return USER_NO;
    return users_find(l->users, box, domain);
}

/* --- the expansion ------------------------------------------------------ */

struct found {
    struct found *next;
    uint64_t hash;
    enum local_kind kind;
    char name[];
};

/* Collect all targets before the first callback, because part of an expansion
 * must not be delivered. */
struct walk {
    const struct local *l;
    struct found *first, **end;
    unsigned n;
    const struct alias *stack[DEPTH_MAX];
    unsigned depth;
    const struct alias *visited[ALIAS_TARGETS_MAX];
    unsigned nvisited;
    struct found *looped; /* users whose aliases lead back to themselves */
    bool circle, temp, full;
};

static struct found *new_found(struct walk *w, enum local_kind kind,
                               const char *name)
{
    size_t n = strlen(name);
    struct found *f = malloc(sizeof *f + n + 1);

    if (f == NULL) {
        w->temp = true;
        return NULL;
    }
    *f = (struct found){ NULL, map_hash_nocase(name, n), kind };
    memcpy(f->name, name, n + 1);
    return f;
}

static void add(struct walk *w, enum local_kind kind, const char *name)
{
    uint64_t hash = map_hash_nocase(name, strlen(name));

    for (struct found *f = w->first; f != NULL; f = f->next)
        if (f->hash == hash && f->kind == kind &&
            span_eq_nocase(span_of(f->name), span_of(name)))
            return;
    if (w->n == ALIAS_TARGETS_MAX) {
        w->full = true;
        return;
    }
    struct found *f = new_found(w, kind, name);
    if (f == NULL)
        return;
    *w->end = f;
    w->end = &f->next;
    w->n++;
}

static void add_mailbox(struct walk *w, struct span name)
{
    char box[NAME_MAX_LOCAL + 1];

    if (box_name(box, name))
        add(w, LOCAL_MAILBOX, box);
}

static bool needs_quotes(struct span local)
{
    bool dot = true; /* none at the start, at the end, or twice */

    for (size_t i = 0; i < local.n; i++) {
        char c = local.p[i];
        bool plain = ascii_is_alnum(c) || ((unsigned char)c & 0x80) != 0 ||
                     (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
        if (!plain && (c != '.' || dot))
            return true;
        dot = c == '.';
    }
    return dot;
}

/* Quote the local part again for the envelope; the alias parser has removed its
 * quotes. */
static void add_remote(struct walk *w, struct span local, struct span domain)
{
    char address[2 * ALIAS_NAME_MAX + 4];
    struct buf b = BUF_ON(address);
    bool quotes = needs_quotes(local);

    if (quotes)
        buf_addc(&b, '"');
    for (size_t i = 0; i < local.n; i++) {
        if (quotes && (local.p[i] == '"' || local.p[i] == '\\'))
            buf_addc(&b, '\\');
        buf_addc(&b, local.p[i]);
    }
    buf_adds(&b, quotes ? "\"@" : "@");
    buf_add_span(&b, domain);
    add(w, LOCAL_REMOTE, address);
}

static bool on_stack(const struct walk *w, const struct alias *a)
{
    for (unsigned i = 0; i < w->depth; i++)
        if (w->stack[i] == a)
            return true;
    return false;
}

static bool was_visited(const struct walk *w, const struct alias *a)
{
    for (unsigned i = 0; i < w->nvisited; i++)
        if (w->visited[i] == a)
            return true;
    return false;
}

/* An alias loop ends here.  If its name is also a user, and the aliases have
 * other targets, keep the user's copy. */
static void note_circle(struct walk *w, struct span name, struct span domain)
{
    char box[NAME_MAX_LOCAL + 1];
    struct found *f;

    w->circle = true;
    if (find_user(w->l, name, domain) != USER_YES || !box_name(box, name))
        return;
    f = new_found(w, LOCAL_MAILBOX, box);
    if (f != NULL) {
        f->next = w->looped;
        w->looped = f;
    }
}

static void look_up(struct walk *w, struct span local, struct span domain,
                    bool with_aliases);

static void split(struct span address, struct span *local, struct span *domain)
{
    size_t at = address.n;

    while (at > 0 && address.p[at - 1] != '@')
        at--;
    *local = (struct span){ address.p, at == 0 ? address.n : at - 1 };
    *domain = (struct span){ address.p + at, at == 0 ? 0 : address.n - at };
}

static void expand(struct walk *w, const struct alias *a)
{
    struct span local, domain;

    if (was_visited(w, a))
        return;
    if (w->depth == DEPTH_MAX || w->nvisited == ALIAS_TARGETS_MAX) {
        w->full = true;
        return;
    }
    w->visited[w->nvisited++] = a;
    w->stack[w->depth++] = a;
    for (const struct alias_target *t = a->first; t != NULL; t = t->next) {
        split(span_of(t->name), &local, &domain);
        if (local_has_domain(w->l, domain))
            look_up(w, local, domain, !t->final);
        else
            add_remote(w, local, domain);
    }
    w->depth--;
}

/* True: the name has a result, perhaps an empty one. */
static bool try_name(struct walk *w, struct span name, struct span domain,
                     bool with_aliases)
{
    const struct alias *a = NULL;

    if (with_aliases) {
        a = domain.n > 0 ? alias_find(w->l->aliases, name, domain) : NULL;
        if (a == NULL)
            a = alias_find(w->l->aliases, name, (struct span){ "", 0 });
    }
    /* "joe: joe, archive": there joe means the mailbox. */
    bool self = a != NULL && w->depth > 0 && w->stack[w->depth - 1] == a;
    if (a != NULL && !self) {
        if (on_stack(w, a))
            note_circle(w, name, domain);
        else
            expand(w, a);
        return true;
    }
    switch (find_user(w->l, name, domain)) {
    case USER_NO: break;
    case USER_YES: add_mailbox(w, name); return true;
    case USER_WAIT:
    case USER_TEMP: w->temp = true; return true;
    }
    return false;
}

static const char postmaster[] = "postmaster";

static bool is_special(struct span name)
{
    return span_is_nocase(name, postmaster) ||
           span_is_nocase(name, "mailer-daemon");
}

/* RFC 5321 4.5.1: postmaster always exists. */
static void try_special(struct walk *w, struct span name, struct span domain,
                        bool with_aliases)
{
    if (span_is_nocase(name, "mailer-daemon"))
        look_up(w, span_of(postmaster), domain, with_aliases);
    else if (span_is_nocase(name, postmaster))
        add(w, LOCAL_MAILBOX, postmaster);
}

static void look_up(struct walk *w, struct span local, struct span domain,
                    bool with_aliases)
{
    struct span base = { local.p, tag_at(w->l, local) };

    if (try_name(w, local, domain, with_aliases))
        return;
    if (base.n < local.n && try_name(w, base, domain, with_aliases))
        return;
    try_special(w, base, domain, with_aliases);
}

/* --- the answer --------------------------------------------------------- */

static void free_found(struct found *f)
{
    for (struct found *next; f != NULL; f = next) {
        next = f->next;
        free(f);
    }
}

static enum local_verdict tell(struct walk *w, local_fn *fn, void *ctx)
{
    if (w->temp)
        return LOCAL_TEMP;
    if (w->full)
        return LOCAL_STOPPED;
    if (w->n == 0)
        return w->circle ? LOCAL_LOOP : LOCAL_UNKNOWN;
    for (struct found *f = w->looped; f != NULL; f = f->next)
        add(w, f->kind, f->name);
    for (const struct found *f = w->first; f != NULL; f = f->next) {
        struct local_target t = { f->kind, f->name };
        if (fn(ctx, &t) != 0)
            return LOCAL_STOPPED;
    }
    return LOCAL_OK;
}

enum local_verdict local_resolve(const struct local *l, struct span local_part,
                                 struct span domain, local_fn *fn, void *ctx,
                                 struct local_path *path)
{
    struct walk w;

    if (path != NULL)
        path->alias[0] = path->owner[0] = '\0';
    w = (struct walk){ .l = l };
    w.end = &w.first;
    if (local_part.n == 0 || local_part.n >= ALIAS_NAME_MAX)
        return LOCAL_UNKNOWN;
    look_up(&w, local_part, domain, true);
    /* Even when its alias leads nowhere. */
    if (w.n == 0 &&
        is_special((struct span){ local_part.p, tag_at(l, local_part) }))
        add(&w, LOCAL_MAILBOX, postmaster);
    enum local_verdict v = tell(&w, fn, ctx);
    free_found(w.first);
    free_found(w.looped);
    return v;
}

/* --- without an expansion ----------------------------------------------- */

static bool has_alias(const struct local *l, struct span name,
                      struct span domain)
{
    return (domain.n > 0 && alias_find(l->aliases, name, domain) != NULL) ||
           alias_find(l->aliases, name, (struct span){ "", 0 }) != NULL;
}

enum local_verdict local_check(const struct local *l, struct span local_part,
                               struct span domain, char key[LOCAL_KEY_MAX])
{
    struct span base = { local_part.p, tag_at(l, local_part) };
    struct span name = local_part;

    key[0] = '\0';
    if (name.n == 0 || name.n >= ALIAS_NAME_MAX)
        return LOCAL_UNKNOWN;
    for (int i = 0; i < 2; i++, name = base) {
        if (has_alias(l, name, domain))
            return LOCAL_OK;
        enum user_found u = find_user(l, name, domain);
        if (u == USER_YES)
            return box_name(key, name) ? LOCAL_OK : LOCAL_UNKNOWN;
        if (u != USER_NO)
            return u == USER_WAIT ? LOCAL_WAIT : LOCAL_TEMP;
    }
    if (!is_special(base))
        return LOCAL_UNKNOWN;
    snprintf(key, LOCAL_KEY_MAX, "%s", postmaster);
    return LOCAL_OK;
}

enum local_verdict local_check_key(const struct local *l, const char *key)
{
    if (strcmp(key, postmaster) == 0)
        return LOCAL_OK;
    switch (find_user(l, span_of(key), (struct span){ "", 0 })) {
    case USER_YES: return LOCAL_OK;
    case USER_NO: return LOCAL_UNKNOWN;
    case USER_WAIT: return LOCAL_WAIT;
    case USER_TEMP: break;
    }
    return LOCAL_TEMP;
}

/* --- members that lead nowhere ----------------------------------------- */

static int ignore(void *ctx, const struct local_target *t)
{
    (void)ctx;
    (void)t;
    return 0;
}

static bool leads_nowhere(const struct local *l, const struct alias_target *t)
{
    struct span local, domain;

    split(span_of(t->name), &local, &domain);
    if (!local_has_domain(l, domain))
        return false;
    if (t->final)
        return find_user(l, local, domain) == USER_NO;
    return local_resolve(l, local, domain, ignore, NULL, NULL) == LOCAL_UNKNOWN;
}

void local_check_members(const struct local *l, local_fault_fn *fn, void *ctx)
{
    struct local_fault f = { .file = l->alias_path };

    for (const struct alias *a = alias_first(l->aliases); a != NULL;
         a = a->next)
        for (const struct alias_target *t = a->first; t != NULL; t = t->next)
            if (leads_nowhere(l, t)) {
                f.line = a->line;
                f.alias = a->name;
                f.member = t->name;
                fn(ctx, &f);
            }
}
