/* session_table.c - the client's behaviour on each reply: the whole session as
 * one table (RFC 5321 3 and 4, RFC 2920 for pipelining).
 *
 * Replies come in the order of commands, so the state is the reply that is due
 * next, also when more commands are in flight.
 *
 * An LMTP host (RFC 2033) has a reply to the dot for each recipient.
 *
 * With BDAT (RFC 3030) whole messages are in flight one behind the other, and
 * the next command depends on no reply: `pump` writes it whenever there is
 * room, in each state of a transaction. */
#include "send/session_actions.h"

/* Functions by their name without prefix, as the drawing has them.  NULL: no
 * guard, no action. */
#define send_guard_NULL NULL
#define send_action_NULL NULL
#define ROW(state, event, guard, act, next)                                    \
    {                                                                          \
        (state), (event), (next), send_guard_##guard, send_action_##act,       \
            #guard, #act                                                       \
    }

static const char *const state_names[S_COUNT] = {
    "DIAL", "WRAP",  "GREET", "EHLO",   "STARTTLS", "HANDSHAKE", "EHLO_TLS",
    "HELO", "AUTH",  "IDLE",  "MAIL",   "RCPT",     "DATA",      "BODY",
    "DOT",  "CHUNK", "VOID",  "SETTLE", "RSET",     "QUIT",      "END",
};

static const char *const event_names[E_COUNT] = {
    "connected", "secured", "2xx",        "3xx",     "4xx",      "5xx",  "421",
    "broken",    "closed",  "timeout",    "room",    "delivery", "stop", "kill",
    "rcpts",     "sent",    "unreadable", "settled", "no login",
};

