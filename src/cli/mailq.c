#include "cli/mailq.h"

#include "base/msg_id.h"
#include "base/os.h"
#include "base/span.h"
#include "cli/queue.h"
#include "smtp/address.h"
#include "spool/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 76, REASON_TEXT = 512, WHEN_TEXT = 32, BUFFER = 64 * 1024 };

struct mailq {
    const struct spool_reader *view; /* the message that is printed */
    struct err *e;
    char sender[SMTP_ADDRESS_MAX];
    char reason[REASON_TEXT]; /* of the recipient before */
    uint32_t index;           /* of the next recipient */
    uint64_t messages, octets;
};

/* The settings alone, as -c FILE; anything else is of mta queue. */
static bool has_settings_alone(int argc, char **argv)
{
    static const char *const known[] = { "-c", "-o", "--queue-dir" };

    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] &&
               strncmp(argv[i], known[k], strlen(known[k])) != 0)
            k++;
        if (k == sizeof known / sizeof known[0])
            return false;
        i += strcmp(argv[i], known[k]) == 0; /* its value */
    }
    return true;
}

bool mailq_is_wanted(int argc, char **argv)
{
    return strcmp(os_base_name(argv[0]), "mailq") == 0 &&
           !isatty(STDOUT_FILENO) && has_settings_alone(argc, argv);
}

/* Replies and addresses without control characters, in one line. */
static void put(const char *text)
{
    for (; *text != '\0'; text++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

/* Held by an operator, all of it. */
static int is_held(const struct mailq *q, bool *held)
{
    struct spool_slot slot;

    *held = true;
    for (uint32_t i = 0; i < q->view->rec->nrcpt; i++) {
        if (spool_reader_slot(q->view, i, &slot, q->e) != 0)
            return -1;
        *held &= slot.state != SPOOL_PENDING;
    }
    return 0;
}

static int put_head(const struct mailq *q)
{
    const struct spool_record *rec = q->view->rec;
    time_t t = (time_t)(rec->arrival / 1000000u);
    char id[MSG_ID_TEXT], when[WHEN_TEXT] = "?";
    struct tm tm;
    bool held;

    if (is_held(q, &held) != 0)
        return -1;
    if (localtime_r(&t, &tm) != NULL)
        (void)strftime(when, sizeof when, "%a %b %e %H:%M:%S", &tm);
    msg_id_text(id, rec->id);
    printf("%s%c %8" PRIu64 " %19s ", id, held ? '!' : ' ',
           rec->body_size + rec->front, when);
    put(q->sender[0] != '\0' ? q->sender : "MAILER-DAEMON");
    putchar('\n');
    return 0;
}

/* Why it waits, once for the recipients behind one another that wait for it. */
static void put_reason(struct mailq *q, const struct spool_slot *slot)
{
    char reason[REASON_TEXT];

    if (slot->reply[0] == '\0')
        return;
    snprintf(reason, sizeof reason, "%s%s%s", slot->mx,
             slot->mx[0] == '\0'      ? ""
             : slot->status.code != 0 ? " said: "
                                      : ": ",
             slot->reply);
    if (strcmp(reason, q->reason) == 0)
        return;
    snprintf(q->reason, sizeof q->reason, "%s", reason);
    int n = (int)strlen(reason);
    printf("%*s(", n < WIDTH ? WIDTH - n : 0, "");
    put(reason);
    puts(")");
}

static int take_field(void *ctx, enum spool_field type, struct span s)
{
    struct mailq *q = ctx;
    char address[SMTP_ADDRESS_MAX];
    struct spool_slot slot;

    if (type == SPOOL_F_SENDER) {
        (void)span_copy(q->sender, sizeof q->sender, s);
        return put_head(q);
    }
    if (type != SPOOL_F_RCPT || q->index >= q->view->rec->nrcpt)
        return 0;
    if (spool_reader_slot(q->view, q->index++, &slot, q->e) != 0)
        return -1;
    if (slot.state != SPOOL_PENDING && slot.state != SPOOL_HELD)
        return 0;
    put_reason(q, &slot);
    (void)span_copy(address, sizeof address, s);
    printf("%-17s %8s %-19s ", "", "", "");
    put(address);
    putchar('\n');
    return 0;
}

static int take_message(void *ctx, const struct spool_reader *v)
{
    struct mailq *q = ctx;

    if (q->messages++ == 0)
        printf("%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--",
               "---Arrival Time----", "--Sender/Recipient------");
    q->view = v;
    q->index = 0;
    q->sender[0] = q->reason[0] = '\0';
    q->octets += v->rec->body_size + v->rec->front;
    if (spool_reader_envelope(v, take_field, q, q->e) < 0)
        return -1;
    putchar('\n');
    return 0;
}

int mailq_print(const struct options *o)
{
    static char buffer[BUFFER];
    struct err e = { ERR_NONE, 0, "" };
    struct mailq q = { .e = &e };
    int status = queue_find(o);

    if (status != EX_OK)
        return status;
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (spool_read_all(o->conf.queue_dir, false, take_message, &q, &e) < 0)
        return queue_fail(o, &e);
    if (q.messages == 0)
        puts("Mail queue is empty");
    else
        printf("-- %" PRIu64 " Kbytes in %" PRIu64 " Request%s.\n",
               q.octets / 1024, q.messages, q.messages == 1 ? "" : "s");
    return EX_OK;
}
