#include "base/msg_id.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static const char digits[33] = "0123456789abcdefghjkmnpqrstvwxyz";

static void put32(char *out, uint64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--, v >>= 5)
        out[i] = digits[v & 31];
    out[width] = '\0';
}

static bool get32(uint64_t *v, const char *p, size_t n)
{
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        char c = ascii_lower(p[i]);
        const char *at = c == '\0' ? NULL : strchr(digits, c);
        if (at == NULL)
            return false;
        *v = *v << 5 | (uint64_t)(at - digits);
    }
    return true;
}

uint64_t msg_id_new_base(void)
{
    uint64_t low = arc4random() & 0xff;

    return (clock_wall_us() << 8 | low) & 0xfffffffffffffffu;
}

void msg_id_base_text(char out[MSG_ID_BASE_TEXT], uint64_t base)
{
    put32(out, base, MSG_ID_BASE_TEXT - 1);
}

bool msg_id_base_parse(uint64_t *base, struct span text)
{
    return text.n == MSG_ID_BASE_TEXT - 1 && get32(base, text.p, text.n);
}

void msg_id_text(char out[MSG_ID_TEXT], struct msg_id id)
{
    put32(out, id.base, 12);
    put32(out + 12, id.n, 4);
}

bool msg_id_parse(struct msg_id *id, struct span text)
{
    uint64_t n;

    if (text.n != MSG_ID_TEXT - 1 || !get32(&id->base, text.p, 12) ||
        !get32(&n, text.p + 12, 4))
        return false;
    id->n = (uint32_t)n;
    return true;
}

bool msg_id_eq(struct msg_id a, struct msg_id b)
{
    return a.base == b.base && a.n == b.n;
}

void session_id_new(char out[SESSION_ID_TEXT])
{
    uint64_t chance;

    arc4random_buf(&chance, sizeof chance);
    put32(out, chance, SESSION_ID_TEXT - 1);
}
