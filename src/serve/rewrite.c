#include "serve/rewrite.h"

#include <stdlib.h>

struct serve_rewrite *serve_rewrite_new(void)
{
    return calloc(1, sizeof(struct serve_rewrite));
}

void serve_rewrite_free(struct serve_rewrite **r)
{
    if (*r == NULL)
        return;
    rewrite_header_free(&(*r)->header);
    free(*r);
    *r = NULL;
}

bool serve_rewrite_address(struct serve_rewrite *r, const struct conf *c,
                           enum conf_rewrite_of of, struct span address,
                           char out[SMTP_ADDRESS_MAX])
{
    return r != NULL && rewrite_envelope(c, of, address, out, &r->notes);
}

int serve_rewrite_header(struct serve_rewrite *r, const struct rewrite_job *job,
                         struct err *e)
{
    struct rewrite_job own = *job;

    (void)span_copy(r->sender, sizeof r->sender, job->sender);
    own.sender = span_of(r->sender);
    own.notes = &r->notes;
    return rewrite_header_new(&r->header, &own, e);
}
