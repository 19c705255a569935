/* few.h - how often a test walks the same code with other numbers. */
#ifndef MTA_TEST_FEW_H
#define MTA_TEST_FEW_H

#include <stddef.h>

/* n; under valgrind, where all takes thirty times as long, an eighth of it:
 * the plain run and that with sanitizers walk all n. */
size_t few(size_t n);

/* The step of a loop over all, to the same end: 1, or 8. */
size_t few_step(void);
#endif
