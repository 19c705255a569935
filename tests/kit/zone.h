/* zone.h - answers of the DNS from a text, for what asks by a check_lookup.
 *
 * A record a line: "NAME TYPE DATA", of the types A, AAAA, MX (a host, in the
 * order of preference), PTR and TXT; "NAME FAIL" fails whatever is asked of it.
 * A name that has no line does not exist. */
#ifndef MTA_TESTS_KIT_ZONE_H
#define MTA_TESTS_KIT_ZONE_H

#include "cli/check_answer.h"

struct zone {
    const char *text;
    unsigned asked;
};

struct check_lookup zone_lookup(struct zone *z);
#endif
