/* check_port.c - is the way out to port 25 open?  Many networks close it. */
#include "cli/check_smtp.h"

#include "queue/history.h"
#include "smtp/address.h"

#include <stdlib.h>
#include <string.h>

enum { TRIED = 3, COUNTED = 64 };

/* --- domains -------------------------------------------------------------- */

struct counted {
    char domain[SMTP_DOMAIN_MAX + 1];
    unsigned n;
};

struct counting {
    size_t n;
    struct counted item[COUNTED];
};

static int count(void *ctx, const struct history_event *ev)
{
    struct counting *c = ctx;
    size_t at = ev->rcpt.n;

    while (at > 0 && ev->rcpt.p[at - 1] != '@')
        at--;
    struct span domain = { ev->rcpt.p + at, ev->rcpt.n - at };
    if (at == 0 || ev->peer.u.sa.sa_family == 0)
        return 0;
    for (size_t i = 0; i < c->n; i++)
        if (span_is_nocase(domain, c->item[i].domain)) {
            c->item[i].n++;
            return 0;
        }
    if (c->n < COUNTED &&
        span_copy(c->item[c->n].domain, sizeof c->item[c->n].domain, domain))
        c->item[c->n++].n = 1;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    return x->n == y->n ? strcmp(x->domain, y->domain) : x->n < y->n ? 1 : -1;
}

/* Those that most mail went to, by the history; without one, large ones. */
static void choose(struct checking *k, struct counting *out)
{
    static const char *const large[] = { "gmail.com", "outlook.com",
                                         "yahoo.com" };
    const struct history_query all = { NULL, 0 };
    struct err e;

    if (history_read(k->conf->queue_dir, SPOOL_REMOTE, &all, count, out, &e) !=
        0)
        check_say_err(k, "mend that file, or remove it: it is made anew", &e);
    qsort(out->item, out->n, sizeof out->item[0], by_number);
    if (out->n > TRIED)
        out->n = TRIED;
    for (size_t i = 0; out->n == i && i < TRIED; i++)
        snprintf(out->item[out->n++].domain, sizeof out->item[0].domain, "%s",
                 large[i]);
}

/* --- the way -------------------------------------------------------------- */

/* An address of the domain's first host; true: it greets. */
static bool reaches(struct checking *k, const char *domain, char *why,
                    size_t size)
{
    struct mx_result *mx = check_ask_mx(k, domain);
    struct check_talk *t = calloc(1, sizeof *t);
    bool ok = false;

    if (mx == NULL || t == NULL || mx->status != MX_OK) {
        snprintf(why, size, "%s", mx != NULL ? mx->why : "no memory");
    } else {
        const struct mx_host *h = &mx->host[0];
        struct addr at = h->addr[h->naddr - 1]; /* IPv4, if there is one */
        addr_set_port(&at, (uint16_t)k->conf->send.port);
        ok = check_talk_begin(t, k, &at, NULL) == 0;
        snprintf(why, size, "%.200s: %.180s", h->name, ok ? "greets" : t->why);
        check_talk_end(t);
    }
    free(mx);
    free(t);
    return ok;
}

static void try_all(struct checking *k, const struct counting *c)
{
    char why[400] = "", names[3 * SMTP_DOMAIN_MAX + 32];
    struct buf b = BUF_ON(names);

    for (size_t i = 0; i < c->n; i++) {
        buf_addf(&b, "%s%s", i > 0 ? ", " : "", c->item[i].domain);
        if (reaches(k, c->item[i].domain, why, sizeof why)) {
            check_say(k, CHECK_OK, NULL, "port %lld out is open (%s)",
                      k->conf->send.port, why);
            return;
        }
    }
    check_say(k, CHECK_WARNING,
              "ask the provider to open it, or send by a smarthost "
              "(send.relay_host)",
              "port %lld out seems closed: no host of %s greets (%s)",
              k->conf->send.port, names, why);
}

void check_port(struct checking *k)
{
    struct counting *c;

    if (check_is_relayed(k) || (c = calloc(1, sizeof *c)) == NULL)
        return;
    choose(k, c);
    try_all(k, c);
    free(c);
}
