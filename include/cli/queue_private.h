/* cli/queue_private.h - what the two forms of a message of the queue share.
 * For src/cli/queue_*.c alone. */
#ifndef MTA_CLI_QUEUE_PRIVATE_H
#define MTA_CLI_QUEUE_PRIVATE_H

#include "cli/queue.h"
#include "smtp/address.h"

struct queue_printing {
    const struct spool_reader *view;
    const struct queue_style *style;
    uint32_t index, nshown; /* of the next recipient; so many are printed */
    bool shows;             /* the last one is */
    bool recipients_done, replaces_done; /* of JSON: their array is closed */
    unsigned nlate, nreplaced;           /* fields; rows of slots */
    struct err *e;
    char sender[SMTP_ADDRESS_MAX];
};

/* What the running sender knows of a recipient; NULL: nothing. */
struct queue_present {
    const struct queue_delivering *delivering;
    const struct queue_shut *shut;
};
struct queue_present queue_present_of(const struct queue_printing *p,
                                      struct span address,
                                      const struct spool_slot *slot);

/* Wall clock, us; 0: now, or never. */
uint64_t queue_next_attempt(const struct queue_printing *p,
                            const struct spool_slot *slot);

/* By the filter of the list. */
bool queue_is_shown(const struct queue_printing *p, struct span address,
                    const struct spool_slot *slot,
                    const struct queue_present *now);

/* Of the last session, as in the log: "none", "TLSv1.3/CIPHER". */
enum { QUEUE_TLS_TEXT = 80 };
const char *queue_tls(char room[QUEUE_TLS_TEXT], unsigned short version_id,
                      unsigned short cipher_id);

const char *queue_state_name(enum spool_state s);

/* What the envelope has of a message besides sender and recipients, or of the
 * recipient before; `show` has it, under the same names in both forms. */
struct queue_origin {
    enum spool_field type;
    bool of_recipient;
    const char *name, *words;
};
const struct queue_origin *queue_origin_of(enum spool_field type); /* or NULL */

int queue_print_json(struct queue_printing *p, struct err *e);
int queue_print_text(struct queue_printing *p, struct err *e);

/* Print without control characters, which would control a terminal. */
void queue_put_plain(FILE *out, struct span s);
#endif
