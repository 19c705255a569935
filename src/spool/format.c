#include "spool/format.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

/* Segment header: magic 0, version 8, size 12, id 16, created 24, crc of
 * these 32; committed 64, flags 72, crc of these two 76.  The second group
 * changes in place and so has a checksum (and, at 64, a sector) of its own. */
static const unsigned char segment_magic[8] = "MTASEG\r\n";
enum { SEGMENT_FIXED = 32, SEGMENT_STATE = 64, SEGMENT_CLOSED = 1 };

void spool_segment_header_encode(unsigned char out[SPOOL_SEGMENT_HEADER],
                                 const struct spool_segment_header *h)
{
    memset(out, 0, SPOOL_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof segment_magic);
    put_le32(out + 8, SPOOL_VERSION);
    put_le32(out + 12, SPOOL_SEGMENT_HEADER);
    put_le64(out + 16, h->id);
    put_le64(out + 24, h->created);
    put_le32(out + SEGMENT_FIXED, crc32c(0, out, SEGMENT_FIXED));
    spool_segment_state_encode(out + SEGMENT_STATE, h);
}

void spool_segment_state_encode(unsigned char out[SPOOL_SEGMENT_STATE],
                                const struct spool_segment_header *h)
{
    put_le64(out, h->committed);
    put_le32(out + 8, h->closed ? SEGMENT_CLOSED : 0);
    put_le32(out + 12, crc32c((uint32_t)h->id, out, 12));
}

/* A torn state says nothing: then only the checksums of records count. */
bool spool_segment_header_decode(struct spool_segment_header *h,
                                 const unsigned char *in)
{
    const unsigned char *state = in + SEGMENT_STATE;

    memset(h, 0, sizeof *h);
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0 ||
        get_le32(in + SEGMENT_FIXED) != crc32c(0, in, SEGMENT_FIXED))
        return false;
    h->version = get_le32(in + 8);
    h->id = get_le64(in + 16);
    h->created = get_le64(in + 24);
    h->committed = SPOOL_SEGMENT_HEADER;
    if (get_le32(state + 12) == crc32c((uint32_t)h->id, state, 12)) {
        h->committed = get_le64(state);
        h->closed = get_le32(state + 8) & SEGMENT_CLOSED;
    }
    return true;
}

/* Record header: magic 0, version 4, flags 8, nrcpt 12, length 16, id 24+32,
 * segment 40, arrival 48, body size 56, envelope size 64, generation 68, crc
 * of the whole 72, crc of this header 124. */
static const unsigned char record_magic[4] = "MREC";

void spool_record_encode(unsigned char out[SPOOL_RECORD_HEADER],
                         const struct spool_record *r)
{
    memset(out, 0, SPOOL_RECORD_HEADER);
    memcpy(out, record_magic, sizeof record_magic);
    put_le32(out + 4, SPOOL_VERSION);
    put_le32(out + 8, r->flags);
    put_le32(out + 12, r->nrcpt);
    put_le64(out + 16, r->length);
    put_le64(out + 24, r->id.base);
    put_le32(out + 32, r->id.n);
    put_le64(out + 40, r->segment);
    put_le64(out + 48, r->arrival);
    put_le64(out + 56, r->body_size);
    put_le32(out + 64, r->envelope_size);
    put_le32(out + 68, r->generation);
    put_le32(out + 72, r->crc);
    put_le32(out + 124, crc32c(0, out, 124));
}

uint32_t spool_record_crc(const struct spool_record *r, uint32_t content)
{
    unsigned char raw[SPOOL_RECORD_HEADER];

    spool_record_encode(raw, r);
    return crc32c(content, raw, 72); /* all that stands before the crc */
}

void spool_record_seal(unsigned char out[SPOOL_RECORD_HEADER],
                       struct spool_record *r)
{
    r->crc = spool_record_crc(r, r->crc);
    spool_record_encode(out, r);
}

