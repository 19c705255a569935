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
#define LN_IF(k, there, v)                                                     \
    {                                                                          \
        (k), (there) ? LOG_NUM : LOG_STR, NULL, (long long)(v)                 \
    } /* left out unless it is there */

#define LOG(level, name, ...)                                                  \
    do {                                                                       \
        if (log_wants(level))                                                  \
            log_event((level), (name),                                         \
                      (const struct log_field[]){                              \
                          __VA_ARGS__, { NULL, LOG_END, NULL, 0 } });          \
    } while (0)

/* Attach this process to the queue of queue_dir (run/log.key there; made if
 * there is none).  Call it after dropping privileges or with ids that match.
 * Before this, and after a failure, lines go to standard error.  So they do,
 * after log.noqueue, when the system has no queue left (kernel.msgmni); this is
 * success, and the queue is used as soon as there is one. */
int log_open(const char *queue_dir, enum log_level level,
             enum log_format format, struct err *e);

/* Instead of log_open(), for a command beside which no collector runs: lines go
 * to the file, whole ones at a time, behind those that are there.  log_close()
 * closes it. */
void log_to_file(int fd);

bool log_wants(enum log_level level);

/* Set the level and the format of lines.  log_open() does this too; the
 * collector, which is no writer, calls this alone. */
void log_style(enum log_level level, enum log_format format);
void log_event(enum log_level level, const char *name,
               const struct log_field *fields);

/* Send the buffer without waiting.  True: it is empty. */
bool log_flush(void);

/* The same, but waits up to 5 seconds for room in the queue.  For lines that
 * must survive a kill of this process: those about mail, before the reply to
 * its client. */
bool log_flush_wait(void);

/* Close the log's descriptor, for a process that is about to close all of them;
 * it may still log until log_close(). */
void log_close_descriptor(void);

/* Send the buffer, then detach.  After 5 seconds with a full queue the rest
 * goes to stderr, so that a process that stops does end.  Events after this go
 * to stderr. */
void log_close(void);

/* LOG(..., "name", LS("error", e->text)): the usual way to report a failure. */
void log_err(enum log_level level, const char *name, const struct err *e);
#endif
