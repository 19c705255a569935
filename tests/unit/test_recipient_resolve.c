/* test_recipient_resolve.c - users, aliases and what addresses stand for. */
#include "base/fs.h"
#include "config/conf.h"
#include "recipient/resolve.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char aliases[] =
    "# a comment\n"
    "team: ann, bob,\n"
    "   carl\n"
    "  # not the end of it\n"
    "\tdora\n"
    "Nested: TEAM, bob, eve@far.example\n"
    "self: self, archive\n"
    "ann: ann\n"
    "a: b\n"
    "b: a\n"
    "pair: joe2\n"
    "joe2: pair, bob\n"
    "info@two.example: bob\n"
    "info: ann\n"
    "\"odd name\": bob\n"
    "here: bob@ONE.example, \"x y\"@far.example, eve@far.example,"
    " EVE@FAR.example\n"
    "lost: nobody\n"
    "final: \\team\n"
    "root: nobody\n"
    "mailer-daemon: postmaster\n"
    "postmaster: root\n"
    "tagged: bob+list\n"
    "press@b\303\274cher.example: bob\n"
    "shop@xn--mller-kva.example: carl\n"
    "umlauts: press@xn--bcher-kva.example, shop@M\303\234LLER.example\n"
    "twice: dora, dora@two.example, DORA+x@TWO.example\n"
    "some: bob, zoe, zed@one.example, \"z z\"\n"
    "none: zoe, zed\n"
    "null: /dev/null\n"
    "half: bob, \"/dev/null\"\n"
    "nulls: null, /dev/null\n"
    "list: ann, eve@far.example\n"
    "owner-list: bob\n"
    "news: list\n"
    "all: list, carl\n"
    "\"odd list\": carl, ann\n"
    "\"owner-odd name\": carl\n"
    "*: bob\n";

static const char users[] = "# users\nann\nBob\n\ncarl\r\ndora\narchive\n"
                            "self\nteam\nonly@two.example\nbob+own\n"
                            "dora@Two.example\n"
                            "page@b\303\274cher.example\n"
                            "mill@xn--mller-kva.example\n";

