/* check.c - what no single setting can know. */
#include "config/load.h"

#include <string.h>

static int fault(const struct conf *c, const char *key, const char *text,
                 struct err *e)
{
    const char *origin = conf_origin(c, conf_find(span_of(key)));

    err_set(e, origin[0] == '-' ? ERR_USAGE : ERR_PERM, 0, "%s", text);
    return conf_fault(c, key, e);
}

int conf_check(const struct conf *c, struct err *e)
{
    /* The fault is shown where a person has set something. */
    const char *touched = conf_is_default(c, "send.retry_min")
                              ? "send.retry_max"
                              : "send.retry_min";

    if (c->send.retry_min > c->send.retry_max)
        return fault(c, touched, "send.retry_min is longer than send.retry_max",
                     e);
    if (strpbrk(c->local.recipient_delimiter, "@\"<> \\") != NULL)
        return fault(c, "local.recipient_delimiter",
                     "no character that separates users (+, - and the like"
                     " are)",
                     e);
    return 0;
}
