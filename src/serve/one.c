#include "serve/one.h"

#include "log/log.h"
#include "serve/worker.h"

#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 4096 };

/* A worker without listeners, signals and line.  Names are looked up at once:
 * nothing else waits. */
static int open_parts(struct serve_worker *w, struct serve_shared *shared,
                      struct err *e)
{
    const struct conf *c = w->conf;

    if (clients_new(&shared->clients, 1, e) != 0 ||
        loop_new(&w->loop, NULL, e) != 0 ||
        conn_env_init(&w->env, w->loop, BLOCKS, e) != 0 ||
        local_open(&w->local, &c->local, e) != 0 ||
        relay_open(&w->relay, &c->serve.relay_domains,
                   c->local.recipient_delimiter, e) != 0 ||
        serve_commit_open(&w->commit, c->queue_dir, serve_session_committed,
                          e) != 0)
        return -1;
    /* All users exist here: root has become the owner of the queue, and the
     * processes that deliver run as root. */
    local_see_all(w->local);
    w->bodies = chain_pool_new(BLOCKS);
    if (w->bodies == NULL)
        return err_set(e, ERR_TEMP, 0, "no memory for a session");
    return serve_worker_open_env(w, e);
}

static void close_parts(struct serve_worker *w, struct serve_shared *shared)
{
    struct list *l;

    while ((l = list_pop(&w->sessions)) != NULL ||
           (l = list_pop(&w->dead)) != NULL) {
        struct serve_session *s = serve_session_of_link(l);
        serve_session_free(&s);
    }
    serve_commit_close(&w->commit);
    relay_close(&w->relay);
    local_close(&w->local);
    conn_env_done(&w->env);
    pool_free(&w->bodies);
    loop_free(&w->loop);
    serve_env_close(&w->sessions_env);
    clients_free(&shared->clients);
}

static int start(struct serve_worker *w, int fd, uid_t user, struct err *e)
{
    struct addr peer;

    addr_from_uid(&peer, (uint32_t)user, "sendmail");
    struct serve_session *s = serve_session_new(&w->sessions_env, &peer, 0);
    if (s == NULL) {
        close(fd);
        return err_set(e, ERR_TEMP, 0, "no memory for a session");
    }
    list_push(&w->sessions, serve_session_link(s));
    w->nsessions++;
    clients_add(w->shared->clients, 0, &peer);
    return serve_session_start(s, fd, e);
}

static int serve(struct serve_worker *w, struct err *e)
{
    while (!list_empty(&w->sessions)) {
        int wait = serve_commit_waiting(w->commit) > 0 ? 0 : -1;
        if (loop_turn(w->loop, wait, e) < 0)
            return -1;
        serve_commit_run(w->commit);
        (void)log_flush_wait();
        conn_flush_all(&w->env);
    }
    return 0;
}

int serve_one(const struct conf *c, int fd, uid_t user, struct err *e)
{
    struct serve_shared shared = { .conf = c };
    struct serve_worker *w = calloc(1, sizeof *w);
    int rc = -1;

    if (w == NULL) {
        close(fd);
        return err_set(e, ERR_TEMP, 0, "no memory for a session");
    }
    w->conf = c;
    w->shared = &shared;
    list_init(&w->sessions);
    list_init(&w->dead);
    if (open_parts(w, &shared, e) == 0)
        rc = start(w, fd, user, e) == 0 ? serve(w, e) : -1;
    else
        close(fd);
    close_parts(w, &shared);
    free(w);
    return rc;
}
