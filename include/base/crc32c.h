/* base/crc32c.h - CRC-32C (Castagnoli), the checksum of iSCSI and ext4. */
#ifndef MTA_BASE_CRC32C_H
#define MTA_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0; feed the result of one piece into the next. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

/* The same without the processor's own instruction, for a test that compares
 * the two. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t n);
#endif
