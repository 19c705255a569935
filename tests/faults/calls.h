/* calls.h - every call of the system and of the allocator that shim.c can
 * fail, in one list: CALL(name).  The driver reads it too (page.py), for the
 * number of a call is its place here. */
/* clang-format off */
CALL(malloc) CALL(calloc) CALL(realloc)
CALL(open) CALL(openat) CALL(close) CALL(fopen) CALL(opendir) CALL(fdopendir) CALL(readdir)
CALL(read) CALL(pread) CALL(write) CALL(pwritev)
CALL(fsync) CALL(fdatasync) CALL(syncfs) CALL(posix_fallocate) CALL(ftruncate)
CALL(rename) CALL(renameat) CALL(renameat2) CALL(link) CALL(linkat) CALL(unlink) CALL(mkdir)
CALL(mkdirat) CALL(mkfifo) CALL(flock) CALL(readlinkat) CALL(fchmod)
CALL(stat) CALL(lstat) CALL(fstat) CALL(fstatat) CALL(statvfs) CALL(fstatvfs) CALL(access)
CALL(statx) CALL(unlinkat) CALL(getcwd)
CALL(fchown)
CALL(fcntl) CALL(pipe) CALL(mmap) CALL(mlock)
CALL(socket) CALL(bind) CALL(listen) CALL(accept) CALL(accept4)
CALL(connect)
CALL(setsockopt) CALL(getsockopt) CALL(getsockname)
CALL(recv) CALL(recvmsg) CALL(send) CALL(sendmsg) CALL(shutdown)
CALL(socketpair) CALL(memfd_create) CALL(fchdir)
CALL(select) CALL(pselect) CALL(poll)
CALL(fork) CALL(waitpid) CALL(pthread_create)
CALL(msgget) CALL(msgctl) CALL(msgsnd) CALL(msgrcv)
CALL(shmget) CALL(shmctl) CALL(shmat)
CALL(getpwnam) CALL(getpwnam_r) CALL(getpwuid) CALL(getgrnam)
CALL(getaddrinfo) CALL(getifaddrs) CALL(getrandom) CALL(gethostname)
CALL(setuid) CALL(setgid) CALL(seteuid) CALL(setegid) CALL(setgroups) CALL(initgroups)
CALL(getrlimit) CALL(setrlimit)
/* clang-format on */
