/* history_format.c - a record to octets and back. */
#include "base/bytes.h"
#include "base/fs.h"
#include "queue/history_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IS_LOCAL = 1, IS_VERIFIED = 2, IS_CUT = 4 };
enum { TEXTS = 6 };

const char *history_kind_text(enum history_kind kind)
{
    static const char *const texts[HISTORY_KINDS] = {
        [HISTORY_DELIVERED] = "delivered", [HISTORY_DEFERRED] = "deferred",
        [HISTORY_BOUNCED] = "bounced",     [HISTORY_EXPANDED] = "expanded",
        [HISTORY_HELD] = "held",           [HISTORY_RELEASED] = "released",
        [HISTORY_DELETED] = "deleted",
    };

    return kind > 0 && kind < HISTORY_KINDS ? texts[kind] : "?";
}

int history_path(char out[HISTORY_PATH], const char *queue_dir,
                 enum spool_name name, struct err *e)
{
    int n = snprintf(out, HISTORY_PATH, "%s/%s/history", queue_dir,
                     spool_name_text(name));

    return n > 0 && n < HISTORY_PATH ? 0
                                     : err_set(e, ERR_USAGE, ENAMETOOLONG,
                                               "%s: name too long", queue_dir);
}

/* --- records ---------------------------------------------------------- */

static void put_peer(unsigned char *p, const struct addr *a)
{
    memset(p, 0, 20);
    if (a->u.sa.sa_family == AF_INET) {
        p[0] = 4;
        put_le16(p + 2, ntohs(a->u.in.sin_port));
        memcpy(p + 4, &a->u.in.sin_addr, 4);
    } else if (a->u.sa.sa_family == AF_INET6) {
        p[0] = 6;
        put_le16(p + 2, ntohs(a->u.in6.sin6_port));
        memcpy(p + 4, &a->u.in6.sin6_addr, 16);
    }
}

static void get_peer(struct addr *a, const unsigned char *p)
{
    memset(a, 0, sizeof *a);
    a->u.sa.sa_family = AF_UNSPEC;
    if (p[0] == 4) {
        a->u.in.sin_family = AF_INET;
        a->u.in.sin_port = htons(get_le16(p + 2));
        memcpy(&a->u.in.sin_addr, p + 4, 4);
    } else if (p[0] == 6) {
        a->u.in6.sin6_family = AF_INET6;
        a->u.in6.sin6_port = htons(get_le16(p + 2));
        memcpy(&a->u.in6.sin6_addr, p + 4, 16);
    }
}

static void put_fixed(unsigned char p[HISTORY_FIXED],
                      const struct history_event *ev)
{
    memset(p, 0, HISTORY_FIXED);
    p[2] = (unsigned char)ev->kind;
    p[3] = (unsigned char)((ev->local ? IS_LOCAL : 0) |
                           (ev->verified ? IS_VERIFIED : 0) |
                           (ev->cut ? IS_CUT : 0));
    put_le32(p + 4, ev->slot);
    put_le64(p + 8, ev->id.base);
    put_le32(p + 16, ev->id.n);
    put_le32(p + 20, ev->attempts);
    put_le64(p + 24, ev->when);
    put_le64(p + 32, ev->next);
    put_le64(p + 40, ev->part);
    put_le64(p + 48, ev->child);
    put_le64(p + 56, ev->size);
    put_le64(p + 64, ev->arrival);
    put_le32(p + 72, ev->rounds);
    put_le16(p + 76, (uint16_t)ev->status.code);
    p[78] = (unsigned char)ev->status.class;
    put_le16(p + 80, (uint16_t)ev->status.subject);
    put_le16(p + 82, (uint16_t)ev->status.detail);
    put_le16(p + 84, ev->tls_version);
    put_le16(p + 86, ev->tls_cipher);
    put_peer(p + 88, &ev->peer);
}

size_t history_encode(unsigned char out[HISTORY_ROOM],
                      const struct history_event *ev)
{
    struct history_event own = *ev;
    struct span *text[TEXTS] = { &own.sender, &own.rcpt,  &own.host,
                                 &own.sid,    &own.other, &own.reply };
    size_t n = HISTORY_FIXED;

    if (own.reply.n > HISTORY_REPLY_MAX) {
        own.reply.n = HISTORY_REPLY_MAX;
        own.cut = true;
    }
    put_fixed(out, &own);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t most = i < TEXTS - 1 ? 300 : HISTORY_REPLY_MAX;
        if (text[i]->n > most)
            text[i]->n = most;
        put_le16(out + 108 + 2 * i, (uint16_t)text[i]->n);
        if (text[i]->n > 0)
            memcpy(out + n, text[i]->p, text[i]->n);
        n += text[i]->n;
    }
    put_le16(out, (uint16_t)n);
    return n;
}

