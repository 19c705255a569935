/* serve/session_actions.h - what the rows of session_table.c do and look at.
 *
 * Every action has the engine's form; `ctx` is the session.  Guards only
 * look.  Replies carry RFC 3463 codes on every line (RFC 2034). */
#ifndef MTA_SERVE_SESSION_ACTIONS_H
#define MTA_SERVE_SESSION_ACTIONS_H

#include <stdbool.h>

typedef unsigned char serve_action(void *ctx);
typedef bool serve_guard(const void *ctx);

serve_action say_hello, say_helo_first, say_ok, say_bye, say_help;
serve_action say_no_vrfy, say_off, say_unknown, say_garbled, say_sequence;
serve_action say_timeout, say_stopping, say_too_many_errors;
serve_action say_no_rcpt, say_nested_mail, say_bad_helo, say_bare_lf;
serve_action say_not_smtp;
serve_action reset, hold, hang_up;
serve_action check_sender, say_sender_ok, check_rcpt, say_rcpt_ok;
serve_action open_body, say_go_ahead, refuse_body, submit;
serve_action say_queued, say_delivered, say_try_later;

serve_guard rdns_blocks_rcpt, rdns_blocks_data, body_has_fault;
serve_guard all_rcpt_refused, bad_helo_name;
#endif
