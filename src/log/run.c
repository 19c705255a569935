/* run.c - the files of run/ for writers and collector. */
#include "log/run.h"

#include "base/fs.h"

#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

int log_rundir_open(struct rundir *run, const char *queue_dir, struct err *e)
{
    struct rundir top;

    if (rundir_open(&top, queue_dir, e) != 0)
        return -1;
    int rc = rundir_below(run, &top, "run", e);
    rundir_close(&top);
    return rc;
}

int log_run_open(const char *queue_dir, const char *name, struct err *e)
{
    struct rundir run;

    if (log_rundir_open(&run, queue_dir, e) != 0)
        return -1;
    int fd = rundir_file(&run, name, e);
    rundir_close(&run);
    return fd;
}

bool log_collector_alive(const char *queue_dir)
{
    int fd = log_run_open(queue_dir, "log.lock", NULL);

    if (fd < 0)
        return false;
    bool alive = fs_lock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return alive;
}
