#!/usr/bin/python3
"""Keep docs/faults.md true: each row of its tables names a test, and each
test that it names exists.

usage: check_faults.py [ROOT]; prints one line a fault, exit status 1 if
any."""

import os
import sys

from check_requirements import CELL, references


def check(root):
    with open(os.path.join(root, "docs", "faults.md"),
              encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            if not line.startswith("|") or line.startswith("|---"):
                continue
            tests = CELL.split(line)[-2].strip()
            if tests == "test":  # the head of a table
                continue
            faults, found = references(root, tests)
            if found == 0:
                faults.append("no test shows it")
            for fault in faults:
                yield n, fault


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "..")
    bad = 0
    for line, fault in check(root):
        print("docs/faults.md:%d: %s" % (line, fault))
        bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
