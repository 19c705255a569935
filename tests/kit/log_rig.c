/* log_rig.c - collectors and writers as children, for the tests of the log. */
#include "log_rig.h"

#include "base/line.h"
#include "log/collector.h"
#include "log/logfile.h"
#include "log/msgqueue.h"
#include "log/run.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void rig_make(struct rig *r)
{
    snprintf(r->dir, sizeof r->dir, "/tmp/mta-log-XXXXXX");
    ck_assert(mkdtemp(r->dir) != NULL);
    snprintf(r->file, sizeof r->file, "%s/log", r->dir);
    snprintf(r->errors, sizeof r->errors, "%s/stderr", r->dir);
}

static key_t key_of(const struct rig *r)
{
    char path[128];
    unsigned key = 0;

    rig_path(path, r, "run/log.key");
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return IPC_PRIVATE;
    if (fscanf(f, "%x", &key) != 1)
        key = 0;
    fclose(f);
    return (key_t)key;
}

static int queue_of(const struct rig *r)
{
    key_t key = key_of(r);

    return key == IPC_PRIVATE ? -1 : msgget(key, 0);
}

bool rig_queue_exists(const struct rig *r)
{
    return queue_of(r) >= 0;
}

bool rig_memory_exists(const struct rig *r)
{
    key_t key = key_of(r);

    return key != IPC_PRIVATE && shmget(key, 0, 0) >= 0;
}

void rig_done(struct rig *r)
{
    static const char *const names[] = { "run/log.key",
                                         "run/log.key.lock",
                                         "run/log.key.new",
                                         "run/log.lock",
                                         "run/log.writers",
                                         "run",
                                         "log",
                                         "log.old",
                                         "stderr",
                                         "space",
                                         "out",
                                         "" };
    key_t key = key_of(r);
    char path[128];

    if (rig_queue_exists(r))
        msgctl(queue_of(r), IPC_RMID, NULL);
    if (rig_memory_exists(r))
        shmctl(shmget(key, 0, 0), IPC_RMID, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        rig_path(path, r, names[i]);
        (void)remove(path);
    }
    ck_assert_msg(access(r->dir, F_OK) != 0, "%s is not empty", r->dir);
}

void rig_path(char out[128], const struct rig *r, const char *name)
{
    snprintf(out, 128, "%s%s%s", r->dir, *name ? "/" : "", name);
}

int rig_queue(const struct rig *r, unsigned long bytes)
{
    struct msgqueue q = MSGQUEUE_NONE;
    struct msqid_ds ds;
    struct err e;

    ck_assert_msg(msgqueue_attach(&q, r->dir, LOG_COLLECTOR, &e) == 0, "%s",
                  e.text);
    ck_assert_int_eq(msgctl(q.id, IPC_STAT, &ds), 0);
    ds.msg_qbytes = bytes;
    ck_assert_int_eq(msgctl(q.id, IPC_SET, &ds), 0);
    return q.id;
}

void rig_pause(void)
{
    (void)poll(NULL, 0, 1);
}

static void errors_to_file(const struct rig *r)
{
    int fd = open(r->errors, O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(9);
    close(fd);
}

/* To the collector that was started last. */
static int last_line = -1;

static int collect(const struct rig *r, int its_line)
{
    struct log_collect o = { .queue_dir = r->dir,
                             .file = r->file,
                             .line = its_line,
                             .linger_ms = 5000 };
    struct err e;

    o.fd = logfile_open(r->file, 0, &e);
    return o.fd >= 0 && log_collect(&o, &e) == 0 ? 0 : 1;
}

void rig_reopen(const struct rig *r, pid_t collector)
{
    struct log_collect o = { .file = r->file };
    struct err e;

    o.fd = logfile_open(r->file, 0, &e);
    ck_assert_int_ge(o.fd, 0);
    ck_assert_int_eq(log_hand_over(last_line, &o, LOG_INFO, LOG_TEXT, &e), 0);
    close(o.fd);
    kill(collector, SIGHUP);
}

pid_t rig_collect(const struct rig *r, const struct fs_ops *ops)
{
    int end[2];

    if (last_line >= 0)
        close(last_line);
    ck_assert_int_eq(line_pair(end, NULL), 0);
    last_line = end[0];
    pid_t pid = fork();

    if (pid == 0) { /* says nothing to Check: it may be killed in that */
        errors_to_file(r);
        fs_replace(ops);
        close(last_line);
        _exit(collect(r, end[1]));
    }
    close(end[1]);
    ck_assert(pid >= 0);
    RIG_UNTIL(log_collector_alive(r->dir) || rig_over(pid));
    return pid;
}

void rig_write_here(const struct lines *l)
{
    char pad[8192];

    memset(pad, 'x', sizeof pad);
    for (int i = l->first; i < l->last; i++) {
        LOG(LOG_INFO, "test.line", LN("w", l->w), LN("i", i),
            LB("pad", pad, l->pad), LS("end", "END"));
        if (l->turn > 0 && i % l->turn == 0)
            log_flush();
    }
}

pid_t rig_write(const struct rig *r, const struct lines *l)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct err e;
        errors_to_file(r);
        if (log_open(r->dir, LOG_INFO, LOG_TEXT, &e) != 0)
            _exit(1);
        rig_write_here(l);
        log_close();
        _exit(0);
    }
    ck_assert(pid >= 0);
    return pid;
}

int rig_wait(pid_t pid)
{
    int status = -1;

    RIG_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    return status;
}

int rig_end(pid_t pid, int signo)
{
    kill(pid, signo);
    return rig_wait(pid);
}

bool rig_over(pid_t pid)
{
    siginfo_t info = { 0 };

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid;
}

size_t rig_size(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 ? (size_t)st.st_size : 0;
}

bool rig_contains(const char *file, const char *text)
{
    static char line[16384];
    FILE *f = fopen(file, "r");
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strstr(line, text) != NULL;
    if (f != NULL)
        fclose(f);
    return found;
}

static void count_lines(const char *file, unsigned char *seen, int nw, int n)
{
    static char line[16384];
    FILE *f = fopen(file, "r");
    int w, i;

    ck_assert_msg(f != NULL, "no file %s", file);
    while (fgets(line, sizeof line, f) != NULL) {
        size_t len = strlen(line);
        if (strstr(line, " log.") != NULL) /* the log's own events */
            continue;
        const char *at = strstr(line, "Z info test.line ");
        ck_assert_msg(at == line + 26 && len > 5 &&
                          strcmp(line + len - 5, " END\n") != 0 &&
                          strcmp(line + len - 9, " end=END\n") == 0,
                      "not a whole line: %.200s", line);
        ck_assert(sscanf(at, "Z info test.line w=%d i=%d ", &w, &i) == 2);
        ck_assert(w >= 0 && w < nw && i >= 0 && i < n);
        seen[w * n + i]++;
    }
    fclose(f);
}

void rig_check_once(const char *const *files, int nw, int n)
{
    unsigned char *seen = calloc((size_t)nw * (size_t)n, 1);

    ck_assert(seen != NULL);
    for (; *files != NULL; files++)
        count_lines(*files, seen, nw, n);
    int wrong = 0, first = 0, last = 0, times = 1;
    for (int i = 0; i < nw * n; i++) {
        if (seen[i] == 1)
            continue;
        if (wrong++ == 0) {
            first = i;
            times = seen[i];
        }
        last = i;
    }
    free(seen); /* or each child of later tests reports it as lost */
    ck_assert_msg(wrong == 0,
                  "line %d of writer %d is there %d times, and %d more up to "
                  "line %d of writer %d",
                  first % n, first / n, times, wrong - 1, last % n, last / n);
}
