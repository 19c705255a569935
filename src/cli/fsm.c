/* fsm.c - `mta fsm`: draw a state machine from its table. */
#include "cli/commands.h"

#include "send/session.h"
#include "serve/session.h"

#include <string.h>
#include <sysexits.h>

int cmd_fsm(int argc, char **argv)
{
    const char *which = argc == 2 ? argv[1] : "";

    if (strcmp(which, "server") == 0)
        fsm_dot(&serve_session_fsm, stdout);
    else if (strcmp(which, "client") == 0)
        fsm_dot(&send_session_fsm, stdout);
    else {
        fputs("mta fsm: write server or client\nTry 'mta help fsm'.\n", stderr);
        return EX_USAGE;
    }
    return EX_OK;
}
