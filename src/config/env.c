/* env.c - settings from the environment. */
#include "config/env.h"

#include "config/load.h"
#include "config/value.h"

#include "base/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { ENV_NAME_MAX = 64, SECRET_FILE_MAX = 32 * 1024 };

/* MTA_ and the key, upper case, dots as _. */
static void env_name(char *out, size_t size, const char *key)
{
    int n = snprintf(out, size, "MTA_%s", key);

    for (char *p = out; n > 0 && *p != '\0'; p++)
        if (*p == '.')
            *p = '_';
        else if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

/* Read a file; returns its length without newlines at the end, or -1. */
static ssize_t slurp(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), why;
    size_t n = 0;
    ssize_t got = 1;

    if (fd < 0)
        return -1;
    while (n < size && got > 0) {
        got = read(fd, out + n, size - n);
        if (got > 0)
            n += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    why = got < 0 ? errno : n == size ? EFBIG : 0;
    close(fd);
    errno = why;
    if (why != 0)
        return -1;
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
        n--;
    return (ssize_t)n;
}

static int take_from_file(struct conf_loading *ld, const struct conf_item *it,
                          const char *name, const char *path, struct err *e)
{
    char text[SECRET_FILE_MAX], origin[CONF_ORIGIN_MAX];
    ssize_t n = slurp(path, text, sizeof text);

    if (n < 0)
        return err_set(e, ERR_PERM, errno, "%s: %s", name, path);
    for (ssize_t i = 0; i < n && conf_is_list(it); i++)
        if (text[i] == '\n')
            text[i] = ','; /* elements on lines of their own are accepted too */
    snprintf(origin, sizeof origin, "%s=%.180s", name, path);
    return conf_take(ld, it, (struct span){ text, (size_t)n }, origin, e);
}

static int take_item(struct conf_loading *ld, const struct conf_item *it,
                     struct err *e)
{
    char name[ENV_NAME_MAX], file_name[ENV_NAME_MAX + 8];

    env_name(name, sizeof name, it->key);
    snprintf(file_name, sizeof file_name, "%s_FILE", name);
    const char *text = getenv(name), *path = getenv(file_name);
    if (text != NULL && path != NULL)
        return err_set(e, ERR_PERM, 0, "both %s and %s are set", name,
                       file_name);
    if (path != NULL)
        return take_from_file(ld, it, file_name, path, e);
    return text != NULL ? conf_take(ld, it, span_of(text), name, e) : 0;
}

/* The key that a variable would be of: its first _ is a dot if a group stands
 * before it. */
static void key_of(char key[ENV_NAME_MAX], const char *given)
{
    size_t n = strlen(given);

    if (n > 9 && strcmp(given + n - 5, "_FILE") == 0)
        n -= 5;
    (void)span_copy(key, ENV_NAME_MAX, (struct span){ given + 4, n - 4 });
    ascii_lower_str(key);
    size_t group = span_find(span_of(key), '_');
    if (key[group] == '_' && conf_is_group((struct span){ key, group }))
        key[group] = '.';
}

enum { FAR = 4 }; /* with as many edits it is another word */

/* The name of a variable nearest to the given one, which may be the same; or
 * NULL. */
static const char *nearest(const char *given, char near[ENV_NAME_MAX + 8],
                           unsigned *least)
{
    char name[ENV_NAME_MAX + 8];

    *least = FAR;
    for (size_t i = 0; i < nconf_items; i++)
        for (int file = 0; file < 2; file++) {
            env_name(name, ENV_NAME_MAX, conf_items[i].key);
            if (file)
                memcpy(name + strlen(name), "_FILE", 6);
            unsigned d = edit_distance(given, name);
            if (d < *least) {
                *least = d;
                snprintf(near, ENV_NAME_MAX + 8, "%s", name);
            }
        }
    return *least < FAR ? near : NULL;
}

/* An unknown name is no error, because an orchestrator sets MTA_SERVICE_HOST
 * for a service called mta. */
static int look_at(const struct conf_loading *ld, const char *given,
                   struct err *e)
{
    char near[ENV_NAME_MAX + 8], key[ENV_NAME_MAX];
    unsigned least;
    const char *meant = nearest(given, near, &least);

    if (least == 0)
        return 0;
    key_of(key, given);
    if (conf_unbuilt_key(span_of(key)))
        return err_set(e, ERR_PERM, 0, "%s: not in this version", given);
    const char *ours = conf_foreign(key);
    if (ours == NULL && meant == NULL)
        ours = conf_nearest(key);
    if (ours != NULL) {
        env_name(near, ENV_NAME_MAX, ours);
        meant = near;
    }
    if (meant != NULL)
        conf_warn(ld, "environment: no setting '%s'; the nearest is '%s'",
                  given, meant);
    else
        conf_warn(ld, "environment: no setting '%s'", given);
    return 0;
}

/* Does it name a setting, or the file of the settings? */
static bool is_ours(const char *variable, char name[ENV_NAME_MAX])
{
    struct span s = { variable, span_find(span_of(variable), '=') };

    return s.n > 4 && memcmp(s.p, "MTA_", 4) == 0 &&
           span_copy(name, ENV_NAME_MAX, s);
}

void conf_env_forget(void)
{
    char name[ENV_NAME_MAX];

    for (char **v = environ; v != NULL && *v != NULL;)
        if (!is_ours(*v, name) || unsetenv(name) != 0) /* moves the others up */
            v++;
}

int conf_load_env(struct conf_loading *ld, struct err *e)
{
    char given[ENV_NAME_MAX];

    for (size_t i = 0; i < nconf_items; i++)
        if (take_item(ld, &conf_items[i], e) != 0)
            return -1;
    for (char **v = environ; v != NULL && *v != NULL; v++)
        if (is_ours(*v, given) && strcmp(given, "MTA_CONFIG") != 0 &&
            look_at(ld, given, e) != 0)
            return -1;
    return 0;
}
