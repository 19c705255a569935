/* serve/session.h - the receiving side of one SMTP session (RFC 5321).
 *
 * A session depends on its env alone, not on its process: settings,
 * connections, the checks of policy/, and callbacks.  src/serve/session_table.c
 * has its states and events.  For one loop; not for threads.
 *
 * Once started, a session ends by itself; ended() is then called once, from the
 * loop or from conn_flush_all(), and the owner frees it when the turn of the
 * loop is over. */
#ifndef MTA_SERVE_SESSION_H
#define MTA_SERVE_SESSION_H

#include "base/addr.h"
#include "base/list.h"
#include "base/msg_id.h"
#include "config/conf.h"
#include "fsm/fsm.h"
#include "net/conn.h"
#include "net/tls.h"
#include "policy/policy.h"
#include "recipient/full_page.h"
#include "recipient/relay.h"
#include "recipient/resolve.h"
#include "serve/transaction.h"
#include "smtp/command.h"

extern const struct fsm serve_session_fsm;

struct serve_session;

/* Shared by all sessions of a process.  A callback never calls back into a
 * session before it returns. */
struct serve_env {
    const struct conf *conf;
    struct conn_env *conns;
    struct policy_env policy;
    struct pool *bodies;                       /* blocks of texts */
    struct spool_writer *writer[SPOOL_QUEUES]; /* for large texts */
    const struct full_page *full;              /* NULL: not known */
    struct tls_context *tls;    /* NULL: there is none, now or at all */
    bool stopping;              /* finish open transactions, then 421 */
    unsigned transactions;      /* open now */
    unsigned unknown_delay_ms;  /* see serve.max_unknown; 1000 */
    unsigned min_rate_after_ms; /* see serve.min_rate; 60,000 */

    bool (*is_trusted)(void *ctx, const struct addr *peer);
    bool (*has_domain)(void *ctx, struct span domain);
    /* As local_check().  After LOCAL_WAIT: serve_env_answered(). */
    enum local_verdict (*check_local)(void *ctx, struct span local,
                                      struct span domain,
                                      char key[LOCAL_KEY_MAX]);
    /* As relay_check(); NULL: there are no relay domains. */
    enum relay_verdict (*check_relay)(void *ctx, struct span local,
                                      struct span domain);
    /* Count one more unknown recipient of that client; returns the sum. */
    unsigned (*count_unknown)(void *ctx, const struct addr *peer);
    int (*new_id)(void *ctx, enum spool_name queue, struct msg_id *id,
                  struct err *e);
    int (*has_room)(void *ctx, uint64_t size, struct err *e);
    /* Takes the transaction over; serve_session_committed() follows. */
    void (*submit)(void *ctx, struct serve_transaction *t);
    void (*ended)(void *ctx, struct serve_session *s);
    void *ctx;

    /* Made by serve_env_open(): */
    struct fsm_index fsm;
    struct smtp_command command; /* of the session that runs */
    unsigned extra_commands;     /* bits by enum smtp_verb */
    struct list asking;          /* sessions whose recipient is looked up */
    struct err tls_error;        /* of the handshake that just failed */
    char *decoded;               /* text between decoder and transaction */
};

/* The owner has set the upper part except the two times. */
int serve_env_open(struct serve_env *env, struct err *e);
void serve_env_close(struct serve_env *env);

/* Users may be known now: the sessions that wait for one look again. */
void serve_env_answered(struct serve_env *env);

/* roles: those of its listener, bits of enum conf_role.  NULL: no memory. */
struct serve_session *serve_session_new(struct serve_env *env,
                                        const struct addr *peer,
                                        unsigned roles);

/* Takes fd over, even on failure.  After -1 with *e the session can only be
 * freed. */
int serve_session_start(struct serve_session *s, int fd, struct err *e);

/* The process stops (env->stopping is set): reply 421, after the open
 * transaction if there is one. */
void serve_session_stop(struct serve_session *s);

/* Accepts NULL; leaves NULL.  A connection that is still open is closed. */
void serve_session_free(struct serve_session **s);

/* Complete a transaction given to submit(); why: NULL, it is in the queue.  The
 * owner frees it afterwards. */
void serve_session_committed(struct serve_transaction *t,
                             const struct err *why);

/* For the owner's list of sessions. */
struct list *serve_session_link(struct serve_session *s);
struct serve_session *serve_session_of_link(struct list *l);
const struct addr *serve_session_peer(const struct serve_session *s);

/* The last reply is queued and waits for the client to read it. */
bool serve_session_is_over(const struct serve_session *s);
#endif
