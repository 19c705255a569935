#include "dns/servers.h"

#include "base/handdown.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void add(struct dns_servers *s, const struct addr *a)
{
    if (s->n < DNS_SERVERS_MAX)
        s->s[s->n++] = (struct dns_server){ .addr = *a, .last_until = 0 };
}

/* The word after "nameserver"; empty for other lines. */
static struct span server_word(struct span line)
{
    static const char key[] = "nameserver";
    struct span rest = { line.p + sizeof key - 1, 0 };

    if (line.n < sizeof key || memcmp(line.p, key, sizeof key - 1) != 0 ||
        (*rest.p != ' ' && *rest.p != '\t'))
        return (struct span){ line.p, 0 };
    rest.n = line.n - (sizeof key - 1);
    rest = span_trim(rest);
    for (size_t i = 0; i < rest.n; i++)
        if (strchr(" \t\r", rest.p[i]) != NULL)
            rest.n = i;
    return rest;
}

int dns_servers_read(struct dns_servers *s, const char *path, struct err *e)
{
    struct span rest;
    struct addr a;
    char *text;

    if (handdown_read(&text, &rest.n, path, e) != 0)
        return -1;
    for (rest.p = text; rest.n > 0;) {
        struct span line = { rest.p, span_find(rest, '\n') };
        size_t past = line.n + (line.n < rest.n);
        struct span word = server_word(line);
        if (word.n > 0 && addr_parse_ip(&a, word, DNS_PORT))
            add(s, &a);
        rest = (struct span){ rest.p + past, rest.n - past };
    }
    free(text);
    return 0;
}

int dns_servers_set(struct dns_servers *s, const struct addr *given, size_t n,
                    struct err *e)
{
    struct addr a;
    struct err why;

    s->n = 0;
    for (size_t i = 0; i < n; i++)
        add(s, &given[i]);
    if (n == 0 && dns_servers_read(s, DNS_RESOLV_CONF, &why) != 0 &&
        why.sys != ENOENT) {
        if (e != NULL)
            *e = why;
        return -1;
    }
    if (s->n == 0 && addr_parse_ip(&a, SPAN_LIT("127.0.0.1"), DNS_PORT))
        add(s, &a);
    return 0;
}

static size_t first_of(const struct dns_servers *s, unsigned without,
                       uint64_t now)
{
    for (size_t i = 0; i < s->n; i++)
        if ((without >> i & 1) == 0 && s->s[i].last_until <= now)
            return i;
    return s->n;
}

size_t dns_servers_pick(const struct dns_servers *s, unsigned spent,
                        unsigned tried, uint64_t now)
{
    size_t i = first_of(s, spent | tried, now);

    if (i == s->n)
        i = first_of(s, spent | tried, UINT64_MAX);
    if (i == s->n)
        i = first_of(s, spent, now);
    if (i == s->n)
        i = first_of(s, spent, UINT64_MAX);
    return i;
}
