#include "recipient/users.h"

#include "base/handdown.h"
#include "base/map.h"
#include "base/pool.h"
#include "mailbox/request.h"
#include "recipient/domain.h"
#include "recipient/user_helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct user {
    struct map_link link;
    struct span name; /* lower case; may have a domain */
};

struct users {
    enum conf_user_source source;
    struct user_asker *asker; /* NULL: look-ups block */
    bool all;                 /* which then see them all */
    char *text;
    struct map by_name;
    struct pool *pool;
};

/* --- the file ----------------------------------------------------------- */

static bool listed(const struct users *u, struct span name)
{
    char ours[DOMAIN_ADDRESS_MAX], other[DOMAIN_ADDRESS_MAX];

    name = domain_ascii_address(ours, name);
    struct map_link *l = map_first(&u->by_name, map_hash(name.p, name.n));
    for (; l != NULL; l = map_next(l)) {
        struct span entry = MAP_ENTRY(l, struct user, link)->name;
        if (span_eq(domain_ascii_address(other, entry), name))
            return true;
    }
    return false;
}

/* The domain becomes the name of a directory. */
static bool is_domain(struct span domain)
{
    char ascii[DOMAIN_MAX];

    domain = domain_ascii(ascii, domain);
    for (size_t i = 0; i < domain.n; i++)
        if (!ascii_is_alnum(domain.p[i]) &&
            (domain.p[i] == '\0' || strchr("-_.", domain.p[i]) == NULL))
            return false;
    return domain.n > 0 && domain.n < DOMAIN_MAX && domain.p[0] != '.';
}

static bool is_entry(struct span s)
{
    char name[USER_NAME_MAX];
    size_t at = span_find(s, '@');

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '\t')
            return false;
    return user_name(name, (struct span){ s.p, at }) &&
           (at == s.n ||
            is_domain((struct span){ s.p + at + 1, s.n - at - 1 }));
}

static int add_entry(struct users *u, struct span line)
{
    char ascii[DOMAIN_ADDRESS_MAX];
    struct user *user;
    char *p = u->text + (line.p - u->text);

    for (size_t i = 0; i < line.n; i++)
        p[i] = ascii_lower(p[i]);
    if (listed(u, line))
        return 0;
    user = pool_get(u->pool);
    if (user == NULL)
        return -1;
    user->name = line;
    line = domain_ascii_address(ascii, line);
    map_add(&u->by_name, &user->link, map_hash(line.p, line.n));
    return 0;
}

static int take_text(struct users *u, size_t n, const char *path, struct err *e)
{
    struct span rest = span_after_bom((struct span){ u->text, n }), line;
    unsigned number = 0;

    while (span_next_line(&rest, &line, &number)) {
        if (!is_entry(line))
            return err_set(e, ERR_USAGE, 0, "%s:%u: not a user or address",
                           path, number);
        if (add_entry(u, line) != 0)
            return err_set(e, ERR_TEMP, 0, "no memory for %s", path);
    }
    return 0;
}

static int load(struct users *u, const char *path, struct err *e)
{
    size_t n;

    if (handdown_read(&u->text, &n, path, e) != 0)
        return -1;
    u->pool = pool_new(sizeof(struct user), n + 1);
    if (u->pool == NULL || map_init(&u->by_name, n / 16 + 16) != 0)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", path);
    return take_text(u, n, path, e);
}

/* ------------------------------------------------------------------------ */

int users_open(struct users **up, const struct conf_users *c, struct err *e)
{
    struct users *u = calloc(1, sizeof *u);

    if (u == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for users");
    u->source = c->source;
    if (c->source == CONF_USERS_FILE && load(u, c->path, e) != 0) {
        users_close(&u);
        return -1;
    }
    *up = u;
    return 0;
}

void users_close(struct users **up)
{
    struct users *u = *up;

    if (u == NULL)
        return;
    if (u->source == CONF_USERS_FILE)
        map_done(&u->by_name);
    pool_free(&u->pool);
    free(u->text);
    free(u);
    *up = NULL;
}

void users_use_asker(struct users *u, struct user_asker *a)
{
    u->asker = a;
}

void users_see_all(struct users *u)
{
    u->all = true;
}

static enum user_found in_passwd(const struct users *u, const char *name)
{
    if (u->asker != NULL)
        return user_asker_find(u->asker, name);
    bool all = u->all || geteuid() == 0;
    return user_helper_find(name, all ? (uid_t)-1 : geteuid());
}

static enum user_found in_file(const struct users *u, const char *name,
                               struct span domain, char key[LOCAL_KEY_MAX])
{
    char ascii[DOMAIN_MAX];

    domain = domain_ascii(ascii, domain);
    int n =
        snprintf(key, LOCAL_KEY_MAX, "%s@%.*s", name, (int)domain.n, domain.p);
    ascii_lower_str(key);
    if (domain.n > 0 && n > 0 && n < LOCAL_KEY_MAX && listed(u, span_of(key)))
        return USER_YES;
    span_copy(key, LOCAL_KEY_MAX, span_of(name));
    return listed(u, span_of(name)) ? USER_YES : USER_NO;
}

enum user_found users_find(const struct users *u, const char *name,
                           struct span domain, char key[LOCAL_KEY_MAX])
{
    span_copy(key, LOCAL_KEY_MAX, span_of(name));
    switch (u->source) {
    case CONF_USERS_PASSWD: return in_passwd(u, name);
    case CONF_USERS_FILE: return in_file(u, name, domain, key);
    case CONF_USERS_ANY: break;
    }
    return USER_YES;
}

enum user_found users_find_key(const struct users *u, const char *key)
{
    char name[USER_NAME_MAX], found[LOCAL_KEY_MAX];
    struct span s = span_of(key), domain = { "", 0 };
    size_t at = span_find(s, '@');

    if (!user_name(name, (struct span){ key, at }))
        return USER_NO;
    if (at < s.n)
        domain = (struct span){ key + at + 1, s.n - at - 1 };
    if (domain.n > 0 && u->source == CONF_USERS_PASSWD)
        return USER_NO;
    enum user_found r = users_find(u, name, domain, found);
    return r == USER_YES && u->source == CONF_USERS_FILE &&
                   strcmp(found, key) != 0
               ? USER_NO
               : r;
}

bool users_is_any(const struct users *u)
{
    return u->source == CONF_USERS_ANY;
}

/* "@" would make it a key with a domain.  Alias files have targets that begin
 * with "|" and ":", and one that is kept with a recipient must not be taken for
 * a user. */
bool user_name(char out[USER_NAME_MAX], struct span name)
{
    if (!mailbox_name_valid(name) || name.p[0] == '|' || name.p[0] == ':' ||
        span_find(name, '@') < name.n || !span_copy(out, USER_NAME_MAX, name))
        return false;
    ascii_lower_str(out);
    return mailbox_name_valid(span_of(out));
}
