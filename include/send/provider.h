/* send/provider.h - which hosts belong to one provider and share one pace: a
 * table of names of MX hosts, with send.providers in front.  Pure.
 *
 * A suffix with a dot in front is all hosts below it, one without is one host.
 * The longest that fits decides; of equal ones, that of the settings. */
#ifndef MTA_SEND_PROVIDER_H
#define MTA_SEND_PROVIDER_H

#include "config/conf.h"

/* The replies to RCPT and behind it are those of the provider alone; or its
 * customers may write what refuses mail for them; or they may be those of a
 * customer's own host, before which the provider filters. */
enum provider_kind { PROVIDER_ONE, PROVIDER_TENANTS, PROVIDER_FRONT };

/* group NULL: of none. */
enum provider_kind provider_kind(const char *group);

/* The group of a host, by its name as the DNS has it; NULL: none.  The text
 * lives as long as the settings. */
const char *provider_of(const struct conf_providers *own, const char *host);
#endif
