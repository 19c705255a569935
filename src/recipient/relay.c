#include "recipient/relay.h"

#include "base/handdown.h"
#include "base/map.h"
#include "base/pool.h"
#include "config/conf.h"
#include "recipient/domain.h"
#include "smtp/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_MAX = 8 };

struct recipient {
    struct map_link link;
    struct span name; /* lower case; may have a domain */
};

/* A file; domains that name the same one share it. */
struct listing {
    struct listing *next;
    const char *path;
    char *text;
    struct map by_name;
    struct pool *pool;
};

struct relay_domain {
    const struct conf_relay *conf;
    const struct listing *listing; /* NULL: every recipient exists */
};

struct relay {
    char delimiter[TAG_MAX];
    struct listing *listings;
    size_t n;
    struct relay_domain domain[];
};

/* --- the file ------------------------------------------------------------- */

static bool has(const struct listing *f, struct span name)
{
    char ours[DOMAIN_ADDRESS_MAX];

    name = domain_ascii_address(ours, name);
    struct map_link *l = map_first(&f->by_name, map_hash(name.p, name.n));
    for (; l != NULL; l = map_next(l)) {
        char other[DOMAIN_ADDRESS_MAX];
        struct span entry = MAP_ENTRY(l, struct recipient, link)->name;
        if (span_eq(domain_ascii_address(other, entry), name))
            return true;
    }
    return false;
}

/* A name alone or an address, without quotes: "john smith@example.com". */
static int add_line(struct listing *f, struct span line)
{
    char ascii[DOMAIN_ADDRESS_MAX];
    char *p = f->text + (line.p - f->text);

    for (size_t i = 0; i < line.n; i++)
        p[i] = ascii_lower(p[i]);
    if (has(f, line))
        return 0;
    struct recipient *r = pool_get(f->pool);
    if (r == NULL)
        return -1;
    r->name = line;
    line = domain_ascii_address(ascii, line);
    map_add(&f->by_name, &r->link, map_hash(line.p, line.n));
    return 0;
}

static bool is_name(struct span s)
{
    return s.n < SMTP_ADDRESS_MAX && s.p[0] != '@' && s.p[s.n - 1] != '@' &&
           !span_has_control(s);
}

static int take_text(struct listing *f, size_t n, struct err *e)
{
    struct span rest = span_after_bom((struct span){ f->text, n }), line;
    unsigned number = 0;

    while (span_next_line(&rest, &line, &number)) {
        if (!is_name(line))
            return err_set(e, ERR_USAGE, 0, "%s:%u: not a recipient", f->path,
                           number);
        if (add_line(f, line) != 0)
            return err_set(e, ERR_TEMP, 0, "no memory for %s", f->path);
    }
    return 0;
}

static int load(struct listing *f, struct err *e)
{
    size_t n;

    if (handdown_read(&f->text, &n, f->path, e) != 0)
        return -1;
    f->pool = pool_new(sizeof(struct recipient), n + 1);
    if (f->pool == NULL || map_init(&f->by_name, n / 16 + 16) != 0)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", f->path);
    return take_text(f, n, e);
}

/* --- open and close ------------------------------------------------------- */

static int take_listing(struct relay *r, const char *path,
                        const struct listing **out, struct err *e)
{
    struct listing *f = r->listings;

    while (f != NULL && strcmp(f->path, path) != 0)
        f = f->next;
    *out = f;
    if (f != NULL)
        return 0;
    *out = f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for %s", path);
    f->path = path;
    f->next = r->listings;
    r->listings = f;
    return load(f, e);
}

