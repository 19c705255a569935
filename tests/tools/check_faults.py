#!/usr/bin/python3
"""Keep docs/faults.md, docs/rfc.md and docs/wishes.md true: each row names a
test, and each test that it names exists.  The same for those tables of
docs/deliverability.md whose last column has tests.

usage: check_faults.py [ROOT]; prints one line a fault, exit status 1 if
any."""

import os
import sys

from check_requirements import CELL, references


PAGES = ("faults.md", "rfc.md", "deliverability.md", "wishes.md")
OTHERS_TOO = ("deliverability.md",)  # tables without tests


def check(root, page):
    path = os.path.join(root, "docs", page)
    if not os.path.exists(path):
        return
    tested = inside = False
    with open(path, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            head = line.startswith("|") and not inside
            inside = line.startswith("|")
            if not inside or line.startswith("|---"):
                continue
            tests = CELL.split(line)[-2].strip()
            if head:
                tested = tests == "test" or page not in OTHERS_TOO
            if tests == "test" or not tested:
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
    for page in PAGES:
        for line, fault in check(root, page):
            print("docs/%s:%d: %s" % (page, line, fault))
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
