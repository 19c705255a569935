/* config/load.h - the layers under conf_load(); for src/config alone.
 *
 * A layer passes settings with their origin to conf_take(); a later layer
 * overrides an earlier one. */
#ifndef MTA_CONFIG_LOAD_H
#define MTA_CONFIG_LOAD_H

#include "config/table.h"

struct conf_loading {
    struct conf *c;
    const struct conf_source *from;
};

/* All layers, into ld->c, which is emptied first; leaves it empty when it
 * fails. */
int conf_load_all(struct conf_loading *ld, struct conf *c,
                  const struct conf_source *from, struct err *e);

/* The origin of the value; "": not set yet. */
const char *conf_origin(const struct conf *c, const struct conf_item *it);

void conf_note(struct conf_loading *ld, const struct conf_item *it,
               const char *origin);

/* Set a value and its origin; *e of a failure is "origin: key: fault". */
int conf_take(struct conf_loading *ld, const struct conf_item *it,
              struct span text, const char *origin, struct err *e);
int conf_take_list(struct conf_loading *ld, const struct conf_item *it,
                   const struct span *el, size_t n, const char *origin,
                   struct err *e);

/* "origin: no setting 'key'; did you mean 'other'?", or that a later version
 * has it.  Returns -1. */
int conf_unknown(const char *origin, const char *key, struct err *e);

/* The layers; each returns 0, or -1 with *e. */
int conf_load_begin(struct conf_loading *ld, struct conf *c,
                    const struct conf_source *from, struct err *e);
int conf_load_defaults(struct conf_loading *ld, struct err *e);
int conf_load_derived(struct conf_loading *ld, struct err *e);
int conf_load_file(struct conf_loading *ld, struct err *e);
int conf_load_env(struct conf_loading *ld, struct err *e);
int conf_load_flags(struct conf_loading *ld, struct err *e);

/* Checks that concern several settings. */
int conf_check(const struct conf *c, struct err *e);

void conf_warn(const struct conf_loading *ld, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The configuration as libconfig text instead of a file, for tests. */
int conf_load_text(struct conf_loading *ld, const char *text, struct err *e);
#endif
