/* net/conn_private.h - shared by the three files of a conn: conn.c (start,
 * deadline, end), conn_in.c and conn_out.c.  For these alone. */
#ifndef MTA_NET_CONN_PRIVATE_H
#define MTA_NET_CONN_PRIVATE_H

#include "net/conn.h"

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

/* conn_out.c: let the next conn_flush_all() visit c; visit it now. */
void conn_mark_dirty(struct conn *c);
void conn_flush(struct conn *c);
#endif