static void get_fixed(struct history_event *ev, const unsigned char *p)
{
    ev->kind = (enum history_kind)p[2];
    ev->local = (p[3] & IS_LOCAL) != 0;
    ev->verified = (p[3] & IS_VERIFIED) != 0;
    ev->cut = (p[3] & IS_CUT) != 0;
    ev->slot = get_le32(p + 4);
    ev->id = (struct msg_id){ get_le64(p + 8), get_le32(p + 16) };
    ev->attempts = get_le32(p + 20);
    ev->when = get_le64(p + 24);
    ev->next = get_le64(p + 32);
    ev->part = get_le64(p + 40);
    ev->child = get_le64(p + 48);
    ev->size = get_le64(p + 56);
    ev->arrival = get_le64(p + 64);
    ev->rounds = get_le32(p + 72);
    ev->status = (struct smtp_status){ .code = get_le16(p + 76),
                                       .class = p[78],
                                       .subject = get_le16(p + 80),
                                       .detail = get_le16(p + 82) };
    ev->tls_version = get_le16(p + 84);
    ev->tls_cipher = get_le16(p + 86);
    get_peer(&ev->peer, p + 88);
}

size_t history_decode(const unsigned char *p, size_t n,
                      struct history_event *ev)
{
    struct span *text[TEXTS] = { &ev->sender, &ev->rcpt,  &ev->host,
                                 &ev->sid,    &ev->other, &ev->reply };
    size_t at = HISTORY_FIXED;

    if (n < HISTORY_FIXED || get_le16(p) < HISTORY_FIXED || get_le16(p) > n ||
        p[2] == 0 || p[2] >= HISTORY_KINDS)
        return 0;
    get_fixed(ev, p);
    for (size_t i = 0; i < TEXTS; i++) {
        *text[i] =
            (struct span){ (const char *)p + at, get_le16(p + 108 + 2 * i) };
        at += text[i]->n;
    }
    return at == get_le16(p) ? at : 0;
}

/* --- blocks ----------------------------------------------------------- */

bool history_may_have(const unsigned char *block, struct msg_id id)
{
    const unsigned char *p = block + HISTORY_HEAD;
    size_t left = get_le16(block + 24), n;

    if (left > HISTORY_ROOM)
        return true;
    for (; left >= HISTORY_FIXED; p += n, left -= n) {
        n = get_le16(p);
        if (n < HISTORY_FIXED || n > left ||
            (get_le64(p + 8) == id.base && get_le32(p + 16) == id.n))
            return true;
    }
    return left > 0;
}

uint64_t history_blocks(int fd)
{
    unsigned char head[HISTORY_HEAD];

    if (fs_pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head ||
        get_le32(head) != HISTORY_MAGIC_TOP || get_le64(head + 8) == 0 ||
        get_le64(head + 8) > UINT32_MAX)
        return 0;
    return get_le64(head + 8);
}

/* The number of a block; 0: there is none at that place. */
static uint64_t number_at(int fd, uint64_t blocks, uint64_t place)
{
    unsigned char head[HISTORY_HEAD];

    if (fs_pread(fd, head, sizeof head, (off_t)(place * HISTORY_BLOCK)) !=
            (ssize_t)sizeof head ||
        get_le32(head) != HISTORY_MAGIC)
        return 0;
    uint64_t n = get_le64(head + 8);
    return n > 0 && (n - 1) % blocks + 1 == place ? n : 0;
}

/* From the first place on the numbers follow one another up to the newest,
 * behind which stand those of the round before. */
uint64_t history_newest(int fd, uint64_t blocks)
{
    uint64_t first = number_at(fd, blocks, 1), low = 1, high = blocks;

    if (first == 0)
        return 0;
    while (low < high) {
        uint64_t mid = low + (high - low + 1) / 2;
        if (number_at(fd, blocks, mid) == first + mid - 1)
            low = mid;
        else
            high = mid - 1;
    }
    return first + low - 1;
}
