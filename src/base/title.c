#include "base/title.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

extern char **environ;

enum { THREAD_NAME = 16 };

static char *area; /* NULL: not open */
static size_t area_size;

static size_t count(char **list)
{
    size_t n = 0;

    while (list[n] != NULL)
        n++;
    return n;
}

/* The end of the block that begins before `end` and goes on with the strings
 * of the list, as far as these lie one behind the other. */
static char *extend(char *end, char **list)
{
    for (; *list != NULL && *list == end; list++)
        end += strlen(*list) + 1;
    return end;
}

/* One block, so that a string is not lost whatever becomes of the list. */
static char **copy(char **list)
{
    size_t n = count(list), size = (n + 1) * sizeof *list;

    for (size_t i = 0; i < n; i++)
        size += strlen(list[i]) + 1;
    char **to = calloc(1, size);
    if (to == NULL)
        return NULL;
    char *at = (char *)(to + n + 1);
    for (size_t i = 0; i < n; i++) {
        to[i] = at;
        at = stpcpy(at, list[i]) + 1;
    }
    return to;
}

char **title_open(int argc, char **argv)
{
    /* Static so that leak checkers see them; volatile so that the compiler
     * keeps stores that nothing reads. */
    static char **volatile args, **volatile variables;

    if (argc < 1 || argv[0] == NULL)
        return argv;
    args = copy(argv);
    variables = copy(environ);
    if (args == NULL || variables == NULL)
        return argv;
    area = argv[0];
    char *end = extend(area, argv);
    area_size = (size_t)(extend(end, environ) - area);
    environ = variables;
    return args;
}

void title_set(const char *fmt, ...)
{
    char text[128], name[THREAD_NAME];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(name, sizeof name, "mta-%.11s", text);
    prctl(PR_SET_NAME, name);
    if (area == NULL)
        return;
    memset(area, 0, area_size);
    (void)snprintf(area, area_size, "mta: %s", text);
}
