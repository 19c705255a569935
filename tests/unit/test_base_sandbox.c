/* test_base_sandbox.c - what each row of the table refuses, and what it needs.
 *
 * A child enters the row and tries everything; its exit status names the first
 * try that ended otherwise than the table says. */
#include "base/sandbox.h"

#include "few.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

enum { USER = 12345, OTHER_USER = 23456 };

static const char *const names[SANDBOX_ROWS] = {
    [SANDBOX_WORKER] = "worker",
    [SANDBOX_HELPER] = "helper",
    [SANDBOX_DELIVER] = "deliver",
    [SANDBOX_MAILBOX] = "mailbox",
    [SANDBOX_MAILBOX_USERS] = "mailbox of users",
    [SANDBOX_SENDER] = "sender",
    [SANDBOX_SENDER_UNIX] = "sender with a Unix socket",
    [SANDBOX_SIGNER] = "signer",
    [SANDBOX_TOKEN] = "token",
    [SANDBOX_COLLECTOR] = "collector",
};

#define ROW(r) (1u << (SANDBOX_##r))
#define SENDERS (ROW(SENDER) | ROW(SENDER_UNIX))
enum { EVERY_ROW = (1 << SANDBOX_ROWS) - 1 };

/* --- a system to be confined in ------------------------------------------- */

static char top[64];
static struct sandbox_paths paths;

static const char *at(const char *name)
{
    static char path[8][160];
    static unsigned next;
    char *p = path[next++ % 8];

    snprintf(p, sizeof path[0], "%s/%s", top, name);
    return p;
}

static void make_file(const char *name)
{
    int fd = open(at(name), O_CREAT | O_WRONLY, 0666);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0666), 0);
    close(fd);
}

static const char *const dirs[] = {
    "queue",    "queue/local",  "queue/remote", "queue/run", "mail",
    "mail/joe", "mail/joe/tmp", "mail/joe/new", "other"
};

