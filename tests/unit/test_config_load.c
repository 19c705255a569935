/* test_config_load.c - file, environment, flags, and which of them wins. */
#include "config/load.h"
#include "config/value.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define N(a) (sizeof(a) / sizeof(a)[0])

static char dir[64], path[128];
static struct conf conf;
static struct conf_loading ld;
static struct err e;

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/mta-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/mta.conf", dir);
    unsetenv("MTA_CONFIG");
}

static void drop_dir(void)
{
    char other[128];

    snprintf(other, sizeof other, "%s/other", dir);
    unlink(other);
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
    conf_free(&conf);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static char warned[512];

static void on_warning(void *ctx, const char *text)
{
    (void)ctx;
    snprintf(warned, sizeof warned, "%s", text);
}

static int load(const struct conf_override *over, size_t nover)
{
    struct conf_source from = { path, over, nover, on_warning, NULL };

    conf_free(&conf);
    warned[0] = '\0';
    return conf_load_all(&ld, &conf, &from, &e);
}

/* The value as the file would have it; the caller frees it. */
static char *printed(const char *key)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    conf_print(out, &conf, conf_find(span_of(key)));
    fclose(out);
    return text;
}

/* `fault` NULL: it loads, and `key` is printed as `value`. */
static const struct {
    const char *name, *text, *key, *value, *fault;
} file_cases[] = {
    { "top level", "hostname = \"mx.test\";", "hostname", "\"mx.test\"", NULL },
    { "colon assigns too", "hostname: \"mx.test\"", "hostname", "\"mx.test\"",
      NULL },
    { "group", "send: { port = 2525; };", "send.port", "2525", NULL },
    { "string for a number", "send: { port = \"2525\"; };", "send.port", "2525",
      NULL },
    { "number for a time", "send: { retry_min = 120; };", "send.retry_min",
      "\"2m\"", NULL },
    { "number for a size", "serve: { max_message_size = 2048; };",
      "serve.max_message_size", "\"2K\"", NULL },
    { "large number", "serve: { max_message_size = 4294967296L; };",
      "serve.max_message_size", "\"4G\"", NULL },
    { "array", "serve: { relay_networks = [ \"10.0.0.1\", \"::1\" ]; };",
      "serve.relay_networks", "[ \"10.0.0.1/32\", \"::1/128\" ]", NULL },
    { "list", "serve: { relay_networks = ( \"10.0.0.1\", \"::1\" ); };",
      "serve.relay_networks", "[ \"10.0.0.1/32\", \"::1/128\" ]", NULL },
    { "empty array", "serve: { relay_networks = [ ]; };",
      "serve.relay_networks", "[ ]", NULL },
    { "string for a list", "serve: { relay_networks = \"10.0.0.1, ::1\"; };",
      "serve.relay_networks", "[ \"10.0.0.1/32\", \"::1/128\" ]", NULL },
    { "empty group", "serve: { };", "send.port", "25", NULL },
    { "empty file", "", "send.port", "25", NULL },
    { "local domains follow the name", "hostname = \"mx.test\";",
      "local.domains", "[ \"localhost\", \"mx.test\" ]", NULL },
    { "local domains without twins", "hostname = \"localhost\";",
      "local.domains", "[ \"localhost\" ]", NULL },

    { "unknown key", "\n\nserve: {\n workres = 3;\n};", NULL, NULL,
      ":4: no setting 'serve.workres'; did you mean 'serve.workers'?" },
    { "unknown at the top", "hostnaem = \"x\";", NULL, NULL,
      ":1: no setting 'hostnaem'; did you mean 'hostname'?" },
    { "unknown group", "server: { port = 25; };", NULL, NULL,
      ":1: no setting 'server'" },
    { "key of another group", "workers = 3;", NULL, NULL,
      "here it is 'serve.workers'" },
    { "group inside a group", "serve: { serve: { workers = 3; }; };", NULL,
      NULL, ":1: no setting 'serve.serve'" },
    { "value for a group", "serve = 25;", NULL, NULL, ":1: serve is a group" },
    { "group for a value", "hostname: { };", NULL, NULL,
      ":1: hostname: is a group, should be a string" },
    { "number for a string", "hostname = 5;", NULL, NULL,
      ":1: hostname: is a number, should be a string" },
    { "bool for an enum", "\nserve: { rdns = true; };", NULL, NULL,
      ":2: serve.rdns: is true or false, should be a string" },
    { "point number for a time", "send: { retry_min = 1.5; };", NULL, NULL,
      ":1: send.retry_min: is a number with a point" },
    { "array for a string", "hostname = [ \"a\" ];", NULL, NULL,
      ":1: hostname: is a list, should be a string" },
    { "number for a list", "serve: { listen = 25; };", NULL, NULL,
      ":1: serve.listen: is a number, should be a list" },
    { "numbers in a list", "serve: { listen = [ 25 ]; };", NULL, NULL,
      ":1: serve.listen: element 1 of the list is not a string" },
    { "empty element", "serve: { listen = [ \"::1\", \"\" ]; };", NULL, NULL,
      ":1: serve.listen: empty element" },
    { "out of bounds", "send: { port = 65536; };", NULL, NULL,
      ":1: send.port: 65536 is out of bounds, 1 to 65535" },
    { "negative", "send: { port = -1; };", NULL, NULL,
      ":1: send.port: '-1' is not a number" },
    { "negative time", "send: { retry_min = -1; };", NULL, NULL,
      ":1: send.retry_min: '-1' is not a time" },
    { "syntax error", "hostname = \"x\";\nserve: {\n", NULL, NULL,
      "mta.conf:" },
    { "dotted key", "\nserve.workers = 3;", NULL, NULL,
      "mta.conf:2: syntax error" },
    { "twice", "hostname = \"a\";\nhostname = \"b\";", NULL, NULL,
      "mta.conf:2: duplicate setting name (the file has this setting" },
    { "control character", "hostname = \"a\\nb\";", NULL, NULL,
      ":1: hostname: control character" },
    { "name with a blank", "hostname = \"a b\";", NULL, NULL,
      ":1: hostname: 'a b' has a blank in it" },
    { "retry bounds crossed",
      "send: {\n retry_min = \"2h\";\n retry_max = \"1h\";\n};", NULL, NULL,
      ":2: send.retry_min: send.retry_min is longer than send.retry_max" },
    { "retry_max below the default of retry_min",
      "send: {\n retry_max = \"1m\";\n};", NULL, NULL,
      ":2: send.retry_max: send.retry_min is longer than send.retry_max" },
    { "users: a word", "local: { users = \"nobody\"; };", NULL, NULL,
      ":1: local.users: 'nobody' should be passwd, any or file:PATH" },
    { "users: no path", "local: { users = \"file:\"; };", NULL, NULL,
      ":1: local.users: 'file:' should be" },
    { "users: a file", "local: { users = \"file:/etc/u\"; };", "local.users",
      "\"file:/etc/u\"", NULL },
    { "users: any", "local: { users = \"any\"; };", "local.users", "\"any\"",
      NULL },
    { "a home for users of the system alone",
      "local: { users = \"any\"; mail_dir = \"~/Maildir\"; };", NULL, NULL,
      ":1: local.mail_dir: only users of the system" },
    { "mailboxes below the home", "local: { mail_dir = \"~/Maildir\"; };",
      "local.mail_dir", "\"~/Maildir\"", NULL },
    { "owner of mailboxes", "user = \"nobody\";", "local.user", "\"nobody\"",
      NULL },
    { "delimiter that cannot be", "local: { recipient_delimiter = \"@\"; };",
      NULL, NULL, ":1: local.recipient_delimiter:" },
};

