#include "send/sign_work.h"

#include "base/clock.h"
#include "log/log.h"
#include "mail/dkim_sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES_PER_TURN = 16 };

static int fail(struct sign_work *w, const char *why)
{
    answer_set(&w->task->why, OUTCOME_NONE, "4.3.0", "not signed (DKIM): %s",
               why);
    w->task->why.misconfigured = true;
    return -1;
}

static int unreadable(struct sign_work *w, int why)
{
    answer_set_unreadable(&w->task->why, why);
    return -1;
}

/* It goes without a signature; NULL: as all mail of that domain does. */
static int not_signed(const struct sign_work *w, const char *why)
{
    char id[MSG_ID_TEXT], part[SPOOL_PART_TEXT];

    msg_id_text(id, w->task->rec.id);
    if (why != NULL)
        LOG(LOG_WARN, "send.unsigned", LS("id", id),
            LS("part", spool_part_text(part, w->task->rec.part)),
            LS("error", why));
    return 1;
}

/* --- reading -------------------------------------------------------------- */

static int on_late(void *ctx, enum spool_field type, struct span content)
{
    struct sign_work *w = ctx;

    if (type != SPOOL_F_BODY_HASH || content.n != sizeof w->body_hash)
        return 0;
    memcpy(w->body_hash, content.p, content.n);
    return 1;
}

/* The server has taken the body hash, or it is taken here. */
static int look(struct sign_work *w)
{
    struct err e;
    int rc = w->task->rec.late_size > w->task->rec.front
                 ? spool_reader_late(&w->task->reader, on_late, w, &e)
                 : 0;

    w->looked = true;
    if (rc < 0)
        return unreadable(w, e.kind == ERR_PERM ? EBADMSG : e.sys);
    if (rc == 0 && dkim_body_new(&w->body, &e) != 0)
        return fail(w, e.text);
    if (rc == 0)
        dkim_body_skip_header(w->body);
    return 0;
}

static void take_piece(struct sign_work *w, const char *p, size_t n)
{
    size_t used = w->header.ended ? 0 : dkim_header_scan(&w->header, p, n);

    if (w->body != NULL)
        dkim_body_add(w->body, p + used, n - used);
    w->read = w->header.ended && w->body == NULL;
}

/* The header, and the body if its hash is not known. */
static int read_some(struct sign_kit *kit, struct sign_work *w)
{
    const struct body *b = &w->task->body;

    for (int i = 0; i < PIECES_PER_TURN && !w->read; i++) {
        bool first = w->at.at == 0;
        kit->of = NULL;
        ssize_t n = body_next(b, &w->at, kit->piece, sizeof kit->piece);
        if (n < 0)
            return unreadable(w, errno);
        kit->of = first ? w : NULL;
        kit->npiece = (size_t)n;
        if (n > 0)
            take_piece(w, kit->piece, (size_t)n);
        w->read |= w->at.at >= b->size;
    }
    if (!w->read)
        return 0;
    dkim_header_end(&w->header);
    if (w->body != NULL && !dkim_body_end(w->body, w->body_hash))
        return fail(w, "SHA-256: libcrypto refuses");
    return 1;
}

/* The text from which fields of the header are read again: the first piece, if
 * it has all of them. */
static struct body text_of(const struct sign_kit *kit,
                           const struct sign_work *w)
{
    struct body b = w->task->body;

    if (kit->of == w && w->header.at <= kit->npiece)
        b = (struct body){ .fd = -1,
                           .head = kit->piece,
                           .nhead = kit->npiece,
                           .size = kit->npiece };
    return b;
}

/* --- the fields ----------------------------------------------------------- */

/* *why: there is no domain.  -1: it could not be read, and may have one. */
static int find_domain(char domain[IDN_MAX], const char **why,
                       struct sign_work *w, const struct body *text)
{
    const struct dkim_field *from = &w->header.from;
    size_t n = 0;
    ssize_t got = 1;

    *why = w->header.nfrom == 0      ? "no From field"
           : w->header.nfrom > 1     ? "several From fields"
           : from->n > DKIM_FROM_MAX ? "a From field that is too long"
                                     : NULL;
    if (*why != NULL)
        return 0;
    char *value = malloc((size_t)from->n + 1);
    if (value == NULL)
        return fail(w, strerror(ENOMEM));
    while (n < from->n && got > 0) {
        got = body_read(text, from->at + n, value + n, (size_t)from->n - n);
        n += got > 0 ? (size_t)got : 0;
    }
    if (n == from->n)
        *why = dkim_from_domain(domain, (struct span){ value, n });
    int cause = got < 0 ? errno : EIO;
    free(value);
    return n < from->n ? unreadable(w, cause) : 0;
}