/* clang-format off */
static const struct fsm_row rows[] = {
    /*  in       on            only if        do                 then */
    ROW(S_DIAL,  E_CONNECTED,  is_tls_first,  start_tls,         S_WRAP),
    ROW(S_DIAL,  E_CONNECTED,  NULL,          NULL,              S_GREET),
    ROW(S_DIAL,  E_STOP,       NULL,          NULL,              S_END),

    ROW(S_WRAP,  E_SECURED,    NULL,          NULL,              S_GREET),
    ROW(S_WRAP,  E_STOP,       NULL,          NULL,              S_END),

    ROW(S_GREET, E_2XX,        is_ourselves,  turn_away,         S_QUIT),
    ROW(S_GREET, E_2XX,        NULL,          send_ehlo,         S_EHLO),
    ROW(S_GREET, E_4XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_GREET, E_5XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_GREET, E_STOP,       NULL,          NULL,              S_END),

    ROW(S_EHLO,  E_2XX,        may_secure,    send_starttls,     S_STARTTLS),
    ROW(S_EHLO,  E_2XX,        may_log_in,    send_auth,         S_AUTH),
    ROW(S_EHLO,  E_2XX,        NULL,          ready,             S_IDLE),
    ROW(S_EHLO,  E_4XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_EHLO,  E_5XX,        is_lmtp,       turn_away,         S_QUIT),
    ROW(S_EHLO,  E_5XX,        NULL,          send_helo,         S_HELO),
    ROW(S_EHLO,  E_STOP,       NULL,          NULL,              S_END),

    ROW(S_STARTTLS, E_2XX,     NULL,          start_tls,         S_HANDSHAKE),
    ROW(S_STARTTLS, E_4XX,     NULL,          turn_away,         S_QUIT),
    ROW(S_STARTTLS, E_5XX,     NULL,          turn_away,         S_QUIT),
    ROW(S_STARTTLS, E_STOP,    NULL,          NULL,              S_END),

    ROW(S_HANDSHAKE, E_SECURED, NULL,         send_ehlo_again,   S_EHLO_TLS),
    ROW(S_HANDSHAKE, E_STOP,   NULL,          NULL,              S_END),

    ROW(S_EHLO_TLS, E_2XX,     may_log_in,    send_auth,         S_AUTH),
    ROW(S_EHLO_TLS, E_2XX,     NULL,          ready,             S_IDLE),
    ROW(S_EHLO_TLS, E_4XX,     NULL,          turn_away,         S_QUIT),
    ROW(S_EHLO_TLS, E_5XX,     is_lmtp,       turn_away,         S_QUIT),
    ROW(S_EHLO_TLS, E_5XX,     NULL,          send_helo,         S_HELO),
    ROW(S_EHLO_TLS, E_STOP,    NULL,          NULL,              S_END),

    ROW(S_HELO,  E_2XX,        may_log_in,    send_auth,         S_AUTH),
    ROW(S_HELO,  E_2XX,        NULL,          ready,             S_IDLE),
    ROW(S_HELO,  E_4XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_HELO,  E_5XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_HELO,  E_STOP,       NULL,          NULL,              S_END),

    ROW(S_AUTH,  E_3XX,        NULL,          answer_challenge,  S_AUTH),
    ROW(S_AUTH,  E_ROOM,       NULL,          go_on_login,       S_AUTH),
    ROW(S_AUTH,  E_2XX,        is_proven,     log_in,            S_IDLE),
    ROW(S_AUTH,  E_2XX,        NULL,          refuse_login,      S_QUIT),
    ROW(S_AUTH,  E_4XX,        NULL,          refuse_login,      S_QUIT),
    ROW(S_AUTH,  E_5XX,        NULL,          refuse_login,      S_QUIT),
    ROW(S_AUTH,  E_NO_LOGIN,   NULL,          refuse_login,      S_QUIT),
    ROW(S_AUTH,  E_STOP,       NULL,          NULL,              S_END),

    ROW(S_IDLE,  E_DELIVERY,   is_misfit,     refuse_misfits,    S_IDLE),
    ROW(S_IDLE,  E_DELIVERY,   may_chunk,     pump,              S_MAIL),
    ROW(S_IDLE,  E_DELIVERY,   has_delivery,  begin,             S_MAIL),
    ROW(S_IDLE,  E_DELIVERY,   NULL,          next_delivery,     S_IDLE),
    ROW(S_IDLE,  E_STOP,       NULL,          send_quit,         S_QUIT),
    ROW(S_IDLE,  E_TIMEOUT,    NULL,          send_quit,         S_QUIT),
    /* a peer may close an idle session */
    ROW(S_IDLE,  E_421,        NULL,          NULL,              S_END),
    ROW(S_IDLE,  E_CLOSED,     NULL,          NULL,              S_END),

    ROW(S_MAIL,  E_2XX,        is_piped,      go_on,             S_RCPT),
    ROW(S_MAIL,  E_2XX,        NULL,          send_rcpt,         S_RCPT),
    ROW(S_MAIL,  E_4XX,        is_piped,      refuse_all,        S_RCPT),
    ROW(S_MAIL,  E_4XX,        NULL,          refuse_message,    S_IDLE),
    ROW(S_MAIL,  E_5XX,        is_displaced,  displace,          S_RCPT),
    ROW(S_MAIL,  E_5XX,        is_piped,      refuse_all,        S_RCPT),
    ROW(S_MAIL,  E_5XX,        NULL,          refuse_message,    S_IDLE),

    ROW(S_RCPT,  E_2XX,        NULL,          note_rcpt,         S_RCPT),
    ROW(S_RCPT,  E_4XX,        NULL,          note_rcpt,         S_RCPT),
    ROW(S_RCPT,  E_5XX,        NULL,          note_rcpt,         S_RCPT),
    ROW(S_RCPT,  E_RCPTS,      is_chunked,    NULL,              S_CHUNK),
    ROW(S_RCPT,  E_RCPTS,      is_piped,      NULL,              S_DATA),
    ROW(S_RCPT,  E_RCPTS,      some_taken,    send_data,         S_DATA),
    ROW(S_RCPT,  E_RCPTS,      NULL,          send_rset,         S_RSET),

    /* it offers BDAT and does not have it */
    ROW(S_CHUNK, E_5XX,        knows_no_bdat, settle,            S_SETTLE),
    ROW(S_CHUNK, E_2XX,        is_sending,    lose,              S_END),
    ROW(S_CHUNK, E_4XX,        is_sending,    refuse_early,      S_END),
    ROW(S_CHUNK, E_5XX,        is_sending,    refuse_early,      S_END),
    ROW(S_CHUNK, E_2XX,        has_ahead,     end_chunk_next,    S_MAIL),
    ROW(S_CHUNK, E_4XX,        has_ahead,     end_chunk_next,    S_MAIL),
    ROW(S_CHUNK, E_5XX,        has_ahead,     end_chunk_next,    S_MAIL),
    ROW(S_CHUNK, E_2XX,        was_displaced, end_chunk_rset,    S_RSET),
    ROW(S_CHUNK, E_2XX,        NULL,          end_chunk_idle,    S_IDLE),
    ROW(S_CHUNK, E_4XX,        NULL,          end_chunk_rset,    S_RSET),
    ROW(S_CHUNK, E_5XX,        NULL,          end_chunk_rset,    S_RSET),

    /* one message behind the other, while replies come */
    ROW(S_MAIL,  E_ROOM,       is_chunked,    pump,              S_MAIL),
    ROW(S_RCPT,  E_ROOM,       is_chunked,    pump,              S_RCPT),
    ROW(S_CHUNK, E_ROOM,       is_chunked,    pump,              S_CHUNK),
    ROW(S_MAIL,  E_DELIVERY,   is_chunked,    pump,              S_MAIL),
    ROW(S_RCPT,  E_DELIVERY,   is_chunked,    pump,              S_RCPT),
    ROW(S_CHUNK, E_DELIVERY,   is_chunked,    pump,              S_CHUNK),
    ROW(S_MAIL,  E_UNREADABLE, NULL,          lose_body,         S_END),
    ROW(S_RCPT,  E_UNREADABLE, NULL,          lose_body,         S_END),
    ROW(S_CHUNK, E_UNREADABLE, NULL,          lose_body,         S_END),

    /* a reply that is none, with texts in the peer's hands */
    ROW(S_MAIL,  E_3XX,        is_written,    settle,            S_SETTLE),
    ROW(S_RCPT,  E_3XX,        is_written,    settle,            S_SETTLE),
    ROW(S_CHUNK, E_3XX,        is_written,    settle,            S_SETTLE),
    ROW(S_MAIL,  E_BROKEN,     is_written,    settle,            S_SETTLE),
    ROW(S_RCPT,  E_BROKEN,     is_written,    settle,            S_SETTLE),
    ROW(S_CHUNK, E_BROKEN,     is_written,    settle,            S_SETTLE),
    ROW(S_SETTLE, E_2XX,       NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_3XX,       NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_4XX,       NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_5XX,       NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_421,       NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_BROKEN,    NULL,          settle_reply,      S_SETTLE),
    ROW(S_SETTLE, E_ROOM,      NULL,          settle_more,       S_SETTLE),
    ROW(S_SETTLE, E_SETTLED,   NULL,          NULL,              S_END),
    ROW(S_SETTLE, E_CLOSED,    NULL,          unsettled,         S_END),
    ROW(S_SETTLE, E_TIMEOUT,   NULL,          unsettled,         S_END),
    ROW(S_SETTLE, E_KILL,      NULL,          unsettled,         S_END),
    ROW(S_SETTLE, E_UNREADABLE, NULL,         unsettled,         S_END),

    ROW(S_DATA,  E_3XX,        is_early,      lose,              S_END),
    ROW(S_DATA,  E_3XX,        some_taken,    start_body,        S_BODY),
    ROW(S_DATA,  E_3XX,        none_accepted, send_dot,          S_VOID),
    ROW(S_DATA,  E_3XX,        NULL,          lose,              S_END),
    ROW(S_DATA,  E_4XX,        NULL,          refuse_data,       S_RSET),
    ROW(S_DATA,  E_5XX,        NULL,          refuse_data,       S_RSET),

    ROW(S_BODY,  E_ROOM,       NULL,          send_body,         S_BODY),
    ROW(S_BODY,  E_SENT,       may_go_ahead,  end_body_go_ahead, S_DOT),
    ROW(S_BODY,  E_SENT,       NULL,          end_body,          S_DOT),
    ROW(S_BODY,  E_UNREADABLE, NULL,          lose_body,         S_END),
    ROW(S_BODY,  E_4XX,        NULL,          refuse_early,      S_END),
    ROW(S_BODY,  E_5XX,        NULL,          refuse_early,      S_END),

    ROW(S_DOT,   E_DELIVERY,   may_go_ahead,  go_ahead,          S_DOT),
    ROW(S_DOT,   E_2XX,        more_finals,   note_final,        S_DOT),
    ROW(S_DOT,   E_4XX,        more_finals,   note_final,        S_DOT),
    ROW(S_DOT,   E_5XX,        more_finals,   note_final,        S_DOT),
    ROW(S_DOT,   E_2XX,        has_ahead,     finish_take_ahead, S_MAIL),
    ROW(S_DOT,   E_4XX,        has_ahead,     finish_take_ahead, S_MAIL),
    ROW(S_DOT,   E_5XX,        has_ahead,     finish_take_ahead, S_MAIL),
    ROW(S_DOT,   E_2XX,        NULL,          finish,            S_IDLE),
    ROW(S_DOT,   E_4XX,        NULL,          finish,            S_IDLE),
    ROW(S_DOT,   E_5XX,        NULL,          finish,            S_IDLE),

    ROW(S_VOID,  E_2XX,        NULL,          finish_void,       S_IDLE),
    ROW(S_VOID,  E_4XX,        NULL,          finish_void,       S_IDLE),
    ROW(S_VOID,  E_5XX,        NULL,          finish_void,       S_IDLE),

    ROW(S_RSET,  E_2XX,        NULL,          next_delivery,     S_IDLE),
    ROW(S_RSET,  E_4XX,        NULL,          turn_away,         S_QUIT),
    ROW(S_RSET,  E_5XX,        NULL,          turn_away,         S_QUIT),

    ROW(S_QUIT,  E_2XX,        NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_3XX,        NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_4XX,        NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_5XX,        NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_421,        NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_BROKEN,     NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_CLOSED,     NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_TIMEOUT,    NULL,          NULL,              S_END),
    ROW(S_QUIT,  E_KILL,       NULL,          NULL,              S_END),

    ROW(FSM_ANY, E_2XX,        NULL,          lose,              S_END),
    ROW(FSM_ANY, E_3XX,        NULL,          lose,              S_END),
    ROW(FSM_ANY, E_4XX,        NULL,          lose,              S_END),
    ROW(FSM_ANY, E_5XX,        NULL,          lose,              S_END),
    ROW(FSM_ANY, E_421,        NULL,          lose,              S_END),
    ROW(FSM_ANY, E_BROKEN,     NULL,          lose,              S_END),
    ROW(FSM_ANY, E_CLOSED,     NULL,          lose,              S_END),
    ROW(FSM_ANY, E_TIMEOUT,    NULL,          lose,              S_END),
    ROW(FSM_ANY, E_KILL,       NULL,          lose,              S_END),
    ROW(FSM_ANY, E_CONNECTED,  NULL,          NULL,              FSM_ANY),
    ROW(FSM_ANY, E_SECURED,    NULL,          NULL,              FSM_ANY),
    ROW(FSM_ANY, E_ROOM,       NULL,          NULL,              FSM_ANY),
    ROW(FSM_ANY, E_DELIVERY,   NULL,          NULL,              FSM_ANY),
    ROW(FSM_ANY, E_STOP,       NULL,          NULL,              FSM_ANY),
};
/* clang-format on */

const struct fsm send_session_fsm = {
    .name = "client",
    .state_names = state_names,
    .event_names = event_names,
    .nstates = S_COUNT,
    .nevents = E_COUNT,
    .noutside = E_RCPTS,
    .start = S_DIAL,
    .end = S_END,
    .rows = rows,
    .nrows = sizeof rows / sizeof rows[0],
};
