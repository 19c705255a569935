/* print.c - print values for the file, as text and as JSON; print the table as
 * sample file, effective values and manual. */
#include "base/host_port.h"
#include "config/element.h"
#include "config/load.h"
#include "config/value.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static const char hidden[] = "***";

static void quoted(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            putc('\\', out);
        putc(*s, out);
    }
    putc('"', out);
}

static long long number_of(const struct conf *c, const struct conf_item *it)
{
    long long v;

    memcpy(&v, (const char *)c + it->offset, sizeof v);
    return v;
}

static const char *word_of(const struct conf *c, const struct conf_item *it)
{
    int v;

    memcpy(&v, (const char *)c + it->offset, sizeof v);
    return it->words[v];
}

static const char *text_of(const struct conf *c, const struct conf_item *it)
{
    const char *s = (const char *)c + it->offset;

    return it->type == CONF_SECRET && *s != '\0' ? hidden : s;
}

static void put_time(FILE *out, long long v)
{
    if (v == 0)
        fputs("\"0\"", out);
    else if (v % 86400 == 0)
        fprintf(out, "\"%lldd\"", v / 86400);
    else if (v % 3600 == 0)
        fprintf(out, "\"%lldh\"", v / 3600);
    else if (v % 60 == 0)
        fprintf(out, "\"%lldm\"", v / 60);
    else
        fprintf(out, "\"%llds\"", v);
}

static void put_size(FILE *out, long long v)
{
    if (v != 0 && v % (1LL << 30) == 0)
        fprintf(out, "\"%lldG\"", v >> 30);
    else if (v != 0 && v % (1LL << 20) == 0)
        fprintf(out, "\"%lldM\"", v >> 20);
    else if (v != 0 && v % (1LL << 10) == 0)
        fprintf(out, "\"%lldK\"", v >> 10);
    else
        fprintf(out, "\"%lld\"", v);
}

typedef void put_fn(FILE *out, const char *s);

static void json_text(FILE *out, const char *s)
{
    json_string(out, span_of(s));
}

struct list_value {
    size_t n;
    const char *item;
};

static struct list_value list_of(const struct conf *c,
                                 const struct conf_item *it)
{
    struct list_value l;

    memcpy(&l, (const char *)c + it->offset, sizeof l);
    return l;
}

void conf_entry(char out[CONF_ENTRY_TEXT], const struct conf *c,
                const char *key, size_t element)
{
    const struct conf_item *it = conf_find(span_of(key));
    const struct conf_element *t = conf_element_of(it->type);

    t->text(out, list_of(c, it).item + element * t->size);
}

/* Print words and elements between brackets, with or without blanks. */
static void put_list(FILE *out, const struct conf *c,
                     const struct conf_item *it, put_fn *put, bool blanks)
{
    char text[CONF_ELEMENT_TEXT];
    unsigned bits;
    size_t count = 0;

    putc('[', out);
    struct list_value l = list_of(c, it);
    for (size_t i = 0; it->type != CONF_WORDS && i < l.n; i++) {
        const struct conf_element *t = conf_element_of(it->type);
        t->text(text, l.item + i * t->size);
        fputs(i > 0 ? "," : "", out);
        fputs(blanks ? " " : "", out);
        put(out, text);
    }
    memcpy(&bits, (const char *)c + it->offset, sizeof bits);
    for (size_t i = 0; it->type == CONF_WORDS && it->words[i] != NULL; i++)
        if ((bits >> i & 1) != 0) {
            fputs(count++ > 0 ? "," : "", out);
            fputs(blanks ? " " : "", out);
            put(out, it->words[i]);
        }
    fputs(blanks ? " ]" : "]", out);
}