static void set_up(void)
{
    static char queue[160], mail[160];

    snprintf(top, sizeof top, "/tmp/mta-sandbox.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    ck_assert_int_eq(chmod(top, 0755), 0);
    for (size_t i = 0; i < COUNT(dirs); i++) {
        ck_assert_int_eq(mkdir(at(dirs[i]), 0700), 0);
        ck_assert_int_eq(chmod(at(dirs[i]), 0777), 0);
    }
    make_file("queue/local/segment");
    make_file("queue/remote/segment");
    make_file("queue/run/key");
    make_file("mail/joe/tmp/letter");
    make_file("other/file");
    snprintf(queue, sizeof queue, "%s", at("queue"));
    snprintf(mail, sizeof mail, "%s", at("mail"));
    paths = (struct sandbox_paths){ .queue_dir = queue, .mail_dir = mail };
}

static void tear_down(void)
{
    char command[160];
    pid_t pid = fork();

    if (pid == 0) {
        snprintf(command, sizeof command, "%s", top);
        execl("/bin/rm", "rm", "-rf", command, (char *)NULL);
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* --- tries: 0, or -1 with errno ------------------------------------------- */

static int try_exec(void)
{
    char arg[] = "none", *argv[] = { arg, NULL }, *none[] = { NULL };

    (void)execve("/no/such/program", argv, none);
    return errno == ENOENT ? 0 : -1;
}

static int try_execveat(void)
{
    char arg[] = "true", *argv[] = { arg, NULL };

    return (int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
}

static int raw(long call)
{
    return (int)syscall(call, -1, -1, -1, -1, -1, -1);
}

static int try_socket(int family)
{
    int fd = socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0);

    return fd < 0 ? -1 : close(fd);
}

static int try_namespace(void)
{
    return (int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
}

static int try_ptrace(void)
{
    return (int)syscall(SYS_ptrace, 16L /* attach */, (long)getppid(), 0, 0);
}

static int try_terminal(void)
{
    return ioctl(0, TIOCSTI, "x");
}

static int try_setuid(void)
{
    return setuid(0);
}

static int try_seteuid(void)
{
    return (int)syscall(SYS_setresuid, -1, geteuid(), -1);
}

static int try_setgroups(void)
{
    gid_t g = getegid();

    return setgroups(1, &g);
}

/* The number of a call that there is on no system of this kind but x32. */
static int try_x32(void)
{
#ifdef __x86_64__
    return (int)syscall(0x40000000L + SYS_getpid);
#else
    errno = EPERM;
    return -1;
#endif
}

static int try_log(void)
{
    int id = msgget(IPC_PRIVATE, 0600);

    return id < 0 ? -1 : msgctl(id, IPC_RMID, NULL);
}

/* The parent is not confined. */
static int try_signal(void)
{
    return kill(getppid(), 0);
}

static int try_open(const char *name, int flags)
{
    int fd = open(name[0] == '/' ? name : at(name), flags, 0600);

    return fd < 0 ? -1 : close(fd);
}

struct
try {
    const char *name;
    int (*fn)(void);
    long call;      /* without fn: this one, with arguments that are wrong */
    int family;     /* or a socket of that family */
    unsigned rows;  /* in which it is allowed */
    unsigned needs; /* root */
};

static const struct try calls[] = {
    { "exec", try_exec, 0, 0, ROW(TOKEN), 0 },
    { "execveat", try_execveat, 0, 0, 0, 0 },
    { "ptrace", try_ptrace, 0, 0, 0, 0 },
    { "process_vm_readv", NULL, SYS_process_vm_readv, 0, 0, 0 },
    { "mount", NULL, SYS_mount, 0, 0, 0 },
    { "umount", NULL, SYS_umount2, 0, 0, 0 },
    { "pivot_root", NULL, SYS_pivot_root, 0, 0, 0 },
    { "chroot", NULL, SYS_chroot, 0, 0, 0 },
    { "unshare", NULL, SYS_unshare, 0, 0, 0 },
    { "setns", NULL, SYS_setns, 0, 0, 0 },
    { "namespace", try_namespace, 0, 0, 0, 0 },
    { "bpf", NULL, SYS_bpf, 0, 0, 0 },
    { "perf", NULL, SYS_perf_event_open, 0, 0, 0 },
    { "io_uring", NULL, 425, 0, 0, 0 },
    { "handle", NULL, SYS_open_by_handle_at, 0, 0, 0 },
    { "userfaultfd", NULL, SYS_userfaultfd, 0, 0, 0 },
    { "module", NULL, SYS_init_module, 0, 0, 0 },
    { "kexec", NULL, SYS_kexec_load, 0, 0, 0 },
    { "keyctl", NULL, SYS_keyctl, 0, 0, 0 },
    { "pidfd_getfd", NULL, 438, 0, 0, 0 },
    { "terminal", try_terminal, 0, 0, 0, 0 },
    { "x32", try_x32, 0, 0, 0, 0 },
    { "setuid", try_setuid, 0, 0, ROW(MAILBOX_USERS), 1 },
    { "seteuid", try_seteuid, 0, 0, ROW(MAILBOX_USERS), 0 },
    { "setgroups", try_setgroups, 0, 0, ROW(MAILBOX_USERS), 1 },
    { "capset", NULL, SYS_capset, 0, 0, 0 },
    { "IPv4", NULL, 0, AF_INET,
      ROW(WORKER) | SENDERS | ROW(HELPER) | ROW(TOKEN), 0 },
    { "unix", NULL, 0, AF_UNIX,
      ROW(HELPER) | ROW(MAILBOX_USERS) | ROW(SENDER_UNIX) | ROW(TOKEN), 0 },
    { "netlink", NULL, 0, AF_NETLINK, ROW(HELPER) | ROW(TOKEN), 0 },
    { "packet", NULL, 0, AF_PACKET, 0, 0 },
    { "vsock", NULL, 0, 40 /* AF_VSOCK */, 0, 0 },
    { "listen", NULL, SYS_listen, 0, 0, 0 },
    { "log", try_log, 0, 0,
      ROW(WORKER) | ROW(DELIVER) | SENDERS | ROW(COLLECTOR), 0 },
};

/* The kernel answers EPERM itself to who is not root, so only a try that must
 * succeed, or that root does not get, proves something there. */
static bool is_as_said(const struct try *t, enum sandbox_row row)
{
    bool may = (t->rows & (1u << row)) != 0;
    int rc;

    errno = 0;
    if (t->fn != NULL)
        rc = t->fn();
    else
        rc = t->family != 0 ? try_socket(t->family) : raw(t->call);
    if (may && t->needs && getuid() != 0)
        return true;
    return may ? rc == 0 : rc < 0 && errno == EPERM;
}

/* --- running them --------------------------------------------------------- */

static struct sandbox_report enter(enum sandbox_row row)
{
    struct sandbox_report r;

    sandbox_enter(row, &paths, &r);
    return r;
}

enum { SKIP = 254, ALL_WELL = 255 };

static int in_child(int (*fn)(enum sandbox_row), enum sandbox_row row)
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(row));
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "%s: died of signal %d", names[row],
                  WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return WEXITSTATUS(status);
}

static int try_calls(enum sandbox_row row)
{
    const struct sandbox_report r = enter(row);

    if (!r.seccomp)
        return SKIP;
    if (few_step() > 1)
        return ALL_WELL; /* valgrind makes the calls, and ends at a failed one */
    for (size_t i = 0; i < COUNT(calls); i++)
        if (!is_as_said(&calls[i], row))
            return (int)i;
    return ALL_WELL;
}

START_TEST(call)
{
    enum sandbox_row row = (enum sandbox_row)_i;
    int rc = in_child(try_calls, row);

    ck_assert_msg(rc != SKIP, "%s: seccomp is not in force", names[row]);
    ck_assert_msg(rc == ALL_WELL, "%s: %s", names[row],
                  rc < (int)COUNT(calls) ? calls[rc].name : "?");
}
END_TEST

/* Files: in which rows they can be opened so. */
enum { QUEUES = ROW(WORKER) | ROW(DELIVER) | SENDERS };
enum { BOXES = ROW(MAILBOX) | ROW(MAILBOX_USERS) };
enum { NSS = ROW(HELPER) | ROW(MAILBOX_USERS) };

static const struct {
    const char *name;
    int flags;
    unsigned rows;
} files[] = {
    { "queue/local/segment", O_RDWR, QUEUES },
    { "queue/remote/segment", O_RDWR | O_TRUNC, QUEUES },
    { "queue/local/fresh", O_RDWR | O_CREAT, QUEUES },
    { "queue/run/key", O_RDWR, QUEUES | ROW(COLLECTOR) },
    { "queue/run/fresh", O_RDWR | O_CREAT, QUEUES | ROW(COLLECTOR) },
    { "queue/fresh", O_RDWR | O_CREAT, 0 },
    { "queue", O_RDONLY, QUEUES | ROW(COLLECTOR) },
    { "queue/local", O_RDONLY, QUEUES | ROW(COLLECTOR) },
    { "mail/joe/tmp/letter", O_RDWR, BOXES | ROW(TOKEN) },
    { "mail/joe/tmp/fresh", O_RDWR | O_CREAT, BOXES | ROW(TOKEN) },
    { "mail/joe/new", O_RDONLY, BOXES | ROW(TOKEN) },
    { "other/file", O_RDONLY, ROW(TOKEN) },
    { "other/file", O_WRONLY, ROW(TOKEN) },
    { "other", O_RDONLY, ROW(TOKEN) },
    { "/", O_RDONLY, 0 },
    { "/etc/passwd", O_RDONLY, NSS | ROW(TOKEN) },
    { "/etc/passwd", O_WRONLY, ROW(TOKEN) },
    { "/proc/self/mem", O_RDONLY, ROW(TOKEN) },
};

static bool right(int rc, bool may)
{
    return may ? rc == 0 : rc < 0 && errno == EACCES;
}

static int try_files(enum sandbox_row row)
{
    const struct sandbox_report r = enter(row);

    /* A queue below a directory of a user is not kept from the programs. */
    if (r.landlock == 0 || (row == SANDBOX_TOKEN && getuid() != 0))
        return SKIP;
    for (size_t i = 0; i < COUNT(files); i++) {
        bool may = (files[i].rows & (1u << row)) != 0;
        if (may && getuid() != 0 && files[i].name[0] == '/')
            continue;
        if (!right(try_open(files[i].name, files[i].flags), may))
            return (int)i;
    }
    return ALL_WELL;
}

START_TEST(file)
{
    enum sandbox_row row = (enum sandbox_row)_i;

    set_up();
    int rc = in_child(try_files, row);
    tear_down();
    if (rc == SKIP)
        return; /* see the test "in force" */
    ck_assert_msg(rc == ALL_WELL, "%s: %s, flags %#x", names[row],
                  files[rc % (int)COUNT(files)].name,
                  (unsigned)files[rc % (int)COUNT(files)].flags);
}
END_TEST

/* A letter goes from tmp to new; a mailbox is made. */
static int try_move(enum sandbox_row row)
{
    const struct sandbox_report r = enter(row);

    if (r.landlock == 0)
        return SKIP;
    if (rename(at("mail/joe/tmp/letter"), at("mail/joe/new/letter")) != 0)
        return 1;
    if (mkdir(at("mail/ann"), 0700) != 0 || rmdir(at("mail/ann")) != 0)
        return 2;
    if (rename(at("mail/joe/new/letter"), at("other/letter")) == 0)
        return 3;
    if (link(at("other/file"), at("mail/joe/new/other")) == 0)
        return 4;
    if (symlink("/etc/passwd", at("mail/joe/new/link")) == 0)
        return 5;
    return ALL_WELL;
}

START_TEST(move)
{
    set_up();
    int rc =
        in_child(try_move, _i == 0 ? SANDBOX_MAILBOX : SANDBOX_MAILBOX_USERS);
    tear_down();
    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "step %d", rc);
}
END_TEST

/* Homes: what stands beside the queue, but neither it nor the system. */
static int try_homes(enum sandbox_row row)
{
    paths.mail_dir = NULL;
    const struct sandbox_report r = enter(row);

    if (r.landlock == 0)
        return SKIP;
    if (try_open("mail/joe/tmp/letter", O_RDWR) != 0)
        return 1;
    if (try_open("other/file", O_RDWR) != 0)
        return 2;
    if (getuid() == 0 && try_open("queue/local/segment", O_RDONLY) == 0)
        return 3;
    if (getuid() == 0 && try_open("queue/run/key", O_WRONLY) == 0)
        return 4;
    if (try_open("/proc/self/mem", O_RDONLY) == 0 ||
        try_open("/etc/passwd", O_RDWR) == 0)
        return 5;
    return ALL_WELL;
}

START_TEST(homes)
{
    set_up();
    int rc = in_child(try_homes, SANDBOX_MAILBOX_USERS);
    tear_down();
    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "step %d", rc);
}
END_TEST

