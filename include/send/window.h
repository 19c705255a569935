/* send/window.h - how many deliveries a lane may have in line.  Pure.
 *
 * The line in front of a host is at most a second of its work, so that mail
 * of another sender is never far behind.  The window starts at two deliveries.
 * Each one that comes back within a second of having been given makes it
 * larger by one, so it doubles with each round trip, up to twice the line that
 * there was; one that comes back later shrinks it to what the host has just
 * done in a second. */
#ifndef MTA_SEND_WINDOW_H
#define MTA_SEND_WINDOW_H

#include <stdint.h>

enum { WINDOW_MIN = 2, WINDOW_MAX = 64 };

struct window {
    unsigned size;
    unsigned longest; /* line since there was none */
};

/* A delivery was given, as the last of a line of so many; it came back after
 * so many ms. */
void window_given(struct window *w, unsigned line);
void window_back(struct window *w, unsigned line, uint64_t ms);
#endif
