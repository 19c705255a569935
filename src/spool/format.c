#include "spool/format_private.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *spool_name_text(enum spool_name name)
{
    return name == SPOOL_LOCAL ? "local" : "remote";
}

/* --- segment header ------------------------------------------------------- */

static const unsigned char segment_magic[8] = { 0x89, 'm', 't', 'a',
                                                's',  'e', 'g', '\n' };

enum { S_CLOSED = 1, S_MOVED = 2, S_DAMAGED = 4, S_UNSYNCED = 8 };
enum { H_VERSION = 8, H_SIZE = 12, H_ID = 16, H_CREATED = 24 };
enum { H_CHILDREN = 32, H_CRC = 60 };

/* The checksum covers the id, so that a state belongs to one segment only. */
static uint32_t named_crc(const unsigned char *p, size_t n, uint64_t id)
{
    unsigned char name[8];

    put_le64(name, id);
    return crc32c(crc32c(0, name, sizeof name), p, n);
}

void spool_confirmed_encode(unsigned char out[SPOOL_CONFIRMED], uint64_t id,
                            uint64_t confirmed)
{
    put_le64(out, confirmed);
    put_le32(out + 8, named_crc(out, 8, id));
}

uint64_t spool_confirmed_decode(const unsigned char *in, uint64_t id)
{
    return get_le32(in + 8) == named_crc(in, 8, id) ? get_le64(in) : 0;
}

void spool_state_encode(unsigned char out[SPOOL_STATE],
                        const struct spool_segment_header *h)
{
    unsigned flags = (h->closed ? S_CLOSED : 0u) | (h->moved ? S_MOVED : 0u) |
                     (h->damaged ? S_DAMAGED : 0u) |
                     (h->unsynced ? S_UNSYNCED : 0u);

    put_le64(out, h->committed);
    put_le32(out + 8, flags);
    put_le32(out + 12, named_crc(out, 12, h->id));
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
    put_le32(out + H_CHILDREN, h->children);
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
    /* The offsets of magic and version are the same in every later version. */
    h->version = get_le32(in + H_VERSION);
    if (h->version > SPOOL_VERSION)
        return SPOOL_OTHER;
    if (get_le32(in + H_CRC) != crc32c(0, in, H_CRC) ||
        get_le32(in + H_SIZE) != SPOOL_SEGMENT_HEADER)
        return SPOOL_BROKEN;
    if (h->version < SPOOL_VERSION)
        return SPOOL_OTHER;
    h->id = get_le64(in + H_ID);
    h->created = get_le64(in + H_CREATED);
    h->children = get_le32(in + H_CHILDREN);
    h->committed = SPOOL_SEGMENT_HEADER;
    if (get_le32(state + 12) != named_crc(state, 12, h->id) ||
        get_le64(state) < SPOOL_SEGMENT_HEADER)
        return SPOOL_STATELESS;
    h->committed = get_le64(state);
    h->closed = (get_le32(state + 8) & S_CLOSED) != 0;
    h->moved = (get_le32(state + 8) & S_MOVED) != 0;
    h->damaged = (get_le32(state + 8) & S_DAMAGED) != 0;
    h->unsynced = (get_le32(state + 8) & S_UNSYNCED) != 0;
    return SPOOL_GOOD;
}

/* --- parts ---------------------------------------------------------------- */

enum { PART_BITS = 16 };

int spool_part_child(uint64_t *part, uint64_t parent, uint32_t lowest,
                     struct err *e)
{
    if (parent >> (SPOOL_PART_LEVELS - 1) * PART_BITS != 0)
        return err_set(e, ERR_PERM, 0,
                       "hand over a message of level %d: no more levels",
                       (int)SPOOL_PART_LEVELS);
    *part = (parent << PART_BITS) + lowest + 1;
    return 0;
}

uint64_t spool_part_parent(uint64_t part)
{
    return part >> PART_BITS;
}

/* Each level is a slot + 1: zeros stand only above the first. */
static bool part_is_valid(uint64_t part)
{
    while (part != 0 && (part & ((1u << PART_BITS) - 1)) != 0)
        part = spool_part_parent(part);
    return part == 0;
}

const char *spool_part_text(char out[SPOOL_PART_TEXT], uint64_t part)
{
    if (part == 0)
        return NULL;
    snprintf(out, SPOOL_PART_TEXT, "%" PRIu64, part);
    return out;
}

/* --- record header -------------------------------------------------------- */

