/* dns/cache.h - keep answers for as long as their TTL allows.
 *
 * For the resolver alone.  Bounded in answers and in bytes; the least recently
 * used answer is dropped first.  Names are as dns_name_normal() made them.  The
 * clock is the caller's, in ms. */
#ifndef MTA_DNS_CACHE_H
#define MTA_DNS_CACHE_H

#include "dns/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dns_cache;

/* Bytes that an answer may take on average; max times that is the bound. */
enum { DNS_CACHE_BYTES = 512 };

int dns_cache_new(struct dns_cache **c, size_t max, struct err *e);
void dns_cache_free(struct dns_cache **c); /* accepts NULL; leaves NULL */

/* True when there is a live answer; it is copied to *out with the TTLs that
 * are left, unless out is NULL. */
bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type type,
                   uint64_t now, struct dns_found *out);

/* Add an answer, dropping others if needed; without memory the new one is
 * dropped.  An answer with TTL 0 is not kept. */
void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type type,
                   uint64_t now, const struct dns_found *found);

/* Drop the answers without records: what was asked may exist by now. */
void dns_cache_forget_negative(struct dns_cache *c);

size_t dns_cache_count(const struct dns_cache *c);
size_t dns_cache_bytes(const struct dns_cache *c);
#endif
