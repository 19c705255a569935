/* few.h - how often a test walks the same code with other numbers. */
#ifndef MTA_TEST_FEW_H
#define MTA_TEST_FEW_H

#include <stddef.h>

/* n; with sanitizers, where all takes five times as long, an eighth of it, and
 * under valgrind, where it is thirty, a thirty-second, but at least one: the
 * plain run walks all n. */
size_t few(size_t n);

/* The step of a loop over all, to the same end: 1, 8 or 32.  Above 1 a test need
 * not be made that only shows what another one would notice. */
size_t few_step(void);
#endif