/* The keys of the domain, or of the nearest one above it that has some. */
static size_t find_keys(const struct conf *c, const char *domain,
                        unsigned key[SIGN_KEYS_MAX])
{
    size_t n = 0;

    while (domain != NULL && n == 0) {
        for (size_t i = 0; i < c->dkim.keys.n && n < SIGN_KEYS_MAX; i++)
            if (strcmp(c->dkim.keys.item[i].domain, domain) == 0)
                key[n++] = (unsigned)i;
        domain = strchr(domain, '.');
        domain = domain != NULL ? domain + 1 : NULL;
    }
    return n;
}

static int make_field(struct sign_kit *kit, struct sign_work *w,
                      struct sign_field *f, const struct body *text)
{
    const struct conf_dkim_key *k = &kit->conf->dkim.keys.item[f->key];
    const struct dkim_signer s = { .domain = k->domain,
                                   .selector = k->selector,
                                   .type = kit->key_type[f->key],
                                   .now = clock_wall_us() / 1000000 };
    struct buf b;
    struct err e;

    f->text = malloc(DKIM_FIELD_MAX);
    if (f->text == NULL)
        return fail(w, strerror(ENOMEM));
    buf_init(&b, f->text, DKIM_FIELD_MAX);
    dkim_field_begin(&b, &s, &w->header, w->body_hash);
    if (dkim_header_hash(f->hash, kit->digest, &w->header, text, buf_span(&b),
                         &e) != 0)
        return fail(w, e.text);
    f->n = b.n;
    return b.full ? fail(w, "the field is too long") : 0;
}

int sign_work_read(struct sign_kit *kit, struct sign_work *w)
{
    unsigned key[SIGN_KEYS_MAX];
    char domain[IDN_MAX];

    if (!w->looked && look(w) != 0)
        return -1;
    int rc = read_some(kit, w);
    if (rc <= 0)
        return rc;
    const struct body text = text_of(kit, w);
    const char *why;
    if (find_domain(domain, &why, w, &text) != 0)
        return -1;
    w->nkeys = why == NULL ? find_keys(kit->conf, domain, key) : 0;
    for (size_t i = 0; i < w->nkeys; i++)
        w->field[i].key = key[i];
    return w->nkeys > 0 ? 1 : not_signed(w, why);
}

int sign_work_make(struct sign_kit *kit, struct sign_work *w)
{
    const struct body text = text_of(kit, w);

    while (w->nfields < w->nkeys)
        if (make_field(kit, w, &w->field[w->nfields++], &text) != 0)
            return -1;
    return 0;
}

/* --- the signatures ------------------------------------------------------- */

static int join_fields(struct sign_work *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->nfields; i++)
        n += w->field[i].n;
    w->task->text = malloc(n);
    if (w->task->text == NULL)
        return fail(w, strerror(ENOMEM));
    for (size_t i = 0; i < w->nfields; i++) {
        memcpy(w->task->text + w->task->n, w->field[i].text, w->field[i].n);
        w->task->n += w->field[i].n;
    }
    return 1;
}

int sign_work_add(struct sign_work *w, size_t field,
                  const struct digest_signature *s)
{
    struct sign_field *f = &w->field[field];
    struct buf b = { f->text, DKIM_FIELD_MAX, f->n, false };

    if (f->is_signed)
        return 0;
    if (s->n == 0 || s->n > sizeof s->octets)
        return fail(w, "the signer cannot sign");
    dkim_field_end(&b, s);
    if (b.full)
        return fail(w, "the field is too long");
    f->n = b.n;
    f->is_signed = true;
    return ++w->nsigned < w->nfields ? 0 : join_fields(w);
}

void sign_work_free(struct sign_work **wp)
{
    struct sign_work *w = *wp;

    if (w == NULL)
        return;
    for (size_t i = 0; i < w->nfields; i++)
        free(w->field[i].text);
    dkim_body_free(&w->body);
    free(w);
    *wp = NULL;
}