/* Print a value that is the same in the file and in JSON. */
static void put_text(FILE *out, const struct conf *c,
                     const struct conf_item *it, put_fn *put)
{
    const char *field = (const char *)c + it->offset;
    struct conf_users u;
    struct conf_token t;
    char text[CONF_PATH_MAX + 16] = "";

    switch (it->type) {
    case CONF_ENUM: put(out, word_of(c, it)); return;
    case CONF_USERS:
        memcpy(&u, field, sizeof u);
        if (u.source == CONF_USERS_FILE)
            snprintf(text, sizeof text, "file:%s", u.path);
        put(out, u.source == CONF_USERS_FILE  ? text
                 : u.source == CONF_USERS_ANY ? "any"
                                              : "passwd");
        return;
    case CONF_TOKEN:
        memcpy(&t, field, sizeof t);
        if (t.source != CONF_TOKEN_NONE)
            snprintf(text, sizeof text, "%s:%s",
                     t.source == CONF_TOKEN_FILE ? "file" : "command", t.path);
        put(out, text);
        return;
    default: put(out, text_of(c, it)); return;
    }
}

void conf_print(FILE *out, const struct conf *c, const struct conf_item *it)
{
    if (conf_is_list(it))
        put_list(out, c, it, quoted, true);
    else if (it->type == CONF_INT)
        fprintf(out, "%lld", number_of(c, it));
    else if (it->type == CONF_TIME)
        put_time(out, number_of(c, it));
    else if (it->type == CONF_SIZE)
        put_size(out, number_of(c, it));
    else
        put_text(out, c, it, quoted);
}

void conf_print_json(FILE *out, const struct conf *c,
                     const struct conf_item *it)
{
    if (conf_is_list(it))
        put_list(out, c, it, json_text, false);
    else if (it->type == CONF_INT || it->type == CONF_TIME ||
             it->type == CONF_SIZE)
        fprintf(out, "%lld", number_of(c, it));
    else
        put_text(out, c, it, json_text);
}

/* --- the table, printed ------------------------------------------------ */

/* Print all values but secrets, of which copies would stay in memory. */
static bool all_values(char **text, size_t *n, const struct conf *c)
{
    FILE *out = open_memstream(text, n);

    if (out == NULL)
        return false;
    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        if (it->type == CONF_SIZE && it->derive != NULL &&
            strcmp(conf_origin(c, it), "default") == 0)
            continue; /* measured */
        conf_print(out, c, it);
        putc('\n', out);
    }
    return fclose(out) == 0;
}

static bool same_secrets(const struct conf *a, const struct conf *b)
{
    for (size_t i = 0; i < nconf_items; i++) {
        size_t at = conf_items[i].offset;
        if (conf_items[i].type == CONF_SECRET &&
            strcmp((const char *)a + at, (const char *)b + at) != 0)
            return false;
    }
    return true;
}

bool conf_same(const struct conf *a, const struct conf *b)
{
    char *text[2] = { NULL, NULL };
    size_t n[2] = { 0, 0 };
    bool same = same_secrets(a, b) && all_values(&text[0], &n[0], a) &&
                all_values(&text[1], &n[1], b) && n[0] == n[1] &&
                memcmp(text[0], text[1], n[0]) == 0;

    free(text[0]);
    free(text[1]);
    return same;
}

static struct span group_of(const char *key)
{
    const char *dot = strchr(key, '.');

    return (struct span){ key, dot == NULL ? 0 : (size_t)(dot - key) };
}

static const char *name_of(const char *key)
{
    const char *dot = strchr(key, '.');

    return dot == NULL ? key : dot + 1;
}

static void put_bound(FILE *out, const struct conf_item *it, long long v)
{
    static const struct {
        long long factor;
        const char *unit;
        enum conf_type type;
    } units[] = { { 86400, "d", CONF_TIME },     { 3600, "h", CONF_TIME },
                  { 60, "m", CONF_TIME },        { 1, "s", CONF_TIME },
                  { 1LL << 30, "G", CONF_SIZE }, { 1LL << 20, "M", CONF_SIZE },
                  { 1LL << 10, "K", CONF_SIZE } };

    for (size_t i = 0; v > 0 && i < sizeof units / sizeof units[0]; i++)
        if (units[i].type == it->type && v % units[i].factor == 0) {
            fprintf(out, "%lld%s", v / units[i].factor, units[i].unit);
            return;
        }
    fprintf(out, "%lld", v);
}

