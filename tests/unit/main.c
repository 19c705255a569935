/* main.c - runs the suite of every tests/unit/test_*.c; the Makefile lists
 * them in suites.h.  CK_RUN_SUITE=name runs one, arguments run those named. */
#include "net/tls_memory.h"

#include <check.h>
#include <stdlib.h>

#define SUITE(name) Suite *name##_suite(void);
#include "suites.h"
#undef SUITE

int main(int argc, char **argv)
{
    if (!tls_memory_start())
        return EXIT_FAILURE;
    SRunner *r = srunner_create(NULL);

#define SUITE(name) srunner_add_suite(r, name##_suite());
#include "suites.h"
#undef SUITE
    for (int i = 1; i < argc; i++)
        srunner_run(r, argv[i], NULL, CK_ENV);
    if (argc == 1)
        srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
