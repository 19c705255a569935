/* data.c - the text of messages on its way to the peer.
 *
 * The stream is written as fast as the socket takes it, and read all the while
 * (net/conn.h), so a peer that blocks until its replies are read causes no
 * deadlock.  Memory holds at most CONN_HIGH, a piece and an envelope; bodies
 * stay in the queue until then. */
#include "send/session_private.h"
#include "send/transaction.h"

#include <errno.h>

enum {
    BODY_PIECE = 8192,
    TURN_PIECES = 32,
    CHUNKS_AT_FIRST = 4 /* messages in flight, and one more for each accepted */
};

/* --- by DATA: dots are doubled, a dot is the end ------------------------ --*/

void send_transaction_start_body(struct send_session *s)
{
    s->dot = (struct smtp_dot_encoder)SMTP_DOT_ENCODER_INIT;
    s->body = (struct body_cursor){ 0 };
}

/* A bounded number of pieces, so that one fast peer with one huge message
 * does not keep the worker from its other sessions. */
unsigned char send_transaction_send_body(struct send_session *s)
{
    char raw[BODY_PIECE], coded[2 * BODY_PIECE];
    const struct body *b = &s->cur->body;

    for (int i = 0; i < TURN_PIECES; i++) {
        if (s->body.at == b->size)
            return E_SENT;
        if (conn_output_waiting(&s->conn) >= CONN_HIGH || s->out_failed)
            return FSM_QUIET;
        ssize_t n = body_next(b, &s->body, raw, sizeof raw);
        if (n <= 0) {
            s->body_error = errno;
            return E_UNREADABLE;
        }
        send_transaction_put(s, coded,
                             smtp_dot_encode(&s->dot, raw, (size_t)n, coded));
    }
    s->more = true;
    return FSM_QUIET;
}

void send_transaction_end_body(struct send_session *s)
{
    char end[5];

    send_transaction_put(s, end, smtp_dot_finish(&s->dot, end));
}

/* --- by BDAT: the size is said before, the bytes go as they are --------- --*/

static bool is_full(struct send_session *s)
{
    return conn_output_waiting(&s->conn) >= CONN_HIGH || s->out_failed;
}

/* Some hosts close after every few messages, and everything in flight is then
 * sent again.  So the window begins small and doubles with each round trip. */
static bool may_begin(const struct send_session *s)
{
    unsigned under_way = s->cur != NULL;

    for (const struct list *l = s->ahead.next; l != &s->ahead; l = l->next)
        under_way++;
    return under_way < CHUNKS_AT_FIRST + s->end.delivered;
}

/* False: nothing may be written now.  While the peer's position in the dialogue
 * is in doubt nothing new begins. */
static bool begin_chunk(struct send_session *s)
{
    struct delivery *j;

    if (!may_begin(s))
        return false;
    while ((j = send_transaction_next(s)) != NULL &&
           send_transaction_has_misfits(s, j))
        send_transaction_refuse_misfits(s, j);
    if (j == NULL || s->displaced)
        return false;
    j = send_transaction_pop(&s->deliveries);
    send_transaction_envelope(s, j);
    send_transaction_command(s, "BDAT %llu LAST",
                             (unsigned long long)j->body.size);
    s->sending = j;
    s->body = (struct body_cursor){ 0 };
    s->piped = true;
    if (s->cur == NULL)
        send_transaction_await(s, j);
    else
        list_push(&s->ahead, &j->link);
    return true;
}

static void send_piece(struct send_session *s)
{
    const struct body *b = &s->sending->body;
    char raw[BODY_PIECE];
    ssize_t n = body_next(b, &s->body, raw, sizeof raw);

    if (n < 0) {
        s->body_error = errno;
        s->stopping = true;
        return;
    }
    send_transaction_put(s, raw, (size_t)n);
    if (s->body.at == b->size)
        s->sending = NULL;
}

unsigned char send_transaction_pump(struct send_session *s)
{
    for (int i = 0; i < TURN_PIECES; i++) {
        if (s->body_error != 0) /* when all before it have their replies */
            return s->sending == s->cur ? E_UNREADABLE : FSM_QUIET;
        if (is_full(s) || (s->sending == NULL && !begin_chunk(s)))
            return FSM_QUIET;
        send_piece(s);
    }
    s->more = true;
    return FSM_QUIET;
}
