#!/usr/bin/python3
"""What runs of faults.py have covered.

usage: table.py PROGRAM FILE ...     (of --record)

Prints a table of calls by processes, for docs/reliability.md, then the places
of the program that call what can fail and that no run has failed."""

import collections
import json
import sys

from places import Places

# How parts of a run are shown.
COLUMNS = collections.OrderedDict((
    ("supervisor", ("start-supervisor", "drop-supervisor", "stop-supervisor", "sender-dies",
                    "collector-dies", "reload-supervisor", "once-parent")),
    ("collector", ("collector", "collector-lasting", "collector-start",
                   "start-collector", "drop-collector", "stop-collector")),
    ("master", ("start-master", "drop-master", "stop-master", "master-start", "worker-dies",
                "reload-master")),
    ("worker", ("worker", "worker-lasting", "worker-start", "start-worker",
                "stop-worker", "worker-mbox")),
    ("sender", ("sender", "sender-lasting", "sender-start", "start-sender", "drop-sender",
                "stop-sender", "once", "sender-mbox")),
    ("tools", ("queue-list", "queue-json", "queue-show", "queue-cat",
               "log-id", "config-show", "config-check"))))


def main():
    places = Places(sys.argv[1])
    count, reached = collections.Counter(), set()
    for name in sys.argv[2:]:
        with open(name) as f:
            for line in f:
                part, call, place, _ = json.loads(line)
                column = next(c for c, parts in COLUMNS.items()
                              if part in parts)
                count[call, column] += 1
                reached.add((call, int(place, 16)))
    print("| call | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for call in sorted({c for c, _ in count}):
        print("| `%s` | %s |" % (call, " | ".join(
            str(count[call, c] or "") for c in COLUMNS)))
    print("| all | %s |" % " | ".join(
        str(sum(n for (_, c), n in count.items() if c == column))
        for column in COLUMNS))
    static = set(places.static)
    print("\n%d injections; %d of %d places" % (
        sum(count.values()), len(reached & static), len(static)))
    for call, place in sorted(static - reached):
        print("not reached: %s in %s" % (call, places.text(place)))


if __name__ == "__main__":
    main()
