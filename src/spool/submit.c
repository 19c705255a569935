#include "spool/submit.h"

#include "spool/large_private.h"
#include "spool/writer_private.h"

#include <errno.h>
#include <stdlib.h>

enum { PIECE = 16 * 1024 };

static int unreadable(ssize_t got, struct err *e)
{
    if (got < 0 && errno == EBADMSG)
        return err_set(e, ERR_PERM, 0, "message damaged on disk");
    return err_set(e, ERR_TEMP, got < 0 ? errno : EIO,
                   "read a message to be queued");
}

/* Read the next n octets of the body, fewer only at its end. */
static int read_all(const struct body *b, struct body_cursor *c, char *out,
                    size_t n, struct err *e)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = body_next(b, c, out + at, n - at);
        if (got <= 0)
            return unreadable(got, e);
        at += (size_t)got;
    }
    return 0;
}

/* Read in the order of the message, front fields first, and kept in the order
 * of the file. */
static int submit_small(struct spool_writer *w,
                        const struct spool_submission *m,
                        const struct body *body, struct err *e)
{
    size_t text = (size_t)body->size - body->front;
    char *copy = malloc((size_t)body->size + 1);
    struct body_cursor c = { 0 };

    if (copy == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory to queue a message");
    if (read_all(body, &c, copy + text, body->front, e) != 0 ||
        read_all(body, &c, copy, text, e) != 0) {
        free(copy);
        return -1;
    }
    return spool_writer_add(w, m, body, copy, e);
}

static int append_text(struct spool_large *large, const struct body *body,
                       struct body_cursor *c, struct err *e)
{
    char piece[PIECE];
    ssize_t n;

    while ((n = body_next(body, c, piece, sizeof piece)) > 0)
        if (spool_large_append(large, piece, (size_t)n, e) != 0)
            return -1;
    return n < 0 ? unreadable(n, e) : 0;
}

static int submit_large(struct spool_writer *w,
                        const struct spool_submission *m,
                        const struct body *body, struct err *e)
{
    struct spool_large *large = NULL;
    struct body_cursor c = { 0 };
    char *front = malloc(body->front + 1u);
    const struct spool_late_parts late = { m->late, { front, body->front } };
    int rc = -1;

    if (front == NULL) {
        err_set(e, ERR_TEMP, 0, "no memory to queue a message");
        goto out;
    }
    if (read_all(body, &c, front, body->front, e) != 0 ||
        spool_large_open(&large, w, m, e) != 0 ||
        append_text(large, body, &c, e) != 0)
        goto out;
    rc = spool_large_end(w, &large, &late, e);
out:
    spool_large_abort(&large);
    free(front);
    return rc;
}

int spool_submit(struct spool_writer *w, const struct spool_submission *m,
                 const struct body *body, struct err *e)
{
    if (m->part != 0 && w->children == 0)
        return err_set(e, ERR_BUG, 0, "a child for a segment without children");
    int rc = body->chain != NULL ? spool_writer_add(w, m, body, NULL, e)
             : body->size - body->front <= SPOOL_SMALL_MAX
                 ? submit_small(w, m, body, e)
                 : submit_large(w, m, body, e);
    if (rc == 0 && m->part != 0)
        w->nchildren++;
    return rc;
}
