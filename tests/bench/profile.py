#!/usr/bin/python3
"""Where the CPU time of a message goes: by system call, and mta itself.

usage: profile.py ROW ...

Runs each row of bench.py with mta alone under `perf record` (a clock, for
not every machine counts cycles; Debian's package linux-perf) and prints a
table for docs/bench.md.  A sample belongs to the call that it fell into, also
when it was the kernel's work for the other end of a loopback connection.
Needs root."""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LEAST = 0.02  # of the whole: smaller ones are summed up
# Names that the C library has for its calls.
ALIASES = (("__GI_", ""), ("___", ""), ("__", ""), ("libc_", ""))


def call_of(frame):
    """The system call of a frame of the C library."""
    name = frame.split("+")[0]
    for old, new in ALIASES:
        name = name[len(old):] if name.startswith(old) else name
    return re.sub(r"(64|_nocancel)+$", "", name) or frame


def place_of(frames):
    """frames: [(symbol, object)], innermost first."""
    for i, (symbol, where) in enumerate(frames):
        if "[" in where and "vdso" not in where:
            continue  # the kernel
        return "`%s()`" % call_of(symbol) if i > 0 else "mta itself"
    return "the kernel, between calls"


def samples(text):
    """The places of all samples whose process is called mta."""
    for block in text.split("\n\n"):
        head, *lines = block.strip().splitlines() or [""]
        if not re.match(r"mta\s", head):
            continue
        frames = [(m.group(1), m.group(2)) for m in (
            re.match(r"\s*[0-9a-f]+ (.+) \((.+)\)$", line) for line in lines)
            if m]
        if frames:
            yield place_of(frames)


def profile(row, where):
    data = os.path.join(where, "perf")
    out = os.path.join(where, "json")
    subprocess.run(
        ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", "1999",
         "-o", data, "--", "/usr/bin/python3", os.path.join(HERE, "bench.py"),
         "--only", row, "--peers", "mta", "--rounds", "1", "--seconds", "6",
         "--no-syncs", "--json", out], check=True, stdout=sys.stderr)
    with open(out) as f:
        result = json.load(f)[row]["mta"][0]
    text = subprocess.run(["perf", "script", "-i", data], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return result["cpu_us"], collections.Counter(
        samples(text.stdout.decode("utf-8", "replace")))


def table(row, us, count):
    total = sum(count.values())
    few = sum(n for n in count.values() if n < LEAST * total)
    print("\n| `%s`: %.0f us a message | share | us |\n|---|--:|--:|" % (row,
                                                                       us))
    shown = [(n, p) for p, n in count.items() if n >= LEAST * total]
    for n, place in sorted(shown, reverse=True) + [(few, "others")]:
        print("| %s | %.0f %% | %.1f |" % (place, 100 * n / total,
                                           us * n / total))
    print("\n%d samples." % total)


def main():
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    if shutil.which("perf") is None:
        sys.exit("profile.py: there is no perf; install linux-perf")
    for row in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="mta-profile-") as where:
            table(row, *profile(row, where))


if __name__ == "__main__":
    main()
