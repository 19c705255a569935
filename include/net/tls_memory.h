/* net/tls_memory.h - where OpenSSL keeps its large buffers.
 *
 * A handshake holds some 30 KiB of them until it ends, and what a session needs
 * for its life is allocated meanwhile.  In the heap the former leave a hole
 * between the latter for each handshake that was under way at once, for as long
 * as the sessions live.  So they are in slots of their own, of which the freed
 * ones go back to the system. */
#ifndef MTA_NET_TLS_MEMORY_H
#define MTA_NET_TLS_MEMORY_H

#include <stdbool.h>

/* In main(), before anything uses OpenSSL.  False: something has; then the
 * buffers are in the heap. */
bool tls_memory_start(void);
#endif
