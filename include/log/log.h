/* log/log.h - say what happened, as events with typed fields.
 *
 *   LOG(LOG_INFO, "serve.accepted", LS("sid", sid), LN("size", size));
 *
 * renders one line in this process's buffer; log_flush(), at the end of each
 * turn of a loop, hands the buffer to the collector (log/collector.h) in one
 * message of the SysV queue.  If the queue is full the lines stay in the
 * buffer, and when that is full log_event() waits: mail slows down before a
 * line is lost.  With no queue, lines go to standard error.
 *
 * Event names are a closed list in docs/log.md.  Values of LS and LQ are
 * quoted where needed and always escaped, so one event is one line whatever
 * a peer sent.  Safe for threads; after fork() the child's buffer is empty. */
#ifndef MTA_LOG_LOG_H
#define MTA_LOG_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key;
    enum { LOG_END, LOG_STR, LOG_BYTES, LOG_NUM } type;
    const char *str;
    long long num; /* the number, or the length of LOG_BYTES */
};

#define LS(k, v)                                                               \
    {                                                                          \
        (k), LOG_STR, (v), 0                                                   \
    } /* C string; NULL: left out */
#define LB(k, p, n)                                                            \
    {                                                                          \
        (k), LOG_BYTES, (p), (long long)(n)                                    \
    }
#define LN(k, v)                                                               \
    {                                                                          \
        (k), LOG_NUM, NULL, (long long)(v)                                     \
    }

#define LOG(level, name, ...)                                                  \
    do {                                                                       \
        if (log_wants(level))                                                  \
            log_event((level), (name),                                         \
                      (const struct log_field[]){                              \
                          __VA_ARGS__, { NULL, LOG_END, NULL, 0 } });          \
    } while (0)

/* Attach this process to the queue of queue_dir (run/log.key there; made if
 * there is none).  Call after dropping privileges or with ids that match.
 * Before this, and after failure, lines go to standard error; so they do when
 * the system has no queue left (kernel.msgmni), which is success: log.noqueue
 * says so there, and the queue is used as soon as there is one. */
int log_open(const char *queue_dir, enum log_level level,
             enum log_format format, struct err *e);
bool log_wants(enum log_level level);

/* Only the level and the form of lines: log_open() does this too, and the
 * collector, which has no queue to write to, does it alone. */
void log_style(enum log_level level, enum log_format format);
void log_event(enum log_level level, const char *name,
               const struct log_field *fields);

/* True: nothing is left in the buffer.  Never waits. */
bool log_flush(void);

/* The same, but waits for the queue to take it, 5 seconds at the most.  For
 * lines that must outlive this process even if it is killed: those about
 * mail, before its client is answered. */
bool log_flush_wait(void);

/* Wait until the buffer is handed over, then leave.  After 5 seconds with a
 * full queue the rest goes to stderr: a process that stops must come to its
 * end.  Events after this go to stderr. */
void log_close(void);

/* LOG(..., "name", LS("error", e->text)): the usual way to report a failure. */
void log_err(enum log_level level, const char *name, const struct err *e);
#endif
