#include "dns/servers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DNS_PORT = 53 };

static const char resolv_conf[] = "/etc/resolv.conf";

static void add(struct dns_servers *s, const struct addr *a)
{
    if (s->n < DNS_SERVERS_MAX)
        s->s[s->n++] = (struct dns_server){ .addr = *a, .last_until = 0 };
}

/* The word after "nameserver"; empty when the line is another one. */
static struct span server_word(const char *line)
{
    static const char key[] = "nameserver";
    struct span rest = { line + strcspn(line, "\n"), 0 };

    if (strncmp(line, key, sizeof key - 1) != 0)
        return rest;
    line += sizeof key - 1;
    size_t blanks = strspn(line, " \t");
    if (blanks == 0)
        return rest;
    rest.p = line + blanks;
    rest.n = strcspn(rest.p, " \t\r\n");
    return rest;
}

int dns_servers_read(struct dns_servers *s, const char *path, struct err *e)
{
    char line[512];
    struct addr a;
    FILE *f = fopen(path, "re");
    int rc = -1;

    if (f == NULL)
        return err_set(e, ERR_TEMP, errno, "open %s", path);
    while (fgets(line, sizeof line, f) != NULL) {
        struct span word = server_word(line);
        if (word.n > 0 && addr_parse_ip(&a, word, DNS_PORT))
            add(s, &a);
    }
    if (ferror(f))
        err_set(e, ERR_TEMP, errno, "read %s", path);
    else
        rc = 0;
    fclose(f);
    return rc;
}

int dns_servers_set(struct dns_servers *s, const struct addr *given, size_t n,
                    struct err *e)
{
    struct addr a;
    struct err why;

    s->n = 0;
    for (size_t i = 0; i < n; i++)
        add(s, &given[i]);
    if (n == 0 && dns_servers_read(s, resolv_conf, &why) != 0 &&
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
