/* queue_stats.c - count what waits in the queue. */
#include "cli/queue_stats.h"

#include "base/clock.h"
#include "base/json.h"
#include "cli/queue_private.h"
#include "queue/retry_rule.h"
#include "queue/select.h"
#include "spool/reader.h"
#include "spool/usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { BUCKETS = 64 * 1024, SHOWN = 20 };

const uint32_t queue_ages[QUEUE_AGES] = { 300,   900,   3600,   14400,
                                          43200, 86400, 172800, 432000 };
static const char *const age_names[QUEUE_AGES + 1] = { "5m", "15m", "1h",
                                                       "4h", "12h", "1d",
                                                       "2d", "5d",  "older" };

/* --- collect ------------------------------------------------------------- */

struct counting {
    struct queue_stats *s;
    const struct spool_reader *v;
    uint32_t index, retry_min;
    struct err *e;
};

static struct queue_domain *domain_for(struct queue_stats *s, struct span name)
{
    char lower[256];

    if (!span_copy(lower, sizeof lower, name))
        lower[0] = '\0';
    ascii_lower_str(lower);
    size_t n = strlen(lower);
    uint64_t hash = map_hash(lower, n);
    for (struct map_link *l = map_first(&s->map, hash); l != NULL;
         l = map_next(l)) {
        struct queue_domain *d = MAP_ENTRY(l, struct queue_domain, link);
        if (strcmp(d->name, lower) == 0)
            return d;
    }
    struct queue_domain *d = calloc(1, sizeof *d + n + 1);
    if (d == NULL)
        return NULL;
    d->n = n;
    memcpy(d->name, lower, n + 1);
    map_add(&s->map, &d->link, hash);
    s->ndomains++;
    return d;
}

static void wait_more(struct queue_waiting *w, uint64_t now, uint64_t arrival,
                      const struct spool_slot *slot)
{
    uint64_t age = now > arrival ? now - arrival : 0;
    unsigned i = 0;

    while (i < QUEUE_AGES && age > queue_ages[i] * 1000000ull)
        i++;
    w->rcpts++;
    w->age_us += age;
    w->age[i]++;
    if (w->oldest == 0 || arrival < w->oldest)
        w->oldest = arrival;
    if (slot->state == SPOOL_PENDING &&
        (w->next == 0 || slot->next_attempt < w->next))
        w->next = slot->next_attempt != 0 ? slot->next_attempt : now;
}

static int count_rcpt(struct counting *k, struct span address)
{
    struct queue_stats *s = k->s;
    uint64_t arrival = k->v->rec->arrival;
    struct spool_slot slot;

    if (k->index >= k->v->rec->nrcpt)
        return 0;
    if (spool_reader_slot(k->v, k->index++, &slot, k->e) != 0)
        return -1;
    s->queue[k->v->queue].pending += slot.state == SPOOL_PENDING;
    s->queue[k->v->queue].held += slot.state == SPOOL_HELD;
    s->queue[k->v->queue].failed += slot.state == SPOOL_FAILED;
    if (slot.state != SPOOL_PENDING && slot.state != SPOOL_HELD)
        return 0;
    slot.next_attempt = retry_next(k->v->rec, &slot, k->retry_min);
    struct queue_domain *d = domain_for(s, queue_domain_of(address));
    if (d == NULL)
        return err_set(k->e, ERR_TEMP, ENOMEM, "memory for domains");
    wait_more(&d->w, s->now, arrival, &slot);
    wait_more(&s->all, s->now, arrival, &slot);
    return 0;
}

static int on_field(void *ctx, enum spool_field type, struct span content)
{
    return type == SPOOL_F_RCPT ? count_rcpt(ctx, content) : 0;
}

static int on_message(void *ctx, const struct spool_reader *v)
{
    struct counting *k = ctx;
    struct queue_stats *s = k->s;
    uint64_t *oldest = &s->queue[v->queue].oldest;

    k->v = v;
    k->index = 0;
    s->queue[v->queue].messages++;
    s->queue[v->queue].bytes += v->rec->body_size + v->rec->front;
    if (*oldest == 0 || v->rec->arrival < *oldest)
        *oldest = v->rec->arrival;
    int rc = spool_reader_envelope(v, on_field, k, k->e);
    return rc < 0 && k->e->kind == ERR_PERM ? 0 : rc; /* damaged */
}

