/* worker_env.c - the callbacks of serve_env, as a worker implements them. */
#include "serve/worker.h"

#include "base/clock.h"
#include "spool/space.h"

static bool is_trusted(void *ctx, const struct addr *peer)
{
    return serve_worker_trusts(ctx, peer);
}

static bool has_domain(void *ctx, struct span domain)
{
    const struct serve_worker *w = ctx;

    return local_has_domain(w->local, domain);
}

static enum local_verdict check_local(void *ctx, struct span local,
                                      struct span domain,
                                      char key[LOCAL_KEY_MAX])
{
    const struct serve_worker *w = ctx;

    return local_check(w->local, local, domain, key);
}

static enum relay_verdict check_relay(void *ctx, struct span local,
                                      struct span domain)
{
    const struct serve_worker *w = ctx;

    return relay_check(w->relay, local, domain);
}

static unsigned count_unknown(void *ctx, const struct addr *peer)
{
    struct serve_worker *w = ctx;

    return unknown_count(w->shared->unknown, peer, clock_mono_ms());
}

static int new_id(void *ctx, enum spool_name queue, struct msg_id *id,
                  struct err *e)
{
    struct serve_worker *w = ctx;

    return spool_writer_new_id(w->sessions_env.writer[queue], id, e);
}

/* Both must have room: at MAIL the queue is not known yet. */
static int has_room(void *ctx, uint64_t size, struct err *e)
{
    struct serve_worker *w = ctx;

    for (int q = 0; q < SPOOL_QUEUES; q++)
        if (spool_space_has(w->sessions_env.writer[q], size, e) != 0)
            return -1;
    return 0;
}

static void submit(void *ctx, struct serve_transaction *t)
{
    struct serve_worker *w = ctx;

    serve_commit_submit(w->commit, t);
}

static void ended(void *ctx, struct serve_session *s)
{
    struct serve_worker *w = ctx;

    clients_remove(w->shared->clients, w->row, serve_session_peer(s));
    w->nsessions--;
    list_remove(serve_session_link(s));
    list_push(&w->dead, serve_session_link(s));
}

int serve_worker_open_env(struct serve_worker *w, struct err *e)
{
    w->sessions_env = (struct serve_env){
        .conf = w->conf,
        .conns = &w->env,
        .policy = { .checks = policy_checks,
                    .nchecks = policy_nchecks,
                    .loop = w->loop,
                    .dns = w->dns,
                    .rdns = (enum conf_rdns)w->conf->serve.rdns,
                    .name_wait_ms = POLICY_NAME_WAIT_MS,
                    .ask_name = fcrdns_ask,
                    .cancel_name = fcrdns_cancel },
        .bodies = w->bodies,
        .writer = { [SPOOL_LOCAL] = serve_commit_writer(w->commit, SPOOL_LOCAL),
                    [SPOOL_REMOTE] =
                        serve_commit_writer(w->commit, SPOOL_REMOTE) },
        .full = w->shared->full,
        .is_trusted = is_trusted,
        .has_domain = has_domain,
        .check_local = check_local,
        .check_relay = w->conf->serve.relay_domains.n > 0 ? check_relay : NULL,
        .count_unknown = count_unknown,
        .new_id = new_id,
        .has_room = has_room,
        .submit = submit,
        .ended = ended,
        .ctx = w,
    };
    return serve_env_open(&w->sessions_env, e);
}
