#!/usr/bin/python3
"""Keep docs/requirements.md true: every requirement has one row, every file
and every test that a row names exists, and no row says "done" without a test.

usage: check_requirements.py [ROOT]; prints one line a fault, exit status 1 if
any."""

import os
import re
import sys

IDS = (["R%d" % n for n in range(1, 18)] + ["C%d" % n for n in range(1, 6)] +
       ["B%d" % n for n in range(1, 10)])
STATUS = ("done", "partly", "later")
CELL = re.compile(r"(?<!\\)\|")
# `dir/file.ext` or `dir/file.ext::name`; a bare `file.h` is not a path;
# `::name` is in the file before it
PATH = re.compile(r"`((?:[\w.*-]+/)+[\w.*-]*|Makefile|LICENSE|mta\.c|(?=::))"
                  r"(?:::(\w+))?`")


def rows(page):
    """[line number, [id, what, how, tests, status]] of the tables."""
    for n, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|"):
            continue
        cells = [c.strip() for c in CELL.split(line)[1:-1]]
        if re.fullmatch(r"[A-Z]\d+", cells[0]):
            yield n, cells


def has_test(path, name):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if path.endswith(".c"):
        return re.search(r"\bSTART_TEST\(%s\)" % name, text)
    return re.search(r"^\s*def %s\(" % name, text, re.M)


def references(root, cell):
    """Faults of the files and tests that a cell names, and how many it has."""
    faults, n, name = [], 0, ""
    for m in PATH.finditer(cell):
        n += 1
        name = m.group(1) or name
        path = os.path.join(root, name)
        if not os.path.isfile(path) and (m.group(2) or
                                         not os.path.exists(path)):
            faults.append("no such file: %s" % name)
        elif m.group(2) and not has_test(path, m.group(2)):
            faults.append("no such test: %s::%s" % (name, m.group(2)))
    return faults, n


def check(root):
    with open(os.path.join(root, "docs", "requirements.md"),
              encoding="utf-8") as f:
        page = f.read()
    seen = []
    for line, cells in rows(page):
        if len(cells) != 5:
            yield line, "%s: %d cells, not 5" % (cells[0], len(cells))
            continue
        seen.append(cells[0])
        faults, ntests = references(root, cells[3])
        faults += references(root, cells[2])[0]
        if cells[4] not in STATUS:
            faults.append('status "%s"' % cells[4])
        if cells[4] == "done" and ntests == 0:
            faults.append("done, but no test shows it")
        for fault in faults:
            yield line, "%s: %s" % (cells[0], fault)
    for i in IDS:
        if seen.count(i) != 1:
            yield 0, "%s has %d rows" % (i, seen.count(i))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "..")
    bad = 0
    for line, fault in check(root):
        print("docs/requirements.md:%d: %s" % (line, fault))
        bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
