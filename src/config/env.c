/* env.c - settings from the environment. */
#include "config/load.h"

#include "base/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { ENV_NAME_MAX = 64, SECRET_FILE_MAX = 32 * 1024 };

void conf_env_name(char *out, size_t size, const char *key)
{
    int n = snprintf(out, size, "MTA_%s", key);

    for (char *p = out; n > 0 && *p != '\0'; p++)
        if (*p == '.')
            *p = '_';
        else if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

/* Returns the length without newlines at the end, or -1. */
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
    for (ssize_t i = 0; i < n && it->type == CONF_LIST; i++)
        if (text[i] == '\n')
            text[i] = ','; /* one element a line is fine too */
    snprintf(origin, sizeof origin, "%s=%.180s", name, path);
    return conf_take(ld, it, (struct span){ text, (size_t)n }, origin, e);
}

static int take_item(struct conf_loading *ld, const struct conf_item *it,
                     struct err *e)
{
    char name[ENV_NAME_MAX], file_name[ENV_NAME_MAX + 8];

    conf_env_name(name, sizeof name, it->key);
    snprintf(file_name, sizeof file_name, "%s_FILE", name);
    const char *text = getenv(name), *path = getenv(file_name);
    if (text != NULL && path != NULL)
        return err_set(e, ERR_PERM, 0, "both %s and %s are set", name,
                       file_name);
    if (path != NULL)
        return take_from_file(ld, it, file_name, path, e);
    return text != NULL ? conf_take(ld, it, span_of(text), name, e) : 0;
}

/* Two slips or fewer away from a name that we know; NULL when it is one. */
static const char *slip(const char *given, char near[ENV_NAME_MAX + 8])
{
    char name[ENV_NAME_MAX + 8];
    unsigned least = 3;

    for (size_t i = 0; i < nconf_items; i++)
        for (int file = 0; file < 2; file++) {
            conf_env_name(name, ENV_NAME_MAX, conf_items[i].key);
            if (file)
                memcpy(name + strlen(name), "_FILE", 6);
            unsigned d = edit_distance(given, name);
            if (d == 0)
                return NULL;
            if (d < least) {
                least = d;
                snprintf(near, ENV_NAME_MAX + 8, "%s", name);
            }
        }
    return least < 3 ? near : NULL;
}

/* Others may use the prefix too (an orchestrator sets MTA_SERVICE_HOST for a
 * service called mta), so only what looks like a slip is refused. */
static int refuse_slips(struct err *e)
{
    char given[ENV_NAME_MAX], near[ENV_NAME_MAX + 8];

    for (char **v = environ; v != NULL && *v != NULL; v++) {
        struct span name = { *v, span_find(span_of(*v), '=') };
        if (name.n < 4 || memcmp(name.p, "MTA_", 4) != 0 ||
            !span_copy(given, sizeof given, name) ||
            strcmp(given, "MTA_CONFIG") == 0 || slip(given, near) == NULL)
            continue;
        return err_set(e, ERR_PERM, 0,
                       "environment: no setting '%s'; did you mean '%s'?",
                       given, near);
    }
    return 0;
}

int conf_load_env(struct conf_loading *ld, struct err *e)
{
    for (size_t i = 0; i < nconf_items; i++)
        if (take_item(ld, &conf_items[i], e) != 0)
            return -1;
    return refuse_slips(e);
}
