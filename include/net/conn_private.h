/* net/conn_private.h - what the three files of a conn share: conn.c (life and
 * deadline), conn_in.c and conn_out.c.  For these alone. */
#ifndef MTA_NET_CONN_PRIVATE_H
#define MTA_NET_CONN_PRIVATE_H

#include "net/conn.h"

/* Watch for what the state asks for.  After any change of it. */
void conn_set_want(struct conn *c);

/* Stop all and say CONN_FAILED. */
void conn_fail(struct conn *c, int why);

/* conn_in.c: one read, shown to the owner; the same for bytes that wait
 * since a pause; a read whose bytes are dropped; the starved look again. */
void conn_read(struct conn *c);
void conn_show_waiting(struct conn *c);
void conn_drain(struct conn *c);
void conn_forget_input(struct conn *c);
void conn_feed_starved(struct conn_env *env);

/* conn_out.c: see that the next conn_flush_all() visits c; visit it now. */
void conn_mark_dirty(struct conn *c);
void conn_flush(struct conn *c);
#endif
