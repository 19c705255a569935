/* serve/commit.h - group commit: one sync of each queue for all messages of a
 * turn.
 *
 * docs/design.md "At the dot": records are appended and synced once, then the
 * replies are sent.  A message lies in one queue: local/ if it has a local
 * recipient, else remote/.  A failure of one queue fails its messages alone,
 * and leaves no trace of them. */
#ifndef MTA_SERVE_COMMIT_H
#define MTA_SERVE_COMMIT_H

#include "serve/transaction.h"
#include "spool/writer.h"

struct serve_commit;

/* Called once for each transaction, which is freed afterwards.  why: NULL when
 * it is in the queue. */
typedef void serve_commit_done_fn(struct serve_transaction *t,
                                  const struct err *why);

int serve_commit_open(struct serve_commit **s, const char *queue_dir,
                      serve_commit_done_fn *done, struct err *e);
void serve_commit_close(struct serve_commit **s);

/* Transactions get their ids and large segments from that of their queue. */
struct spool_writer *serve_commit_writer(struct serve_commit *s,
                                         enum spool_name queue);

/* Take over a finished transaction; the next serve_commit_run() completes
 * it. */
void serve_commit_submit(struct serve_commit *s, struct serve_transaction *t);
unsigned serve_commit_waiting(const struct serve_commit *s);
void serve_commit_run(struct serve_commit *s);
#endif
