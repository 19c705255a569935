/* expand.c - what an address stands for, in full. */
#include "recipient/local_private.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 50, BUCKETS = 1024, FEW = 16 };

struct found {
    struct map_link link;
    struct found *next;
    enum local_kind kind;
    char name[];
};

/* Collect all targets before the first callback, because part of an expansion
 * must not be delivered. */
struct walk {
    const struct local *l;
    struct span domain; /* for members without one that are no users */
    struct found *first, **end;
    unsigned n, nunknown, ncommands;
    struct map by_name; /* from FEW targets on */
    const struct alias *stack[DEPTH_MAX];
    unsigned depth, visit;
    struct found *looped; /* users whose aliases lead back to themselves */
    struct local_path *path;
    bool branched; /* an alias with several targets was met */
    unsigned nwait;
    bool circle, temp, full, discard;
};

/* --- targets ------------------------------------------------------------ */

static struct found *new_found(struct walk *w, enum local_kind kind,
                               const char *name)
{
    size_t n = strlen(name);
    struct found *f = malloc(sizeof *f + n + 1);

    if (f == NULL) {
        w->temp = true;
        return NULL;
    }
    f->next = NULL;
    f->link.hash = map_hash_nocase(name, n);
    f->kind = kind;
    memcpy(f->name, name, n + 1);
    return f;
}

static bool is_same(const struct found *a, const struct found *b)
{
    return a->kind == b->kind && a->link.hash == b->link.hash &&
           span_eq_nocase(span_of(a->name), span_of(b->name));
}

static bool is_known(struct walk *w, const struct found *f)
{
    if (w->n < FEW) {
        for (const struct found *k = w->first; k != NULL; k = k->next)
            if (is_same(k, f))
                return true;
        return false;
    }
    struct map_link *l = map_first(&w->by_name, f->link.hash);
    for (; l != NULL; l = map_next(l))
        if (is_same(MAP_ENTRY(l, struct found, link), f))
            return true;
    return false;
}

/* Take f over, unless its target is there already. */
static void add_found(struct walk *w, struct found *f)
{
    if (f == NULL || w->full || is_known(w, f)) {
        free(f);
        return;
    }
    if (w->n == w->l->max_targets) {
        w->full = true;
        free(f);
        return;
    }
    *w->end = f;
    w->end = &f->next;
    w->n++;
    w->nunknown += f->kind == LOCAL_NO_USER;
    w->ncommands += f->kind == LOCAL_COMMAND;
    if (w->n == FEW && map_init(&w->by_name, BUCKETS) != 0)
        w->temp = w->full = true; /* no memory */
    else if (w->n == FEW)
        for (struct found *k = w->first; k != NULL; k = k->next)
            map_add(&w->by_name, &k->link, k->link.hash);
    else if (w->n > FEW)
        map_add(&w->by_name, &f->link, f->link.hash);
}

static void add(struct walk *w, enum local_kind kind, const char *name)
{
    add_found(w, new_found(w, kind, name));
}

static void add_address(struct walk *w, enum local_kind kind, struct span local,
                        struct span domain)
{
    char address[LOCAL_ADDRESS_MAX];
    struct buf b = BUF_ON(address);

    local_put_address(&b, local, domain);
    if (!b.full)
        add(w, kind, address);
}

/* --- the way ------------------------------------------------------------ */

/* An address in the domain of the alias, else in that of the recipient. */
static void path_address(char out[LOCAL_ADDRESS_MAX], struct span local,
                         struct span domain)
{
    struct buf b;

    buf_init(&b, out, LOCAL_ADDRESS_MAX);
    local_put_address(&b, local, domain);
    if (b.full)
        out[0] = '\0';
}

/* The first alias, and the owner of the innermost that all targets are reached
 * through. */
static void note_path(struct walk *w, const struct alias *a)
{
    char name[sizeof "owner-" + ALIAS_NAME_MAX];
    struct buf b = BUF_ON(name);
    struct span local, domain;

    local_split(span_of(a->name), &local, &domain);
    if (domain.n == 0)
        domain = w->domain;
    if (w->path->alias[0] == '\0')
        path_address(w->path->alias, local, domain);
    buf_adds(&b, "owner-");
    buf_add_span(&b, local);
    if (local_find_alias(w->l, buf_span(&b), domain) != NULL)
        path_address(w->path->owner, buf_span(&b), domain);
}

