/* msgqueue.c - find, make and check the message queue. */
#include "log/msgqueue.h"

#include "base/fs.h"
#include "base/os.h"
#include "log/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WANT_BYTES = 1 << 20, /* requested; the system's default is 16 KiB */
    KEY_TEXT_MAX = 64,
    RACES_MAX = 100, /* a queue that is removed between two calls */
    AGAIN_MS = 10,
    STRANGERS_MS = 2000 /* time for processes of another container to end */
};

enum attach_result { FOUND, NEED_NEW_KEY, BEING_REMOVED, STRANGERS, FAILED };

/* The directory run/ and the IPC namespace. */
struct key_place {
    const char *queue_dir;
    struct rundir run;
    struct stat st;
    unsigned long long ipc_namespace;
};

static int open_place(struct key_place *p, const char *queue_dir, struct err *e)
{
    struct stat ns;

    p->queue_dir = queue_dir;
    if (log_rundir_open(&p->run, queue_dir, e) != 0)
        return -1;
    if (fstat(p->run.fd, &p->st) != 0)
        return err_set(e, ERR_TEMP, errno, "stat %s", p->run.path);
    /* Without /proc there are no containers to distinguish. */
    if (stat("/proc/self/ns/ipc", &ns) == 0)
        p->ipc_namespace = ns.st_ino;
    else if (errno == ENOENT)
        p->ipc_namespace = 0;
    else
        return err_set(e, ERR_TEMP, errno, "stat /proc/self/ns/ipc");
    return 0;
}

/* 1; 0: no valid key; -1 with *e: the key cannot be read now, and other
 * processes may use it. */
static int read_key(const struct key_place *p, key_t *key,
                    unsigned long long *ipc_namespace, struct err *e)
{
    char text[KEY_TEXT_MAX] = "";
    unsigned number = 0;
    int fd = fs_openat(p->run.fd, "log.key", O_RDONLY | O_NOFOLLOW, 0);

    if (fd < 0 && (errno == ENOENT || errno == ELOOP))
        return 0;
    ssize_t n = fd < 0 ? -1 : fs_pread(fd, text, sizeof text - 1, 0);
    if (n < 0)
        err_set(e, ERR_TEMP, errno, "read %s/log.key", p->run.path);
    if (fd >= 0)
        fs_close(fd);
    if (n < 0)
        return -1;
    if (sscanf(text, "%x %llu\n", &number, ipc_namespace) != 2)
        return 0;
    *key = (key_t)number;
    return *key != IPC_PRIVATE;
}

/* Replace the key atomically: a process killed here must not leave half of a
 * key. */
static int replace_key(const struct key_place *p, const char *text, size_t n,
                       struct err *e)
{
    int fd = rundir_file(&p->run, "log.key.new", e), rc = 0;

    if (fd < 0)
        return -1;
    if (fs_truncate(fd, 0) != 0 || fs_pwrite_all(fd, text, n, 0) != 0 ||
        fs_fsync(fd) != 0 ||
        fs_renameat(p->run.fd, "log.key.new", "log.key") != 0)
        rc = err_set(e, ERR_TEMP, errno, "write %s/log.key", p->run.path);
    fs_close(fd);
    return rc;
}

/* Overwrite the key in place on a full disk, where the old file still has its
 * block, so that a restarted container starts.  The rest of a longer text
 * behind the line end is not read. */
static int overwrite_key(const struct key_place *p, const char *text, size_t n,
                         struct err *e)
{
    int fd = rundir_file(&p->run, "log.key", e), rc = 0;

    if (fd < 0)
        return -1;
    if (fs_pwrite_all(fd, text, n, 0) != 0 || fs_fsync(fd) != 0)
        rc = err_set(e, ERR_TEMP, errno, "write %s/log.key", p->run.path);
    fs_close(fd);
    return rc;
}

/* Called under the lock, so that no reader sees half of a key. */
static int write_key(const struct key_place *p, key_t key, struct err *e)
{
    char text[KEY_TEXT_MAX];
    size_t n = (size_t)snprintf(text, sizeof text, "%08x %llu\n", (unsigned)key,
                                p->ipc_namespace);
    struct err why;

    if (replace_key(p, text, n, &why) == 0 ||
        (err_is_full(&why) && overwrite_key(p, text, n, &why) == 0))
        return 0;
    if (e != NULL)
        *e = why;
    return -1;
}

