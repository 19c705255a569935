/* events.c - the names of all events, for `mta log --event`: those of
 * docs/log.md, with which tests/tools/check_events.py compares them. */
#include "log/show.h"

#include "base/suggest.h"

#include <string.h>

/* clang-format off */
static const char *const names[] = {
    "log.start",
    "log.stop",
    "log.reopen",
    "log.stuck",
    "log.recovered",
    "log.unsafe",
    "log.noqueue",
    "log.waiting",
    "sandbox.on",
    "config.reload",
    "serve.listen",
    "serve.certificate",
    "serve.worker",
    "serve.helper",
    "serve.drain",
    "serve.tables",
    "serve.stop",
    "serve.loop",
    "serve.connect",
    "serve.tls",
    "serve.rdns",
    "serve.helo",
    "serve.note",
    "serve.reject",
    "serve.overload",
    "serve.accepted",
    "serve.unstored",
    "serve.spool",
    "serve.limits",
    "serve.full",
    "serve.disconnect",
    "queue.disk",
    "queue.held",
    "queue.released",
    "queue.deleted",
    "queue.operation",
    "queue.unreadable",
    "queue.notified",
    "queue.notice",
    "queue.commit",
    "queue.slot",
    "queue.sync",
    "queue.scan",
    "queue.reclaim",
    "queue.unrecorded",
    "queue.unattended",
    "deliver.process",
    "deliver.loop",
    "deliver.tables",
    "deliver.start",
    "deliver.stop",
    "deliver.delivered",
    "deliver.deferred",
    "deliver.bounced",
    "deliver.expanded",
    "deliver.unknown",
    "deliver.mailbox",
    "deliver.stuck",
    "deliver.lost",
    "deliver.control",
    "deliver.line",
    "deliver.request",
    "send.tables",
    "send.start",
    "send.stop",
    "send.connect",
    "send.disconnect",
    "send.delivered",
    "send.deferred",
    "send.bounced",
    "send.expanded",
    "send.unreachable",
    "send.pace",
    "send.advice",
    "send.pace_file",
    "send.auth_failed",
    "send.tls_failed",
    "send.tls_ca",
    "send.control",
    "send.unsigned",
    "send.signer",
    "send.next_hop",
};
/* clang-format on */

enum { NAMES = sizeof names / sizeof names[0], EDITS_MAX = 6 };

/* "send" is all events of the sender. */
static bool fits(const char *name, const char *given)
{
    size_t n = strlen(given);

    return strcmp(name, given) == 0 ||
           (strncmp(name, given, n) == 0 && name[n] == '.' &&
            strchr(given, '.') == NULL);
}

bool log_event_known(const char *given, const char **near)
{
    size_t half = strlen(given) / 2 + 1; /* more edits: another word */
    unsigned least = half < EDITS_MAX ? (unsigned)half : EDITS_MAX;

    *near = NULL;
    for (size_t i = 0; i < NAMES; i++) {
        const char *dot = strchr(names[i], '.');
        unsigned d = edit_distance(given, names[i]);
        unsigned behind = edit_distance(given, dot + 1);
        if (fits(names[i], given))
            return true;
        if (d < least || behind < least) {
            least = d < behind ? d : behind;
            *near = names[i];
        }
    }
    return false;
}
