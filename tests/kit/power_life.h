/* power_life.h - what power_life.c and power_consumer.c share. */
#ifndef MTA_TESTS_POWER_LIFE_H
#define MTA_TESTS_POWER_LIFE_H

#include "power.h"

#include "config/conf.h"

struct life_stage {
    struct life *life;
    uint64_t random;
    struct conf conf;
    struct pool *blocks, *no_blocks; /* no_blocks: bodies go to disk */
    bool faults;                     /* some call has failed */
};
extern struct life_stage stage;

/* All chance comes from the seed. */
uint64_t life_draw(void);
unsigned life_below(unsigned limit);
bool life_chance(unsigned one_in);

/* One step of the consumer of that queue, or a start if it does not run.
 * *killed may become true in any call: then it makes no more and ends. */
void consumer_step(enum spool_name queue, const bool *killed);
void consumer_end(enum spool_name queue);
#endif