static const struct {
    const char *name, *local, *domain;
    enum local_verdict verdict;
    const char *targets; /* in order, each with a blank after it */
} cases[] = {
    { "user", "bob", "one.example", LOCAL_OK, "bob " },
    { "case", "BOB", "ONE.EXAMPLE", LOCAL_OK, "bob " },
    { "no such user", "zoe", "one.example", LOCAL_UNKNOWN, "" },
    { "tag", "bob+x+y", "one.example", LOCAL_OK, "bob " },
    { "tag that is a user", "bob+own", "one.example", LOCAL_OK, "bob+own " },
    { "only a tag", "+bob", "one.example", LOCAL_UNKNOWN, "" },
    { "list over lines", "team", "one.example", LOCAL_OK,
      "ann bob carl dora " },
    { "list with tag", "team+x", "one.example", LOCAL_OK,
      "ann bob carl dora " },
    { "nested, each once", "nested", "one.example", LOCAL_OK,
      "ann bob carl dora >eve@far.example " },
    { "itself and another", "self", "one.example", LOCAL_OK, "self archive " },
    { "itself alone", "ann", "one.example", LOCAL_OK, "ann " },
    { "circle", "a", "one.example", LOCAL_LOOP, "" },
    { "circle with a way out", "pair", "one.example", LOCAL_OK, "bob " },
    { "of one domain", "info", "two.example", LOCAL_OK, "bob " },
    { "of the others", "info", "one.example", LOCAL_OK, "ann " },
    { "quoted name", "odd name", "one.example", LOCAL_OK, "bob " },
    { "local and remote addresses", "here", "one.example", LOCAL_OK,
      "bob >\"x y\"@far.example >eve@far.example " },
    { "leads nowhere", "lost", "one.example", LOCAL_UNKNOWN, "" },
    { "backslash", "final", "one.example", LOCAL_OK, "team " },
    { "postmaster though root is lost", "Postmaster", "one.example", LOCAL_OK,
      "postmaster " },
    { "bare postmaster", "postmaster", "", LOCAL_OK, "postmaster " },
    { "mailer-daemon", "MAILER-DAEMON", "one.example", LOCAL_OK,
      "postmaster " },
    { "tag of a target", "tagged", "one.example", LOCAL_OK, "bob " },
    { "user of one domain", "only", "Two.Example", LOCAL_OK,
      "only@two.example " },
    { "not of the other", "only", "one.example", LOCAL_UNKNOWN, "" },
    { "alias of a U-label", "press", "b\303\274cher.example", LOCAL_OK,
      "bob " },
    { "by its A-label", "press", "XN--bcher-KVA.example", LOCAL_OK, "bob " },
    { "alias of an A-label", "shop", "xn--mller-kva.example", LOCAL_OK,
      "carl " },
    { "by its U-label", "shop", "m\303\274ller.example", LOCAL_OK, "carl " },
    { "U-label in capitals", "shop", "M\303\234LLER.example", LOCAL_OK,
      "carl " },
    { "both as targets", "umlauts", "one.example", LOCAL_OK, "bob carl " },
    { "alias of neither", "shop", "xn--bcher-kva.example", LOCAL_UNKNOWN, "" },
    { "user of a U-label", "page", "xn--bcher-kva.example", LOCAL_OK,
      "page@xn--bcher-kva.example " },
    { "user of an A-label", "mill", "m\303\274ller.example", LOCAL_OK,
      "mill@xn--mller-kva.example " },
    { "user of neither", "mill", "b\303\274cher.example", LOCAL_UNKNOWN, "" },
    { "VERP behind a tag",
      "team+0123456789012345678901234567890123456789=01234567890123456789.net",
      "one.example", LOCAL_OK, "ann bob carl dora " },
    { "longer than any mailbox name",
      "0123456789012345678901234567890123456789012345678901234567890123456789",
      "one.example", LOCAL_UNKNOWN, "" },
    { "path", "../bob", "one.example", LOCAL_UNKNOWN, "" },
    { "slash", "bob/x", "one.example", LOCAL_UNKNOWN, "" },
    { "dot", ".bob", "one.example", LOCAL_UNKNOWN, "" },
    { "star is only a name", "*", "one.example", LOCAL_OK, "bob " },
    { "empty", "", "one.example", LOCAL_UNKNOWN, "" },
    { "of both, with a mailbox of its own", "dora", "two.example", LOCAL_OK,
      "dora@two.example " },
    { "of both, elsewhere", "dora", "one.example", LOCAL_OK, "dora " },
    { "its tag", "dora+x", "two.example", LOCAL_OK, "dora@two.example " },
    { "both mailboxes", "twice", "one.example", LOCAL_OK,
      "dora dora@two.example " },
    { "some are no users", "some", "two.example", LOCAL_OK,
      "bob ?zoe@two.example ?zed@one.example ?\"z z\"@two.example " },
    { "none is a user", "none", "one.example", LOCAL_UNKNOWN, "" },
    { "discarded", "null", "one.example", LOCAL_OK, "!/dev/null " },
    { "null beside another", "half", "one.example", LOCAL_OK, "bob " },
    { "null within null", "nulls", "one.example", LOCAL_OK, "!/dev/null " },
    { "an address as a name", "ann@x", "one.example", LOCAL_UNKNOWN, "" },
    { "a command as a name", "|cat", "one.example", LOCAL_UNKNOWN, "" },
    { "a lock as a name", "ann.lock", "one.example", LOCAL_UNKNOWN, "" },
    { "in capitals", "ANN.LOCK", "one.example", LOCAL_UNKNOWN, "" },
};

static char dir[] = "/tmp/mta-unit-local-XXXXXX";
static char alias_path[64], users_path[64], users_option[80];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void set_up(void)
{
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    ck_assert(mkdtemp(dir) != NULL);
    snprintf(alias_path, sizeof alias_path, "%s/aliases", dir);
    snprintf(users_path, sizeof users_path, "%s/users", dir);
    snprintf(users_option, sizeof users_option, "file:%s", users_path);
    write_file(alias_path, aliases);
    write_file(users_path, users);
}

static void tear_down(void)
{
    unlink(alias_path);
    unlink(users_path);
    rmdir(dir);
}

static struct conf_domain domains[] = { { "one.example" },
                                        { "Two.Example" },
                                        { "b\303\274cher.example" },
                                        { "XN--mller-kva.example" } };

