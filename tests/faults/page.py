"""The page of memory through which shim.c is told what to fail.

    page = Page("/tmp/x/page", speed=10)
    env = page.environment(shim)        for the process that is tried
    page.arm(("pid", 4711), "fsync", errno.EIO, nth=3)
    ...
    page.disarm(); page.hits; page.stack()
"""

import errno
import mmap
import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "calls.h")) as f:
    CALLS = re.findall(r"\bCALL\((\w+)\)", f.read().split("*/", 1)[1])

FRAMES, SITES_MAX = 8, 2048
TARGETS = {"pid": 1, "parent": 2, "path": 3}
FOREVER = 0xffffffff
SHORT = -1  # not an errno: half of the bytes are done

# struct page of shim.c: offsets
ARMED, TARGET, PID, PATH, CALL = 0, 4, 8, 12, 32
GENERATION, SPEED, SEEN, HITS, HIT_PID, HIT, COUNT = 48, 52, 56, 60, 64, 72, 136
NSITES, SITE, SITE_SIZE = 648, 656, 8 + 8 * FRAMES
ONLY = SITE + SITES_MAX * SITE_SIZE
THEN_AT, THEN = ONLY + 8 * FRAMES, ONLY + 16 * FRAMES
THEN_HITS, SIZE = THEN + 4, THEN + 16


class Page:
    def __init__(self, path, speed=1):
        self.path = path
        with open(path, "w+b") as f:
            f.truncate(SIZE)
            self.map = mmap.mmap(f.fileno(), SIZE)
        self.put(SPEED, "I", speed)

    def put(self, at, kind, *values):
        struct.pack_into("<" + kind, self.map, at, *values)

    def get(self, at, kind="I"):
        return struct.unpack_from("<" + kind, self.map, at)[0]

    def environment(self, shim):
        return dict(os.environ, LD_PRELOAD=shim, SHIM_FAULTS=self.path)

    def arm(self, target, call=None, error=0, nth=1, last=None, only=None,
            then=None):
        """Fail the calls from the nth to the last (None: only that one) of
        the target: ("pid", N), ("parent", N): children of N that are born
        from now on, ("path", "2.1"): the first child of the second child.
        Without a call all are only counted.  only: the addresses of the one
        place whose calls fail; then: (call, error) of what fails next."""
        self.put(ARMED, "I", 0)
        only, (second, its_error) = only or [], then or (None, 0)
        self.put(ONLY, "%dQ" % FRAMES, *only, *[0] * (FRAMES - len(only)))
        self.put(THEN_AT, "%dQ" % FRAMES, *[0] * FRAMES)
        self.put(THEN, "IIi", CALLS.index(second) if second else FOREVER, 0,
                 its_error)
        kind, who = target
        self.put(TARGET, "I", TARGETS[kind])
        self.put(PID, "i", 0 if kind == "path" else who)
        self.put(PATH, "20s", who.encode() if kind == "path" else b"")
        self.put(CALL, "IIIi", CALLS.index(call) if call else FOREVER, nth,
                 nth if last is None else last, error)
        self.put(GENERATION, "I", self.get(GENERATION) + 1)
        for at in (SEEN, HITS, HIT_PID, NSITES):
            self.put(at, "I", 0)
        self.put(HIT, "%dQ" % FRAMES, *[0] * FRAMES)
        self.put(COUNT, "128I", *[0] * 128)
        self.put(ARMED, "I", 1)

    def disarm(self):
        self.put(ARMED, "I", 0)

    @property
    def hits(self):
        return self.get(HITS)

    @property
    def then_hits(self):
        return self.get(THEN_HITS)

    @property
    def seen(self):
        return self.get(SEEN)

    def counts(self):
        """call -> how often since arming."""
        return {name: self.get(COUNT + 4 * i)
                for i, name in enumerate(CALLS) if self.get(COUNT + 4 * i)}

    def frames(self, at):
        """Addresses in the program, innermost first."""
        found = struct.unpack_from("<%dQ" % FRAMES, self.map, at)
        return [a for a in found if a]

    def stack(self):
        """Where the first call that failed was."""
        return self.frames(HIT)

    def then_stack(self):
        return self.frames(THEN_AT)

    def sites(self):
        """[(call, addresses, how often)] of all calls that were counted."""
        found = []
        for i in range(self.get(NSITES)):
            at = SITE + i * SITE_SIZE
            call, count = struct.unpack_from("<II", self.map, at)
            found.append((CALLS[call], self.frames(at + 8), count))
        return found


def name_of(error):
    return "short" if error == SHORT else errno.errorcode[error]