/* A worker reaches the ports of its name servers by TCP and no others. */
static int connect_to(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int rc = connect(fd, (const struct sockaddr *)&to, sizeof to);
    int why = errno;
    close(fd);
    errno = why;
    return rc;
}

static int try_ports(enum sandbox_row row)
{
    paths.dns_port[paths.ndns++] = 5353;
    const struct sandbox_report r = enter(row);

    if (r.landlock < 4)
        return SKIP;
    if (connect_to(5353) != 0 && errno == EACCES)
        return 1;
    bool any = connect_to(2526) == 0 || errno != EACCES;
    return any == (row == SANDBOX_SENDER) ? ALL_WELL : 2;
}

START_TEST(port)
{
    static const enum sandbox_row rows[] = { SANDBOX_WORKER, SANDBOX_SENDER };

    set_up();
    int rc = in_child(try_ports, rows[_i]);
    tear_down();
    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "%s: step %d", names[rows[_i]],
                  rc);
}
END_TEST

static int try_signals(enum sandbox_row row)
{
    const struct sandbox_report r = enter(row);

    if (r.landlock < 6)
        return SKIP;
    if (kill(getpid(), 0) != 0)
        return 1;
    return try_signal() == 0 || errno != EPERM ? 2 : ALL_WELL;
}

