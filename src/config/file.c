/* file.c - the configuration file; the only user of libconfig. */
#include "config/load.h"
#include "config/value.h"

#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usual[] = "/etc/mta/mta.conf";

enum { PLACE_MAX = 200, KEY_MAX = 128 };

struct reading {
    struct conf_loading *ld;
    const char *path; /* for messages */
    config_t cfg;
};

static void place(char out[PLACE_MAX], const struct reading *r,
                  const char *file, int line)
{
    snprintf(out, PLACE_MAX, "%.*s:%d", PLACE_MAX - 16,
             file != NULL ? file : r->path, line);
}

static void place_of(char out[PLACE_MAX], const struct reading *r,
                     const config_setting_t *s)
{
    place(out, r, config_setting_source_file(s),
          (int)config_setting_source_line(s));
}

static int take_elements(struct reading *r, const struct conf_item *it,
                         const config_setting_t *s, struct err *e)
{
    struct span el[CONF_LIST_MAX];
    int n = config_setting_length(s);
    char at[PLACE_MAX];

    place_of(at, r, s);
    for (int i = 0; i < n && i < CONF_LIST_MAX; i++) {
        const char *text = config_setting_get_string_elem(s, i);
        if (text == NULL)
            return err_set(e, ERR_PERM, 0,
                           "%s: %s: element %d of the list is not a string", at,
                           it->key, i + 1);
        el[i] = span_of(text);
    }
    return conf_take_list(r->ld, it, el, (size_t)n, at, e);
}

static const char *type_name(int type)
{
    switch (type) {
    case CONFIG_TYPE_GROUP: return "a group";
    case CONFIG_TYPE_FLOAT: return "a number with a point";
    case CONFIG_TYPE_BOOL: return "true or false";
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST: return "a list";
    case CONFIG_TYPE_STRING: return "a string";
    default: return "a number";
    }
}

static bool is_number(const struct conf_item *it)
{
    return it->type == CONF_INT || it->type == CONF_TIME ||
           it->type == CONF_SIZE;
}

static int take_setting(struct reading *r, const struct conf_item *it,
                        const config_setting_t *s, struct err *e)
{
    int type = config_setting_type(s);
    char at[PLACE_MAX], number[32];

    place_of(at, r, s);
    if (type == CONFIG_TYPE_STRING)
        return conf_take(r->ld, it, span_of(config_setting_get_string(s)), at,
                         e);
    if ((type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) &&
        is_number(it)) {
        snprintf(number, sizeof number, "%lld", config_setting_get_int64(s));
        return conf_take(r->ld, it, span_of(number), at, e);
    }
    bool list = type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
    if (list && conf_is_list(it))
        return take_elements(r, it, s, e);
    if (list && conf_unbuilt_value(it->key, SPAN_LIT(",")) != NULL)
        return err_set(e, ERR_PERM, 0, "%s: %s: a list is not in this version",
                       at, it->key);
    return err_set(e, ERR_PERM, 0, "%s: %s: is %s, should be %s", at, it->key,
                   type_name(type),
                   conf_is_list(it) ? "a list of strings"
                   : is_number(it)  ? "a number or a string"
                                    : "a string");
}

static int walk(struct reading *r, const config_setting_t *group,
                const char *prefix, struct err *e)
{
    char key[KEY_MAX], at[PLACE_MAX];

    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix != '\0' ? "." : "",
                 config_setting_name(s));
        const struct conf_item *it = conf_find(span_of(key));
        place_of(at, r, s);
        if (it != NULL) {
            if (take_setting(r, it, s, e) != 0)
                return -1;
        } else if (!conf_is_group(span_of(key))) {
            return conf_unknown(at, key, e);
        } else if (!config_setting_is_group(s)) {
            return err_set(e, ERR_PERM, 0, "%s: %s is a group: write %s: { }",
                           at, key, key);
        } else if (walk(r, s, key, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Hint at the most common mistakes: keys have dots everywhere but in this file;
 * a group is added at the end of a file that has it already. */
static int syntax(const struct reading *r, struct err *e)
{
    const char *text = config_error_text(&r->cfg);
    const char *hint = "a setting is written name = \"text\"; or name = 4;"
                       " those of a group: group: { name = \"text\"; }";
    char at[PLACE_MAX];

    if (text != NULL && strncmp(text, "duplicate", 9) == 0)
        hint = "the file has this setting or group already: a group stands"
               " there once, with all its settings";
    else if (text != NULL && strstr(text, "include") != NULL)
        hint = "@include \"NAME\" is looked for in the directory of this file";
    place(at, r, config_error_file(&r->cfg), config_error_line(&r->cfg));
    return err_set(e, ERR_PERM, 0, "%s: %s (%s)", at,
                   text != NULL ? text : "syntax error", hint);
}

/* Editors of other systems begin a file in UTF-8 so. */
static bool has_mark(FILE *f)
{
    char mark[3];
    bool found =
        fread(mark, 1, 3, f) == 3 && memcmp(mark, "\xef\xbb\xbf", 3) == 0;

    rewind(f);
    return found;
}

/* @include is relative to the including file, not to the working directory. */
static void set_include_dir(config_t *cfg, const char *path)
{
    char dir[CONF_PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || (size_t)(slash - path) >= sizeof dir)
        return;
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    memcpy(dir, path, n);
    dir[n] = '\0';
    config_set_include_dir(cfg, dir);
}

static int read_stream(struct conf_loading *ld, FILE *f, const char *path,
                       struct err *e)
{
    struct reading r = { .ld = ld, .path = path };

    config_init(&r.cfg);
    set_include_dir(&r.cfg, path);
    int rc = config_read(&r.cfg, f) == CONFIG_TRUE
                 ? walk(&r, config_root_setting(&r.cfg), "", e)
                 : syntax(&r, e);
    config_destroy(&r.cfg);
    return rc;
}

static int read_path(struct conf_loading *ld, const char *path, struct err *e)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    int rc = -1;

    if (f == NULL)
        return err_set(e, ERR_PERM, errno, "%s", path);
    if (fstat(fileno(f), &st) != 0)
        err_set(e, ERR_TEMP, errno, "%s", path);
    else if (S_ISDIR(st.st_mode)) /* libconfig exits when it cannot read */
        err_set(e, ERR_PERM, EISDIR, "%s", path);
    else if (S_ISREG(st.st_mode) && has_mark(f))
        err_set(e, ERR_PERM, 0,
                "%s:1: begins with a byte order mark: save it without one",
                path);
    else
        rc = read_stream(ld, f, path, e);
    fclose(f);
    return rc;
}

int conf_load_file(struct conf_loading *ld, struct err *e)
{
    const char *path = ld->from->file;
    struct stat st;

    if (path == NULL)
        path = getenv("MTA_CONFIG");
    if (path != NULL && *path != '\0')
        return read_path(ld, path, e);
    /* Only the default file may be missing; an unreadable one is an error. */
    if (stat(usual, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    return read_path(ld, usual, e);
}

int conf_load_text(struct conf_loading *ld, const char *text, struct err *e)
{
    struct reading r = { .ld = ld, .path = "text" };

    config_init(&r.cfg);
    int rc = config_read_string(&r.cfg, text) == CONFIG_TRUE
                 ? walk(&r, config_root_setting(&r.cfg), "", e)
                 : syntax(&r, e);
    config_destroy(&r.cfg);
    return rc;
}
