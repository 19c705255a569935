/* check_token.c - a token by the command of send.relay_token, as a running
 * sender gets it. */
#include "cli/check.h"

#include "base/line.h"
#include "base/os.h"
#include "send/route.h"
#include "send/token.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fetching {
    bool done, failed;
    char why[400];
};

static void on_token(void *ctx, const char *error)
{
    struct fetching *f = ctx;

    f->done = true;
    f->failed = error != NULL;
    snprintf(f->why, sizeof f->why, "%s", error != NULL ? error : "");
}

/* -1 with *e: nothing can be asked. */
static int ask(struct checking *k, struct logins *l, int pair,
               struct fetching *f)
{
    struct err e;

    logins_attach(l, k->loop, on_token, f);
    logins_use_pair(l, pair);
    f->done = logins_ready(l, ROUTE_RELAY_USER);
    if (!check_wait(k, &f->done, &e))
        on_token(f, e.text);
    return f->failed ? -1 : 0;
}

static pid_t start(const struct conf *c, int end[2], struct err *e)
{
    if (line_pair(end, e) != 0)
        return -1;
    pid_t pid = os_fork();
    if (pid == 0) {
        close(end[1]);
        _exit(token_answer(c, end[0], e) != 0);
    }
    int why = errno;
    close(end[0]);
    if (pid < 0) {
        close(end[1]);
        err_set(e, ERR_TEMP, why, "fork for %s", c->send.relay_token.path);
    }
    return pid;
}

/* The command runs with the ids of `user`, which only root can take. */
static bool may_run(const struct conf *c)
{
    uid_t uid;
    gid_t gid;

    return geteuid() == 0 ||
           (os_find_ids(c->user, NULL, &uid, &gid, NULL) == 0 &&
            (uid == (uid_t)-1 || uid == geteuid()));
}

int check_fetch_token(struct checking *k, struct logins *l)
{
    const char *path = k->conf->send.relay_token.path;
    struct fetching f = { .done = false };
    struct err e;
    int end[2];

    if (!may_run(k->conf)) {
        check_say(k, CHECK_WARNING, "run it as root",
                  "%s prints a token for our login, and runs as user %s: it "
                  "was not tried",
                  path, k->conf->user);
        return -1;
    }
    pid_t pid = start(k->conf, end, &e);
    if (pid < 0) {
        check_say(k, CHECK_WARNING, "try again", "%s", e.text);
        return -1;
    }
    int rc = ask(k, l, end[1], &f);
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (rc != 0)
        check_say(k, CHECK_FAULT,
                  "run it as the user of mta: it must print a token within "
                  "30 s and end with status 0",
                  "no token for our login: %s", f.why);
    return rc;
}
