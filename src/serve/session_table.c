/* session_table.c - the server's side of a session, as rows.
 *
 * The first row that matches wins: a guarded row stands above the unguarded
 * one, a row for one state above FSM_ANY.  `mta fsm server` draws it.  A check
 * action returns ..._OK, E_REFUSED (the reason is in s->verdict) or E_WAIT;
 * after E_WAIT the command stays unread, and E_ANSWERED executes it again. */
#include "serve/session_actions.h"

/* Functions by their name without prefix, as the drawing has them.  NULL: no
 * guard, no action. */
#define serve_guard_NULL NULL
#define serve_action_NULL NULL
#define ROW(state, event, guard, act, next)                                    \
    {                                                                          \
        (state), (event), (next), serve_guard_##guard, serve_action_##act,     \
            #guard, #act                                                       \
    }

static const char *const state_names[] = { "CONNECTED", "HANDSHAKE", "GREETED",
                                           "READY",     "MAIL",      "RCPT",
                                           "DATA",      "CHECK",     "COMMIT",
                                           "END" };

static const char *const event_names[] = {
    "HELO",    "EHLO",      "MAIL",    "RCPT",    "DATA",      "RSET",
    "QUIT",    "VRFY",      "NOOP",    "HELP",    "STARTTLS",  "off",
    "unknown", "garbled",   "bare_lf", "early",   "answered",  "timeout",
    "hangup",  "stop",      "connect", "secured", "unsecured", "client_ok",
    "helo_ok", "sender_ok", "rcpt_ok", "data_ok", "opened",    "dot",
    "text_ok", "wait",      "refused", "queued",  "unstored",  "enough"
};

