#include "serve/transaction.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>

struct serve_transaction *serve_transaction_new(struct pool *blocks,
                                                struct span reverse_path,
                                                unsigned *count)
{
    struct serve_transaction *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->blocks = blocks;
    t->count = count;
    ++*count;
    t->arrival = clock_wall_us();
    t->dot = (struct smtp_dot_decoder)SMTP_DOT_DECODER_INIT;
    t->header = (struct header_scan)HEADER_SCAN_INIT;
    if (serve_transaction_add_field(t, SPOOL_F_SENDER, reverse_path) != 0)
        serve_transaction_free(&t);
    return t;
}

void serve_transaction_free(struct serve_transaction **tp)
{
    struct serve_transaction *t = *tp;

    if (t == NULL)
        return;
    spool_large_abort(&t->large);
    chain_clear(&t->envelope, t->blocks);
    chain_clear(&t->body, t->bodies);
    chain_clear(&t->late.fields, t->blocks);
    dkim_body_free(&t->body_hash);
    serve_rewrite_free(&t->rewrite);
    --*t->count;
    free(t);
    *tp = NULL;
}

int serve_transaction_add_field(struct serve_transaction *t,
                                enum spool_field type, struct span s)
{
    return spool_envelope_add(&t->envelope, t->blocks, type, s) ? 0 : -1;
}

/* A recipient without its second field would be another one. */
int serve_transaction_add_recipient(struct serve_transaction *t,
                                    struct span address, enum serve_place place)
{
    size_t at = t->envelope.n + SPOOL_FIELD_HEAD;

    if (serve_transaction_add_field(t, SPOOL_F_RCPT, address) != 0)
        return -1;
    if (place == PLACE_HERE &&
        serve_transaction_add_field(t, SPOOL_F_HERE, span_of("")) != 0) {
        t->fault = BODY_NO_ROOM;
        return -1;
    }
    if (t->nlocal + t->nremote == 0) {
        t->first_at = at;
        t->first_n = address.n;
    }
    t->nlocal += place != PLACE_REMOTE;
    t->nremote += place == PLACE_REMOTE;
    return 0;
}

unsigned serve_transaction_nrcpt(const struct serve_transaction *t)
{
    return t->nlocal + t->nremote;
}

const char *serve_transaction_only_rcpt(const struct serve_transaction *t,
                                        char room[SMTP_ADDRESS_MAX])
{
    if (serve_transaction_nrcpt(t) != 1 || t->first_n >= SMTP_ADDRESS_MAX)
        return NULL;
    room[chain_copy(&t->envelope, t->first_at, room, t->first_n)] = '\0';
    return room;
}

enum spool_name serve_transaction_queue(const struct serve_transaction *t)
{
    return t->nlocal > 0 ? SPOOL_LOCAL : SPOOL_REMOTE;
}

struct spool_submission
serve_transaction_submission(const struct serve_transaction *t)
{
    return (struct spool_submission){ .id = t->id,
                                      .arrival = t->arrival,
                                      .nrcpt = serve_transaction_nrcpt(t),
                                      .flags = t->flags,
                                      .envelope = &t->envelope,
                                      .late = &t->late };
}

/* Move the body from memory to a segment of its own. */
static int move_to_large(struct serve_transaction *t)
{
    struct spool_submission m = serve_transaction_submission(t);
    struct err e;
    struct iovec v;

    if (spool_large_open(&t->large, t->writer, &m, &e) != 0)
        return -1;
    while (t->body.n > 0) {
        chain_iov(&t->body, 0, &v, 1);
        if (spool_large_append(t->large, v.iov_base, v.iov_len, &e) != 0)
            return -1;
        chain_drop(&t->body, t->bodies, v.iov_len);
    }
    return 0;
}

static int keep(struct serve_transaction *t, const char *p, size_t n)
{
    struct err e;

    if (t->body_hash != NULL)
        dkim_body_add(t->body_hash, p, n);
    if (t->large == NULL && t->body.n + n <= BODY_MEMORY &&
        chain_add(&t->body, t->bodies, p, n)) {
        t->body_crc = crc32c(t->body_crc, p, n);
        return 0;
    }
    if (t->large == NULL && move_to_large(t) != 0)
        return -1;
    return spool_large_append(t->large, p, n, &e);
}

/* Text of the client: its header may have to be rewritten. */
static int keep_text(struct serve_transaction *t, const char *p, size_t n)
{
    return t->rewrite != NULL && t->rewrite->header != NULL
               ? rewrite_header_feed(t->rewrite->header, p, n)
               : keep(t, p, n);
}

