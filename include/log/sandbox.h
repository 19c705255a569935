/* log/sandbox.h - the event that names what a process has given up. */
#ifndef MTA_LOG_SANDBOX_H
#define MTA_LOG_SANDBOX_H

#include "base/sandbox.h"

/* Logs sandbox.on. */
void log_sandbox(const struct sandbox_report *r);
#endif
