#include "base/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct span in)
{
    const unsigned char *p = (const unsigned char *)in.p;

    for (size_t left = in.n; left > 0;) {
        size_t n = left < 3 ? left : 3;
        unsigned long v = (unsigned long)p[0] << 16;
        v |= n > 1 ? (unsigned long)p[1] << 8 : 0;
        v |= n > 2 ? p[2] : 0;
        char four[4] = { digits[v >> 18], digits[v >> 12 & 63],
                         n > 1 ? digits[v >> 6 & 63] : '=',
                         n > 2 ? digits[v & 63] : '=' };
        buf_add(out, four, sizeof four);
        p += n;
        left -= n;
    }
}

/* -1: no digit. */
static int value(char c)
{
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static int decode_four(struct buf *out, const char *p, size_t n)
{
    unsigned long v = 0;

    for (size_t i = 0; i < 4; i++) {
        int d = i < n ? value(p[i]) : 0;
        if (d < 0)
            return -1;
        v = v << 6 | (unsigned long)d;
    }
    if (n < 4 && (v & (n == 2 ? 0xfffful : 0xfful)) != 0)
        return -1;
    char three[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };
    buf_add(out, three, n - 1);
    return 0;
}

int base64_decode(struct buf *out, struct span in, struct err *e)
{
    if (in.n % 4 != 0)
        return err_set(e, ERR_PROTO, 0, "base64 of %zu characters", in.n);
    for (size_t i = 0; i < in.n; i += 4) {
        size_t n = 4;
        if (i + 4 == in.n && in.p[i + 3] == '=')
            n = in.p[i + 2] == '=' ? 2 : 3;
        if (decode_four(out, in.p + i, n) != 0)
            return err_set(e, ERR_PROTO, 0, "no base64 at character %zu",
                           i + 1);
    }
    return !out->full ? 0
                      : err_set(e, ERR_PROTO, 0,
                                "base64 of more octets than"
                                " there is room for");
}
