/* recipient/user_asker.h - the end of a process that asks a user helper.
 *
 * Keeps answers: "there is such a user" for 5 minutes, "there is none" for 10
 * seconds.  At most ASKER_NAMES of each, and ASKER_OPEN questions on their way
 * to the helper; what is asked beyond them waits for its turn.
 *
 * A helper that answers nothing for 5 seconds is given up: lost() asks the
 * owner for another, which comes by user_asker_connect(), at once or later; and
 * all that waits fails for now.  When a helper ends by itself, lost() is called
 * too, and its questions go to the next one, once.  For one loop; not for
 * threads. */
#ifndef MTA_RECIPIENT_USER_ASKER_H
#define MTA_RECIPIENT_USER_ASKER_H

#include "base/err.h"

#include <stdbool.h>

enum { ASKER_NAMES = 16384, ASKER_OPEN = 256 };

struct loop;
struct user_asker;

/* Without a helper at first.  Both callbacks come from the loop, answered()
 * once for all answers of a turn; they may ask again, and connect. */
int user_asker_new(struct user_asker **a, struct loop *loop,
                   void (*answered)(void *ctx), void (*lost)(void *ctx),
                   void *ctx, struct err *e);
void user_asker_free(struct user_asker **a); /* accepts NULL */

/* A new helper, by its end of a line_pair(); takes fd.  Closes the line to the
 * one before. */
void user_asker_connect(struct user_asker *a, int fd);

/* Another time than usual, for tests. */
enum asker_time { ASKER_YES, ASKER_NO, ASKER_TEMP, ASKER_SILENT, ASKER_TIMES };
void user_asker_set_ms(struct user_asker *a, enum asker_time which,
                       unsigned ms);

/* For recipient/ alone.  USER_WAIT: asked; answered() follows, whatever
 * happens. */
enum user_found { USER_NO, USER_YES, USER_TEMP, USER_WAIT };
enum user_found user_asker_find(struct user_asker *a, const char *name);
#endif