bool spool_record_decode(struct spool_record *r, const unsigned char *in)
{
    if (memcmp(in, record_magic, sizeof record_magic) != 0 ||
        get_le32(in + 4) != SPOOL_VERSION ||
        get_le32(in + 124) != crc32c(0, in, 124))
        return false;
    r->flags = get_le32(in + 8);
    r->nrcpt = get_le32(in + 12);
    r->length = get_le64(in + 16);
    r->id.base = get_le64(in + 24);
    r->id.n = get_le32(in + 32);
    r->segment = get_le64(in + 40);
    r->arrival = get_le64(in + 48);
    r->body_size = get_le64(in + 56);
    r->envelope_size = get_le32(in + 64);
    r->generation = get_le32(in + 68);
    r->crc = get_le32(in + 72);
    return r->nrcpt > 0 && r->nrcpt <= SPOOL_RCPT_MAX &&
           r->body_size <= SPOOL_BODY_MAX &&
           r->length ==
               spool_record_length(r->nrcpt, r->envelope_size, r->body_size);
}

/* Slot: state 0, flags 1, code 2, attempts 4, last 8, next 16, class 24,
 * subject 26, detail 28, length of host 30, host and reply 32 (88), crc 124. */
enum { SLOT_WARNED = 1, SLOT_TEXT_AT = 32 };

void spool_slot_encode(unsigned char out[SPOOL_SLOT],
                       const struct spool_slot *s)
{
    size_t host = strlen(s->host), reply = strlen(s->reply);
    size_t room = SPOOL_SLOT_TEXT;

    memset(out, 0, SPOOL_SLOT);
    out[0] = (unsigned char)s->state;
    out[1] = s->warned ? SLOT_WARNED : 0;
    put_le16(out + 2, s->code);
    put_le32(out + 4, s->attempts);
    put_le64(out + 8, s->last_attempt);
    put_le64(out + 16, s->next_attempt);
    out[24] = s->enh_class;
    put_le16(out + 26, s->subject);
    put_le16(out + 28, s->detail);
    if (host > room / 2)
        host = room / 2;
    if (reply > room - host)
        reply = room - host;
    put_le16(out + 30, (uint16_t)host);
    memcpy(out + SLOT_TEXT_AT, s->host, host);
    memcpy(out + SLOT_TEXT_AT + host, s->reply, reply);
    put_le32(out + 124, crc32c(1, out, 124));
}

void spool_slot_decode(struct spool_slot *s, const unsigned char *in)
{
    size_t host = get_le16(in + 30);

    memset(s, 0, sizeof *s);
    if (get_le32(in + 124) != crc32c(1, in, 124) || in[0] > SPOOL_DELETED ||
        host > SPOOL_SLOT_TEXT / 2)
        return;
    s->state = (enum spool_state)in[0];
    s->warned = in[1] & SLOT_WARNED;
    s->code = get_le16(in + 2);
    s->attempts = get_le32(in + 4);
    s->last_attempt = get_le64(in + 8);
    s->next_attempt = get_le64(in + 16);
    s->enh_class = in[24];
    s->subject = get_le16(in + 26);
    s->detail = get_le16(in + 28);
    memcpy(s->host, in + SLOT_TEXT_AT, host);
    memcpy(s->reply, in + SLOT_TEXT_AT + host, SPOOL_SLOT_TEXT - host);
    s->reply[SPOOL_SLOT_TEXT - host] = '\0';
}

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

void spool_field_head(unsigned char out[SPOOL_FIELD_HEAD],
                      enum spool_field type, size_t n)
{
    out[0] = (unsigned char)type;
    put_le16(out + 1, (uint16_t)n);
}

bool spool_field_next(struct span *rest, enum spool_field *type,
                      struct span *content)
{
    const unsigned char *p = (const unsigned char *)rest->p;

    if (rest->n < SPOOL_FIELD_HEAD)
        return false;
    size_t n = get_le16(p + 1);
    if (n > rest->n - SPOOL_FIELD_HEAD)
        return false;
    *type = (enum spool_field)p[0];
    *content = (struct span){ rest->p + SPOOL_FIELD_HEAD, n };
    rest->p += SPOOL_FIELD_HEAD + n;
    rest->n -= SPOOL_FIELD_HEAD + n;
    return true;
}
