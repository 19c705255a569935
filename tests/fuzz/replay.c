/* replay.c - give a fuzz target every file of a directory, once. */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void replay(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);

    MUST(fd >= 0 && fstat(fd, &st) == 0);
    size_t n = (size_t)st.st_size;
    uint8_t *data = malloc(n + 1);
    MUST(data != NULL && read(fd, data, n) == (ssize_t)n);
    close(fd);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
}

/* A target that has no seeds yet has nothing to replay. */
int main(int argc, char **argv)
{
    char path[1024];
    DIR *d = argc == 2 ? opendir(argv[1]) : NULL;

    if (d == NULL)
        return argc == 2 ? 0 : 64;
    for (struct dirent *n; (n = readdir(d)) != NULL;)
        if (n->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], n->d_name);
            replay(path);
        }
    closedir(d);
    return 0;
}
