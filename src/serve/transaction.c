#include "serve/transaction.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct serve_transaction *serve_transaction_new(struct pool *blocks,
                                                struct spool_writer *w,
                                                struct span reverse_path,
                                                unsigned *count)
{
    struct serve_transaction *d = calloc(1, sizeof *d);

    if (d == NULL)
        return NULL;
    d->blocks = blocks;
    d->writer = w;
    d->count = count;
    ++*count;
    d->kept.fd = -1;
    d->arrival = clock_wall_us();
    list_init(&d->recipients);
    list_init(&d->locals);
    d->dot = (struct smtp_dot_decoder)SMTP_DOT_DECODER_INIT;
    d->header = (struct header_scan)HEADER_SCAN_INIT;
    if (serve_transaction_add_field(d, SPOOL_F_SENDER, reverse_path) != 0)
        serve_transaction_free(&d);
    return d;
}

void serve_transaction_free(struct serve_transaction **dp)
{
    struct serve_transaction *d = *dp;
    struct list *l;

    if (d == NULL)
        return;
    spool_large_abort(&d->large);
    if (d->kept.fd >= 0)
        close(d->kept.fd);
    chain_clear(&d->envelope, d->blocks);
    chain_clear(&d->body, d->bodies);
    while (d->nrcpt > 0)
        serve_transaction_drop_recipient(d);
    while ((l = list_pop(&d->locals)) != NULL)
        free(LIST_ENTRY(l, struct serve_local, link));
    --*d->count;
    free(d);
    *dp = NULL;
}

int serve_transaction_add_field(struct serve_transaction *d,
                                enum spool_field type, struct span s)
{
    return spool_envelope_add(&d->envelope, d->blocks, type, s) ? 0 : -1;
}

int serve_transaction_add_remote(struct serve_transaction *d,
                                 struct span address)
{
    if (serve_transaction_add_field(d, SPOOL_F_RCPT, address) != 0)
        return -1;
    d->nremote++;
    return 0;
}

static bool has_local(const struct serve_transaction *d, const char *mailbox)
{
    for (struct list *l = d->locals.next; l != &d->locals; l = l->next)
        if (strcmp(LIST_ENTRY(l, struct serve_local, link)->name, mailbox) == 0)
            return true;
    return false;
}

/* Each mailbox gets one copy, however many of its addresses were named. */
int serve_transaction_add_local(struct serve_transaction *d,
                                const char *mailbox, struct span address)
{
    size_t n = strlen(mailbox);

    if (has_local(d, mailbox))
        return 0;
    struct serve_local *l = malloc(sizeof *l + n + 1 + address.n + 1);
    if (l == NULL)
        return -1;
    *l = (struct serve_local){ .address_n = address.n };
    memcpy(l->name, mailbox, n + 1);
    memcpy(l->name + n + 1, address.p, address.n);
    l->name[n + 1 + address.n] = '\0';
    list_push(&d->locals, &l->link);
    d->nlocal++;
    return 0;
}

const char *serve_transaction_local_address(const struct serve_local *l)
{
    return l->name + strlen(l->name) + 1;
}

struct serve_recipient *
serve_transaction_add_recipient(struct serve_transaction *d,
                                struct span address)
{
    struct serve_recipient *r = (void *)d->first;

    if (d->nrcpt > 0 || sizeof *r + address.n + 1 > sizeof d->first)
        r = malloc(sizeof *r + address.n + 1);
    if (r == NULL)
        return NULL;
    *r = (struct serve_recipient){ .outcome = RECIPIENT_ACCEPTED };
    memcpy(r->address, address.p, address.n);
    r->address[address.n] = '\0';
    list_push(&d->recipients, &r->link);
    d->nrcpt++;
    return r;
}

void serve_transaction_drop_recipient(struct serve_transaction *d)
{
    struct serve_recipient *r =
        LIST_ENTRY(d->recipients.prev, struct serve_recipient, link);

    list_remove(&r->link);
    if ((void *)r != (void *)d->first)
        free(r);
    d->nrcpt--;
}

