#include "base/suggest.h"

#include <string.h>

enum { LONGEST = 63, FAR = 1000 };

static unsigned min2(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Damerau's distance, restricted form, by three rows of its matrix. */
unsigned edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned rows[3][LONGEST + 1];

    if (na > LONGEST || nb > LONGEST)
        return FAR;
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min2(change, min2(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min2(row[j], before[j - 2] + 1);
        }
        unsigned *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[nb];
}
