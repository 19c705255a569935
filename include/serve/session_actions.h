/* serve/session_actions.h - guards and actions of a session, for the table in
 * src/serve/session_table.c alone.
 *
 * Guards change nothing.  Actions return one further event or FSM_QUIET. */
#ifndef MTA_SERVE_SESSION_ACTIONS_H
#define MTA_SERVE_SESSION_ACTIONS_H

#include "serve/session_private.h"

bool serve_guard_bad_helo_name(const void *ctx);
bool serve_guard_has_argument(const void *ctx);
bool serve_guard_tls_first(const void *ctx);
bool serve_guard_is_tls(const void *ctx);
bool serve_guard_no_tls(const void *ctx);
bool serve_guard_is_greeted(const void *ctx);
bool serve_guard_all_rcpt_refused(const void *ctx);
bool serve_guard_must_close(const void *ctx);
bool serve_guard_is_slow(const void *ctx);

unsigned char serve_action_reply_banner(void *ctx);
unsigned char serve_action_reply_hello(void *ctx);
unsigned char serve_action_reply_ok(void *ctx);
unsigned char serve_action_reply_noop(void *ctx);
unsigned char serve_action_reset(void *ctx);
unsigned char serve_action_reply_help(void *ctx);
unsigned char serve_action_reply_bye(void *ctx);
unsigned char serve_action_reply_bad_helo(void *ctx);
unsigned char serve_action_reply_helo_first(void *ctx);
unsigned char serve_action_reply_no_vrfy(void *ctx);
unsigned char serve_action_reply_off(void *ctx);
unsigned char serve_action_reply_unknown(void *ctx);
unsigned char serve_action_reply_garbled(void *ctx);
unsigned char serve_action_reply_bare_lf(void *ctx);
unsigned char serve_action_reply_not_smtp(void *ctx);
unsigned char serve_action_reply_early(void *ctx);
unsigned char serve_action_reply_need_mail(void *ctx);
unsigned char serve_action_reply_need_rcpt(void *ctx);
unsigned char serve_action_reply_nested_mail(void *ctx);
unsigned char serve_action_reply_data_syntax(void *ctx);
unsigned char serve_action_reply_no_valid_rcpt(void *ctx);
unsigned char serve_action_reply_timeout(void *ctx);
unsigned char serve_action_reply_slow(void *ctx);
unsigned char serve_action_reply_stopping(void *ctx);
unsigned char serve_action_reply_too_many_errors(void *ctx);
unsigned char serve_action_reply_client_refused(void *ctx);
unsigned char serve_action_reply_refused(void *ctx);
unsigned char serve_action_reply_starttls_syntax(void *ctx);
unsigned char serve_action_reply_tls_active(void *ctx);
unsigned char serve_action_reply_tls_in_mail(void *ctx);
unsigned char serve_action_reply_no_tls(void *ctx);
unsigned char serve_action_reply_start_tls(void *ctx);
unsigned char serve_action_start_tls(void *ctx);
unsigned char serve_action_log_no_handshake(void *ctx);
unsigned char serve_action_log_slow_handshake(void *ctx);
unsigned char serve_action_greet_secured(void *ctx);
unsigned char serve_action_forget_hello(void *ctx);
unsigned char serve_action_hold(void *ctx);
unsigned char serve_action_resume(void *ctx);
unsigned char serve_action_check_client(void *ctx);
unsigned char serve_action_check_helo(void *ctx);
unsigned char serve_action_check_sender(void *ctx);
unsigned char serve_action_reply_sender_ok(void *ctx);
unsigned char serve_action_check_rcpt(void *ctx);
unsigned char serve_action_reply_rcpt_ok(void *ctx);
unsigned char serve_action_check_data(void *ctx);
unsigned char serve_action_open_text(void *ctx);
unsigned char serve_action_reply_go_ahead(void *ctx);
unsigned char serve_action_check_text(void *ctx);
unsigned char serve_action_reply_text_refused(void *ctx);
unsigned char serve_action_submit(void *ctx);
unsigned char serve_action_reply_queued(void *ctx);
unsigned char serve_action_reply_unstored(void *ctx);
#endif
