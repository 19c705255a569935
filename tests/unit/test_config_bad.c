/* test_config_bad.c - settings that are refused, each with the words that
 * the error must have; and spellings that are taken, each with its form. */
#include "config/load.h"
#include "config/value.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N(a) (sizeof(a) / sizeof(a)[0])

static char path[] = "/tmp/mta-bad-XXXXXX";
static struct conf conf;
static struct err e;

static void make_file(void)
{
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void drop_file(void)
{
    conf_free(&conf);
    unlink(path);
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
}

/* The setting stands on line 3 of the file. */
static int load(const char *key, const char *value)
{
    struct conf_source from = { path, NULL, 0, NULL, NULL };
    const char *dot = strchr(key, '.');
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    if (dot == NULL)
        fprintf(f, "#\n\n%s = %s;\n", key, value);
    else
        fprintf(f, "#\n%.*s: {\n%s = %s; };\n", (int)(dot - key), key, dot + 1,
                value);
    ck_assert_int_eq(fclose(f), 0);
    conf_free(&conf);
    return conf_load(&conf, &from, &e);
}

/* value: as it stands in the file; want: what the error has in it, behind
 * "FILE:3: ".  One or two texts. */
/* clang-format off */
static const struct {
    const char *key, *value, *want, *also;
} bad[] = {
    { "hostname", "\"a b\"", "hostname: 'a b' has a blank in it", NULL },
    { "hostname", "\"\"", "hostname: may not be empty", NULL },
    { "hostname", "\"a..b\"", "hostname: 'a..b' has an empty label", NULL },
    { "hostname", "\".a\"", "hostname: '.a' has an empty label", NULL },
    { "hostname", "\"mx.example.test..\"", "has an empty label", NULL },
    { "hostname", "\"-a.test\"", "begins or ends with a hyphen", NULL },
    { "hostname", "\"a$.test\"", "has a character that no name of a host has",
      "a name is written mail.example.com" },
    { "hostname", "\"aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb"
      "1234.test\"", "more than 63 octets", NULL },
    { "hostname", "\"[192.0.2]\"", "host '192.0.2' is not an address", NULL },
    { "hostname", "\"[192.0.2.1]:25\"", "is not an address in brackets", NULL },
    { "hostname", "\"\\xff\\xfe.test\"", "is not a name that IDNA allows", NULL },
    { "hostname", "\"'mx.test'\"", "hostname: 'mx.test' has quotation marks",
      "without them" },
    { "hostnaem", "\"a\"", "no setting 'hostnaem'; did you mean 'hostname'?",
      NULL },
    { "user", "\"root:root\"", "user: 'root:root' is no name of a user", NULL },
    { "user", "25", "user: is a number, should be a string", NULL },
    { "group", "\"a b\"", "group: 'a b' is no name of a group", NULL },
    { "queue_dir", "\"\"", "queue_dir: may not be empty", NULL },
    { "queue_dir", "[ \"/a\" ]", "queue_dir: is a list, should be a string",
      NULL },
    { "queue_dir", "\"a\\nb\"", "queue_dir: control character", NULL },
    { "queue.history", "\"64X\"", "'64X' is not a size", NULL },
    { "stop_timeout", "\"soon\"", "stop_timeout: 'soon' is not a time (write"
      " 30s", NULL },
    { "stop_timeout", "0", "0 is out of bounds, 1 to 3600 seconds", NULL },
    { "stop_timeout", "\"8 s\"", "'8 s' is not a time", NULL },
    { "log.level", "\"debgu\"", "log.level: 'debgu' is not one of debug, info,"
      " warn, error; did you mean 'debug'?", NULL },
    { "log.level", "2", "log.level: is a number, should be a string", NULL },
    { "log.format", "\"xml\"", "log.format: 'xml' is not one of text, json", NULL },
    { "log.file", "\"\"", "log.file: may not be empty", NULL },
    { "log.lvel", "\"info\"", "did you mean 'log.level'?", NULL },
    { "dns.servers", "\"zzz\"", "dns.servers: 'zzz' is not an address"
      " (192.0.2.1:25", NULL },
    { "dns.servers", "[ \"127.0.0.1:99999\" ]", "dns.servers:"
      " '127.0.0.1:99999': port '99999' is not a number from 1 to 65535", NULL },
    { "dns.servers", "[ \"127.0.0.1:\" ]", "port '' is not a number", NULL },
    { "dns.servers", "[ \"192.0.2.1\", \"192.0.2.256\" ]",
      "'192.0.2.256' is not an address", NULL },
    { "dns.servers", "[ \"::1:53:\" ]", "is not an IPv6 address; with a port"
      " it is written [::1]:25", NULL },
    { "dns.timeout", "\"61s\"", "dns.timeout: 61s is out of bounds, 1 to 60"
      " seconds", NULL },
    { "dns.trust_ad", "\"on\"", "dns.trust_ad is not in this version", NULL },
    { "local.domains", "[ \"a..b\" ]", "local.domains: 'a..b' has an empty"
      " label", NULL },
    { "local.domains", "[ \"*.example.com\" ]", "'*.example.com' has a"
      " character that no name of a host has", NULL },
    { "local.domains", "[ \"a.test\", \"\" ]", "local.domains: empty element",
      NULL },
    { "local.domains", "[ \"ann@a.test\" ]", "'ann@a.test' has a character",
      NULL },
    { "local.domains", "[ \"a.test b.test\" ]", "has a blank in it", NULL },
    { "local.domains", "[ \"\\\"a.test\\\"\" ]", "local.domains: \"a.test\" has"
      " quotation marks", NULL },
    { "local.domains", "[ 5 ]", "element 1 of the list is not a string", NULL },
    { "local.mail_dir", "\"~/\"", "no name of a mailbox below", NULL },
    { "local.mail_dir", "\"~/../x\"", "no name of a mailbox below", NULL },
    { "local.mail_dir", "\"~joe/Maildir\"", "only local.mail_dir begins with ~/",
      NULL },
    { "local.mailbox", "\"mailbox\"",
      "'mailbox' is not one of auto, maildir, mbox", NULL },
    { "local.users", "\"file\"", "local.users: 'file' should be passwd, any or"
      " file:PATH; did you mean file:", NULL },
    { "local.users", "\"/etc/users\"", "should be passwd, any or file:PATH",
      NULL },
    { "local.recipient_delimiter", "\"@\"", "no character that separates",
      NULL },
    { "local.max_targets", "0", "local.max_targets", NULL },
    { "local.max_targets", "65536", "local.max_targets", NULL },
    { "local.aliaes", "\"/a\"", "did you mean 'local.aliases'?", NULL },
    { "deliver.workers", "65", "deliver.workers", NULL },
    { "deliver.workers", "0", "deliver.workers", NULL },
    { "serve.listen", "[ \"nonsense\" ]", "serve.listen: 'nonsense' is not an"
      " address", NULL },
    { "serve.listen", "[ \"[::1\" ]", "'[::1' has a [ without a ]", NULL },
    { "serve.listen", "[ \"[::1]25\" ]", "something behind the ]", NULL },
    { "serve.listen", "[ \"127.0.0.1:0\" ]", "port '0' is not a number from 1",
      NULL },
    { "serve.listen", "[ \"127.0.0.1:smtp\" ]", "port 'smtp' is not", NULL },
    { "serve.listen", "[ ]", "serve.listen: may not be empty", NULL },
    { "serve.listen", "25", "serve.listen: is a number, should be a list of"
      " strings", NULL },
    { "serve.listen", "[ \"[::]:465 tls\" ]", "serve.listen: TLS needs a"
      " certificate: set serve.tls_cert and serve.tls_key", NULL },
    { "serve.listen", "[ \"[::]:587 tls submission\" ]", "'[::]:587 tls"
      " submission': role submission is not in this version", NULL },
    { "serve.listen", "[ \"[::]:465 tsl\" ]", "'tsl' is no role of a listener;"
      " did you mean tls?", NULL },
    { "serve.listen", "[ \"tls\" ]", "'tls' is not an address", NULL },
    { "serve.listen", "[ \"[::]:587 submision\" ]", "'submision' is no role of"
      " a listener; did you mean submission?", NULL },
    { "serve.listen", "[ \"unix:run/x\" ]", "the path of a socket begins with"
      " / (write unix:/run/mta/submit)", NULL },
    { "serve.listen", "[ \"unix:\" ]", "the path of a socket begins with /",
      NULL },
    { "serve.workers", "0", "serve.workers: 0 is out of bounds, 1 to 256",
      NULL },
    { "serve.workers", "\"two\"", "serve.workers: 'two' is not a number", NULL },
    { "serve.workers", "2.5", "is a number with a point", NULL },
    { "serve.max_clients", "100000", "is out of bounds, 1 to ", NULL },
    { "serve.relay_networks", "[ \"10.0.0.0/99\" ]", "serve.relay_networks:"
      " '10.0.0.0/99': prefix is not 0 to 32", NULL },
    { "serve.relay_networks", "[ \"::1/129\" ]", "prefix is not 0 to 128",
      NULL },
    { "serve.relay_networks", "[ \"10.0.0.1/8\" ]", "'10.0.0.1/8' has bits set"
      " beyond its prefix (write 10.0.0.0/8)", NULL },
    { "serve.relay_networks", "[ \"2001:db8::1/33\" ]", "(write 2001:db8::/33)",
      NULL },
    { "serve.relay_networks", "[ \"10.1.2.3/255.255.240.0\" ]", "has a mask"
      " (write 10.1.0.0/20)", NULL },
    { "serve.relay_networks", "[ \"10.0.0.0/255.0.255.0\" ]", "prefix is not 0"
      " to 32", NULL },
    { "serve.relay_networks", "\"10.0.0.0-10.0.0.9\"", "is not a network"
      " (192.0.2.0/24", NULL },
    { "serve.relay_domains", "[ \"a..b\" ]", "serve.relay_domains: 'a..b' has"
      " an empty label", NULL },
    { "serve.relay_domains", "[ \"[192.0.2.1]\" ]", "(a relay domain is written",
      NULL },
    { "serve.relay_domains", "[ \"a.test=b.test\" ]", "'b.test' is not"
      " file:PATH, the file of its recipients", NULL },
    { "serve.relay_domains", "[ \"a.test=file:\" ]", "is not file:PATH", NULL },
    { "serve.relay_domains", "[ \"a.test\", \"A.test=file:/x\" ]", "a.test"
      " stands there twice", NULL },
    { "serve.relay_domains", "[ \"localhost\" ]", "localhost is one of"
      " local.domains, too", NULL },
    { "serve.rdns", "true", "serve.rdns: is true or false, should be a string",
      NULL },
    { "serve.rdns", "\"requrie\"", "did you mean 'require'?", NULL },
    { "serve.extra_commands", "[ \"STARTTLS\" ]", "serve.extra_commands: TLS"
      " needs a certificate: set serve.tls_cert and serve.tls_key", NULL },
    { "serve.extra_commands", "[ \"NOOP\", \"bdat\" ]", "'bdat' is not in this"
      " version", NULL },
    { "serve.extra_commands", "[ \"EXPN\" ]", "'EXPN' is not one of NOOP, HELP",
      NULL },
    { "serve.max_message_size", "\"50 MB\"", "is not a size (write 64K", NULL },
    { "serve.max_message_size", "\"1\"", "1 is out of bounds, 1024 to", NULL },
    { "serve.body_memory", "\"lots\"", "'lots' is not a size", NULL },
    { "serve.early_talk", "\"rejct\"", "did you mean 'reject'?", NULL },
    { "serve.min_rate", "-1", "serve.min_rate: '-1' is not a number", NULL },
    { "serve.max_unknown", "0", "serve.max_unknown: 0 is out of bounds", NULL },
    { "serve.bare_newline", "\"fix\"", "is not one of reject, normalize", NULL },
    { "serve.tls_cert", "\"/c\"", "serve.tls_cert: certificates:"
      " 1, keys: 0; they are pairs, in the same order", "one file may be both" },
    { "serve.tls_key", "[ \"/k\", \"/l\" ]", "serve.tls_key: certificates: 0,"
      " keys: 2", NULL },
    { "serve.tls_cert", "[ \"-----BEGIN CERTIFICATE-----\" ]",
      "serve.tls_cert: is the text of a file, should be the file's name", NULL },
    { "serve.tls_cert", "[ \"\" ]", "serve.tls_cert: empty element", NULL },
    { "serve.tls_tickets", "\"of\"", "did you mean 'off'?", NULL },
    { "send.relay_host", "\"host:99999\"", "send.relay_host: 'host:99999': port"
      " '99999' is not a number from 1 to 65535", NULL },
    { "send.relay_host", "\"[::1\"", "'[::1' has a [ without a ]", NULL },
    { "send.relay_host", "\"host:submission\"", "port 'submission' is not a"
      " number", NULL },
    { "send.relay_host", "\"bad host:25\"", "host 'bad host' has a blank",
      NULL },
    { "send.relay_host", "\"\\\"smart.test\\\"\"", "\"smart.test\" has"
      " quotation marks", NULL },
    { "send.relay_host", "\":25\"", "':25': host '' is empty", NULL },
    { "send.relay_host", "\"192.0.2.256\"", "host '192.0.2.256' is not an"
      " address", NULL },
    { "send.relay_host", "[ \"a\", \"b:0\" ]", "send.relay_host: 'b:0': port '0'",
      NULL },
    { "send.relay_host", "\"a, ,b\"", "empty element in the list", NULL },
    { "send.relay_host", "\"a,b,c,d,e,f,g,h,i\"", "more than 8 elements",
      NULL },
    { "send.relay_user", "\"me\"", "send.relay_user: send.relay_host is not set",
      NULL },
    { "send.providers", "[ \".google.com\" ]", "send.providers: '.google.com'"
      " has no name of a group (a provider is written google=.google.com)",
      NULL },
    { "send.providers", "[ \"my group=.x.test\" ]", "has no name of a group",
      NULL },
    { "send.providers", "[ \"g=\" ]", "'g=': '' is empty", NULL },
    { "send.providers", "[ \"g=.a..b\" ]", "has an empty label", NULL },
    { "send.providers", "[ \"g=[192.0.2.1]\" ]", "is no end of a host name",
      NULL },
    { "send.relay_user", "\"me\"; relay_host = \"h\"", "send.relay_user:"
      " send.relay_password and send.relay_token are not set", NULL },
    { "send.relay_password", "\"s3cret\"", "send.relay_password:"
      " send.relay_user is not set", NULL },
    { "send.relay_password", "\"x\"; relay_user = \"u\"; relay_host = \"h\";"
      " relay_token = \"file:/t\"", "send.relay_token: send.relay_password is"
      " set, too", NULL },
    { "send.relay_password", "\"x\"; relay_user = \"u\"; relay_host = \"h\";"
      " relay_auth = [ \"xoauth2\" ]", "send.relay_auth: a password needs"
      " scram-sha-256, plain or login", NULL },
    { "send.relay_token", "\"/etc/token\"", "'/etc/token' should be file:PATH or"
      " command:PATH", NULL },
    { "send.relay_token", "\"file:\"", "should be file:PATH", NULL },
    { "send.relay_token", "\"file:/t\"", "send.relay_token: send.relay_user is not"
      " set", NULL },
    { "send.relay_auth", "[ \"cram-md5\" ]", "'cram-md5' is not one of"
      " scram-sha-256, plain, login, oauthbearer, xoauth2", NULL },
    { "send.logins", "[ \"[h]:587 u\" ]", "'[h]:587 u' is no login (one is"
      " written [host]:587 USER file:PATH)", NULL },
    { "send.logins", "[ \"[h]:587 u secret\" ]", "is no login", NULL },
    { "send.logins", "[ \"[h]:587 file:/p\" ]", "is no login", NULL },
    { "send.logins", "[ \"[h]:0 u file:/p\" ]", "port '0'", NULL },
    { "send.routes", "[ \"example.com\" ]", "send.routes: 'example.com' has no"
      " = (a route is written example.com=host:25)", NULL },
    { "send.routes", "[ \"example.com=\" ]", "host '' is empty", NULL },
    { "send.routes", "[ \"=host\" ]", "send.routes: '=host': '' is empty", NULL },
    { "send.routes", "[ \"a..b=host\" ]", "'a..b' has an empty label", NULL },
    { "send.routes", "[ \"a.test=host:0\" ]", "port '0' is not a number", NULL },
    { "send.routes", "[ \"a.test=lmtp:/run/x\" ]", "host '/run/x'", NULL },
    { "send.routes", "[ \"a.test=lmtp:host\" ]", "'a.test=lmtp:host': LMTP needs"
      " a port (write lmtp:host:24)", NULL },
    { "send.routes", "[ \"a.test=lmtp:unix:run/x\" ]", "the path of a socket"
      " begins with / (write lmtp:unix:/run/dovecot/lmtp)", NULL },
    { "send.routes", "[ \"a.test=lmtp:unix:/"
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee12345678\" ]",
      "the path of a socket has at most 107 octets", NULL },
    { "send.routes", "[ \"@=[b.test]\" ]", "'@' ", NULL },
    { "send.routes", "[ \"u@a.test=[b.test]\" ]", "'u@a.test'", NULL },
    { "send.tls", "\"dane\"", "send.tls: 'dane' is not in this version", NULL },
    { "send.tls", "\"yes\"", "send.tls: 'yes' is not one of none, may, encrypt,"
      " verify", NULL },
    { "send.tls_policy", "[ \"example.com\" ]", "send.tls_policy: 'example.com'"
      " has no = (a rule is written example.com=verify)", NULL },
    { "send.tls_policy", "[ \"a.test=yes\" ]", "'a.test=yes': 'yes' is not one of"
      " none, may, encrypt, verify", NULL },
    { "send.tls_policy", "[ \"a.test=verfy\" ]", "did you mean 'verify'?",
      NULL },
    { "send.tls_policy", "[ \"a.test=dane\" ]", "'dane' is not in this version",
      NULL },
    { "send.tls_policy", "[ \"=may\" ]", "host '' is empty", NULL },
    { "send.tls_policy", "[ \".a.test:25=may\" ]", "the domains below a name"
      " have no port", NULL },
    { "send.tls_policy", "[ \"[a.test=may\" ]", "has a [ without a ]", NULL },
    { "send.port", "65536", "send.port: 65536 is out of bounds, 1 to 65535",
      NULL },
    { "send.retry_min", "\"5h\"", "send.retry_min is longer than"
      " send.retry_max", NULL },
    { "send.queue_lifetime", "\"1w\"", "'1w' is not a time", NULL },
    { "rewrite.from", "\"a\"", "'a' is not a whole address (write"
      " user@example.com)", NULL },
    { "rewrite.from", "\"a b@c.test\"", "'a b@c.test' is not an address",
      NULL },
    { "rewrite.root", "\"@c.test\"", "'@c.test' is not a whole address", NULL },
    { "rewrite.root", "\"a@c..test\"", "has an empty label", NULL },
    { "rewrite.rules", "[ \"sender a@b.test\" ]", "'sender a@b.test' is no rule"
      " (one is written sender root@box.example=me@example.com)", NULL },
    { "rewrite.rules", "[ \"from a@b.test=c@d.test\" ]", "'from' is none of"
      " sender, recipient, both", NULL },
    { "rewrite.rules", "[ \"both a@b.test=\" ]", "'' is not an address", NULL },
    { "rewrite.rules", "[ \"both \\\"a b\\\"@b.test=c\" ]", "is not an address",
      NULL },
    { "dkim.keys", "[ \"example.com:s1\" ]", "'example.com:s1' is no key"
      " (write example.com:selector:/path)", NULL },
    { "dkim.keys", "[ \"example.com:s1:\" ]", "is no key", NULL },
    { "dkim.keys", "[ \"example.com\" ]", "is no key", NULL },
    { "dkim.keys", "[ \":\" ]", "is no key", NULL },
    { "dkim.keys", "[ \"a..b:s1:/k\" ]", "the domain 'a..b' has an empty label",
      "'a..b:s1:/k'" },
    { "dkim.keys", "[ \"a.b::/k\" ]", "the selector '' is empty", NULL },
    { "dkim.keys", "[ \"a.b:s s:/k\" ]", "the selector 's s' has a blank",
      NULL },
    { "serve.port", "25", "no setting 'serve.port'; here it is 'serve.listen'",
      NULL },
    { "mynetworks", "\"10.0.0.0/8\"", "here it is 'serve.relay_networks'",
      NULL },
    { "send.SMARTHOST", "\"x\"", "here it is 'send.relay_host'", NULL },
    { "log.file", "\"syslog\"", "log.file: 'syslog' is no path; \"-\" is"
      " standard output", NULL },
    { "local.aliases", "\"hash:/etc/aliases\"", "'hash:/etc/aliases' has a word"
      " in front of the path (write /etc/aliases)", NULL },
    { "queue_dir", "\"~/queue\"", "only local.mail_dir begins with ~/", NULL },
    { "send.relay_host", "\"smtps://h.test:465\"", "'smtps://h.test:465' is a"
      " URL; a host is written smtp.example.net:587", NULL },
    { "serve.listen", "\"*:25\"", "all of this host: 0.0.0.0:25 and [::]:25",
      NULL },
    { "serve.listen", "\"25\"", "'25' is not an address", NULL },
};

/* form: as `mta config --show` prints it. */
static const struct {
    const char *key, *value, *form;
} good[] = {
    { "hostname", "\"MX.Example.TEST.\"", "\"mx.example.test\"" },
    { "hostname", "\"  mx.test \"", "\"mx.test\"" },
    { "hostname", "\"b\303\274cher.test\"", "\"xn--bcher-kva.test\"" },
    { "hostname", "\"[192.0.2.1]\"", "\"[192.0.2.1]\"" },
    { "hostname", "\"[IPv6:2001:DB8:0::1]\"", "\"[IPv6:2001:db8::1]\"" },
    { "hostname", "\"my_host\"", "\"my_host\"" },
    { "hostname", "\"0123456789\"", "\"0123456789\"" },
    { "user", "\"1000\"", "\"1000\"" },
    { "local.domains", "[ \"example.test.\", \" a.test\", \"@b.test\" ]",
      "[ \"example.test\", \"a.test\", \"b.test\" ]" },
    { "local.domains", "\"B\303\234CHER.test, [192.0.2.1]\"",
      "[ \"xn--bcher-kva.test\", \"[192.0.2.1]\" ]" },
    { "local.domains", "[ ]", "[ ]" },
    { "local.users", "\"file:/etc/mta/users\"", "\"file:/etc/mta/users\"" },
    { "local.users", "\"ANY\"", "\"any\"" },
    { "local.mailbox", "\"MBOX\"", "\"mbox\"" },
    { "local.mailbox", "\"auto\"", "\"auto\"" },
    { "local.mail_dir", "\"~/mail/Inbox\"", "\"~/mail/Inbox\"" },
    { "local.mail_dir", "\"~/Maildir/\"", "\"~/Maildir\"" },
    { "local.user", "\"vmail\"", "\"vmail\"" },
    { "dns.servers", "[ \"127.0.0.1\", \"[::1]:5300\", \"::1\" ]",
      "[ \"127.0.0.1:53\", \"[::1]:5300\", \"[::1]:53\" ]" },
    { "serve.listen", "[ \"192.0.2.1\", \"[2001:DB8::1]:2525\" ]",
      "[ \"192.0.2.1:25\", \"[2001:db8::1]:2525\" ]" },
    { "serve.relay_networks", "[ \"10.0.0.0/8\", \"::1\" ]",
      "[ \"10.0.0.0/8\", \"::1/128\" ]" },
    { "serve.extra_commands", "[ \"help\", \"NOOP\" ]",
      "[ \"NOOP\", \"HELP\" ]" },
    { "send.relay_host", "\"Smart.TEST.\"", "[ \"smart.test\" ]" },
    { "send.relay_host", "\"[smart.test]:587\"", "[ \"[smart.test]:587\" ]" },
    { "send.relay_host", "\"localhost:1025\"", "[ \"localhost:1025\" ]" },
    { "send.relay_host", "\"2001:db8::1\"", "[ \"[2001:db8::1]\" ]" },
    { "send.relay_host", "\"[IPv6:::1]:25\"", "[ \"[::1]:25\" ]" },
    { "send.relay_host", "[ \"[192.0.2.1]:25\", \"B.test\" ]",
      "[ \"192.0.2.1:25\", \"b.test\" ]" },
    { "send.relay_host", "\"\"", "[ ]" },
    { "send.providers", "[ \"Hoster=.MX.Hoster.test.\", \"one=mx.one.test\" ]",
      "[ \"hoster=.mx.hoster.test\", \"one=mx.one.test\" ]" },
    { "send.logins", "[ \"[H.test]:587  u@x  file:/a b\" ]",
      "[ \"[h.test]:587 u@x file:/a b\" ]" },
    { "send.logins", "[ ]", "[ ]" },
    { "send.relay_auth", "[ \"PLAIN\", \"scram-sha-256\" ]",
      "[ \"scram-sha-256\", \"plain\" ]" },
    { "send.routes", "[ \"@A.test=[b]\", \"@.a.test = b:26\" ]",
      "[ \"@a.test=[b]\", \"@.a.test=b:26\" ]" },
    { "send.tls", "\"Verify\"", "\"verify\"" },
    { "send.tls_ca", "\"/etc/ca.pem\"", "\"/etc/ca.pem\"" },
    { "send.tls_policy", "[ \"Example.COM. = Verify\", \".b.test=none\","
      " \"[H.test]:587=encrypt\" ]",
      "[ \"example.com=verify\", \".b.test=none\", \"[h.test]:587=encrypt\" ]" },
    { "send.routes", "[ \"Example.COM. = Host:25\", \".b\303\274.test=[::1]\" ]",
      "[ \"example.com=host:25\", \".xn--b-eha.test=[::1]\" ]" },
    { "send.routes", "[ \"a.test=LMTP:unix:/run/Dovecot/lmtp\","
      " \".b.test=lmtp:[::1]:24\" ]", "[ \"a.test=lmtp:unix:/run/Dovecot/lmtp\","
      " \".b.test=lmtp:[::1]:24\" ]" },
    { "dkim.keys", "[ \"B\303\234CHER.test.:S1:/etc/mta/a:b\" ]",
      "[ \"xn--bcher-kva.test:s1:/etc/mta/a:b\" ]" },
    { "stop_timeout", "\"120s\"", "\"2m\"" },
    { "serve.max_message_size", "2097152", "\"2M\"" },
};
/* clang-format on */

START_TEST(refused)
{
    const char *key = bad[_i].key, *also = bad[_i].also;
    char at[64];

    snprintf(at, sizeof at, "%s:3: ", path);
    ck_assert_msg(load(key, bad[_i].value) != 0, "%s = %s is accepted", key,
                  bad[_i].value);
    ck_assert_msg(strncmp(e.text, at, strlen(at)) == 0, "%s: no place: %s", key,
                  e.text);
    ck_assert_msg(strstr(e.text, bad[_i].want) != NULL &&
                      (also == NULL || strstr(e.text, also) != NULL),
                  "%s = %s: %s", key, bad[_i].value, e.text);
    ck_assert_int_ne(e.kind, ERR_USAGE); /* no misuse of the command */
    ck_assert_ptr_null(strstr(e.text, "s3cret"));
}
END_TEST

START_TEST(accepted)
{
    char *got = NULL;
    size_t n;

    ck_assert_msg(load(good[_i].key, good[_i].value) == 0, "%s", e.text);
    FILE *out = open_memstream(&got, &n);
    conf_print(out, &conf, conf_find(span_of(good[_i].key)));
    fclose(out);
    ck_assert_msg(strcmp(got, good[_i].form) == 0, "%s: %s", good[_i].key, got);
    free(got);
}
END_TEST

Suite *config_bad_suite(void);
Suite *config_bad_suite(void)
{
    Suite *s = suite_create("config.bad");
    TCase *t = tcase_create("bad");

    tcase_add_checked_fixture(t, make_file, drop_file);
    tcase_add_loop_test(t, refused, 0, N(bad));
    tcase_add_loop_test(t, accepted, 0, N(good));
    suite_add_tcase(s, t);
    return s;
}
