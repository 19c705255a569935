/* value.c - text to value, by the type of the setting. */
#include "config/value.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

struct unit {
    char letter;
    long long factor;
};

static const struct unit times[] = {
    { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { '\0', 0 }
};
static const struct unit sizes[] = {
    { 'k', 1LL << 10 }, { 'm', 1LL << 20 }, { 'g', 1LL << 30 }, { '\0', 0 }
};

/* Long texts must leave room for what is wrong with them. */
static int clipped(struct span s)
{
    return s.n > 60 ? 60 : (int)s.n;
}

static bool parse_scaled(struct span s, const struct unit *u, long long *out)
{
    unsigned long long v;
    long long factor = 1;

    if (s.n > 1 && ascii_is_alpha(s.p[s.n - 1])) {
        while (u->letter != '\0' && u->letter != ascii_lower(s.p[s.n - 1]))
            u++;
        if (u->letter == '\0')
            return false;
        factor = u->factor;
        s.n--;
    }
    if (!span_u64(s, (unsigned long long)(LLONG_MAX / factor), &v))
        return false;
    *out = (long long)v * factor;
    return true;
}

int conf_parse_time(struct span s, long long *seconds, struct err *e)
{
    if (parse_scaled(s, times, seconds))
        return 0;
    return err_set(e, ERR_PERM, 0,
                   "'%.*s' is not a time (write 30s, 5m, 4h or 5d)", clipped(s),
                   s.p);
}

int conf_parse_size(struct span s, long long *bytes, struct err *e)
{
    if (parse_scaled(s, sizes, bytes))
        return 0;
    return err_set(e, ERR_PERM, 0,
                   "'%.*s' is not a size (write 64K, 50M or 2G)", clipped(s),
                   s.p);
}

static int parse_int(struct span s, long long *out, struct err *e)
{
    unsigned long long v;

    if (!span_u64(s, LLONG_MAX, &v))
        return err_set(e, ERR_PERM, 0, "'%.*s' is not a number", clipped(s),
                       s.p);
    *out = (long long)v;
    return 0;
}

static int set_number(void *field, const struct conf_item *it, struct span s,
                      struct err *e)
{
    long long v;
    int rc = it->type == CONF_TIME   ? conf_parse_time(s, &v, e)
             : it->type == CONF_SIZE ? conf_parse_size(s, &v, e)
                                     : parse_int(s, &v, e);

    if (rc != 0)
        return -1;
    if (v < it->min || v > it->max)
        return err_set(e, ERR_PERM, 0, "%.*s is out of bounds, %lld to %lld%s",
                       clipped(s), s.p, it->min, it->max,
                       it->type == CONF_TIME   ? " seconds"
                       : it->type == CONF_SIZE ? " bytes"
                                               : "");
    memcpy(field, &v, sizeof v);
    return 0;
}

/* A control character in a name or path is never meant, and could forge a
 * line of the protocol or of the log. */
static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static int check_text(const struct conf_item *it, struct span s, struct err *e)
{
    if (has_control(s))
        return err_set(e, ERR_PERM, 0, "control character in the value");
    if ((long long)s.n < it->min)
        return err_set(e, ERR_PERM, 0, "may not be empty");
    if ((long long)s.n > it->max)
        return err_set(e, ERR_PERM, 0, "longer than %lld characters", it->max);
    return 0;
}

/* A process that changes its directory must still mean the same file. */
static int set_path(char *field, const struct conf_item *it, struct span s,
                    struct err *e)
{
    char cwd[CONF_PATH_MAX], whole[CONF_PATH_MAX];

    if (s.n == 0 || s.p[0] == '/' || span_is(s, "-")) {
        span_copy(field, it->size, s);
        return 0;
    }
    if (getcwd(cwd, sizeof cwd) == NULL)
        return err_set(e, ERR_PERM, 0,
                       "relative path, and the current directory is unknown");
    if (span_starts_nocase(s, "./"))
        s = (struct span){ s.p + 2, s.n - 2 };
    int n = snprintf(whole, sizeof whole, "%s/%.*s",
                     strcmp(cwd, "/") == 0 ? "" : cwd, (int)s.n, s.p);
    if (n < 0 || (size_t)n >= it->size || (size_t)n >= sizeof whole)
        return err_set(e, ERR_PERM, 0, "path too long");
    memcpy(field, whole, (size_t)n + 1);
    return 0;
}

static int set_enum(void *field, const struct conf_item *it, struct span s,
                    struct err *e)
{
    char given[64];

    for (int i = 0; it->words[i] != NULL; i++)
        if (span_is_nocase(s, it->words[i])) {
            memcpy(field, &i, sizeof i);
            return 0;
        }
    snprintf(given, sizeof given, "%.*s", clipped(s), s.p == NULL ? "" : s.p);
    const char *near = conf_nearest_word(it->words, given);
    err_set(e, ERR_PERM, 0, "'%s' is none of", given);
    for (size_t i = 0, n = strlen(e->text); it->words[i] != NULL; i++)
        n += (size_t)snprintf(e->text + n, sizeof e->text - n, "%s %s",
                              i > 0 ? "," : "", it->words[i]);
    if (near != NULL)
        snprintf(e->text + strlen(e->text), sizeof e->text - strlen(e->text),
                 "; did you mean '%s'?", near);
    return -1;
}

int conf_set(struct conf *c, const struct conf_item *it, struct span s,
             struct err *e)
{
    struct span el[CONF_LIST_MAX];
    char *field = (char *)c + it->offset;

    if (it->type != CONF_SECRET)
        s = span_trim(s);
    switch (it->type) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_SIZE: return set_number(field, it, s, e);
    case CONF_ENUM: return set_enum(field, it, s, e);
    case CONF_LIST: return conf_set_list(c, it, el, conf_split(s, el), e);
    case CONF_PATH:
        return check_text(it, s, e) != 0 ? -1 : set_path(field, it, s, e);
    case CONF_STRING:
    case CONF_SECRET: break;
    }
    if (check_text(it, s, e) != 0)
        return -1;
    span_copy(field, it->size, s);
    return 0;
}
