/* value.c - text to value, by the type of the setting. */
#include "config/value.h"

#include "base/host_port.h"
#include "config/element.h"

#include <limits.h>
#include <stdlib.h>
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
    return err_set(e, ERR_USAGE, 0,
                   "'%.*s' is not a time (write 30s, 5m, 4h or 5d)",
                   span_clipped(s), s.p);
}

int conf_parse_size(struct span s, long long *bytes, struct err *e)
{
    if (parse_scaled(s, sizes, bytes))
        return 0;
    return err_set(e, ERR_USAGE, 0,
                   "'%.*s' is not a size (write 64K, 50M or 2G)",
                   span_clipped(s), s.p);
}

static int parse_int(struct span s, long long *out, struct err *e)
{
    unsigned long long v;

    if (!span_u64(s, LLONG_MAX, &v))
        return err_set(e, ERR_USAGE, 0, "'%.*s' is not a number",
                       span_clipped(s), s.p);
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
        return err_set(e, ERR_USAGE, 0, "%.*s is out of bounds, %lld to %lld%s",
                       span_clipped(s), s.p, it->min, it->max,
                       it->type == CONF_TIME   ? " seconds"
                       : it->type == CONF_SIZE ? " bytes"
                                               : "");
    memcpy(field, &v, sizeof v);
    return 0;
}

/* --- text ------------------------------------------------------------- */

/* A file of variables for a container keeps the quotes of its values, which a
 * shell removes. */
static bool is_quoted(struct span s)
{
    return s.n > 1 && (s.p[0] == '"' || s.p[0] == '\'') &&
           s.p[s.n - 1] == s.p[0];
}

/* Check a text of any type, or an element of a list. */
static int check_any(const struct conf_item *it, struct span s, struct err *e)
{
    if (span_has_control(s))
        return err_set(e, ERR_USAGE, 0, "control character in the value");
    if (it->type == CONF_SECRET)
        return 0; /* accepted as it is, and never shown */
    if (is_quoted(s))
        return err_set(e, ERR_USAGE, 0,
                       "%.*s has quotation marks in its value: write it"
                       " without them",
                       span_clipped(s), s.p);
    const char *instead = conf_unbuilt_value(it->key, s);
    return instead == NULL
               ? 0
               : err_set(e, ERR_USAGE, 0, "'%.*s' is not in this version%s",
                         span_clipped(s), s.p, instead);
}

static int check_length(const struct conf_item *it, struct span s,
                        struct err *e)
{
    if ((long long)s.n < it->min)
        return err_set(e, ERR_USAGE, 0, "may not be empty");
    if ((long long)s.n > it->max)
        return err_set(e, ERR_USAGE, 0, "longer than %lld characters", it->max);
    return 0;
}

/* Make the path absolute, because a process may change its directory. */
int conf_parse_path(char *field, size_t size, struct span s, struct err *e)
{
    char cwd[CONF_PATH_MAX], whole[CONF_PATH_MAX];

    if (s.n == 0 || s.p[0] == '/' || span_is(s, "-")) {
        span_copy(field, size, s);
        return 0;
    }
    if (getcwd(cwd, sizeof cwd) == NULL)
        return err_set(e, ERR_USAGE, 0,
                       "relative path, and the current directory is unknown");
    if (span_starts_nocase(s, "./"))
        s = (struct span){ s.p + 2, s.n - 2 };
    int n = snprintf(whole, sizeof whole, "%s/%.*s",
                     strcmp(cwd, "/") == 0 ? "" : cwd, (int)s.n, s.p);
    if (n < 0 || (size_t)n >= size || (size_t)n >= sizeof whole)
        return err_set(e, ERR_USAGE, 0, "path too long");
    memcpy(field, whole, (size_t)n + 1);
    return 0;
}

static int set_hostname(char *field, struct span s, struct err *e)
{
    char name[CONF_NAME_MAX];

    if (conf_parse_hostname(name, s, e) != 0)
        return -1;
    memcpy(field, name, sizeof name);
    return 0;
}

static int set_mailbox(char *field, struct span s, struct err *e)
{
    char local[CONF_NAME_MAX], domain[CONF_NAME_MAX];

    if (s.n == 0) {
        field[0] = '\0';
        return 0;
    }
    if (conf_parse_address(local, domain, s, e) != 0)
        return -1;
    int n = snprintf(field, CONF_NAME_MAX, "%s@%s", local, domain);
    if (local[0] != '\0' && domain[0] != '\0' && n < CONF_MAILBOX_MAX)
        return 0;
    return err_set(e, ERR_USAGE, 0,
                   "'%.*s' is not a whole address (write user@example.com)",
                   span_clipped(s), s.p);
}

/* A name as useradd(8) makes them, or a number. */
static int set_account(char *field, const struct conf_item *it, struct span s,
                       struct err *e)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr(" \t:,/@", s.p[i]) != NULL)
            return err_set(e, ERR_USAGE, 0,
                           "'%.*s' is no name of a %s (a name or a number)",
                           span_clipped(s), s.p, it->key);
    span_copy(field, it->size, s);
    return 0;
}