void serve_transaction_settle(struct serve_transaction *d,
                              enum serve_outcome outcome)
{
    for (struct list *l = d->recipients.next; l != &d->recipients; l = l->next)
        LIST_ENTRY(l, struct serve_recipient, link)->outcome =
            (unsigned char)outcome;
}

/* From memory to a segment of its own. */
static int move_to_large(struct serve_transaction *d)
{
    struct spool_submission m = { .id = d->id,
                                  .arrival = d->arrival,
                                  .nrcpt = d->nremote,
                                  .flags = d->flags,
                                  .envelope = &d->envelope };
    struct err e;
    struct iovec v;

    if (spool_large_open(&d->large, d->writer, &m, &e) != 0)
        return -1;
    while (d->body.n > 0) {
        chain_iov(&d->body, 0, &v, 1);
        if (spool_large_append(d->large, v.iov_base, v.iov_len, &e) != 0)
            return -1;
        chain_drop(&d->body, d->bodies, v.iov_len);
    }
    return 0;
}

static int keep(struct serve_transaction *d, const char *p, size_t n)
{
    struct err e;

    if (d->large == NULL && d->body.n + n <= BODY_MEMORY &&
        chain_add(&d->body, d->bodies, p, n)) {
        d->body_crc = crc32c(d->body_crc, p, n);
        return 0;
    }
    if (d->large == NULL && move_to_large(d) != 0)
        return -1;
    return spool_large_append(d->large, p, n, &e);
}

static void drop_body(struct serve_transaction *d, enum body_fault fault)
{
    d->fault = fault;
    spool_large_abort(&d->large);
    chain_clear(&d->body, d->bodies);
}

void serve_transaction_begin(struct serve_transaction *d, struct span trace)
{
    if (keep(d, trace.p, trace.n) != 0)
        drop_body(d, BODY_NO_ROOM);
}

/* The first octets wait until they show whether they begin a header. */
static int keep_first(struct serve_transaction *d, const char *p, size_t n)
{
    if (d->header.first == HEADER_UNDECIDED) {
        memcpy(d->undecided + d->nundecided, p, n);
        d->nundecided += n;
        return 0;
    }
    d->begun = true;
    if ((d->header.first == HEADER_NONE && keep(d, "\r\n", 2) != 0) ||
        (d->nundecided > 0 && keep(d, d->undecided, d->nundecided) != 0))
        return -1;
    return keep(d, p, n);
}

void serve_transaction_take(struct serve_transaction *d, const char *p,
                            size_t n)
{
    d->size += n;
    if (d->fault != BODY_FINE || n == 0)
        return;
    if (!d->header.ended)
        header_scan(&d->header, p, n);
    if (d->max_size > 0 && d->size > d->max_size)
        drop_body(d, BODY_TOO_BIG);
    else if (d->header.received > MAIL_HOPS_MAX)
        drop_body(d, BODY_LOOPS);
    else if ((d->dot.bare_cr || d->dot.bare_lf) && !d->dot.normalize)
        drop_body(d, BODY_BARE_NEWLINE);
    else if ((d->begun ? keep(d, p, n) : keep_first(d, p, n)) != 0)
        drop_body(d, BODY_NO_ROOM);
}

/* A second descriptor, to read the body when the queue has it. */
int serve_transaction_keep_body(struct serve_transaction *d)
{
    d->kept = spool_large_body(d->large);
    d->kept.fd = fcntl(d->kept.fd, F_DUPFD_CLOEXEC, 0);
    return d->kept.fd < 0 ? -1 : 0;
}

struct body serve_transaction_body(const struct serve_transaction *d)
{
    if (d->kept.fd >= 0)
        return d->kept;
    return d->large != NULL ? spool_large_body(d->large)
                            : body_of_chain(&d->body, d->body_crc);
}
