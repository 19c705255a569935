/* queue_metrics.c - the queue, and what running processes have counted, as the
 * text of OpenMetrics 1.0. */
#include "cli/queue_stats.h"

#include "base/utf8.h"
#include "cli/queue_live.h"
#include "control/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- labels -------------------------------------------------------------- */

/* UTF-8, as the text has to be. */
static void put_label(FILE *out, const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        size_t len = utf8_length(text, n);
        if (len == 0)
            fputs("\xef\xbf\xbd", out);
        else if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            fwrite(text, 1, len, out);
        len = len == 0 ? 1 : len;
        text += len;
        n -= len;
    }
}

/* Names are in lower case, so the rest has a name that no other has. */
static void put_name(FILE *out, const char *name)
{
    put_label(out, strcmp(name, "*") == 0       ? "other"
                   : strcmp(name, "other") == 0 ? "OTHER"
                                                : name);
}

static void family(FILE *out, const char *name, const char *type,
                   const char *unit, const char *help)
{
    fprintf(out, "# TYPE %s %s\n", name, type);
    if (unit != NULL)
        fprintf(out, "# UNIT %s %s\n", name, unit);
    fprintf(out, "# HELP %s %s\n", name, help);
}

/* --- gauges -------------------------------------------------------------- */

static void gauge(FILE *out, const char *name, const char *unit,
                  const char *help, const uint64_t value[SPOOL_QUEUES])
{
    family(out, name, "gauge", unit, help);
    for (int i = 0; i < SPOOL_QUEUES; i++)
        fprintf(out, "%s{queue=\"%s\"} %" PRIu64 "\n", name,
                spool_name_text((enum spool_name)i), value[i]);
}

static void put_recipients(FILE *out, const struct queue_stats *s)
{
    family(out, "mta_queue_recipients", "gauge", NULL,
           "Recipients of messages in the queue, by state.");
    for (int i = 0; i < SPOOL_QUEUES; i++) {
        const char *name = spool_name_text((enum spool_name)i);
        fprintf(out,
                "mta_queue_recipients{queue=\"%s\",state=\"pending\"} %" PRIu64
                "\nmta_queue_recipients{queue=\"%s\",state=\"held\"} %" PRIu64
                "\n",
                name, s->queue[i].pending, name, s->queue[i].held);
    }
}

static void put_gauges(FILE *out, const struct queue_stats *s)
{
    uint64_t messages[SPOOL_QUEUES], bytes[SPOOL_QUEUES], age[SPOOL_QUEUES];
    uint64_t segments[SPOOL_QUEUES], disk[SPOOL_QUEUES];

    for (int i = 0; i < SPOOL_QUEUES; i++) {
        uint64_t oldest = s->queue[i].oldest;
        messages[i] = s->queue[i].messages;
        bytes[i] = s->queue[i].bytes;
        age[i] =
            oldest != 0 && oldest < s->now ? (s->now - oldest) / 1000000u : 0;
        segments[i] = s->queue[i].segments;
        disk[i] = s->queue[i].disk_bytes;
    }
    gauge(out, "mta_queue_messages", NULL, "Messages that wait.", messages);
    gauge(out, "mta_queue_bytes", "bytes", "Size of the messages that wait.",
          bytes);
    put_recipients(out, s);
    gauge(out, "mta_queue_oldest_seconds", "seconds",
          "Age of the oldest message that waits.", age);
    gauge(out, "mta_queue_segments", NULL, "Files of the queue.", segments);
    gauge(out, "mta_queue_disk_bytes", "bytes", "What these files take.", disk);
}

static void put_ages(FILE *out, const char *name, const struct queue_waiting *w)
{
    static const char family_name[] = "mta_queue_age_seconds";
    uint64_t sum = 0;

    for (int i = 0; i <= QUEUE_AGES; i++) {
        sum += w->age[i];
        fprintf(out, "%s_bucket{domain=\"", family_name);
        put_name(out, name);
        if (i < QUEUE_AGES)
            fprintf(out, "\",le=\"%u.0\"} %" PRIu64 "\n",
                    (unsigned)queue_ages[i], sum);
        else
            fprintf(out, "\",le=\"+Inf\"} %" PRIu64 "\n", sum);
    }
    fprintf(out, "%s_gcount{domain=\"", family_name);
    put_name(out, name);
    fprintf(out, "\"} %" PRIu64 "\n%s_gsum{domain=\"", sum, family_name);
    put_name(out, name);
    fprintf(out, "\"} %" PRIu64 ".%06u\n", w->age_us / 1000000u,
            (unsigned)(w->age_us % 1000000u));
}

