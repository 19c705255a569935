#include "recipient/resolve.h"

#include "base/host_port.h"
#include "recipient/domain.h"
#include "recipient/local_files.h"
#include "recipient/local_private.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CIRCLE_MAX = 50 };

const char local_postmaster[] = "postmaster";

struct local_domain {
    struct map_link link;
    char *name;
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
        struct local_domain *d = &l->domain[l->ndomains];
        struct span name =
            domain_ascii(ascii, span_of(c->domains.item[l->ndomains].name));
        d->name = malloc(name.n + 1);
        if (d->name == NULL)
            return -1;
        span_copy(d->name, name.n + 1, name);
        map_add(&l->by_domain, &d->link,
                map_hash_nocase(d->name, strlen(d->name)));
        if (l->name_here == NULL || strcmp(l->name_here, "localhost") == 0)
            l->name_here = d->name;
    }
    return 0;
}

/* Mail for postmaster has to be read (RFC 5321 4.5.1): where root's goes, so
 * does it, unless an alias knows better. */
static int set_root(struct local *l, const char *target, struct err *e)
{
    static const char setting[] = "rewrite.root";
    const struct span post = span_of(local_postmaster);

    if (target[0] == '\0')
        return 0;
    if (alias_set(&l->aliases, setting, "root", target, e) != 0)
        return -1;
    return alias_find(l->aliases, post, SPAN_LIT("")) != NULL
               ? 0
               : alias_set(&l->aliases, setting, local_postmaster, target, e);
}