START_TEST(files)
{
    const char *name = file_cases[_i].name, *fault = file_cases[_i].fault;
    char *got = NULL;

    put(path, file_cases[_i].text);
    int rc = load(NULL, 0);
    ck_assert_msg((rc == 0) == (fault == NULL), "%s: %d %s", name, rc, e.text);
    if (fault != NULL) {
        ck_assert_msg(strstr(e.text, fault) != NULL &&
                          strncmp(e.text, dir, strlen(dir)) == 0,
                      "%s: %s", name, e.text);
        ck_assert_msg(conf.serve.listen.n == 0 && conf.hostname[0] == '\0',
                      "%s: not empty after a failure", name);
    } else {
        got = printed(file_cases[_i].key);
        ck_assert_msg(strcmp(got, file_cases[_i].value) == 0, "%s: %s", name,
                      got);
    }
    free(got);
}
END_TEST

START_TEST(named_file_must_be_there)
{
    struct conf_source from = { NULL, NULL, 0, NULL, NULL };

    ck_assert_int_eq(load(NULL, 0), -1);
    ck_assert_msg(strstr(e.text, strerror(ENOENT)) != NULL, "%s", e.text);
    setenv("MTA_CONFIG", path, 1);
    ck_assert_int_eq(conf_load(&conf, &from, &e), -1);
    ck_assert_msg(strstr(e.text, path) != NULL, "%s", e.text);
    put(path, "hostname = \"by.env\";");
    ck_assert_int_eq(conf_load(&conf, &from, &e), 0);
    ck_assert_str_eq(conf.hostname, "by.env");
    unsetenv("MTA_CONFIG");
}
END_TEST

