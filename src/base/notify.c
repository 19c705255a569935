#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int address_of(const char *name, struct sockaddr_un *to, socklen_t *size,
                      struct err *e)
{
    size_t n = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || n < 2 || n >= sizeof to->sun_path)
        return err_set(e, ERR_USAGE, 0, "$NOTIFY_SOCKET is no socket: '%s'",
                       name);
    *to = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(to->sun_path, name, n);
    if (name[0] == '@')
        to->sun_path[0] = '\0'; /* and no zero at the end */
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
                        (name[0] == '/'));
    return 0;
}

int notify_send(const char *lines, struct err *e)
{
    const struct timeval patience = { .tv_sec = 1 };
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to;
    socklen_t size = 0;
    ssize_t n;

    if (name == NULL || name[0] == '\0')
        return 0;
    if (address_of(name, &to, &size, e) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_TEMP, errno, "make a socket to notify %s", name);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    do
        n = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL,
                   (const struct sockaddr *)&to, size);
    while (n < 0 && errno == EINTR);
    int why = errno;
    close(fd);
    return n >= 0 ? 0 : err_set(e, ERR_TEMP, why, "notify %s", name);
}

int notify_reloading(struct err *e)
{
    char lines[80];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    return notify_send(lines, e);
}
