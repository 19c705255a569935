/* queue/scan.h - from records of the queue to recipients that wait for their
 * place. */
#ifndef MTA_QUEUE_SCAN_H
#define MTA_QUEUE_SCAN_H

#include "queue/queue.h"

/* Take in what is new in the queue.  1: memory is short, or a message could not
 * be read; a later scan goes on.  -1 with *e: a segment could not be read. */
int queue_scan(struct queue *q, struct err *e);
#endif
