/* spool_kit.h - what the tests of the spool share: a queue directory of
 * their own, messages that can be recognised, the list of what is queued. */
#ifndef MTA_TESTS_SPOOL_KIT_H
#define MTA_TESTS_SPOOL_KIT_H

#include "base/chain.h"
#include "spool/queue.h"
#include "spool/writer.h"

enum { KIT_MESSAGES = 512, KIT_SEGMENT = 64 * 1024, KIT_LATE = 200 };

struct kit {
    char dir[256];
    struct pool *blocks;
    struct spool_writer *w;
    struct spool_queue *s;
    struct chain env[KIT_MESSAGES], body[KIT_MESSAGES]; /* by number */
    struct spool_late late[KIT_MESSAGES];
    struct {
        struct spool_message item;
        uint32_t number;
        bool used;
    } found[KIT_MESSAGES];
    size_t nfound;
};

/* A queue below `parent` (NULL: the fastest place there is). */
struct kit *kit_new(const char *parent);
void kit_free(struct kit **k); /* removes the directory */
void kit_remove_tree(const char *path);
void kit_reopen(struct kit *k); /* the sender ends and starts; scan then */

/* Message `number` has 1 + number % 3 recipients, a sender that names it and
 * a body of `size` octets that only it can have; those with odd numbers have
 * late fields.  It is checked as such. */
void kit_add(struct kit *k, struct spool_writer *w, uint32_t number,
             size_t size, struct msg_id *id);
void kit_add_large(struct kit *k, struct spool_writer *w, uint32_t number,
                   size_t size);
/* The same, but answers instead of failing the test. */
int kit_try(struct kit *k, struct spool_writer *w, uint32_t number, size_t size,
            bool large, struct err *e);
void kit_forget_chains(struct kit *k); /* after the commit */

/* Scan; whatever appears goes to found[].  Returns how many were new. */
size_t kit_scan(struct kit *k);
/* The one with that number, or NULL; fails the test if it is there twice. */
struct spool_message *kit_find(struct kit *k, uint32_t number);

/* Reads number and size out of the record; -1: it is not what was written. */
int kit_check(const struct spool_reader *v, uint32_t *number);
int kit_mark(struct kit *k, uint32_t number, uint32_t index,
             enum spool_state state);
void kit_finish(struct kit *k, uint32_t number); /* all delivered, done */

void kit_done(struct kit *k, uint32_t number);

size_t kit_files(const struct kit *k, const char *ending);
size_t kit_open_fds(void);

/* Break the order of unlinks: no segment waits for another any more. */
void kit_forget_order(struct spool_queue *q);
#endif
