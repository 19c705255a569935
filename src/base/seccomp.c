/* seccomp.c - calls that a process never needs are answered with EPERM.
 *
 * A list of refused calls, not of allowed ones: libc, OpenSSL and sanitizers
 * change the calls they make, and a list of allowed calls would stop mail after
 * an update of the system. */
#include "base/sandbox_private.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__)
enum { ARCHITECTURE = (int)AUDIT_ARCH_X86_64 };
#define X32_CALLS 0x40000000u /* the other set of calls of this architecture */
#elif defined(__aarch64__)
enum { ARCHITECTURE = (int)AUDIT_ARCH_AARCH64 };
#else
enum { ARCHITECTURE = 0 };
#endif

/* Headers may be older than the kernel.  From 424 on the numbers are the same
 * on every architecture. */
enum {
    CALL_IO_URING_SETUP = 425,
    CALL_IO_URING_ENTER = 426,
    CALL_IO_URING_REGISTER = 427,
    CALL_OPEN_TREE = 428,
    CALL_MOVE_MOUNT = 429,
    CALL_FSOPEN = 430,
    CALL_FSCONFIG = 431,
    CALL_FSMOUNT = 432,
    CALL_FSPICK = 433,
    CALL_CLONE3 = 435,
    CALL_PIDFD_GETFD = 438,
    CALL_PROCESS_MADVISE = 440,
    CALL_MOUNT_SETATTR = 442,
    CALL_QUOTACTL_FD = 443
};

/* Refused unless a process may do one of these things; 0: to every process. */
static const struct {
    int call;
    unsigned unless;
} refused[] = {
    /* other programs and processes */
    { SYS_execve, MAY_EXEC },
    { SYS_execveat, 0 },
    { SYS_ptrace, 0 },
    { SYS_process_vm_readv, 0 },
    { SYS_process_vm_writev, 0 },
    { SYS_kcmp, 0 },
    { CALL_PIDFD_GETFD, 0 },
    { CALL_PROCESS_MADVISE, 0 },
    /* what is mounted where, and what is whose namespace */
    { SYS_mount, 0 },
    { SYS_umount2, 0 },
    { SYS_pivot_root, 0 },
    { SYS_chroot, 0 },
    { SYS_unshare, 0 },
    { SYS_setns, 0 },
    { SYS_swapon, 0 },
    { SYS_swapoff, 0 },
    { SYS_quotactl, 0 },
    { CALL_OPEN_TREE, 0 },
    { CALL_MOVE_MOUNT, 0 },
    { CALL_FSOPEN, 0 },
    { CALL_FSCONFIG, 0 },
    { CALL_FSMOUNT, 0 },
    { CALL_FSPICK, 0 },
    { CALL_MOUNT_SETATTR, 0 },
    { CALL_QUOTACTL_FD, 0 },
    /* files past their directories */
    { SYS_open_by_handle_at, 0 },
    { SYS_fanotify_init, 0 },
    /* the kernel, and parts of it that had more than their share of faults */
    { SYS_bpf, 0 },
    { SYS_perf_event_open, 0 },
    { SYS_userfaultfd, 0 },
    { CALL_IO_URING_SETUP, 0 },
    { CALL_IO_URING_ENTER, 0 },
    { CALL_IO_URING_REGISTER, 0 },
    { SYS_add_key, 0 },
    { SYS_request_key, 0 },
    { SYS_keyctl, 0 },
    { SYS_init_module, 0 },
    { SYS_finit_module, 0 },
    { SYS_delete_module, 0 },
    { SYS_kexec_load, 0 },
#ifdef SYS_kexec_file_load
    { SYS_kexec_file_load, 0 },
#endif
    { SYS_reboot, 0 },
    { SYS_syslog, 0 },
    { SYS_acct, 0 },
    { SYS_settimeofday, 0 },
    { SYS_clock_settime, 0 },
    { SYS_adjtimex, 0 },
    { SYS_clock_adjtime, 0 },
    { SYS_sethostname, 0 },
    { SYS_setdomainname, 0 },
    { SYS_vhangup, 0 },
#ifdef SYS_iopl
    { SYS_iopl, 0 },
    { SYS_ioperm, 0 },
    { SYS_modify_ldt, 0 },
#endif
    /* another identity */
    { SYS_setuid, MAY_CHANGE_IDS },
    { SYS_setgid, MAY_CHANGE_IDS },
    { SYS_setreuid, MAY_CHANGE_IDS },
    { SYS_setregid, MAY_CHANGE_IDS },
    { SYS_setresuid, MAY_CHANGE_IDS },
    { SYS_setresgid, MAY_CHANGE_IDS },
    { SYS_setgroups, MAY_CHANGE_IDS },
    { SYS_setfsuid, MAY_CHANGE_IDS },
    { SYS_setfsgid, MAY_CHANGE_IDS },
    { SYS_capset, 0 },
    /* the network */
    { SYS_listen, 0 },
    { SYS_bind, MAY_BIND },
    { SYS_accept, MAY_ACCEPT },
    { SYS_accept4, MAY_ACCEPT },
    { SYS_connect, MAY_INET | MAY_UNIX },
    /* the log */
    { SYS_msgget, MAY_LOG },
    { SYS_msgsnd, MAY_LOG | MAY_SAY },
    { SYS_msgrcv, MAY_LOG },
    { SYS_msgctl, MAY_LOG },
    { SYS_shmget, MAY_LOG },
    { SYS_shmat, MAY_LOG },
    { SYS_shmctl, MAY_LOG },
};