static void drop_body(struct serve_transaction *t, enum body_fault fault)
{
    t->fault = fault;
    spool_large_abort(&t->large);
    chain_clear(&t->body, t->bodies);
}

/* RFC 6532: where it is not declared, octets of other character sets are not
 * looked at; they go to every host, as they always did. */
static void note_utf8(struct serve_transaction *t, bool eight_bit)
{
    if (eight_bit && (t->flags & SPOOL_UTF8) != 0)
        t->flags |= SPOOL_UTF8_HEADER;
}

/* The trace field may name a recipient. */
void serve_transaction_begin(struct serve_transaction *t, struct span trace)
{
    for (size_t i = 0; (t->flags & SPOOL_UTF8) != 0 && i < trace.n; i++)
        note_utf8(t, ((unsigned char)trace.p[i] & 0x80) != 0);
    if (keep(t, trace.p, trace.n) != 0)
        drop_body(t, BODY_NO_ROOM);
}

/* Keep the first octets until they show whether the text begins with a header
 * field. */
static int keep_first(struct serve_transaction *t, const char *p, size_t n)
{
    if (t->header.first == HEADER_UNDECIDED) {
        memcpy(t->undecided + t->nundecided, p, n);
        t->nundecided += n;
        return 0;
    }
    t->begun = true;
    if ((t->header.first == HEADER_NONE && keep_text(t, "\r\n", 2) != 0) ||
        (t->nundecided > 0 && keep_text(t, t->undecided, t->nundecided) != 0))
        return -1;
    return keep_text(t, p, n);
}

void serve_transaction_take(struct serve_transaction *t, const char *p,
                            size_t n)
{
    t->size += n;
    if (t->fault != BODY_FINE || n == 0)
        return;
    if (!t->header.ended) {
        header_scan(&t->header, p, n);
        note_utf8(t, t->header.eight_bit);
    }
    if (t->max_size > 0 && t->size > t->max_size)
        drop_body(t, BODY_TOO_BIG);
    else if (t->header.received > MAIL_HOPS_MAX)
        drop_body(t, BODY_LOOPS);
    else if ((t->dot.bare_cr || t->dot.bare_lf) && !t->dot.normalize)
        drop_body(t, BODY_BARE_NEWLINE);
    else if ((t->begun ? keep_text(t, p, n) : keep_first(t, p, n)) != 0)
        drop_body(t, BODY_NO_ROOM);
}

void serve_transaction_hash(struct serve_transaction *t)
{
    struct err e;

    if (dkim_body_new(&t->body_hash, &e) != 0)
        t->body_hash = NULL;
}

/* --- rewriting ---------------------------------------------------------- */

static int put_rewritten(void *ctx, const char *p, size_t n)
{
    return keep(ctx, p, n);
}

bool serve_transaction_rewrite_header(struct serve_transaction *t,
                                      const struct conf *c, bool complete)
{
    struct rewrite_job job = { .conf = c,
                               .complete = complete,
                               .id = t->id,
                               .when = t->arrival,
                               .put = put_rewritten,
                               .ctx = t };
    char field[SPOOL_FIELD_HEAD + SMTP_ADDRESS_MAX];
    struct err e;

    if (t->rewrite == NULL)
        return true;
    job.sender = spool_envelope_sender(&t->envelope, field, sizeof field);
    return serve_rewrite_header(t->rewrite, &job, &e) == 0;
}

void serve_transaction_text_over(struct serve_transaction *t)
{
    if (t->fault == BODY_FINE && t->rewrite != NULL &&
        t->rewrite->header != NULL &&
        rewrite_header_end(t->rewrite->header) != 0)
        drop_body(t, BODY_NO_ROOM);
}

/* What the field shows is for people: a message without it is whole. */
static void add_notes(struct serve_transaction *t)
{
    const struct rewrite_notes *notes = &t->rewrite->notes;

    if (notes->n > 0)
        (void)spool_envelope_add(&t->late.fields, t->blocks, SPOOL_F_REWRITTEN,
                                 (struct span){ notes->text, notes->n });
}

void serve_transaction_end(struct serve_transaction *t)
{
    unsigned char hash[DIGEST_SIZE];
    const struct span field = { (const char *)hash, sizeof hash };

    if (t->rewrite != NULL)
        add_notes(t);
    if (t->body_hash != NULL && dkim_body_end(t->body_hash, hash))
        (void)spool_envelope_add(&t->late.fields, t->blocks, SPOOL_F_BODY_HASH,
                                 field);
}
