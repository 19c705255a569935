/* base/memory.h - how much memory is there for this process.
 *
 * For defaults of settings that bound memory: what is free changes with each
 * call, so the result is a guess to start from, not a promise. */
#ifndef MTA_BASE_MEMORY_H
#define MTA_BASE_MEMORY_H

/* Bytes that this process could still take without swapping and without a
 * kill by the kernel: what the machine has available (/proc/meminfo), or what
 * the memory limit of its control group and of each group above leaves
 * (cgroup v2 and v1), whichever is least.  Page cache counts as free.  What
 * cannot be read limits nothing; if nothing can be read: 0.  `root` stands
 * before /proc and /sys, "" but in tests. */
unsigned long long memory_left(const char *root);
#endif
