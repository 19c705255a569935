/* inflight.c - see the header.  A SIGKILL may interrupt each function between
 * any two stores; FENCE keeps the order of stores that the next collector
 * relies on. */
#include "log/inflight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define FENCE() __atomic_signal_fence(__ATOMIC_SEQ_CST)

enum { VERSION = 1 };

static bool in_use(const struct log_message *m)
{
    return m->length > 0 && m->length <= LOG_MESSAGE_MAX;
}

/* False: of another user, or of another version of the program. */
static bool fits(int id, const struct msgqueue *q)
{
    struct shmid_ds ds;

    return shmctl(id, IPC_STAT, &ds) == 0 &&
           msgqueue_ipc_ours(&ds.shm_perm, q->owner) &&
           ds.shm_segsz == sizeof(struct inflight_page);
}

static void give_to_owner(int id, const struct msgqueue *q)
{
    struct shmid_ds ds;

    if (geteuid() != 0 || shmctl(id, IPC_STAT, &ds) != 0)
        return;
    ds.shm_perm.uid = q->owner;
    ds.shm_perm.gid = q->group;
    (void)shmctl(id, IPC_SET, &ds);
}

/* -1: no segment. */
static int find_or_make(const struct msgqueue *q)
{
    const size_t size = sizeof(struct inflight_page);
    int id = shmget(q->key, 0, 0600);

    if (id >= 0 && !fits(id, q)) {
        if (shmctl(id, IPC_RMID, NULL) != 0)
            return -1; /* of another user */
        id = -1;
    }
    if (id < 0)
        id = shmget(q->key, size, IPC_CREAT | IPC_EXCL | 0600);
    if (id >= 0)
        give_to_owner(id, q);
    return id;
}

static struct inflight_page *attach(int id)
{
    void *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

    if (at == (void *)-1)
        return NULL;
    /* Lock all pages in memory now: a page fault that fails inside msgrcv()
     * would lose the message. */
    (void)mlock(at, sizeof(struct inflight_page));
    volatile char *p = at;
    for (size_t i = 0; i < sizeof(struct inflight_page); i += 4096)
        p[i] = p[i];
    return at;
}

int inflight_open(struct inflight *p, const struct msgqueue *q, struct err *e)
{
    p->id = find_or_make(q);
    p->page = attach(p->id);
    if (p->page == NULL) {
        p->id = -1;
        p->page = calloc(1, sizeof *p->page);
    }
    if (p->page == NULL)
        return err_set(e, ERR_TEMP, errno, "memory for the collector");
    if (p->page->version != VERSION) {
        memset(p->page, 0, sizeof *p->page);
        p->page->version = VERSION;
    }
    return 0;
}

void inflight_close(struct inflight *p, bool forget)
{
    if (p->page == NULL)
        return;
    if (p->id < 0)
        free(p->page);
    else
        shmdt(p->page);
    if (p->id >= 0 && forget)
        (void)shmctl(p->id, IPC_RMID, NULL);
    p->page = NULL;
    p->id = -1;
}

size_t inflight_batch(const struct inflight *p, char *out)
{
    const struct log_message *m = p->page->slot;
    size_t n = 0;

    for (int i = 0; i < INFLIGHT_SLOTS && in_use(&m[i]); i++) {
        memcpy(out + n, m[i].text, (size_t)m[i].length);
        n += (size_t)m[i].length;
    }
    return n;
}

void inflight_place(struct inflight *p, uint64_t dev, uint64_t ino, uint64_t at)
{
    p->page->placed = 0;
    FENCE();
    p->page->dev = dev;
    p->page->ino = ino;
    p->page->at = at;
    FENCE();
    p->page->placed = 1;
    FENCE();
}

void inflight_skip(struct inflight *p, size_t n)
{
    p->page->placed = 0;
    FENCE();
    p->page->skip = n;
    FENCE();
}

void inflight_clear(struct inflight *p)
{
    p->page->slot[0].length = 0; /* ends the batch here */
    FENCE();
    for (int i = 1; i < INFLIGHT_SLOTS; i++)
        p->page->slot[i].length = 0;
    inflight_skip(p, 0);
}
