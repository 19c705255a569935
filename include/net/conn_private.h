/* net/conn_private.h - shared by the files of a conn: conn.c (start, deadline,
 * end), conn_in.c, conn_out.c, and conn_tls.c between these and tls_stream.c.
 * For these alone. */
#ifndef MTA_NET_CONN_PRIVATE_H
#define MTA_NET_CONN_PRIVATE_H

#include "net/conn.h"
#include "net/tls_private.h"

/* Watch the descriptor for the events that the state needs.  Call it after any
 * change of the state. */
void conn_set_want(struct conn *c);

/* Stop all and send CONN_FAILED to the owner. */
void conn_fail(struct conn *c, int why);

/* conn_in.c: read once and show the bytes to the owner; show bytes kept since a
 * pause; read and drop; read the starved again. */
void conn_read(struct conn *c);
void conn_show_waiting(struct conn *c);
void conn_drain(struct conn *c);
void conn_forget_input(struct conn *c);
void conn_feed_starved(struct conn_env *env);
void conn_end_of_input(struct conn *c);

/* Send CONN_INPUT; keep in blocks what the owner leaves in the scratch buffer
 * (-1: no block is left, the input is lost). */
void conn_show(struct conn *c);
int conn_put_away(struct conn_env *env);

/* Show n bytes behind those kept, which are in the scratch buffer behind room
 * for the latter. */
void conn_take(struct conn *c, size_t have, size_t n);

/* Let conn_show_waiting() be called in the next turn. */
void conn_show_soon(struct conn *c);

/* conn_out.c: let the next conn_flush_all() visit c; visit it now. */
void conn_mark_dirty(struct conn *c);
void conn_flush(struct conn *c);

/* Write now what the socket accepts; a failure waits for conn_flush(). */
void conn_try_now(struct conn *c);

/* Send a record: how much the socket accepts, 0 with c->blocked or c->error. */
size_t conn_send(struct conn *c, const char *from, size_t n);

/* Is there output, in whatever form, that the socket has not accepted? */
bool conn_has_output(const struct conn *c);

/* conn_tls.c, of a conn in TLS: take `got` bytes from the wire, which are in
 * the scratch buffer behind room for `have` and for t->raw; then the same for
 * kept in t->raw; is there anything to show without more from the wire? */
void conn_tls_take(struct conn *c, size_t have, size_t got);
void conn_tls_show_waiting(struct conn *c);
bool conn_tls_is_waiting(const struct conn *c);

/* Is it the turn of other handshakes? */
bool conn_tls_must_wait(const struct conn *c);
void conn_tls_end_turn(struct conn_env *env);

/* The end of the stream came. */
void conn_tls_cut(struct conn *c);

/* Seal what may leave: false when it failed, with c->error. */
bool conn_tls_seal(struct conn *c);
#endif
