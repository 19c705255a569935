/* fuzz_dns.c - any bytes as the answer to a question.
 *
 * The first byte chooses what was asked; the id is copied into the message
 * and so is the question when the second byte says so, or else hardly any
 * input would get past the first checks. */
#include "dns/message.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_PTR,
                                       DNS_TXT };

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    static struct dns_parsed parsed;
    static unsigned char msg[65535];
    unsigned char query[DNS_QUERY_BYTES];
    char name[DNS_NAME_MAX];

    if (n < 2 || n - 2 > sizeof msg)
        return 0;
    struct dns_question q = { "a.test", types[data[0] % 5], 0x1234, true, 0 };
    int len = dns_message_query(query, &q);
    size_t fixed = len > 11 ? (size_t)len - 11 : 0; /* without OPT */
    memcpy(msg, data + 2, n - 2);
    n -= 2;
    if ((data[1] & 1) != 0 && n >= fixed) {
        memcpy(msg, query, 2);
        memcpy(msg + 4, query + 4, 2);
        memcpy(msg + 12, query + 12, fixed - 12);
        msg[2] = (unsigned char)(0x80 | (msg[2] & 2));
    }
    dns_message_parse(&parsed, &q, msg, n);
    if (parsed.found.n > DNS_RR_MAX || parsed.hops > DNS_CHAIN_MAX + 1)
        __builtin_trap();
    for (size_t i = 0; i < parsed.found.n; i++)
        if (parsed.found.rr[i].name[0] != '\0' &&
            !dns_name_normal(name, parsed.found.rr[i].name))
            __builtin_trap();
    return 0;
}
