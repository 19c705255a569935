/* send/provider.h - which hosts belong to one provider and share one pace: a
 * table of names of MX hosts, with send.providers in front.  Pure.
 *
 * A suffix with a dot in front is all hosts below it, one without is one host.
 * The longest that fits decides; of equal ones, that of the settings. */
#ifndef MTA_SEND_PROVIDER_H
#define MTA_SEND_PROVIDER_H

#include "config/conf.h"

/* The group of a host, by its name as the DNS has it; NULL: none.  The text
 * lives as long as the settings. */
const char *provider_of(const struct conf_providers *own, const char *host);
#endif
