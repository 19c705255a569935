/* check.c - what no single setting can know. */
#include "config/load.h"

#include <string.h>

static int fault(const struct conf_loading *ld, const char *key,
                 const char *text, struct err *e)
{
    const struct conf_item *it = conf_find(span_of(key));
    const char *origin = conf_origin(ld, it);

    return err_set(e, origin[0] == '-' ? ERR_USAGE : ERR_PERM, 0, "%s: %s: %s",
                   origin, key, text);
}

/* The fault is shown where a person has set something. */
static const char *touched(const struct conf_loading *ld, const char *a,
                           const char *b)
{
    const struct conf_item *it = conf_find(span_of(a));

    return strcmp(conf_origin(ld, it), "default") == 0 ? b : a;
}

/* RFC 5321 4.1.2: a domain or an address literal. */
static bool is_hostname(const char *s)
{
    for (; *s != '\0'; s++)
        if (!ascii_is_alnum(*s) && strchr("-._[]:", *s) == NULL)
            return false;
    return true;
}

static bool users_known(const char *s)
{
    return strcmp(s, "passwd") == 0 || strcmp(s, "any") == 0 ||
           (strncmp(s, "file:", 5) == 0 && s[5] != '\0');
}

static bool has_word(const struct conf_list *l, const char *word)
{
    for (size_t i = 0; i < l->n; i++)
        if (span_is_nocase(span_of(l->item[i]), word))
            return true;
    return false;
}

static int check_serve(const struct conf_loading *ld, struct err *e)
{
    const struct conf *c = ld->c;

    if (!users_known(c->local.users))
        return fault(ld, "local.users", "should be passwd, any or file:PATH",
                     e);
    if (strpbrk(c->local.recipient_delimiter, "@\"<> \\") != NULL)
        return fault(ld, "local.recipient_delimiter",
                     "no character that separates users", e);
    if ((c->serve.tls_cert[0] == '\0') != (c->serve.tls_key[0] == '\0'))
        return fault(ld, touched(ld, "serve.tls_cert", "serve.tls_key"),
                     "serve.tls_cert and serve.tls_key go together", e);
    if (has_word(&c->serve.extra_commands, "STARTTLS") &&
        c->serve.tls_cert[0] == '\0')
        return fault(ld, "serve.extra_commands",
                     "STARTTLS needs serve.tls_cert and serve.tls_key", e);
    return 0;
}

/* Settings whose part of the program is not built yet must not look as if
 * they worked: above all not those that promise secrecy. */
static int check_unbuilt(const struct conf_loading *ld, struct err *e)
{
    static const char *const commands[] = { "STARTTLS", "AUTH", "BDAT",
                                            "EXPN" };
    const struct conf *c = ld->c;

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (has_word(&c->serve.extra_commands, commands[i]))
            return fault(ld, "serve.extra_commands",
                         "this version can switch on NOOP and HELP only", e);
    if (c->send.tls == CONF_TLS_ENCRYPT || c->send.tls == CONF_TLS_VERIFY)
        return fault(ld, "send.tls", "this version has no TLS yet: none or may",
                     e);
    return 0;
}

int conf_check(const struct conf_loading *ld, struct err *e)
{
    const struct conf *c = ld->c;

    if (!is_hostname(c->hostname))
        return fault(ld, "hostname", "is no name of a host", e);
    if (c->send.retry_min > c->send.retry_max)
        return fault(ld, touched(ld, "send.retry_min", "send.retry_max"),
                     "send.retry_min is longer than send.retry_max", e);
    return check_serve(ld, e) != 0 ? -1 : check_unbuilt(ld, e);
}
