/* fuzz.h - what the fuzz targets share. */
#ifndef MTA_TESTS_FUZZ_H
#define MTA_TESTS_FUZZ_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stays in whatever NDEBUG says. */
#define MUST(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A copy of exactly that size, so that the sanitizer sees one octet more. */
static inline char *exact_copy(const uint8_t *data, size_t n)
{
    char *copy = malloc(n == 0 ? 1 : n);

    MUST(copy != NULL);
    if (n > 0)
        memcpy(copy, data, n);
    return copy;
}

static inline bool inside(struct span part, struct span whole)
{
    return part.n == 0 || (part.p >= whole.p && part.n <= whole.n &&
                           part.p - whole.p <= (long)(whole.n - part.n));
}
#endif