static void set_text(char *field, const char *text)
{
    snprintf(field, CONF_PATH_MAX, "%s", text);
}

static void set_users(struct conf_users *u, const char *text)
{
    bool file = strncmp(text, "file:", 5) == 0;

    u->source = file                       ? CONF_USERS_FILE
                : strcmp(text, "any") == 0 ? CONF_USERS_ANY
                                           : CONF_USERS_PASSWD;
    set_text(u->path, file ? text + 5 : "");
}

static struct local *open_local(const char *who, const char *alias_file)
{
    struct conf_local o = { .domains = { sizeof domains / sizeof domains[0],
                                         domains },
                            .max_targets = 1000,
                            .recipient_delimiter = "+" };
    struct local *l = NULL;
    struct err e = { ERR_NONE, 0, "" };

    set_users(&o.users, who);
    set_text(o.aliases, alias_file != NULL ? alias_file : "");
    ck_assert_msg(local_open(&l, &o, &e) == 0, "%s", e.text);
    return l;
}

/* A letter in front shows what is no mailbox. */
static int collect(void *ctx, const struct local_target *t)
{
    static const char *const kinds[] = { [LOCAL_MAILBOX] = "",
                                         [LOCAL_REMOTE] = ">",
                                         [LOCAL_NO_USER] = "?",
                                         [LOCAL_DISCARD] = "!",
                                         [LOCAL_COMMAND] = "%" };

    strncat(ctx, kinds[t->kind], 2);
    strncat(ctx, t->name, 900 - strlen(ctx));
    strncat(ctx, " ", 2);
    return 0;
}

START_TEST(resolve)
{
    struct local *l = open_local(users_option, alias_path);
    char got[1024] = "";

    enum local_verdict v =
        local_resolve(l, span_of(cases[_i].local), span_of(cases[_i].domain),
                      collect, got, NULL);
    ck_assert_msg(v == cases[_i].verdict, "%s: verdict %d", cases[_i].name, v);
    ck_assert_msg(strcmp(got, cases[_i].targets) == 0, "%s: \"%s\"",
                  cases[_i].name, got);
    local_close(&l);
}
END_TEST

/* The ways: alias, owner. */
static const struct {
    const char *name, *local, *domain, *alias, *owner;
} path_cases[] = {
    { "no alias", "bob", "one.example", "", "" },
    { "alias", "team", "one.example", "team@one.example", "" },
    { "with a tag", "TEAM+x", "two.example", "team@two.example", "" },
    { "as the file spells it", "nested", "one.example", "Nested@one.example",
      "" },
    { "of one domain", "info", "two.example", "info@two.example", "" },
    { "no domain", "postmaster", "", "postmaster@one.example", "" },
    { "owner", "list", "one.example", "list@one.example",
      "owner-list@one.example" },
    { "another name of a list", "news", "two.example", "news@two.example",
      "owner-list@two.example" },
    { "a list among others", "all", "one.example", "all@one.example", "" },
    { "quoted", "odd name", "one.example", "\"odd name\"@one.example",
      "\"owner-odd name\"@one.example" },
    { "quoted, no owner", "odd list", "one.example", "\"odd list\"@one.example",
      "" },
};

START_TEST(path_to_the_targets)
{
    struct local *l = open_local(users_option, alias_path);
    struct local_path path;
    char got[1024] = "";

    local_resolve(l, span_of(path_cases[_i].local),
                  span_of(path_cases[_i].domain), collect, got, &path);
    ck_assert_msg(strcmp(path.alias, path_cases[_i].alias) == 0, "%s: \"%s\"",
                  path_cases[_i].name, path.alias);
    ck_assert_msg(strcmp(path.owner, path_cases[_i].owner) == 0, "%s: \"%s\"",
                  path_cases[_i].name, path.owner);
    local_close(&l);
}
END_TEST

