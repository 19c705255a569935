#!/usr/bin/python3
"""Refuse lines over 80 columns in docs/*.md and README.md, outside of tables
and code blocks, and sentences about people in the pages of docs/.

usage: check_docs.py [ROOT]    one line a fault, exit status 1 if any
       check_docs.py --shrink  take from docs.allow what is mended"""

import glob
import os
import re
import sys

from style import LINE_MAX, PEOPLE

HERE = os.path.dirname(os.path.abspath(__file__))
# Lines "LINES WORDS PATH": so many are left there; the numbers only fall.
ALLOW = os.path.join(HERE, "docs.allow")
# What a program writes has the form of that program.
WRITTEN = re.compile(r"<!-- written by .*?<!-- end -->", re.S)


def prose(text):
    """(number, line) of what is neither code nor written by a program."""
    text = WRITTEN.sub(lambda m: "\n" * m.group(0).count("\n"), text)
    fenced, before, code = False, "", False
    for n, line in enumerate(text.split("\n"), 1):
        fenced ^= line.startswith("```")
        code = line.startswith("    ") and (code or not before.strip())
        if not fenced and not code:
            yield n, line
        before = line


def faults_of(path, text):
    """(lines too long, words about people), each a list of (line, fault)."""
    words = [] if path == "README.md" else [
        (n, '"%s": name the client, worker, segment it is about' % m.group(0))
        for n, line in prose(text) for m in PEOPLE.finditer(line)]
    long = [] if not path.endswith(".md") else [
        (n, "line of %d columns" % len(line)) for n, line in prose(text)
        if len(line) > LINE_MAX and not line.startswith("|")]
    return long, words


def allowed():
    with open(ALLOW, encoding="utf-8") as f:
        rows = [line.split() for line in f]
    return {path: (int(lines), int(words)) for lines, words, path in rows}


def pages(root):
    for pattern in ("README.md", "docs/*.md", "docs/*.[0-9]"):
        for name in sorted(glob.glob(os.path.join(root, pattern))):
            with open(name, encoding="utf-8") as f:
                yield os.path.relpath(name, root), f.read()


def check(root):
    for path, text in pages(root):
        for found, limit in zip(faults_of(path, text),
                                allowed().get(path, (0, 0))):
            if len(found) > limit:
                for line, fault in found:
                    yield "%s:%d: %s" % (path, line, fault)


def shrink(root):
    left = []
    for path, text in pages(root):
        found = [min(len(faults), limit) for faults, limit in
                 zip(faults_of(path, text), allowed().get(path, (0, 0)))]
        if any(found):
            left.append("%d %d %s\n" % (*found, path))
    with open(ALLOW, "w", encoding="utf-8") as f:
        f.writelines(left)


def main():
    root = os.path.join(HERE, "..", "..")
    if sys.argv[1:] == ["--shrink"]:
        return shrink(root)
    faults = list(check(sys.argv[1] if len(sys.argv) > 1 else root))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
