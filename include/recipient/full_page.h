/* recipient/full_page.h - what the server should know at RCPT about mailboxes
 * that take nothing now.
 *
 * A page of memory that processes share: made before they are forked, written
 * by the delivery process alone, read by workers.  A hint, of fixed size: of
 * two mailboxes with the same place the later counts, and a read while it is
 * written may miss.  Times are clock_mono_ms(). */
#ifndef MTA_RECIPIENT_FULL_PAGE_H
#define MTA_RECIPIENT_FULL_PAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct full_page;

int full_page_new(struct full_page **p, struct err *e);
void full_page_free(struct full_page **p); /* accepts NULL */

/* The disk of the mailboxes is full: 452 4.3.1 until then. */
void full_page_set_disk(struct full_page *p, uint64_t until_ms);
void full_page_clear_disk(struct full_page *p);
bool full_page_disk(const struct full_page *p, uint64_t now_ms);

/* The mailbox of that key is over its quota: 452 4.2.2 until then. */
void full_page_set_mailbox(struct full_page *p, const char *key,
                           uint64_t until_ms);
void full_page_clear_mailbox(struct full_page *p, const char *key);
bool full_page_mailbox(const struct full_page *p, const char *key,
                       uint64_t now_ms);
#endif
