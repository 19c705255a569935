/* power.h - lives of the whole mail store, made up from a seed, with power
 * cuts in them.
 *
 * A life has several epochs.  In each, workers (the server's own commit) and
 * the consumers of both queues, that of local/ with its mailboxes, take steps in
 * any order, also in the middle of one another's calls; calls fail, processes
 * are killed and start again.  All
 * calls are recorded (disk_model.h).  At its end the power is cut at many
 * moments, in many ways, and what is then left is judged by what had been
 * promised.  The next epoch starts on one of these disks: so recovery itself
 * is cut, again and again.
 *
 * power_letters.c: the messages and what was promised; power_life.c: what
 * happens; power_judge.c: what must be true. */
#ifndef MTA_TESTS_POWER_H
#define MTA_TESTS_POWER_H

#include "config/types.h"
#include "spool/queue.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LETTERS = 512,
    LETTER_RCPTS = 6,
    LETTER_MARKS = 6, /* of a recipient in one epoch */
    LETTER_TRIES = 8,
    LETTER_SIZE = 6 * 1024,
    BOXES = 3,
    SEGMENT = 24 * 1024
};
#define NEVER SIZE_MAX
#define ORPHAN (SIZE_MAX - 1) /* never, and nobody will see to it */

/* --- messages and promises; times are numbers of calls of this epoch ------- */

struct mark {
    size_t made, synced;
    enum spool_state state;
};
struct promise {
    size_t promised;        /* the client was told, or what was on the disk */
    enum spool_state start; /* of its slot, when the epoch began */
    struct mark mark[LETTER_MARKS];
    size_t nmarks;
    size_t tried[LETTER_TRIES]; /* copies that were begun for its mailbox */
    size_t ntried;
};
struct letter {
    size_t begun;
    uint32_t size;
    unsigned nremote, nrcpt; /* the local ones are the last */
    struct promise rcpt[LETTER_RCPTS];
};
extern struct letter letters[LETTERS];
extern size_t nletters;

/* A new one; its number. */
uint32_t letter_new(uint32_t size, unsigned nremote, unsigned nlocal);
bool letter_is_local(uint32_t number, unsigned r);
enum spool_name letter_queue(uint32_t number);
const char *letter_box(uint32_t number, unsigned r);
void letter_sender(char out[64], uint32_t number);
void letter_rcpt(char out[64], unsigned r);
void letter_body(uint32_t number, uint32_t at, char *out, uint32_t n);
/* As it stands in a mailbox, without an mbox's first line; its length. */
size_t letter_stored(char out[2 * LETTER_SIZE], uint32_t number, unsigned r,
                     bool mbox);

/* A record of the queue: whose is it?  -1: nobody wrote it like that. */
struct record {
    uint32_t number;
    unsigned n, rcpt[LETTER_RCPTS]; /* by slot */
};
int letter_read(struct record *out, const struct spool_reader *v, bool body);

void promise_kept_from(uint32_t number, size_t when); /* all recipients */
/* May the slot say that, if the power was cut after so many calls? */
bool promise_allows(const struct promise *p, enum spool_state s, size_t cut);
bool promise_may_be_over(const struct promise *p, size_t cut);
bool state_is_final(enum spool_state s);

/* --- the judge -------------------------------------------------------------- */

struct verdict {
    struct {
        unsigned waits;  /* records that still have to do with it */
        unsigned queued; /* records at all */
        unsigned copies; /* whole, in its mailbox */
        enum spool_state state;
    } of[LETTERS][LETTER_RCPTS];
    bool failed;
    char why[400];
};
/* dir holds the disk after a cut at call `cut`; it is recovered there.
 * faults: calls had failed, so that a sync proves less. */
void judge(struct verdict *v, const char *dir, size_t cut,
           enum conf_mailbox kind, bool faults);

/* --- a life ------------------------------------------------------------------ */

struct life {
    uint64_t seed;
    unsigned epochs, disks; /* disks to look at, an epoch */
    bool quiet;             /* nothing fails and nobody is killed */
    bool unordered;         /* without the order of unlinks */
    bool named;             /* drafts in mailboxes have names */
    enum conf_mailbox kind;
    /* what came of it */
    size_t calls, judged, kills, failed_calls, sent, recoveries;
    char fault[600]; /* "": none */
};
void life_run(struct life *l);
#endif
