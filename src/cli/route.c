/* route.c - `mta route ADDRESS`: where it would go, and which setting
 * decided. */
#include "cli/route.h"

#include "cli/commands.h"
#include "cli/options.h"
#include "smtp/address.h"

#include <string.h>
#include <sysexits.h>

/* A bare name is one of this host, as for `mta sendmail`; postmaster may
 * stay so. */
static bool qualify(char out[LOCAL_ADDRESS_MAX], const char *address,
                    const struct conf *c)
{
    struct smtp_address a;
    struct span given = span_of(address);
    enum smtp_address_error why = smtp_address_parse(&a, given);

    snprintf(out, LOCAL_ADDRESS_MAX, "%s", address);
    if (why == SMTP_ADDRESS_NO_DOMAIN) {
        snprintf(out, LOCAL_ADDRESS_MAX, "%s@%s", address, c->hostname);
        why = smtp_address_parse(&a, span_of(out));
    }
    if (why == SMTP_ADDRESS_OK)
        return true;
    fprintf(stderr, "mta route: '%s': %s (an address is USER@example.com)\n",
            address, smtp_address_why(why));
    return false;
}

static int route(const struct options *o, const char *sender)
{
    struct route_report r;
    struct err e;
    char address[LOCAL_ADDRESS_MAX];
    int status;

    if (!qualify(address, o->args[0], &o->conf))
        return EX_USAGE;
    if (route_report_make(&r, &o->conf, span_of(address), span_of(sender),
                          &e) != 0) {
        fprintf(stderr, "mta route: %s\n", e.text);
        status = e.kind == ERR_TEMP ? EX_TEMPFAIL : EX_CONFIG;
    } else {
        if (o->json)
            route_print_json(&r);
        else
            route_print_text(&r);
        status = route_report_status(&r);
    }
    route_report_free(&r);
    return status;
}

int cmd_route(int argc, char **argv)
{
    const char *sender = NULL;
    const struct option flags[] = { OPTION_TEXT("--sender", &sender) };
    const struct options_spec spec = { flags, 1, 1, 1, false };
    struct options o;

    if (!options_read(&o, &spec, argc, argv))
        return o.status;
    int status = route(&o, sender);
    options_done(&o);
    return status;
}
