#!/usr/bin/python3
"""Fail every call that can fail, one after the other, and see what comes of it.

usage: faults.py --shim SHIM.SO [--part NAME ...] [--call NAME ...]
       [--first N] [--each N] [--seconds S [--seed N]]
       [--keep DIR] [--record FILE]

For each process of a running system, and for each call that it makes in a
round of mail (rig.py), the first is failed, then the second, and so on to the
last, with each errno that matters; then all from the nth on, of the kinds
that last: a full disk, no descriptors, no memory.  The same while processes
start and stop, and for the tools.  The oracle is Rig.judge() and
Running.settle(): nothing is lost, clients are told the truth, the log says
so, nothing leaks, all processes are there again.

--seconds S takes a sample of each part for so long;
--first N begins with the Nth call, --each N takes every Nth only; --keep
copies the evidence of what went wrong, --record writes down what was tried,
for table.py."""

import argparse
import os
import random
import signal
import sys

from events import (EVENTS, STOPS, Copied, Drop, DropLog, DropUid, Events,
                    Fresh, Resolv, Start, Stop, Wreck)
from places import Places
from rig import Outside, harness
from running import Report, Running, Twice
from tools import TOOLS, Once, Tools

PARTS = dict.fromkeys(("worker", "sender", "collector", "deliver", "mailbox",
                       "worker-lasting", "sender-lasting",
                       "collector-lasting", "deliver-lasting",
                       "mailbox-lasting",
                       "mailbox-mbox", "mailbox-locks", "deliver-retry",
                       "mailbox-retry", "worker-names", "deliver-names",
                       "mailbox-names", "deliver-lists", "deliver-boxes",
                       "mailbox-boxes", "worker-crowd", "sender-wide",
                       "sender-reclaim", "deliver-reclaim",
                       "collector-rotate", "worker-tls", "sender-tls",
                       "signer-signer", "sender-signer", "token-token",
                       "sender-token"), Running)
PARTS.update(dict.fromkeys(("worker-twice", "sender-twice", "collector-twice",
                            "deliver-twice", "mailbox-twice",
                            "mailbox-mbox-twice", "mailbox-boxes-twice",
                            "mailbox-locks-twice", "mailbox-names-twice",
                            "deliver-lists-twice", "sender-reclaim-twice",
                            "sender-wide-twice",
                            "collector-rotate-twice"), Twice))
PARTS.update(dict.fromkeys(EVENTS, Events))
for kind in (Start, Fresh, Wreck, Copied, Drop, DropUid, DropLog, Resolv):
    PARTS.update(dict.fromkeys(kind.WHO, kind))
PARTS.update(dict.fromkeys(Start.WITH, Start))
PARTS.update(dict.fromkeys(STOPS, Stop))
PARTS.update(dict.fromkeys(TOOLS, Tools))
PARTS.update(dict.fromkeys(("once", "once-parent"), Once))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--shim", required=True)
    ap.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS)
    ap.add_argument("--call", nargs="*")
    ap.add_argument("--first", type=int, default=1)
    ap.add_argument("--each", type=int, default=1)
    ap.add_argument("--keep")
    ap.add_argument("--record")
    ap.add_argument("--seconds", type=float)
    ap.add_argument("--seed", type=int,
                    default=int(os.environ.get("FAULTS_SEED",
                                               random.randrange(100000))))
    args = ap.parse_args()
    args.chance = random.Random(args.seed)
    report = Report(Places(harness.MTA), args.keep, args.record)
    with Outside() as outside:
        for part in args.part:
            running = PARTS[part](args, outside, report)
            try:
                running.run(part)
            finally:
                running.give_up()
    print("%d failures injected at %d places, seed %d" % (
        report.tried, len(report.hit), args.seed))
    print("%d passed, %d failed" % (report.tried - len(report.broken),
                                    len(report.broken)))
    return 1 if report.broken else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