int relay_open(struct relay **rp, const struct conf_relays *c,
               const char *delimiter, struct err *e)
{
    struct relay *r = calloc(1, sizeof *r + c->n * sizeof r->domain[0]);

    if (r == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for relay domains");
    snprintf(r->delimiter, sizeof r->delimiter, "%s", delimiter);
    for (; r->n < c->n; r->n++) {
        struct relay_domain *d = &r->domain[r->n];
        const char *path = c->item[r->n].recipients;
        d->conf = &c->item[r->n];
        if (path[0] != '\0' && take_listing(r, path, &d->listing, e) != 0) {
            relay_close(&r);
            return -1;
        }
    }
    *rp = r;
    return 0;
}

void relay_close(struct relay **rp)
{
    struct relay *r = *rp;

    for (struct listing *f = r != NULL ? r->listings : NULL, *next; f != NULL;
         f = next) {
        next = f->next;
        map_done(&f->by_name);
        pool_free(&f->pool);
        free(f->text);
        free(f);
    }
    free(r);
    *rp = NULL;
}

int relay_each_file(const struct conf_relays *c,
                    int (*fn)(void *ctx, const char *path, struct err *e),
                    void *ctx, struct err *e)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->item[i].recipients[0] != '\0' &&
            fn(ctx, c->item[i].recipients, e) != 0)
            return -1;
    return 0;
}

/* --- look-ups ------------------------------------------------------------- */

/* The length of what fits, and one for the domain itself; 0: nothing does. */
static size_t fit(const struct conf_relay *c, struct span domain)
{
    size_t n = strlen(c->domain);

    if (!c->below)
        return span_is_nocase(domain, c->domain) ? n + 1 : 0;
    if (domain.n <= n + 1 || domain.p[domain.n - n - 1] != '.')
        return 0;
    struct span end = { domain.p + domain.n - n, n };
    return span_is_nocase(end, c->domain) ? n : 0;
}

static const struct relay_domain *find(const struct relay *r,
                                       struct span domain)
{
    const struct relay_domain *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < r->n; i++) {
        size_t n = fit(r->domain[i].conf, domain);
        if (n > most) {
            most = n;
            best = &r->domain[i];
        }
    }
    return best;
}

static bool exists(const struct listing *f, struct span local,
                   struct span domain)
{
    char name[SMTP_ADDRESS_MAX + DOMAIN_MAX];
    int n = snprintf(name, sizeof name, "%.*s@%.*s", (int)local.n, local.p,
                     (int)domain.n, domain.p);

    if (n < 0 || (size_t)n >= sizeof name)
        return false;
    ascii_lower_str(name);
    return has(f, (struct span){ name, (size_t)n }) ||
           has(f, (struct span){ name, local.n });
}

/* The first delimiter, but not at the start. */
static struct span without_tag(const struct relay *r, struct span local)
{
    for (size_t i = 1; i < local.n; i++)
        if (local.p[i] != '\0' && strchr(r->delimiter, local.p[i]) != NULL)
            return (struct span){ local.p, i };
    return local;
}

/* The next hop may trust this host, and send "user%elsewhere", "elsewhere!user"
 * or "user@elsewhere" on: mail of a stranger would come from there. */
static bool is_routed(struct span local)
{
    for (size_t i = 0; i < local.n; i++)
        if (local.p[i] != '\0' && strchr("%!@", local.p[i]) != NULL)
            return true;
    return false;
}

/* RFC 5321 4.5.1: postmaster exists in each domain. */
enum relay_verdict relay_check(const struct relay *r, struct span local,
                               struct span domain)
{
    char ascii[DOMAIN_MAX];

    if (domain.n == 0 || domain.n >= DOMAIN_MAX)
        return RELAY_NO;
    domain = domain_ascii(ascii, domain);
    const struct relay_domain *d = find(r, domain);
    if (d == NULL)
        return RELAY_NO;
    if (d->listing != NULL && exists(d->listing, local, domain))
        return RELAY_OK;
    if (is_routed(local))
        return d->listing != NULL ? RELAY_UNKNOWN : RELAY_NO;
    struct span base = without_tag(r, local);
    return d->listing == NULL || span_is_nocase(base, "postmaster") ||
                   exists(d->listing, base, domain)
               ? RELAY_OK
               : RELAY_UNKNOWN;
}
