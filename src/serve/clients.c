#include "serve/clients.h"

#include "base/map.h"

#include <errno.h>
#include <sys/mman.h>

enum { BUCKETS = 4096, ROWS_MAX = 1024 };

/* Adjacent in memory, because each accept and each slab of bodies reads the
 * heads of all rows. */
struct head {
    volatile size_t memory; /* bytes, of bodies */
    volatile unsigned total;
    volatile bool takes;
};

struct row {
    volatile unsigned short count[BUCKETS];
};

struct clients {
    unsigned rows;
    size_t bytes;
    struct head head[ROWS_MAX];
    struct row row[];
};

int clients_new(struct clients **out, unsigned rows, struct err *e)
{
    size_t bytes = sizeof(struct clients) + rows * sizeof(struct row);

    if (rows > ROWS_MAX)
        return err_set(e, ERR_BUG, 0, "too many rows of clients");
    struct clients *c = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (c == MAP_FAILED)
        return err_set(e, ERR_TEMP, errno, "map the table of clients");
    c->rows = rows;
    c->bytes = bytes;
    /* The key of the hash must be made before the workers fork. */
    (void)map_hash("", 0);
    *out = c;
    return 0;
}

void clients_free(struct clients **c)
{
    if (*c != NULL)
        munmap(*c, (*c)->bytes);
    *c = NULL;
}

void clients_open_row(struct clients *c, unsigned row)
{
    clients_clear_row(c, row);
    c->head[row].takes = true;
}

void clients_retire_row(struct clients *c, unsigned row)
{
    c->head[row].takes = false;
}

void clients_clear_row(struct clients *c, unsigned row)
{
    c->head[row].takes = false;
    c->head[row].total = 0;
    c->head[row].memory = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        c->row[row].count[i] = 0;
}

bool clients_takes(const struct clients *c, unsigned row)
{
    return c->head[row].takes;
}

static unsigned bucket_of(const struct addr *a)
{
    return (unsigned)(addr_hash_net(a) % BUCKETS);
}

void clients_add(struct clients *c, unsigned row, const struct addr *a)
{
    c->head[row].total++;
    c->row[row].count[bucket_of(a)]++;
}

void clients_remove(struct clients *c, unsigned row, const struct addr *a)
{
    c->head[row].total--;
    c->row[row].count[bucket_of(a)]--;
}

unsigned clients_of(const struct clients *c, const struct addr *a)
{
    unsigned b = bucket_of(a), sum = 0;

    for (unsigned r = 0; r < c->rows; r++)
        if (c->head[r].total > 0)
            sum += c->row[r].count[b];
    return sum;
}

bool clients_take_memory(struct clients *c, unsigned row, size_t bytes,
                         size_t max)
{
    size_t sum = 0;

    for (unsigned r = 0; r < c->rows; r++)
        sum += c->head[r].memory;
    if (bytes > max || sum > max - bytes)
        return false;
    c->head[row].memory += bytes;
    return true;
}

void clients_give_memory(struct clients *c, unsigned row, size_t bytes)
{
    c->head[row].memory -= bytes;
}

bool clients_room(const struct clients *c, unsigned max)
{
    for (unsigned r = 0; r < c->rows; r++)
        if (c->head[r].takes && c->head[r].total < max)
            return true;
    return false;
}
