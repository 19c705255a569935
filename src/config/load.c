/* load.c - the layers in their order, and the origin of each value. */
#include "config/load.h"

#include "config/value.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static size_t row(const struct conf_item *it)
{
    return (size_t)(it - conf_items);
}

const char *conf_origin(const struct conf *c, const struct conf_item *it)
{
    return c->origin == NULL ? "" : c->origin[row(it)];
}

const char *conf_place(const struct conf *c, const char *key)
{
    return conf_origin(c, conf_find(span_of(key)));
}

int conf_fault(const struct conf *c, const char *key, struct err *e)
{
    const char *origin = conf_origin(c, conf_find(span_of(key)));

    err_prefix(e, "%s%s%s", origin, origin[0] != '\0' ? ": " : "", key);
    return -1;
}

void conf_note(struct conf_loading *ld, const struct conf_item *it,
               const char *origin)
{
    snprintf(ld->c->origin[row(it)], CONF_ORIGIN_MAX, "%s", origin);
}

void conf_warn(const struct conf_loading *ld, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (ld->from->warn == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ld->from->warn(ld->from->warn_ctx, text);
}

/* An error in a file or variable is no usage error of the command; flags.c sets
 * its own kind. */
static int refuse(const struct conf_item *it, const char *origin, struct err *e)
{
    if (e->kind == ERR_USAGE)
        e->kind = ERR_PERM;
    err_prefix(e, "%s: %s", origin, it->key);
    return -1;
}

int conf_take(struct conf_loading *ld, const struct conf_item *it,
              struct span text, const char *origin, struct err *e)
{
    if (conf_set(ld->c, it, text, e) != 0)
        return refuse(it, origin, e);
    conf_note(ld, it, origin);
    return 0;
}

int conf_take_list(struct conf_loading *ld, const struct conf_item *it,
                   const struct span *el, size_t n, const char *origin,
                   struct err *e)
{
    if (conf_set_list(ld->c, it, el, n, e) != 0)
        return refuse(it, origin, e);
    conf_note(ld, it, origin);
    return 0;
}

int conf_unknown(const char *origin, const char *key, struct err *e)
{
    const char *near = conf_nearest(key), *ours = conf_foreign(key);

    if (conf_unbuilt_key(span_of(key)))
        return err_set(e, ERR_PERM, 0, "%s: %s is not in this version", origin,
                       key);
    if (ours != NULL)
        return err_set(e, ERR_PERM, 0,
                       "%s: no setting '%.60s'; here it is"
                       " '%s'",
                       origin, key, ours);
    return err_set(e, ERR_PERM, 0, "%s: no setting '%.60s'%s%s%s", origin, key,
                   near != NULL ? "; did you mean '" : "",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
}

int conf_load_defaults(struct conf_loading *ld, struct err *e)
{
    for (size_t i = 0; i < nconf_items; i++)
        if (conf_items[i].derive == NULL &&
            conf_take(ld, &conf_items[i], span_of(conf_items[i].fallback),
                      "default", e) != 0)
            return -1;
    return 0;
}

/* The last layer, for settings that no other layer has set, because the host's
 * name may cost a DNS query. */
int conf_load_derived(struct conf_loading *ld, struct err *e)
{
    char text[CONF_PATH_MAX];

    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        if (it->derive == NULL || ld->c->origin[i][0] != '\0')
            continue;
        it->derive(ld->c, text, sizeof text);
        if (conf_take(ld, it, span_of(text), "default", e) != 0)
            return -1;
    }
    return 0;
}

/* --- what no single setting can know ------------------------------------ */

static bool is_default(const struct conf *c, const char *key)
{
    return strcmp(conf_origin(c, conf_find(span_of(key))), "default") == 0;
}

static int fault(const struct conf *c, const char *key, const char *text,
                 struct err *e)
{
    const char *origin = conf_origin(c, conf_find(span_of(key)));

    err_set(e, origin[0] == '-' ? ERR_USAGE : ERR_PERM, 0, "%s", text);
    return conf_fault(c, key, e);
}

/* NULL: it is well. */
static const char *mail_dir_fault(const struct conf_local *c)
{
    const char *dir = c->mail_dir;

    if (dir[0] != '~')
        return NULL;
    if (c->users.source != CONF_USERS_PASSWD)
        return "only users of the system (local.users = \"passwd\") have a"
               " home directory";
    return dir[2] == '\0' || dir[strlen(dir) - 1] == '/' ||
                   strstr(dir, "/../") != NULL || strcmp(dir, "~/..") == 0 ||
                   strstr(dir, "//") != NULL
               ? "no name of a mailbox below the home directory"
               : NULL;
}

/* A domain is delivered here or sent on. */
static int check_relays(const struct conf *c, struct err *e)
{
    const struct conf_relays *l = &c->serve.relay_domains;
    char text[CONF_NAME_MAX + 80];

    for (size_t i = 0; i < l->n; i++) {
        const struct conf_relay *r = &l->item[i];
        const char *why = NULL;
        for (size_t k = 0; k < c->local.domains.n && !r->below; k++)
            if (strcmp(c->local.domains.item[k].name, r->domain) == 0)
                why = "is one of local.domains, too";
        for (size_t k = 0; k < i; k++)
            if (l->item[k].below == r->below &&
                strcmp(l->item[k].domain, r->domain) == 0)
                why = "stands there twice";
        if (why == NULL)
            continue;
        snprintf(text, sizeof text, "%s%s %s", r->below ? "." : "", r->domain,
                 why);
        return fault(c, "serve.relay_domains", text, e);
    }
    return 0;
}

/* What a server needs for TLS. */
static int check_tls(const struct conf *c, struct err *e)
{
    static const char needs[] = "TLS needs a certificate: set serve.tls_cert"
                                " and serve.tls_key";
    size_t certs = c->serve.tls_cert.n, keys = c->serve.tls_key.n;
    const char *touched =
        is_default(c, "serve.tls_key") ? "serve.tls_cert" : "serve.tls_key";
    char text[160];

    if (certs != keys) {
        snprintf(text, sizeof text,
                 "certificates: %zu, keys: %zu; they are pairs, in the same"
                 " order, and one file may be both",
                 certs, keys);
        return fault(c, touched, text, e);
    }
    if (certs > 0)
        return 0;
    if ((c->serve.extra_commands & CONF_EXTRA_STARTTLS) != 0)
        return fault(c, "serve.extra_commands", needs, e);
    for (size_t i = 0; i < c->serve.listen.n; i++)
        if (c->serve.listen.item[i].roles & CONF_ROLE_TLS)
            return fault(c, "serve.listen", needs, e);
    return 0;
}

/* The login at relay_host is whole, or there is none. */
static const char *relay_fault(const struct conf *c, const char **key)
{
    bool password = c->send.relay_password[0] != '\0';
    bool token = c->send.relay_token.source != CONF_TOKEN_NONE;
    unsigned fits = token ? CONF_AUTH_TOKEN : CONF_AUTH_PASSWORD;

    *key = "send.relay_user";
    if (c->send.relay_user[0] == '\0') {
        *key = password ? "send.relay_password" : "send.relay_token";
        return password || token ? "send.relay_user is not set" : NULL;
    }
    if (c->send.relay_host.n == 0)
        return "send.relay_host is not set";
    if (!password && !token)
        return "send.relay_password and send.relay_token are not set: a login"
               " needs one of them";
    *key = "send.relay_token";
    if (password && token)
        return "send.relay_password is set, too: one of both";
    *key = "send.relay_auth";
    return c->send.relay_auth != 0 && (c->send.relay_auth & fits) == 0
               ? token ? "a token needs oauthbearer or xoauth2"
                       : "a password needs scram-sha-256, plain or login"
               : NULL;
}

/* What is sent for root would come back to root. */
static bool leads_to_root(const struct conf_local *c)
{
    const char *at = strchr(c->root, '@');

    if (at == NULL ||
        !span_is_nocase((struct span){ c->root, (size_t)(at - c->root) },
                        "root"))
        return false;
    for (size_t i = 0; i < c->domains.n; i++)
        if (strcmp(c->domains.item[i].name, at + 1) == 0)
            return true;
    return false;
}

int conf_check(const struct conf *c, struct err *e)
{
    /* Report the error at a setting that was set, not at a default. */
    const char *touched =
        is_default(c, "send.retry_min") ? "send.retry_max" : "send.retry_min";

    if (check_relays(c, e) != 0)
        return -1;
    if (c->send.retry_min > c->send.retry_max)
        return fault(c, touched,
                     "send.retry_min is longer than send.retry_max: set both",
                     e);
    if (leads_to_root(&c->local))
        return fault(c, "rewrite.root", "is root of this host itself", e);
    if (strpbrk(c->local.recipient_delimiter, "@\"<> \\") != NULL)
        return fault(c, "local.recipient_delimiter",
                     "no character that separates users (+, - and the like"
                     " are)",
                     e);
    const char *wrong = mail_dir_fault(&c->local), *key;
    if (wrong != NULL)
        return fault(c, "local.mail_dir", wrong, e);
    wrong = relay_fault(c, &key);
    return wrong != NULL ? fault(c, key, wrong, e) : check_tls(c, e);
}

/* ------------------------------------------------------------------------ */

int conf_load_begin(struct conf_loading *ld, struct conf *c,
                    const struct conf_source *from, struct err *e)
{
    memset(c, 0, sizeof *c);
    *ld = (struct conf_loading){ c, from };
    c->origin = calloc(CONF_ITEMS_MAX, sizeof *c->origin);
    return c->origin != NULL
               ? 0
               : err_set(e, ERR_TEMP, 0, "no memory for settings");
}

int conf_load_all(struct conf_loading *ld, struct conf *c,
                  const struct conf_source *from, struct err *e)
{
    if (conf_load_begin(ld, c, from, e) != 0)
        return -1;
    if (conf_load_defaults(ld, e) == 0 && conf_load_file(ld, e) == 0 &&
        conf_load_env(ld, e) == 0 && conf_load_flags(ld, e) == 0 &&
        conf_load_derived(ld, e) == 0 && conf_check(c, e) == 0) {
        c->local.aliases_usual = is_default(c, "local.aliases");
        return 0;
    }
    conf_free(c);
    return -1;
}

int conf_load(struct conf *c, const struct conf_source *from, struct err *e)
{
    struct conf_loading ld;

    return conf_load_all(&ld, c, from, e);
}

void conf_wipe(struct conf *c)
{
    for (size_t i = 0; i < nconf_items; i++)
        if (conf_items[i].type == CONF_SECRET)
            explicit_bzero((char *)c + conf_items[i].offset,
                           conf_items[i].size);
}

void conf_free(struct conf *c)
{
    conf_wipe(c);
    for (size_t i = 0; i < nconf_items; i++)
        conf_list_free(c, &conf_items[i]);
    free(c->origin);
    memset(c, 0, sizeof *c);
}
