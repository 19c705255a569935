/* cli/log_story.h - the path of one message through the processes, from the
 * lines of the log. */
#ifndef MTA_CLI_LOG_STORY_H
#define MTA_CLI_LOG_STORY_H

#include "log/show.h"

/* Print how the message was received, and what became of it, part by part, with
 * the sessions that carried it; or, if what->line is set, call that for each of
 * these lines, in the order of the log.  what: the file, and which rotated ones
 * are left out; its filter has the id, and perhaps since.  1; 0: the log has no
 * such message; -1 with *e. */
int log_story(const struct log_show *what, struct err *e);
#endif
