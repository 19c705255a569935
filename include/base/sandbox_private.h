/* base/sandbox_private.h - the two ways by which the kernel keeps a process
 * from what it has given up. */
#ifndef MTA_BASE_SANDBOX_PRIVATE_H
#define MTA_BASE_SANDBOX_PRIVATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A sanitizer opens its report by name, and attaches to its process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED                                                              \
    (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

/* What a process may do beyond the calls that every process may. */
enum {
    MAY_INET = 1 << 0,    /* sockets of IPv4 and IPv6 */
    MAY_UNIX = 1 << 1,    /* sockets of AF_UNIX */
    MAY_NETLINK = 1 << 2, /* getaddrinfo() of a library asks for interfaces */
    MAY_BIND = 1 << 3,
    MAY_ACCEPT = 1 << 4,
    MAY_LOG = 1 << 5,         /* SysV queues and memory */
    MAY_SAY = 1 << 9,         /* by the queue that is open: what is in force */
    MAY_CHANGE_IDS = 1 << 6,  /* of user and groups */
    MAY_READ_SYSTEM = 1 << 7, /* files of NSS */
    MAY_EXEC = 1 << 10,       /* a program, which is confined as it is */
    MAY_MOVE = 1 << 8         /* files from a directory to another */
};

/* --- seccomp.c ------------------------------------------------------------ */

/* Answer EPERM to each call that `may` does not include, for good.  0, or -1
 * with *e: nothing has changed. */
int seccomp_enter(unsigned may, struct err *e);

/* --- landlock.c ----------------------------------------------------------- */

/* What may be done below a directory. */
enum landlock_access {
    LANDLOCK_LIST,  /* open directories */
    LANDLOCK_READ,  /* and files */
    LANDLOCK_QUEUE, /* and make, write, rename and remove files */
    LANDLOCK_MAIL,  /* and directories, and move files between them */
    LANDLOCK_ALL    /* and run programs */
};

struct landlock {
    int fd; /* of the rules; -1: none */
    int abi;
    uint64_t files; /* rights that the rules give or take */
};

/* Begin with no rule: nothing is allowed.  connects: TCP to any port stays
 * allowed.  0, or -1 with *e. */
int landlock_begin(struct landlock *l, unsigned may, bool connects,
                   struct err *e);

/* 1 with *e: the path is not there or not accessible, and has no rule. */
int landlock_allow(const struct landlock *l, const char *path,
                   enum landlock_access access, struct err *e);
int landlock_allow_port(const struct landlock *l, uint16_t port, struct err *e);

/* Mailboxes may be in any directory of this system but in those of the system
 * itself and in queue_dir. */
int landlock_allow_homes(const struct landlock *l, const char *queue_dir,
                         struct err *e);
/* All but queue_dir. */
int landlock_allow_others(const struct landlock *l, const char *queue_dir,
                          struct err *e);

/* Put the rules in force, for good.  Needs "no new privileges". */
int landlock_enter(const struct landlock *l, struct err *e);
void landlock_end(struct landlock *l);
#endif