START_TEST(signal_to_others)
{
    set_up();
    int rc = in_child(try_signals, (enum sandbox_row)_i);
    tear_down();
    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "%s: step %d", names[_i], rc);
}
END_TEST

/* --- identities ----------------------------------------------------------- */

/* Root's capabilities are those of the row, and come back with its euid. */
static unsigned long capabilities(const char *field)
{
    unsigned long mask = ~0ul;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            mask = strtoul(line + strlen(field) + 1, NULL, 16);
    if (f != NULL)
        fclose(f);
    return mask;
}

static int try_capabilities(enum sandbox_row row)
{
    struct sandbox_report r;
    unsigned long ids =
        1ul << 0 | 1ul << 2 | 1ul << 6 | 1ul << 7; /* as documented */

    if (row == SANDBOX_MAILBOX && setuid(USER) != 0)
        return SKIP; /* as an ordinary user it has none */
    sandbox_enter(row, NULL, &r);
    unsigned long want =
        row == SANDBOX_MAILBOX_USERS && getuid() == 0 ? ids : 0;
    if (capabilities("CapEff:") != want || capabilities("CapPrm:") != want)
        return 1;
    if (capabilities("NoNewPrivs:") != 1)
        return 2;
    return r.seccomp && capabilities("Seccomp:") != 2 ? 3 : ALL_WELL;
}

