/* cli/queue_story.h - what happened to a message, from the history of both
 * queues (queue/history.h). */
#ifndef MTA_CLI_QUEUE_STORY_H
#define MTA_CLI_QUEUE_STORY_H

#include "base/err.h"
#include "base/msg_id.h"

#include <stdbool.h>

/* All events in the order of time, as text, a line or more each, or as one JSON
 * array; NULL: there are none.  To be freed.  -1 with *e. */
int queue_story(char **text, bool json, const char *queue_dir, struct msg_id id,
                struct err *e);
#endif