static const unsigned char record_magic[4] = { 0xa7, 'm', 's', 'g' };

/* clang-format off */
enum {
    R_VERSION = 4,   R_LENGTH = 8,    R_BASE = 16,     R_N = 24,
    R_FLAGS = 28,    R_SEGMENT = 32,  R_ARRIVAL = 40,  R_BODY = 48,
    R_ENVELOPE = 56, R_NRCPT = 60,    R_LATE = 64,     R_FRONT = 68,
    R_GENERATION = 72, R_ENVELOPE_CRC = 76, R_BODY_CRC = 80, R_LATE_CRC = 84,
    R_PART = 88,     R_CRC = 252
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

uint64_t spool_late_at(const struct spool_record *r)
{
    return spool_body_at(r) + r->body_size;
}

uint64_t spool_record_length(const struct spool_record *r)
{
    uint64_t n = spool_late_at(r) + r->late_size;

    return (n + SPOOL_ALIGN - 1) / SPOOL_ALIGN * SPOOL_ALIGN;
}

void spool_record_encode(unsigned char out[SPOOL_RECORD_HEADER],
                         const struct spool_record *r)
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
    put_le32(out + R_LATE, r->late_size);
    put_le32(out + R_FRONT, r->front);
    put_le32(out + R_GENERATION, r->generation);
    put_le32(out + R_ENVELOPE_CRC, r->envelope_crc);
    put_le32(out + R_BODY_CRC, r->body_crc);
    put_le32(out + R_LATE_CRC, r->late_crc);
    put_le64(out + R_PART, r->part);
    put_le32(out + R_CRC, crc32c(0, out, R_CRC));
}

/* Bounds first: the sum of spool_record_length() must not wrap. */
static bool sizes_fit(const struct spool_record *r)
{
    return r->nrcpt >= 1 && r->nrcpt <= SPOOL_RCPT_MAX &&
           r->body_size < (uint64_t)1 << 56 && r->late_size <= SPOOL_LATE_MAX &&
           r->front <= r->late_size && r->length == spool_record_length(r);
}

bool spool_record_is_child(const struct spool_record *r)
{
    return r->part != 0 && r->generation == 0;
}

bool spool_record_decode(struct spool_record *r, const unsigned char *in)
{
    uint32_t nrcpt = get_le32(in + R_NRCPT), flags = get_le32(in + R_FLAGS);

    if (memcmp(in, record_magic, sizeof record_magic) != 0 ||
        get_le32(in + R_VERSION) != SPOOL_VERSION || nrcpt > SPOOL_NRCPT_MASK ||
        flags > SPOOL_FLAGS_MASK ||
        get_le32(in + R_CRC) != crc32c(0, in, R_CRC))
        return false;
    *r = (struct spool_record){ .length = get_le64(in + R_LENGTH),
                                .flags = flags & SPOOL_FLAGS_MASK,
                                .segment = get_le64(in + R_SEGMENT),
                                .arrival = get_le64(in + R_ARRIVAL),
                                .body_size = get_le64(in + R_BODY),
                                .envelope_size = get_le32(in + R_ENVELOPE),
                                .nrcpt = nrcpt & SPOOL_NRCPT_MASK,
                                .late_size = get_le32(in + R_LATE),
                                .front = get_le32(in + R_FRONT),
                                .generation = get_le32(in + R_GENERATION),
                                .envelope_crc = get_le32(in + R_ENVELOPE_CRC),
                                .body_crc = get_le32(in + R_BODY_CRC),
                                .late_crc = get_le32(in + R_LATE_CRC),
                                .part = get_le64(in + R_PART) };
    r->id.base = get_le64(in + R_BASE);
    r->id.n = get_le32(in + R_N);
    return r->id.base >> 60 == 0 && r->id.n <= MSG_ID_N_MAX && sizes_fit(r) &&
           part_is_valid(r->part);
}

/* --- slot ----------------------------------------------------------------- */

/* clang-format off */
enum {
    T_FORM = 0,   T_STATE = 1,  T_FLAGS = 2,    T_CRC = 4,     T_FIRST = 8,
    T_LAST = 16,  T_NEXT = 24,  T_ATTEMPTS = 32, T_ROUNDS = 34, T_CODE = 36,
    T_CLASS = 38, T_SUBJECT = 40, T_DETAIL = 42, T_PORT = 44,   T_TLS = 46,
    T_CIPHER = 48, T_WAITS = 52,  T_ADDRESS = 56, T_MX = 72,    T_REPLY = 136
};
/* clang-format on */
enum { SLOT_FORM = 2, SLOT_WARNED = 1, SLOT_BY_SENDER = 2 };