static void put_words(FILE *out, const struct conf_item *it)
{
    for (size_t i = 0; it->words[i] != NULL; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", it->words[i]);
}

/* "Number, 1 to 256."; nothing for plain text. */
static void put_type(FILE *out, const struct conf_item *it)
{
    static const char *const kinds[] = {
        [CONF_INT] = "Number, ",
        [CONF_TIME] = "Time, ",
        [CONF_SIZE] = "Size, ",
        [CONF_ENUM] = "One of ",
        [CONF_WORDS] = "List of ",
        [CONF_DOMAINS] = "List of domains",
        [CONF_ADDRS] = "List of address or address:port",
        [CONF_NETWORKS] = "List of networks",
        [CONF_LISTENERS] =
            "List of address:port, address:port tls or unix:PATH",
        [CONF_DKIM_KEYS] = "List of domain:selector:file",
        [CONF_ROUTES] = "List of domain=host or domain=host:port",
        [CONF_HOPS] = "List of host or host:port",
        [CONF_RELAYS] = "List of domain or domain=file:PATH",
        [CONF_FILES] = "List of files",
        [CONF_PROVIDERS] = "List of group=host or group=.suffix",
        [CONF_TLS_RULES] = "List of domain=level or [host]:port=level",
        [CONF_LOGINS] = "List of logins",
        [CONF_REWRITES] = "List of rules",
    };

    fputs(kinds[it->type], out);
    if (it->type == CONF_INT || it->type == CONF_TIME ||
        it->type == CONF_SIZE) {
        put_bound(out, it, it->min);
        fputs(" to ", out);
        put_bound(out, it, it->max);
    } else if (it->words != NULL) {
        put_words(out, it);
    }
    putc('.', out);
}

/* Print the default as in the file, through parser and printer. */
static void put_fallback(FILE *out, const struct conf_item *it)
{
    static struct conf scratch; /* too large for the stack */
    struct err e;

    if (conf_set(&scratch, it, span_of(it->fallback), &e) == 0)
        conf_print(out, &scratch, it);
    conf_list_free(&scratch, it);
}

/* Print words, wrapped at column 79. */
static void put_wrapped(FILE *out, const char *text, const char *lead)
{
    size_t column = 0;

    for (struct span rest = span_of(text); rest.n > 0;) {
        size_t n = span_find(rest, ' ');
        if (column == 0 || column + 1 + n > 78) {
            fprintf(out, "%s%s#", column > 0 ? "\n" : "", lead);
            column = strlen(lead) + 1;
        }
        fprintf(out, " %.*s", (int)n, rest.p);
        column += 1 + n;
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    putc('\n', out);
}

/* Types that need no line of their own beside the help. */
static bool is_plain_text(const struct conf_item *it)
{
    return it->type <= CONF_MAILBOX || it->type == CONF_USERS ||
           it->type == CONF_TOKEN;
}

static void dump_item(FILE *out, const struct conf_item *it)
{
    const char *lead = group_of(it->key).n > 0 ? "    " : "";
    char derived[160];

    put_wrapped(out, it->help, lead);
    if (!is_plain_text(it)) {
        fprintf(out, "%s# ", lead);
        put_type(out, it);
        putc('\n', out);
    }
    if (it->derive != NULL) {
        snprintf(derived, sizeof derived, "Default: %s.", it->derived);
        put_wrapped(out, derived, lead);
    }
    fprintf(out, "%s#%s = ", lead, name_of(it->key));
    put_fallback(out, it);
    fputs(";\n", out);
}

static const char dump_head[] =
    "# mta.conf - settings of mta, with their defaults (mta config --dump).\n"
    "#\n"
    "# A line \"#name = value;\" shows a default; remove the # to change "
    "it.\n"
    "# Times: \"30s\" \"5m\" \"4h\" \"5d\".  Sizes: \"64K\" \"50M\" \"2G\".\n"
    "# Each setting is also a flag (-o serve.workers=4) and an environment\n"
    "# variable (MTA_SERVE_WORKERS=4; MTA_SERVE_WORKERS_FILE names a file "
    "that\n"
    "# holds the value).  Check a change: mta config --check -c FILE\n";

void conf_dump(FILE *out)
{
    struct span group = { "", 0 };

    fputs(dump_head, out);
    for (size_t i = 0; i < nconf_items; i++) {
        struct span g = group_of(conf_items[i].key);
        if (!span_eq(g, group)) {
            fputs(group.n > 0 ? "};\n" : "", out);
            fprintf(out, "\n%.*s: {\n", (int)g.n, g.p);
            group = g;
        } else {
            putc('\n', out);
        }
        dump_item(out, &conf_items[i]);
    }
    fputs(group.n > 0 ? "};\n" : "", out);
}

/* --- effective values ------------------------------------------------ */

static void show_text(FILE *out, const struct conf_loading *ld)
{
    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        fprintf(out, "%s = ", it->key);
        conf_print(out, ld->c, it);
        fprintf(out, "  # %s\n", conf_origin(ld->c, it));
    }
}

static void show_json(FILE *out, const struct conf_loading *ld)
{
    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        fputs(i == 0 ? "{" : ",\n ", out);
        json_string(out, span_of(it->key));
        fputs(": {\"value\": ", out);
        conf_print_json(out, ld->c, it);
        fputs(", \"from\": ", out);
        json_string(out, span_of(conf_origin(ld->c, it)));
        putc('}', out);
    }
    fputs("}\n", out);
}

