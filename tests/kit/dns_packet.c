#include "dns_packet.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

void packet_bytes(struct packet *p, const void *data, size_t n)
{
    ck_assert_uint_le(p->n + n, sizeof p->b);
    memcpy(p->b + p->n, data, n);
    p->n += n;
}

static void put8(struct packet *p, unsigned v)
{
    unsigned char b = (unsigned char)v;

    packet_bytes(p, &b, 1);
}

static void put16(struct packet *p, unsigned v)
{
    put8(p, v >> 8 & 255);
    put8(p, v & 255);
}

static void put32(struct packet *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p, v & 0xffff);
}

static void put_name(struct packet *p, const char *name)
{
    while (*name != '\0' && strcmp(name, ".") != 0) {
        size_t n = strcspn(name, ".");
        put8(p, (unsigned)n);
        packet_bytes(p, name, n);
        name += n + (name[n] == '.');
    }
    put8(p, 0);
}

static void count_up(struct packet *p, size_t section)
{
    unsigned char *at = p->b + 4 + 2 * section;

    if (++at[1] == 0)
        at[0]++;
}

void packet_start(struct packet *p, unsigned id, unsigned flags)
{
    p->n = 0;
    put16(p, id);
    put16(p, flags);
    put32(p, 0);
    put32(p, 0);
}

void packet_question(struct packet *p, const char *name, unsigned type)
{
    put_name(p, name);
    put16(p, type);
    put16(p, 1);
    count_up(p, 0);
}

static const struct {
    const char *word;
    unsigned type;
} types[] = { { "A", 1 },     { "NS", 2 },   { "CNAME", 5 },
              { "SOA", 6 },   { "PTR", 12 }, { "MX", 15 },
              { "AAAA", 28 }, { "OPT", 41 }, { "HEX", 1 } };

static unsigned type_of(const char *word)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].word, word) == 0)
            return types[i].type;
    ck_abort_msg("no type %s", word);
    return 0;
}

static void put_hex(struct packet *p, const char *data)
{
    unsigned byte;

    for (; sscanf(data, "%2x", &byte) == 1; data += 2)
        put8(p, byte);
}

static void put_data(struct packet *p, const char *type, const char *data)
{
    unsigned char ip[16];
    unsigned number = 0;
    int used = 0;

    if (strcmp(type, "A") == 0) {
        ck_assert_int_eq(inet_pton(AF_INET, data, ip), 1);
        packet_bytes(p, ip, 4);
    } else if (strcmp(type, "AAAA") == 0) {
        ck_assert_int_eq(inet_pton(AF_INET6, data, ip), 1);
        packet_bytes(p, ip, 16);
    } else if (strcmp(type, "MX") == 0) {
        ck_assert_int_eq(sscanf(data, "%u %n", &number, &used), 1);
        put16(p, number);
        put_name(p, data + used);
    } else if (strcmp(type, "SOA") == 0) {
        ck_assert_int_eq(sscanf(data, "%u", &number), 1);
        put_name(p, ".");
        put_name(p, ".");
        for (int i = 0; i < 4; i++)
            put32(p, 1);
        put32(p, number);
    } else if (strcmp(type, "HEX") == 0) {
        put_hex(p, data);
    } else if (strcmp(type, "OPT") != 0) {
        put_name(p, data);
    }
}

static void put_record(struct packet *p, const char *item)
{
    char section[4] = "", name[256] = "", type[8] = "", data[600] = "";
    unsigned ttl = 0;

    ck_assert_msg(sscanf(item, " %3s %255s %7s %u %599[^;]", section, name,
                         type, &ttl, data) >= 4,
                  "record: %s", item);
    put_name(p, name);
    put16(p, type_of(type));
    put16(p, 1);
    put32(p, ttl);
    size_t at = p->n;
    put16(p, 0);
    put_data(p, type, data);
    p->b[at] = (unsigned char)((p->n - at - 2) >> 8);
    p->b[at + 1] = (unsigned char)(p->n - at - 2);
    count_up(p, section[0] == 'n' ? 2 : section[1] == 'n' ? 1 : 3);
}

void packet_records(struct packet *p, const char *text)
{
    while (text != NULL && *text != '\0') {
        put_record(p, text);
        text = strchr(text, ';');
        if (text != NULL)
            text++;
    }
}
