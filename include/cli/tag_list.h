/* cli/tag_list.h - records of tags: "v=DKIM1; k=rsa; p=..." (RFC 6376 3.2).
 * Pure; the records are those of strangers. */
#ifndef MTA_CLI_TAG_LIST_H
#define MTA_CLI_TAG_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The value of a tag, without the blanks inside; "" where it does not fit.
 * False: the record has no such tag, and out is "". */
bool tag_list_find(char *out, size_t size, const char *record, const char *tag);

/* Is that tag the first one, and has it that value? */
bool tag_list_begins(const char *record, const char *tag, const char *value);
#endif