/* For RCPT: like the expansion, but an alias is hardly looked into. */
static const struct {
    const char *name, *local, *domain;
    enum local_verdict verdict;
    const char *key;
} check_cases[] = {
    { "user", "BOB", "one.example", LOCAL_OK, "bob" },
    { "tag", "bob+x", "one.example", LOCAL_OK, "bob" },
    { "tag that is a user", "bob+own", "one.example", LOCAL_OK, "bob+own" },
    { "own mailbox", "Dora", "TWO.example", LOCAL_OK, "dora@two.example" },
    { "of a U-label", "page", "B\303\234CHER.example", LOCAL_OK,
      "page@xn--bcher-kva.example" },
    { "alias", "team", "one.example", LOCAL_OK, "" },
    { "alias with a tag", "team+x", "one.example", LOCAL_OK, "" },
    { "alias of itself", "ann", "one.example", LOCAL_OK, "" },
    { "alias of one domain", "info", "two.example", LOCAL_OK, "" },
    { "circle", "a", "one.example", LOCAL_LOOP, "" },
    { "circle with a tag", "b+x", "two.example", LOCAL_LOOP, "" },
    { "circle with a way out", "joe2", "one.example", LOCAL_OK, "" },
    { "way into it", "pair", "one.example", LOCAL_OK, "" },
    { "alias that leads nowhere", "lost", "one.example", LOCAL_OK, "" },
    { "unknown", "zoe", "one.example", LOCAL_UNKNOWN, "" },
    { "not in that domain", "only", "one.example", LOCAL_UNKNOWN, "" },
    { "lock", "bob.lock", "one.example", LOCAL_UNKNOWN, "" },
    { "path", "../bob", "one.example", LOCAL_UNKNOWN, "" },
    { "address", "dora@two.example", "one.example", LOCAL_UNKNOWN, "" },
    { "empty", "", "one.example", LOCAL_UNKNOWN, "" },
};

START_TEST(check_at_rcpt)
{
    struct local *l = open_local(users_option, alias_path);
    char key[LOCAL_KEY_MAX];

    enum local_verdict v = local_check(l, span_of(check_cases[_i].local),
                                       span_of(check_cases[_i].domain), key);
    ck_assert_msg(v == check_cases[_i].verdict, "%s: verdict %d",
                  check_cases[_i].name, v);
    ck_assert_msg(strcmp(key, check_cases[_i].key) == 0, "%s: \"%s\"",
                  check_cases[_i].name, key);
    local_close(&l);
}
END_TEST

/* rewrite.root: an alias above the file's, and without a file. */
START_TEST(root_goes_elsewhere)
{
    struct conf_local o = { .domains = { 2, domains },
                            .max_targets = 100,
                            .recipient_delimiter = "+",
                            .root = "admin@far.example" };
    struct local *l;
    struct err e;

    set_users(&o.users, users_option);
    for (int file = 0; file < 2; file++) {
        char got[1024] = "", key[LOCAL_KEY_MAX];
        set_text(o.aliases, file ? alias_path : "");
        ck_assert_msg(local_open(&l, &o, &e) == 0, "%s", e.text);
        ck_assert_int_eq(
            local_check(l, span_of("Root"), span_of("two.example"), key),
            LOCAL_OK);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(
                local_resolve(l, span_of(i ? "postmaster" : "root+x"),
                              span_of("one.example"), collect, got, NULL),
                LOCAL_OK);
        ck_assert_str_eq(got, ">admin@far.example >admin@far.example ");
        local_close(&l);
    }
}
END_TEST

START_TEST(postmaster_without_aliases)
{
    struct local *l = open_local(users_option, NULL);
    static const char *const names[] = { "Postmaster", "postmaster+x",
                                         "MAILER-DAEMON" };
    char key[LOCAL_KEY_MAX];

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(
            local_check(l, span_of(names[i]), span_of("one.example"), key),
            LOCAL_OK);
        ck_assert_str_eq(key, "postmaster");
    }
    local_close(&l);
}
END_TEST

static const struct {
    const char *key;
    enum local_verdict file, any, passwd;
} key_cases[] = {
    { "bob", LOCAL_OK, LOCAL_OK, LOCAL_UNKNOWN },
    { "root", LOCAL_UNKNOWN, LOCAL_OK, LOCAL_OK },
    { "only@two.example", LOCAL_OK, LOCAL_OK, LOCAL_UNKNOWN },
    { "only", LOCAL_UNKNOWN, LOCAL_OK, LOCAL_UNKNOWN },
    { "bob@two.example", LOCAL_UNKNOWN, LOCAL_OK, LOCAL_UNKNOWN },
    { "page@xn--bcher-kva.example", LOCAL_OK, LOCAL_OK, LOCAL_UNKNOWN },
    { "postmaster", LOCAL_OK, LOCAL_OK, LOCAL_OK },
    { "", LOCAL_UNKNOWN, LOCAL_UNKNOWN, LOCAL_UNKNOWN },
    { "x.lock", LOCAL_UNKNOWN, LOCAL_UNKNOWN, LOCAL_UNKNOWN },
    { "|cat", LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED },
    { "/var/x", LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED },
    { ":fail:", LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED, LOCAL_UNSUPPORTED },
};