START_TEST(default_file_need_not_be_there)
{
    struct conf_source from = { NULL, NULL, 0, NULL, NULL };

    if (access("/etc/mta/mta.conf", F_OK) == 0)
        return;
    ck_assert_msg(conf_load(&conf, &from, &e) == 0, "%s", e.text);
    ck_assert_str_eq(conf.queue_dir, "/var/spool/mta");
    ck_assert_int_ge(conf.serve.workers, 2);
}
END_TEST

START_TEST(directory_is_no_file)
{
    struct conf_source from = { dir, NULL, 0, NULL, NULL };

    ck_assert_int_eq(conf_load(&conf, &from, &e), -1);
    ck_assert_msg(strstr(e.text, strerror(EISDIR)) != NULL, "%s", e.text);
}
END_TEST

START_TEST(included_file_names_itself)
{
    char other[128];

    snprintf(other, sizeof other, "%s/other", dir);
    put(path, "hostname = \"a\";\n@include \"other\"\n");
    put(other, "\nsend: { port = 2; };\n");
    ck_assert_msg(load(NULL, 0) == 0, "%s", e.text);
    ck_assert_int_eq(conf.send.port, 2);
    put(other, "\n\nsend: { prot = 2; };\n");
    ck_assert_int_eq(load(NULL, 0), -1);
    ck_assert_msg(strstr(e.text, "other:3: no setting 'send.prot'") != NULL,
                  "%s", e.text);
}
END_TEST

/* --- which one wins -------------------------------------------------- */

START_TEST(precedence)
{
    const struct conf_override over[] = { { "send.port", "5", "--port" },
                                          { "send.port", "3", "-o" },
                                          { "send.port", "4", "-o" } };

    put(path, "\nsend: { port = 1; };");
    ck_assert_int_eq(load(NULL, 0), 0);
    ck_assert_int_eq(conf.send.port, 1);
    const struct conf_item *it = conf_find(span_of("send.port"));
    ck_assert_ptr_nonnull(strstr(conf_origin(&conf, it), "mta.conf:2"));
    ck_assert_str_eq(conf_origin(&conf, conf_find(span_of("send.tls"))),
                     "default");
    setenv("MTA_SEND_PORT", "2", 1);
    ck_assert_int_eq(load(NULL, 0), 0);
    ck_assert_int_eq(conf.send.port, 2);
    ck_assert_str_eq(conf_origin(&conf, it), "MTA_SEND_PORT");
    ck_assert_int_eq(load(over + 1, 2), 0);
    ck_assert_int_eq(conf.send.port, 4);
    ck_assert_str_eq(conf_origin(&conf, it), "-o");
    ck_assert_int_eq(load(over, 3), 0);
    ck_assert_int_eq(conf.send.port, 5);
    ck_assert_str_eq(conf_origin(&conf, it), "--port");
    unsetenv("MTA_SEND_PORT");
}
END_TEST

