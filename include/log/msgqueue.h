/* log/msgqueue.h - the SysV message queue between writers and collector.  For
 * src/log alone.
 *
 * run/log.key holds a random key and the IPC namespace it belongs to.  A
 * queue that a crash left behind is found by its key and used again; after a
 * reboot it is made again; if a queue of another user has that key, another
 * key is chosen.  Mode 0600, owner: the owner of run/.
 *
 * Writers hold a shared flock on run/log.writers as long as they are
 * attached; the process that holds it alone may remove the queue. */
#ifndef MTA_LOG_MSGQUEUE_H
#define MTA_LOG_MSGQUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { LOG_MESSAGE_MAX = 8192 };

/* The argument of msgsnd() and msgrcv().  The type of a message is its length,
 * so that the end of one found in memory is known. */
struct log_message {
    long length;
    char text[LOG_MESSAGE_MAX];
};

struct msgqueue {
    int id; /* -1: not attached */
    key_t key;
    size_t bytes;   /* of text that it has room for, */
    size_t max;     /* and in one message */
    int writers_fd; /* -1: not a writer */
    bool none_left; /* the last attach failed for kernel.msgmni alone */
    uid_t owner;    /* of run/ */
    gid_t group;
};

#define MSGQUEUE_NONE                                                          \
    {                                                                          \
        .id = -1, .writers_fd = -1                                             \
    }

enum log_role { LOG_WRITER, LOG_COLLECTOR };

/* Also for a queue that was attached and is removed since.  0, or -1 with *e.
 * q->none_left: the system has reached its number of queues; try again
 * later. */
int msgqueue_attach(struct msgqueue *q, const char *queue_dir,
                    enum log_role role, struct err *e);
void msgqueue_detach(struct msgqueue *q);

/* May a process with our ids trust an IPC object of that owner and mode? */
struct ipc_perm;
bool msgqueue_ipc_ours(const struct ipc_perm *p, uid_t dir_owner);
#endif
