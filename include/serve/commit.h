/* serve/commit.h - group commit: one sync for all messages of a turn.
 *
 * docs/design.md "At the dot": local copies are written and synced, records are
 * appended and synced once, copies are renamed into place, then the replies are
 * sent.  A failure before the rename leaves no trace of that message.  If a
 * copy fails while other recipients of its message succeed, it is queued as a
 * separate message, which the sender tries again. */
#ifndef MTA_SERVE_COMMIT_H
#define MTA_SERVE_COMMIT_H

#include "config/conf.h"
#include "serve/transaction.h"

struct serve_commit;

enum commit_result { COMMIT_QUEUED, COMMIT_DELIVERED, COMMIT_FAILED };

/* Called once for each transaction, which is freed afterwards. */
typedef void serve_commit_done_fn(struct serve_transaction *t,
                                  enum commit_result r, const struct err *why);

int serve_commit_open(struct serve_commit **s, const struct conf *c,
                      struct pool *blocks, serve_commit_done_fn *done,
                      struct err *e);
void serve_commit_close(struct serve_commit **s);

/* Transactions get their ids and large segments from it. */
struct spool_writer *serve_commit_writer(struct serve_commit *s);

/* Take over a finished transaction; the next serve_commit_run() completes
 * it. */
void serve_commit_submit(struct serve_commit *s, struct serve_transaction *t);
unsigned serve_commit_waiting(const struct serve_commit *s);
void serve_commit_run(struct serve_commit *s);
#endif