/* `file`: what ./other holds, the environment names it; else value. */
static const struct {
    const char *name, *variable, *value, *file, *key, *printed, *fault;
    const char *warning;
} env_cases[] = {
    { "value", "MTA_QUEUE_DIR", "/q", NULL, "queue_dir", "\"/q\"", NULL, "" },
    { "list", "MTA_SERVE_LISTEN", "10.0.0.1:1, ::1", NULL, "serve.listen",
      "[ \"10.0.0.1:1\", \"[::1]:25\" ]", NULL, "" },
    { "sockets", "MTA_SERVE_LISTEN", "unix:/run/a b, 10.0.0.1", NULL,
      "serve.listen", "[ \"unix:/run/a b\", \"10.0.0.1:25\" ]", NULL, "" },
    { "empty list", "MTA_SERVE_RELAY_NETWORKS", "", NULL,
      "serve.relay_networks", "[ ]", NULL, "" },
    { "file", "MTA_HOSTNAME_FILE", NULL, "mx.test\n", "hostname", "\"mx.test\"",
      NULL, "" },
    { "file of lines", "MTA_LOCAL_DOMAINS_FILE", NULL, "a.test\nb.test\n",
      "local.domains", "[ \"a.test\", \"b.test\" ]", NULL, "" },
    { "file that is not there", "MTA_HOSTNAME_FILE", "/nowhere/x", NULL, NULL,
      NULL, "MTA_HOSTNAME_FILE: /nowhere/x: No such file", "" },
    { "wrong type", "MTA_SEND_PORT", "smtp", NULL, NULL, NULL,
      "MTA_SEND_PORT: send.port: 'smtp' is not a number", "" },
    { "wrong type in a file", "MTA_SEND_PORT_FILE", NULL, "smtp", NULL, NULL,
      "send.port: 'smtp' is not a number", "" },
    { "quotes of an env file", "MTA_SEND_RELAY_HOST", "\"smart.test\"", NULL,
      NULL, NULL,
      "MTA_SEND_RELAY_HOST: send.relay_host: \"smart.test\" has quotation"
      " marks",
      "" },
    { "quotes around a list", "MTA_LOCAL_DOMAINS", "'a.test,b.test'", NULL,
      NULL, NULL, "MTA_LOCAL_DOMAINS: local.domains: 'a.test,b.test' has quot",
      "" },
    { "quotes around a number", "MTA_SEND_PORT", "\"25\"", NULL, NULL, NULL,
      "MTA_SEND_PORT: send.port: \"25\" has quotation marks", "" },
    { "blanks around a value", "MTA_SEND_RELAY_HOST", " smart.test ", NULL,
      "send.relay_host", "[ \"smart.test\" ]", NULL, "" },
    { "a secret without its user", "MTA_SEND_RELAY_PASSWORD", "x", NULL, NULL,
      NULL,
      "MTA_SEND_RELAY_PASSWORD: send.relay_password: send.relay_user is"
      " not set",
      "" },
    { "not built, in a file", "MTA_DNS_TRUST_AD_FILE", "/q", NULL, NULL, NULL,
      "MTA_DNS_TRUST_AD_FILE: not in this version", "" },
    { "slip", "MTA_QUEUEDIR", "/q", NULL, "send.port", "25", NULL,
      "environment: no setting 'MTA_QUEUEDIR'; the nearest is"
      " 'MTA_QUEUE_DIR'" },
    { "slip in the suffix", "MTA_SEND_RELAY_HOST_FIEL", "/q", NULL, "send.port",
      "25", NULL, "the nearest is 'MTA_SEND_RELAY_HOST_FILE'" },
    { "of another system", "MTA_SEND_SMARTHOST", "h.test", NULL, "send.port",
      "25", NULL, "the nearest is 'MTA_SEND_RELAY_HOST'" },
    { "without its group", "MTA_RELAY_NETWORKS", "10.0.0.0/8", NULL,
      "send.port", "25", NULL, "the nearest is 'MTA_SERVE_RELAY_NETWORKS'" },
    { "in lower case", "MTA_serve_workers", "3", NULL, "send.port", "25", NULL,
      "the nearest is 'MTA_SERVE_WORKERS'" },
    { "of an orchestrator", "MTA_SERVICE_HOST", "10.0.0.1", NULL, "send.port",
      "25", NULL, "environment: no setting 'MTA_SERVICE_HOST'" },
    { "of another program", "MTA_", "10.0.0.1", NULL, "send.port", "25", NULL,
      "" },
};

