/* net/conn.h - a byte stream on a loop: buffered, with one deadline.
 *
 * The owner gets events and never calls read() or write().  Input is read into
 * one scratch buffer shared by all connections of the loop and shown to the
 * owner in one piece per CONN_INPUT; unconsumed input is kept in pool blocks.
 * So a connection with nothing in flight holds no buffer.  Output is a chain of
 * blocks, written when the owner's turn ends (conn_flush_all()) or when it
 * grows beyond 64 KiB.  TLS (net/tls.h) is inside: the bytes here are plain. */
#ifndef MTA_NET_CONN_H
#define MTA_NET_CONN_H

#include "base/addr.h"
#include "base/chain.h"
#include "base/err.h"
#include "base/span.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum conn_event {
    CONN_CONNECTED, /* after conn_dial(): the peer has accepted */
    CONN_INPUT,     /* conn_input() has bytes; conn_consume() removes them */
    CONN_DRAINED,   /* output fell below the low mark after being above it */
    CONN_EOF,       /* the peer will send no more; all input was shown */
    CONN_FAILED,    /* see conn->error; the last event: close it */
    CONN_TIMEOUT,   /* the deadline passed */
    CONN_SECURED    /* after conn_start_tls(): the handshake is over */
};

/* Shared by the connections of one loop. */
struct conn_env {
    struct loop *loop;
    struct pool *blocks; /* chain_pool_new() */
    char *scratch;       /* has room for a record of TLS behind its end */
    size_t scratch_size;
    char *record;         /* plain text of one record; NULL until TLS */
    struct conn *shown;   /* whose input is in scratch, or NULL */
    struct conn *showing; /* which gets CONN_INPUT now, or NULL */
    struct chain spare;   /* blocks reserved for its unconsumed input */
    struct list dirty;    /* connections with unwritten output */
    struct list starved;  /* not read: no blocks to keep input in */
    struct {
        uint64_t us;     /* that they took in this turn */
        int first, last; /* descriptors: of this turn, that ran last */
    } handshakes;
    struct loop_timer again; /* the loop must not sleep while one is dirty */
};

enum { CONN_SCRATCH = 64 * 1024, CONN_LOW = 16 * 1024, CONN_HIGH = 64 * 1024 };

/* Reading stops while no more than CONN_RESERVE blocks are free, which replies
 * need; so max_blocks must be more. */
enum { CONN_RESERVE = 4, CONN_LINGER_MS = 30 * 1000 };
int conn_env_init(struct conn_env *env, struct loop *loop, size_t max_blocks,
                  struct err *e);
void conn_env_done(struct conn_env *env); /* after all conns are closed */

struct conn; /* open only so that owners can embed it */
typedef void conn_fn(struct conn *c, enum conn_event ev);

struct conn {
    struct loop_io io;
    struct loop_timer timer;
    struct list dirty, hungry; /* in env->dirty, env->starved */
    struct conn_env *env;
    conn_fn *fn;
    struct conn_tls *tls; /* NULL in clear */
    struct chain in, out; /* unconsumed input; unwritten output */
    struct span shown;    /* during CONN_INPUT */
    uint64_t deadline;    /* ms; the timer may fire early and be set again */
    int error;            /* of CONN_FAILED, perhaps set before the event */
    bool paused, connecting, eof, closing, failed;
    bool drained_owed; /* output was high; CONN_DRAINED is pending */
    bool blocked;      /* the socket accepts no more now */
    bool starved, resumed;
    bool joins;  /* show what waits before output is written */
    bool parted; /* conn_part() */
};

/* Take over a connected descriptor that is non-blocking, as those of
 * net_accept() are.  On failure the descriptor is still the caller's. */
int conn_open(struct conn *c, struct conn_env *env, int fd, conn_fn *fn,
              struct err *e);

/* Start to connect; CONN_CONNECTED, CONN_FAILED or CONN_TIMEOUT follows,
 * never before the return; -1 when it failed at once. */
int conn_dial(struct conn *c, struct conn_env *env, const struct addr *to,
              conn_fn *fn, struct err *e);

/* Close at once; unwritten output is dropped, and the connection is reset if
 * there was any; no event follows.  A conn may be closed inside its own fn, but
 * its memory must stay until loop_turn() or conn_flush_all() has returned.
 * Closing a closed conn does nothing. */
void conn_close(struct conn *c);
bool conn_is_open(const struct conn *c);

/* Write the queued output, shut down, then read and drop input until the peer
 * ends too, so that no reset destroys output it has not read.  CONN_EOF or
 * CONN_FAILED reports the end; CONN_TIMEOUT comes at the deadline set, else
 * after CONN_LINGER_MS. */
void conn_close_after_output(struct conn *c);

/* The same for a peer that sends nothing more: CONN_EOF comes as soon as the
 * output is written, without a wait for the peer's end.  The output leaves with
 * the conn_close() that the owner calls on CONN_EOF. */
void conn_part(struct conn *c);

/* All bytes received and not consumed, in one piece; valid until the next
 * call on this conn or conn_input() on another of the loop.  It may be asked
 * for outside CONN_INPUT too.  An owner that consumes nothing of CONN_SCRATCH
 * bytes gets CONN_FAILED with ENOBUFS. */
struct span conn_input(struct conn *c);
void conn_consume(struct conn *c, size_t n);

/* Is there input, in memory or in the socket? */
bool conn_has_input(const struct conn *c);

/* While paused no CONN_INPUT comes and nothing more is read; resuming shows
 * waiting input in the next turn at the latest: outside of CONN_INPUT already
 * before the flush, so that the replies leave together. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* Queue output.  False, with nothing queued, when no blocks are left; then the
 * conn fails (ENOBUFS), because the peer would mistake later output for this.
 * Never calls the owner: conn_flush_all() reports errors. */
bool conn_write(struct conn *c, const void *data, size_t n);
size_t conn_output_waiting(const struct conn *c);

/* Seconds from now until CONN_TIMEOUT; 0: none.  Cheap enough per event. */
void conn_set_timeout(struct conn *c, uint64_t seconds);
void conn_set_timeout_ms(struct conn *c, uint64_t ms);

/* Once per turn: write all that was queued.  Events may come from here, and
 * what is queued meanwhile is written after the next turn, which then does
 * not wait. */
void conn_flush_all(struct conn_env *env);
#endif