static int set_users(void *field, struct span s, struct err *e)
{
    static const char *const words[] = { "passwd", "any", "file:", NULL };
    struct conf_users u = { CONF_USERS_PASSWD, "" };
    char given[64];

    if (span_is_nocase(s, "any")) {
        u.source = CONF_USERS_ANY;
    } else if (span_starts_nocase(s, "file:") && s.n > 5) {
        u.source = CONF_USERS_FILE;
        s = span_trim((struct span){ s.p + 5, s.n - 5 });
        if (conf_parse_path(u.path, sizeof u.path, s, e) != 0)
            return -1;
    } else if (!span_is_nocase(s, "passwd")) {
        snprintf(given, sizeof given, "%.*s", span_clipped(s), s.p);
        const char *near = conf_nearest_word(words, given);
        return err_set(e, ERR_USAGE, 0,
                       "'%s' should be passwd, any or file:PATH%s%s", given,
                       near != NULL ? "; did you mean " : "",
                       near != NULL ? near : "");
    }
    memcpy(field, &u, sizeof u);
    return 0;
}

static int set_token(void *field, struct span s, struct err *e)
{
    static const char file[] = "file:", command[] = "command:";
    struct conf_token t = { CONF_TOKEN_NONE, "" };
    size_t cut = 0;

    if (span_starts_nocase(s, file)) {
        t.source = CONF_TOKEN_FILE;
        cut = sizeof file - 1;
    } else if (span_starts_nocase(s, command)) {
        t.source = CONF_TOKEN_COMMAND;
        cut = sizeof command - 1;
    }
    if (s.n > 0 && (cut == 0 || s.n == cut))
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' should be file:PATH or command:PATH",
                       span_clipped(s), s.p);
    s = span_trim((struct span){ s.p + cut, s.n - cut });
    if (s.n >= sizeof t.path)
        return err_set(e, ERR_USAGE, 0, "path too long");
    if (conf_parse_path(t.path, sizeof t.path, s, e) != 0)
        return -1;
    memcpy(field, &t, sizeof t);
    return 0;
}

/* --- words ------------------------------------------------------------ */

/* The index of the word, or -1 with *e. */
static int find_word(const struct conf_item *it, struct span s, struct err *e)
{
    char given[64];

    for (int i = 0; it->words[i] != NULL; i++)
        if (span_is_nocase(s, it->words[i]))
            return i;
    snprintf(given, sizeof given, "%.*s", span_clipped(s),
             s.p == NULL ? "" : s.p);
    const char *near = conf_nearest_word(it->words, given);
    err_set(e, ERR_USAGE, 0, "'%s' is not one of", given);
    for (size_t i = 0, n = strlen(e->text); it->words[i] != NULL; i++)
        n += (size_t)snprintf(e->text + n, sizeof e->text - n, "%s %s",
                              i > 0 ? "," : "", it->words[i]);
    if (near != NULL)
        snprintf(e->text + strlen(e->text), sizeof e->text - strlen(e->text),
                 "; did you mean '%s'?", near);
    return -1;
}

static int set_enum(void *field, const struct conf_item *it, struct span s,
                    struct err *e)
{
    int i = find_word(it, s, e);

    if (i < 0)
        return -1;
    memcpy(field, &i, sizeof i);
    return 0;
}

static int check_element(const struct conf_item *it, struct span s,
                         struct err *e)
{
    if (s.n == 0)
        return err_set(e, ERR_USAGE, 0, "empty element in the list");
    if (s.n >= CONF_TEXT_MAX)
        return err_set(e, ERR_USAGE, 0, "element longer than %d characters",
                       CONF_TEXT_MAX - 1);
    return check_any(it, s, e);
}

static int set_words(void *field, const struct conf_item *it,
                     const struct span *el, size_t n, struct err *e)
{
    unsigned bits = 0;

    for (size_t i = 0; i < n; i++) {
        if (check_element(it, el[i], e) != 0)
            return -1;
        int word = find_word(it, el[i], e);
        if (word < 0)
            return -1;
        bits |= 1u << word;
    }
    memcpy(field, &bits, sizeof bits);
    return 0;
}

/* --- lists ------------------------------------------------------------ */

/* The common layout of all lists. */
struct any_list {
    size_t n;
    void *item;
};

bool conf_is_list(const struct conf_item *it)
{
    return it->type == CONF_WORDS || it->type >= CONF_DOMAINS;
}

size_t conf_split(struct span text, struct span el[CONF_LIST_MAX])
{
    size_t n = 0;

    text = span_trim(text);
    if (text.n == 0)
        return 0;
    for (;;) {
        size_t len = span_find(text, ',');
        if (n < CONF_LIST_MAX)
            el[n] = span_trim((struct span){ text.p, len });
        n++;
        if (len == text.n)
            return n;
        text.p += len + 1;
        text.n -= len + 1;
    }
}

static void get_list(struct any_list *l, const struct conf *c,
                     const struct conf_item *it)
{
    memcpy(l, (const char *)c + it->offset, sizeof *l);
}

static void put_list(struct conf *c, const struct conf_item *it,
                     const struct any_list *l)
{
    memcpy((char *)c + it->offset, l, sizeof *l);
}