/* What processes do all the time comes first: kernels before 5.11 walk through
 * the filter at each call. */
static const int frequent[] = { SYS_pselect6, SYS_read,   SYS_write,
                                SYS_recvfrom, SYS_sendto, SYS_pwritev,
                                SYS_pread64,  SYS_futex,  SYS_fdatasync,
                                SYS_recvmsg,  SYS_sendmsg };

static const struct {
    int family;
    unsigned may;
} families[] = {
    { AF_INET, MAY_INET },
    { AF_INET6, MAY_INET },
    { AF_UNIX, MAY_UNIX },
    { AF_NETLINK, MAY_NETLINK },
};

/* Requests that put input into the terminal of the operator. */
static const unsigned tty_requests[] = { TIOCSTI, TIOCLINUX };

/* clone() makes namespaces too. */
enum {
    NAMESPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
    ALLOW = SECCOMP_RET_ALLOW,
    REFUSE = SECCOMP_RET_ERRNO | EPERM,
    NO_SUCH_CALL = SECCOMP_RET_ERRNO | ENOSYS
};

/* --- the filter ----------------------------------------------------------- */

enum {
    FILTER_MAX = 2 * (sizeof refused / sizeof refused[0] +
                      sizeof frequent / sizeof frequent[0]) +
                 64
};

struct filter {
    struct sock_filter code[FILTER_MAX];
    unsigned short n;
};

static void add(struct filter *f, int code, unsigned k)
{
    f->code[f->n++] =
        (struct sock_filter){ .code = (unsigned short)code, .k = k };
}

static void load(struct filter *f, size_t offset)
{
    add(f, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset);
}

/* The low half of an argument: all that the kernel looks at in an int. */
static void load_argument(struct filter *f, unsigned i)
{
    load(f, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/* `test` (BPF_JEQ, BPF_JGE, BPF_JSET) with k: what is added until end_if() is
 * done only then.  Returns the place to give to end_if(). */
static unsigned short begin_if(struct filter *f, int test, unsigned k)
{
    add(f, BPF_JMP | test | BPF_K, k);
    return f->n;
}

static void end_if(struct filter *f, unsigned short begun)
{
    f->code[begun - 1].jf = (unsigned char)(f->n - begun);
}

static void answer_if(struct filter *f, int test, unsigned k, unsigned answer)
{
    unsigned short begun = begin_if(f, test, k);

    add(f, BPF_RET | BPF_K, answer);
    end_if(f, begun);
}

static void refuse_other_calls(struct filter *f)
{
    load(f, offsetof(struct seccomp_data, arch));
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)ARCHITECTURE);
    f->code[f->n - 1].jt = 1;
    add(f, BPF_RET | BPF_K, REFUSE);
    load(f, offsetof(struct seccomp_data, nr));
#ifdef X32_CALLS
    answer_if(f, BPF_JGE, X32_CALLS, REFUSE);
#endif
}

static void refuse_by_argument(struct filter *f, unsigned may)
{
    unsigned short begun = begin_if(f, BPF_JEQ, SYS_socket);

    load_argument(f, 0);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (families[i].may & may)
            answer_if(f, BPF_JEQ, (unsigned)families[i].family, ALLOW);
    add(f, BPF_RET | BPF_K, REFUSE);
    end_if(f, begun);

    begun = begin_if(f, BPF_JEQ, SYS_ioctl);
    load_argument(f, 1);
    for (size_t i = 0; i < sizeof tty_requests / sizeof tty_requests[0]; i++)
        answer_if(f, BPF_JEQ, tty_requests[i], REFUSE);
    add(f, BPF_RET | BPF_K, ALLOW);
    end_if(f, begun);

    begun = begin_if(f, BPF_JEQ, SYS_clone);
    load_argument(f, 0);
    answer_if(f, BPF_JSET, NAMESPACES, REFUSE);
    add(f, BPF_RET | BPF_K, ALLOW);
    end_if(f, begun);
    /* A filter cannot see its flags, which are in memory; libc then uses
     * clone(). */
    answer_if(f, BPF_JEQ, CALL_CLONE3, NO_SUCH_CALL);
}

static void build(struct filter *f, unsigned may)
{
    f->n = 0;
    refuse_other_calls(f);
    for (size_t i = 0; i < sizeof frequent / sizeof frequent[0]; i++)
        answer_if(f, BPF_JEQ, (unsigned)frequent[i], ALLOW);
    if (may & MAY_LOG)
        answer_if(f, BPF_JEQ, SYS_msgsnd, ALLOW);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if ((refused[i].unless & may) == 0)
            answer_if(f, BPF_JEQ, (unsigned)refused[i].call, REFUSE);
    refuse_by_argument(f, may);
    add(f, BPF_RET | BPF_K, ALLOW);
}

/* SPEC_ALLOW: the mitigation that older kernels add to filters protects
 * interpreters of foreign code from each other; there is none here, and it
 * costs time in every process. */
static int install(const struct sock_fprog *p)
{
#ifdef SECCOMP_FILTER_FLAG_SPEC_ALLOW
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_SPEC_ALLOW, p) == 0)
        return 0;
#endif
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, p, 0, 0);
}

int seccomp_enter(unsigned may, struct err *e)
{
    struct filter f;
    struct sock_fprog p = { .filter = f.code };

    if (ARCHITECTURE == 0)
        return err_set(e, ERR_TEMP, ENOSYS, "seccomp on this architecture");
    build(&f, may);
    p.len = f.n;
    if (install(&p) != 0)
        return err_set(e, ERR_TEMP, errno, "seccomp");
    return 0;
}
