#include "few.h"

#include <stdlib.h>

size_t few_step(void)
{
    return getenv("TEST_VALGRIND") != NULL ? 8 : 1;
}

size_t few(size_t n)
{
    return n < few_step() ? n : n / few_step();
}
