#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Eight tables, eight bytes a step ("slicing-by-8", Kounavis and Berry,
 * "A systematic approach to building high performance software-based CRC
 * generators").  Steps read little-endian words, made so by shifts. */
static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t (*step)(uint32_t crc, const unsigned char *p, size_t n);

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (uint32_t i = 0; i < 256; i++)
            table[t][i] =
                table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 0xff];
}

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo = crc ^ le32(p), hi = le32(p + 4);
        crc = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^
              table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
              table[3][hi & 0xff] ^ table[2][hi >> 8 & 0xff] ^
              table[1][hi >> 16 & 0xff] ^ table[0][hi >> 24];
    }
    for (; n > 0; n--, p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    return crc;
}

/* Processors with SSE 4.2 have an instruction for this very polynomial, some
 * six times as fast as the tables. */
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t wide = crc, word;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n > 0; n--, p++)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}

static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
#define by_instruction by_table
static bool has_instruction(void)
{
    return false;
}
#endif

static void choose(void)
{
    make_table();
    step = has_instruction() ? by_instruction : by_table;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
    pthread_once(&once, choose);
    return ~step(~crc, data, n);
}

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t n)
{
    pthread_once(&once, choose);
    return ~by_table(~crc, data, n);
}
