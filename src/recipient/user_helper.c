#include "recipient/user_helper.h"

#include "base/os.h"
#include "recipient/user_line.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

/* --- one look-up -------------------------------------------------------- */

/* The error codes for "not found" are those of getpwnam(3). */
static enum user_found look_up(const char *name, uid_t only)
{
    char memory[16 * 1024];
    struct passwd pw, *found = NULL;
    int rc;

    do
        rc = getpwnam_r(name, &pw, memory, sizeof memory, &found);
    while (rc == EINTR);
    if (found != NULL)
        return only == (uid_t)-1 || pw.pw_uid == only ? USER_YES : USER_NO;
    return rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM
               ? USER_NO
               : USER_TEMP;
}

/* The C library returns "not found", which rejects mail permanently, also
 * without a descriptor or memory; so look up root and then the name again. */
enum user_found user_helper_find(const char *name, uid_t only)
{
    enum user_found u = look_up(name, only);

    if (u != USER_NO || os_has_no_users())
        return u;
    return look_up("root", (uid_t)-1) == USER_YES ? look_up(name, only)
                                                  : USER_TEMP;
}

/* --- the process -------------------------------------------------------- */

static int send_answer(int fd, const char *name, size_t n, uid_t only)
{
    char text[1 + USER_LINE_NAME];
    ssize_t sent;

    switch (user_helper_find(name, only)) {
    case USER_YES: text[0] = USER_LINE_YES; break;
    case USER_NO: text[0] = USER_LINE_NO; break;
    default: text[0] = USER_LINE_TEMP; break;
    }
    memcpy(text + 1, name, n + 1);
    do
        sent = send(fd, text, n + 2, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

int user_helper_run(int fd, uid_t only)
{
    char ask[USER_LINE_MAX];
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return -1;
    for (;;) {
        ssize_t n = recv(fd, ask, sizeof ask, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 || errno == ECONNRESET ? 0 : -1;
        if (ask[n - 1] != '\0')
            return -1;
        for (const char *p = ask; p < ask + n; p += strlen(p) + 1) {
            size_t length = strlen(p);
            if (length >= USER_LINE_NAME)
                return -1;
            if (send_answer(fd, p, length, only) != 0)
                return errno == EPIPE || errno == ECONNRESET ? 0 : -1;
        }
    }
}