/* --- the expansion ------------------------------------------------------ */

static bool on_stack(const struct walk *w, const struct alias *a)
{
    for (unsigned i = 0; i < w->depth; i++)
        if (w->stack[i] == a)
            return true;
    return false;
}

static enum user_found find_user(struct walk *w, struct span name,
                                 struct span domain, char key[LOCAL_KEY_MAX])
{
    enum user_found u = local_find_user(w->l, name, domain, key);

    w->temp |= u == USER_TEMP;
    w->nwait += u == USER_WAIT;
    return u;
}

/* An alias loop ends here.  If its name is also a user, and the aliases have
 * other targets, keep the user's copy. */
static void note_circle(struct walk *w, struct span name, struct span domain)
{
    char key[LOCAL_KEY_MAX];

    w->circle = true;
    if (find_user(w, name, domain, key) != USER_YES)
        return;
    struct found *f = new_found(w, LOCAL_MAILBOX, key);
    if (f != NULL) {
        f->next = w->looped;
        w->looped = f;
    }
}

static void look_up(struct walk *w, struct span local, struct span domain,
                    bool with_aliases);

static void trace_member(const struct walk *w, const struct alias_target *t)
{
    const struct local_step s = { .alias = w->stack[w->depth - 1]->name,
                                  .target = t->name,
                                  .file = t->file,
                                  .line = t->line,
                                  .depth = w->depth - 1 };

    w->l->trace(w->l->trace_ctx, &s);
}

static void add_member(struct walk *w, const struct alias_target *t)
{
    struct span local, domain;

    if (w->l->trace != NULL)
        trace_member(w, t);
    if (t->kind == ALIAS_DISCARD) {
        w->discard = true;
        return;
    }
    if (t->kind == ALIAS_UNSUPPORTED) {
        add(w, LOCAL_COMMAND, t->name);
        return;
    }
    local_split(span_of(t->name), &local, &domain);
    if (local_has_domain(w->l, domain))
        look_up(w, local, domain, t->kind != ALIAS_FINAL);
    else
        add_address(w, LOCAL_REMOTE, local, domain);
}

static void expand(struct walk *w, struct alias *a)
{
    if (a->visit == w->visit)
        return;
    if (w->depth == DEPTH_MAX || w->full) {
        w->full = true;
        return;
    }
    if (w->path != NULL && !w->branched)
        note_path(w, a);
    w->branched |= a->first != a->last;
    a->visit = w->visit;
    w->stack[w->depth++] = a;
    for (const struct alias_target *t = a->first; t != NULL && !w->full;
         t = t->next)
        add_member(w, t);
    w->depth--;
}

/* True: the name has a result, perhaps an empty one. */
static bool try_name(struct walk *w, struct span name, struct span domain,
                     bool with_aliases)
{
    struct alias *a =
        with_aliases ? local_find_alias(w->l, name, domain) : NULL;
    char key[LOCAL_KEY_MAX];

    /* "joe: joe, archive": there joe means the mailbox. */
    bool self = a != NULL && w->depth > 0 && w->stack[w->depth - 1] == a;
    if (a != NULL && !self) {
        if (on_stack(w, a))
            note_circle(w, name, domain);
        else
            expand(w, a);
        return true;
    }
    enum user_found u = find_user(w, name, domain, key);
    if (u == USER_YES)
        add(w, LOCAL_MAILBOX, key);
    return u != USER_NO;
}

/* RFC 5321 4.5.1: postmaster always exists. */
static void try_special(struct walk *w, struct span name, struct span domain,
                        bool with_aliases)
{
    if (span_is_nocase(name, "mailer-daemon"))
        look_up(w, span_of(local_postmaster), domain, with_aliases);
    else
        add(w, LOCAL_MAILBOX, local_postmaster);
}