START_TEST(environment)
{
    const char *name = env_cases[_i].name, *value = env_cases[_i].value;
    char other[128];

    put(path, "");
    snprintf(other, sizeof other, "%s/other", dir);
    if (env_cases[_i].file != NULL)
        put(other, env_cases[_i].file);
    setenv(env_cases[_i].variable, value != NULL ? value : other, 1);
    int rc = load(NULL, 0);
    unsetenv(env_cases[_i].variable);
    ck_assert_msg((rc == 0) == (env_cases[_i].fault == NULL), "%s: %d %s", name,
                  rc, e.text);
    if (rc != 0) {
        ck_assert_msg(strstr(e.text, env_cases[_i].fault) != NULL, "%s: %s",
                      name, e.text);
        return;
    }
    ck_assert_msg(strstr(warned, env_cases[_i].warning) != NULL &&
                      (warned[0] != '\0') == (env_cases[_i].warning[0] != '\0'),
                  "%s: %s", name, warned);
    char *got = printed(env_cases[_i].key);
    ck_assert_msg(strcmp(got, env_cases[_i].printed) == 0, "%s: %s", name, got);
    free(got);
}
END_TEST

START_TEST(value_and_file_exclude_each_other)
{
    put(path, "");
    setenv("MTA_HOSTNAME_FILE", path, 1);
    setenv("MTA_HOSTNAME", "y", 1);
    int rc = load(NULL, 0);
    unsetenv("MTA_HOSTNAME");
    unsetenv("MTA_HOSTNAME_FILE");
    ck_assert_int_eq(rc, -1);
    ck_assert_msg(strstr(e.text, "both") != NULL, "%s", e.text);
}
END_TEST

