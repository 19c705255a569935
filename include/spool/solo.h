/* spool/solo.h - the inside of a solo segment, for the writer alone. */
#ifndef MTA_SPOOL_SOLO_H
#define MTA_SPOOL_SOLO_H

#include "base/list.h"
#include "spool/segment.h"
#include "spool/writer.h"

struct spool_solo {
    struct list link; /* in the writer's turn */
    char dir[SPOOL_DIR_MAX];
    struct segment_file file;
    struct spool_record rec;
    uint32_t crc; /* of envelope and body so far */
    bool published;
};

void spool_writer_take_solo(struct spool_writer *w, struct spool_solo *s);
const char *spool_writer_dir(const struct spool_writer *w);
/* Where the last commit has put its i-th message. */
uint64_t spool_writer_segment(const struct spool_writer *w);
uint64_t spool_writer_placed(const struct spool_writer *w, size_t i);
int spool_solo_sync(struct spool_solo *s, struct err *e);
int spool_solo_publish(struct spool_solo *s, struct err *e);
void spool_solo_release(struct spool_solo **s); /* it is in the queue */
#endif