static int more_recipients(const void *va, const void *vb)
{
    const struct queue_domain *a = *(struct queue_domain *const *)va,
                              *b = *(struct queue_domain *const *)vb;

    if (a->w.rcpts != b->w.rcpts)
        return a->w.rcpts > b->w.rcpts ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int sort_domains(struct queue_stats *s, struct err *e)
{
    size_t n = 0;

    s->domain = calloc(s->ndomains + 1, sizeof(struct queue_domain *));
    if (s->domain == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for domains");
    for (size_t i = 0; i <= s->map.mask; i++)
        for (struct map_link *l = s->map.bucket[i]; l != NULL; l = l->next)
            s->domain[n++] = MAP_ENTRY(l, struct queue_domain, link);
    qsort(s->domain, n, sizeof(struct queue_domain *), more_recipients);
    return 0;
}

static int collect(struct queue_stats *s, const struct conf *c, struct err *e)
{
    const char *queue_dir = c->queue_dir;
    struct counting k = { .s = s,
                          .retry_min = (uint32_t)c->send.retry_min,
                          .e = e };

    s->now = clock_wall_us();
    if (map_init(&s->map, BUCKETS) != 0)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for domains");
    for (int i = 0; i < SPOOL_QUEUES; i++)
        if (spool_disk_use(queue_dir, (enum spool_name)i, &s->queue[i].segments,
                           &s->queue[i].disk_bytes, e) != 0)
            return -1;
    return spool_read_all(queue_dir, false, on_message, &k, e) < 0
               ? -1
               : sort_domains(s, e);
}

static void done(struct queue_stats *s)
{
    for (size_t i = 0; s->map.bucket != NULL && i <= s->map.mask; i++)
        for (struct map_link *l = s->map.bucket[i], *next; l != NULL;
             l = next) {
            next = l->next;
            free(MAP_ENTRY(l, struct queue_domain, link));
        }
    map_done(&s->map);
    free(s->domain);
}

/* --- text ---------------------------------------------------------------- */

/* In columns on a terminal, else with a tab between them. */
static void text_cell(const char *text, int width)
{
    if (isatty(STDOUT_FILENO))
        printf(" %*s", width, text);
    else
        printf("\t%s", text);
}

static void number_cell(uint64_t n, int width)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    text_cell(text, width);
}

static void text_row(const char *name, const struct queue_waiting *w)
{
    struct span shown = span_of(name[0] != '\0' ? name : "(no domain)");
    size_t n = shown.n;

    queue_put_plain(stdout, shown);
    if (isatty(STDOUT_FILENO) && n < 32)
        printf("%*s", (int)(32 - n), "");
    number_cell(w->rcpts, 10);
    for (int i = 0; i <= QUEUE_AGES; i++)
        number_cell(w->age[i], 8);
    putchar('\n');
}

static void text_head(void)
{
    printf("\n%-*s", isatty(STDOUT_FILENO) ? 32 : 0, "recipients by age");
    text_cell("all", 10);
    for (int i = 0; i <= QUEUE_AGES; i++)
        text_cell(age_names[i], 8);
    putchar('\n');
}

static void add_waiting(struct queue_waiting *to,
                        const struct queue_waiting *from)
{
    to->rcpts += from->rcpts;
    for (int i = 0; i <= QUEUE_AGES; i++)
        to->age[i] += from->age[i];
}

static void print_text(const struct queue_stats *s)
{
    struct queue_waiting rest = { 0 };

    for (int i = 0; i < SPOOL_QUEUES; i++)
        printf("%s: %" PRIu64 " messages, %" PRIu64 " octets; recipients: "
               "%" PRIu64 " pending, %" PRIu64 " held; %" PRIu64
               " segments, %" PRIu64 " octets of disk\n",
               spool_name_text((enum spool_name)i), s->queue[i].messages,
               s->queue[i].bytes, s->queue[i].pending, s->queue[i].held,
               s->queue[i].segments, s->queue[i].disk_bytes);
    if (s->all.rcpts == 0)
        return;
    text_head();
    text_row("all", &s->all);
    for (size_t i = 0; i < s->ndomains; i++)
        if (i < SHOWN)
            text_row(s->domain[i]->name, &s->domain[i]->w);
        else
            add_waiting(&rest, &s->domain[i]->w);
    if (rest.rcpts > 0)
        text_row("(others)", &rest);
}

/* --- JSON ---------------------------------------------------------------- */

static void json_ages(const struct queue_waiting *w)
{
    fputs("\"ages\":[", stdout);
    for (int i = 0; i < QUEUE_AGES; i++)
        printf("{\"up_to\":%u,\"recipients\":%" PRIu64 "},",
               (unsigned)queue_ages[i], w->age[i]);
    printf("{\"up_to\":null,\"recipients\":%" PRIu64 "}]", w->age[QUEUE_AGES]);
}

static void json_domain(const struct queue_domain *d)
{
    fputs("{\"domain\":", stdout);
    json_string(stdout, (struct span){ d->name, d->n });
    printf(",\"recipients\":%" PRIu64 ",\"oldest\":", d->w.rcpts);
    json_time(stdout, d->w.oldest);
    fputs(",\"next_attempt\":", stdout);
    json_time(stdout, d->w.next);
    putchar(',');
    json_ages(&d->w);
    putchar('}');
}

static void print_json(const struct queue_stats *s)
{
    const int l = SPOOL_LOCAL, r = SPOOL_REMOTE;

    printf("{\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"recipients\":{\"pending\":%" PRIu64 ",\"held\":%" PRIu64
           ",\"failed\":%" PRIu64 "},\"oldest\":",
           s->queue[l].messages + s->queue[r].messages,
           s->queue[l].bytes + s->queue[r].bytes,
           s->queue[l].pending + s->queue[r].pending,
           s->queue[l].held + s->queue[r].held,
           s->queue[l].failed + s->queue[r].failed);
    json_time(stdout, s->all.oldest);
    printf(",\"segments\":%" PRIu64 ",\"disk_bytes\":%" PRIu64 ",\"domains\":[",
           s->queue[l].segments + s->queue[r].segments,
           s->queue[l].disk_bytes + s->queue[r].disk_bytes);
    for (size_t i = 0; i < s->ndomains; i++) {
        if (i > 0)
            putchar(',');
        json_domain(s->domain[i]);
    }
    fputs("],", stdout);
    json_ages(&s->all);
    fputs("}\n", stdout);
}

int queue_stats(const struct options *o, bool openmetrics)
{
    struct queue_stats s = { 0 };
    struct err e;
    int rc = collect(&s, &o->conf, &e);

    if (rc == 0 && openmetrics)
        rc = queue_metrics_print(o, &s, stdout, &e);
    else if (rc == 0 && o->json)
        print_json(&s);
    else if (rc == 0)
        print_text(&s);
    done(&s);
    if (rc == 0)
        return EX_OK;
    return queue_fail(o, &e);
}
