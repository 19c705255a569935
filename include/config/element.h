/* config/element.h - the types of elements of lists; for src/config alone. */
#ifndef MTA_CONFIG_ELEMENT_H
#define MTA_CONFIG_ELEMENT_H

#include "config/table.h"

enum { CONF_ELEMENT_TEXT = CONF_ENTRY_TEXT };

/* Each list is a struct of a number and a pointer to so many of these. */
struct conf_element {
    size_t size;
    int (*parse)(void *el, struct span text, struct err *e);
    void (*text)(char out[CONF_ELEMENT_TEXT], const void *el);
};

/* Of a type from CONF_DOMAINS on. */
const struct conf_element *conf_element_of(enum conf_type type);

/* Parse a host name, or an address in brackets, to its normal form. */
int conf_parse_hostname(char out[CONF_NAME_MAX], struct span text,
                        struct err *e);
/* Parse "user@example.com", or a half of it, "user" or "@example.com"; what is
 * missing is empty. */
int conf_parse_address(char local[CONF_NAME_MAX], char domain[CONF_NAME_MAX],
                       struct span text, struct err *e);
/* Make a path absolute, except "-" and "". */
int conf_parse_path(char *out, size_t size, struct span text, struct err *e);
#endif
