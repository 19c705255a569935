/* base/rnd.h - random numbers that a peer cannot guess.
 *
 * From the kernel, fetched in small batches; each process and thread has
 * its own batch, thrown away after fork().  A process to which the kernel
 * gives none ends. */
#ifndef MTA_BASE_RND_H
#define MTA_BASE_RND_H

#include <stddef.h>
#include <stdint.h>

void rnd_bytes(void *out, size_t n);
uint32_t rnd_u32(void);
uint64_t rnd_u64(void);
uint32_t rnd_below(uint32_t limit); /* 0 .. limit-1, without bias; limit > 0 */
#endif
