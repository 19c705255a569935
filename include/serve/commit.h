/* serve/commit.h - make all messages that ended in one turn durable, together.
 *
 * docs/design.md "At the dot": local copies are written and synced, records
 * are appended and synced once, copies are renamed into place, then all are
 * answered.  A failure before the rename leaves no trace of that message.
 * A copy that fails while other recipients of its message are fine goes to
 * the queue as a message of its own, for the sender to try again. */
#ifndef MTA_SERVE_COMMIT_H
#define MTA_SERVE_COMMIT_H

#include "config/conf.h"
#include "serve/transaction.h"

struct store;

enum store_result { STORE_QUEUED, STORE_DELIVERED, STORE_FAILED };

/* Called once for each draft, which is freed after it. */
typedef void store_done_fn(struct draft *d, enum store_result r,
                           const struct err *why);

int store_open(struct store **s, const struct conf *c, struct pool *blocks,
               store_done_fn *done, struct err *e);
void store_close(struct store **s);

/* For drafts, which take ids and large segments from it. */
struct spool_writer *store_writer(struct store *s);

/* Take over a finished draft; answered by the next store_commit(). */
void store_submit(struct store *s, struct draft *d);
unsigned store_waiting(const struct store *s); /* drafts */
void store_commit(struct store *s);
#endif
