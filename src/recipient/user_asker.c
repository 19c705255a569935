#include "recipient/user_asker.h"

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "net/loop.h"
#include "recipient/user_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKETS_A_TURN = 1024, LOSSES_MAX = 2 };

static const unsigned usual_ms[] = { [ASKER_YES] = 5 * 60 * 1000,
                                     [ASKER_NO] = 10 * 1000,
                                     [ASKER_TEMP] = 1000,
                                     [ASKER_SILENT] = 5 * 1000 };

/* A name is in one of the lists of its asker, by its state. */
enum state { ST_WAITS, ST_ASKED, ST_YES, ST_NO, ST_TEMP };

struct name {
    struct map_link by_name;
    struct list link;
    uint64_t until; /* the answer holds */
    enum state state;
    unsigned losses; /* helpers that ended with this question */
    char text[USER_LINE_NAME];
};

struct user_asker {
    struct loop *loop;
    struct loop_io io; /* fd -1: no helper */
    struct loop_timer silent;
    struct map by_name;
    struct pool *names;
    struct list waits, asked, yes, no; /* no: ST_TEMP too */
    size_t nopen, nyes, nno;           /* nopen: in waits and asked */
    unsigned ms[ASKER_TIMES];
    void (*answered)(void *ctx);
    void (*lost)(void *ctx);
    void *ctx;
};

/* --- names -------------------------------------------------------------- */

static struct name *find(const struct user_asker *a, const char *name)
{
    struct map_link *l = map_first(&a->by_name, map_hash(name, strlen(name)));

    for (; l != NULL; l = map_next(l))
        if (strcmp(MAP_ENTRY(l, struct name, by_name)->text, name) == 0)
            return MAP_ENTRY(l, struct name, by_name);
    return NULL;
}

static size_t *count_of(struct user_asker *a, enum state s)
{
    return s == ST_WAITS || s == ST_ASKED ? &a->nopen
           : s == ST_YES                  ? &a->nyes
                                          : &a->nno;
}

static void move(struct user_asker *a, struct name *k, enum state s)
{
    struct list *to = s == ST_WAITS   ? &a->waits
                      : s == ST_ASKED ? &a->asked
                      : s == ST_YES   ? &a->yes
                                      : &a->no;

    list_remove(&k->link);
    --*count_of(a, k->state);
    k->state = s;
    list_push(to, &k->link);
    ++*count_of(a, s);
}

static void forget(struct user_asker *a, struct name *k)
{
    list_remove(&k->link);
    --*count_of(a, k->state);
    map_remove(&a->by_name, &k->by_name);
    pool_put(a->names, k);
}

/* The oldest of a full list makes room. */
static void settle(struct user_asker *a, struct name *k, enum state s)
{
    struct list *of = s == ST_YES ? &a->yes : &a->no;

    if (*count_of(a, s) == ASKER_NAMES)
        forget(a, LIST_ENTRY(of->next, struct name, link));
    k->until = loop_now(a->loop) + a->ms[s == ST_YES  ? ASKER_YES
                                         : s == ST_NO ? ASKER_NO
                                                      : ASKER_TEMP];
    move(a, k, s);
}

static struct name *add(struct user_asker *a, const char *name)
{
    size_t n = strlen(name);
    struct name *k = n < sizeof k->text ? pool_get(a->names) : NULL;

    if (k == NULL)
        return NULL;
    *k = (struct name){ .state = ST_WAITS };
    memcpy(k->text, name, n + 1);
    map_add(&a->by_name, &k->by_name, map_hash(name, n));
    list_push(&a->waits, &k->link);
    a->nopen++;
    return k;
}

/* --- the helper --------------------------------------------------------- */

static void watch(struct user_asker *a)
{
    struct err ignored; /* cannot fail for what is watched */

    if (a->io.fd >= 0)
        (void)loop_watch(a->loop, &a->io,
                         LOOP_READ | (list_empty(&a->waits) ? 0 : LOOP_WRITE),
                         &ignored);
}

static void hang_up(struct user_asker *a)
{
    struct err ignored;

    if (a->io.fd < 0)
        return;
    (void)loop_watch(a->loop, &a->io, 0, &ignored);
    close(a->io.fd);
    a->io.fd = -1;
}

static void mind_silence(struct user_asker *a)
{
    if (a->nopen > 0)
        loop_timer_set(a->loop, &a->silent, a->ms[ASKER_SILENT]);
    else
        loop_timer_clear(a->loop, &a->silent);
}

/* Questions go to the next helper, those that were there before have failed for
 * now: such a name may be what ends helpers.  True: some have. */
static bool take_back(struct user_asker *a, unsigned losses)
{
    bool failed = false;

    while (!list_empty(&a->asked)) {
        struct name *k = LIST_ENTRY(a->asked.next, struct name, link);
        k->losses += losses;
        if (k->losses < LOSSES_MAX) {
            move(a, k, ST_WAITS);
        } else {
            settle(a, k, ST_TEMP);
            failed = true;
        }
    }
    return failed;
}

static void on_silent(struct loop_timer *t)
{
    struct user_asker *a = LOOP_ENTRY(t, struct user_asker, silent);

    hang_up(a);
    take_back(a, LOSSES_MAX);
    while (!list_empty(&a->waits))
        settle(a, LIST_ENTRY(a->waits.next, struct name, link), ST_TEMP);
    a->lost(a->ctx);
    a->answered(a->ctx);
}