int conf_show(FILE *out, const struct conf_source *from, bool json,
              struct err *e)
{
    struct conf_loading ld;
    struct conf c;

    if (conf_load_all(&ld, &c, from, e) != 0)
        return -1;
    if (json)
        show_json(out, &ld);
    else
        show_text(out, &ld);
    conf_free(&c);
    return 0;
}

/* --- manual ---------------------------------------------------------- */

/* Print one word for mdoc, with roff's special characters escaped; a minus that
 * is no hyphen stays one. */
static void man_word(FILE *out, struct span w, bool first)
{
    if (first && w.n > 0 && (w.p[0] == '.' || w.p[0] == '\''))
        fputs("\\&", out);
    for (size_t i = 0; i < w.n; i++) {
        bool hyphen = i > 0 && i + 1 < w.n && ascii_is_alpha(w.p[i - 1]) &&
                      ascii_is_alpha(w.p[i + 1]);
        if (w.p[i] == '\\')
            fputs("\\e", out);
        else if (w.p[i] == '-' && !hyphen)
            fputs("\\-", out);
        else
            putc(w.p[i], out);
    }
}

/* A new sentence begins a new line, as mdoc wants it. */
static void man_text(FILE *out, const char *text)
{
    size_t column = 0;
    bool ended = false;

    for (struct span rest = span_of(text); rest.n > 0;) {
        size_t n = span_find(rest, ' ');
        bool first = column == 0 || column + 1 + n > 76 || ended;
        if (n == 0) { /* the second of two blanks */
            rest.p++;
            rest.n--;
            continue;
        }
        if (column > 0)
            putc(first ? '\n' : ' ', out);
        man_word(out, (struct span){ rest.p, n }, first);
        column = first ? n : column + 1 + n;
        ended = rest.p[n - 1] == '.';
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    putc('\n', out);
}

void conf_man(FILE *out)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        fprintf(out, ".It Ic %s\n", it->key);
        man_text(out, it->help);
        if (!is_plain_text(it)) {
            put_type(out, it);
            putc('\n', out);
        }
        fputs("Default: ", out);
        if (it->derive != NULL)
            fputs(it->derived, out);
        else
            put_fallback(out, it);
        fputs(".\n", out);
    }
    fputs(".El\n", out);
}