static uint32_t slot_crc(const unsigned char *slot, uint32_t index)
{
    unsigned char place[4];

    put_le32(place, index);
    uint32_t crc = crc32c(0, place, sizeof place);
    crc = crc32c(crc, slot, T_CRC);
    return crc32c(crc, slot + T_CRC + 4, SPOOL_SLOT - T_CRC - 4);
}

/* Copy as much of s as fits, then "...", without cutting a character of UTF-8;
 * fill the rest with zeros. */
static void put_text(unsigned char *out, const char *s, size_t room,
                     const char *mark)
{
    size_t n = strnlen(s, room + 1), m = strlen(mark);

    if (n <= room) {
        memcpy(out, s, n);
        return;
    }
    n = room - m;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    memcpy(out, s, n);
    memcpy(out + n, mark, m);
}

static void put_short(unsigned char *out, unsigned n)
{
    put_le16(out, (uint16_t)(n < 0xffff ? n : 0xffff));
}

void spool_slot_encode(unsigned char out[SPOOL_SLOT], uint32_t index,
                       const struct spool_slot *s)
{
    memset(out, 0, SPOOL_SLOT);
    out[T_FORM] = SLOT_FORM;
    out[T_STATE] = (unsigned char)s->state;
    out[T_FLAGS] = (unsigned char)((s->warned ? SLOT_WARNED : 0) |
                                   (s->by_sender ? SLOT_BY_SENDER : 0));
    put_le64(out + T_FIRST, s->first_attempt);
    put_le64(out + T_LAST, s->last_attempt);
    put_le64(out + T_NEXT, s->next_attempt);
    put_short(out + T_ATTEMPTS, s->attempts);
    put_short(out + T_ROUNDS, s->rounds);
    put_le32(out + T_WAITS, s->waits);
    put_le16(out + T_CODE, s->status.code);
    put_le16(out + T_CLASS, s->status.class);
    put_le16(out + T_SUBJECT, s->status.subject);
    put_le16(out + T_DETAIL, s->status.detail);
    put_le16(out + T_TLS, s->tls_version);
    put_le16(out + T_CIPHER, s->tls_cipher);
    if (s->tried.u.sa.sa_family != 0) {
        put_le16(out + T_PORT, addr_port(&s->tried));
        addr_bytes(out + T_ADDRESS, &s->tried);
    }
    put_text(out + T_MX, s->mx, SPOOL_MX_MAX, "");
    put_text(out + T_REPLY, s->reply, SPOOL_REPLY_MAX, "...");
    put_le32(out + T_CRC, slot_crc(out, index));
}

static void get_tried(struct addr *a, const unsigned char *in)
{
    static const unsigned char none[16];

    if (memcmp(in + T_ADDRESS, none, sizeof none) != 0)
        addr_from_v6(a, in + T_ADDRESS, get_le16(in + T_PORT));
}

void spool_slot_decode(struct spool_slot *s, uint32_t index,
                       const unsigned char *in)
{
    memset(s, 0, sizeof *s);
    if (in[T_FORM] != SLOT_FORM || in[T_STATE] > SPOOL_DELETED ||
        get_le32(in + T_CRC) != slot_crc(in, index))
        return;
    s->state = (enum spool_state)in[T_STATE];
    s->warned = (in[T_FLAGS] & SLOT_WARNED) != 0;
    s->by_sender = (in[T_FLAGS] & SLOT_BY_SENDER) != 0;
    s->first_attempt = get_le64(in + T_FIRST);
    s->last_attempt = get_le64(in + T_LAST);
    s->next_attempt = get_le64(in + T_NEXT);
    s->attempts = get_le16(in + T_ATTEMPTS);
    s->rounds = get_le16(in + T_ROUNDS);
    s->waits = get_le32(in + T_WAITS);
    s->status.code = get_le16(in + T_CODE);
    s->status.class = get_le16(in + T_CLASS);
    s->status.subject = get_le16(in + T_SUBJECT);
    s->status.detail = get_le16(in + T_DETAIL);
    s->tls_version = get_le16(in + T_TLS);
    s->tls_cipher = get_le16(in + T_CIPHER);
    get_tried(&s->tried, in);
    memcpy(s->mx, in + T_MX, SPOOL_MX_MAX);
    memcpy(s->reply, in + T_REPLY, SPOOL_REPLY_MAX);
}
