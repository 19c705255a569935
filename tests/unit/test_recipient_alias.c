/* test_recipient_alias.c - included files, what is not supported, limits. */
#include "base/handdown.h"
#include "config/conf.h"
#include "recipient/local_files.h"
#include "recipient/resolve.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[3][80]; /* aliases, "one", "two" */

static void put(const char *where, const char *text)
{
    FILE *f = fopen(where, "w");

    ck_assert_ptr_nonnull(f);
    for (const char *p; (p = strchr(text, '%')) != NULL; text = p + 1)
        fprintf(f, "%.*s%s", (int)(p - text), text, dir);
    fputs(text, f);
    fclose(f);
}

static void set_up(void)
{
    static const char *const names[] = { "aliases", "one", "two" };

    snprintf(dir, sizeof dir, "/tmp/mta-unit-alias-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", dir, names[i]);
}

static void tear_down(void)
{
    char command[100];

    handdown_use(NULL);
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
    snprintf(command, sizeof command, "%s/link", dir);
    unlink(command);
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct conf_local settings(bool usual)
{
    static struct conf_domain domain[] = { { "one.example" } };
    struct conf_local c = { .domains = { 1, domain },
                            .users = { .source = CONF_USERS_ANY },
                            .aliases_usual = usual,
                            .max_targets = 10000,
                            .recipient_delimiter = "+" };

    snprintf(c.aliases, sizeof c.aliases, "%s", path[0]);
    return c;
}

static struct local *open_local(bool usual)
{
    struct conf_local c = settings(usual);
    struct local *l = NULL;
    struct err e;

    ck_assert_msg(local_open(&l, &c, &e) == 0, "%s", e.text);
    return l;
}

static int collect(void *ctx, const struct local_target *t)
{
    char *got = ctx;
    size_t n = strlen(got);

    snprintf(got + n, 1000 - n, "%d:%s ", t->kind, t->name);
    return 0;
}

static void expect(const struct local *l, const char *name,
                   enum local_verdict want, const char *targets)
{
    char got[1000] = "";
    enum local_verdict v = local_resolve(
        l, span_of(name), span_of("one.example"), collect, got, NULL);

    ck_assert_msg(v == want, "%s: verdict %d", name, v);
    ck_assert_msg(strcmp(got, targets) == 0, "%s: \"%s\"", name, got);
}

static void on_fault(void *ctx, const struct local_fault *f)
{
    char *got = ctx;
    size_t n = strlen(got);
    const char *why = f->why != NULL ? f->why : "no such user";

    snprintf(got + n, 1000 - n, "%s:%u:%s:%s: %.60s\n", strrchr(f->file, '/'),
             f->line, f->alias, f->member,
             strncmp(why, dir, strlen(dir)) == 0 ? why + strlen(dir) : why);
}

/* --- included files ----------------------------------------------------- */

START_TEST(targets_of_a_file)
{
    put(path[0], "list: ann, :include:%/one, bob\n"
                 "quoted: \":include:%/one\"\n"
                 "blank: :include: %/one, carl\n"
                 "both: :include:%/one, :include:%/two\n"
                 "empty: :include:%/two\n"
                 "empty-and-bob: :include:%/two, bob\n");
    put(path[1], "\357\273\277# members\n"
                 "  eve@far.example, \\dora\r\n"
                 "\n"
                 " # no more\n"
                 "bob\n"
                 "/dev/null");
    put(path[2], "# none yet\n");
    struct local *l = open_local(false);
    expect(l, "list", LOCAL_OK, "0:ann 1:eve@far.example 0:dora 0:bob ");
    expect(l, "quoted", LOCAL_OK, "1:eve@far.example 0:dora 0:bob ");
    expect(l, "blank", LOCAL_OK, "1:eve@far.example 0:dora 0:bob 0:carl ");
    expect(l, "both", LOCAL_OK, "1:eve@far.example 0:dora 0:bob ");
    expect(l, "empty", LOCAL_UNKNOWN, "");
    expect(l, "empty-and-bob", LOCAL_OK, "0:bob ");
    local_close(&l);
}
END_TEST

/* text: of the error with a file that was named, and of the member of the
 * usual file; '%' is the directory. */
static const struct {
    const char *name, *aliases, *one;
    mode_t mode;
    const char *error;
} include_cases[] = {
    { "missing", "l: bob, :include:%/none\n", "", 0600,
      ":1: open %/none: No such file" },
    { "a directory", "l: :include:%\n", "", 0600, ":1: % is not a file" },
    { "a link", "l: :include:%/link\n", "", 0600, ":1: %/link is a link" },
    { "its group may write", "\nl: :include:%/one\n", "bob", 0620,
      ":2: %/one is a link or others may write" },
    { "all may write", "l: :include:%/one\n", "bob", 0606,
      ":1: %/one is a link or others may write" },
    { "a bad line", "l: :include:%/one\n", "bob\na b\n", 0600,
      ":1: %/one:2: ',' expected" },
    { "a command", "l: :include:%/one\n", "bob\n|cat\n", 0600,
      ":2: delivery to a command" },
    { "nested", "l: :include:%/one\n", ":include:%/two\n", 0600,
      ":1: :include: in an included file" },
};

static void expand_text(char out[200], const char *text)
{
    const char *p = strchr(text, '%');

    snprintf(out, 200, "%.*s%s%s",
             p == NULL ? (int)strlen(text) : (int)(p - text), text,
             p == NULL ? "" : dir, p == NULL ? "" : p + 1);
}

static void put_include_case(int i)
{
    char link[100];

    put(path[0], include_cases[i].aliases);
    put(path[1], include_cases[i].one);
    ck_assert_int_eq(chmod(path[1], include_cases[i].mode), 0);
    snprintf(link, sizeof link, "%s/link", dir);
    ck_assert_int_eq(symlink("one", link), 0);
}

START_TEST(refused_in_a_named_file)
{
    struct conf_local c = settings(false);
    struct local *l = NULL;
    struct err e;
    char want[200];

    put_include_case(_i);
    ck_assert_int_eq(local_open(&l, &c, &e), -1);
    expand_text(want, include_cases[_i].error);
    ck_assert_msg(strstr(e.text, want) != NULL, "%s: %s",
                  include_cases[_i].name, e.text);
    ck_assert_int_eq(e.kind, ERR_USAGE);
}
END_TEST

/* None of the targets gets mail while one of them cannot be known. */
START_TEST(waits_in_the_usual_file)
{
    char got[1000] = "";

    put_include_case(_i);
    struct local *l = open_local(true);
    local_check_members(l, on_fault, got);
    ck_assert_msg(got[0] != '\0' && strstr(got, "no such user") == NULL,
                  "%s: %s", include_cases[_i].name, got);
    got[0] = '\0';
    enum local_verdict v = local_resolve(
        l, span_of("l"), span_of("one.example"), collect, got, NULL);
    bool others = strstr(got, "0:bob ") != NULL;
    ck_assert_msg(v == (others ? LOCAL_OK : LOCAL_UNSUPPORTED), "%s: %d %s",
                  include_cases[_i].name, v, got);
    ck_assert(!others || strstr(got, "4:") != NULL);
    local_close(&l);
}
END_TEST

/* --- copies ------------------------------------------------------------- */

static int take(void *ctx, const char *name, struct err *e)
{
    return handdown_take(ctx, name, e);
}

static int take_guarded(void *ctx, const char *name, struct err *e)
{
    return handdown_take_guarded(ctx, name, e);
}

static struct handdown *copies(void)
{
    struct conf_local c = settings(true);
    struct local_files f = { .file = take, .guarded = take_guarded };
    struct handdown *set;
    struct err e;

    ck_assert_int_eq(handdown_new(&set, &e), 0);
    f.ctx = set;
    struct handdown *before = handdown_use(set);
    ck_assert_msg(local_each_file(&c, &f, &e) == 0, "%s", e.text);
    handdown_use(before);
    return set;
}

START_TEST(read_from_copies_alone)
{
    put(path[0], "list: :include:%/one\nnews: :include:%/one\n"
                 "wide: :include:%/two\n");
    put(path[1], "ann\n");
    put(path[2], "bob\n");
    ck_assert_int_eq(chmod(path[2], 0666), 0);
    struct handdown *set = copies();
    put(path[1], "carl\n");
    handdown_use(set);
    struct local *l = open_local(true);
    expect(l, "list", LOCAL_OK, "0:ann ");
    expect(l, "news", LOCAL_OK, "0:ann ");
    expect(l, "wide", LOCAL_UNSUPPORTED, "");
    local_close(&l);
    ck_assert(!handdown_is_stale(set)); /* seen for the first time */
    ck_assert(handdown_is_stale(set));  /* and at rest */
    handdown_use(NULL);
    handdown_free(&set);
}
END_TEST

START_TEST(too_many_included_files)
{
    struct conf_local c = settings(false);
    struct local *l = NULL;
    struct err e;
    FILE *f = fopen(path[0], "w");

    for (int i = 0; i < 49; i++)
        fprintf(f, "l%d: :include:/no/such/%d\n", i, i);
    fclose(f);
    c.aliases_usual = true;
    ck_assert_int_eq(local_open(&l, &c, &e), -1);
    ck_assert_msg(strstr(e.text, ":49: too many included files") != NULL, "%s",
                  e.text);
}
END_TEST

/* --- the usual file ----------------------------------------------------- */

/* Debian's, and what packages add to it. */
static const char debian[] =
    "# See man 5 aliases for format\n"
    "postmaster:    root\n"
    "mailer-daemon: postmaster\n"
    "nobody: /dev/null\n"
    "www-data: root, |/usr/bin/logger -t a,b\n"
    "mailman:              \"|/var/lib/mailman/mail/mailman post mailman\"\n"
    "mailman-admin: \"|/x \\\"a, b\\\"\" , \"/var/log/x\"\n"
    "vacation: \\joe, \"|/usr/bin/vacation joe\"\n"
    "gone: :fail: no more\n"
    "root: joe\n";

START_TEST(the_file_of_a_distribution)
{
    char got[1000] = "";

    put(path[0], debian);
    struct local *l = open_local(true);
    expect(l, "postmaster", LOCAL_OK, "0:joe ");
    expect(l, "nobody", LOCAL_OK, "3:/dev/null ");
    expect(l, "mailman", LOCAL_UNSUPPORTED, "");
    expect(l, "mailman-admin", LOCAL_UNSUPPORTED, "");
    expect(l, "gone", LOCAL_UNSUPPORTED, "");
    expect(l, "www-data", LOCAL_OK, "0:joe 4:|/usr/bin/logger -t a 0:b ");
    expect(l, "vacation", LOCAL_OK, "0:joe 4:|/usr/bin/vacation joe ");
    ck_assert_int_eq(local_check_key(l, "|/usr/bin/vacation joe"),
                     LOCAL_UNSUPPORTED);
    local_check_members(l, on_fault, got);
    ck_assert_str_eq(
        got, "/aliases:5:www-data:|/usr/bin/logger -t a: delivery to a command"
             " is not supported\n"
             "/aliases:6:mailman:|/var/lib/mailman/mail/mailman post mailman:"
             " delivery to a command is not supported\n"
             "/aliases:7:mailman-admin:|/x \"a, b\": delivery to a command is"
             " not supported\n"
             "/aliases:7:mailman-admin:/var/log/x: delivery to a file is not"
             " supported\n"
             "/aliases:8:vacation:|/usr/bin/vacation joe: delivery to a"
             " command is not supported\n"
             "/aliases:9:gone::fail: no more: of this kind only :include:/path"
             " is supported\n");
    local_close(&l);
}
END_TEST

/* --- limits ------------------------------------------------------------- */

static int count(void *ctx, const struct local_target *t)
{
    (void)t;
    ++*(int *)ctx;
    return 0;
}

static enum local_verdict count_targets(const char *name, long long most,
                                        int *n)
{
    struct conf_local c = settings(false);
    struct local *l = NULL;
    struct err e;

    *n = 0;
    c.max_targets = most;
    ck_assert_msg(local_open(&l, &c, &e) == 0, "%s", e.text);
    enum local_verdict v =
        local_resolve(l, span_of(name), span_of("one.example"), count, n, NULL);
    local_close(&l);
    return v;
}

/* Each of 10,000 twice, in a list and in a file. */
START_TEST(as_many_targets_as_are_set)
{
    FILE *f = fopen(path[0], "w");
    int n;

    fprintf(f, "many: :include:%s, others\nothers: u0@far.example", path[1]);
    for (int i = 1; i < 10000; i++)
        fprintf(f, ",\n u%d@far.example", i);
    fputs("\n", f);
    fclose(f);
    f = fopen(path[1], "w");
    for (int i = 0; i < 10000; i++)
        fprintf(f, "U%d@FAR.example\n", i);
    fclose(f);
    ck_assert_int_eq(count_targets("many", 10000, &n), LOCAL_OK);
    ck_assert_int_eq(n, 10000);
    ck_assert_int_eq(count_targets("many", 9999, &n), LOCAL_STOPPED);
    ck_assert_int_eq(n, 0);
}
END_TEST

START_TEST(aliases_nest_fifty_deep)
{
    FILE *f = fopen(path[0], "w");
    int n;

    for (int i = 0; i < 50; i++)
        fprintf(f, "deep%d: deep%d\n", i, i + 1);
    fputs("deep50: bob\n", f);
    fclose(f);
    ck_assert_int_eq(count_targets("deep1", 10, &n), LOCAL_OK);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(count_targets("deep0", 10, &n), LOCAL_STOPPED);
}
END_TEST

/* An alias that several lists name is expanded once: 2^40 ways lead to bob. */
START_TEST(many_ways_to_one_target)
{
    FILE *f = fopen(path[0], "w");
    int n;

    for (int i = 0; i < 40; i++)
        fprintf(f, "way%d: way%d, other%d\nother%d: way%d\n", i, i + 1, i, i,
                i + 1);
    fputs("way40: bob\n", f);
    fclose(f);
    ck_assert_int_eq(count_targets("way0", 10, &n), LOCAL_OK);
    ck_assert_int_eq(n, 1);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *recipient_alias_suite(void);
Suite *recipient_alias_suite(void)
{
    Suite *s = suite_create("recipient.alias");
    TCase *t = tcase_create("alias");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, targets_of_a_file);
    tcase_add_loop_test(t, refused_in_a_named_file, 0, COUNT(include_cases));
    tcase_add_loop_test(t, waits_in_the_usual_file, 0, COUNT(include_cases));
    tcase_add_test(t, read_from_copies_alone);
    tcase_add_test(t, too_many_included_files);
    tcase_add_test(t, the_file_of_a_distribution);
    tcase_add_test(t, as_many_targets_as_are_set);
    tcase_add_test(t, aliases_nest_fifty_deep);
    tcase_add_test(t, many_ways_to_one_target);
    suite_add_tcase(s, t);
    return s;
}
