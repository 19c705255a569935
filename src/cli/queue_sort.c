/* queue_sort.c - texts of messages in another order than that of the queue:
 * they are kept in memory until the last one is there. */
#include "cli/queue_filter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A text and what it is sorted by: a number, then the place in the queue, or a
 * word in front of the text. */
struct entry {
    uint64_t number;
    size_t word, at, n;
};

struct queue_sorter {
    enum queue_order order;
    FILE *texts, *entries;
    char *text, *memory; /* of the two, from the last flush on */
    size_t ntext, nmemory, at;
};

static const char *sorted_text; /* of the words, for compare() */

static int compare(const void *va, const void *vb)
{
    const struct entry *a = va, *b = vb;
    int n = strcasecmp(sorted_text + a->word, sorted_text + b->word);

    if (n != 0)
        return n;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

struct queue_sorter *queue_sorter_new(enum queue_order order)
{
    struct queue_sorter *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->order = order;
    s->texts = open_memstream(&s->text, &s->ntext);
    s->entries = open_memstream(&s->memory, &s->nmemory);
    if (s->texts == NULL || s->entries == NULL)
        queue_sorter_free(&s);
    return s;
}

void queue_sorter_free(struct queue_sorter **s)
{
    if (*s == NULL)
        return;
    if ((*s)->texts != NULL)
        fclose((*s)->texts);
    if ((*s)->entries != NULL)
        fclose((*s)->entries);
    free((*s)->text);
    free((*s)->memory);
    free(*s);
    *s = NULL;
}

FILE *queue_sorter_out(struct queue_sorter *s)
{
    return s->texts;
}

/* The largest and the most often tried stand first. */
static uint64_t number_of(enum queue_order o, const struct queue_key *k)
{
    switch (o) {
    case QUEUE_BY_ARRIVAL: return k->arrival;
    case QUEUE_BY_NEXT: return k->next;
    case QUEUE_BY_SIZE: return UINT64_MAX - k->size;
    case QUEUE_BY_ATTEMPTS: return UINT64_MAX - k->attempts;
    case QUEUE_BY_SENDER:
    case QUEUE_BY_DOMAIN:
    case QUEUE_AS_FOUND: break; /* behind the word */
    }
    return k->arrival;
}

int queue_sorter_end_text(struct queue_sorter *s, const struct queue_key *k)
{
    const char *word = s->order == QUEUE_BY_SENDER   ? k->sender
                       : s->order == QUEUE_BY_DOMAIN ? k->domain
                                                     : "";
    off_t end = ftello(s->texts);
    struct entry x = { number_of(s->order, k), (size_t)end, s->at,
                       (size_t)end - s->at };

    if (fwrite(word, 1, strlen(word) + 1, s->texts) != strlen(word) + 1 ||
        fwrite(&x, sizeof x, 1, s->entries) != 1)
        return -1;
    s->at = (size_t)end + strlen(word) + 1;
    return 0;
}

int queue_sorter_print(struct queue_sorter *s, FILE *out, struct err *e)
{
    if (fflush(s->texts) != 0 || fflush(s->entries) != 0)
        return err_set(e, ERR_TEMP, errno, "memory for a sorted list");
    struct entry *all = (struct entry *)(void *)s->memory;
    size_t n = s->nmemory / sizeof *all;
    sorted_text = s->text;
    if (n > 0)
        qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++)
        if (fwrite(s->text + all[i].at, 1, all[i].n, out) != all[i].n)
            return err_set(e, ERR_TEMP, errno, "write to standard output");
    return 0;
}
