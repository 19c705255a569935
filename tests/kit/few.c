#include "few.h"

#include <stdlib.h>

size_t few_step(void)
{
    return getenv("TEST_VALGRIND") != NULL ? 32
           : getenv("TEST_SHORT") != NULL  ? 8
                                           : 1;
}

size_t few(size_t n)
{
    return n == 0 || n >= few_step() ? n / few_step() : 1;
}
