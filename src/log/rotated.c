#include "log/rotated.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What stands behind the name of the file: ".1", ".2.gz", "-20260131". */
static bool is_rotated(const char *tail, bool *packed)
{
    static const char *const suffixes[] = { ".gz", ".xz", ".zst", ".bz2" };
    size_t n = 0;

    if (tail[0] != '.' && tail[0] != '-')
        return false;
    while (ascii_is_digit(tail[1 + n]) || (n > 0 && tail[1 + n] == '-'))
        n++;
    tail += 1 + n;
    *packed = false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        *packed |= strcmp(tail, suffixes[i]) == 0;
    return n > 0 && (*tail == '\0' || *packed);
}

static int by_age(const void *a, const void *b)
{
    const struct rotated_file *x = a, *y = b;

    if (x->changed != y->changed)
        return x->changed < y->changed ? -1 : 1;
    return strcmp(y->path, x->path); /* .2 before .1 */
}

static void add(struct rotated *r, const char *dir, const char *name,
                bool packed)
{
    struct rotated_file *f = &r->file[r->n];
    struct stat st;
    int n = snprintf(f->path, sizeof f->path, "%s/%s", dir, name);

    if (n < 0 || (size_t)n >= sizeof f->path || stat(f->path, &st) != 0 ||
        !S_ISREG(st.st_mode))
        return;
    f->changed = (uint64_t)st.st_mtim.tv_sec * 1000000u +
                 (uint64_t)st.st_mtim.tv_nsec / 1000u;
    f->packed = packed;
    r->n++;
}

void rotated_find(struct rotated *r, const char *file)
{
    char dir[ROTATED_PATH_MAX];
    const char *slash = strrchr(file, '/');
    const char *base = slash != NULL ? slash + 1 : file;
    size_t n = strlen(base);
    struct dirent *entry;
    bool packed;

    r->n = 0;
    if (slash == NULL)
        span_copy(dir, sizeof dir, span_of("."));
    else if (!span_copy(dir, sizeof dir,
                        (struct span){ file, (size_t)(slash - file) }))
        return;
    DIR *d = opendir(dir[0] != '\0' ? dir : "/");
    if (d == NULL)
        return;
    while (r->n < ROTATED_MAX && (entry = readdir(d)) != NULL)
        if (strncmp(entry->d_name, base, n) == 0 &&
            is_rotated(entry->d_name + n, &packed))
            add(r, dir, entry->d_name, packed);
    closedir(d);
    qsort(r->file, r->n, sizeof r->file[0], by_age);
}