static void put_all_ages(FILE *out, const struct queue_stats *s)
{
    struct queue_waiting rest = { 0 };

    family(out, "mta_queue_age_seconds", "gaugehistogram", "seconds",
           "Recipients that wait, by the age of their message: of the domains "
           "with the most.");
    for (size_t i = 0; i < s->ndomains; i++) {
        const struct queue_waiting *w = &s->domain[i]->w;
        if (i < COUNTERS_NAMES) {
            put_ages(out, s->domain[i]->name, w);
            continue;
        }
        rest.age_us += w->age_us;
        for (int k = 0; k <= QUEUE_AGES; k++)
            rest.age[k] += w->age[k];
    }
    put_ages(out, "*", &rest);
}

/* --- counters of the processes ------------------------------------------- */

struct counted {
    struct counted *next;
    enum spool_name queue;
    struct queue_counter c;
    char name[];
};

struct gathering {
    struct counted *first, **end;
    enum spool_name queue;
    bool up[SPOOL_QUEUES];
};

static struct span word(struct span *rest, char end)
{
    size_t n = span_find(*rest, end);
    struct span w = { rest->p, n };

    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return w;
}

static bool number(struct span text, uint64_t *out)
{
    unsigned long long n;

    if (!span_u64(text, UINT64_MAX, &n))
        return false;
    *out = n;
    return true;
}

static bool parse(struct queue_counter *c, struct span *rest)
{
    uint64_t *const field[] = { &c->messages, &c->delivered, &c->deferred,
                                &c->bounced,  &c->octets,    &c->latency_us };
    struct span buckets;

    if (!span_is(word(rest, ' '), "counter") || rest->n == 0)
        return false;
    c->kind = rest->p[0];
    (void)word(rest, ' ');
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        if (!number(word(rest, ' '), field[i]))
            return false;
    buckets = word(rest, ' ');
    for (int i = 0; i <= COUNTERS_BOUNDS; i++)
        if (!number(word(&buckets, ','), &c->bucket[i]))
            return false;
    return true;
}

static int on_line(void *ctx, struct span line)
{
    struct gathering *g = ctx;
    struct queue_counter c;

    if (!parse(&c, &line))
        return 0;
    struct counted *x = calloc(1, sizeof *x + line.n + 1);
    if (x == NULL)
        return -1;
    x->queue = g->queue;
    x->c = c;
    if (!span_copy(x->name, line.n + 1, line))
        x->name[0] = '\0';
    *g->end = x;
    g->end = &x->next;
    return 0;
}

/* A process that does not run has counted nothing. */
static int gather(struct gathering *g, const char *queue_dir, struct err *e)
{
    struct control_ask a = {
        .queue_dir = queue_dir, .command = "counters", .fn = on_line, .ctx = g
    };

    for (int i = 0; i < SPOOL_QUEUES; i++) {
        g->queue = (enum spool_name)i;
        a.name = queue_consumer(g->queue);
        e->kind = ERR_NONE;
        g->up[i] = control_ask(&a, e) == 0;
        if (!g->up[i] && e->kind == ERR_NONE)
            return err_set(e, ERR_TEMP, ENOMEM, "memory for counters");
    }
    return 0;
}

static void forget(struct gathering *g)
{
    while (g->first != NULL) {
        struct counted *x = g->first;
        g->first = x->next;
        free(x);
    }
}

struct kind {
    char letter;
    const char *prefix, *label, *of;
};

static void labels(FILE *out, const struct kind *k, const struct counted *x)
{
    fprintf(out, "{queue=\"%s\"", spool_name_text(x->queue));
    if (k->label == NULL)
        return;
    fprintf(out, ",%s=\"", k->label);
    put_name(out, x->name[0] == '\0' ? "<>" : x->name);
    putc('"', out);
}

typedef void counter_fn(FILE *out, const struct kind *k,
                        const struct counted *x);

