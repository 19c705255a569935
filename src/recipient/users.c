#include "recipient/users.h"

#include "base/handdown.h"
#include "base/map.h"
#include "base/pool.h"
#include "mailbox/batch.h"
#include "recipient/alias.h"
#include "recipient/domain.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct user {
    struct map_link link;
    struct span name; /* lower case; may have a domain */
};

struct users {
    enum conf_user_source source;
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

static bool is_entry(struct span s)
{
    size_t at = span_find(s, '@');

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '\t')
            return false;
    return mailbox_name_valid((struct span){ s.p, at }) &&
           (at == s.n || (s.n - at > 1 && s.n < ALIAS_NAME_MAX));
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
    struct span rest = span_after_bom((struct span){ u->text, n });

    for (unsigned number = 1; rest.n > 0; number++) {
        struct span line = { rest.p, span_find(rest, '\n') };
        size_t past = line.n + (line.n < rest.n);
        rest = (struct span){ rest.p + past, rest.n - past };
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        line = span_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
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

/* ---------------------------------------------------------------------- */

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

/* The error codes for "not found" are those of getpwnam(3). */
static enum user_found ask_passwd(const char *name)
{
    char memory[16 * 1024];
    struct passwd pw, *found = NULL;
    int rc;

    do
        rc = getpwnam_r(name, &pw, memory, sizeof memory, &found);
    while (rc == EINTR);
    if (found != NULL)
        return USER_YES;
    return rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM
               ? USER_NO
               : USER_TEMP;
}

/* Distinguish "not found", which rejects mail permanently, from a directory
 * that cannot be read now.  The C library returns "not found" also without a
 * descriptor or memory; so look up root and then the name again. */
static enum user_found in_passwd(const char *name)
{
    enum user_found u = ask_passwd(name);

    if (u != USER_NO)
        return u;
    return ask_passwd("root") == USER_YES ? ask_passwd(name) : USER_TEMP;
}

static bool in_file(const struct users *u, const char *name, struct span domain)
{
    char address[ALIAS_NAME_MAX];

    if (listed(u, span_of(name)))
        return true;
    int n = snprintf(address, sizeof address, "%s@%.*s", name, (int)domain.n,
                     domain.p);
    if (domain.n == 0 || domain.n > 255 || n < 0 || (size_t)n >= sizeof address)
        return false;
    ascii_lower_str(address);
    return listed(u, (struct span){ address, (size_t)n });
}

enum user_found users_find(const struct users *u, const char *name,
                           struct span domain)
{
    switch (u->source) {
    case CONF_USERS_PASSWD: return in_passwd(name);
    case CONF_USERS_FILE: return in_file(u, name, domain) ? USER_YES : USER_NO;
    case CONF_USERS_ANY: break;
    }
    return USER_YES;
}

bool users_is_any(const struct users *u)
{
    return u->source == CONF_USERS_ANY;
}
