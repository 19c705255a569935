#include "spool/envelope.h"

#include "base/bytes.h"

#include <string.h>

bool spool_envelope_add(struct chain *env, struct pool *blocks,
                        enum spool_field type, struct span content)
{
    unsigned char field[SPOOL_FIELD_HEAD + SPOOL_FIELD_MAX];

    if (content.n > SPOOL_FIELD_MAX)
        return false;
    field[0] = (unsigned char)type;
    put_le16(field + 1, (uint16_t)content.n);
    if (content.n > 0)
        memcpy(field + SPOOL_FIELD_HEAD, content.p, content.n);
    return chain_add(env, blocks, field, SPOOL_FIELD_HEAD + content.n);
}

struct span spool_envelope_sender(const struct chain *env, char *room, size_t n)
{
    struct span rest = { room, chain_copy(env, 0, room, n) };
    struct span path = { "", 0 };
    enum spool_field type;

    (void)spool_field_next(&rest, &type, &path);
    return path;
}

enum { ROW = 4 };

bool spool_replaces_add(struct chain *env, struct pool *blocks,
                        const uint16_t *slots, uint32_t n)
{
    unsigned char rows[SPOOL_FIELD_MAX];
    size_t size = 0;

    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && slots[end] == slots[end - 1] + 1; end++)
            ;
        put_le16(rows + size, slots[i]);
        put_le16(rows + size + 2, slots[end - 1]);
        size += ROW;
        if (size < sizeof rows && end < n)
            continue;
        if (!spool_envelope_add(env, blocks, SPOOL_F_REPLACES,
                                (struct span){ (char *)rows, size }))
            return false;
        size = 0;
    }
    return true;
}

bool spool_replaces_next(struct span *content, uint32_t *first, uint32_t *last)
{
    const unsigned char *p = (const unsigned char *)content->p;

    if (content->n < ROW)
        return false;
    *first = get_le16(p);
    *last = get_le16(p + 2);
    content->p += ROW;
    content->n -= ROW;
    return *first <= *last;
}

bool spool_field_next(struct span *rest, enum spool_field *type,
                      struct span *content)
{
    const unsigned char *p = (const unsigned char *)rest->p;

    if (rest->n < SPOOL_FIELD_HEAD)
        return false;
    size_t n = get_le16(p + 1);
    if (rest->n - SPOOL_FIELD_HEAD < n || n > SPOOL_FIELD_MAX)
        return false;
    *type = (enum spool_field)p[0];
    *content = (struct span){ rest->p + SPOOL_FIELD_HEAD, n };
    rest->p += SPOOL_FIELD_HEAD + n;
    rest->n -= SPOOL_FIELD_HEAD + n;
    return true;
}
