/* fsm_check.h - proofs about a table of the engine, for unit tests.
 *
 * NULL when the property holds, else a static text that names the state and
 * event where it fails. */
#ifndef MTA_TEST_FSM_CHECK_H
#define MTA_TEST_FSM_CHECK_H

#include "fsm/fsm.h"

/* Every outside event has an unconditional answer in every state but the
 * end. */
const char *fsm_check_total(const struct fsm *m);

/* Every state is reached from the start and reaches the end. */
const char *fsm_check_connected(const struct fsm *m);
#endif
