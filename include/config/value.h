/* config/value.h - convert values of settings from text and to text.
 *
 * For src/config, and commands whose own flags are times.  Errors name the
 * value (of a list: the element) and its fault; the caller adds the setting and
 * its origin.  The value of a secret is in no error. */
#ifndef MTA_CONFIG_VALUE_H
#define MTA_CONFIG_VALUE_H

#include "config/table.h"

#include <stdio.h>

/* "30s", "5m", "4h", "5d", "90" (seconds).  0, or -1 with *e. */
int conf_parse_time(struct span text, long long *seconds, struct err *e);

/* "64K", "50M", "2G", "1000" (bytes). */
int conf_parse_size(struct span text, long long *bytes, struct err *e);

/* The comma-separated elements of text, without blanks around them.  Returns
 * their number; more than CONF_LIST_MAX are counted, not stored. */
size_t conf_split(struct span text, struct span el[CONF_LIST_MAX]);

bool conf_is_list(const struct conf_item *it); /* words too */

/* Set the field from text, in bounds, or leave it alone and fail.  Lists are
 * split at commas. */
int conf_set(struct conf *c, const struct conf_item *it, struct span text,
             struct err *e);

/* The same for a list whose elements are known; `add`: to what is there. */
int conf_set_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e);
int conf_add_list(struct conf *c, const struct conf_item *it,
                  const struct span *el, size_t n, struct err *e);

void conf_list_free(struct conf *c, const struct conf_item *it);

/* As the file has it: quoted text, numbers, [ "a", "b" ]; as JSON: times in
 * seconds, sizes in bytes.  A secret that is set is "***". */
void conf_print(FILE *out, const struct conf *c, const struct conf_item *it);
void conf_print_json(FILE *out, const struct conf *c,
                     const struct conf_item *it);
#endif