START_TEST(capability)
{
    int rc = in_child(try_capabilities, (enum sandbox_row)_i);

    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "%s: step %d", names[_i], rc);
}
END_TEST

/* As one user a mailbox process cannot touch the mailbox of another, and can
 * become that user; as root it can write to neither. */
static int try_users(enum sandbox_row row)
{
    if (chown(at("mail/joe"), USER, USER) != 0 ||
        chmod(at("mail/joe"), 0700) != 0 ||
        chown(at("mail/joe/tmp/letter"), USER, USER) != 0 ||
        chmod(at("mail/joe/tmp/letter"), 0600) != 0)
        return SKIP;
    const struct sandbox_report r = enter(row);
    if (!r.seccomp)
        return SKIP;
    if (try_open("mail/joe/tmp/letter", O_RDWR) == 0)
        return 1;
    if (setegid(OTHER_USER) != 0 || seteuid(OTHER_USER) != 0)
        return 2;
    if (try_open("mail/joe/tmp/letter", O_RDWR) == 0)
        return 3;
    if (seteuid(0) != 0 || setegid(USER) != 0 || seteuid(USER) != 0)
        return 4;
    return try_open("mail/joe/tmp/letter", O_RDWR) == 0 ? ALL_WELL : 5;
}

START_TEST(users)
{
    if (getuid() != 0)
        return;
    set_up();
    int rc = in_child(try_users, SANDBOX_MAILBOX_USERS);
    tear_down();
    ck_assert_msg(rc == ALL_WELL, "step %d", rc);
}
END_TEST

/* Root does not come back in a row that has left it. */
static int try_return(enum sandbox_row row)
{
    if (getuid() != 0 || seteuid(USER) != 0)
        return SKIP;
    enter(row); /* saved and real id are still root's */
    return seteuid(0) == 0 || setuid(0) == 0 ? 1 : ALL_WELL;
}

START_TEST(comes_back)
{
    enum sandbox_row row = (enum sandbox_row)_i;

    if (row == SANDBOX_MAILBOX_USERS)
        return;
    int rc = in_child(try_return, row);
    ck_assert_msg(rc == SKIP || rc == ALL_WELL, "%s", names[row]);
}
END_TEST

/* --- in force ------------------------------------------------------------- */

static int report_of(enum sandbox_row row)
{
    struct sandbox_report r = enter(row);

    if (r.landlock == 0)
        fprintf(stderr, "test_base_sandbox: files are not tried: %s\n",
                r.why.text);
    return r.no_new_privileges && (r.seccomp || r.landlock > 0) ? ALL_WELL : 0;
}

/* A kernel may lack one of the two. */
START_TEST(in_force)
{
    set_up();
    int rc = in_child(report_of, SANDBOX_WORKER);
    tear_down();
    ck_assert_int_eq(rc, ALL_WELL);
}
END_TEST

Suite *base_sandbox_suite(void);

Suite *base_sandbox_suite(void)
{
    Suite *s = suite_create("base.sandbox");
    TCase *t = tcase_create("rows");

    tcase_add_loop_test(t, call, 0, SANDBOX_ROWS);
    tcase_add_loop_test(t, file, 0, SANDBOX_ROWS);
    tcase_add_loop_test(t, signal_to_others, 0, SANDBOX_ROWS);
    tcase_add_loop_test(t, capability, 0, SANDBOX_ROWS);
    tcase_add_loop_test(t, comes_back, 0, SANDBOX_ROWS);
    tcase_add_loop_test(t, move, 0, 2);
    tcase_add_loop_test(t, port, 0, 2);
    tcase_add_test(t, homes);
    tcase_add_test(t, users);
    tcase_add_test(t, in_force);
    suite_add_tcase(s, t);
    return s;
}
