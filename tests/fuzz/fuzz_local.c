/* fuzz_local.c - the files of aliases and users, and who gets mail by them.
 *
 * The input is a file of users, a NUL, a file of aliases, a NUL, and an
 * address that is looked up, as are the names in both files. */
#include "fuzz.h"

#include "base/fs.h"
#include "config/conf.h"
#include "mailbox/request.h"
#include "recipient/alias.h"
#include "recipient/relay.h"
#include "recipient/resolve.h"

#include <fcntl.h>
#include <unistd.h>

enum { TARGETS = 1000 };

static bool lenient; /* every input is read in both ways */
static char dir[64], users[96], aliases[96], source[112];
static struct {
    enum local_kind kind[TARGETS];
    char *name[TARGETS];
    size_t n;
} got;

static void remove_files(void)
{
    unlink(users);
    unlink(aliases);
    rmdir(dir);
}

static void prepare(void)
{
    snprintf(dir, sizeof dir, "%s/fuzz-local-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(dir) != NULL);
    snprintf(users, sizeof users, "%s/users", dir);
    snprintf(aliases, sizeof aliases, "%s/aliases", dir);
    snprintf(source, sizeof source, "file:%s", users);
    atexit(remove_files);
}

static void write_file(const char *path, struct span s)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    MUST(fd >= 0 && write(fd, s.p, s.n) == (ssize_t)s.n);
    close(fd);
}

static int on_target(void *ctx, const struct local_target *t)
{
    const struct local *l = ctx;
    const char *at = strrchr(t->name, '@');

    MUST(got.n < TARGETS);
    switch (t->kind) {
    case LOCAL_MAILBOX:
        MUST(local_check_key(l, t->name) == LOCAL_OK);
        MUST(mailbox_name_valid(
            (struct span){ t->name, span_find(span_of(t->name), '@') }));
        break;
    case LOCAL_REMOTE:
    case LOCAL_NO_USER:
        MUST(at != NULL && at > t->name && at[1] != '\0' &&
             local_has_domain(l, span_of(at + 1)) ==
                 (t->kind == LOCAL_NO_USER));
        break;
    case LOCAL_DISCARD: MUST(got.n == 0); break;
    case LOCAL_COMMAND:
        MUST(lenient && local_check_key(l, t->name) == LOCAL_UNSUPPORTED);
        break;
    }
    for (size_t i = 0; i < got.n; i++)
        MUST(got.kind[i] != t->kind ||
             strcmp(got.name[i], t->name) != 0); /* each is named once */
    got.kind[got.n] = t->kind;
    got.name[got.n++] = strdup(t->name);
    return 0;
}

static void forget(void)
{
    while (got.n > 0)
        free(got.name[--got.n]);
}

/* What is refused at RCPT leads nowhere; a key is that of the only target. */
static void check(const struct local *l, struct span name, enum local_verdict v)
{
    char key[LOCAL_KEY_MAX];
    enum local_verdict rcpt = local_check(l, name, span_of("here.test"), key);

    MUST((rcpt == LOCAL_UNKNOWN) <= (v == LOCAL_UNKNOWN));
    MUST(key[0] == '\0' || (rcpt == LOCAL_OK && v == LOCAL_OK && got.n == 1 &&
                            strcmp(got.name[0], key) == 0));
}

/* A user without an alias gets his mail; case does not matter. */
static void resolve(struct local *l, struct span name)
{
    enum local_verdict v, upper;
    struct local_path path;
    char *copy = exact_copy((const uint8_t *)name.p, name.n);
    size_t n;

    v = local_resolve(l, name, span_of("here.test"), on_target, l, &path);
    MUST(path.owner[0] == '\0' || path.alias[0] != '\0');
    check(l, name, v);
    MUST((v == LOCAL_OK) == (got.n > 0) || v == LOCAL_STOPPED);
    n = got.n;
    forget();
    for (size_t i = 0; i < name.n; i++)
        if (copy[i] >= 'a' && copy[i] <= 'z')
            copy[i] = (char)(copy[i] - 'a' + 'A');
    upper = local_resolve(l, (struct span){ copy, name.n },
                          span_of("HERE.test"), on_target, l, NULL);
    MUST(upper == v && got.n == n);
    forget();
    free(copy);
}

/* Everything in a file that could be a name. */
static void resolve_words(struct local *l, struct span s)
{
    unsigned words = 0;

    for (size_t i = 0, n; i < s.n && words < 16; i += n + 1, words++) {
        for (n = 0; i + n < s.n && strchr(":, \n\r\t@\"", s.p[i + n]) == NULL;)
            n++;
        if (n > 0)
            resolve(l, (struct span){ s.p + i, n });
    }
}

/* The file of users as one of recipients of a relay domain. */
static void try_relay(struct span lines)
{
    struct conf_relay item = { .domain = "relay.test" };
    const struct conf_relays c = { 1, &item };
    struct relay *r = NULL;
    struct err e = { ERR_NONE, 0, "" };

    snprintf(item.recipients, sizeof item.recipients, "%s", users);
    if (relay_open(&r, &c, "+", &e) != 0) {
        MUST(e.kind == ERR_USAGE && e.text[0] != '\0' && r == NULL);
        return;
    }
    MUST(relay_check(r, lines, span_of("x.relay.test")) == RELAY_NO);
    MUST(relay_check(r, span_of("Postmaster+x"), span_of("RELAY.test")) ==
         RELAY_OK);
    for (size_t i = 0, n; i < lines.n; i += n + 1) {
        struct span name = { lines.p + i, lines.n - i };
        n = name.n = span_find(name, '\n');
        bool plain = n > 0 && n < 64;
        for (size_t k = 0; k < n; k++)
            plain &= ascii_is_alnum(name.p[k]);
        MUST(!plain || relay_check(r, name, span_of("relay.test")) == RELAY_OK);
    }
    relay_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct conf_domain domains[] = { { "here.test" }, { "localhost" } };
    struct conf_local o = { .domains = { 2, domains },
                            .max_targets = TARGETS,
                            .recipient_delimiter = "+-" };
    struct local *l = NULL;
    struct err e = { ERR_NONE, 0, "" };

    if (dir[0] == '\0')
        prepare();
    char *copy = exact_copy(data, n);
    struct span whole = { copy, n }, u = whole;
    u.n = span_find(whole, '\0');
    size_t used = u.n < n ? u.n + 1 : n;
    struct span rest = { copy + used, n - used }, a = rest;
    a.n = span_find(rest, '\0');
    used = a.n < rest.n ? a.n + 1 : rest.n;
    write_file(users, u);
    write_file(aliases, a);
    try_relay(u);
    o.users.source = CONF_USERS_FILE;
    snprintf(o.users.path, sizeof o.users.path, "%s", users);
    snprintf(o.aliases, sizeof o.aliases, "%s", aliases);
    for (int i = 0; i < 2; i++) {
        lenient = o.aliases_usual = i == 1;
        if (local_open(&l, &o, &e) != 0) {
            MUST(e.kind == ERR_USAGE && e.text[0] != '\0' && l == NULL);
            continue;
        }
        resolve(l, (struct span){ rest.p + used, rest.n - used });
        resolve(l, span_of("postmaster"));
        resolve_words(l, u);
        resolve_words(l, a);
        local_close(&l);
    }
    free(copy);
    return 0;
}