int local_open(struct local **lp, const struct conf_local *c, struct err *e)
{
    struct local *l = calloc(1, sizeof *l);

    if (l == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for local domains");
    snprintf(l->alias_path, sizeof l->alias_path, "%s", c->aliases);
    snprintf(l->delimiter, sizeof l->delimiter, "%s", c->recipient_delimiter);
    l->max_targets = (unsigned)c->max_targets;
    if (take_domains(l, c) != 0) {
        err_set(e, ERR_TEMP, 0, "no memory for local domains");
        goto failed;
    }
    if (users_open(&l->users, &c->users, e) != 0)
        goto failed;
    if (c->aliases[0] != '\0' &&
        alias_load(&l->aliases, l->alias_path, c->aliases_usual, e) != 0)
        goto failed;
    if (set_root(l, c->root, e) != 0)
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

void local_use_asker(struct local *l, struct user_asker *a)
{
    users_use_asker(l->users, a);
}

void local_see_all(struct local *l)
{
    users_see_all(l->users);
}

void local_trace(struct local *l, local_step_fn *fn, void *ctx)
{
    l->trace = fn;
    l->trace_ctx = ctx;
}

/* Files that a file names come behind it. */
static int guarded(void *ctx, const char *path, struct err *e)
{
    const struct local_files *f = ctx;

    return f->guarded(f->ctx, path, e);
}

int local_each_file(const struct conf_local *c, const struct local_files *f,
                    struct err *e)
{
    if (c->aliases[0] != '\0' &&
        (f->file(f->ctx, c->aliases, e) != 0 ||
         alias_each_include(c->aliases, guarded, (void *)(uintptr_t)f, e) != 0))
        return -1;
    return c->users.source == CONF_USERS_FILE
               ? f->file(f->ctx, c->users.path, e)
               : 0;
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
        if (span_eq_nocase(
                domain, span_of(MAP_ENTRY(k, struct local_domain, link)->name)))
            return true;
    return false;
}

bool local_is_special(struct span name)
{
    return span_is_nocase(name, local_postmaster) ||
           span_is_nocase(name, "mailer-daemon");
}

/* The first delimiter, but not at the start. */
size_t local_tag_at(const struct local *l, struct span name)
{
    for (size_t i = 1; i < name.n; i++)
        if (name.p[i] != '\0' && strchr(l->delimiter, name.p[i]) != NULL)
            return i;
    return name.n;
}

struct alias *local_find_alias(const struct local *l, struct span name,
                               struct span domain)
{
    struct alias *a =
        domain.n > 0 ? alias_find(l->aliases, name, domain) : NULL;

    return a != NULL ? a : alias_find(l->aliases, name, (struct span){ "", 0 });
}

enum user_found local_find_user(const struct local *l, struct span name,
                                struct span domain, char key[LOCAL_KEY_MAX])
{
    char user[USER_NAME_MAX];

    if (!user_name(user, name))
        return USER_NO;
    /* With users = any, a name with a tag is no user, or the tag would never be
     * cut off. */
    if (users_is_any(l->users) && local_tag_at(l, name) < name.n)
        return USER_NO;
    return users_find(l->users, user, domain, key);
}

/* --- addresses ---------------------------------------------------------- */

void local_split(struct span address, struct span *local, struct span *domain)
{
    size_t at = address.n;

    while (at > 0 && address.p[at - 1] != '@')
        at--;
    *local = (struct span){ address.p, at == 0 ? address.n : at - 1 };
    *domain = (struct span){ address.p + at, at == 0 ? 0 : address.n - at };
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

void local_put_address(struct buf *b, struct span local, struct span domain)
{
    bool quotes = needs_quotes(local);

    if (quotes)
        buf_addc(b, '"');
    for (size_t i = 0; i < local.n; i++) {
        if (quotes && (local.p[i] == '"' || local.p[i] == '\\'))
            buf_addc(b, '\\');
        buf_addc(b, local.p[i]);
    }
    buf_adds(b, quotes ? "\"@" : "@");
    buf_add_span(b, domain);
}

/* --- without an expansion ----------------------------------------------- */

static enum local_verdict verdict_of(enum user_found u)
{
    switch (u) {
    case USER_YES: return LOCAL_OK;
    case USER_NO: return LOCAL_UNKNOWN;
    case USER_WAIT: return LOCAL_WAIT;
    case USER_TEMP: break;
    }
    return LOCAL_TEMP;
}

/* Aliases of one target each that come back to the first: no mailbox is behind
 * them, even if one of the names is a user.  The expansion finds all others. */
static bool is_circle(const struct local *l, const struct alias *first)
{
    const struct alias *a = first;

    for (unsigned i = 0; i < CIRCLE_MAX; i++) {
        const struct alias_target *t = a->first;
        struct span local, domain;
        if (t == NULL || t != a->last || t->kind != ALIAS_NAME)
            return false;
        local_split(span_of(t->name), &local, &domain);
        const struct alias *next = local_has_domain(l, domain)
                                       ? local_find_alias(l, local, domain)
                                       : NULL;
        if (next == NULL || next == a)
            return false;
        if (next == first)
            return true;
        a = next;
    }
    return false;
}

static enum local_verdict check_name(const struct local *l, struct span name,
                                     struct span domain,
                                     char key[LOCAL_KEY_MAX])
{
    const struct alias *a = local_find_alias(l, name, domain);

    if (a == NULL)
        return verdict_of(local_find_user(l, name, domain, key));
    key[0] = '\0';
    return is_circle(l, a) ? LOCAL_LOOP : LOCAL_OK;
}

enum local_verdict local_check(const struct local *l, struct span local_part,
                               struct span domain, char key[LOCAL_KEY_MAX])
{
    struct span base = { local_part.p, local_tag_at(l, local_part) };
    char other[LOCAL_KEY_MAX];

    key[0] = '\0';
    if (local_part.n == 0 || local_part.n >= ALIAS_NAME_MAX)
        return LOCAL_UNKNOWN;
    enum local_verdict v = check_name(l, local_part, domain, key);
    if (v == LOCAL_WAIT && base.n < local_part.n)
        (void)check_name(l, base, domain, other); /* asked at the same time */
    if (v == LOCAL_UNKNOWN && base.n < local_part.n)
        v = check_name(l, base, domain, key);
    if ((v == LOCAL_UNKNOWN || v == LOCAL_LOOP) && local_is_special(base)) {
        snprintf(key, LOCAL_KEY_MAX, "%s", local_postmaster);
        v = LOCAL_OK;
    }
    if (v != LOCAL_OK)
        key[0] = '\0';
    return v;
}

enum local_verdict local_check_key(const struct local *l, const char *key)
{
    if (key[0] != '\0' && strchr("|/:", key[0]) != NULL)
        return LOCAL_UNSUPPORTED;
    return strcmp(key, local_postmaster) == 0
               ? LOCAL_OK
               : verdict_of(users_find_key(l->users, key));
}
