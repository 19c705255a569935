/* base/fs.h - the system calls that decide what is on the disk.
 *
 * All code that must survive a power cut (spool, Maildir, mbox) calls these and
 * no others.  A test replaces them with a recorder or a fault injector through
 * fs_replace(); in production each is the system call of its name, repeated on
 * EINTR. They return what the system call returns, with errno. */
#ifndef MTA_BASE_FS_H
#define MTA_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct fs_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*openat)(int dir, const char *name, int flags, mode_t mode);
    int (*unnamed)(int dir, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pwritev)(int fd, const struct iovec *v, int n, off_t at);
    ssize_t (*write)(int fd, const void *p, size_t n); /* for O_APPEND */
    ssize_t (*pread)(int fd, void *p, size_t n, off_t at);
    int (*allocate)(int fd, off_t size); /* posix_fallocate, but sets errno */
    int (*truncate)(int fd, off_t size);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*syncfs)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*renameat)(int dir, const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int (*rename_new)(int from_dir, const char *from, int to_dir,
                      const char *to);
    int (*name)(int fd, int dir, const char *name);
    int (*unlink)(const char *path);
    int (*unlinkat)(int dir, const char *name);
    int (*mkdir)(const char *path, mode_t mode);
    int (*mkdirat)(int dir, const char *name, mode_t mode);
    int (*lock)(int fd, int operation); /* flock(2) */
    int (*magic)(int fd, unsigned long *magic);
};

extern const struct fs_ops fs_system; /* the real ones */

/* Replace the calls below the fs_ functions.  NULL: back to the system.  Not
 * while other threads are in them. */
void fs_replace(const struct fs_ops *ops);

int fs_open(const char *path, int flags, mode_t mode); /* adds O_CLOEXEC */
int fs_openat(int dir, const char *name, int flags, mode_t mode); /* too */
/* A file for writing that has no name yet (O_TMPFILE), and its first name,
 * never in place of another file: EEXIST.  A crash in between leaves nothing.
 * See fs_type_keeps_unnamed(). */
int fs_unnamed(int dir, mode_t mode);
int fs_name(int fd, int dir, const char *name);
int fs_close(int fd);
ssize_t fs_write(int fd, const void *p, size_t n);
ssize_t fs_pread(int fd, void *p, size_t n, off_t at);
int fs_allocate(int fd, off_t size);
int fs_truncate(int fd, off_t size);
int fs_fdatasync(int fd);
int fs_fsync(int fd);

/* fsync() for all files and directories of fd's file system; it reports every
 * failure since fd was opened.  ENOSYS where the system has no such call, or
 * one that does not report failures (Linux before 5.8), or where that is not
 * known of the file system. */
int fs_syncfs(int fd);

/* Start writing the file to the disk, without waiting and without promise: when
 * many files are to be synced, all are in progress when the first sync waits,
 * and its journal commit serves the others. */
void fs_start_sync(int fd);
int fs_rename(const char *from, const char *to);
int fs_renameat(int dir, const char *from, const char *to); /* in one */
/* Never in place of another file: EEXIST.  EINVAL: the file system cannot. */
int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to);
int fs_unlink(const char *path);
int fs_unlinkat(int dir, const char *name);
int fs_mkdir(const char *path, mode_t mode);
int fs_mkdirat(int dir, const char *name, mode_t mode);
int fs_lock(int fd, int operation);
/* f_type of fstatfs(2): see base/fs_type.h. */
int fs_magic(int fd, unsigned long *magic);

/* Built on them.  0, or -1 with errno; a short write is continued, so
 * failure means that some of it may be written. */
int fs_pwrite_all(int fd, const void *p, size_t n, off_t at);
int fs_pwritev_all(int fd, struct iovec *v, int n, off_t at); /* eats v */
int fs_write_all(int fd, const void *p, size_t n);
int fs_pread_all(int fd, void *p, size_t n, off_t at); /* EOF: errno EIO */
int fs_sync_dir(const char *path);                     /* open, fsync, close */
/* Sync the directories above path, up to the root (of a relative path: up to
 * the current one). path must not end in a slash.  Directories that refuse
 * because of their owner or a read-only disk are left out. */
int fs_sync_above(const char *path);

/* The identity of a file.  Inode numbers are reused at once; the time of birth
 * (to a tick of the clock, some ms) tells them apart, where the file system
 * keeps it. */
struct fs_identity {
    dev_t dev;
    ino_t ino;
    uint64_t born; /* ns since 1970; 0: not kept */
};

/* Is path, from the directory fd or AT_FDCWD, or fd itself with path "", the
 * same file as at the last call with *id?  Not at the first call, with *id all
 * 0, nor when it cannot be determined; *id is then the present file. */
bool fs_is_same(struct fs_identity *id, int fd, const char *path);
#endif