/* Check the owner, because keys are public (ipcs) and any process may have made
 * the object. */
bool msgqueue_ipc_ours(const struct ipc_perm *p, uid_t dir_owner)
{
    return (p->uid == dir_owner || p->uid == geteuid()) &&
           (p->mode & 0077) == 0;
}

/* The size of a message: beyond the system's limit msgsnd() fails, beyond the
 * queue's it waits for ever. */
static size_t message_max(msglen_t queue_bytes)
{
    unsigned long long limit = 0;
    char text[32] = "";
    int fd = open("/proc/sys/kernel/msgmax", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0 ||
            sscanf(text, "%llu", &limit) != 1)
            limit = 0;
        close(fd);
    }
    if (limit == 0 || limit > LOG_MESSAGE_MAX)
        limit = LOG_MESSAGE_MAX;
    return limit < queue_bytes ? (size_t)limit : (size_t)queue_bytes;
}

/* Enlarge the queue if privilege or msgmnb allows it.  Root makes the queue for
 * the owner of the directory. */
static void adjust(int id, struct msqid_ds *ds, const struct key_place *p)
{
    if (geteuid() == 0 && ds->msg_perm.uid != p->st.st_uid) {
        ds->msg_perm.uid = p->st.st_uid;
        ds->msg_perm.gid = p->st.st_gid;
        (void)msgctl(id, IPC_SET, ds);
    }
    struct msqid_ds more = *ds;
    more.msg_qbytes = WANT_BYTES;
    if (ds->msg_qbytes < WANT_BYTES && msgctl(id, IPC_SET, &more) == 0)
        ds->msg_qbytes = WANT_BYTES;
}

static void say_none_left(struct msgqueue *q, const struct key_place *p,
                          struct err *e)
{
    q->none_left = true;
    err_set(e, ERR_TEMP, ENOSPC,
            "message queue of %.80s: kernel.msgmni is used up, \"ipcs -q\" "
            "lists the queues, \"ipcrm -q ID\" removes one",
            p->queue_dir);
}

static enum attach_result open_by_key(struct msgqueue *q, key_t key, int flags,
                                      const struct key_place *p, struct err *e)
{
    struct msqid_ds ds;

    for (int i = 0; i < RACES_MAX; i++) {
        int id = msgget(key, IPC_CREAT | flags | 0600);
        if (id < 0 && (errno == EACCES || errno == EEXIST))
            return NEED_NEW_KEY;
        if (id < 0 && errno == ENOSPC) {
            say_none_left(q, p, e);
            return FAILED;
        }
        if (id < 0)
            break;
        if (msgctl(id, IPC_STAT, &ds) != 0) {
            if (errno != EINVAL && errno != EIDRM)
                break;
            continue; /* removed after msgget() */
        }
        if (!msgqueue_ipc_ours(&ds.msg_perm, p->st.st_uid))
            return NEED_NEW_KEY;
        adjust(id, &ds, p);
        q->id = id;
        q->key = key;
        q->owner = p->st.st_uid;
        q->group = p->st.st_gid;
        q->bytes = (size_t)ds.msg_qbytes;
        q->max = message_max(ds.msg_qbytes);
        return FOUND;
    }
    err_set(e, ERR_TEMP, errno, "message queue of %s", p->queue_dir);
    return FAILED;
}

static bool is_locked(const struct key_place *p, const char *name,
                      int operation)
{
    int fd = rundir_file(&p->run, name, NULL);
    bool locked = fd >= 0 && fs_lock(fd, operation | LOCK_NB) != 0;

    if (fd >= 0)
        close(fd);
    return locked;
}

/* Is a writer or a collector attached to the queue of another container's key?
 * The lock keeps a second collector out. */
static bool others_here(const struct key_place *p, enum log_role role)
{
    return is_locked(p, "log.writers", LOCK_EX) ||
           (role == LOG_WRITER && is_locked(p, "log.lock", LOCK_SH));
}

/* Lock log.writers before the queue is looked up: a collector that removes the
 * queue holds that lock for a moment. */
