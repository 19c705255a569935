/* base/title.h - how a process is called in ps(1) and top(1).
 *
 * The title takes the place of arguments and environment in the memory that
 * the system shows of a process: a password that was given there is not seen
 * any more. */
#ifndef MTA_BASE_TITLE_H
#define MTA_BASE_TITLE_H

/* At the start of main(): moves arguments and environment elsewhere.  Returns
 * the arguments, ended by NULL; argv itself where there is no memory, and
 * titles then have no effect. */
char **title_open(int argc, char **argv);

/* "mta: " and the text; the name of the thread is "mta-" and as much of the
 * text as fits. */
void title_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
