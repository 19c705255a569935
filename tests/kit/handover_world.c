/* handover_world.c - the message that is handed over, and what was done. */
#include "handover_life.h"

#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS = 512 };
#define NEVER SIZE_MAX

/* --- the message ---------------------------------------------------------- */

static const struct {
    char name;
    const char *targets;
} aliases[] = { { 'A', "mr" }, { 'B', "rs" }, { 'C', "r" }, { 'E', "r" } };

const char *handover_expand(char name)
{
    static char itself[2];

    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (aliases[i].name == name)
            return aliases[i].targets;
    itself[0] = name;
    return itself;
}

bool handover_is_alias(char name)
{
    return name >= 'A' && name <= 'E';
}

bool handover_is_remote(char name)
{
    return name == 'r' || name == 's';
}

static int on_field(void *ctx, enum spool_field type, struct span s)
{
    struct handover_record *r = ctx;
    uint32_t first, last;
    char text[16];

    if (type == SPOOL_F_RCPT && s.n == 1 && r->n < TARGETS)
        r->name[r->n++] = s.p[0];
    else if (type == SPOOL_F_SID && span_copy(text, sizeof text, s))
        r->number = (unsigned)atoi(text);
    else if (type == SPOOL_F_REPLACES)
        while (spool_replaces_next(&s, &first, &last))
            for (uint32_t i = first; i <= last && i < TARGETS; i++)
                r->replaces |= 1u << i;
    return 0;
}

int handover_record_read(struct handover_record *out,
                         const struct spool_reader *v)
{
    struct err e;

    *out = (struct handover_record){ .parent = UINT64_MAX };
    out->id = v->rec->id;
    out->notice = (v->rec->flags & SPOOL_BOUNCE) != 0;
    if (v->rec->part != 0)
        out->parent = spool_part_parent(v->rec->part);
    return spool_reader_envelope(v, on_field, out, &e) == 0 &&
                   out->n == v->rec->nrcpt &&
                   (v->rec->part == 0) == (out->replaces == 0)
               ? 0
               : -1;
}

/* --- what was done -------------------------------------------------------- */

struct event {
    struct handover_record rec;
    char target;
    bool mark; /* it was written that this was done */
    size_t when, synced;
};
static struct world {
    struct event event[EVENTS];
    size_t n;
} world, saved;
static struct handover_life *life;
size_t model_count(void);

void world_begin(struct handover_life *l)
{
    life = l;
    world.n = 0;
}

void world_fault(const char *fmt, ...)
{
    va_list ap;

    if (life->fault[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(life->fault, sizeof life->fault, fmt, ap);
    va_end(ap);
}

static void note(const struct handover_record *r, char target, bool mark)
{
    ck_assert_uint_lt(world.n, EVENTS);
    world.event[world.n++] =
        (struct event){ *r, target, mark, model_count(), NEVER };
}

void world_act(const struct handover_record *r, char target)
{
    if (r->notice)
        return;
    for (size_t i = 0; i < world.n; i++) {
        const struct event *v = &world.event[i];
        bool same = v->rec.number == r->number;
        bool siblings = !same && r->parent != UINT64_MAX &&
                        v->rec.parent == r->parent &&
                        msg_id_eq(v->rec.id, r->id);
        if (same && v->mark && v->target == target)
            world_fault("%c is delivered again by record %u though its mark "
                        "was not lost",
                        target, r->number);
        if (siblings && (v->rec.replaces & r->replaces) != 0)
            world_fault("expanded twice: records %u and %u are both acted on "
                        "(%c)",
                        v->rec.number, r->number, target);
    }
    note(r, target, false);
}

void world_marked(const struct handover_record *r, char target)
{
    if (!r->notice)
        note(r, target, true);
}

static bool is_of(const struct event *v, enum spool_name queue)
{
    return handover_is_remote(v->target) == (queue == SPOOL_REMOTE);
}

void world_synced(enum spool_name queue)
{
    for (size_t i = 0; i < world.n; i++)
        if (is_of(&world.event[i], queue) && world.event[i].synced == NEVER)
            world.event[i].synced = model_count();
}

void world_killed(enum spool_name queue)
{
    for (size_t i = 0; i < world.n; i++)
        if (is_of(&world.event[i], queue) && world.event[i].synced == NEVER)
            world.event[i].synced = NEVER - 1;
}

void world_save(void)
{
    saved = world;
}

void world_restore(void)
{
    world = saved;
}

void world_cut(size_t cut)
{
    size_t kept = 0;

    for (size_t i = 0; i < world.n; i++) {
        struct event v = world.event[i];
        if (v.when > cut || (v.mark && v.synced > cut))
            continue;
        v.when = v.synced = 0;
        world.event[kept++] = v;
    }
    world.n = kept;
}

/* --- the end -------------------------------------------------------------- */

static void judge_target(char target)
{
    for (size_t i = 0; i < world.n; i++)
        if (world.event[i].target == target && !world.event[i].mark)
            return;
    world_fault("lost: %c is never delivered", target);
}

static void judge_dir(const char *dir, enum spool_name name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", dir, spool_name_text(name));
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *n; (n = readdir(d)) != NULL;) {
        if (strstr(n->d_name, ".seg") != NULL)
            world_fault("stuck: %s/%s is left", spool_name_text(name),
                        n->d_name);
        if (strstr(n->d_name, ".bad") != NULL && !life->faults)
            world_fault("a torn tail is taken for damage in %s",
                        spool_name_text(name));
    }
    closedir(d);
}

void world_judge_end(const char *dir)
{
    for (const char *name = life->scene->slots; *name != '\0'; name++)
        for (const char *t = handover_expand(*name); *t != '\0'; t++)
            judge_target(*t);
    judge_dir(dir, SPOOL_LOCAL);
    judge_dir(dir, SPOOL_REMOTE);
}
