/* test_base_map.c - find by key.
 *
 * The source is compiled into this file, under other names, so that its
 * secret can be set to the key of the published SipHash vectors. */
#define map_hash tested_map_hash
#define map_hash_nocase tested_map_hash_nocase
#define map_init tested_map_init
#define map_done tested_map_done
#define map_add tested_map_add
#define map_remove tested_map_remove
#define map_first tested_map_first
#define map_next tested_map_next
#include "../../src/base/map.c"

#include <check.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void set_secret(void)
{
    unsigned char key[16];

    pthread_once(&secret_once, make_secret);
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)i;
    memcpy(secret, key, sizeof secret);
}

/* SipHash-2-4 of the octets 0, 1, 2 ... under the key 0, 1 ... 15, from the
 * reference of its authors. */
static const struct {
    size_t n;
    uint64_t hash;
} vectors[] = {
    { 0, 0x726fdb47dd0e0e31u },  { 1, 0x74f839c593dc67fdu },
    { 7, 0xab0200f58b01d137u },  { 8, 0x93f5f5799a932462u },
    { 15, 0xa129ca6149be45e5u }, { 16, 0x3f2acc7f57c29bdbu },
    { 63, 0x958a324ceb064572u },
};

START_TEST(siphash)
{
    unsigned char in[64];

    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)i;
    set_secret();
    ck_assert_msg(map_hash(in, vectors[_i].n) == vectors[_i].hash, "%zu octets",
                  vectors[_i].n);
}
END_TEST

START_TEST(secret_decides)
{
    uint64_t with[3];

    for (int i = 0; i < 3; i++) {
        pthread_once(&secret_once, make_secret);
        make_secret();
        with[i] = map_hash("key", 3);
    }
    ck_assert(with[0] != with[1] && with[1] != with[2] && with[0] != with[2]);
}
END_TEST

/* Keys that differ in one bit must differ in about half of the hash, in the
 * low bits, which choose the bucket, too. */
START_TEST(one_bit_moves_many)
{
    unsigned char key[24] = { 0 };
    unsigned moved = 0, low = 0, bits = 8 * sizeof key;

    set_secret();
    uint64_t before = map_hash(key, sizeof key);
    for (unsigned bit = 0; bit < bits; bit++) {
        key[bit / 8] ^= (unsigned char)(1u << bit % 8);
        uint64_t change = before ^ map_hash(key, sizeof key);
        key[bit / 8] ^= (unsigned char)(1u << bit % 8);
        for (int k = 0; k < 64; k++)
            moved += (unsigned)(change >> k & 1);
        for (int k = 0; k < 8; k++)
            low += (unsigned)(change >> k & 1);
    }
    ck_assert_msg(moved > bits * 28 && moved < bits * 36, "%u", moved);
    ck_assert_msg(low > bits * 3 && low < bits * 5, "%u", low);
}
END_TEST

START_TEST(case_is_folded)
{
    char long_key[1100];

    memset(long_key, 'A', sizeof long_key);
    ck_assert(map_hash_nocase("Example.COM", 11) ==
              map_hash_nocase("eXAMPLE.com", 11));
    ck_assert(map_hash_nocase("Example.COM", 11) ==
              map_hash("example.com", 11));
    ck_assert(map_hash_nocase("a", 1) != map_hash_nocase("b", 1));
    ck_assert(map_hash_nocase("[", 1) != map_hash_nocase("{", 1));
    ck_assert(map_hash_nocase("\304", 1) != map_hash_nocase("\344", 1));
    ck_assert(map_hash_nocase("", 0) == map_hash("", 0));
    ck_assert(map_hash_nocase(long_key, 1100) ==
              map_hash_nocase(long_key, 1024));
}
END_TEST

struct item {
    int value;
    struct map_link link;
};

static size_t found(const struct map *m, uint64_t hash, int value)
{
    size_t n = 0;

    for (struct map_link *l = map_first(m, hash); l != NULL; l = map_next(l)) {
        ck_assert(l->hash == hash);
        n += MAP_ENTRY(l, struct item, link)->value == value;
    }
    return n;
}

/* The same calls with few and with many buckets, and with hashes that share
 * a bucket or are equal. */
static const struct {
    const char *name;
    size_t buckets, mask;
    uint64_t step; /* between the hashes */
} maps[] = {
    { "one bucket", 1, 0, 1 },
    { "no buckets asked for", 0, 0, 1 },
    { "rounded up", 100, 127, 1 },
    { "all in one bucket", 128, 127, 128 },
    { "all equal", 16, 15, 0 },
    { "high bits only", 16, 15, (uint64_t)1 << 60 },
};

START_TEST(add_find_remove)
{
    struct item items[10];
    struct map m;

    ck_assert_int_eq(map_init(&m, maps[_i].buckets), 0);
    ck_assert_msg(m.mask == maps[_i].mask, "%s", maps[_i].name);
    ck_assert(map_first(&m, 0) == NULL);
    for (int i = 0; i < (int)COUNT(items); i++) {
        items[i].value = i;
        map_add(&m, &items[i].link, (uint64_t)i * maps[_i].step);
    }
    ck_assert_uint_eq(m.n, COUNT(items));
    for (int gone = 0; gone < (int)COUNT(items); gone++) {
        int at = gone * 7 % (int)COUNT(items); /* in no special order */
        ck_assert_uint_eq(found(&m, items[at].link.hash, at), 1);
        uint64_t hash = items[at].link.hash;
        map_remove(&m, &items[at].link);
        ck_assert_msg(found(&m, hash, at) == 0, "%s: %d", maps[_i].name, at);
        ck_assert(items[at].link.next == NULL);
    }
    ck_assert_uint_eq(m.n, 0);
    map_done(&m);
    ck_assert(m.bucket == NULL);
}
END_TEST

START_TEST(other_hash_is_not_found)
{
    struct item a = { 1, { NULL, 0 } };
    struct map m;

    ck_assert_int_eq(map_init(&m, 4), 0);
    map_add(&m, &a.link, 5);
    ck_assert(map_first(&m, 1) == NULL); /* same bucket */
    ck_assert(map_first(&m, 5) == &a.link);
    ck_assert(map_next(&a.link) == NULL);
    map_done(&m);
}
END_TEST

Suite *base_map_suite(void);
Suite *base_map_suite(void)
{
    Suite *s = suite_create("base.map");
    TCase *t = tcase_create("map");

    tcase_add_loop_test(t, siphash, 0, COUNT(vectors));
    tcase_add_test(t, secret_decides);
    tcase_add_test(t, one_bit_moves_many);
    tcase_add_test(t, case_is_folded);
    tcase_add_loop_test(t, add_find_remove, 0, COUNT(maps));
    tcase_add_test(t, other_hash_is_not_found);
    suite_add_tcase(s, t);
    return s;
}
