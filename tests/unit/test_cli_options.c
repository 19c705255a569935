/* test_cli_options.c - flags of commands, as a command sees them. */
#include "base/network.h"
#include "cli/options.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { ARGS_MAX = 10 };

static struct options o;
static bool once, follow;
static const char *id;
static char said[2048];

static const struct option *flags(size_t *n)
{
    static const struct option all[] = {
        OPTION_SETTING("--port", "serve.listen"),
        OPTION_SETTING("--bind", "serve.listen"),
        OPTION_SETTING("--workers", "send.workers"),
        OPTION_SETTING("--relay-network", "serve.relay_networks"),
        OPTION_ON("--once", &once),
        OPTION_ON("-f", &follow),
        OPTION_TEXT("--id", &id)
    };

    *n = sizeof all / sizeof all[0];
    return all;
}

/* Split at blanks, run, keep what was printed on stderr and stdout. */
static bool run(const char *line, int min_args, int max_args)
{
    static char words[512], *argv[ARGS_MAX + 1];
    int argc = 0, kept[2], both[2] = { STDOUT_FILENO, STDERR_FILENO };
    struct options_spec spec = { NULL, 0, min_args, max_args, true };
    FILE *tmp = tmpfile();

    snprintf(words, sizeof words, "%s", line);
    for (char *p = words; *p != '\0' && argc < ARGS_MAX;) {
        argv[argc++] = p;
        p += strcspn(p, " ");
        if (*p == ' ')
            *p++ = '\0';
    }
    argv[argc] = NULL;
    once = follow = false;
    id = NULL;
    spec.flags = flags(&spec.nflags);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        kept[i] = dup(both[i]);
        dup2(fileno(tmp), both[i]);
    }
    bool ok = options_read(&o, &spec, argc, argv);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(kept[i], both[i]);
        close(kept[i]);
    }
    rewind(tmp);
    said[fread(said, 1, sizeof said - 1, tmp)] = '\0';
    fclose(tmp);
    return ok;
}

static const struct {
    const char *line;
    int status;
    const char *text;
} bad[] = {
    { "send --wrokers 3", EX_USAGE,
      "mta send: unknown flag '--wrokers'; did you mean '--workers'?" },
    { "send --onec=1", EX_USAGE, "did you mean '--once'?" },
    { "send --jsno", EX_USAGE, "did you mean '--json'?" },
    { "send --foo", EX_USAGE, "unknown flag '--foo'\n" },
    { "send --something-else", EX_USAGE, "unknown flag '--something-else'\n" },
    { "send -x", EX_USAGE, "unknown flag '-x'\n" },
    { "send -fx", EX_USAGE, "unknown flag '-fx'; did you mean '-f'?" },
    { "send --workers", EX_USAGE, "--workers needs a value" },
    { "send -c", EX_USAGE, "-c needs a value" },
    { "send --once=yes", EX_USAGE, "--once takes no value" },
    { "send --json=yes", EX_USAGE, "--json takes no value" },
    { "send -o workers", EX_USAGE, "-o workers: should be key=value" },
    { "send -o wrokers=3", EX_USAGE, "-o: no setting 'wrokers'; did you mean" },
    { "send --workers x", EX_USAGE, "--workers: send.workers: 'x' is not a" },
    { "send --port smtp", EX_USAGE, "--port: 'smtp' is not a port" },
    { "send --port 1234567890123456", EX_USAGE, "is not a port" },
    { "send -c /nowhere/mta.conf", EX_CONFIG, "/nowhere/mta.conf: No such" },
    { "send operand", EX_USAGE, "'operand' is not expected here" },
    { "send -- --once", EX_USAGE, "'--once' is not expected here" },
    { "config -h", EX_OK, "usage: mta config" },
    { "config --help", EX_OK, "usage: mta config" },
};

START_TEST(refused)
{
    ck_assert_msg(!run(bad[_i].line, 0, 0), "%s: accepted", bad[_i].line);
    ck_assert_msg(o.status == bad[_i].status, "%s: status %d", bad[_i].line,
                  o.status);
    ck_assert_msg(strstr(said, bad[_i].text) != NULL, "%s: %s", bad[_i].line,
                  said);
}
END_TEST

START_TEST(settings)
{
    char at[ADDR_PORT_TEXT];

    ck_assert_msg(run("serve -c /dev/null --port 2525 --bind=127.0.0.1 "
                      "-osend.port=26 --relay-network 10.0.0.0/8",
                      0, 0),
                  "%s", said);
    ck_assert_uint_eq(o.conf.serve.listen.n, 1);
    addr_port_text(at, &o.conf.serve.listen.item[0].addr);
    ck_assert_str_eq(at, "127.0.0.1:2525");
    ck_assert_int_eq(o.conf.send.port, 26);
    net_cidr_text(at, &o.conf.serve.relay_networks.item[0]);
    ck_assert_str_eq(at, "10.0.0.0/8");
    ck_assert(!o.json);
    options_done(&o);
}
END_TEST

START_TEST(own_flags_and_operands)
{
    ck_assert_msg(run("log -c/dev/null a --once b -f --id=x --id y -- -c - ", 5,
                      -1) == false,
                  "an operand too few was not seen");
    ck_assert_ptr_nonnull(strstr(said, "an operand is missing"));
    ck_assert_msg(
        run("log -c/dev/null a --once --json - -f --id=x -- -c", 3, -1), "%s",
        said);
    ck_assert(once && follow && o.json);
    ck_assert_str_eq(id, "x");
    ck_assert_int_eq(o.nargs, 3);
    ck_assert_str_eq(o.args[0], "a");
    ck_assert_str_eq(o.args[1], "-");
    ck_assert_str_eq(o.args[2], "-c");
    options_done(&o);
}
END_TEST

START_TEST(program_names)
{
    ck_assert(!run("/usr/sbin/mta-config --nope", 0, 0));
    ck_assert_msg(strstr(said, "mta config: ") != NULL, "%s", said);
}
END_TEST

Suite *cli_options_suite(void);
Suite *cli_options_suite(void)
{
    Suite *s = suite_create("cli.options");
    TCase *t = tcase_create("options");

    tcase_add_loop_test(t, refused, 0, sizeof bad / sizeof bad[0]);
    tcase_add_test(t, settings);
    tcase_add_test(t, own_flags_and_operands);
    tcase_add_test(t, program_names);
    suite_add_tcase(s, t);
    return s;
}
