/* session_table.c - the server's side of a conversation, as rows.
 *
 * First match wins: a guarded row stands above the unguarded one, a row for
 * one state above FSM_ANY.  `mta fsm server` draws it. */
#include "serve/session.h"
#include "serve/session_actions.h"

static const char *const state_names[] = { "GREETED", "READY",  "MAIL", "RCPT",
                                           "DATA",    "COMMIT", "END" };

static const char *const event_names[] = {
    "HELO",      "EHLO",     "MAIL",           "RCPT",    "DATA",
    "RSET",      "QUIT",     "VRFY",           "NOOP",    "HELP",
    "off",       "unknown",  "garbled",        "bare_lf", "timeout",
    "hangup",    "stop",     "accepted",       "dot",     "queued",
    "delivered", "unstored", "too_many_errors"
};

/* clang-format off */
static const struct fsm_row rows[] = {
    /*      in         on                 only if           do                   then */
    FSM_ROW(S_GREETED, E_MAIL,            NULL,             say_helo_first,      FSM_ANY),
    FSM_ROW(S_GREETED, E_RSET,            NULL,             say_ok,              FSM_ANY),
    FSM_ROW(S_GREETED, E_UNKNOWN,         NULL,             say_not_smtp,        S_END),

    FSM_ROW(S_READY,   E_MAIL,            NULL,             check_sender,        FSM_ANY),
    FSM_ROW(S_READY,   E_ACCEPTED,        NULL,             say_sender_ok,       S_MAIL),

    FSM_ROW(S_MAIL,    E_RCPT,            rdns_blocks_rcpt, hold,                FSM_ANY),
    FSM_ROW(S_MAIL,    E_RCPT,            NULL,             check_rcpt,          FSM_ANY),
    FSM_ROW(S_MAIL,    E_ACCEPTED,        NULL,             say_rcpt_ok,         S_RCPT),
    FSM_ROW(S_MAIL,    E_DATA,            all_rcpt_refused, say_no_rcpt,         FSM_ANY),

    FSM_ROW(S_RCPT,    E_RCPT,            rdns_blocks_rcpt, hold,                FSM_ANY),
    FSM_ROW(S_RCPT,    E_RCPT,            NULL,             check_rcpt,          FSM_ANY),
    FSM_ROW(S_RCPT,    E_ACCEPTED,        NULL,             say_rcpt_ok,         S_RCPT),
    FSM_ROW(S_RCPT,    E_DATA,            rdns_blocks_data, hold,                FSM_ANY),
    FSM_ROW(S_RCPT,    E_DATA,            NULL,             open_body,           S_DATA),

    FSM_ROW(S_DATA,    E_ACCEPTED,        NULL,             say_go_ahead,        S_DATA),
    FSM_ROW(S_DATA,    E_UNSTORED,        NULL,             say_try_later,       S_READY),
    FSM_ROW(S_DATA,    E_DOT,             body_has_fault,   refuse_body,         S_READY),
    FSM_ROW(S_DATA,    E_DOT,             NULL,             submit,              S_COMMIT),
    FSM_ROW(S_DATA,    E_STOP,            NULL,             NULL,                FSM_ANY),

    FSM_ROW(S_COMMIT,   E_QUEUED,          NULL,             say_queued,          S_READY),
    FSM_ROW(S_COMMIT,   E_DELIVERED,       NULL,             say_delivered,       S_READY),
    FSM_ROW(S_COMMIT,   E_UNSTORED,        NULL,             say_try_later,       S_READY),
    FSM_ROW(S_COMMIT,   E_STOP,            NULL,             NULL,                FSM_ANY),

    FSM_ROW(FSM_ANY,   E_HELO,            bad_helo_name,    say_bad_helo,        FSM_ANY),
    FSM_ROW(FSM_ANY,   E_HELO,            NULL,             say_hello,           S_READY),
    FSM_ROW(FSM_ANY,   E_EHLO,            bad_helo_name,    say_bad_helo,        FSM_ANY),
    FSM_ROW(FSM_ANY,   E_EHLO,            NULL,             say_hello,           S_READY),
    FSM_ROW(FSM_ANY,   E_RSET,            NULL,             reset,               S_READY),
    FSM_ROW(FSM_ANY,   E_NOOP,            NULL,             say_ok,              FSM_ANY),
    FSM_ROW(FSM_ANY,   E_HELP,            NULL,             say_help,            FSM_ANY),
    FSM_ROW(FSM_ANY,   E_VRFY,            NULL,             say_no_vrfy,         FSM_ANY),
    FSM_ROW(FSM_ANY,   E_OFF,             NULL,             say_off,             FSM_ANY),
    FSM_ROW(FSM_ANY,   E_UNKNOWN,         NULL,             say_unknown,         FSM_ANY),
    FSM_ROW(FSM_ANY,   E_QUIT,            NULL,             say_bye,             S_END),
    FSM_ROW(FSM_ANY,   E_GARBLED,         NULL,             say_garbled,         FSM_ANY),
    FSM_ROW(FSM_ANY,   E_BARE_LF,         NULL,             say_bare_lf,         S_END),
    FSM_ROW(FSM_ANY,   E_TIMEOUT,         NULL,             say_timeout,         S_END),
    FSM_ROW(FSM_ANY,   E_STOP,            NULL,             say_stopping,        S_END),
    FSM_ROW(FSM_ANY,   E_HANGUP,          NULL,             hang_up,             S_END),
    FSM_ROW(FSM_ANY,   E_TOO_MANY_ERRORS, NULL,             say_too_many_errors, S_END),

    FSM_ROW(S_MAIL,    E_MAIL,            NULL,             say_nested_mail,     FSM_ANY),
    FSM_ROW(S_RCPT,    E_MAIL,            NULL,             say_nested_mail,     FSM_ANY),
    FSM_ROW(FSM_ANY,   E_MAIL,            NULL,             say_sequence,        FSM_ANY),
    FSM_ROW(FSM_ANY,   E_RCPT,            NULL,             say_sequence,        FSM_ANY),
    FSM_ROW(FSM_ANY,   E_DATA,            NULL,             say_sequence,        FSM_ANY),
};
/* clang-format on */

const struct fsm serve_session_fsm = {
    .name = "server",
    .state_names = state_names,
    .event_names = event_names,
    .nstates = S_NSTATES,
    .nevents = E_NEVENTS,
    .noutside = E_NOUTSIDE,
    .start = S_GREETED,
    .end = S_END,
    .rows = rows,
    .nrows = sizeof rows / sizeof rows[0],
};
