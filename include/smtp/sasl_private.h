/* smtp/sasl_private.h - steps of mechanisms, for src/smtp/sasl*.c alone. */
#ifndef MTA_SMTP_SASL_PRIVATE_H
#define MTA_SMTP_SASL_PRIVATE_H

#include "smtp/sasl.h"

/* Append the response to a challenge, both without base64; s->step counts the
 * responses before it. */
typedef int sasl_step_fn(struct sasl *s, struct span in, struct buf *out,
                         struct err *e);

sasl_step_fn sasl_scram_step; /* 1: sasl_scram_go_on() makes the response */
int sasl_scram_go_on(struct sasl *s, struct buf *out, struct err *e);

void sasl_add_name(struct buf *out, struct span name);
#endif