/* clang-format off */
static const struct fsm_row rows[] = {
    /*  in           on           only if           do                     then */
    ROW(S_CONNECTED, E_CONNECT,   tls_first,        start_tls,             S_HANDSHAKE),
    ROW(S_CONNECTED, E_CONNECT,   NULL,             check_client,          FSM_ANY),
    ROW(S_CONNECTED, E_ANSWERED,  NULL,             check_client,          FSM_ANY),
    ROW(S_CONNECTED, E_CLIENT_OK, NULL,             reply_banner,          S_GREETED),
    ROW(S_CONNECTED, E_REFUSED,   NULL,             reply_client_refused,  S_END),

    ROW(S_HANDSHAKE, E_SECURED,   is_greeted,       forget_hello,          S_GREETED),
    ROW(S_HANDSHAKE, E_SECURED,   NULL,             greet_secured,         S_CONNECTED),
    ROW(S_HANDSHAKE, E_UNSECURED, NULL,             log_no_handshake,      S_END),
    ROW(S_HANDSHAKE, E_TIMEOUT,   NULL,             log_slow_handshake,    S_END),
    ROW(S_HANDSHAKE, E_STOP,      NULL,             NULL,                  S_END),

    ROW(S_GREETED,   E_MAIL,      NULL,             reply_helo_first,      FSM_ANY),
    ROW(S_GREETED,   E_RSET,      NULL,             reply_ok,              FSM_ANY),
    ROW(S_GREETED,   E_UNKNOWN,   NULL,             reply_not_smtp,        S_END),

    ROW(S_READY,     E_MAIL,      NULL,             check_sender,          FSM_ANY),
    ROW(S_READY,     E_SENDER_OK, NULL,             reply_sender_ok,       S_MAIL),

    ROW(S_MAIL,      E_STARTTLS,  NULL,             reply_tls_in_mail,     FSM_ANY),
    ROW(S_MAIL,      E_RCPT,      NULL,             check_rcpt,            FSM_ANY),
    ROW(S_MAIL,      E_RCPT_OK,   NULL,             reply_rcpt_ok,         S_RCPT),
    ROW(S_MAIL,      E_DATA,      all_rcpt_refused, reply_no_valid_rcpt,   FSM_ANY),

    ROW(S_RCPT,      E_STARTTLS,  NULL,             reply_tls_in_mail,     FSM_ANY),
    ROW(S_RCPT,      E_RCPT,      NULL,             check_rcpt,            FSM_ANY),
    ROW(S_RCPT,      E_RCPT_OK,   NULL,             reply_rcpt_ok,         FSM_ANY),
    ROW(S_RCPT,      E_DATA,      has_argument,     reply_data_syntax,     FSM_ANY),
    ROW(S_RCPT,      E_DATA,      NULL,             check_data,            FSM_ANY),
    ROW(S_RCPT,      E_DATA_OK,   NULL,             open_text,             S_DATA),

    ROW(S_DATA,      E_OPENED,    NULL,             reply_go_ahead,        FSM_ANY),
    ROW(S_DATA,      E_UNSTORED,  NULL,             reply_unstored,        S_READY),
    ROW(S_DATA,      E_DOT,       NULL,             check_text,            S_CHECK),
    ROW(S_DATA,      E_TIMEOUT,   is_slow,          reply_slow,            S_END),
    ROW(S_DATA,      E_STOP,      NULL,             NULL,                  FSM_ANY),

    ROW(S_CHECK,     E_ANSWERED,  NULL,             check_text,            FSM_ANY),
    ROW(S_CHECK,     E_TEXT_OK,   NULL,             submit,                S_COMMIT),
    ROW(S_CHECK,     E_REFUSED,   must_close,       reply_text_refused,    S_END),
    ROW(S_CHECK,     E_REFUSED,   NULL,             reply_text_refused,    S_READY),
    ROW(S_CHECK,     E_STOP,      NULL,             NULL,                  FSM_ANY),

    ROW(S_COMMIT,    E_QUEUED,    NULL,             reply_queued,          S_READY),
    ROW(S_COMMIT,    E_UNSTORED,  NULL,             reply_unstored,        S_READY),
    ROW(S_COMMIT,    E_STOP,      NULL,             NULL,                  FSM_ANY),

    ROW(FSM_ANY,     E_HELO,      bad_helo_name,    reply_bad_helo,        FSM_ANY),
    ROW(FSM_ANY,     E_HELO,      NULL,             check_helo,            FSM_ANY),
    ROW(FSM_ANY,     E_EHLO,      bad_helo_name,    reply_bad_helo,        FSM_ANY),
    ROW(FSM_ANY,     E_EHLO,      NULL,             check_helo,            FSM_ANY),
    ROW(FSM_ANY,     E_HELO_OK,   NULL,             reply_hello,           S_READY),
    ROW(FSM_ANY,     E_RSET,      NULL,             reset,                 S_READY),
    ROW(FSM_ANY,     E_NOOP,      NULL,             reply_noop,            FSM_ANY),
    ROW(FSM_ANY,     E_HELP,      NULL,             reply_help,            FSM_ANY),
    ROW(FSM_ANY,     E_VRFY,      NULL,             reply_no_vrfy,         FSM_ANY),
    ROW(FSM_ANY,     E_STARTTLS,  has_argument,     reply_starttls_syntax, FSM_ANY),
    ROW(FSM_ANY,     E_STARTTLS,  is_tls,           reply_tls_active,      FSM_ANY),
    ROW(FSM_ANY,     E_STARTTLS,  no_tls,           reply_no_tls,          FSM_ANY),
    ROW(FSM_ANY,     E_STARTTLS,  NULL,             reply_start_tls,       S_HANDSHAKE),
    ROW(FSM_ANY,     E_OFF,       NULL,             reply_off,             FSM_ANY),
    ROW(FSM_ANY,     E_UNKNOWN,   NULL,             reply_unknown,         FSM_ANY),
    ROW(FSM_ANY,     E_QUIT,      NULL,             reply_bye,             S_END),
    ROW(FSM_ANY,     E_GARBLED,   NULL,             reply_garbled,         FSM_ANY),
    ROW(FSM_ANY,     E_BARE_LF,   NULL,             reply_bare_lf,         S_END),
    ROW(FSM_ANY,     E_EARLY,     NULL,             reply_early,           S_END),
    ROW(FSM_ANY,     E_WAIT,      NULL,             hold,                  FSM_ANY),
    ROW(FSM_ANY,     E_ANSWERED,  NULL,             resume,                FSM_ANY),
    ROW(FSM_ANY,     E_REFUSED,   must_close,       reply_refused,         S_END),
    ROW(FSM_ANY,     E_REFUSED,   NULL,             reply_refused,         FSM_ANY),
    ROW(FSM_ANY,     E_TIMEOUT,   NULL,             reply_timeout,         S_END),
    ROW(FSM_ANY,     E_STOP,      NULL,             reply_stopping,        S_END),
    ROW(FSM_ANY,     E_HANGUP,    NULL,             NULL,                  S_END),
    ROW(FSM_ANY,     E_ENOUGH,    NULL,             reply_too_many_errors, S_END),

    ROW(FSM_ANY,     E_MAIL,      NULL,             reply_nested_mail,     FSM_ANY),
    ROW(FSM_ANY,     E_RCPT,      NULL,             reply_need_mail,       FSM_ANY),
    ROW(FSM_ANY,     E_DATA,      NULL,             reply_need_rcpt,       FSM_ANY),
};
/* clang-format on */

const struct fsm serve_session_fsm = {
    .name = "server",
    .state_names = state_names,
    .event_names = event_names,
    .nstates = S_NSTATES,
    .nevents = E_NEVENTS,
    .noutside = E_NOUTSIDE,
    .start = S_CONNECTED,
    .end = S_END,
    .rows = rows,
    .nrows = sizeof rows / sizeof rows[0],
};
