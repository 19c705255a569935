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
    struct serve_transaction *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->blocks = blocks;
    t->writer = w;
    t->count = count;
    ++*count;
    t->kept.fd = -1;
    t->arrival = clock_wall_us();
    list_init(&t->recipients);
    list_init(&t->locals);
    t->dot = (struct smtp_dot_decoder)SMTP_DOT_DECODER_INIT;
    t->header = (struct header_scan)HEADER_SCAN_INIT;
    if (serve_transaction_add_field(t, SPOOL_F_SENDER, reverse_path) != 0)
        serve_transaction_free(&t);
    return t;
}

void serve_transaction_free(struct serve_transaction **tp)
{
    struct serve_transaction *t = *tp;
    struct list *l;

    if (t == NULL)
        return;
    spool_large_abort(&t->large);
    if (t->kept.fd >= 0)
        close(t->kept.fd);
    chain_clear(&t->envelope, t->blocks);
    chain_clear(&t->body, t->bodies);
    while (t->nrcpt > 0)
        serve_transaction_drop_recipient(t);
    while ((l = list_pop(&t->locals)) != NULL)
        free(LIST_ENTRY(l, struct serve_local, link));
    --*t->count;
    free(t);
    *tp = NULL;
}

int serve_transaction_add_field(struct serve_transaction *t,
                                enum spool_field type, struct span s)
{
    return spool_envelope_add(&t->envelope, t->blocks, type, s) ? 0 : -1;
}

int serve_transaction_add_remote(struct serve_transaction *t,
                                 struct span address)
{
    if (serve_transaction_add_field(t, SPOOL_F_RCPT, address) != 0)
        return -1;
    t->nremote++;
    return 0;
}

static bool has_local(const struct serve_transaction *t, const char *mailbox)
{
    for (struct list *l = t->locals.next; l != &t->locals; l = l->next)
        if (strcmp(LIST_ENTRY(l, struct serve_local, link)->name, mailbox) == 0)
            return true;
    return false;
}

/* One copy per mailbox, even if several recipients resolve to it. */
int serve_transaction_add_local(struct serve_transaction *t,
                                const char *mailbox, struct span address)
{
    size_t n = strlen(mailbox);

    if (has_local(t, mailbox))
        return 0;
    struct serve_local *l = malloc(sizeof *l + n + 1 + address.n + 1);
    if (l == NULL)
        return -1;
    *l = (struct serve_local){ .address_n = address.n };
    memcpy(l->name, mailbox, n + 1);
    memcpy(l->name + n + 1, address.p, address.n);
    l->name[n + 1 + address.n] = '\0';
    list_push(&t->locals, &l->link);
    t->nlocal++;
    return 0;
}

const char *serve_transaction_local_address(const struct serve_local *l)
{
    return l->name + strlen(l->name) + 1;
}

int serve_transaction_add_recipient(struct serve_transaction *t,
                                    struct span address)
{
    struct serve_recipient *r = (void *)t->first;

    if (t->nrcpt > 0 || sizeof *r + address.n + 1 > sizeof t->first)
        r = malloc(sizeof *r + address.n + 1);
    if (r == NULL)
        return -1;
    *r = (struct serve_recipient){ .outcome = RECIPIENT_ACCEPTED };
    memcpy(r->address, address.p, address.n);
    r->address[address.n] = '\0';
    list_push(&t->recipients, &r->link);
    t->nrcpt++;
    return 0;
}

void serve_transaction_drop_recipient(struct serve_transaction *t)
{
    struct serve_recipient *r =
        LIST_ENTRY(t->recipients.prev, struct serve_recipient, link);

    list_remove(&r->link);
    if ((void *)r != (void *)t->first)
        free(r);
    t->nrcpt--;
}

void serve_transaction_settle(struct serve_transaction *t,
                              enum serve_outcome outcome)
{
    for (struct list *l = t->recipients.next; l != &t->recipients; l = l->next)
        LIST_ENTRY(l, struct serve_recipient, link)->outcome =
            (unsigned char)outcome;
}

/* Move the body from memory to a segment of its own. */
static int move_to_large(struct serve_transaction *t)
{
    struct spool_submission m = { .id = t->id,
                                  .arrival = t->arrival,
                                  .nrcpt = t->nremote,
                                  .flags = t->flags,
                                  .envelope = &t->envelope };
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

    if (t->large == NULL && t->body.n + n <= BODY_MEMORY &&
        chain_add(&t->body, t->bodies, p, n)) {
        t->body_crc = crc32c(t->body_crc, p, n);
        return 0;
    }
    if (t->large == NULL && move_to_large(t) != 0)
        return -1;
    return spool_large_append(t->large, p, n, &e);
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
    if ((t->header.first == HEADER_NONE && keep(t, "\r\n", 2) != 0) ||
        (t->nundecided > 0 && keep(t, t->undecided, t->nundecided) != 0))
        return -1;
    return keep(t, p, n);
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
    else if ((t->begun ? keep(t, p, n) : keep_first(t, p, n)) != 0)
        drop_body(t, BODY_NO_ROOM);
}

/* Duplicate the descriptor, to read the body after the queue has taken it
 * over. */
int serve_transaction_keep_body(struct serve_transaction *t)
{
    t->kept = spool_large_body(t->large);
    t->kept.fd = fcntl(t->kept.fd, F_DUPFD_CLOEXEC, 0);
    return t->kept.fd < 0 ? -1 : 0;
}

struct body serve_transaction_body(const struct serve_transaction *t)
{
    if (t->kept.fd >= 0)
        return t->kept;
    return t->large != NULL ? spool_large_body(t->large)
                            : body_of_chain(&t->body, t->body_crc);
}
