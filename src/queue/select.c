#include "queue/select.h"

struct span queue_domain_of(struct span address)
{
    size_t n = address.n;

    while (n > 0 && address.p[n - 1] != '@')
        n--;
    return (struct span){ address.p + n, n > 0 ? address.n - n : 0 };
}

static bool ends_in(struct span domain, struct span tail)
{
    if (domain.n <= tail.n)
        return false;
    domain.p += domain.n - tail.n;
    domain.n = tail.n;
    return span_eq_nocase(domain, tail);
}

static bool is_domain(struct span domain, struct span wanted)
{
    return wanted.p[0] == '.' ? ends_in(domain, wanted)
                              : span_eq_nocase(domain, wanted);
}

bool queue_select_address(const struct queue_select *s, struct span address)
{
    return s->domain.n == 0 || is_domain(queue_domain_of(address), s->domain);
}

bool queue_select_id(const struct queue_select *s, struct msg_id id)
{
    for (unsigned i = 0; i < s->nids; i++)
        if (msg_id_eq(s->id[i], id))
            return true;
    return s->nids == 0;
}

/* "<a@b>" is an address too. */
bool queue_select_sender(const struct queue_select *s, struct span path)
{
    struct span wanted = s->sender;

    if (wanted.n == 0)
        return true;
    if (wanted.n > 1 && wanted.p[0] == '<' && wanted.p[wanted.n - 1] == '>') {
        wanted.p++;
        wanted.n -= 2;
    }
    if (wanted.n > 1 && wanted.p[0] == '@')
        return is_domain(queue_domain_of(path),
                         (struct span){ wanted.p + 1, wanted.n - 1 });
    return span_eq_nocase(path, wanted);
}
