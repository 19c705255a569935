#include "base/memory.h"

#include "base/span.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_HERE = 4096 };

/* The names of one version of control groups. */
struct cgroup {
    const char *mount, *limit, *usage;
    const char *inactive, *active; /* lines of memory.stat: page cache */
};

static const struct cgroup v1 = { "/sys/fs/cgroup/memory",
                                  "memory.limit_in_bytes",
                                  "memory.usage_in_bytes",
                                  "total_inactive_file", "total_active_file" };
static const struct cgroup v2 = { "/sys/fs/cgroup", "memory.max",
                                  "memory.current", "inactive_file",
                                  "active_file" };

static FILE *open_file(const char *root, const char *dir, const char *name)
{
    char path[LINE_MAX_HERE];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, dir, name);

    return n < 0 || (size_t)n >= sizeof path ? NULL : fopen(path, "re");
}

/* The number behind `key` and blanks in a file of such lines; with the key
 * "" that on the first line.  False: none ("max", no such file). */
static bool number(FILE *f, const char *key, unsigned long long *out)
{
    char line[256];
    size_t n = strlen(key);
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, n) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        struct span s = span_trim(span_of(line + n));
        found =
            span_u64((struct span){ s.p, span_find(s, ' ') }, ULLONG_MAX, out);
        if (n == 0)
            break;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

/* What one group leaves; without a limit ULLONG_MAX. */
static unsigned long long group_left(const char *root, const struct cgroup *g,
                                     const char *dir)
{
    unsigned long long limit, usage, cache = 0, part;

    if (!number(open_file(root, dir, g->limit), "", &limit) ||
        !number(open_file(root, dir, g->usage), "", &usage))
        return ULLONG_MAX;
    if (number(open_file(root, dir, "memory.stat"), g->inactive, &part))
        cache += part;
    if (number(open_file(root, dir, "memory.stat"), g->active, &part))
        cache += part;
    usage -= cache < usage ? cache : usage;
    return usage < limit ? limit - usage : 0;
}

/* The group and all above it.  In a container the path may be one that only
 * the host can see: its own group is then the mount itself. */
static unsigned long long groups_left(const char *root, const struct cgroup *g,
                                      const char *path)
{
    char dir[LINE_MAX_HERE];
    size_t mount = strlen(g->mount);
    unsigned long long least = ULLONG_MAX;

    snprintf(dir, sizeof dir, "%s%s", g->mount, path);
    for (;;) {
        unsigned long long left = group_left(root, g, dir);
        least = left < least ? left : least;
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < mount)
            return least;
        *slash = '\0';
    }
}

/* Lines "0::/path" of version 2, "4:cpu,memory:/path" of version 1. */
static unsigned long long cgroup_left(const char *root)
{
    char line[LINE_MAX_HERE];
    unsigned long long least = ULLONG_MAX;
    FILE *f = open_file(root, "/proc/self", "cgroup");

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        bool memory = strstr(names, "memory") != NULL;
        if (!memory && strcmp(names, ":") != 0)
            continue;
        unsigned long long left = groups_left(root, memory ? &v1 : &v2, path);
        least = left < least ? left : least;
    }
    if (f != NULL)
        fclose(f);
    return least;
}

unsigned long long memory_left(const char *root)
{
    unsigned long long kib, machine = ULLONG_MAX, group = cgroup_left(root);

    if (number(open_file(root, "/proc", "meminfo"), "MemAvailable:", &kib))
        machine = kib > ULLONG_MAX / 1024 ? ULLONG_MAX : kib * 1024;
    if (machine > group)
        machine = group;
    return machine == ULLONG_MAX ? 0 : machine;
}
