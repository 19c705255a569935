/* fuzz_config.c - any octets as a value of every type and as a file.
 *
 * What a parser accepts must be within the bounds of its setting and survive
 * being printed. */
#include "config/load.h"
#include "config/value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libconfig 1.5 forgets the text of a string that does not end. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

static FILE *nowhere;
static struct conf conf;

static void accepted(const struct conf_item *it)
{
    long long v;

    if (it->type == CONF_INT || it->type == CONF_TIME ||
        it->type == CONF_SIZE) {
        memcpy(&v, (const char *)&conf + it->offset, sizeof v);
        if (v < it->min || v > it->max)
            abort();
    }
    conf_print(nowhere, &conf, it);
    conf_print_json(nowhere, &conf, it);
}

static void as_value(struct span text)
{
    struct err e;

    for (size_t i = 0; i < nconf_items; i++)
        if (conf_set(&conf, &conf_items[i], text, &e) == 0)
            accepted(&conf_items[i]);
    conf_free(&conf);
}

/* @include would read files of this machine. */
static void as_file(const char *text)
{
    static struct conf_loading ld;
    static const struct conf_source none = { NULL, NULL, 0, NULL, NULL };
    struct err e;

    if (strstr(text, "@include") != NULL)
        return;
    if (conf_load_begin(&ld, &conf, &none, &e) != 0 ||
        conf_load_defaults(&ld, &e) != 0)
        abort();
    if (conf_load_text(&ld, text, &e) == 0) {
        conf_check(&conf, &e);
        for (size_t i = 0; i < nconf_items; i++)
            if (conf_origin(&conf, &conf_items[i])[0] != '\0')
                accepted(&conf_items[i]);
    }
    conf_free(&conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    if (text == NULL || nowhere == NULL)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    as_value((struct span){ text, size });
    as_file(text);
    free(text);
    return 0;
}
