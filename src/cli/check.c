/* check.c - `mta check`: what keeps mail from coming and going. */
#include "cli/check.h"

#include "cli/commands.h"
#include "cli/options.h"

#include "base/json.h"
#include "base/utf8.h"
#include "config/value.h"

#include <errno.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* In the order in which one depends on the other. */
static const struct {
    const char *name;
    void (*run)(struct checking *k);
} checks[] = {
    { "settings", check_settings },
    { "clock", check_clock },
    { "resolver", check_resolver },
    { "addresses", check_addresses },
    { "hostname", check_hostname },
    { "reverse", check_reverse },
    { "mx", check_mx },
    { "spf", check_spf },
    { "dkim", check_dkim },
    { "dmarc", check_dmarc },
    { "tls", check_certificates },
    { "smarthost", check_smarthost },
    { "port", check_port },
};

static const char *const names[] = {
    [CHECK_OK] = "ok", [CHECK_WARNING] = "warning", [CHECK_FAULT] = "fault"
};

/* --- findings ------------------------------------------------------------- */

static void put_json(const struct checking *k, enum check_state s,
                     const char *what, const char *fix)
{
    printf("{\"check\":\"%s\",\"state\":\"%s\",\"what\":", k->check, names[s]);
    json_string(stdout, span_of(what));
    fputs(",\"fix\":", stdout);
    if (fix != NULL)
        json_string(stdout, span_of(fix));
    else
        fputs("null", stdout);
    puts("}");
}

static void put_text(const struct checking *k, enum check_state s,
                     const char *what, const char *fix)
{
    static const char *const colours[] = { [CHECK_OK] = "\033[32m",
                                           [CHECK_WARNING] = "\033[33m",
                                           [CHECK_FAULT] = "\033[31m" };

    /* Programs read one line a finding, people shorter ones. */
    const char *between = fix == NULL   ? ""
                          : k->terminal ? "\n                    "
                                        : ": ";

    printf("%s%-8s%s %-10s %s%s%s\n", k->colour ? colours[s] : "", names[s],
           k->colour ? "\033[0m" : "", k->check, what, between,
           fix != NULL ? fix : "");
}

/* Replies and records of others must not steer a terminal. */
static void clean(char *text)
{
    for (size_t n = strlen(text), len; n > 0; n -= len, text += len) {
        len = utf8_length(text, n);
        if (len > 0 && utf8_control(text, len) == UTF8_NO_CONTROL)
            continue;
        len += len == 0;
        memset(text, '?', len);
    }
}

void check_say(struct checking *k, enum check_state s, const char *fix,
               const char *fmt, ...)
{
    char what[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    clean(what);
    if (s > k->worst)
        k->worst = s;
    if (k->json)
        put_json(k, s, what, fix);
    else
        put_text(k, s, what, fix);
    fflush(stdout); /* the next check may take its time */
}

void check_say_err(struct checking *k, const char *fix, const struct err *e)
{
    if (geteuid() != 0 && (e->sys == EACCES || e->sys == EPERM))
        check_say(k, CHECK_WARNING, "run it as root", "%s", e->text);
    else
        check_say(k, CHECK_FAULT, fix, "%s", e->text);
}

/* --- all of them ---------------------------------------------------------- */

static int run(struct checking *k, struct err *e)
{
    if (loop_new(&k->loop, NULL, e) != 0)
        return -1;
    (void)dns_open_conf(&k->dns, k->loop, k->conf, &k->no_dns);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        k->check = checks[i].name;
        checks[i].run(k);
    }
    dns_close(&k->dns);
    loop_free(&k->loop);
    return 0;
}

/* Addresses that others see in place of those of this host. */
static bool take_addresses(struct checking *k, const char *list)
{
    struct span el[CONF_LIST_MAX];
    size_t n = list == NULL ? 0 : conf_split(span_of(list), el);

    for (size_t i = 0; i < n && i < CHECK_ADDRS_MAX; i++) {
        if (!addr_parse_ip(&k->addr[i].addr, el[i], 0)) {
            fprintf(stderr,
                    "mta check: '%.*s' is not an address (write"
                    " 192.0.2.1 or 2001:db8::1)\n",
                    (int)el[i].n, el[i].p);
            return false;
        }
        k->naddr = i + 1;
    }
    return true;
}

static int check(const struct options *o, const char *addresses)
{
    struct checking *k = calloc(1, sizeof *k);
    struct err e = { ERR_TEMP, 0, "no memory" };
    int status = EX_USAGE;

    if (k == NULL) {
        fputs("mta check: no memory\n", stderr);
        return EX_OSERR;
    }
    k->conf = &o->conf;
    k->json = o->json;
    k->terminal = isatty(STDOUT_FILENO);
    k->colour = k->terminal && getenv("NO_COLOR") == NULL;
    if (take_addresses(k, addresses)) {
        status = run(k, &e) == 0 ? (int)k->worst : EX_OSERR;
        if (status == EX_OSERR)
            fprintf(stderr, "mta check: %s\n", e.text);
    }
    free(k);
    return status;
}

int cmd_check(int argc, char **argv)
{
    bool health = false;
    const char *addresses = NULL;
    const struct option flags[] = { OPTION_ON("--health", &health),
                                    OPTION_TEXT("--address", &addresses) };
    const struct options_spec spec = { flags, sizeof flags / sizeof flags[0], 0,
                                       0, false };
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return health ? 1 : o.status == EX_CONFIG ? CHECK_FAULT : o.status;
    int status = health ? check_health(&o.conf) : check(&o, addresses);
    options_done(&o);
    return status;
}
