/* fuzz_serve.c - a whole session of the server, from the bytes of a client.
 *
 * The same bytes come in one piece and in many (the first octet says how they
 * are cut).  The replies and what is then in the queues must be the same, each
 * message that was promised must be there, and no other.  So neither the
 * network nor an attacker can choose how a stream is read. */
#include "fuzz.h"

#include "base/fs.h"
#include "base/os.h"
#include "config/load.h"
#include "log/log.h"
#include "serve/worker.h"
#include "spool/dirs.h"
#include "spool/queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPLIES = 256 * 1024, INPUT = 64 * 1024 };

static char dir[64], queue[80], users[80];
static struct conf conf;
static struct serve_shared shared;
static struct serve_worker w;

/* What came of one run. */
struct outcome {
    char replies[REPLIES];
    size_t n, promised, queued;
    uint64_t content; /* a sum over all queued messages */
};

/* --- surroundings --------------------------------------------------------- */

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static int no_room(int fd, off_t size)
{
    return ftruncate(fd, size);
}

static off_t empty(const char *path)
{
    char file[400];
    struct stat st;
    off_t sum = 0;
    DIR *d = opendir(path);

    for (struct dirent *n; d != NULL && (n = readdir(d)) != NULL;) {
        snprintf(file, sizeof file, "%s/%s", path, n->d_name);
        if (n->d_name[0] != '.' && stat(file, &st) == 0 && unlink(file) == 0)
            sum += st.st_size;
    }
    if (d != NULL)
        closedir(d);
    return sum;
}

static void remove_all(void)
{
    static const char *const names[] = { "queue/remote", "queue/local",
                                         "queue/run", "queue", "." };
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        empty(path);
        rmdir(path);
    }
    rmdir(dir);
}

