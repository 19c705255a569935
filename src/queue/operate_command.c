/* operate_command.c - an operation as a line of text, and its answer. */
#include "queue/operate.h"

#include <inttypes.h>
#include <string.h>

static const char *const verbs[] = { "hold", "release", "retry", "delete",
                                     "flush" };
enum { NVERBS = sizeof verbs / sizeof verbs[0] };

/* Up to a blank that is not in quotes, as a local part may have them. */
static struct span next_word(struct span *rest)
{
    bool quoted = false;
    size_t n = 0;

    for (; n < rest->n && (quoted || rest->p[n] != ' '); n++) {
        if (rest->p[n] == '"')
            quoted = !quoted;
        if (rest->p[n] == '\\' && n + 1 < rest->n)
            n++;
    }
    struct span word = { rest->p, n };
    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return word;
}

static int take_ids(struct queue_select *s, struct span list, struct err *e)
{
    while (list.n > 0) {
        size_t n = span_find(list, ',');
        if (s->nids == QUEUE_SELECT_IDS)
            return err_set(e, ERR_USAGE, 0, "more than %d ids",
                           (int)QUEUE_SELECT_IDS);
        if (!msg_id_parse(&s->id[s->nids], (struct span){ list.p, n }))
            return err_set(e, ERR_USAGE, 0, "'%.*s' is not a message id",
                           n < 40 ? (int)n : 40, list.p);
        s->nids++;
        n += n < list.n;
        list.p += n;
        list.n -= n;
    }
    return 0;
}

static int take_word(struct queue_operation *op, struct span word,
                     struct span *rest, bool *any, struct err *e)
{
    if (span_is(word, "dry-run")) {
        op->dry = true;
        return 0;
    }
    *any = true;
    if (span_is(word, "all"))
        return 0;
    struct span value = next_word(rest);
    if (value.n == 0)
        return err_set(e, ERR_USAGE, 0, "'%.*s' needs a value", (int)word.n,
                       word.p);
    if (span_is(word, "id"))
        return take_ids(&op->select, value, e);
    if (span_is(word, "domain"))
        op->select.domain = value;
    else if (span_is(word, "sender"))
        op->select.sender = value;
    else
        return err_set(e, ERR_USAGE, 0,
                       "'%.*s' is none of dry-run, all, id, domain or sender",
                       word.n < 40 ? (int)word.n : 40, word.p);
    return 0;
}

int operate_parse(struct queue_operation *op, const char *command,
                  struct err *e)
{
    bool any = false;
    unsigned verb = 0;

    memset(op, 0, sizeof *op);
    if (!span_copy(op->text, sizeof op->text, span_of(command)))
        return err_set(e, ERR_USAGE, 0, "the command is too long");
    struct span rest = span_of(op->text), word = next_word(&rest);
    while (verb < NVERBS && !span_is(word, verbs[verb]))
        verb++;
    if (verb == NVERBS)
        return 1;
    op->verb = (enum queue_verb)verb;
    while (rest.n > 0)
        if (take_word(op, next_word(&rest), &rest, &any, e) != 0)
            return -1;
    return any ? 0
               : err_set(e, ERR_USAGE, 0,
                         "'%s' needs all, id, domain or sender", verbs[verb]);
}

int operate_answer(struct queue *q, struct queue_operation *op,
                   struct buf *answer)
{
    bool first = !op->begun;

    if (operate_piece(q, op)) {
        if (!first)
            buf_addf(answer, " progress %" PRIu64 "\n", op->rcpts);
        return 1;
    }
    buf_addf(answer, " matched %" PRIu64 " recipients %" PRIu64 " messages%s\n",
             op->rcpts, op->messages, op->incomplete ? " incomplete" : "");
    if (op->failed > 0)
        buf_addf(answer, " failed %" PRIu64 "\n", op->failed);
    return 0;
}

void operate_waiting(const struct queue *q, struct buf *answer)
{
    bool more = q->scan.wanted || q->scan.incomplete;

    buf_addf(answer, " waiting %" PRIu64 "\n", q->memory.pending + more);
}
