/* queue_print.c - what the two forms of a message of the queue share. */
#include "cli/queue_private.h"

#include "net/tls.h"

struct queue_present queue_present_of(const struct queue_printing *p,
                                      struct span address,
                                      const struct spool_slot *slot)
{
    struct queue_present now = { NULL, NULL };

    if (p->style->live == NULL || slot->state != SPOOL_PENDING)
        return now;
    now.delivering =
        queue_live_delivering(p->style->live, p->view->rec, p->index);
    /* The slot is read later: it may show how that delivery ended. */
    if (now.delivering != NULL && slot->last_attempt > now.delivering->since)
        now.delivering = NULL;
    if (now.delivering == NULL && p->view->queue == SPOOL_REMOTE)
        now.shut = queue_live_shut(p->style->live, span_of(p->sender), address);
    return now;
}

const char *queue_tls(char room[QUEUE_TLS_TEXT], const struct spool_slot *slot)
{
    const char *version = tls_version_name(slot->tls_version);
    const char *cipher = tls_cipher_name(slot->tls_cipher);

    if (slot->tls_version == 0)
        return "none";
    /* of another version of OpenSSL, as it was on the wire */
    if (version != NULL && cipher != NULL)
        snprintf(room, QUEUE_TLS_TEXT, "%s/%s", version, cipher);
    else
        snprintf(room, QUEUE_TLS_TEXT, "0x%04x/0x%04x",
                 (unsigned)slot->tls_version, (unsigned)slot->tls_cipher);
    return room;
}

static const char *const states[] = { "pending",  "delivered", "failed",
                                      "expanded", "held",      "deleted" };

const char *queue_state_name(enum spool_state s)
{
    return (unsigned)s < sizeof states / sizeof states[0] ? states[s]
                                                          : "unknown";
}

static const struct queue_origin origins[] = {
    { SPOOL_F_CLIENT, false, "client", "received from" },
    { SPOOL_F_HELO, false, "helo", "which called itself" },
    { SPOOL_F_SID, false, "sid", "in session" },
    { SPOOL_F_TLS, false, "tls", "by" },
    { SPOOL_F_ENVID, false, "envid", "envelope id" },
    { SPOOL_F_RET, false, "ret", "to return in a bounce:" },
    { SPOOL_F_MAILBOX, true, "mailbox", "for mailbox" },
    { SPOOL_F_ORCPT, true, "orcpt", "original recipient" },
    { SPOOL_F_NOTIFY, true, "notify", "to notify of" },
};

const struct queue_origin *queue_origin_of(enum spool_field type)
{
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++)
        if (origins[i].type == type)
            return &origins[i];
    return NULL;
}

int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e)
{
    struct queue_printing p = { .view = v, .style = style, .e = e };

    return style->json ? queue_print_json(&p, e) : queue_print_text(&p, e);
}
