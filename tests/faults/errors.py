"""Which errors each call is given: those that mean something different to the
one who called; and those that last, such as a full disk."""

from errno import (EACCES, EADDRINUSE, EAGAIN, ECHILD, ECONNABORTED,
                   ECONNREFUSED, ECONNRESET, EINTR, EINVAL, EIO,
                   EMFILE, ENETUNREACH, ENFILE, ENOBUFS, ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS,
                   EPERM, EPIPE, ETIMEDOUT)

from page import SHORT

ONCE = {
    "malloc": [ENOMEM], "calloc": [ENOMEM], "realloc": [ENOMEM],
    "open": [EMFILE, ENOENT, EACCES, ENOSPC, EINTR],
    "openat": [EMFILE, ENOENT, EACCES, ENOSPC, EINTR],
    "close": [EIO, EINTR],
    "fopen": [EMFILE], "opendir": [ENFILE], "fdopendir": [ENOMEM],
    "readdir": [EIO], "getcwd": [ENOENT],
    "read": [EIO, EINTR, SHORT], "pread": [EIO, EINTR, SHORT],
    "write": [ENOSPC, EIO, EINTR, SHORT],
    "pwritev": [ENOSPC, EIO, EINTR, SHORT],
    "fsync": [EIO, ENOSPC], "fdatasync": [EIO, ENOSPC],
    "syncfs": [EIO, ENOSYS], "fstatat": [EACCES],
    "statx": [EACCES, ENOSYS], "unlinkat": [EACCES],
    "posix_fallocate": [ENOSPC, EINTR], "ftruncate": [EIO, EINTR],
    "rename": [ENOSPC, EIO], "link": [ENOSPC, EPERM], "unlink": [EIO],
    "renameat": [ENOSPC, EIO], "readlinkat": [EACCES],
    "renameat2": [ENOSPC, EIO, EINVAL], "linkat": [ENOSPC, EIO, EPERM],
    "mkdir": [ENOSPC, EACCES], "mkdirat": [ENOSPC, EACCES],
    "mkfifo": [ENOSPC, EPERM],
    "flock": [ENOLCK, EINTR],
    "stat": [EACCES, ENOMEM], "lstat": [EACCES], "fstat": [EIO],
    "statvfs": [EIO, EINTR], "fstatvfs": [EIO], "access": [EACCES],
    "fchown": [EPERM], "fchmod": [EPERM],
    "fcntl": [EMFILE, ENOLCK], "pipe": [EMFILE], "mmap": [ENOMEM],
    "mlock": [ENOMEM],
    "socket": [EMFILE, ENOBUFS], "bind": [EADDRINUSE, EACCES],
    "listen": [EADDRINUSE],
    "accept4": [EMFILE, ECONNABORTED, EINTR, ENOMEM, EPERM, ENOSYS],
    "accept": [EMFILE, ECONNABORTED, EINTR, ENOMEM, EPERM],
    "connect": [ECONNREFUSED, ENETUNREACH, ETIMEDOUT, EINTR],
    "setsockopt": [ENOBUFS], "getsockopt": [ENOBUFS],
    "getsockname": [ENOBUFS],
    "recv": [ECONNRESET, EINTR, EAGAIN, ENOMEM, SHORT],
    "send": [EPIPE, ENOBUFS, EINTR, SHORT],
    "sendmsg": [EPIPE, ENOBUFS, EINTR, EAGAIN, SHORT],
    "recvmsg": [EINTR, ENOMEM],
    "shutdown": [ENOBUFS],
    "socketpair": [EMFILE], "memfd_create": [EMFILE, ENOMEM],
    "fchdir": [EACCES],
    "select": [EINTR, ENOMEM], "pselect": [EINTR, ENOMEM],
    "poll": [EINTR, ENOMEM],
    "fork": [EAGAIN], "waitpid": [EINTR, ECHILD], "pthread_create": [EAGAIN],
    "msgget": [ENOSPC, EACCES], "msgctl": [EPERM],
    "msgsnd": [EAGAIN, EINTR, ENOMEM], "msgrcv": [EINTR, ENOMEM],
    "shmget": [ENOSPC], "shmctl": [EPERM], "shmat": [ENOMEM],
    "getpwnam": [EIO], "getpwnam_r": [EIO], "getpwuid": [EIO],
    "getgrnam": [EIO],
    "getaddrinfo": [EAGAIN], "getifaddrs": [ENOMEM],
    "getrandom": [ENOSYS, EINTR], "gethostname": [EPERM],
    "setuid": [EAGAIN], "setgid": [EPERM], "setgroups": [EPERM],
    "seteuid": [EAGAIN, EPERM], "setegid": [EPERM],
    "initgroups": [ENOMEM], "getrlimit": [EPERM], "setrlimit": [EPERM],
}

# To tell a process that log.key is not there, or its queue somebody else's,
# while others use both, is no failure but a lie.
HONEST = dict(ONCE, open=[EMFILE, EACCES, ENOSPC, EINTR],
              openat=[EMFILE, EACCES, ENOSPC, EINTR], msgget=[ENOSPC])

# What fails next, while a failure is dealt with.
THEN = [("close", EIO), ("unlink", EIO), ("ftruncate", EIO), ("fsync", EIO),
        ("pwritev", EIO), ("write", ENOSPC), ("rename", EIO), ("open", EMFILE),
        ("flock", ENOLCK), ("malloc", ENOMEM), ("msgsnd", EAGAIN),
        ("fdatasync", EIO)]

# From the nth on, of all calls named.
LASTING = {
    "open": [ENOSPC, EMFILE], "openat": [ENOSPC, EMFILE], "pwritev": [ENOSPC, EIO], "write": [ENOSPC],
    "fdatasync": [EIO], "fsync": [EIO], "posix_fallocate": [ENOSPC],
    "rename": [ENOSPC], "renameat": [ENOSPC], "renameat2": [ENOSPC],
    "linkat": [ENOSPC],
    "mkdir": [ENOSPC], "seteuid": [EAGAIN],
    "mkdirat": [ENOSPC], "socket": [EMFILE],
    "accept4": [EMFILE, ENFILE], "opendir": [EMFILE], "pipe": [EMFILE],
    "fcntl": [EMFILE], "malloc": [ENOMEM], "calloc": [ENOMEM],
    "fork": [EAGAIN], "pthread_create": [EAGAIN], "mmap": [ENOMEM],
    "connect": [ENETUNREACH], "sendmsg": [EPIPE], "msgsnd": [EAGAIN],
    "statvfs": [EIO], "select": [ENOMEM], "pselect": [ENOMEM],
}
