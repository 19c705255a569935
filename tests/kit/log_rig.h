/* log_rig.h - collectors and writers as children, for the tests of the log. */
#ifndef MTA_TEST_LOG_RIG_H
#define MTA_TEST_LOG_RIG_H

#include "base/fs.h"
#include "log/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct rig {
    char dir[64], file[96], errors[96]; /* errors: stderr of the children */
};

void rig_make(struct rig *r);
void rig_done(struct rig *r); /* removes queue, memory and files */

void rig_path(char out[128], const struct rig *r, const char *name);

/* The queue, made if there is none, with room for that many bytes. */
int rig_queue(const struct rig *r, unsigned long bytes);
bool rig_queue_exists(const struct rig *r);
bool rig_memory_exists(const struct rig *r);

/* A collector whose system calls are `ops` (NULL: the real ones).  Comes back
 * when it holds the lock, or has ended. */
pid_t rig_collect(const struct rig *r, const struct fs_ops *ops);

/* Hand the file over to it anew, as the supervisor does. */
void rig_reopen(const struct rig *r, pid_t collector);

/* A process that writes lines `first` to `last` - 1 of writer number w,
 * flushing after every `turn`, and closes the log. */
struct lines {
    int w, first, last, turn, pad;
};
pid_t rig_write(const struct rig *r, const struct lines *l);
void rig_write_here(const struct lines *l);

/* SIGTERM, or another signal; the status as waitpid() has it. */
int rig_end(pid_t pid, int signo);
int rig_wait(pid_t pid);
bool rig_over(pid_t pid); /* has ended; not waited for */

/* A deadline of a minute for anything; the step is a millisecond. */
#define RIG_UNTIL(condition)                                                   \
    do {                                                                       \
        int left_ = 60000;                                                     \
        while (!(condition) && left_-- > 0)                                    \
            rig_pause();                                                       \
        ck_assert_msg(left_ > 0, "never: %s", #condition);                     \
    } while (0)
void rig_pause(void);

size_t rig_size(const char *file);
bool rig_contains(const char *file, const char *text);

/* How often each line of writers 0..nw-1, 0..n-1 is in the files together
 * must be once; anything that is neither such a line nor a log.* event is a
 * failure.  NULL ends the list of files. */
void rig_check_once(const char *const *files, int nw, int n);
#endif
