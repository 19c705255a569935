#include "mailbox/wire_private.h"

#include "base/bytes.h"

#include <string.h>

enum {
    MAGIC = 0x3171626d, /* "mbq1" */
    HEAD = 8,           /* magic; opens; closes; number of requests */
    LOOK_FIRST = 1,
    REQUEST = 70, /* before its strings */
    ANSWER = 18,
    DISK_FULL = 1,
    OVER_QUOTA = 2,
    DAMAGED = 4
};

/* --- requests ------------------------------------------------------------- */

size_t wire_put_head(unsigned char p[WIRE_HEAD_MAX], const struct wire_head *h)
{
    put_le32(p, MAGIC);
    p[4] = (unsigned char)h->opens;
    p[5] = (unsigned char)h->closes;
    put_le16(p + 6, (uint16_t)h->requests);
    memcpy(p + HEAD, h->open, h->opens);
    memcpy(p + HEAD + h->opens, h->close, h->closes);
    return HEAD + h->opens + h->closes;
}

/* A span that is empty may have no place. */
static unsigned char *put_span(unsigned char *p, struct span s)
{
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

size_t wire_put_request(unsigned char *p, size_t room,
                        const struct mailbox_request *r, unsigned handle)
{
    size_t key = strlen(r->key) + 1;
    size_t n = REQUEST + key + r->reverse_path.n + r->delivered_to.n;

    if (n > room)
        return 0;
    p[0] = (unsigned char)handle;
    p[1] = r->look_first ? LOOK_FIRST : 0;
    put_le16(p + 2, r->slot);
    put_le64(p + 4, r->tag);
    put_le64(p + 12, (uint64_t)r->body.start);
    put_le64(p + 20, r->body.size);
    put_le32(p + 28, r->body.front);
    put_le32(p + 32, r->body.crc);
    put_le64(p + 36, r->id.base);
    put_le32(p + 44, r->id.n);
    put_le64(p + 48, r->part);
    put_le64(p + 56, r->arrival);
    put_le16(p + 64, (uint16_t)key);
    put_le16(p + 66, (uint16_t)r->reverse_path.n);
    put_le16(p + 68, (uint16_t)r->delivered_to.n);
    p = put_span(p + REQUEST, (struct span){ r->key, key });
    p = put_span(p, r->reverse_path);
    (void)put_span(p, r->delivered_to);
    return n;
}

int wire_take_head(struct wire_reader *w, struct wire_head *h)
{
    const unsigned char *p = w->p;

    if (w->n < HEAD || get_le32(p) != MAGIC || p[4] > WIRE_FDS ||
        p[5] > WIRE_HANDLES || w->n < (size_t)HEAD + p[4] + p[5])
        return -1;
    *h = (struct wire_head){ .opens = p[4],
                             .closes = p[5],
                             .requests = get_le16(p + 6) };
    if (h->requests > MAILBOX_WINDOW)
        return -1;
    memcpy(h->open, p + HEAD, h->opens);
    memcpy(h->close, p + HEAD + h->opens, h->closes);
    for (unsigned i = 0; i < h->opens; i++)
        if (h->open[i] >= WIRE_HANDLES)
            return -1;
    for (unsigned i = 0; i < h->closes; i++)
        if (h->close[i] >= WIRE_HANDLES)
            return -1;
    w->p += HEAD + h->opens + h->closes;
    w->n -= HEAD + h->opens + h->closes;
    return 0;
}

/* The strings behind a request: each length bounded, the key a C string that
 * can be a key. */
static int take_strings(struct wire_reader *w, struct mailbox_request *r)
{
    size_t key = get_le16(w->p + 64), from = get_le16(w->p + 66),
           to = get_le16(w->p + 68);
    const char *s = (const char *)w->p + REQUEST;

    if (key < 2 || key > MAILBOX_KEY_MAX || from > MAILBOX_ADDRESS_MAX ||
        to > MAILBOX_ADDRESS_MAX || w->n - REQUEST < key + from + to ||
        memchr(s, '\0', key) != s + key - 1 ||
        !mailbox_key_valid((struct span){ s, key - 1 }))
        return -1;
    r->key = s;
    r->reverse_path = (struct span){ s + key, from };
    r->delivered_to = (struct span){ s + key + from, to };
    w->p += REQUEST + key + from + to;
    w->n -= REQUEST + key + from + to;
    return 0;
}

int wire_take_request(struct wire_reader *w, struct mailbox_request *r,
                      unsigned *handle)
{
    const unsigned char *p = w->p;

    if (w->n < REQUEST || p[0] >= WIRE_HANDLES || p[1] > LOOK_FIRST)
        return -1;
    uint64_t start = get_le64(p + 12), size = get_le64(p + 20);
    *handle = p[0];
    *r = (struct mailbox_request){
        .tag = get_le64(p + 4),
        .body = { .fd = -1, .size = size, .front = get_le32(p + 28) },
        .id = { get_le64(p + 36), get_le32(p + 44) },
        .part = get_le64(p + 48),
        .slot = get_le16(p + 2),
        .arrival = get_le64(p + 56),
        .look_first = p[1] == LOOK_FIRST,
    };
    r->body.crc = get_le32(p + 32);
    if (start > INT64_MAX || size > INT64_MAX - start || r->body.front > size ||
        r->id.base >> 60 != 0 || r->id.n > MSG_ID_N_MAX)
        return -1;
    r->body.start = (off_t)start;
    return take_strings(w, r);
}

/* --- answers -------------------------------------------------------------- */

size_t wire_put_answer(unsigned char *p, size_t room,
                       const struct mailbox_answer *a)
{
    size_t text = strlen(a->text), why = strlen(a->why);
    size_t n = ANSWER + text + why;

    if (n > room)
        return 0;
    put_le64(p, a->tag);
    p[8] = (unsigned char)a->outcome;
    p[9] = (unsigned char)((a->disk_full ? DISK_FULL : 0) |
                           (a->over_quota ? OVER_QUOTA : 0) |
                           (a->damaged ? DAMAGED : 0));
    put_le16(p + 10, a->status.class);
    put_le16(p + 12, a->status.subject);
    put_le16(p + 14, a->status.detail);
    p[16] = (unsigned char)text;
    p[17] = (unsigned char)why;
    memcpy(p + ANSWER, a->text, text);
    memcpy(p + ANSWER + text, a->why, why);
    return n;
}

int wire_take_answer(struct wire_reader *w, struct mailbox_answer *a)
{
    const unsigned char *p = w->p;

    if (w->n == 0)
        return 0;
    if (w->n < ANSWER || p[8] > MAILBOX_ADMIN || p[16] >= sizeof a->text ||
        p[17] >= sizeof a->why || w->n < (size_t)ANSWER + p[16] + p[17])
        return -1;
    *a = (struct mailbox_answer){
        .tag = get_le64(p),
        .outcome = (enum mailbox_outcome)p[8],
        .status = { 0, get_le16(p + 10), get_le16(p + 12), get_le16(p + 14) },
        .disk_full = (p[9] & DISK_FULL) != 0,
        .over_quota = (p[9] & OVER_QUOTA) != 0,
        .damaged = (p[9] & DAMAGED) != 0,
    };
    memcpy(a->text, p + ANSWER, p[16]);
    memcpy(a->why, p + ANSWER + p[16], p[17]);
    w->n -= (size_t)ANSWER + p[16] + p[17];
    w->p += ANSWER + p[16] + p[17];
    return 1;
}
