#include "spool/format_private.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

/* --- segment header ------------------------------------------------------- */

static const unsigned char segment_magic[8] = { 0x89, 'm', 't', 'a',
                                                's',  'e', 'g', '\n' };

enum { S_CLOSED = 1, S_MOVED = 2, S_DAMAGED = 4 };
enum { H_VERSION = 8, H_SIZE = 12, H_ID = 16, H_CREATED = 24, H_CRC = 60 };

/* The id is in the checksum, so a state belongs to one segment only. */
static uint32_t state_crc(const unsigned char *state, uint64_t id)
{
    unsigned char name[8];

    put_le64(name, id);
    return crc32c(crc32c(0, name, sizeof name), state, 12);
}

void spool_state_encode(unsigned char out[SPOOL_STATE],
                        const struct spool_segment_header *h)
{
    unsigned flags = (h->closed ? S_CLOSED : 0u) | (h->moved ? S_MOVED : 0u) |
                     (h->damaged ? S_DAMAGED : 0u);

    put_le64(out, h->committed);
    put_le32(out + 8, flags);
    put_le32(out + 12, state_crc(out, h->id));
}

void spool_segment_header_encode(unsigned char out[SPOOL_SEGMENT_HEADER],
                                 const struct spool_segment_header *h)
{
    memset(out, 0, SPOOL_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof segment_magic);
    put_le32(out + H_VERSION, SPOOL_VERSION);
    put_le32(out + H_SIZE, SPOOL_SEGMENT_HEADER);
    put_le64(out + H_ID, h->id);
    put_le64(out + H_CREATED, h->created);
    put_le32(out + H_CRC, crc32c(0, out, H_CRC));
    spool_state_encode(out + SPOOL_STATE_AT, h);
}

enum spool_check spool_segment_header_decode(struct spool_segment_header *h,
                                             const unsigned char *in)
{
    const unsigned char *state = in + SPOOL_STATE_AT;

    memset(h, 0, sizeof *h);
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0)
        return SPOOL_BROKEN;
    /* Magic and version stay where they are in every version to come. */
    if (get_le32(in + H_VERSION) > SPOOL_VERSION)
        return SPOOL_NEWER;
    if (get_le32(in + H_CRC) != crc32c(0, in, H_CRC) ||
        get_le32(in + H_SIZE) != SPOOL_SEGMENT_HEADER)
        return SPOOL_BROKEN;
    h->id = get_le64(in + H_ID);
    h->created = get_le64(in + H_CREATED);
    h->committed = SPOOL_SEGMENT_HEADER;
    if (get_le32(state + 12) != state_crc(state, h->id) ||
        get_le64(state) < SPOOL_SEGMENT_HEADER)
        return SPOOL_STATELESS;
    h->committed = get_le64(state);
    h->closed = (get_le32(state + 8) & S_CLOSED) != 0;
    h->moved = (get_le32(state + 8) & S_MOVED) != 0;
    h->damaged = (get_le32(state + 8) & S_DAMAGED) != 0;
    return SPOOL_GOOD;
}

/* --- record header -------------------------------------------------------- */

static const unsigned char record_magic[4] = { 0xa7, 'm', 's', 'g' };

/* clang-format off */
enum {
    R_VERSION = 4,  R_LENGTH = 8,    R_BASE = 16,  R_N = 24,
    R_FLAGS = 28,   R_SEGMENT = 32,  R_ARRIVAL = 40, R_BODY = 48,
    R_ENVELOPE = 56, R_NRCPT = 60,   R_GENERATION = 64,
    R_CRC = 120,    R_OWN_CRC = 124
};
/* clang-format on */

uint64_t spool_slot_at(uint32_t index)
{
    return SPOOL_RECORD_HEADER + (uint64_t)index * SPOOL_SLOT;
}

uint64_t spool_envelope_at(const struct spool_record *r)
{
    return spool_slot_at(r->nrcpt);
}

uint64_t spool_body_at(const struct spool_record *r)
{
    return spool_envelope_at(r) + r->envelope_size;
}

uint64_t spool_record_length(uint32_t nrcpt, uint32_t envelope_size,
                             uint64_t body_size)
{
    uint64_t n = spool_slot_at(nrcpt) + envelope_size + body_size;

    return (n + SPOOL_ALIGN - 1) / SPOOL_ALIGN * SPOOL_ALIGN;
}

static void encode_fields(unsigned char *out, const struct spool_record *r)
{
    memset(out, 0, SPOOL_RECORD_HEADER);
    memcpy(out, record_magic, sizeof record_magic);
    put_le32(out + R_VERSION, SPOOL_VERSION);
    put_le64(out + R_LENGTH, r->length);
    put_le64(out + R_BASE, r->id.base);
    put_le32(out + R_N, r->id.n);
    put_le32(out + R_FLAGS, r->flags);
    put_le64(out + R_SEGMENT, r->segment);
    put_le64(out + R_ARRIVAL, r->arrival);
    put_le64(out + R_BODY, r->body_size);
    put_le32(out + R_ENVELOPE, r->envelope_size);
    put_le32(out + R_NRCPT, r->nrcpt);
    put_le32(out + R_GENERATION, r->generation);
}

uint32_t spool_record_crc(const struct spool_record *r, uint32_t content_crc)
{
    unsigned char fields[SPOOL_RECORD_HEADER];

    encode_fields(fields, r);
    return crc32c(content_crc, fields, R_CRC);
}