void conf_list_free(struct conf *c, const struct conf_item *it)
{
    struct any_list l;

    if (it->type < CONF_DOMAINS)
        return;
    get_list(&l, c, it);
    free(l.item);
    put_list(c, it, &(struct any_list){ 0, NULL });
}

static int parse_all(void *out, const struct conf_item *it,
                     const struct span *el, size_t n, struct err *e)
{
    const struct conf_element *t = conf_element_of(it->type);

    for (size_t i = 0; i < n; i++) {
        struct span s = span_trim(el[i]);
        if (check_element(it, s, e) != 0 ||
            t->parse((char *)out + i * t->size, s, e) != 0)
            return -1;
    }
    return 0;
}

/* Replace the elements behind the first `keep`. */
static int replace(struct conf *c, const struct conf_item *it, size_t keep,
                   const struct span *el, size_t n, struct err *e)
{
    size_t size = conf_element_of(it->type)->size;
    struct any_list held, made = { keep + n, NULL };

    if ((long long)made.n < it->min)
        return err_set(e, ERR_USAGE, 0, "may not be empty");
    if ((long long)made.n > it->max)
        return err_set(e, ERR_USAGE, 0, "more than %lld elements", it->max);
    get_list(&held, c, it);
    if (made.n > 0 && (made.item = calloc(made.n, size)) == NULL)
        return err_set(e, ERR_TEMP, 0, "out of memory");
    if (keep > 0)
        memcpy(made.item, held.item, keep * size);
    if (n > 0 &&
        parse_all((char *)made.item + keep * size, it, el, n, e) != 0) {
        free(made.item);
        return -1;
    }
    free(held.item);
    put_list(c, it, &made);
    return 0;
}

int conf_set_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e)
{
    if (it->type == CONF_WORDS)
        return set_words((char *)c + it->offset, it, el, n, e);
    return replace(c, it, 0, el, n, e);
}

int conf_add_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e)
{
    struct any_list held;

    get_list(&held, c, it);
    return replace(c, it, held.n, el, n, e);
}

/* ---------------------------------------------------------------------- */

/* Other systems have the kind of a table in front of its path, and words for
 * standard output and the system's log. */
static int check_path(const struct conf_item *it, struct span s, struct err *e)
{
    static const char *const outputs[] = { "stdout", "stderr", "syslog",
                                           "journal" };
    size_t colon = span_find(s, ':');
    bool is_log = it->offset == offsetof(struct conf, log.file);

    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0] && is_log; i++)
        if (span_is_nocase(s, outputs[i]))
            return err_set(e, ERR_USAGE, 0,
                           "'%s' is no path; \"-\" is standard output, which"
                           " a service manager collects",
                           outputs[i]);
    if (s.n > 0 && s.p[0] == '~')
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s': only local.mail_dir begins with ~/",
                       span_clipped(s), s.p);
    if (s.n > colon + 1 && s.p[colon + 1] == '/' && span_find(s, '/') > colon)
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' has a word in front of the path (write %.*s)",
                       span_clipped(s), s.p, (int)(s.n - colon - 1),
                       s.p + colon + 1);
    return 0;
}

/* A mailbox below each home directory is no path from the working directory.
 * A slash at its end, with which Postfix asks for a Maildir, means nothing. */
static int set_path(char *field, const struct conf_item *it, struct span s,
                    struct err *e)
{
    if (it->offset != offsetof(struct conf, local.mail_dir) ||
        !span_starts_nocase(s, "~/"))
        return check_path(it, s, e) == 0
                   ? conf_parse_path(field, it->size, s, e)
                   : -1;
    while (s.n > 3 && s.p[s.n - 1] == '/')
        s.n--;
    span_copy(field, it->size, s);
    return 0;
}

static int set_text(char *field, const struct conf_item *it, struct span s,
                    struct err *e)
{
    if (check_length(it, s, e) != 0)
        return -1;
    switch (it->type) {
    case CONF_PATH: return set_path(field, it, s, e);
    case CONF_ACCOUNT: return set_account(field, it, s, e);
    case CONF_HOSTNAME: return set_hostname(field, s, e);
    case CONF_MAILBOX: return set_mailbox(field, s, e);
    default: break;
    }
    span_copy(field, it->size, s);
    return 0;
}

int conf_set(struct conf *c, const struct conf_item *it, struct span s,
             struct err *e)
{
    struct span el[CONF_LIST_MAX];
    char *field = (char *)c + it->offset;

    if (it->type != CONF_SECRET)
        s = span_trim(s);
    if (conf_is_list(it)) {
        if (is_quoted(s))
            return check_any(it, s, e);
        return conf_set_list(c, it, el, conf_split(s, el), e);
    }
    if (check_any(it, s, e) != 0)
        return -1;
    switch (it->type) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_SIZE: return set_number(field, it, s, e);
    case CONF_ENUM: return set_enum(field, it, s, e);
    case CONF_USERS: return set_users(field, s, e);
    case CONF_TOKEN: return set_token(field, s, e);
    default: return set_text(field, it, s, e);
    }
}
