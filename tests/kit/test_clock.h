/* test_clock.h - the clock of the unit tests, which a test may stop.
 *
 * Where a reply comes before a deadline, or behind it, the test must decide
 * which, not the load of the machine: the clock stands still until the test
 * lets time pass.  Waits of the kernel (select(), poll(), sleeps) go on.  The
 * clock never goes back; a child of fork() has the clock of its parent. */
#ifndef MTA_TESTS_KIT_TEST_CLOCK_H
#define MTA_TESTS_KIT_TEST_CLOCK_H

#include <stdint.h>

void test_clock_stop(void);
void test_clock_pass_ms(uint64_t ms); /* of a clock that is stopped */
void test_clock_go_on(void);          /* also of one that goes */

/* The kernel's, for limits of waits for other processes and threads. */
uint64_t test_clock_real_ms(void);
#endif