/* What a retry has of the recipient. */
START_TEST(check_of_a_key)
{
    const char *sources[] = { users_option, "any", "passwd" };

    for (size_t i = 0; i < 3; i++) {
        struct local *l = open_local(sources[i], NULL);
        enum local_verdict want = i == 0   ? key_cases[_i].file
                                  : i == 1 ? key_cases[_i].any
                                           : key_cases[_i].passwd;
        if (i == 2 && geteuid() != 0 && strcmp(key_cases[_i].key, "root") == 0)
            want = LOCAL_UNKNOWN;
        ck_assert_msg(local_check_key(l, key_cases[_i].key) == want,
                      "\"%s\" with %s", key_cases[_i].key, sources[i]);
        local_close(&l);
    }
}
END_TEST

static int stop(void *ctx, const struct local_target *t)
{
    (void)t;
    return ++*(int *)ctx == 2;
}

START_TEST(stops_when_asked)
{
    struct local *l = open_local(users_option, alias_path);
    int n = 0;

    ck_assert_int_eq(local_resolve(l, span_of("team"), span_of("one.example"),
                                   stop, &n, NULL),
                     LOCAL_STOPPED);
    ck_assert_int_eq(n, 2);
    local_close(&l);
}
END_TEST

START_TEST(bounded_expansion)
{
    FILE *f = fopen(alias_path, "w");
    int n = 0;

    fputs("many: u0", f);
    for (int i = 1; i < 1001; i++)
        fprintf(f, ", u%d@far.example", i);
    for (int i = 0; i < 60; i++)
        fprintf(f, "\ndeep%d: deep%d", i, i + 1);
    fputs("\ndeep60: bob\n", f);
    fclose(f);
    struct local *l = open_local("any", alias_path);
    static const char *const names[] = { "many", "deep0" };
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(local_resolve(l, span_of(names[i]),
                                       span_of("one.example"), stop, &n, NULL),
                         LOCAL_STOPPED);
    ck_assert_int_eq(n, 0);
    local_close(&l);
}
END_TEST

static bool is_user(const struct local *l, const char *name, const char *domain)
{
    char got[1024] = "";

    return local_resolve(l, span_of(name), span_of(domain), collect, got,
                         NULL) == LOCAL_OK;
}

START_TEST(sources_of_users)
{
    struct local *l = open_local("any", NULL);
    char got[1024] = "";

    ck_assert(is_user(l, "whoever", ""));
    ck_assert(!is_user(l, "../etc", ""));
    ck_assert_int_eq(
        local_resolve(l, span_of("Who+tag"), span_of(""), collect, got, NULL),
        LOCAL_OK);
    ck_assert_str_eq(got, "who ");
    local_close(&l);
    l = open_local("passwd", "");
    ck_assert(is_user(l, "root", "") == (geteuid() == 0));
    ck_assert(!is_user(l, "no-such-user-here", ""));
    local_close(&l);
    l = open_local(users_option, NULL);
    ck_assert(is_user(l, "ann", ""));
    ck_assert(is_user(l, "only", "two.example"));
    ck_assert(!is_user(l, "only", ""));
    local_close(&l);
}
END_TEST

static const struct {
    const char *domain;
    bool ours;
} domain_cases[] = {
    { "", true },
    { "one.example", true },
    { "TWO.EXAMPLE", true },
    { "[127.0.0.1]", true },
    { "[127.255.255.254]", true },
    { "[IPv6:::1]", true },
    { "[ipv6:0:0:0:0:0:0:0:1]", true },
    { "[IPv6:::ffff:127.0.0.1]", true },
    { "[IPv6:::ffff:192.0.2.1]", false },
    { "[127.0.0.1]:25", false },
    { "[localhost]", false },
    { "[192.0.2.1]", false },
    { "example", false },
    { "x.one.example", false },
    { "b\303\274cher.example", true },
    { "B\303\234CHER.EXAMPLE", true },
    { "xn--bcher-kva.example", true },
    { "m\303\274ller.example", true },
    { "xn--mller-kva.example", true },
    { "bucher.example", false },
    { "xn--bcher.example", false },
    { "m\303\274ller", false },
    { "b\303cher.example", false },
};

