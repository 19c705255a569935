/* print.c - values as text: for the file, for people and as JSON. */
#include "config/value.h"

#include "base/json.h"

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

static const struct conf_list *list_of(const struct conf *c,
                                       const struct conf_item *it)
{
    return (const struct conf_list *)(const void *)((const char *)c +
                                                    it->offset);
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

void conf_print(FILE *out, const struct conf *c, const struct conf_item *it)
{
    const struct conf_list *l = list_of(c, it);

    switch (it->type) {
    case CONF_INT: fprintf(out, "%lld", number_of(c, it)); break;
    case CONF_TIME: put_time(out, number_of(c, it)); break;
    case CONF_SIZE: put_size(out, number_of(c, it)); break;
    case CONF_ENUM: quoted(out, word_of(c, it)); break;
    case CONF_LIST:
        putc('[', out);
        for (size_t i = 0; i < l->n; i++) {
            fputs(i > 0 ? ", " : " ", out);
            quoted(out, l->item[i]);
        }
        fputs(" ]", out);
        break;
    case CONF_STRING:
    case CONF_PATH:
    case CONF_SECRET: quoted(out, text_of(c, it)); break;
    }
}

void conf_print_json(FILE *out, const struct conf *c,
                     const struct conf_item *it)
{
    const struct conf_list *l = list_of(c, it);

    switch (it->type) {
    case CONF_INT:
    case CONF_TIME:
    case CONF_SIZE: fprintf(out, "%lld", number_of(c, it)); break;
    case CONF_ENUM: json_string(out, span_of(word_of(c, it))); break;
    case CONF_LIST:
        putc('[', out);
        for (size_t i = 0; i < l->n; i++) {
            fputs(i > 0 ? "," : "", out);
            json_string(out, span_of(l->item[i]));
        }
        putc(']', out);
        break;
    case CONF_STRING:
    case CONF_PATH:
    case CONF_SECRET: json_string(out, span_of(text_of(c, it))); break;
    }
}