static void put_results(FILE *out, const struct kind *k,
                        const struct counted *x)
{
    static const char *const names[] = { "delivered", "deferred", "bounced" };
    const uint64_t value[] = { x->c.delivered, x->c.deferred, x->c.bounced };

    for (int i = 0; i < 3; i++) {
        fprintf(out, "%s_recipients_total", k->prefix);
        labels(out, k, x);
        fprintf(out, ",result=\"%s\"} %" PRIu64 "\n", names[i], value[i]);
    }
}

static void put_messages(FILE *out, const struct kind *k,
                         const struct counted *x)
{
    fprintf(out, "%s_messages_total", k->prefix);
    labels(out, k, x);
    fprintf(out, "} %" PRIu64 "\n", x->c.messages);
}

static void put_octets(FILE *out, const struct kind *k, const struct counted *x)
{
    fprintf(out, "%s_bytes_total", k->prefix);
    labels(out, k, x);
    fprintf(out, "} %" PRIu64 "\n", x->c.octets);
}

static void put_latency(FILE *out, const struct kind *k,
                        const struct counted *x)
{
    uint64_t sum = 0;

    for (int i = 0; i <= COUNTERS_BOUNDS; i++) {
        sum += x->c.bucket[i];
        fprintf(out, "%s_latency_seconds_bucket", k->prefix);
        labels(out, k, x);
        if (i < COUNTERS_BOUNDS)
            fprintf(out, ",le=\"%u.0\"} %" PRIu64 "\n",
                    (unsigned)counters_bounds[i], sum);
        else
            fprintf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
    }
    fprintf(out, "%s_latency_seconds_count", k->prefix);
    labels(out, k, x);
    fprintf(out, "} %" PRIu64 "\n%s_latency_seconds_sum", sum, k->prefix);
    labels(out, k, x);
    fprintf(out, "} %" PRIu64 ".%06u\n", x->c.latency_us / 1000000u,
            (unsigned)(x->c.latency_us % 1000000u));
}

static void put_family(FILE *out, const struct gathering *g,
                       const struct kind *k, counter_fn *fn)
{
    for (const struct counted *x = g->first; x != NULL; x = x->next)
        if (x->c.kind == k->letter)
            fn(out, k, x);
}

static void put_kind(FILE *out, const struct gathering *g, const struct kind *k)
{
    static const struct {
        const char *name, *type, *unit, *help;
        counter_fn *fn;
    } families[] = {
        { "recipients", "counter", NULL,
          "Recipients: delivered, deferred (each try) and bounced",
          put_results },
        { "messages", "counter", NULL,
          "Messages delivered, one a transaction or mailbox", put_messages },
        { "bytes", "counter", "bytes", "Size of what was delivered",
          put_octets },
        { "latency_seconds", "histogram", "seconds",
          "From arrival to delivery of a recipient", put_latency },
    };
    char name[64], help[160];

    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        snprintf(name, sizeof name, "%s_%s", k->prefix, families[i].name);
        snprintf(help, sizeof help, "%s%s.", families[i].help, k->of);
        family(out, name, families[i].type, families[i].unit, help);
        put_family(out, g, k, families[i].fn);
    }
}

int queue_metrics_print(const struct options *o, const struct queue_stats *s,
                        FILE *out, struct err *e)
{
    static const struct kind kinds[] = {
        { 'a', "mta_delivery", NULL, "" },
        { 'd', "mta_destination", "destination", ", of the busiest domains" },
        { 's', "mta_sender", "sender", ", of the busiest senders" },
    };
    struct gathering g = { .first = NULL };
    int rc;

    g.end = &g.first;
    rc = gather(&g, o->conf.queue_dir, e);
    if (rc == 0) {
        family(out, "mta_up", "gauge", NULL, "Does the process answer?");
        for (int i = 0; i < SPOOL_QUEUES; i++)
            fprintf(out, "mta_up{process=\"%s\"} %d\n",
                    queue_consumer((enum spool_name)i), g.up[i]);
        put_gauges(out, s);
        put_all_ages(out, s);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            put_kind(out, &g, &kinds[i]);
        fputs("# EOF\n", out);
    }
    forget(&g);
    return rc;
}
