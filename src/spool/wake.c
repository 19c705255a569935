#include "spool/wake_private.h"

#include "base/os.h"
#include "spool/segment_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int spool_wake_open(const char *dir, struct err *e)
{
    char path[SPOOL_PATH];
    struct stat st;

    if (!os_path(path, sizeof path, dir, "wake"))
        return err_set(e, ERR_USAGE, ENAMETOOLONG, "queue directory");
    if (mkfifo(path, 0600) != 0 && errno != EEXIST)
        return err_set(e, ERR_TEMP, errno, "make %s", path);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        return fd;
    close(fd);
    return err_set(e, ERR_PERM, 0, "%s is no FIFO: remove it", path);
}

void spool_wake_send(int fd, bool new_file)
{
    ssize_t n;

    do
        n = write(fd, new_file ? "s" : "c", 1);
    while (n < 0 && errno == EINTR);
}

/* A FIFO that was full may have lost the byte for a new file. */
bool spool_wake_drain(int fd)
{
    enum { NEARLY_FULL = 2048 };
    char in[4096];
    size_t sum = 0;
    bool look = false;
    ssize_t n;

    while ((n = read(fd, in, sizeof in)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        sum += (size_t)n;
        look |= memchr(in, 's', (size_t)n) != NULL;
    }
    return look || sum >= NEARLY_FULL;
}
