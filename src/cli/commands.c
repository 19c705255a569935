/* commands.c - the table of commands, help and version. */
#include "cli/commands.h"

#include "base/os.h"
#include "base/span.h"
#include "base/suggest.h"

#include <string.h>
#include <sysexits.h>

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

/* clang-format off */
static const struct command commands[] = {
    { "check", cmd_check, NULL,
      "[--health] [--address LIST] [--json] [-c FILE] [-o KEY=VALUE]...",
      "find what keeps mail from coming and going",
      "  --address LIST  the addresses that others see mail come from, where\n"
      "                  this host is behind NAT\n"
      "  --json          one object a line: check, state (ok, warning, fault),\n"
      "                  what, fix\n"
      "  --health        nothing but: do the listeners and processes of the\n"
      "                  running system answer within a second?  Exit status 0\n"
      "                  or 1; sessions of it are not logged\n"
      "\nAsks the DNS and connects to other hosts; sends no mail, changes\n"
      "nothing.  Exit status: 0 all is well, 1 warnings, 2 faults.\n"
      },
    { "config", cmd_config, NULL,
      "[--show|--check [--offline]|--dump|--man] [-c FILE] [-o KEY=VALUE]... [--json]",
      "look at the settings",
      "  --show         effective values and where each came from (the default)\n"
      "  --check        what a start would check: report what is wrong, and\n"
      "                 nothing when all is well\n"
      "  --offline      ... without a look at accounts, directories and files\n"
      "  --dump         a sample file: every setting with its default, explained\n"
      "  --man          the settings for the manual page\n"
      "  -c FILE        configuration file (default: $MTA_CONFIG or\n"
      "                 /etc/mta/mta.conf if it is there)\n"
      "  -o KEY=VALUE   change one setting; may be repeated\n"
      "  --json         --show as one JSON object\n" },
    { "deliver", cmd_deliver, NULL,
      "[--once] [-c FILE] [-o KEY=VALUE]... [FLAGS]",
      "deliver what waits for local users",
      "  --once           one pass over what is due, then end\n"
      "  --mail-dir, --queue-dir, --log-file, --workers (of deliver), --user,\n"
      "  --group set the settings of these names\n"
      "\nExit status 0: nothing is left; 75: mail remains.\n" },
    { "dkim", cmd_dkim, NULL,
      "keygen DOMAIN SELECTOR FILE [--ed25519] | record FILE  [--json]",
      "make a key for DKIM, print the DNS record of one",
      "  keygen     make a private key, write it to FILE, which must not exist,\n"
      "             and print the record for the DNS: RSA with 2048 bits\n"
      "  --ed25519  ... an Ed25519 key (RFC 8463), for use beside one of RSA\n"
      "  record     print the record that belongs to the private key in FILE\n"
      "  --json     as one JSON object\n" },
    { "fsm", cmd_fsm, NULL, "server|client",
      "draw a session's state machine",
      "  Prints graphviz: mta fsm server | dot -Tsvg > server.svg\n" },
    { "help", cmd_help, NULL, "[COMMAND]", "explain a command",
      NULL },
    { "log", cmd_log, NULL,
      "[-f] [--raw] [--id ID] [--sid SID] [--address A] [--event NAME]\n"
      "               [--since T] [--until T] [-c FILE] [-o KEY=VALUE]...",
      "collect the log, or look into it",
      "Without one of the first flags: receive the lines of all processes of\n"
      "queue_dir and write them to log.file.  SIGHUP reads the settings again\n"
      "and opens the file anew.  With them, lines of log.file, and of files\n"
      "that were rotated away:\n\n"
      "  -f             the last lines, or those that fit, and wait for more\n"
      "  --id ID        the path of one message: how it was received, what\n"
      "                 became of each of its parts, and the sessions\n"
      "  --raw          ... as the lines of the log that have its id\n"
      "  --sid SID      the lines of one session\n"
      "  --address A    from or to that address, or of a host with that IP\n"
      "  --event NAME   of that event; 'send': all that begin so\n"
      "  --since T, --until T\n"
      "                 2026-01-31T10:00:00Z, 2026-01-31 (local time), or 30m,\n"
      "                 2h, 5d ago\n"
      "  --queue-dir D  queue_dir\n"
      "  --log-file F   log.file\n"
      "\nExit status 66: no such message, or no such file.\n" },
    { "queue", cmd_queue, "mailq",
      "[list [FILTER]... | show ID | cat ID |\n"
      "         hold|release|retry|delete|flush [ID]... [FILTER]... |\n"
      "         drain [--timeout T] | stats [--openmetrics]]\n"
      "         [--json] [--queue-dir DIR] [-c FILE]",
      "look at the mail that waits, hold, release, retry or delete it",
      "  list        what waits, for whom, and what was the last answer\n"
      "  --domain D  ... for recipients of that domain (.D: those below it)\n"
      "  --sender A  ... from that address (@D: a domain; '<>': notices)\n"
      "  --state S   ... pending, delivering, held; delivered, failed,\n"
      "              expanded or deleted of messages that still wait\n"
      "  --older T   ... that arrived longer ago: 30m, 4h, 2d\n"
      "  --reply T   ... whose last reply has this text, as \"421 4.7.0\"\n"
      "  --sort KEY  arrival, next, size, sender, domain or attempts; the\n"
      "              largest and most often tried stand first\n"
      "  show ID     one message with all its recipients and its origin, and\n"
      "              what happened to it, also when it is gone\n"
      "  cat ID      its text, as it will be sent\n\n"
      "  hold        do not try it until it is released; restarts keep it\n"
      "  release     what is held is due now\n"
      "  retry       what waits is due now\n"
      "  delete      remove it; no notice is sent\n"
      "  flush       as retry, and try hosts that are shut; without a word\n"
      "              behind it: everything\n"
      "  ID...       ... these messages, or with --domain and --sender as\n"
      "              above, or with --all: everything\n"
      "  --dry-run   only count them\n\n"
      "  drain       have the running processes try everything until nothing\n"
      "              is left, or for T; status 75: mail remains\n"
      "  stats       how much waits, for whom and how long; --openmetrics\n"
      "              for collectors, with what was delivered, deferred and\n"
      "              bounced since the processes started\n\n"
      "  --json      one JSON object a line\n"
      "\nWith and without daemons. Exit status 66: no such id; 75: a process\n"
      "does not answer.\n" },
    { "route", cmd_route, NULL,
      "ADDRESS [--sender ADDRESS] [--json] [-c FILE] [-o KEY=VALUE]...",
      "show where an address would go, and which setting decides",
      "  --sender A  for mail from that address (send.routes by sender)\n"
      "  --json      as one JSON object\n"
      "\nAsks the DNS, and sends nothing.  Exit status: 0 deliverable, 67 no\n"
      "such user, 68 no such host or null MX, 75 cannot be known now; of\n"
      "several targets of an alias, that of the first which is not 0.\n" },
    { "run", cmd_run, NULL, "[-c FILE] [-o KEY=VALUE]... [FLAGS of serve]",
      "log, server, local delivery and sender, in the foreground",
      "  SIGTERM stops: transactions in hand are finished. SIGHUP reads the\n"
      "  configuration again and reopens the log file.\n" },
    { "send", cmd_send, NULL,
      "[--once | --drain [--timeout T]] [-c FILE] [-o KEY=VALUE]...",
      "deliver what waits in the queue",
      "  --once           one pass over what is due, then end\n"
      "  --drain          until the queue is empty\n"
      "  --timeout T      ... or that time is over\n"
      "  --queue-dir, --log-file, --queue-lifetime, --retry-min, --retry-max,\n"
      "  --workers, --user, --group set the settings of these names\n"
      "\nExit status 0: nothing is left; 75: mail remains.\n" },
    { "sendmail", cmd_sendmail, "sendmail newaliases",
      "[-t] [-i] [-f SENDER] [-F NAME] [-C FILE] [OPTION]... [--] [ADDRESS]...",
      "submit a message, as programs expect it from sendmail(8)",
      "  -t             recipients from To, Cc and Bcc, beside those named here\n"
      "  -i, -oi        a line with one dot does not end the message\n"
      "  -f, -r SENDER  envelope sender; \"\" or <>: none\n"
      "  -F NAME        full name of the sender, for a From field that is missing\n"
      "  -N never|success,failure,delay   -R full|hdrs   -V ID\n"
      "                 notices to be sent (DSN)\n"
      "  -v             show the dialogue with the server\n"
      "  -C FILE        configuration file\n"
      "  -bs            SMTP on standard input and output\n"
      "  -bp            list the queue, as mailq\n"
      "  -bv, -bt       where would the addresses go: as mta route\n"
      "  -bi            check the aliases, ask for a reload, as newaliases\n"
      "  -bd            be a server: as mta serve\n"
      "  -q             try everything in the queue now\n"
      "\nOther options of sendmail(8) are accepted and ignored.  Addresses that\n"
      "begin with - stand behind --.  Exit status 0: the message is in the queue,\n"
      "on the disk.  Otherwise one of sysexits(3), as 65: no or bad recipients,\n"
      "67: unknown user, 69: too large, 75: try again later.\n" },
    { "serve", cmd_serve, "smtpd", "[-c FILE] [-o KEY=VALUE]... [FLAGS]",
      "accept mail over SMTP, deliver it to local users",
      "  --port N, --bind ADDRESS       where to listen\n"
      "  --mail-dir DIR, --queue-dir DIR, --log-file FILE\n"
      "  --user USER, --group GROUP     the account after binding\n"
      "  --relay-network NETWORK        may send to any domain; may be repeated\n"
      "  --workers N                    worker processes\n" },
    { "version", cmd_version, NULL, "", "print the version",
      NULL },
};
/* clang-format on */

