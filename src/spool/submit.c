#include "spool/submit.h"

#include "spool/large.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <stdlib.h>

enum { PIECE = 16 * 1024 };

static int unreadable(ssize_t got, struct err *e)
{
    return err_set(e, ERR_TEMP, got < 0 ? errno : EIO,
                   "read a message to be queued");
}

static int submit_small(struct spool_writer *w,
                        const struct spool_submission *m,
                        const struct body *body, struct err *e)
{
    size_t size = (size_t)body->size;
    char *copy = malloc(size + 1);

    if (copy == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to queue a message");
    for (size_t at = 0; at < size;) {
        ssize_t n = body_read(body, at, copy + at, size - at);
        if (n <= 0) {
            unreadable(n, e);
            free(copy);
            return -1;
        }
        at += (size_t)n;
    }
    return spool_writer_add_copy(w, m, copy, size, e);
}

static int submit_large(struct spool_writer *w,
                        const struct spool_submission *m,
                        const struct body *body, struct err *e)
{
    struct spool_large *large = NULL;
    char piece[PIECE];
    ssize_t n;

    if (spool_large_open(&large, w, m, e) != 0)
        return -1;
    for (uint64_t at = 0; at < body->size; at += (uint64_t)n) {
        n = body_read(body, at, piece, sizeof piece);
        if (n <= 0) {
            unreadable(n, e);
            goto out;
        }
        if (spool_large_append(large, piece, (size_t)n, e) != 0)
            goto out;
    }
    return spool_large_finish(w, &large, e);
out:
    spool_large_abort(&large);
    return -1;
}

int spool_submit(struct spool_writer *w, const struct spool_submission *m,
                 const struct body *body, struct err *e)
{
    if (body->chain != NULL)
        return spool_writer_add(w, m, body->chain, e);
    return body->size <= SPOOL_SMALL_MAX ? submit_small(w, m, body, e)
                                         : submit_large(w, m, body, e);
}