START_TEST(our_domains)
{
    struct local *l = open_local("any", NULL);

    for (size_t i = 0; i < sizeof domain_cases / sizeof domain_cases[0]; i++)
        ck_assert_msg(local_has_domain(l, span_of(domain_cases[i].domain)) ==
                          domain_cases[i].ours,
                      "%s", domain_cases[i].domain);
    local_close(&l);
}
END_TEST

static const struct {
    const char *name, *aliases, *users, *text;
} bad_cases[] = {
    { "command", "x: bob\ny: |cat\n", NULL, ":2: delivery to a command" },
    { "command with a comma", "y: \"|a, b\"\n", NULL, ":1: delivery to a com" },
    { "quoted command", "y: \"|cat -n\"\n", NULL, ":1: delivery to a command" },
    { "file", "y: bob,\n  /dev/nul\n", NULL, ":2: delivery to a file" },
    { "no such include", "y: b,\n :include:/no/x\n", NULL,
      ":2: open /no/x: No such file" },
    { "relative include", "y: :include:x\n", NULL, ":1: the path of :include" },
    { "bounced", "y: :fail:\n", NULL, ":1: of this kind only :include:/path" },
    { "no colon", "bob\n", NULL, ":1: ':' expected" },
    { "two words", "a b: c\n", NULL, ":1: ':' expected" },
    { "no comma", "a: b c\n", NULL, ":1: ',' expected" },
    { "no target", "a:\nb: c\n", NULL, ":1: a has no target" },
    { "no target at the end", "b: c\na: \n", NULL, ":2: a has no target" },
    { "open quote", "\"a: b\n", NULL, ":1: a quote is not closed" },
    { "twice", "a: b\nA: c\n", NULL, ":2: A stands on line 1 already" },
    { "continues nothing", " a: b\n", NULL, ":1: a line begins with a blank" },
    { "empty target", "a: b,,c\n", NULL, ":1: a name is empty" },
    { "empty quotes", "a: \"\"\n", NULL, ":1: a name is empty" },
    { "display name", "a: <b@c>\n", NULL, ":1: only plain addresses" },
    { "half an address", "a: b@\n", NULL, ":1: half an address" },
    { "comment at the end", "a: b # c\n", NULL, ":1: ',' expected" },
    { "user with two domains", NULL, "a@b@c\n", ":1: not a user" },
    { "domain is a path", NULL, "a@../c\n", ":1: not a user" },
    { "domain is a literal", NULL, "a@[::1]\n", ":1: not a user" },
    { "user is a lock", NULL, "a.lock\n", ":1: not a user" },
    { "user is a path", NULL, "ann\n../etc\n", ":2: not a user" },
    { "two users in a line", NULL, "ann bob\n", ":1: not a user" },
};

START_TEST(bad_files)
{
    struct conf_local o = { .users = { CONF_USERS_ANY, "" },
                            .recipient_delimiter = "+" };
    struct local *l = NULL;
    struct err e;

    if (bad_cases[_i].aliases != NULL) {
        write_file(alias_path, bad_cases[_i].aliases);
        set_text(o.aliases, alias_path);
    } else {
        write_file(users_path, bad_cases[_i].users);
        set_users(&o.users, users_option);
    }
    ck_assert_msg(local_open(&l, &o, &e) != 0, "%s", bad_cases[_i].name);
    ck_assert_msg(strstr(e.text, bad_cases[_i].text) != NULL, "%s: %s",
                  bad_cases[_i].name, e.text);
    ck_assert(strncmp(e.text, dir, strlen(dir)) == 0);
}
END_TEST

START_TEST(missing_files)
{
    struct conf_local o = { .users = { CONF_USERS_FILE, "/no/such" } };
    struct local *l = NULL;
    struct err e;

    ck_assert(local_open(&l, &o, &e) != 0);
    set_users(&o.users, "any");
    set_text(o.aliases, "/no/such");
    ck_assert(local_open(&l, &o, &e) != 0);
    local_close(&l);
}
END_TEST

