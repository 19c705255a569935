/* send/session_actions.h - guards and actions of a session, for the table in
 * src/send/session_table.c alone.
 *
 * Guards change nothing.  Actions return one further event or FSM_QUIET. */
#ifndef MTA_SEND_SESSION_ACTIONS_H
#define MTA_SEND_SESSION_ACTIONS_H

#include "send/session_private.h"

bool send_guard_is_ourselves(const void *ctx);
bool send_guard_is_lmtp(const void *ctx);
bool send_guard_more_finals(const void *ctx);
bool send_guard_is_piped(const void *ctx);
bool send_guard_some_taken(const void *ctx);
bool send_guard_none_accepted(const void *ctx);
bool send_guard_is_early(const void *ctx);
bool send_guard_has_delivery(const void *ctx);
bool send_guard_may_chunk(const void *ctx);
bool send_guard_is_misfit(const void *ctx);
bool send_guard_has_ahead(const void *ctx);
bool send_guard_is_chunked(const void *ctx);
bool send_guard_is_sending(const void *ctx);
bool send_guard_is_written(const void *ctx);
bool send_guard_knows_no_bdat(const void *ctx);
bool send_guard_is_displaced(const void *ctx);
bool send_guard_was_displaced(const void *ctx);
bool send_guard_may_go_ahead(const void *ctx);

unsigned char send_action_next_delivery(void *ctx);
unsigned char send_action_send_ehlo(void *ctx);
unsigned char send_action_send_helo(void *ctx);
unsigned char send_action_ready(void *ctx);
unsigned char send_action_refuse_misfits(void *ctx);
unsigned char send_action_begin(void *ctx);
unsigned char send_action_pump(void *ctx);
unsigned char send_action_send_rcpt(void *ctx);
unsigned char send_action_go_on(void *ctx);
unsigned char send_action_displace(void *ctx);
unsigned char send_action_refuse_all(void *ctx);
unsigned char send_action_refuse_message(void *ctx);
unsigned char send_action_note_rcpt(void *ctx);
unsigned char send_action_send_data(void *ctx);
unsigned char send_action_send_rset(void *ctx);
unsigned char send_action_refuse_data(void *ctx);
unsigned char send_action_start_body(void *ctx);
unsigned char send_action_send_body(void *ctx);
unsigned char send_action_end_body(void *ctx);
unsigned char send_action_go_ahead(void *ctx);
unsigned char send_action_end_body_go_ahead(void *ctx);
unsigned char send_action_send_dot(void *ctx);
unsigned char send_action_finish(void *ctx);
unsigned char send_action_note_final(void *ctx);
unsigned char send_action_finish_take_ahead(void *ctx);
unsigned char send_action_end_chunk_next(void *ctx);
unsigned char send_action_end_chunk_idle(void *ctx);
unsigned char send_action_end_chunk_rset(void *ctx);
unsigned char send_action_finish_void(void *ctx);
unsigned char send_action_send_quit(void *ctx);
unsigned char send_action_lose(void *ctx);
unsigned char send_action_lose_body(void *ctx);
unsigned char send_action_turn_away(void *ctx);
unsigned char send_action_refuse_early(void *ctx);

/* session_tls.c */
bool send_guard_is_tls_first(const void *ctx);
bool send_guard_may_secure(const void *ctx);
unsigned char send_action_send_starttls(void *ctx);
unsigned char send_action_start_tls(void *ctx);
unsigned char send_action_send_ehlo_again(void *ctx);

/* session_auth.c */
bool send_guard_may_log_in(const void *ctx);
bool send_guard_is_proven(const void *ctx);
unsigned char send_action_send_auth(void *ctx);
unsigned char send_action_go_on_login(void *ctx);
unsigned char send_action_answer_challenge(void *ctx);
unsigned char send_action_log_in(void *ctx);
unsigned char send_action_refuse_login(void *ctx);

/* session_settle.c */
unsigned char send_action_settle(void *ctx);
unsigned char send_action_settle_more(void *ctx);
unsigned char send_action_settle_reply(void *ctx);
unsigned char send_action_unsettled(void *ctx);
#endif