static enum attach_result be_a_writer(struct msgqueue *q,
                                      const struct key_place *p, struct err *e)
{
    if (q->writers_fd >= 0)
        return FOUND;
    q->writers_fd = rundir_file(&p->run, "log.writers", e);
    if (q->writers_fd < 0)
        return FAILED;
    if (fs_lock(q->writers_fd, LOCK_SH | LOCK_NB) == 0)
        return FOUND;
    enum attach_result f = errno == EWOULDBLOCK ? BEING_REMOVED : FAILED;
    err_set(e, ERR_TEMP, errno, "lock %s/log.writers", p->run.path);
    close(q->writers_fd);
    q->writers_fd = -1;
    return f;
}

static enum attach_result make_new(struct msgqueue *q,
                                   const struct key_place *p, struct err *e)
{
    for (int i = 0; i < RACES_MAX; i++) {
        key_t key = (key_t)(arc4random() & 0x7fffffffu);
        if (key == IPC_PRIVATE)
            continue;
        enum attach_result f = open_by_key(q, key, IPC_EXCL, p, e);
        if (f == NEED_NEW_KEY)
            continue; /* the random key is in use */
        if (f == FOUND && write_key(p, key, e) != 0) {
            msgctl(q->id, IPC_RMID, NULL);
            q->id = -1;
            f = FAILED;
        }
        return f;
    }
    err_set(e, ERR_TEMP, 0, "no free key for a message queue");
    return FAILED;
}

static enum attach_result find_or_make(struct msgqueue *q,
                                       const struct key_place *p,
                                       enum log_role role, struct err *e)
{
    unsigned long long ns = 0;
    key_t key;
    int known = read_key(p, &key, &ns, e);
    enum attach_result f = FOUND;

    if (known < 0)
        return FAILED;
    if (known && ns != p->ipc_namespace) {
        /* The key of another container is void when no process of it is
         * attached. */
        if (q->writers_fd >= 0 || others_here(p, role)) {
            err_set(e, ERR_PERM, 0,
                    "%s is in use by processes of another IPC namespace",
                    p->queue_dir);
            return STRANGERS;
        }
        known = 0;
    }
    if (role == LOG_WRITER)
        f = be_a_writer(q, p, e);
    if (f == FOUND)
        f = known ? open_by_key(q, key, 0, p, e) : NEED_NEW_KEY;
    return f == NEED_NEW_KEY ? make_new(q, p, e) : f;
}

/* Serialise start-up under log.key.lock: the next process finds the queue that
 * this one makes. */
static enum attach_result take_turn(struct msgqueue *q,
                                    const struct key_place *p,
                                    enum log_role role, struct err *e)
{
    int fd = rundir_file(&p->run, "log.key.lock", e);
    enum attach_result f = FAILED;

    if (fd < 0)
        return FAILED;
    if (fs_lock(fd, LOCK_EX) == 0)
        f = find_or_make(q, p, role, e);
    else
        err_set(e, ERR_TEMP, errno, "lock %s/log.key", p->run.path);
    close(fd);
    return f;
}

/* Wait for STRANGERS: processes of another container may be ending, and a
 * collector of this one that holds log.lock but not yet log.key.lock looks the
 * same. */
int msgqueue_attach(struct msgqueue *q, const char *queue_dir,
                    enum log_role role, struct err *e)
{
    struct key_place p = { .run = RUNDIR_NONE };
    enum attach_result f = FAILED;

    q->id = -1;
    q->none_left = false;
    if (open_place(&p, queue_dir, e) == 0)
        for (int patience = STRANGERS_MS; patience > 0;) {
            f = take_turn(q, &p, role, e);
            if (f != STRANGERS && f != BEING_REMOVED)
                break;
            os_pause(AGAIN_MS * 1000L);
            patience -= f == STRANGERS ? AGAIN_MS : 0;
        }
    rundir_close(&p.run);
    if (f == FOUND)
        return 0;
    msgqueue_detach(q);
    return -1;
}

void msgqueue_detach(struct msgqueue *q)
{
    /* No LOCK_UN: it would release the lock of a parent that forked us. */
    if (q->writers_fd >= 0)
        close(q->writers_fd);
    q->id = q->writers_fd = -1;
}
