#include "log/sandbox.h"

#include "log/log.h"

/* A kernel without Landlock is no fault; one without the other two leaves a
 * process all that its user may do. */
void log_sandbox(const struct sandbox_report *r)
{
    bool most = r->seccomp && r->no_new_privileges;

    LOG(most ? LOG_INFO : LOG_WARN, "sandbox.on", LS("process", r->process),
        LS("seccomp", r->seccomp ? "yes" : "no"), LN("landlock", r->landlock),
        LS("error", r->why.kind != ERR_NONE ? r->why.text : NULL));
}