static void on_end(struct user_asker *a)
{
    hang_up(a);
    bool failed = take_back(a, 1);
    mind_silence(a);
    a->lost(a->ctx);
    if (failed)
        a->answered(a->ctx);
}

/* Send the names that wait, as many as a packet holds.  1: more wait; 0; -1:
 * the helper is gone. */
static int send_packet(struct user_asker *a)
{
    char text[USER_LINE_MAX];
    size_t n = 0, names = 0;
    ssize_t sent;

    for (struct list *l = a->waits.next; l != &a->waits; l = l->next, names++) {
        const struct name *k = LIST_ENTRY(l, struct name, link);
        size_t length = strlen(k->text) + 1;
        if (n + length > sizeof text)
            break;
        memcpy(text + n, k->text, length);
        n += length;
    }
    if (n == 0)
        return 0;
    do
        sent = send(a->io.fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : -1;
    for (; names > 0; names--)
        move(a, LIST_ENTRY(a->waits.next, struct name, link), ST_ASKED);
    return !list_empty(&a->waits);
}

static bool take_answer(struct user_asker *a, const char *text)
{
    struct name *k = find(a, text + 1);

    if (k == NULL || (k->state != ST_ASKED && k->state != ST_WAITS))
        return false;
    settle(a, k,
           *text == USER_LINE_YES  ? ST_YES
           : *text == USER_LINE_NO ? ST_NO
                                   : ST_TEMP);
    return true;
}

/* -1: the helper is gone.  *any: there was an answer. */
static int take_answers(struct user_asker *a, bool *any)
{
    char text[1 + USER_LINE_NAME];

    for (unsigned i = 0; i < PACKETS_A_TURN; i++) {
        ssize_t n = recv(a->io.fd, text, sizeof text, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 2 || text[n - 1] != '\0')
            return -1;
        *any |= take_answer(a, text);
    }
    return 0;
}

static void on_ready(struct loop_io *io, unsigned ready)
{
    struct user_asker *a = LOOP_ENTRY(io, struct user_asker, io);
    bool any = false;
    int rc = ready & LOOP_READ ? take_answers(a, &any) : 0;

    if (rc == 0 && ready & LOOP_WRITE)
        while ((rc = send_packet(a)) > 0)
            ;
    if (any)
        mind_silence(a);
    if (rc < 0)
        on_end(a);
    else
        watch(a);
    if (any)
        a->answered(a->ctx);
}

/* ------------------------------------------------------------------------ */

int user_asker_new(struct user_asker **out, struct loop *loop,
                   void (*answered)(void *ctx), void (*lost)(void *ctx),
                   void *ctx, struct err *e)
{
    struct user_asker *a = calloc(1, sizeof *a);

    if (a == NULL)
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the user helper");
    a->loop = loop;
    a->io = (struct loop_io){ .fd = -1, .fn = on_ready };
    a->silent.fn = on_silent;
    memcpy(a->ms, usual_ms, sizeof a->ms);
    a->answered = answered;
    a->lost = lost;
    a->ctx = ctx;
    list_init(&a->waits);
    list_init(&a->asked);
    list_init(&a->yes);
    list_init(&a->no);
    a->names = pool_new(sizeof(struct name), 2 * ASKER_NAMES + ASKER_OPEN);
    if (a->names == NULL || map_init(&a->by_name, ASKER_NAMES / 4) != 0) {
        user_asker_free(&a);
        return err_set(e, ERR_TEMP, ENOMEM, "memory for the user helper");
    }
    *out = a;
    return 0;
}

void user_asker_free(struct user_asker **ap)
{
    struct user_asker *a = *ap;

    if (a == NULL)
        return;
    hang_up(a);
    loop_timer_clear(a->loop, &a->silent);
    map_done(&a->by_name);
    pool_free(&a->names);
    free(a);
    *ap = NULL;
}

void user_asker_set_ms(struct user_asker *a, enum asker_time which, unsigned ms)
{
    a->ms[which] = ms;
}

void user_asker_connect(struct user_asker *a, int fd)
{
    struct err ignored;

    hang_up(a);
    take_back(a, 0);
    a->io.fd = fd;
    /* Refused: a descriptor beyond FD_SETSIZE.  The timer asks again. */
    if (loop_watch(a->loop, &a->io, LOOP_READ, &ignored) != 0) {
        close(fd);
        a->io.fd = -1;
    }
    watch(a);
}

enum user_found user_asker_find(struct user_asker *a, const char *name)
{
    struct name *k = find(a, name);

    if (k != NULL && k->state != ST_WAITS && k->state != ST_ASKED &&
        loop_now(a->loop) >= k->until) {
        forget(a, k);
        k = NULL;
    }
    if (k == NULL && a->nopen == ASKER_OPEN)
        return USER_WAIT; /* asked when it is looked up again */
    if (k == NULL) {
        k = add(a, name);
        if (k == NULL)
            return USER_TEMP;
        if (a->nopen == 1)
            mind_silence(a);
        watch(a);
    }
    switch (k->state) {
    case ST_YES: return USER_YES;
    case ST_NO: return USER_NO;
    case ST_TEMP: return USER_TEMP;
    case ST_WAITS:
    case ST_ASKED: break;
    }
    return USER_WAIT;
}
