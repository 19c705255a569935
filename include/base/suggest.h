/* base/suggest.h - the distance of two words, to suggest the one that was
 * meant. */
#ifndef MTA_BASE_SUGGEST_H
#define MTA_BASE_SUGGEST_H

/* Edits (insert, delete, replace, swap of neighbours) from a to b; texts
 * beyond 63 characters count as far away. */
unsigned edit_distance(const char *a, const char *b);
#endif