void spool_record_encode(unsigned char out[SPOOL_RECORD_HEADER],
                         const struct spool_record *r)
{
    encode_fields(out, r);
    put_le32(out + R_CRC, r->crc);
    put_le32(out + R_OWN_CRC, crc32c(0, out, R_OWN_CRC));
}

/* Bounds first: the sum below must not wrap. */
static bool sizes_fit(const struct spool_record *r)
{
    return r->nrcpt >= 1 && r->nrcpt <= SPOOL_RCPT_MAX &&
           r->body_size < (uint64_t)1 << 56 &&
           r->length ==
               spool_record_length(r->nrcpt, r->envelope_size, r->body_size);
}

bool spool_record_decode(struct spool_record *r, const unsigned char *in)
{
    if (memcmp(in, record_magic, sizeof record_magic) != 0 ||
        get_le32(in + R_VERSION) != SPOOL_VERSION ||
        get_le32(in + R_OWN_CRC) != crc32c(0, in, R_OWN_CRC))
        return false;
    memset(r, 0, sizeof *r);
    r->length = get_le64(in + R_LENGTH);
    r->id.base = get_le64(in + R_BASE);
    r->id.n = get_le32(in + R_N);
    r->flags = get_le32(in + R_FLAGS);
    r->segment = get_le64(in + R_SEGMENT);
    r->arrival = get_le64(in + R_ARRIVAL);
    r->body_size = get_le64(in + R_BODY);
    r->envelope_size = get_le32(in + R_ENVELOPE);
    r->nrcpt = get_le32(in + R_NRCPT);
    r->generation = get_le32(in + R_GENERATION);
    r->crc = get_le32(in + R_CRC);
    return sizes_fit(r);
}

/* --- slot ----------------------------------------------------------------- */

/* clang-format off */
enum {
    T_FORM = 0, T_STATE = 1, T_ATTEMPTS = 2, T_CRC = 4, T_LAST = 8,
    T_NEXT = 16, T_CODE = 24, T_CLASS = 26, T_FLAGS = 27, T_SUBJECT = 28,
    T_DETAIL = 30, T_TEXT = 32
};
/* clang-format on */
enum { SLOT_FORM = 1, SLOT_WARNED = 1, HOST_MAX = 40 };

static uint32_t slot_crc(const unsigned char *slot, uint32_t index)
{
    unsigned char place[4];

    put_le32(place, index);
    uint32_t crc = crc32c(0, place, sizeof place);
    crc = crc32c(crc, slot, T_CRC);
    return crc32c(crc, slot + T_CRC + 4, SPOOL_SLOT - T_CRC - 4);
}

/* How much of s fits into `room`, without cutting a character of UTF-8. */
static size_t cut(const char *s, size_t room)
{
    size_t n = strnlen(s, SPOOL_SLOT_TEXT + 1);

    if (n <= room)
        return n;
    n = room;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void spool_slot_encode(unsigned char out[SPOOL_SLOT], uint32_t index,
                       const struct spool_slot *s)
{
    size_t host = cut(s->host, HOST_MAX);
    size_t reply = cut(s->reply, SPOOL_SLOT_TEXT - host - 2);

    memset(out, 0, SPOOL_SLOT);
    out[T_FORM] = SLOT_FORM;
    out[T_STATE] = (unsigned char)s->state;
    put_le16(out + T_ATTEMPTS,
             (uint16_t)(s->attempts < 0xffff ? s->attempts : 0xffff));
    put_le64(out + T_LAST, s->last_attempt);
    put_le64(out + T_NEXT, s->next_attempt);
    put_le16(out + T_CODE, s->status.code);
    out[T_CLASS] = (unsigned char)s->status.class;
    out[T_FLAGS] = s->warned ? SLOT_WARNED : 0;
    put_le16(out + T_SUBJECT, s->status.subject);
    put_le16(out + T_DETAIL, s->status.detail);
    memcpy(out + T_TEXT, s->host, host);
    memcpy(out + T_TEXT + host + 1, s->reply, reply);
    put_le32(out + T_CRC, slot_crc(out, index));
}

void spool_slot_decode(struct spool_slot *s, uint32_t index,
                       const unsigned char *in)
{
    memset(s, 0, sizeof *s);
    if (in[T_FORM] != SLOT_FORM || in[T_STATE] > SPOOL_DELETED ||
        get_le32(in + T_CRC) != slot_crc(in, index))
        return;
    s->state = (enum spool_state)in[T_STATE];
    s->attempts = get_le16(in + T_ATTEMPTS);
    s->last_attempt = get_le64(in + T_LAST);
    s->next_attempt = get_le64(in + T_NEXT);
    s->status.code = get_le16(in + T_CODE);
    s->status.class = in[T_CLASS];
    s->warned = (in[T_FLAGS] & SLOT_WARNED) != 0;
    s->status.subject = get_le16(in + T_SUBJECT);
    s->status.detail = get_le16(in + T_DETAIL);
    const char *text = (const char *)in + T_TEXT;
    size_t host = strnlen(text, SPOOL_SLOT_TEXT - 1);
    memcpy(s->host, text, host);
    memcpy(s->reply, text + host + 1,
           strnlen(text + host + 1, SPOOL_SLOT_TEXT - host - 1));
}
