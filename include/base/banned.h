/* base/banned.h - names that this code base does without.
 *
 * The Makefile forces this header into every translation unit.  The headers
 * that declare the names come first, because a poisoned name may not appear
 * even in a declaration.  Why each group is out:
 *   - unbounded or hidden-state string work: strcpy ... strtok, gets, alloca;
 *   - buffers that grow: realloc, reallocarray, strndup (buffers here have a
 *     known size or are chains of blocks);
 *   - processes other than by fork(): clone ... popen, system;
 *   - sendfile and splice: bodies pass through code that sees every byte.
 * BANNED_REALLOC is for the allocator that OpenSSL calls alone. */
#ifndef MTA_BASE_BANNED_H
#define MTA_BASE_BANNED_H

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include <wchar.h>

#undef alloca
#undef sprintf
#undef vsprintf
#define BANNED_REALLOC realloc
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets alloca
#pragma GCC poison realloc reallocarray strndup
#pragma GCC poison clone vfork posix_spawn posix_spawnp popen system
#pragma GCC poison sendfile splice
#endif