/* An editor's mark in front of the first entry. */
START_TEST(marks_are_skipped)
{
    char got[1024] = "";

    write_file(alias_path, "\357\273\277help: ann\n");
    write_file(users_path, "\357\273\277ann\n");
    struct local *l = open_local(users_option, alias_path);
    ck_assert(is_user(l, "ann", ""));
    ck_assert_int_eq(local_resolve(l, span_of("help"), span_of("one.example"),
                                   collect, got, NULL),
                     LOCAL_OK);
    ck_assert_str_eq(got, "ann ");
    local_close(&l);
}
END_TEST

static void on_unknown(void *ctx, const struct local_fault *f)
{
    char *got = ctx;
    size_t n = strlen(got);

    snprintf(got + n, 900 - n, "%u:%s:%s ", f->line, f->alias, f->member);
}

START_TEST(members_that_are_no_users)
{
    char got[1024] = "";

    write_file(users_path, "ann\nbob\n");
    write_file(alias_path, "all: ann, carl, dora@one.example\n"
                           "half: ann+x, \\eve, f@far.example\n"
                           "chain: empty\nempty: nobody-here\n"
                           "ann: ann, postmaster, bob@two.example\n");
    struct local *l = open_local(users_option, alias_path);
    local_check_members(l, on_unknown, got);
    ck_assert_str_eq(got, "1:all:carl 1:all:dora@one.example 2:half:eve"
                          " 3:chain:empty 4:empty:nobody-here ");
    local_close(&l);
}
END_TEST

static struct {
    int times, error;
} trouble;

static int failing_open(const char *path, int flags, mode_t mode)
{
    if (trouble.times-- > 0) {
        errno = trouble.error;
        return -1;
    }
    return open(path, flags, mode);
}

static const struct {
    const char *name;
    int times, error;
    enum err_kind kind;
} trouble_cases[] = {
    { "a signal comes in between", 2, EINTR, ERR_NONE },
    { "no descriptor is left", 1, EMFILE, ERR_TEMP },
    { "a bad disk", 1, EIO, ERR_TEMP },
    { "not ours to read", 1, EACCES, ERR_USAGE },
};

/* What passes is not held against the settings. */
START_TEST(trouble_with_files)
{
    struct conf_local o = { .users = { CONF_USERS_ANY, "" } };
    struct fs_ops ops = fs_system;
    struct local *l = NULL;
    struct err e = { ERR_NONE, 0, "" };

    set_text(o.aliases, alias_path);
    ops.open = failing_open;
    fs_replace(&ops);
    trouble.times = trouble_cases[_i].times;
    trouble.error = trouble_cases[_i].error;
    int rc = local_open(&l, &o, &e);
    fs_replace(NULL);
    ck_assert_msg((rc == 0) == (trouble_cases[_i].kind == ERR_NONE), "%s: %s",
                  trouble_cases[_i].name, e.text);
    ck_assert_msg(e.kind == trouble_cases[_i].kind, "%s: %s",
                  trouble_cases[_i].name, e.text);
    local_close(&l);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

Suite *recipient_resolve_suite(void);
Suite *recipient_resolve_suite(void)
{
    Suite *s = suite_create("mail.local");
    TCase *t = tcase_create("local");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, resolve, 0, COUNT(cases));
    tcase_add_loop_test(t, path_to_the_targets, 0, COUNT(path_cases));
    tcase_add_loop_test(t, check_at_rcpt, 0, COUNT(check_cases));
    tcase_add_test(t, root_goes_elsewhere);
    tcase_add_test(t, postmaster_without_aliases);
    tcase_add_loop_test(t, check_of_a_key, 0, COUNT(key_cases));
    tcase_add_test(t, stops_when_asked);
    tcase_add_test(t, bounded_expansion);
    tcase_add_test(t, sources_of_users);
    tcase_add_test(t, our_domains);
    tcase_add_loop_test(t, bad_files, 0, COUNT(bad_cases));
    tcase_add_test(t, missing_files);
    tcase_add_test(t, marks_are_skipped);
    tcase_add_test(t, members_that_are_no_users);
    tcase_add_loop_test(t, trouble_with_files, 0, COUNT(trouble_cases));
    suite_add_tcase(s, t);
    return s;
}