/* Flags, up to three, as "flag key value"; what the list becomes. */
static const struct {
    const char *name, *file;
    struct conf_override over[3];
    const char *key, *list, *fault;
} flag_cases[] = {
    { "port",
      "",
      { { "serve.listen", ":2525", "--port" } },
      "serve.listen",
      "[ \"[::]:2525\", \"0.0.0.0:2525\" ]",
      NULL },
    { "port of the file's addresses",
      "serve: { listen = [ \"10.0.0.1:25\", \"[::1]:26\" ]; };",
      { { "serve.listen", ":2525", "--port" } },
      "serve.listen",
      "[ \"10.0.0.1:2525\", \"[::1]:2525\" ]",
      NULL },
    { "port of the file's addresses, but not of one for TLS",
      "serve: { listen = [ \"10.0.0.1:25\", \"[::1]:465 tls\" ];"
      " tls_cert = [ \"/c\" ]; tls_key = [ \"/k\" ]; };",
      { { "serve.listen", ":2525", "--port" } },
      "serve.listen",
      "[ \"10.0.0.1:2525\", \"[::1]:465 tls\" ]",
      NULL },
    { "bind",
      "",
      { { "serve.listen", "127.0.0.1", "--bind" } },
      "serve.listen",
      "[ \"127.0.0.1:25\" ]",
      NULL },
    { "bind keeps the file's port",
      "serve: { listen = [ \"10.0.0.1:2500\" ]; };",
      { { "serve.listen", "127.0.0.1", "--bind" } },
      "serve.listen",
      "[ \"127.0.0.1:2500\" ]",
      NULL },
    { "bind to IPv6",
      "",
      { { "serve.listen", "::1", "--bind" } },
      "serve.listen",
      "[ \"[::1]:25\" ]",
      NULL },
    { "bind to IPv6 in brackets",
      "",
      { { "serve.listen", "[::1]", "--bind" } },
      "serve.listen",
      "[ \"[::1]:25\" ]",
      NULL },
    { "bind with a port",
      "",
      { { "serve.listen", "[::1]:26", "--bind" } },
      "serve.listen",
      "[ \"[::1]:26\" ]",
      NULL },
    { "bind, port",
      "",
      { { "serve.listen", "127.0.0.1", "--bind" },
        { "serve.listen", ":2525", "--port" } },
      "serve.listen",
      "[ \"127.0.0.1:2525\" ]",
      NULL },
    { "bind, port, bind",
      "",
      { { "serve.listen", "127.0.0.1", "--bind" },
        { "serve.listen", ":2525", "--port" },
        { "serve.listen", "::1", "--bind" } },
      "serve.listen",
      "[ \"127.0.0.1:2525\", \"[::1]:2525\" ]",
      NULL },
    { "no port",
      "",
      { { "serve.listen", ":smtp", "--port" } },
      NULL,
      NULL,
      "--port: 'smtp' is not a port" },
    { "port too large",
      "",
      { { "serve.listen", ":65536", "--port" } },
      NULL,
      NULL,
      "--port: '65536' is not a port" },
    { "first of a list flag replaces",
      "serve: { relay_networks = [ \"10.0.0.9\" ]; };",
      { { "serve.relay_networks", "10.0.0.1", "--relay-network" } },
      "serve.relay_networks",
      "[ \"10.0.0.1/32\" ]",
      NULL },
    { "again adds",
      "serve: { relay_networks = [ \"10.0.0.9\" ]; };",
      { { "serve.relay_networks", "10.0.0.1", "--relay-network" },
        { "serve.relay_networks", "10.0.0.2,::1", "--relay-network" } },
      "serve.relay_networks",
      "[ \"10.0.0.1/32\", \"10.0.0.2/32\", \"::1/128\" ]",
      NULL },
    { "-o again replaces",
      "",
      { { "serve.relay_networks", "10.0.0.1", "-o" },
        { "serve.relay_networks", "10.0.0.2", "-o" } },
      "serve.relay_networks",
      "[ \"10.0.0.2/32\" ]",
      NULL },
    { "flag replaces -o",
      "",
      { { "serve.relay_networks", "10.0.0.1", "--relay-network" },
        { "serve.relay_networks", "10.0.0.2", "-o" } },
      "serve.relay_networks",
      "[ \"10.0.0.1/32\" ]",
      NULL },
    { "added element is bad",
      "",
      { { "serve.relay_networks", "10.0.0.1", "--relay-network" },
        { "serve.relay_networks", "", "--relay-network" },
        { "serve.relay_networks", "10.0.0.2,,::1", "--relay-network" } },
      NULL,
      NULL,
      "--relay-network: serve.relay_networks: empty element" },
    { "bind to a name",
      "",
      { { "serve.listen", "localhost", "--bind" } },
      NULL,
      NULL,
      "--bind: serve.listen: 'localhost' is not an address" },
    { "added element of another kind",
      "",
      { { "serve.relay_networks", "10.0.0.1", "--relay-network" },
        { "serve.relay_networks", "10.0.0.1/33", "--relay-network" } },
      NULL,
      NULL,
      "--relay-network: serve.relay_networks: '10.0.0.1/33': prefix" },
    { "unknown key",
      "",
      { { "serve.port", "1", "-o" } },
      NULL,
      NULL,
      "-o: no setting 'serve.port'; here it is 'serve.listen'" },
    { "bad value",
      "",
      { { "serve.workers", "0", "--workers" } },
      NULL,
      NULL,
      "--workers: serve.workers: 0 is out of bounds" },
};

START_TEST(same_or_not)
{
    static const struct {
        const char *text;
        bool same;
    } tries[] = {
        { "hostname = \"mx.test\"; send = { port = 26; };", true },
        { "send: { port: 26 }; hostname: \"mx.test\"", true },
        { "hostname = \"mx.test\"; send = { port = 27; };", false },
        { "hostname = \"my.test\"; send = { port = 26; };", false },
        { "hostname = \"mx.test\"; send = { port = 26; };"
          "serve = { listen = [\"127.0.0.1:25\"]; };",
          false },
        { "hostname = \"mx.test\"; send = { port = 26; };"
          "serve = { body_memory = \"3M\"; };",
          false },
    };
    struct conf_source from = { path, NULL, 0, on_warning, NULL };
    struct conf first;

    put(path, tries[0].text);
    ck_assert_int_eq(conf_load(&first, &from, &e), 0);
    for (size_t i = 0; i < N(tries); i++) {
        put(path, tries[i].text);
        ck_assert_msg(load(NULL, 0) == 0, "%s", e.text);
        ck_assert_msg(conf_same(&first, &conf) == tries[i].same, "%s",
                      tries[i].text);
    }
    conf_free(&first);
}
END_TEST

