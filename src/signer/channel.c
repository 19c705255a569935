/* channel.c - the pair of sockets between sender and signer, as their parent
 * has it. */
#include "base/line.h"
#include "signer/page_private.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STUCK_LOOKS = 4, STUCK_LOOKS_MAX = 64 };

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int signer_channel_open(struct signer_channel *c, struct err *e)
{
    int end[2];

    *c = (struct signer_channel){ .sender = -1, .signer = -1 };
    void *p = mmap(NULL, sizeof *c->page, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_set(e, ERR_TEMP, errno, "memory for the signer");
    if (line_pair(end, e) != 0) {
        munmap(p, sizeof *c->page);
        return -1;
    }
    c->page = p;
    c->sender = end[0];
    c->signer = end[1];
    return 0;
}

void signer_channel_close(struct signer_channel *c)
{
    close_end(&c->sender);
    close_end(&c->signer);
    if (c->page != NULL)
        munmap(c->page, sizeof *c->page);
    c->page = NULL;
}

void signer_channel_keep(struct signer_channel *c, bool sender, bool signer)
{
    if (!sender)
        close_end(&c->sender);
    if (!signer)
        close_end(&c->signer);
}

/* One that is replaced before it has read anything may have been slow to start,
 * on a machine that is busy: the next one has twice the time. */
bool signer_is_stuck(struct signer_channel *c)
{
    unsigned long now = __atomic_load_n(&c->page->progress, __ATOMIC_RELAXED);
    int waits = 0;

    if (now != c->seen || c->patience == 0)
        c->patience = STUCK_LOOKS;
    if (ioctl(c->signer, FIONREAD, &waits) != 0 || waits == 0 || now != c->seen)
        c->still = 0;
    else
        c->still++;
    c->seen = now;
    if (c->still < c->patience)
        return false;
    c->still = 0;
    if (c->patience < STUCK_LOOKS_MAX)
        c->patience *= 2;
    return true;
}