static void look_up(struct walk *w, struct span local, struct span domain,
                    bool with_aliases)
{
    struct span base = { local.p, local_tag_at(w->l, local) };
    bool tagged = base.n < local.n;
    unsigned waited = w->nwait;
    char other[LOCAL_KEY_MAX];

    if (try_name(w, local, domain, with_aliases)) {
        if (tagged && w->nwait > waited) /* asked at the same time */
            (void)local_find_user(w->l, base, domain, other);
        return;
    }
    if (tagged && try_name(w, base, domain, with_aliases))
        return;
    if (local_is_special(base))
        try_special(w, base, domain, with_aliases);
    else if (w->depth > 0)
        add_address(w, LOCAL_NO_USER, local, domain.n > 0 ? domain : w->domain);
}

/* --- the answer --------------------------------------------------------- */

static void free_found(struct found *f)
{
    for (struct found *next; f != NULL; f = next) {
        next = f->next;
        free(f);
    }
}

/* The verdict before the callbacks. */
static enum local_verdict judge(const struct walk *w)
{
    if (w->temp)
        return LOCAL_TEMP;
    if (w->full)
        return LOCAL_STOPPED;
    if (w->nwait > 0)
        return LOCAL_WAIT;
    if (w->n == 0 && w->discard)
        return LOCAL_OK;
    if (w->n == w->nunknown)
        return w->circle ? LOCAL_LOOP : LOCAL_UNKNOWN;
    return w->n == w->ncommands ? LOCAL_UNSUPPORTED : LOCAL_OK;
}

static enum local_verdict report(struct walk *w, local_fn *fn, void *ctx)
{
    if (w->n == 0)
        add(w, LOCAL_DISCARD, "/dev/null");
    while (w->looped != NULL) {
        struct found *f = w->looped;
        w->looped = f->next;
        f->next = NULL;
        add_found(w, f);
    }
    if (w->temp || w->full)
        return w->temp ? LOCAL_TEMP : LOCAL_STOPPED;
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
    struct walk w = { .l = l, .domain = domain, .path = path };
    struct span base = { local_part.p, local_tag_at(l, local_part) };

    w.end = &w.first;
    if (path != NULL)
        path->alias[0] = path->owner[0] = '\0';
    if (local_part.n == 0 || local_part.n >= ALIAS_NAME_MAX)
        return LOCAL_UNKNOWN;
    if ((domain.n == 0 || domain.p[0] == '[') && l->name_here != NULL)
        w.domain = span_of(l->name_here);
    if (l->aliases != NULL)
        w.visit = alias_next_visit(l->aliases);
    look_up(&w, local_part, domain, true);
    enum local_verdict v = judge(&w);
    /* Even when its alias leads nowhere. */
    if (local_is_special(base) && (v == LOCAL_UNKNOWN || v == LOCAL_LOOP)) {
        free_found(w.first);
        w.first = NULL;
        w.end = &w.first;
        w.n = 0;
        map_done(&w.by_name);
        add(&w, LOCAL_MAILBOX, local_postmaster);
        v = w.temp ? LOCAL_TEMP : LOCAL_OK;
    }
    if (v == LOCAL_OK)
        v = report(&w, fn, ctx);
    free_found(w.first);
    free_found(w.looped);
    map_done(&w.by_name);
    return v;
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
    char key[LOCAL_KEY_MAX];

    local_split(span_of(t->name), &local, &domain);
    if (!local_has_domain(l, domain))
        return false;
    if (t->kind == ALIAS_FINAL)
        return local_find_user(l, local, domain, key) == USER_NO;
    return local_resolve(l, local, domain, ignore, NULL, NULL) == LOCAL_UNKNOWN;
}

/* Mail for postmaster finds its mailbox all the same. */
static bool is_covered(const struct alias *a)
{
    return a->first == a->last && local_is_special(span_of(a->name));
}

void local_check_members(const struct local *l, local_fault_fn *fn, void *ctx)
{
    for (const struct alias *a = alias_first(l->aliases); a != NULL;
         a = a->next)
        for (const struct alias_target *t = a->first; t != NULL; t = t->next) {
            struct local_fault f = { t->file, a->name, t->name, t->line,
                                     t->why };
            if (t->kind == ALIAS_UNSUPPORTED ||
                (t->kind != ALIAS_DISCARD && !is_covered(a) &&
                 leads_nowhere(l, t)))
                fn(ctx, &f);
        }
}
