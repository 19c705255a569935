/* collector.c - the process that owns the log file. */
#include "log/collector.h"

#include "base/fs.h"
#include "log/queue.h"

#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

bool log_collector_alive(const char *queue_dir)
{
    int fd = log_run_open(queue_dir, "log.lock", NULL);

    if (fd < 0)
        return false;
    bool alive = fs_lock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return alive;
}