START_TEST(flags)
{
    const char *name = flag_cases[_i].name;
    size_t n = 0;

    while (n < 3 && flag_cases[_i].over[n].key != NULL)
        n++;
    put(path, flag_cases[_i].file);
    int rc = load(flag_cases[_i].over, n);
    ck_assert_msg((rc == 0) == (flag_cases[_i].fault == NULL), "%s: %d %s",
                  name, rc, e.text);
    if (rc != 0) {
        ck_assert_msg(strstr(e.text, flag_cases[_i].fault) != NULL &&
                          e.kind == ERR_USAGE,
                      "%s: %s", name, e.text);
        return;
    }
    char *list = printed(flag_cases[_i].key);
    ck_assert_msg(strcmp(list, flag_cases[_i].list) == 0, "%s: %s", name, list);
    free(list);
}
END_TEST

/* --- what is printed ------------------------------------------------- */

/* The sample file with every default uncommented is the defaults. */
START_TEST(dump_is_a_file_of_defaults)
{
    char *text = NULL, *line;
    size_t n;
    struct conf defaults;

    FILE *out = open_memstream(&text, &n);
    conf_dump(out);
    fclose(out);
    for (line = text; line != NULL; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
            line[0] = ' ';
    }
    put(path, "");
    ck_assert_msg(load(NULL, 0) == 0, "%s", e.text);
    defaults = conf;
    memset(&conf, 0, sizeof conf);
    put(path, text);
    ck_assert_msg(load(NULL, 0) == 0, "%s", e.text);
    for (size_t i = 0; i < nconf_items; i++) {
        const struct conf_item *it = &conf_items[i];
        char *a = NULL, *b = NULL;
        FILE *fa = open_memstream(&a, &n), *fb = open_memstream(&b, &n);
        conf_print(fa, &defaults, it);
        conf_print(fb, &conf, it);
        fclose(fa);
        fclose(fb);
        ck_assert_msg(it->derive != NULL || strcmp(a, b) == 0, "%s: %s, not %s",
                      it->key, b, a);
        ck_assert_msg(strstr(conf_origin(&conf, it), "mta.conf:") != NULL,
                      "%s is not in the dump", it->key);
        free(a);
        free(b);
    }
    conf_free(&defaults);
    free(text);
}
END_TEST

START_TEST(show_tells_origins)
{
    struct conf_source from = { path, NULL, 0, NULL, NULL };
    char *text;
    size_t n;

    put(path, "\nsend: { relay_host = \"SMART.test.:587\"; };");
    for (int json = 0; json < 2; json++) {
        text = NULL;
        FILE *out = open_memstream(&text, &n);
        ck_assert_int_eq(conf_show(out, &from, json == 1, &e), 0);
        fclose(out);
        ck_assert_ptr_nonnull(strstr(text, "\"smart.test:587\""));
        ck_assert_ptr_nonnull(strstr(text, "mta.conf:2"));
        free(text);
    }
}
END_TEST

Suite *config_load_suite(void);
Suite *config_load_suite(void)
{
    Suite *s = suite_create("config.load");
    TCase *t = tcase_create("load");

    tcase_add_checked_fixture(t, make_dir, drop_dir);
    tcase_add_loop_test(t, files, 0, N(file_cases));
    tcase_add_test(t, named_file_must_be_there);
    tcase_add_test(t, default_file_need_not_be_there);
    tcase_add_test(t, directory_is_no_file);
    tcase_add_test(t, included_file_names_itself);
    tcase_add_test(t, precedence);
    tcase_add_loop_test(t, environment, 0, N(env_cases));
    tcase_add_test(t, value_and_file_exclude_each_other);
    tcase_add_test(t, same_or_not);
    tcase_add_loop_test(t, flags, 0, N(flag_cases));
    tcase_add_test(t, dump_is_a_file_of_defaults);
    tcase_add_test(t, show_tells_origins);
    suite_add_tcase(s, t);
    return s;
}
