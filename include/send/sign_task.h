/* send/sign_task.h - a message that is to get its DKIM signatures.  For
 * src/send alone. */
#ifndef MTA_SEND_SIGN_TASK_H
#define MTA_SEND_SIGN_TASK_H

#include "base/list.h"
#include "queue/delivery.h"
#include "spool/reader.h"

/* The signing thread has it from sign_thread_give() until it comes back. */
struct sign_task {
    struct list link;
    /* The message, whose body is pinned meanwhile: */
    struct spool_record rec;
    struct spool_reader reader; /* of rec */
    struct body body;
    /* What has become of it: */
    struct answer why; /* outcome not NONE, or misconfigured: it failed */
    bool stopped;      /* not done, because the sender ends */
    char *text;        /* whole fields; NULL: it goes as it is */
    size_t n;
};
#endif
