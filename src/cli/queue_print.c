/* queue_print.c - what the two forms of a message of the queue share. */
#include "cli/queue_private.h"

#include "net/tls.h"
#include "queue/retry_rule.h"

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

uint64_t queue_next_attempt(const struct queue_printing *p,
                            const struct spool_slot *slot)
{
    return retry_next(p->view->rec, slot, (uint32_t)p->style->retry_min);
}

const char *queue_tls(char room[QUEUE_TLS_TEXT], unsigned short version_id,
                      unsigned short cipher_id)
{
    const char *version, *cipher;

    if (version_id == 0)
        return "none";
    version = tls_version_name(version_id);
    cipher = tls_cipher_name(cipher_id);
    /* of another version of OpenSSL, as it was on the wire */
    if (version != NULL && cipher != NULL)
        snprintf(room, QUEUE_TLS_TEXT, "%s/%s", version, cipher);
    else
        snprintf(room, QUEUE_TLS_TEXT, "0x%04x/0x%04x", version_id, cipher_id);
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
    { SPOOL_F_CLIENT, false, "client", "client" },
    { SPOOL_F_UID, false, "uid", "user id" },
    { SPOOL_F_HELO, false, "helo", "HELO name" },
    { SPOOL_F_SID, false, "sid", "session" },
    { SPOOL_F_TLS, false, "tls", "TLS" },
    { SPOOL_F_ENVID, false, "envid", "DSN envelope id" },
    { SPOOL_F_RET, false, "ret", "DSN returns" },
    { SPOOL_F_MAILBOX, true, "mailbox", "mailbox" },
    { SPOOL_F_ORCPT, true, "orcpt", "DSN original recipient" },
    { SPOOL_F_NOTIFY, true, "notify", "DSN notifies of" },
};

const struct queue_origin *queue_origin_of(enum spool_field type)
{
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++)
        if (origins[i].type == type)
            return &origins[i];
    return NULL;
}

bool queue_is_shown(const struct queue_printing *p, struct span address,
                    const struct spool_slot *slot,
                    const struct queue_present *now)
{
    return p->style->filter == NULL ||
           queue_filter_rcpt(p->style->filter, address, slot,
                             now->delivering != NULL);
}

/* --- what the filter leaves, and its key --------------------------------- */

struct look {
    struct queue_printing p;
    struct queue_key *key;
    unsigned n; /* recipients that are shown */
};

static void note(struct look *k, struct span address,
                 const struct spool_slot *slot)
{
    if (k->n++ == 0)
        (void)span_copy(k->key->domain, sizeof k->key->domain,
                        queue_domain_of(address));
    uint64_t next = queue_next_attempt(&k->p, slot);
    if (slot->state == SPOOL_PENDING && next < k->key->next)
        k->key->next = next;
    if (slot->attempts > k->key->attempts)
        k->key->attempts = slot->attempts;
}

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    struct look *k = ctx;
    struct queue_printing *p = &k->p;
    const struct queue_filter *f = p->style->filter;
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        (void)span_copy(p->sender, sizeof p->sender, s);
        (void)span_copy(k->key->sender, sizeof k->key->sender, s);
        return f == NULL || queue_select_sender(&f->select, s) ? 0 : 1;
    }
    if (type != SPOOL_F_RCPT || p->index >= p->view->rec->nrcpt)
        return 0;
    bool chosen = f == NULL || queue_select_address(&f->select, s);
    if (chosen && spool_reader_slot(p->view, p->index, &slot, p->e) != 0)
        return -1;
    if (chosen) {
        struct queue_present now = queue_present_of(p, s, &slot);
        if (queue_is_shown(p, s, &slot, &now))
            note(k, s, &slot);
    }
    p->index++;
    return 0;
}

int queue_look(const struct spool_reader *v, const struct queue_style *style,
               struct queue_key *key, struct err *e)
{
    struct look k = { .p = { .view = v, .style = style, .e = e }, .key = key };
    bool filtered = style->filter != NULL && style->filter->on;

    *key = (struct queue_key){ .arrival = v->rec->arrival,
                               .size = v->rec->body_size + v->rec->front,
                               .next = UINT64_MAX };
    if (filtered && !queue_filter_record(style->filter, v->rec))
        return 0;
    int rc = spool_reader_envelope(v, on_field, &k, e);
    if (rc < 0 && e->kind == ERR_PERM) /* damaged: in the whole list alone */
        return filtered ? 0 : 1;
    return rc < 0 ? -1 : k.n > 0 || !filtered;
}

int queue_print(const struct spool_reader *v, const struct queue_style *style,
                struct err *e)
{
    struct queue_printing p = { .view = v, .style = style, .e = e };

    return style->json ? queue_print_json(&p, e) : queue_print_text(&p, e);
}