enum { NCOMMANDS = sizeof commands / sizeof commands[0] };

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool has_alias(const struct command *c, struct span name)
{
    struct span rest = span_of(c->aliases);

    while (rest.n > 0) {
        size_t n = span_find(rest, ' ');
        if (span_eq((struct span){ rest.p, n }, name))
            return true;
        n += n < rest.n;
        rest.p += n;
        rest.n -= n;
    }
    return false;
}

const struct command *command_by_program(const char *argv0)
{
    const char *name = os_base_name(argv0);

    if (strncmp(name, "mta-", 4) == 0)
        return command_find(name + 4);
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (has_alias(&commands[i], span_of(name)))
            return &commands[i];
    return NULL;
}

void command_usage(FILE *out, const struct command *c)
{
    fprintf(out, "usage: mta %s%s%s\n  %s\n", c->name, *c->args ? " " : "",
            c->args, c->help);
    if (c->more != NULL)
        fprintf(out, "\n%s", c->more);
}

void command_greet(FILE *out)
{
    fputs("mta " MTA_VERSION
          ", a small mail system in one program: SMTP server,"
          " durable queue,\nlocal delivery, SMTP client, log, and the tools to"
          " look at them.\n\nWhat to do next:\n"
          "  mta config --check   what a start would refuse, and what would be"
          " right\n"
          "  mta run              start it, in the foreground\n"
          "  mta check            what keeps mail from coming and going;"
          " 'mta help': the rest\n",
          out);
}

static void command_list(FILE *out)
{
    fputs("usage: mta COMMAND [ARGUMENT ...]\n\n", out);
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n'mta help COMMAND' explains one.\n", out);
}

static int cmd_help(int argc, char **argv)
{
    if (argc < 2) {
        command_list(stdout);
        return EX_OK;
    }
    const struct command *c = command_find(argv[1]);
    if (c == NULL) {
        fprintf(stderr, "mta help: no command '%s'\nTry 'mta help'.\n",
                argv[1]);
        return EX_USAGE;
    }
    command_usage(stdout, c);
    return EX_OK;
}

static int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("mta " MTA_VERSION);
    return EX_OK;
}

const char *command_nearest(const char *given)
{
    const char *best = NULL;
    unsigned least = 3; /* with more edits it is another word */

    for (size_t i = 0; i < NCOMMANDS; i++) {
        unsigned d = edit_distance(given, commands[i].name);
        if (d < least) {
            least = d;
            best = commands[i].name;
        }
    }
    return best;
}
