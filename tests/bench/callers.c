/* callers.c - programs that call sendmail, many at a time.
 *
 *   callers -c 20 -n 1000 -s 1024 -- program argument ...
 *
 * Forks -c callers, each of which runs the program with a message of -s octets
 * on its standard input, waits for its end, and runs it again, until all of
 * them together have done so -n times.  Prints a line of JSON: calls that ended
 * with status 0, others, and seconds from the first start to the last end, with
 * the median, the 99th percentile and the longest of the calls in us. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int callers = 20, calls = 1000, size = 1024;

/* Shared by the callers. */
static struct {
    int next, errors;
    double took[];
} *all;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    fprintf(stderr, "callers: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A file without a name, whose descriptors each begin at its start. */
static int make_message(void)
{
    static const char head[] = "From: sender@client.test\n"
                               "Date: Mon, 30 Nov 2026 05:00:00 +0000\n"
                               "Message-ID: <1@client.test>\n"
                               "Subject: bench\n\n";
    char line[64];
    int fd = memfd_create("message", 0);

    if (fd < 0 || write(fd, head, sizeof head - 1) < 0)
        fatal("make a message");
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (int n = (int)sizeof head - 1; n < size; n += (int)sizeof line)
        if (write(fd, line, sizeof line) < 0)
            fatal("make a message");
    return fd;
}

static void call(const char *message, char **argv, int number)
{
    double start = now();
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        int in = open(message, O_RDONLY), null = open("/dev/null", O_WRONLY);
        dup2(in, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(126);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        __atomic_add_fetch(&all->errors, 1, __ATOMIC_RELAXED);
    all->took[number] = now() - start;
}

static void be_caller(const char *message, char **argv)
{
    int number;

    while ((number = __atomic_fetch_add(&all->next, 1, __ATOMIC_RELAXED)) <
           calls)
        call(message, argv, number);
    exit(0);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    qsort(all->took, (size_t)calls, sizeof all->took[0], ascending);
    printf("{\"messages\":%d,\"errors\":%d,\"seconds\":%.6f,\"rate\":%.1f,"
           "\"p50_us\":%.0f,\"p99_us\":%.0f,\"most_us\":%.0f}\n",
           calls - all->errors, all->errors, seconds, calls / seconds,
           all->took[calls / 2] * 1e6, all->took[calls - 1 - calls / 100] * 1e6,
           all->took[calls - 1] * 1e6);
}

int main(int argc, char **argv)
{
    char message[64];
    int c;

    while ((c = getopt(argc, argv, "c:n:s:")) != -1) {
        if (c == 'c')
            callers = atoi(optarg);
        else if (c == 'n')
            calls = atoi(optarg);
        else if (c == 's')
            size = atoi(optarg);
        else
            return 64;
    }
    all = mmap(NULL, sizeof *all + (size_t)calls * sizeof all->took[0],
               PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || optind == argc)
        fatal("begin");
    snprintf(message, sizeof message, "/proc/%d/fd/%d", (int)getpid(),
             make_message());
    double start = now();
    for (int i = 0; i < callers; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fatal("fork");
        if (pid == 0)
            be_caller(message, argv + optind);
    }
    while (wait(NULL) > 0)
        ;
    report(now() - start);
    return 0;
}
