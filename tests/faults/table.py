#!/usr/bin/python3
"""What runs of faults.py have covered.

usage: table.py PROGRAM FILE ...     (of --record)

Prints a table of calls by processes, for docs/reliability.md, then the places
of the program that call what can fail and that no run has failed."""

import collections
import json
import sys

from places import Places

COLUMNS = ("supervisor", "collector", "master", "worker", "dmaster",
           "deliver", "mailbox", "sender", "signer", "token", "tools")
# Parts that are not named after the process whose calls fail.
WHOSE = {"sender-dies": "supervisor", "collector-dies": "supervisor",
         "worker-dies": "master", "deliver-dies": "dmaster",
         "mailbox-dies": "dmaster", "mailbox-lost": "deliver",
         "signer-dies": "supervisor", "token-dies": "supervisor",
         "signer-lost": "sender", "token-lost": "sender",
         "dmaster-start": "supervisor", "once-parent": "supervisor",
         "once": "sender"}


def column_of(part):
    roles = [word for word in part.split("-") if word in COLUMNS]
    return WHOSE.get(part) or (roles + ["tools"])[0]


def main():
    places = Places(sys.argv[1])
    count, reached = collections.Counter(), set()
    for name in sys.argv[2:]:
        with open(name) as f:
            for line in f:
                part, call, place, _ = json.loads(line)
                count[call, column_of(part)] += 1
                reached.add((call, places.text(int(place, 16))))
    print("| call | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for call in sorted({c for c, _ in count}):
        print("| `%s` | %s |" % (call, " | ".join(
            str(count[call, c] or "") for c in COLUMNS)))
    print("| all | %s |" % " | ".join(
        str(sum(n for (_, c), n in count.items() if c == column))
        for column in COLUMNS))
    # The compiler makes several of one line of the source.
    static = {(call, places.text(at)) for call, at in places.static}
    print("\n%d injections; %d of %d places" % (
        sum(count.values()), len(reached & static), len(static)))
    for call, place in sorted(static - reached):
        print("not reached: %s in %s" % (call, place))


if __name__ == "__main__":
    main()