static void load_conf(void)
{
    static struct conf_loading ld;
    static const struct conf_source none = { NULL, NULL, 0, NULL, NULL };
    char text[1024];
    struct err e;

    snprintf(text, sizeof text,
             "hostname = \"here.test\"; queue_dir = \"%s\"; local = {"
             " users = \"file:%s\";"
             " domains = [ \"here.test\" ]; }; serve = { rdns = \"off\";"
             " extra_commands = [ \"NOOP\", \"HELP\" ];"
             " max_message_size = \"20000\"; };",
             queue, users);
    if (conf_load_begin(&ld, &conf, &none, &e) != 0 ||
        conf_load_defaults(&ld, &e) != 0 ||
        conf_load_text(&ld, text, &e) != 0 || conf_load_derived(&ld, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
}

static void make_dirs(void)
{
    struct err e;

    snprintf(dir, sizeof dir, "%s/fuzz-serve-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(dir) != NULL);
    snprintf(queue, sizeof queue, "%s/queue", dir);
    snprintf(users, sizeof users, "%s/users", dir);
    FILE *f = fopen(users, "w");
    MUST(f != NULL && fputs("ann\nbob\n", f) >= 0 && fclose(f) == 0);
    MUST(spool_dirs_make(queue, (uid_t)-1, (gid_t)-1, &e) == 0);
    atexit(remove_all);
}

static void prepare(void)
{
    static struct fs_ops ops;
    struct err e;

    signal(SIGPIPE, SIG_IGN);
    log_style((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
    ops = fs_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync;
    ops.allocate = no_room;
    fs_replace(&ops);
    make_dirs();
    load_conf();
    w.conf = shared.conf = &conf;
    w.shared = &shared;
    list_init(&w.sessions);
    list_init(&w.dead);
    MUST(clients_new(&shared.clients, 1, &e) == 0);
    MUST(unknown_new(&shared.unknown, &e) == 0);
    MUST(loop_new(&w.loop, NULL, &e) == 0);
    MUST(conn_env_init(&w.env, w.loop, 1024, &e) == 0);
    w.bodies = chain_pool_new(1024);
    MUST(w.bodies != NULL);
    MUST(dns_open_conf(&w.dns, w.loop, &conf, &e) == 0);
    MUST(local_open(&w.local, &conf.local, &e) == 0);
}

/* --- one run ---------------------------------------------------------------- */

static void turn(void)
{
    struct list *l;
    struct err e;

    MUST(loop_turn(w.loop, 0, &e) >= 0);
    if (serve_commit_waiting(w.commit) > 0)
        serve_commit_run(w.commit);
    conn_flush_all(&w.env);
    while ((l = list_pop(&w.dead)) != NULL) {
        struct serve_session *s = serve_session_of_link(l);
        serve_session_free(&s);
    }
}

static void hear(struct outcome *o, int fd)
{
    ssize_t n;

    while ((n = recv(fd, o->replies + o->n, sizeof o->replies - o->n,
                     MSG_DONTWAIT)) > 0)
        o->n += (size_t)n;
    MUST(o->n < sizeof o->replies);
}

static void say(struct outcome *o, int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done < 0 && errno == EPIPE)
            return; /* it has closed */
        MUST(done > 0 || errno == EAGAIN);
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
        turn();
        hear(o, fd);
    }
}

/* The next piece of so many octets; seed 0: all of it. */
static size_t piece_of(unsigned *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525 + 1013904223;
    size_t n = (*seed >> 8 & 3) == 0 ? 1 : (*seed >> 16 & 63) + 1;
    return n < left ? n : left;
}

static void converse(struct outcome *o, struct span in, unsigned seed)
{
    struct addr peer;
    struct err e;
    int fd[2];

    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    MUST(addr_parse_ip(&peer, span_of("127.0.0.1"), 4242));
    struct serve_session *s = serve_session_new(&w.sessions_env, &peer, 0);
    MUST(s != NULL);
    list_push(&w.sessions, serve_session_link(s));
    w.nsessions++;
    clients_add(shared.clients, w.row, &peer);
    MUST(serve_session_start(s, fd[0], &e) == 0);
    turn();
    for (size_t at = 0, n; at < in.n; at += n) {
        n = piece_of(&seed, in.n - at);
        say(o, fd[1], in.p + at, n);
    }
    shutdown(fd[1], SHUT_WR);
    for (int i = 0; i < 1000 && w.nsessions > 0; i++) {
        turn();
        hear(o, fd[1]);
    }
    MUST(w.nsessions == 0);
    hear(o, fd[1]);
    close(fd[1]);
    MUST(pool_used(w.env.blocks) == 0);
}

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    uint64_t *h = ctx;

    *h = (*h ^ (unsigned)type) * 1099511628211u;
    for (size_t i = 0; i < s.n && type != SPOOL_F_SID; i++)
        *h = (*h ^ (unsigned char)s.p[i]) * 1099511628211u;
    return 0;
}

/* Without our own trace field, in which a time stands. */
static uint64_t hash_body(uint64_t h, const char *p, size_t n)
{
    size_t at = 0;

    do {
        const char *lf = memchr(p + at, '\n', n - at);
        MUST(lf != NULL);
        at = (size_t)(lf - p) + 1;
    } while (at < n && (p[at] == ' ' || p[at] == '\t') && at < 1000);
    for (; at < n; at++) {
        MUST(p[at] != '\r' || (at + 1 < n && p[at + 1] == '\n'));
        MUST(p[at] != '\n' || p[at - 1] == '\r');
        h = (h ^ (unsigned char)p[at]) * 1099511628211u;
    }
    MUST(n == 0 || p[n - 1] == '\n');
    return h;
}

static int on_message(void *ctx, const struct spool_reader *v)
{
    static char text[INPUT + 4096];
    struct outcome *o = ctx;
    struct body b;
    uint64_t h = 1469598103934665603u;
    struct err e;

    MUST(spool_reader_envelope(v, on_field, &h, &e) == 0);
    struct body_cursor c = { 0 };
    MUST(spool_reader_body(v, &b, &e) == 0 && b.size <= sizeof text);
    MUST(body_next(&b, &c, text, sizeof text) == (ssize_t)b.size);
    o->content += hash_body(h, text, (size_t)b.size);
    o->queued++;
    return 0;
}

/* Ids are of this run alone; replies must be lines of SMTP. */
static void clean_replies(struct outcome *o)
{
    static const char yes[] = "250 2.0.0 Ok: queued as ";
    size_t word = 0;

    for (size_t i = 0; i < o->n; i++) {
        char c = o->replies[i];
        MUST((c == '\n') == (i > 0 && o->replies[i - 1] == '\r'));
        MUST(c == '\r' || c == '\n' || (c >= ' ' && c <= '~'));
        word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ? word + 1 : 0;
        if (word == MSG_ID_TEXT - 1)
            memset(o->replies + i + 1 - word, 'X', word);
    }
    MUST(o->n == 0 || o->replies[o->n - 1] == '\n');
    for (size_t i = 0; i + sizeof yes < o->n; i++)
        o->promised += (i == 0 || o->replies[i - 1] == '\n') &&
                       memcmp(o->replies + i, yes, sizeof yes - 1) == 0;
}

static void run(struct outcome *o, struct span in, unsigned seed)
{
    static const char *const queues[] = { "local", "remote" };
    char segments[100];
    struct err e;

    o->n = o->promised = o->queued = 0;
    o->content = 0;
    MUST(serve_commit_open(&w.commit, queue, serve_session_committed, &e) == 0);
    MUST(serve_worker_open_env(&w, &e) == 0);
    converse(o, in, seed);
    MUST(spool_read_all(queue, true, on_message, o, &e) == 0);
    serve_env_close(&w.sessions_env);
    serve_commit_close(&w.commit);
    for (int q = 0; q < SPOOL_QUEUES; q++) {
        snprintf(segments, sizeof segments, "%s/%s", queue, queues[q]);
        empty(segments);
    }
    clean_replies(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct outcome whole, parts;

    if (n == 0 || n > INPUT)
        return 0;
    if (dir[0] == '\0')
        prepare();
    char *copy = exact_copy(data + 1, n - 1);
    struct span in = { copy, n - 1 };

    run(&whole, in, 0);
    run(&parts, in, data[0] + 1u);
    MUST(whole.n == parts.n &&
         memcmp(whole.replies, parts.replies, whole.n) == 0);
    MUST(whole.queued == parts.queued && whole.content == parts.content);
    MUST(whole.promised == whole.queued);
    free(copy);
    return 0;
}
